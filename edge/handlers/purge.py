"""Purging: `POST /purge` and `PURGE <url>` on the admin listener, and what the workers of a node tell each other."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import orjson
from aiohttp import web

from edge.appkeys import ADMIN_TOKEN
from edge.cache import purge_order
from edge.cache.purge import Kind, Scope
from edge.cache.purge_follower import PurgeFollower
from edge.cache.purge_log import PurgeLogError
from edge.cache.purge_order import BadOrder, Canonical
from edge.cache.purge_receipt import NodeReceipt, Receipt
from edge.cache.purger import SYNC_PATH, Order, Purger
from edge.problems import problem

FOLLOWER: web.AppKey[PurgeFollower] = web.AppKey("PURGE_FOLLOWER", PurgeFollower)
PURGER: web.AppKey[Purger] = web.AppKey("PURGER", Purger)
CANONICAL = web.AppKey[Canonical]("PURGE_CANONICAL")

SOFT_FIELD: Final = "Soft-Purge"
"""`Soft-Purge: 1` makes a PURGE request a soft one, as `{"soft": true}` in its body does."""


async def post_purge(request: web.Request) -> web.Response:
    """`POST /purge`: what to purge is in the body."""
    refused = request.app[ADMIN_TOKEN].refusal(request)
    if refused is not None:
        return refused
    try:
        order = purge_order.parse(orjson.loads(await request.read()), request.app[CANONICAL])
    except BadOrder as error:
        return problem(400, str(error))
    except ValueError:
        return problem(400, "the body is not JSON")
    return await _purge(request, order)


async def purge_url(request: web.Request) -> web.Response:
    """`PURGE <url>`: the request target is purged."""
    refused = request.app[ADMIN_TOKEN].refusal(request)
    if refused is not None:
        return refused
    soft = request.headers.get(SOFT_FIELD, "0")
    if soft not in ("0", "1"):
        return problem(400, f"{SOFT_FIELD}: allowed: 1 or 0")
    try:
        document = orjson.loads(await request.read() or b"{}")
        order = purge_order.of_url(request.raw_path, document, request.app[CANONICAL], soft=soft == "1")
    except BadOrder as error:
        return problem(400, str(error))
    except ValueError:
        return problem(400, "the body is not JSON")
    return await _purge(request, order)


async def sync(request: web.Request) -> web.Response:
    """Between workers: read the log to its end. Answers the position, and what the named purges removed here."""
    follower = request.app[FOLLOWER]
    try:
        first, last = int(request.query.get("first", "0")), int(request.query.get("last", "-1"))
        position = await follower.sync()
    except ValueError:
        return problem(400, "first, last: allowed: positions")
    except PurgeLogError as error:
        return problem(503, str(error))
    return _json({"position": position, "removed": follower.removed_by(first, last)})


def add_admin_routes(application: web.Application) -> None:
    """On the admin listener. PURGE takes any target, so it comes after all that name theirs."""
    application.router.add_route("POST", "/purge", post_purge)
    application.router.add_route("PURGE", "/{target:.*}", purge_url)


def add_sibling_routes(application: web.Application) -> None:
    """On the socket between the workers of a node."""
    application.router.add_route("POST", SYNC_PATH, sync)


async def _purge(request: web.Request, order: Order) -> web.Response:
    try:
        receipt = await request.app[PURGER].purge(order)
    except PurgeLogError as error:
        return problem(503, f"nothing was purged: {error}", headers={"Retry-After": "1"})
    return _json(_document(receipt), 200 if receipt.complete else 202)


def _document(receipt: Receipt) -> dict[str, object]:
    told: dict[str, object] = {"id": receipt.ids[0], "value": receipt.values[0]}
    if len(receipt.ids) > 1:
        told = {"ids": receipt.ids, "values": receipt.values}
    elif receipt.scope is Scope.ALL:
        told["value"] = None
    return told | {
        "scope": receipt.scope.value,
        "soft": receipt.kind is Kind.SOFT,
        "epoch": receipt.epoch,
        "published": receipt.epoch is not None,
        "complete": receipt.complete,
        "removed": receipt.removed,
        "nodes": [_node(node) for node in receipt.nodes],
    }


def _node(node: NodeReceipt) -> dict[str, object]:
    seen = datetime.now(UTC).timestamp() - node.silent_s
    return {
        "node": node.node,
        "state": node.presence.value,
        "epoch": node.epoch,
        "confirmed": node.confirmed,
        "last_seen": datetime.fromtimestamp(seen, UTC).isoformat(timespec="milliseconds"),
        "workers": [
            {"slot": worker.slot, "epoch": worker.epoch, "position": worker.position, "confirmed": worker.confirmed}
            for worker in node.workers
        ],
    }


def _json(document: object, status: int = 200) -> web.Response:
    return web.Response(
        status=status,
        body=orjson.dumps(document) + b"\n",
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )

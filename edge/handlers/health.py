"""Is the node alive, is it ready, what does it count, what is it configured to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import orjson
from aiohttp import web

from edge import metrics
from edge.appkeys import NODE


@dataclass(frozen=True, slots=True)
class Check:
    """One part of the node as readiness sees it.

    ok: the part works now. vital: without it the node cannot serve at all and must get no traffic.
    """

    ok: bool
    detail: str
    vital: bool = False


Checks = Mapping[str, Callable[[], Check]]
CHECKS: web.AppKey[Checks] = web.AppKey("CHECKS", Mapping)
CONFIG: web.AppKey[Mapping[str, object]] = web.AppKey("CONFIG", Mapping)


async def healthz(request: web.Request) -> web.Response:
    """The process answers: that is all a liveness probe may depend on."""
    return _json({"status": "ok", "node": request.app[NODE]})


async def readyz(request: web.Request) -> web.Response:
    """`ready`, `degraded` (serving, but a part is missing: it is named) or, with 503, `not ready`.

    Losing Redis or storage does not make a node not ready: what is cached still plays, and taking every node out of
    the balancer because a shared part is down would turn a fault into an outage.
    """
    checks = {name: check() for name, check in request.app[CHECKS].items()}
    serving = all(check.ok for check in checks.values() if check.vital)
    healthy = all(check.ok for check in checks.values())
    status = "not ready" if not serving else "ready" if healthy else "degraded"
    document = {
        "status": status,
        "node": request.app[NODE],
        "checks": {name: {"ok": check.ok, "detail": check.detail} for name, check in checks.items()},
    }
    return _json(document, 200 if serving else 503)


async def prometheus(_request: web.Request) -> web.Response:
    """All workers' metrics, whichever worker is asked; the others' are at most half a second old."""
    metrics.flush()
    body = await asyncio.to_thread(metrics.exposition)
    return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


async def config(request: web.Request) -> web.Response:
    """The settings in force, secrets masked."""
    return _json(request.app[CONFIG])


def _json(document: object, status: int = 200) -> web.Response:
    return web.Response(
        status=status,
        body=orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n",
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )

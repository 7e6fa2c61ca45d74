"""`GET /v1/counts/…`: what has been counted, and up to when that is exact."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict

import orjson
from aiohttp import web

from edge.appkeys import BOARD
from edge.counters.board import MAX_IDS, MAX_TOP, Board, BoardError, Metric, Moment, document_of
from edge.counters.event import is_resource
from edge.problems import problem

RETRY_AFTER_S = "1"
DEFAULT_TOP = 100

Document = dict[str, object]


async def get_resource(request: web.Request) -> web.Response:
    """`/v1/counts/resources/{id}`: one resource; zeros for one not seen yet."""
    wanted = request.match_info["id"]
    if not is_resource(wanted):
        return _bad_id(wanted)

    async def read(board: Board) -> Document:
        answer = await board.resources([wanted])
        return document_of(answer.resources[0]) | _when(answer.moment)

    return await _answer(request, read)


async def get_resources(request: web.Request) -> web.Response:
    """`/v1/counts/resources?ids=a,b`: up to 200 resources, in the order asked."""
    given = request.query.getall("ids", [])
    wanted = [one for part in given for one in part.split(",") if one]
    if not wanted:
        return problem(400, f"ids names 1 to {MAX_IDS} resources, separated by commas")
    if len(wanted) > MAX_IDS:
        return problem(400, f"ids names {len(wanted)} resources; at most {MAX_IDS} can be asked for at once")
    bad = next((one for one in wanted if not is_resource(one)), None)
    if bad is not None:
        return _bad_id(bad)

    async def read(board: Board) -> Document:
        answer = await board.resources(wanted)
        return {"resources": [document_of(one) for one in answer.resources]} | _when(answer.moment)

    return await _answer(request, read)


async def get_summary(request: web.Request) -> web.Response:
    """`/v1/counts/summary`: the headline figures."""

    async def read(board: Board) -> Document:
        summary = asdict(await board.summary())
        moment = summary.pop("moment")
        return {**summary, **moment}

    return await _answer(request, read)


async def get_top(request: web.Request) -> web.Response:
    """`/v1/counts/top?dimension=resource&metric=views&limit=100`: the ranking, exact."""
    if request.query.get("dimension", "resource") != "resource":
        return problem(400, "dimension is resource")
    try:
        metric = Metric(request.query.get("metric", Metric.VIEWS.value))
    except ValueError:
        return problem(400, "metric is one of " + ", ".join(metric.value for metric in Metric))
    text = request.query.get("limit", str(DEFAULT_TOP))
    limit = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0
    if not 1 <= limit <= MAX_TOP:
        return problem(400, f"limit is a whole number from 1 to {MAX_TOP}")

    async def read(board: Board) -> Document:
        ranking = await board.top(metric, limit)
        places = [{"id": place.id, metric.value: place.value} for place in ranking.places]
        return {"dimension": "resource", "metric": metric.value, "top": places} | _when(ranking.moment)

    return await _answer(request, read)


async def not_counted(request: web.Request) -> web.Response:
    """Any other path under `/v1/counts/`."""
    return problem(404, f"there are no counts under {request.path}")


async def _answer(request: web.Request, read: Callable[[Board], Awaitable[Document]]) -> web.Response:
    board = request.app.get(BOARD)
    if board is None:
        return problem(503, "this node has no counts: it was started without a Redis for counters")
    try:
        document = await read(board)
    except BoardError:
        return problem(
            503, "the counts can't be read now; they go on being kept", headers={"Retry-After": RETRY_AFTER_S}
        )
    return web.Response(
        body=orjson.dumps(document), content_type="application/json", headers={"Cache-Control": "no-store"}
    )


def _when(moment: Moment) -> Document:
    return {"as_of": moment.as_of, "complete_through": moment.complete_through}


def _bad_id(given: str) -> web.Response:
    return problem(400, f"{given[:80]!r} is not a resource id: 1 to 64 of the characters A-Z a-z 0-9 . _ -")

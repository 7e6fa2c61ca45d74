"""`GET /v1/counts/…`: what has been counted, and up to when that is exact."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict
from typing import Final
from urllib.parse import urlencode

import orjson
from aiohttp import web

from edge.appkeys import BOARD, READ_TOKEN, SUMMARIES
from edge.bearer import ReadToken
from edge.counters import question
from edge.counters.answer import Moment, ResourceCounts
from edge.counters.board import Board
from edge.counters.days import DayGoneError
from edge.counters.groups import Term
from edge.counters.question import TAGGED, Dimension, Metric, QuestionError
from edge.counters.reading import BoardError
from edge.counters.uniques import STANDARD_ERROR
from edge.problems import problem

log = logging.getLogger(__name__)

RETRY_AFTER_S: Final = "1"
RECONNECT_MS: Final = 2000
SLOW_S: Final = 10.0
"""A client of the stream that takes nothing for so long is given up."""

Document = dict[str, object]
_OPEN: Final = ReadToken(None)


async def get_resource(request: web.Request) -> web.StreamResponse:
    """`/v1/counts/resources/{id}`: one resource; zeros for one not seen yet."""

    async def read(board: Board) -> Document:
        question.nothing(request.query.items())
        answer = await board.resources([question.resource(request.match_info["id"])])
        return _resource(answer.resources[0]) | _when(answer.moment)

    return await _answer(request, read)


async def get_resources(request: web.Request) -> web.StreamResponse:
    """`/v1/counts/resources?ids=a,b`: up to 200 resources, in the order asked."""

    async def read(board: Board) -> Document:
        answer = await board.resources(question.resources(request.query.items()))
        return {"resources": [_resource(one) for one in answer.resources]} | _when(answer.moment)

    return await _answer(request, read)


async def get_summary(request: web.Request) -> web.StreamResponse:
    """`/v1/counts/summary`: the headline figures."""

    async def read(board: Board) -> Document:
        question.nothing(request.query.items())
        return await summary_of(board)

    return await _answer(request, read)


async def summary_of(board: Board) -> Document:
    """The summary as the contract shows it. Raises BoardError."""
    summary = await board.summary()
    document: Document = asdict(summary)
    del document["moment"]
    return document | _when(summary.moment)


async def get_by(request: web.Request) -> web.StreamResponse:
    """`/v1/counts/by/{dimension}`: totals, which together are the total."""

    async def read(board: Board) -> Document:
        asked = question.totals(request.match_info["dimension"], request.query.items(), board.provinces)
        table = await board.totals(asked)
        rows = [(row.id, row.name, {metric.value: n for metric, n in row.values.items()}) for row in table.rows]
        document: Document = {"dimension": asked.dimension.value}
        if asked.metric is Metric.UNIQUES:
            document["standard_error"] = STANDARD_ERROR
        return (
            document
            | {"by": _rows(asked.dimension, rows, table.moment)}
            | _catalog(asked.dimension in TAGGED or bool(asked.slice.tags), table.catalog)
            | _when(table.moment, asked.dimension)
        )

    return await _answer(request, read)


async def get_top(request: web.Request) -> web.StreamResponse:
    """`/v1/counts/top?dimension=resource&metric=views&limit=100`: the ranking, exact."""

    async def read(board: Board) -> Document:
        asked = question.top(request.query.items(), board.provinces)
        ranking = await board.top(asked)
        rows = [(place.id, place.name, {asked.metric.value: place.value}) for place in ranking.places]
        after = asked.offset + len(ranking.places)
        return (
            {
                "dimension": asked.dimension.value,
                "metric": asked.metric.value,
                "total": ranking.length,
                "top": _rows(asked.dimension, rows, ranking.moment),
                "next": _next(request, after if after < ranking.length else None),
            }
            | _catalog(asked.dimension in TAGGED or bool(asked.slice.tags), ranking.catalog)
            | _when(ranking.moment, asked.dimension)
        )

    return await _answer(request, read)


async def get_series(request: web.Request) -> web.StreamResponse:
    """`/v1/counts/series?metric=views&step=minute|hour|day&from=&to=`, or `day=`: over time, by event time in UTC+8."""

    async def read(board: Board) -> Document:
        asked = question.series(request.query.items(), board.provinces, board.now())
        points = await board.series(asked)
        name = asked.metric.value
        return (
            {
                "metric": name,
                "step": asked.span.step.value,
                "from": asked.span.begin.isoformat(),
                "to": asked.span.end.isoformat(),
                "series": [{"at": at, name: n} for at, n in zip(points.starts, points.values, strict=True)],
            }
            | _catalog(bool(asked.slice.tags), points.catalog)
            | _when(points.moment)
        )

    return await _answer(request, read)


async def get_corrections(request: web.Request) -> web.StreamResponse:
    """`/v1/counts/corrections`: signed entries that put counts right, with their reasons, the newest first."""

    async def read(board: Board) -> Document:
        asked = question.page(request.query.items(), board.provinces)
        found = await board.corrections(asked)
        after = asked.offset + len(found.entries)
        return {
            "total": found.length,
            "corrections": list(found.entries),
            "next": _next(request, after if after < found.length else None),
        } | _when(found.moment)

    return await _answer(request, read)


async def get_stream(request: web.Request) -> web.StreamResponse:
    """`/v1/counts/stream`: server-sent events, the summary once a second. HEAD: what they would begin with."""
    token = request.app.get(READ_TOKEN, _OPEN)
    refusal = token.refusal(request) or _wrong_question(request, token)
    summaries = request.app.get(SUMMARIES)
    if refusal is not None or summaries is None:
        return refusal or _no_counts(token)
    if summaries.full:
        detail = "as many as this worker can serve follow the counts already; /v1/counts/summary answers at any time"
        return problem(503, detail, headers={"Retry-After": RETRY_AFTER_S, **token.fields})
    response = web.StreamResponse(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no", **token.fields})
    response.content_type = "text/event-stream"
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    await response.write(b"retry: %d\n\n" % RECONNECT_MS)
    async with aclosing(summaries.messages()) as messages:
        async for message in messages:
            try:
                async with asyncio.timeout(SLOW_S):
                    await response.write(message)
            except TimeoutError:
                if request.transport is not None:
                    request.transport.abort()
                raise ConnectionResetError("the client does not take the stream") from None
    return response


async def summary_event(board: Board) -> bytes:
    """The summary as a server-sent event; while it can't be read a comment, so that the connection is known to live."""
    try:
        return b"data: " + orjson.dumps(await summary_of(board)) + b"\n\n"
    except BoardError:
        return b": the counts can't be read now\n\n"


async def not_counted(request: web.Request) -> web.Response:
    """Any other path under `/v1/counts/`."""
    return problem(404, f"there are no counts under {request.path}")


async def _answer(request: web.Request, read: Callable[[Board], Awaitable[Document]]) -> web.StreamResponse:
    token = request.app.get(READ_TOKEN, _OPEN)
    refusal = token.refusal(request)
    if refusal is not None:
        return refusal
    board = request.app.get(BOARD)
    if board is None:
        return _no_counts(token)
    try:
        document = await read(board)
    except QuestionError as error:
        return problem(410 if isinstance(error, DayGoneError) else 400, str(error), headers=token.fields)
    except BoardError as error:
        log.info("%s: %s", request.path, error)
        detail = "the counts can't be read now; they go on being kept"
        return problem(503, detail, headers={"Retry-After": RETRY_AFTER_S, **token.fields})
    return web.Response(
        body=orjson.dumps(document),
        content_type="application/json",
        headers={"Cache-Control": "no-store", **token.fields},
    )


def _no_counts(token: ReadToken) -> web.Response:
    return problem(503, "this node has no counts: it was started without a Redis for counters", headers=token.fields)


def _wrong_question(request: web.Request, token: ReadToken) -> web.Response | None:
    """The answer to parameters where none are taken."""
    try:
        question.nothing(request.query.items())
    except QuestionError as error:
        return problem(400, str(error), headers=token.fields)
    return None


def _resource(counts: ResourceCounts) -> Document:
    """One resource as the contract shows it."""
    shown = asdict(counts)
    today = shown.pop("today")
    return {"id": shown.pop("id"), **shown, "today": today}


def _rows(
    dimension: Dimension, rows: Iterable[tuple[str, Term | None, Mapping[str, object]]], moment: Moment
) -> Sequence[Document]:
    """Rows of a table or a ranking; each province with its own time."""
    shown = []
    for identity, name, values in rows:
        row: Document = {"id": identity}
        if name is not None:
            row["name"] = {"zh": name.zh, "en": name.en}
        row |= values
        if dimension is Dimension.PROVINCE:
            row["complete_through"] = moment.by_province[identity]
        shown.append(row)
    return shown


def _catalog(needed: bool, version: str | None) -> Document:
    """The catalog that says what belongs to what, where that was asked."""
    return {"catalog_version": version} if needed else {}


def _when(moment: Moment, dimension: Dimension | None = None) -> Document:
    through = moment.by_province if dimension is Dimension.PROVINCE else moment.complete_through
    return {"as_of": moment.as_of, "complete_through": through}


def _next(request: web.Request, offset: int | None) -> str | None:
    """Where the list goes on."""
    if offset is None:
        return None
    return f"{request.path}?" + urlencode({**request.query, "offset": str(offset)})

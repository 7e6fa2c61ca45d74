"""`GET /v1/counts/export?format=csv|parquet|json&day=`: a closed day, as history has it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import date
from typing import Final

from aiohttp import web

from edge.appkeys import EXPORTS, READ_TOKEN
from edge.bearer import ReadToken
from edge.counters import question
from edge.counters.history import HistoryError, NoHistoryError, NotClosedError
from edge.counters.parquet import Format
from edge.counters.question import QuestionError
from edge.problems import problem

SLOW_S: Final = 30.0
"""A client that takes nothing for so long is given up: what is exported is kept meanwhile."""
RETRY_AFTER_S: Final = "10"
CONTENT_TYPES: Final = {
    Format.CSV: "text/csv",
    Format.PARQUET: "application/vnd.apache.parquet",
    Format.JSON: "application/json",
}
_OPEN: Final = ReadToken(None)


async def get_export(request: web.Request) -> web.StreamResponse:
    """All provinces' counts of the day, by resource and hour. HEAD: whether they can be had; the file is made for that,
    too, as only then it is known."""
    token = request.app.get(READ_TOKEN, _OPEN)
    refusal = token.refusal(request)
    if refusal is not None:
        return refusal
    exports = request.app.get(EXPORTS)
    if exports is None:
        return problem(
            503, "this node keeps no history of counts: it has no object storage for it", headers=token.fields
        )
    try:
        form, day = question.exported(request.query.items(), [one.value for one in Format])
        pieces = await exports.exported(day, Format(form))
    except QuestionError as error:
        return problem(400, str(error), headers=token.fields)
    except (NotClosedError, NoHistoryError) as error:
        return problem(404, f"{error}; allowed: a day that is over and in history", headers=token.fields)
    except HistoryError as error:
        return problem(503, str(error), headers={"Retry-After": RETRY_AFTER_S, **token.fields})
    return await _send(request, pieces, Format(form), day, token)


async def _send(
    request: web.Request, pieces: AsyncGenerator[bytes], form: Format, day: date, token: ReadToken
) -> web.StreamResponse:
    response = web.StreamResponse(
        headers={
            "Content-Type": CONTENT_TYPES[form],
            "Content-Disposition": f'attachment; filename="counts-{day:%Y%m%d}.{form.value}"',
            "Cache-Control": "no-store",
            **token.fields,
        }
    )
    try:
        async with aclosing(pieces):  # from before the head is sent: the client may have left meanwhile
            await response.prepare(request)
            if request.method == "HEAD":
                return response
            async for piece in pieces:
                async with asyncio.timeout(SLOW_S):
                    await response.write(piece)
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("the client does not take the export") from None
    return response

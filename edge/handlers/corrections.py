"""`POST /counts/corrections` on the admin listener: a correction in, a promise out."""

from __future__ import annotations

from typing import Final

import orjson
from aiohttp import web

from edge.appkeys import ADMIN_TOKEN, CORRECTIONS
from edge.counters.corrections import CorrectionError
from edge.counters.journal import JournalError, Refusal
from edge.problems import problem

RETRY_AFTER_S: Final = "2"


async def post_correction(request: web.Request) -> web.Response:
    """202 once the correction is on disk; it is booked once for ever, by its id."""
    refused = request.app[ADMIN_TOKEN].refusal(request)
    if refused is not None:
        return refused
    corrections = request.app.get(CORRECTIONS)
    if corrections is None:
        return problem(503, "this node counts nothing: it has no Redis for counters, or its journal cannot be opened")
    try:
        taken = await corrections.accept(await request.read())
    except CorrectionError as error:
        return problem(400, str(error))
    except JournalError as error:
        return _unpromised(error)
    document = {"id": taken.id, "province": taken.province, "accepted": True}
    return web.Response(
        status=202,
        body=orjson.dumps(document) + b"\n",
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


def _unpromised(error: JournalError) -> web.Response:
    if error.refusal is Refusal.PROVINCE:
        return problem(400, f"province: {error.refusal.value}: {error.detail}")
    if error.refusal is Refusal.SLOW:
        return problem(504, error.refusal.value)
    return problem(503, error.refusal.value, headers={"Retry-After": RETRY_AFTER_S})

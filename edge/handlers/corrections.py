"""`POST /counts/corrections` on the admin listener: a correction in, a promise out."""

from __future__ import annotations

from typing import Final

import orjson
from aiohttp import web

from edge.appkeys import ADMIN_TOKEN, CORRECTIONS
from edge.counters.corrections import BookedError, CorrectionError
from edge.counters.counting_day import moment_of
from edge.counters.event import Kind
from edge.counters.journal import JournalError, Refusal
from edge.counters.record import Correction
from edge.problems import problem

RETRY_AFTER_S: Final = "2"


async def post_correction(request: web.Request) -> web.Response:
    """202 once the correction is on disk; it is booked once for ever, by its id. known: this very one is booked.

    409 when another is booked under the id. While Redis can't be asked, that is not known: then 202 promises that one
    of this id is booked, whichever reaches the province first.
    """
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
    except BookedError as error:
        return _other_booked(error.booked)
    except JournalError as error:
        return _unpromised(error)
    one = taken.correction
    document = {"id": one.id, "province": one.province, "accepted": True, "known": taken.known}
    return web.Response(
        status=202,
        body=orjson.dumps(document) + b"\n",
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


def _other_booked(booked: Correction) -> web.Response:
    shown = _shown(booked)
    what = " ".join(str(shown[name]) for name in ("kind", "resource", "amount", "minute") if shown[name] is not None)
    detail = f"id: {booked.id} is booked in province {booked.province} already, as {what}: {booked.reason}; "
    return problem(409, detail + "allowed: another id, or the same content again", booked=shown)


def _shown(booked: Correction) -> dict[str, object]:
    """As `GET /v1/counts/corrections` shows it."""
    seconds, ms = divmod(booked.amount, 1000)
    return {
        **booked._asdict(),
        "kind": booked.kind.name.lower(),
        "resource": booked.resource or None,
        "minute": moment_of(booked.minute * 60).isoformat(timespec="milliseconds"),
        "amount": booked.amount if booked.kind is not Kind.WATCH else booked.amount / 1000 if ms else seconds,
    }


def _unpromised(error: JournalError) -> web.Response:
    if error.refusal is Refusal.PROVINCE:
        return problem(400, f"province: {error.refusal.value}: {error.detail}")
    if error.refusal is Refusal.SLOW:
        return problem(504, error.refusal.value)
    return problem(503, error.refusal.value, headers={"Retry-After": RETRY_AFTER_S})

"""`POST /v1/views`: view events in, a promise out."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final

import orjson
from aiohttp import web

from edge import metrics
from edge.appkeys import INTAKE
from edge.counters.event import MAX_BODY_BYTES, BodyError, BodyReason
from edge.counters.intake import Receipt
from edge.counters.journal import JournalError, Refusal
from edge.problems import problem

# sendBeacon can say text/plain without asking the server first (CORS), so it counts as JSON.
CONTENT_TYPES: Final = frozenset({"application/json", "text/plain"})
READ_TIMEOUT_S: Final = 10.0
RETRY_AFTER_S: Final = "2"
_CORS: Final = {"Access-Control-Allow-Origin": "*", "Cache-Control": "no-store"}
_PREFLIGHT: Final = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, OPTIONS",
    "Access-Control-Allow-Headers": "Content-Type",
    "Access-Control-Max-Age": "86400",
    "Allow": "POST, OPTIONS",
}


async def options_views(_request: web.Request) -> web.Response:
    """The browser's question before a cross-origin POST of application/json."""
    return web.Response(status=204, headers=_PREFLIGHT)


async def post_views(request: web.Request) -> web.Response:
    """202 once every accepted event is on disk; what is refused is listed with the reason."""
    intake = request.app.get(INTAKE)
    if intake is None:
        return _refused(
            503, "this node takes no view events: it has no Redis for counters, or its journal cannot be opened"
        )
    if request.content_type not in CONTENT_TYPES:
        return _refused(415, "send application/json (or text/plain that is JSON)")
    if "Content-Encoding" in request.headers:
        return _refused(415, "send the events without a Content-Encoding")
    try:
        body = await _read(request)
    except TimeoutError:
        return _refused(408, f"the body did not arrive within {READ_TIMEOUT_S:g} seconds")
    except web.RequestPayloadError:
        return _refused(400, "the body's encoding is broken")
    if body is None:
        return _refused(413, f"a body holds at most {MAX_BODY_BYTES} bytes")
    try:
        receipt = await intake.accept(body)
    except BodyError as error:
        return _refused(413 if error.reason is BodyReason.TOO_MANY else 400, error.reason.value)
    except JournalError as error:
        return _unpromised(error)
    _count(receipt)
    return _accepted(receipt)


async def _read(request: web.Request) -> bytes | None:
    """The body, or None as soon as it is longer than allowed. Raises TimeoutError."""
    if (request.content_length or 0) > MAX_BODY_BYTES:
        return None
    chunks: list[bytes] = []
    size = 0
    async with asyncio.timeout(READ_TIMEOUT_S):
        async for chunk in request.content.iter_any():
            size += len(chunk)
            if size > MAX_BODY_BYTES:
                return None
            chunks.append(chunk)
    return b"".join(chunks)


def _accepted(receipt: Receipt) -> web.Response:
    rejected = [{"index": place, "reason": reason.value} for place, reason in receipt.rejected]
    body = orjson.dumps({"accepted": receipt.accepted, "rejected": rejected})
    return web.Response(status=202, body=body, content_type="application/json", headers=_CORS)


def _unpromised(error: JournalError) -> web.Response:
    """503 says that surely nothing was taken. When the disk was too slow that is not known, and 503 would be a lie
    to a client that sends again after the 10 minutes within which an id is recognised."""
    if error.refusal is Refusal.SLOW:
        return _refused(504, error.refusal.value)
    return _refused(503, error.refusal.value, {"Retry-After": RETRY_AFTER_S})


def _count(receipt: Receipt) -> None:
    if receipt.accepted:
        metrics.EVENTS.inc("accepted", by=receipt.accepted)
    for reason, number in Counter(reason for _, reason in receipt.rejected).items():
        metrics.EVENTS.inc(reason.name.lower(), by=number)


def _refused(status: int, detail: str, headers: dict[str, str] | None = None) -> web.Response:
    return problem(status, detail, headers={**_CORS, **(headers or {})})

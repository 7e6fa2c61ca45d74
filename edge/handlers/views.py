"""`POST /v1/views`: view events in, a promise out."""

from __future__ import annotations

import asyncio
import math
from typing import Final

from aiohttp import hdrs, web

from edge import metrics
from edge.appkeys import INTAKE, SENDERS
from edge.counters.event import MAX_BODY_BYTES, BodyError, BodyReason
from edge.counters.intake import Intake
from edge.counters.journal import JournalError, Refusal
from edge.framing import Refused
from edge.problems import problem
from edge.receipts import count, document, is_json, sharing
from edge.sender import Sender, Senders

READ_TIMEOUT_S: Final = 10.0
RETRY_AFTER_S: Final = 2
MOST_RETRY_AFTER_S: Final = 3600
"""Whoever comes earlier than needed is only refused again."""
_HIDDEN_FROM_SCRIPTS: Final = "Retry-After"  # unless it is named
_ALL_ALIKE: Final = Senders()


async def options_views(request: web.Request) -> web.Response:
    """The browser's question before a cross-origin POST of application/json."""
    headers = {
        "Access-Control-Allow-Methods": "POST, OPTIONS",
        "Access-Control-Allow-Headers": "Content-Type",
        "Access-Control-Max-Age": "86400",
        "Allow": "POST, OPTIONS",
    }
    return web.Response(status=204, headers=sharing(request.headers.get(hdrs.ORIGIN)) | headers)


async def post_views(request: web.Request) -> web.Response:
    """202 once every accepted event is on disk; what is refused is listed with the reason."""
    app = request.app
    intake = app.get(INTAKE)
    if intake is None:
        detail = "this node takes no view events: it has no Redis for counters, or its journal cannot be opened"
        return _refused(request, 503, "no_journal", detail)
    headers = request.headers
    if not is_json(headers.get(hdrs.CONTENT_TYPE, "")):
        return _refused(request, 415, "type", "send application/json (or text/plain that is JSON)")
    if hdrs.CONTENT_ENCODING in headers:
        return _refused(request, 415, "encoding", "send the events without a Content-Encoding")
    sender = app.get(SENDERS, _ALL_ALIKE).of(headers, request.remote or "")
    wait_s = intake.wait_s(sender.client)
    if wait_s:
        detail = "too many events come from this address; send the same ones again, later and in batches"
        return _refused(request, 429, "limited", detail, again_s=wait_s)
    try:
        body = await _read(request)
    except TimeoutError:
        return _refused(request, 408, "slow", f"the body did not arrive within {READ_TIMEOUT_S:g} seconds")
    except Refused:
        metrics.VIEW_BODIES.inc("broken")
        raise
    except web.RequestPayloadError:
        return _refused(request, 400, "broken", "the body's encoding is broken")
    if body is None:
        return _refused(request, 413, "too_large", f"a body holds at most {MAX_BODY_BYTES} bytes")
    return await _take(request, intake, sender, body)


async def _take(request: web.Request, intake: Intake, sender: Sender, body: bytes) -> web.Response:
    try:
        receipt = await intake.accept(body, sender.place, sender.agent, sender.client)
    except BodyError as error:
        status = 413 if error.reason is BodyReason.TOO_MANY else 400
        return _refused(request, status, error.reason.name.lower(), str(error))
    except JournalError as error:
        return _unpromised(request, error)
    count(receipt, sender)
    return web.Response(
        status=202,
        body=document(receipt),
        content_type="application/json",
        headers=sharing(request.headers.get(hdrs.ORIGIN)),
    )


async def _read(request: web.Request) -> bytes | None:
    """The body, or None as soon as it is longer than allowed. Raises TimeoutError."""
    if (request.content_length or 0) > MAX_BODY_BYTES:
        return None
    content = request.content
    if content.is_eof():  # as nearly always: it came with the head
        return content.read_nowait() if content.total_bytes <= MAX_BODY_BYTES else None
    chunks: list[bytes] = []
    size = 0
    async with asyncio.timeout(READ_TIMEOUT_S):
        async for chunk in content.iter_any():
            size += len(chunk)
            if size > MAX_BODY_BYTES:
                return None
            chunks.append(chunk)
    return b"".join(chunks)


def _unpromised(request: web.Request, error: JournalError) -> web.Response:
    """503 says that surely nothing was taken. When the disk was too slow that is not known, and 503 would be a lie
    to a client that sends again after the 10 minutes within which an id is recognised."""
    reason = error.refusal.name.lower()
    if error.refusal is Refusal.SLOW:
        return _refused(request, 504, f"journal_{reason}", error.refusal.value)
    return _refused(request, 503, f"journal_{reason}", error.refusal.value, again_s=RETRY_AFTER_S)


def _refused(request: web.Request, status: int, result: str, detail: str, *, again_s: float = 0.0) -> web.Response:
    """A problem document; nothing of the body is taken. again_s: when to come again, where that helps."""
    metrics.VIEW_BODIES.inc(result)
    headers = sharing(request.headers.get(hdrs.ORIGIN))
    if again_s:
        seconds = min(math.ceil(again_s), MOST_RETRY_AFTER_S)
        headers |= {"Retry-After": str(seconds), "Access-Control-Expose-Headers": _HIDDEN_FROM_SCRIPTS}
    return problem(status, detail, headers=headers)

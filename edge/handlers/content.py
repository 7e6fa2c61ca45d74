"""Published objects over HTTP: `/media/…` and `/catalog/…` for everyone, and any key for the sibling workers.

HTTP in, HTTP out: what to serve is the engine's to say. A body that breaks off ends the connection without a proper
end, so that the client sees a truncated response and not a short one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from typing import Final

from aiohttp import hdrs, web
from multidict import CIMultiDict

from edge import metrics
from edge.appkeys import ENGINE, NODE
from edge.cache import siblings, target
from edge.cache.engine import Ask, Body, Reply, Unavailable
from edge.cache.model import UNCONDITIONAL, Conditions, Head, Outcome
from edge.cache.siblings import Answered
from edge.cache.status import cache_status, proxy_status
from edge.problems import problem
from origin.reader import OriginError

METHODS: Final = ("GET", "HEAD")
STALL_S: Final = 60.0
"""A client that takes nothing for this long has gone."""
SLICE_BYTES: Final = 256 * 1024
"""A body in memory is handed to the connection in slices of this size, each with its own deadline."""

_EXPOSED = "Accept-Ranges, Age, Cache-Status, Content-Length, Content-Range, Date, ETag"
_INTERNAL = frozenset(
    {"surrogate-key", "access-control-allow-origin", "access-control-expose-headers", "accept-ranges"}
)
# RFC 9110, 15.4.5: what a 304 repeats; the rest would describe bytes that are not there.
_IN_NOT_MODIFIED = frozenset({"cache-control", "content-location", "date", "etag", "expires", "last-modified", "vary"})
_CONDITIONS = (
    hdrs.RANGE,
    hdrs.IF_NONE_MATCH,
    hdrs.IF_MODIFIED_SINCE,
    hdrs.IF_MATCH,
    hdrs.IF_UNMODIFIED_SINCE,
    hdrs.IF_RANGE,
)


async def get_content(request: web.Request) -> web.StreamResponse:
    """`GET` and `HEAD` of a published object; 400 for a target that names none, 405 for another method."""
    if request.method not in METHODS:
        return problem(405, f"{request.method} is not possible here", headers={"Allow": ", ".join(METHODS)})
    try:
        key = target.parse(request.raw_path)
    except target.BadTarget as bad:
        return problem(400, str(bad))
    node = request.app[NODE]
    try:
        reply = await request.app[ENGINE].get(Ask(key, conditions(request.headers), request.method == "HEAD"))
    except Unavailable as unavailable:
        return _unavailable(node, unavailable.outcome, unavailable.error)
    try:
        response = await _send(request, reply, node)
    finally:
        await reply.close()
    if request.method != "HEAD":
        sent = reply.length if reply.length is not None else response.body_length
        metrics.BODY_BYTES.inc(reply.outcome.tier.value, by=sent)
    return response


async def get_for_sibling(request: web.Request) -> web.StreamResponse:
    """For the other workers of this node, on their Unix socket only: the stored response with its exact head."""
    try:
        key = target.parse(request.raw_path)
    except target.BadTarget as bad:
        return problem(400, str(bad))
    engine = request.app[ENGINE]
    answer, body = await engine.for_sibling(key, request.headers.get("If-None-Match"))
    response = web.StreamResponse(headers={siblings.FIELD: engine.encoded(answer)})
    if answer.kind is not Answered.ENTRY:
        response.content_length = 0
    elif answer.head is not None and answer.head.length is not None:
        response.content_length = answer.head.length
    return await _stream(request, response, body)


def conditions(headers: Mapping[str, str]) -> Conditions:
    """The request's conditions; the shared UNCONDITIONAL when there are none."""
    for name in _CONDITIONS:
        if name in headers:
            break
    else:
        return UNCONDITIONAL
    return Conditions(
        if_match=headers.get("If-Match"),
        if_none_match=headers.get("If-None-Match"),
        if_modified_since=headers.get("If-Modified-Since"),
        if_unmodified_since=headers.get("If-Unmodified-Since"),
        byte_range=headers.get("Range"),
        if_range=headers.get("If-Range"),
    )


async def _send(request: web.Request, reply: Reply, node: str) -> web.StreamResponse:
    headers = _headers(reply, node)
    if reply.status >= 400 and reply.length == 0:
        return _refusal(reply, headers)
    if reply.length is not None and reply.status != 304:
        headers["Content-Length"] = str(reply.length)
    if isinstance(reply.body, bytes | memoryview) and len(reply.body) <= SLICE_BYTES:
        # One write for head and body; HEAD keeps its Content-Length and sends none of it.
        return web.Response(status=reply.status, headers=headers, body=bytes(reply.body) or None)
    return await _stream(request, web.StreamResponse(status=reply.status, headers=headers), reply.body)


def _headers(reply: Reply, node: str) -> CIMultiDict[str]:
    """The public head: the origin's end-to-end fields, then ours."""
    headers: CIMultiDict[str] = CIMultiDict(public_fields(reply.head))
    if reply.status == 304:
        headers = CIMultiDict((name, value) for name, value in headers.items() if name in _IN_NOT_MODIFIED)
    elif reply.status == 206 and reply.part is not None:
        headers["Content-Range"] = reply.part.content_range(reply.head.length)
    headers["Age"] = str(reply.age_s)
    headers["Cache-Status"] = cache_status(node, reply.outcome)
    headers["Accept-Ranges"] = "bytes"
    headers["Access-Control-Allow-Origin"] = "*"
    headers["Access-Control-Expose-Headers"] = _EXPOSED
    return headers


def public_fields(head: Head) -> list[tuple[str, str]]:
    """The stored fields that clients see."""
    return [line for line in head.headers if line[0] not in _INTERNAL]


def _refusal(reply: Reply, headers: CIMultiDict[str]) -> web.Response:
    """A problem document for a condition or range that failed, or an object that is not there."""
    ours = {name: headers[name] for name in ("Age", "Cache-Status", "Access-Control-Allow-Origin")}
    match reply.status:
        case 412:
            return problem(412, "the stored object does not meet the request's precondition", headers=ours)
        case 416:
            ours["Content-Range"] = f"bytes */{reply.head.length}"
            return problem(416, f"the range lies outside the object's {reply.head.length} bytes", headers=ours)
        case 404:
            return problem(404, "nothing is published under this path", headers=ours)
        case status:
            return problem(status, "the origin refuses this object", headers=ours)


def _unavailable(node: str, outcome: Outcome, error: OriginError) -> web.Response:
    headers = {"Cache-Status": cache_status(node, outcome), "Access-Control-Allow-Origin": "*"}
    if error.failure.status == 503:
        headers["Retry-After"] = "1"
    return problem(
        error.failure.status,
        "the object is not in the cache and the origin cannot be asked now; try again in a moment",
        proxy_status=proxy_status(node, error),
        headers=headers,
    )


async def _stream(request: web.Request, response: web.StreamResponse, body: Body) -> web.StreamResponse:
    """Send a body with backpressure. Cancelling this (the client left) touches nothing but this response."""
    await response.prepare(request)
    try:
        if isinstance(body, bytes | memoryview):
            for offset in range(0, len(body), SLICE_BYTES):
                await _write(response, memoryview(body)[offset : offset + SLICE_BYTES])
        else:
            async with aclosing(body):
                async for chunk in body:
                    await _write(response, chunk)
        async with asyncio.timeout(STALL_S):
            await response.write_eof()
    except (OriginError, TimeoutError):
        # No proper end: neither the missing bytes nor the last chunk may be made up for the client.
        if request.transport is not None:
            request.transport.close()
    return response


async def _write(response: web.StreamResponse, chunk: bytes | memoryview) -> None:
    async with asyncio.timeout(STALL_S):
        await response.write(chunk)

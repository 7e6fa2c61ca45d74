"""What the cache serves: published objects (`/media/…`, `/catalog/…`), or everything of an HTTP origin.

HTTP in, HTTP out: what to serve is the engine's to say. A body that breaks off ends the connection without a proper
end, so that the client sees a truncated response and not a short one.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import aclosing, nullcontext, suppress
from math import ceil
from typing import Final

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict

from edge.access_log import End
from edge.account import Account
from edge.appkeys import ENGINE, NODE
from edge.cache import siblings, target
from edge.cache.ask import Ask
from edge.cache.engine import Body, Reply, Unavailable
from edge.cache.model import UNCONDITIONAL, Conditions
from edge.cache.siblings import Answered
from edge.cache.status import proxy_status
from edge.delivery import Delivery, asked, head_fields, is_ours
from edge.forwarding import Hop, LoopError, forwarded
from edge.lent import Lent
from edge.problems import problem
from origin.reader import Headers, Interim, OriginError

METHODS: Final = ("GET", "HEAD")
"""Of published objects."""
STALL_S: Final = 60.0
"""A client that takes nothing, or of whose body nothing comes, for this long has gone."""
SLICE_BYTES: Final = 256 * 1024
"""A body in memory is handed to the connection in slices of this size, each with its own deadline."""

_RESET = struct.pack("ii", 1, 0)  # lingering for no time: what is unsent is thrown away, and the other side told
_ANY_METHOD = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
HEADERS: web.ResponseKey[CIMultiDict[str]] = web.ResponseKey("HEADERS", CIMultiDict)
"""The fields of an answer as they are meant, before aiohttp adds what it thinks fit."""
DELIVERY: web.AppKey[Delivery] = web.AppKey("DELIVERY", Delivery)
OURS: web.AppKey[re.Pattern[str]] = web.AppKey("OURS", re.Pattern)
"""What matches the canonical targets that other handlers answer."""
NOTHING: Final = re.compile("(?!)")
LENT: web.AppKey[Lent] = web.AppKey("LENT", Lent)


async def get_content(request: web.Request) -> web.StreamResponse:
    """`GET` and `HEAD` of a published object; 400 for a target that names none, 405 for another method."""
    if request.method not in METHODS:
        return problem(405, f"{request.method} is not possible here", headers={"Allow": ", ".join(METHODS)})
    try:
        ask = asked(request.app[DELIVERY], request.method, request.raw_path, request.headers)
    except target.BadTarget as bad:
        return problem(400, str(bad))
    return await _answer(request, ask)


async def proxy(request: web.Request) -> web.StreamResponse:
    """Any method on any target of an HTTP origin."""
    delivery = request.app[DELIVERY]
    if request.method == "OPTIONS" and request.headers.get("Max-Forwards", "").strip() == "0":
        # We are the last that the client wants to hear (RFC 9110, 7.6.2).
        return web.Response(status=204, headers={"Allow": _ANY_METHOD})
    try:
        ask = asked(
            delivery,
            request.method,
            request.raw_path,
            request.headers,
            lambda: forwarded(request.raw_headers, _hop(request)),
        )
        if request.method not in METHODS or request.body_exists:
            ask.take_fields()
            ask.target = target.as_asked(request.raw_path)
    except target.BadTarget as bad:
        return problem(400, str(bad))
    except LoopError:
        return _loop(request)
    if request.app[OURS].fullmatch(ask.uri) is not None:
        return _not_so(request, ask.uri)
    ask.base = f"{request.scheme}://{request.host}"
    ask.body, ask.body_length = _body(request) if request.body_exists else None, request.content_length
    ask.on_interim = _interim(request)
    try:
        return await _answer(request, ask)
    except LoopError:
        return _loop(request)


def _loop(request: web.Request) -> web.Response:
    said = f"{request.app[NODE]}; error=proxy_loop_detected"
    return problem(508, "the request has been here before", proxy_status=said)


def _not_so(request: web.Request, uri: str) -> web.Response:
    """What is the edge's own is never asked of the origin and never stored: a hit would answer in its place."""
    path = uri.partition("?")[0]
    if request.method not in METHODS and uri == request.raw_path:
        return problem(405, f"{request.method} is not possible at {path!r}", headers={"Allow": ", ".join(METHODS)})
    return problem(404, f"{path!r} is the edge's own; allowed: asking for it in this spelling")


async def get_for_sibling(request: web.Request) -> web.StreamResponse:
    """For the other workers of this node, on their Unix socket only: the stored response with its exact head."""
    engine = request.app[ENGINE]
    try:
        question = engine.asked(request.headers.get(siblings.QUESTION, ""))
    except ValueError as error:
        return problem(400, str(error))
    ask = Ask(
        request.raw_path,
        conditions=Conditions(byte_range=question.byte_range) if question.byte_range else UNCONDITIONAL,
        directives=question.directives,
        fields=lambda: question.headers,
        authorized=question.authorized,
    )
    answer, body, done = await engine.for_sibling(ask, question)
    try:
        response = _Streamed(headers={siblings.ANSWER: engine.encoded(answer)})
        open_end = answer.kind is Answered.ENTRY or (answer.kind is Answered.PASS and answer.head is not None)
        if not open_end:
            response.content_length = 0
        elif question.block is not None and isinstance(body, bytes | memoryview):
            response.content_length = len(body)
        elif question.block is None and answer.head is not None and answer.head.length is not None:
            response.content_length = answer.head.length
        return await _stream(request, response, body, Account(0.0))
    finally:
        done()


# -- the request ---------------------------------------------------------------------------------------------------


def _hop(request: web.Request) -> Hop:
    major, minor = request.version
    return Hop(request.method, request.remote or "", request.scheme, f"{major}.{minor}", request.app[NODE])


async def _body(request: web.Request) -> AsyncIterator[bytes]:
    """The request body as it arrives. Raises TimeoutError when it stops coming."""
    chunks = aiter(request.content.iter_any())
    while True:
        try:
            async with asyncio.timeout(STALL_S):
                chunk = await anext(chunks)
        except StopAsyncIteration:
            return
        yield chunk


def _interim(request: web.Request) -> Interim | None:
    """Passes interim responses on, as long as the answer itself has not begun (RFC 9110, 15.2)."""
    if request.version < HttpVersion11:
        return None

    def pass_on(status: int, headers: Headers) -> None:
        transport = request.transport
        if transport is not None and status != 100 and request.writer.output_size == 0:
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
            transport.write(f"HTTP/1.1 {status} \r\n{lines}\r\n".encode("utf-8", "surrogateescape"))

    return pass_on


# -- the answer ----------------------------------------------------------------------------------------------------


async def _answer(request: web.Request, ask: Ask) -> web.StreamResponse:
    delivery = request.app[DELIVERY]
    account = delivery.accounts.begin()
    account.uri = ask.uri
    try:
        return await _answered(request, ask, delivery, account)
    finally:
        delivery.accounts.enter(account, request)


async def _answered(request: web.Request, ask: Ask, delivery: Delivery, account: Account) -> web.StreamResponse:
    node = request.app[NODE]
    try:
        reply = await request.app[ENGINE].get(ask)
    except Unavailable as unavailable:
        response = _unavailable(node, unavailable.error, published=delivery.published)
        delivery.accounts.answered(account, unavailable.outcome, response.status)
        account.end = End.WHOLE
        return response
    try:
        delivery.accounts.answered(account, reply.outcome, reply.status, reply.age_s)
        return await _send(request, ask, reply, delivery, account)
    finally:
        await reply.close()


async def _send(
    request: web.Request, ask: Ask, reply: Reply, delivery: Delivery, account: Account
) -> web.StreamResponse:
    headers = head_fields(delivery, ask, reply, account.first_byte_s or 0.0)
    if is_ours(reply, published=delivery.published):
        account.end = End.WHOLE
        return _refusal(reply, headers)
    response: web.StreamResponse
    if isinstance(reply.body, bytes | memoryview) and len(reply.body) <= SLICE_BYTES:
        # One write for head and body; HEAD keeps its Content-Length and sends none of it.
        response = web.Response(status=reply.status, headers=headers, body=bytes(reply.body) or None)
        account.bytes, account.end = len(reply.body), End.WHOLE
    else:
        response = _Streamed(status=reply.status, headers=headers)
    response[HEADERS] = headers
    return response if isinstance(response, web.Response) else await _stream(request, response, reply.body, account)


async def exact_fields(_request: web.Request, response: web.StreamResponse) -> None:
    """A signal handler: a forwarded response says what its origin said, and nothing that aiohttp thinks it should."""
    said = response.get(HEADERS)
    if said is None:
        return
    for name in (hdrs.CONTENT_TYPE, hdrs.SERVER):
        if name in said:
            response.headers[name] = said[name]
        elif name == hdrs.CONTENT_TYPE:
            response.headers.pop(name, None)


def _refusal(reply: Reply, headers: CIMultiDict[str]) -> web.Response:
    """A problem document for a condition or range that failed, or an object that is not there."""
    ours = {name: headers[name] for name in ("Age", "Cache-Status", "Access-Control-Allow-Origin") if name in headers}
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


def _unavailable(node: str, error: OriginError, *, published: bool) -> web.Response:
    # No Cache-Status: it is not for responses that are based on nothing stored (RFC 9211, 2).
    headers: dict[str, str] = {}
    if published:
        headers["Access-Control-Allow-Origin"] = "*"
    if error.status == 503:
        headers["Retry-After"] = str(ceil(error.retry_after_s or 1))
    return problem(
        error.status,
        "the object is not in the cache and the origin cannot be asked now; try again in a moment",
        proxy_status=proxy_status(node, error),
        headers=headers,
    )


class _Streamed(web.StreamResponse):
    """Its head goes out with the first piece of its body, in one write; before that when the piece is not there yet."""

    _send_headers_immediately = False


def _send_head(writer: AbstractStreamWriter) -> None:
    """A turn of the loop after the head was ready: nothing happens when it went out with a piece that was there."""
    with suppress(ConnectionError):
        writer.send_headers()


async def _stream(
    request: web.Request, response: web.StreamResponse, body: Body, account: Account
) -> web.StreamResponse:
    """Send a body with backpressure. Cancelling this (the client left) touches nothing but this response."""
    lent = request.app.get(LENT)  # between workers nobody is slow
    try:
        writer = await response.prepare(request)
        if isinstance(body, bytes | memoryview):
            await _write(response, body, account, lent)
        else:
            if writer is not None:
                asyncio.get_running_loop().call_soon(_send_head, writer)
            async with aclosing(body):
                async for chunk in body:
                    await _write(response, chunk, account, lent)
        async with asyncio.timeout(STALL_S):
            await response.write_eof()
            await request.writer.drain()
        if request.transport is not None:
            account.end = End.WHOLE
    except (OriginError, TimeoutError) as error:
        if isinstance(error, OriginError):
            account.end = End.BROKEN
        # No proper end: neither the missing bytes nor the last chunk may be made up for the client.
        if request.transport is not None:
            _send_head(request.writer)
            _break_off(request.transport, response)
    finally:
        if not isinstance(body, bytes | memoryview):
            await body.aclose()
    return response


def _break_off(transport: asyncio.Transport, response: web.StreamResponse) -> None:
    """End the connection so that the response does not look complete; where its end is all that tells, by a reset."""
    if hdrs.CONTENT_LENGTH in response.headers or hdrs.TRANSFER_ENCODING in response.headers:
        transport.close()
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()


async def _write(response: web.StreamResponse, piece: bytes | memoryview, account: Account, lent: Lent | None) -> None:
    """Slice by slice: a whole body given to the connection at once would lie in its buffer, beyond every budget."""
    with lent.lend(piece) if lent is not None and len(piece) > SLICE_BYTES else nullcontext() as loan:
        for offset in range(0, len(piece), SLICE_BYTES):
            part = memoryview(piece)[offset : offset + SLICE_BYTES]
            account.bytes += len(part)
            async with asyncio.timeout(STALL_S) if loan is None else loan.step(STALL_S):
                await response.write(part)

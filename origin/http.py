"""Objects over HTTP: any method, streamed both ways, over pooled connections, with deadlines.

`HttpClient` does the exchange (places, connections, one repetition, fields of the connection); `HttpReader` puts the
targets and fields of a ReadRequest on it as they are. `origin.s3` adds signatures. Bodies pass as they arrived on the
wire: nothing is decoded here but the chunks.

The layers below: `origin.pool` (connections to one address), `origin.connection` (one of them), `origin.wire` (HTTP
without I/O), `origin.watch` (deadlines).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from math import inf
from pathlib import Path

from origin.connection import Connection, Deadlines, Outgoing
from origin.places import NoPlaceError, Places
from origin.pool import Address, Pool, tls_context
from origin.reader import Chunks, Headers, Interim, OriginError, OriginFailure, ReadRequest, ReadResponse
from origin.wire import Head, RawFields, request_head

__all__ = ["Deadlines", "HttpClient", "HttpReader", "end_to_end", "tls_context"]

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-authentication-info",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_OURS = frozenset({"host", "content-length", "expect"})  # said anew for this exchange
_CONDITIONS = frozenset({"if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range", "range"})
_OWN_READ: Headers = (("accept", "*/*"), ("accept-encoding", "identity"))
_AGENT = ("user-agent", "smartedu-edge")
_WITH_CONTENT = frozenset({"POST", "PUT", "PATCH"})
_STREAMS_PER_PLACE = 8
_YOUNG_S = 1.0  # a connection used this lately has hardly been closed by the other side in the meantime


class HttpClient:
    """The exchanges with one address; every failure leaves as OriginError.

    max_concurrent: requests that wait for the head of their response at one time. It is what loads an origin; bodies
    on their way to slow clients do not, and have a bound 8 times as high.
    """

    def __init__(
        self,
        base: str,
        *,
        deadlines: Deadlines,
        max_concurrent: int,
        unix_socket: Path | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._address = Address.of(base, unix_socket)
        self._deadlines = deadlines
        self._pool = Pool(self._address, tls=tls, keep=max_concurrent)
        self._streams = Places(_STREAMS_PER_PLACE * max_concurrent, wait_s=deadlines.queue_s)
        self._places = Places(max_concurrent, wait_s=deadlines.queue_s)
        self._chunks_known = True

    @property
    def authority(self) -> str:
        """The origin's host, with its port where that is not the scheme's own."""
        return self._address.authority

    @asynccontextmanager
    async def exchange(self, request: ReadRequest, fields: Headers) -> AsyncIterator[ReadResponse]:
        """Send the request with these fields (its own `headers` and conditions are not looked at).

        The connection is held until the context is left.
        """
        end_by = asyncio.get_running_loop().time() + self._deadlines.total_s
        exchange = _Exchange(self._pool, self._outgoing(request, fields), self._deadlines, end_by)
        async with _one_of(self._streams):
            try:
                async with _one_of(self._places):
                    head = await exchange.answer(_interims_to(request.on_interim), repeatable=request.repeatable)
                self._chunks_known = head.version != "1.0"
                body = _chunks(exchange)
                yield ReadResponse(head.status, end_to_end(head.fields), body, head.reason, head.version)
            finally:
                await exchange.end()

    def retire(self) -> None:
        """Keep no connection; exchanges that are under way go on."""
        self._pool.retire()

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.close()

    def _outgoing(self, request: ReadRequest, fields: Headers) -> Outgoing:
        framing: Headers = ()
        if request.body is None:
            framing = (("content-length", "0"),) if request.method in _WITH_CONTENT else ()
        elif request.body_length is not None:
            framing = (("content-length", str(request.body_length)),)
        elif self._chunks_known:
            framing = (("transfer-encoding", "chunked"),)
        else:
            detail = "the origin speaks HTTP/1.0: it needs to know how long the body is"
            raise OriginError(OriginFailure.REQUEST, detail, status=411)
        expects = request.body is not None and any(name == "expect" for name, _ in fields)
        lines = (("host", self.authority), *fields, *framing)
        head = request_head(request.method, self._address.path + request.target, lines)
        return Outgoing(request.method, head, request.body, request.body_length, expects)


class HttpReader:
    """An ObjectReader over any HTTP server: the request's target is appended to `base` (no trailing slash).

    fields: sent with every request. tls: for an https base; by default the system's authorities are asked.
    """

    def __init__(
        self,
        base: str,
        *,
        unix_socket: Path | None = None,
        deadlines: Deadlines | None = None,
        max_concurrent: int = 256,
        fields: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._fields = tuple((name.lower(), value) for name, value in (fields or {}).items())
        self._client = HttpClient(
            base, deadlines=deadlines or Deadlines(), max_concurrent=max_concurrent, unix_socket=unix_socket, tls=tls
        )

    @property
    def authority(self) -> str:
        """The origin's host, with its port where that is not the scheme's own."""
        return self._client.authority

    @asynccontextmanager
    async def open(self, request: ReadRequest) -> AsyncIterator[ReadResponse]:
        """Read one object; OriginError when there is no usable answer."""
        if request.method == "CONNECT":
            raise OriginError(OriginFailure.REQUEST, "an origin is no tunnel", status=405)
        async with self._client.exchange(request, (*self._fields, *_fields_of(request))) as response:
            yield response

    def retire(self) -> None:
        """Keep no connection; what is being read is read to its end."""
        self._client.retire()

    async def close(self) -> None:
        """Close the pooled connections."""
        await self._client.close()


def end_to_end(raw: RawFields, *, exact: bool = False) -> Headers:
    """Field lines for storing and forwarding: names in lower case, without what belongs to the connection.

    RFC 9110, 7.6.1: the listed hop-by-hop fields and those that the Connection field names. A value that is no UTF-8 is
    read as ISO 8859-1, which it once was by definition (5.5), so that it can be stored and sent as text; exact: keep
    such bytes as surrogate escapes instead, for who passes them on at once.
    """
    lines = [(name.decode("latin-1").lower(), _text(value, exact=exact)) for name, value in raw]
    named = {token.strip().lower() for name, value in lines if name == "connection" for token in value.split(",")}
    return tuple((name, value) for name, value in lines if name not in HOP_BY_HOP and name not in named)


def _text(value: bytes, *, exact: bool) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("utf-8", "surrogateescape") if exact else value.decode("latin-1")


def _fields_of(request: ReadRequest) -> Headers:
    """The fields to send: the client's, with the request's own conditions instead of the client's; or just our own."""
    own = tuple((name.lower(), value) for name, value in request.fields().items())
    if not request.headers:
        return (*_OWN_READ, _AGENT, *own)
    hidden = (
        HOP_BY_HOP | (_OURS if request.body is None else _OURS - {"expect"}) | (_CONDITIONS if own else frozenset())
    )
    passed = tuple(line for line in request.headers if line[0] not in hidden)
    agent = () if any(name == "user-agent" for name, _ in passed) else (_AGENT,)
    return (*passed, *agent, *own)


class _Exchange:
    """Owns the connection and the task that sends the request's body, until the response is no longer wanted."""

    def __init__(self, pool: Pool, outgoing: Outgoing, deadlines: Deadlines, end_by: float) -> None:
        self._pool = pool
        self._outgoing = outgoing
        self._deadlines = deadlines
        self._end_by = end_by
        self._connection: Connection | None = None
        self._upload: asyncio.Task[None] | None = None

    async def answer(self, interim: Callable[[Head], None], *, repeatable: bool) -> Head:
        """Send the request; the response's head.

        Once more on a fresh connection, when a kept one turns out to have been closed by the origin before it said a
        word (RFC 9112, 9.3.1). What cannot be repeated goes on a connection that was in use a moment ago, or a new one.
        """
        kept = self._pool.take(younger_than_s=inf if repeatable else _YOUNG_S)
        if kept is not None:
            try:
                return await self._ask(kept, interim)
            except OriginError as error:
                if not (repeatable and kept.silent and error.failure is OriginFailure.TERMINATED):
                    raise
        return await self._ask(await self._pool.connect(self._deadlines.connect_s), interim)

    async def piece(self) -> bytes:
        """The next piece of the response's body; nothing at its end."""
        return b"" if self._connection is None else await self._connection.piece()

    async def end(self) -> None:
        """Stop sending. The connection is kept when the response has come in full.

        An unread rest would have to be received before the connection could be used again: it is closed then.
        """
        if self._upload is not None:
            self._upload.cancel()
            await asyncio.wait([self._upload])
        if self._connection is not None:
            self._pool.give_back(self._connection)
            self._connection = None

    async def _ask(self, connection: Connection, interim: Callable[[Head], None]) -> Head:
        self._connection = connection
        connection.begin(self._outgoing, self._deadlines, self._end_by)
        if self._outgoing.body is not None:
            self._upload = asyncio.create_task(connection.send_body(self._outgoing), name="request body to the origin")
        return await connection.head(interim)


@asynccontextmanager
async def _one_of(places: Places) -> AsyncIterator[None]:
    try:
        await places.take()
    except NoPlaceError:
        detail = "too many requests to the origin are under way"
        raise OriginError(OriginFailure.OVERLOADED, detail, retry_after_s=1.0) from None
    try:
        yield
    finally:
        places.give_back()


def _interims_to(told: Interim | None) -> Callable[[Head], None]:
    if told is None:
        return lambda _: None
    return lambda head: told(head.status, end_to_end(head.fields))


async def _chunks(exchange: _Exchange) -> Chunks:
    while piece := await exchange.piece():
        yield piece

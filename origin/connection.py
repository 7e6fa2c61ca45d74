"""One connection to an origin, and the exchange on it: at most one at a time.

The event loop pushes bytes in (`data_received`), `wire.Incoming` makes a response of them, whoever has the exchange
pulls (`head`, `piece`). What has come is handed out before what went wrong is. Between the two stands a bounded buffer:
when it is full the transport stops reading, so that a slow reader slows the origin down and memory stays bounded.

Deadlines, one at a time: connecting (`dial`), each piece of the request's body, the response's first byte, each further
piece; none while it is the reader who is slow. Beside them one for the whole exchange.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable
from dataclasses import dataclass
from typing import cast

from origin.reader import OriginError, OriginFailure
from origin.watch import Watch
from origin.wire import Head, Incoming, chunk

BUFFER_BYTES = 256 * 1024
"""Of a response's body, received and not yet taken, at which reading pauses; one read may come on top."""
CONTINUE_S = 1.0
"""How long `Expect: 100-continue` is waited for; an origin need not answer it (RFC 9110, 10.1.1)."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long each step of an exchange may take, in seconds.

    queue_s: waiting for one of the limited places; connect_s: to the connection; first_byte_s: from the sent request to
    the response's head; idle_s: between two pieces of a body, in either direction; total_s: the whole exchange.
    """

    queue_s: float = 5.0
    connect_s: float = 2.0
    first_byte_s: float = 10.0
    idle_s: float = 15.0
    total_s: float = 3600.0


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request as it goes on the wire. length None with a body: in chunks. expects: wait for 100 before the body."""

    method: str
    head: bytes
    body: AsyncIterable[bytes] | None = None
    length: int | None = None
    expects: bool = False


class Connection(asyncio.Protocol):
    """Made by `dial`. lost: told once that the connection has ended."""

    def __init__(self, lost: Callable[[Connection], None]) -> None:
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._watch = Watch(self._fail)
        self._deadlines = Deadlines()
        self._incoming: Incoming | None = None
        self._fault: OriginError | None = None
        self._sending = False
        self._reading_paused = False
        self._ended_by_origin = False
        self._news = asyncio.Event()  # something has come, or gone wrong
        self._room = asyncio.Event()  # the transport takes more bytes
        self._room.set()
        self._idle_since = 0.0

    @property
    def alive(self) -> bool:
        """Whether both sides still hold it, as far as we know."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def waited_s(self) -> float:
        """How long ago its last exchange ended, seconds."""
        return self._loop.time() - self._idle_since

    # -- one exchange ------------------------------------------------------------------------------------------------

    @property
    def silent(self) -> bool:
        """Whether the origin has not said a word yet in this exchange."""
        return self._incoming is None or self._incoming.silent

    @property
    def reusable(self) -> bool:
        """Whether it may carry another exchange."""
        over = self._incoming is None or self._incoming.reusable
        return over and not self._sending and self._fault is None and self.alive

    def begin(self, request: Outgoing, deadlines: Deadlines, end_by: float) -> None:
        """Start an exchange: send the request's head. end_by: when all has to be over, in the loop's time."""
        self._incoming = Incoming(request.method)
        self._deadlines = deadlines
        self._watch.limit(end_by)
        self._sending = request.body is not None
        if not self.alive:
            self._fault = OriginError(OriginFailure.TERMINATED, "the connection ended before the request was sent")
            return
        self._write(request.head)
        if not self._sending:
            self._expect_answer()

    async def send_body(self, request: Outgoing) -> None:
        """Send the request's body as the client gives it and the origin takes it. Faults show in `head` and `piece`."""
        try:
            if request.expects:
                await self._go_ahead()
            if not self._answered():
                await self._send(request)
        except OriginError as error:
            self._fail(error)

    async def head(self, interim: Callable[[Head], None]) -> Head:
        """The final response's head; `interim` is called with each one before it. Raises OriginError."""
        incoming = self._exchange()
        while True:
            while incoming.interims:
                interim(incoming.interims.popleft())
            if incoming.head is not None:
                return incoming.head
            await self._next()

    async def piece(self) -> bytes:
        """The next piece of the response's body; nothing at its end. Raises OriginError when it is not complete."""
        incoming = self._exchange()
        while True:
            taken = incoming.take()
            if taken is not None:
                self._resume_reading(incoming)
                return taken
            if incoming.ended:
                return b""
            await self._next()

    def rest(self, keep_s: float) -> None:
        """Wait for the next exchange, so many seconds at most."""
        self._incoming = None
        self._idle_since = self._loop.time()
        self._watch.clear()
        self._watch.expect(keep_s, OriginFailure.TERMINATED, "the next request")

    def close(self) -> None:
        """End the connection at once."""
        self._watch.stop()
        if self._transport is not None:
            self._transport.abort()

    # -- the request's body ------------------------------------------------------------------------------------------

    async def _send(self, request: Outgoing) -> None:
        sent = 0
        self._expect_client()
        async for piece in _given(request.body):
            sent += len(piece)
            if request.length is not None and sent > request.length:
                raise OriginError(OriginFailure.REQUEST, "the client's body is longer than it was announced")
            if piece:
                self._write(piece if request.length is not None else chunk(piece))
                await self._written()
            if self._over():
                return  # the origin has answered in full: it does not want the rest
            self._expect_client()
        if request.length is None:
            self._write(chunk(b""))
        elif sent < request.length:
            raise OriginError(OriginFailure.REQUEST, "the client's body is shorter than it was announced")
        self._sending = False
        self._expect_answer()

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    async def _written(self) -> None:
        if not self._room.is_set():
            self._watch.expect(self._deadlines.idle_s, OriginFailure.WRITE_TIMEOUT, "room for more of the request")
            await self._room.wait()

    async def _go_ahead(self) -> None:
        """Until the origin says 100 or something final, or has had its time to."""
        incoming = self._exchange()
        self._watch.pause()
        try:
            async with asyncio.timeout(CONTINUE_S):
                while incoming.silent and self._fault is None:
                    await self._next()
        except TimeoutError:
            pass

    def _answered(self) -> bool:
        return self._incoming is not None and self._incoming.head is not None

    def _over(self) -> bool:
        return self._fault is not None or (self._incoming is not None and self._incoming.ended)

    # -- deadlines ---------------------------------------------------------------------------------------------------

    def _expect_client(self) -> None:
        self._watch.expect(self._deadlines.idle_s, OriginFailure.REQUEST, "more of the client's body")

    def _expect_answer(self) -> None:
        if self._over():
            return
        if self._answered():
            self._watch.expect(self._deadlines.idle_s, OriginFailure.READ_TIMEOUT, "more of the response")
        else:
            self._watch.expect(self._deadlines.first_byte_s, OriginFailure.READ_TIMEOUT, "the response's head")

    # -- called by the event loop ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It stands."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Bytes have come: part of the response, or something nobody asked for."""
        incoming = self._incoming
        if incoming is None:
            self.close()
            return
        if self._fault is not None:
            return
        try:
            incoming.feed(data)
        except OriginError as error:
            self._fail(error)
            return
        self._after_data(incoming)
        self._news.set()

    def eof_received(self) -> None:
        """The origin will send no more; the transport closes itself."""
        self._ended_by_origin = True

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended, by us or by the other side."""
        self._transport = None
        self._watch.stop()
        self._room.set()
        if self._incoming is not None and self._fault is None:
            try:
                # A reset, or our own end to it, must not pass for the end of a body that has no other mark.
                self._incoming.feed_eof(clean=exc is None and self._ended_by_origin)
            except OriginError as error:
                self._fault = error
        self._news.set()
        self._lost(self)

    def pause_writing(self) -> None:
        """The transport's buffer is full."""
        self._room.clear()

    def resume_writing(self) -> None:
        """There is room again."""
        self._room.set()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _after_data(self, incoming: Incoming) -> None:
        """Let the time begin for what has to come next."""
        if incoming.ended:
            self._watch.clear()
        elif incoming.buffered >= BUFFER_BYTES and self._transport is not None and self.alive:
            self._transport.pause_reading()
            self._reading_paused = True
            self._watch.pause()
        elif not self._sending and (incoming.head is not None or incoming.interims):
            self._expect_answer()

    def _resume_reading(self, incoming: Incoming) -> None:
        if self._reading_paused and incoming.buffered < BUFFER_BYTES // 2 and self._transport is not None:
            self._reading_paused = False
            self._transport.resume_reading()
            if not self._sending:
                self._expect_answer()

    def _exchange(self) -> Incoming:
        if self._incoming is None:
            raise RuntimeError("no exchange has begun on this connection")
        return self._incoming

    async def _next(self) -> None:
        """Wait for news; OriginError when there will be none."""
        if self._fault is not None:
            raise OriginError(self._fault.failure, self._fault.detail, status=self._fault.status)
        self._news.clear()
        await self._news.wait()

    def _fail(self, error: OriginError) -> None:
        if self._fault is None:
            self._fault = error
        self._news.set()
        self.close()


async def _given(body: AsyncIterable[bytes] | None) -> AsyncIterator[bytes]:
    """The client's body; whatever its stream raises is the client's fault."""
    if body is None:
        return
    try:
        async for piece in body:
            yield piece
    except OriginError:
        raise
    except Exception as error:
        raise OriginError(OriginFailure.REQUEST, f"the client's body broke off: {type(error).__name__}") from error

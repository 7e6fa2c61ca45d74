"""A connection's hits: what the fast lane answers, and what the client has yet to take of it.

This is the half of a connection that most of its bytes go through, so what a hit touches is kept small: with thousands
of connections each line of memory that a hit reads comes from afar. `edge.protocol` is the other half, for all that the
lane does not answer.
"""

from __future__ import annotations

import asyncio
import fcntl
import sys
import termios
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

import aiofastnet
from aiohttp.web_protocol import RequestHandler

from edge.answers import Answer, Sent
from edge.direct import DirectWriter
from edge.fastlane import Lane, Narrow
from edge.framing import END_OF_HEAD

if TYPE_CHECKING:
    from edge.listening import EdgeServer

TOGETHER_BYTES = 64 * 1024
"""Of bodies that answer requests of one read in one write."""
UNNOTED = 8
"""For that part of the time that a connection may idle it is not noted again that it does not."""


class HitProtocol(RequestHandler):
    """One connection, as far as the fast lane answers it."""

    # Beside each other: a class has its slots in the order of their names.
    __slots__ = (
        "_address",
        "_clean",
        "_direct",
        "_edge",
        "_lane",
        "_owed",
        "_seen_until",
        "_unsent",
        "_unsent_bytes",
    )

    def __init__(self, edge: EdgeServer, **kwargs: Any) -> None:
        super().__init__(edge, **kwargs)
        self._edge = edge
        self._lane: Lane | Narrow | None = edge.lane
        self._clean = True  # at the beginning of a request, nothing kept back
        self._owed = 0  # requests received and not yet answered
        self._seen_until = 0.0  # when the next hit on the lane is to be noted as a sign of life
        self._direct: DirectWriter | None = None  # once something is sent out of pages
        self._unsent: tuple[Sent, ...] = ()  # answers of the lane that the client has yet to take
        self._unsent_bytes = 0  # of all that it has yet to take, when that was last looked at
        self._address: str | None = None  # of the client, once somebody has asked

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the transport: a client is there."""
        super().connection_made(transport)
        if _tells_what_is_unsent(transport):
            # Paused means that something is unsent, however little: what is left is lost when the process ends.
            transport.set_write_buffer_limits(high=0)  # type: ignore[attr-defined]
        elif self._edge.lane is not None:
            self._lane = self._edge.lane.narrow

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection is closed, by whomever."""
        if self._direct is not None:  # after this the transport closes the descriptor
            self._direct.let_go()
            self._direct = None
        self._edge.guests.gone(self)
        if self._unsent:
            self._taken(whole=False)
        super().connection_lost(exc)

    # What the other half of the connection does.

    def _take(self, data: bytes) -> None:
        """Bytes that the lane does not look at."""
        raise NotImplementedError

    def _take_beginning(self, data: bytes) -> None:
        """Bytes that begin with a request that the lane does not answer."""
        raise NotImplementedError

    def _take_post(self, data: bytes) -> None:
        """Bytes that begin with a POST."""
        raise NotImplementedError

    def _requested(self) -> None:
        """A request has come whole that the lane answers: the client is late with nothing."""
        raise NotImplementedError

    def late(self) -> None:
        """The client has not delivered what was due, or has waited for as long as it was told to."""
        raise NotImplementedError

    # What comes in.

    def data_received(self, data: bytes) -> None:
        """Called by the transport; with nothing, by the base class, when a full queue or body buffer has room again."""
        if self._clean and not self._close and not self._force_close:
            lane = self._lane
            if lane is not None and self._owed == 0 and not self._paused and not self._request_in_progress:
                answer = lane.hot.get(data)
                now = monotonic()
                if answer is None or now >= answer.until or not lane.has_room:
                    if data.startswith(b"POST "):  # never on the lane
                        self._take_post(data)
                        return
                    answer = lane.answer(data)
                if answer is not None:
                    transport: Any = self.transport
                    whole = answer.whole
                    if whole is not None:
                        transport.write(whole)
                    else:
                        self._write_large(transport, answer)
                    if (
                        answer.count
                        and now < self._seen_until
                        and not self._paused
                        and not lane.logs
                        and not transport.is_closing()
                    ):
                        answer.count += 1
                    else:
                        self._sent(lane, (Sent(answer, data, now),))
                    return
                data = self._send_several(lane, data)
            if data:
                self._take_beginning(data)
        else:
            self._take(data)

    # What goes out.

    def _write_large(self, transport: asyncio.Transport, answer: Answer) -> None:
        """Head and body in two pieces; out of pages as much as the kernel takes at once."""
        pages = answer.pages
        if pages is None:
            transport.writelines((answer.head, answer.body))
            return
        if self._direct is None:
            self._direct = self._direct_writer(transport)
        taken = self._direct.write(answer.head, pages, answer.part_at, answer.bytes) if self._direct else 0
        rest = taken - len(answer.head)
        if rest < 0:
            transport.writelines((answer.head[taken:], answer.body))
        elif rest < answer.bytes:
            transport.write(memoryview(answer.body)[rest:])

    def _direct_writer(self, transport: asyncio.Transport) -> DirectWriter | None:
        """None where what is sent has to be encrypted first."""
        pipe = self._edge.lane.pipe if self._edge.lane is not None else None
        if pipe is None or transport.get_extra_info("sslcontext"):
            return None
        return DirectWriter(transport, pipe)

    def _send_several(self, lane: Lane | Narrow, data: bytes) -> bytes:
        """Of several requests in one read, answer on the lane as many as come first; the rest."""
        end = data.find(END_OF_HEAD) + 4
        if end in (3, len(data)):
            return data
        sent: list[Sent] = []
        parts: list[bytes | memoryview] = []
        waiting = 0
        while end > 3 and waiting < TOGETHER_BYTES:
            answer = lane.answer(data[:end])
            if answer is None:
                break
            parts += answer.buffers()  # at once: with the next request's look-up its time may be over
            sent.append(Sent(answer, data[:end], monotonic()))
            waiting += answer.bytes
            data = data[end:]
            end = data.find(END_OF_HEAD) + 4
        if sent and self.transport is not None:
            self.transport.writelines(parts)
            self._sent(lane, sent)
        return data

    def _sent(self, lane: Lane | Narrow, sent: Sequence[Sent]) -> None:
        """Answers of the lane have been handed to the connection."""
        now = monotonic()
        self._requested()
        self._answered(now)
        if lane.logs:
            sent = [lane.noted(one) for one in sent]
        if self.transport is None or self.transport.is_closing():  # writing has failed: the client had left
            self._lost(lane, sent)
            return
        if self._paused:
            sent = self._begin_to_take(lane, sent)
        for one in sent:
            lane.given(one.answer)
            if lane.logs:
                lane.log(one, self._client(), whole=True)

    def _answered(self, now: float) -> None:
        """It is not idle. Noted only now and then: what is noted lies about in memory that nothing else touches, and
        with thousands of connections each note is for one or two answers."""
        if now >= self._seen_until:
            self._seen_until = self._edge.unnoted_until(now, self._keepalive_timeout / UNNOTED)
            self._shows_life()

    def _shows_life(self) -> None:
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout * (1 + 1 / UNNOTED)
        self._edge.guests.idle(self)

    def _begin_to_take(self, lane: Lane | Narrow, sent: Sequence[Sent]) -> Sequence[Sent]:
        """Hold on to what the client has yet to take; what is on its way to it already."""
        if self.transport is None:
            return sent
        left = self.transport.get_write_buffer_size()
        gone = len(sent)
        while gone and left > 0:
            gone -= 1
            left -= len(sent[gone].answer.head) + sent[gone].answer.bytes
        self._unsent = tuple(sent[gone:])
        for one in self._unsent:
            lane.began(one.answer)
        return sent[:gone]

    def _taken(self, *, whole: bool) -> None:
        """The client has taken what the lane had for it, or left."""
        unsent, self._unsent = self._unsent, ()
        self._shows_life()
        lane = self._edge.lane
        if lane is not None:
            for one in unsent:
                lane.ended(one.answer, whole=whole)
                if lane.logs:
                    lane.log(one, self._client(), whole=whole)

    def _lost(self, lane: Lane | Narrow, sent: Sequence[Sent]) -> None:
        """The connection broke while these were written; how much of them the client has is not known."""
        for one in sent:
            lane.began(one.answer)
            lane.ended(one.answer, whole=False)
            if lane.logs:
                lane.log(one, self._client(), whole=False)

    def pause_writing(self) -> None:
        """Called by the transport: the client has yet to take something. From now on it is watched."""
        super().pause_writing()
        if self.transport is not None:
            self._unsent_bytes = untaken(self.transport)
            self._edge.guests.takes.begin(self)

    def resume_writing(self) -> None:
        """Called by the transport: what was written is sent."""
        super().resume_writing()
        self._edge.guests.takes.end(self)
        if self._unsent:
            self._taken(whole=True)

    def stalled(self) -> None:
        """The client has had time to take something of what there is for it."""
        if self.transport is None or not self._paused:
            return
        left = untaken(self.transport)
        if left == self._unsent_bytes:
            self.transport.abort()
        else:  # less, or more: the full road has added an answer, but adds no second one while nothing is taken
            self._unsent_bytes = left
            self._edge.guests.takes.begin(self)

    def undelivered(self) -> bool:
        """Whether the client has yet to take something of what was sent to it."""
        return self.transport is not None and untaken(self.transport) > 0

    def give_way(self) -> bool:
        """Close for the sake of a newcomer, if nothing is being answered."""
        if not self._idles():
            return False
        self.force_close()
        return True

    def _idles(self) -> bool:
        """Whether all that was asked is answered, down to the last byte handed to the transport, or sent by it."""
        return self._owed == 0 and not self._request_in_progress and not self._paused

    def _process_keepalive(self) -> None:
        """Called by the base class, to close a connection that is idle: no answer is owed to it or on its way."""
        if self._paused or self._owed:
            self._shows_life()
        # After each of its own answers the base class sets the time as if nothing had been noted since.
        noted = self._seen_until + self._keepalive_timeout
        self._next_keepalive_close_time = max(self._next_keepalive_close_time, noted)
        super()._process_keepalive()

    def force_close(self) -> None:
        """Called by the base class, too. Nobody watches over what is unsent after that."""
        transport = self.transport
        super().force_close()
        if self._paused and transport is not None:
            transport.abort()

    async def shutdown(self, timeout: float | None = 15.0) -> None:
        """Called by the server when it ends: whoever has not taken all by now is cut off, and counted so."""
        if self._unsent:
            if self.transport is not None:
                self.transport.abort()
            self._taken(whole=False)
        await super().shutdown(timeout)

    def _client(self) -> str:
        if self._address is None:
            peer = self.peername
            self._address = str(peer[0]) if isinstance(peer, tuple) else str(peer or "")
        return self._address


def untaken(transport: asyncio.Transport) -> int:
    """Bytes that wait for the client, here or in the kernel, whose buffer gives us room only by the third."""
    waiting = transport.get_write_buffer_size()
    connection = transport.get_extra_info("socket")
    if connection is None:
        return waiting
    with suppress(OSError, ValueError):  # it may be closed by now
        in_kernel = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
        waiting += int.from_bytes(in_kernel, sys.byteorder)
    return waiting


def _tells_what_is_unsent(transport: asyncio.BaseTransport) -> bool:
    """uvloop's encrypted ones only tell of what is not encrypted yet; aiofastnet's encrypt a little at a time."""
    return transport.get_extra_info("sslcontext") is None or isinstance(transport, aiofastnet.Transport)

"""The connection's protocol: aiohttp's own, fed so that one request can never be taken for a part of another.

Bytes go to aiohttp's parser in portions that end where a request's head ends, and where its body ends. So whatever the
parser finds wrong concerns exactly one request, requests before it are answered, and it makes no difference how the
bytes were cut into packets. What the parser lets pass and `edge.framing` does not is refused before it is queued. There
is no second parser: the end of a head is its first empty line (the strict parser has no other), the end of a body is
its Content-Length as the parser read it. A chunked body's end only the parser knows, so a request with one is the last
on its connection: nothing smuggled in behind it is ever looked at, and its trailers cannot leak into a next request
(aiohttp 3.14 adds the last trailer field to it).

States of a connection's input:

    HEAD     waiting for a request's head, or in it
    BODY     in a body of known length
    CHUNKED  in a chunked body
    DEAF     the last request has been received or refused: what else comes is thrown away

After a refusal the connection is closed in stages (RFC 9112, 9.6), so that the client gets to read why.

What the fast lane answers is in `edge.hits`, and does not come here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from enum import Enum
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpParser, RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import _ErrInfo
from aiohttp.web_request import BaseRequest

from edge.answers import Answer, Block, Sent
from edge.connections import Patience
from edge.framing import (
    CHUNKED,
    END_OF_HEAD,
    MAX_HEAD_BYTES,
    BrokenBody,
    Refusal,
    Refused,
    head_too_large,
    in_origin_form,
    judge,
    judge_line,
    known_method,
    malformed,
    plain_fields,
    refusal_of,
    too_much_overhead,
    within_method,
)
from edge.hits import HitProtocol, untaken
from edge.postroad import PostRoad, Taken
from edge.problems import SERVER, answer_in_our_version, problem, refused_status
from edge.shortroad import Peer

if TYPE_CHECKING:
    from edge.listening import EdgeServer

log = logging.getLogger(__name__)

LINGER_S = 1.0
LINGER_BYTES = 1024 * 1024
"""A client that keeps sending after it was refused is listened to for this long, to this many bytes."""


class _Phase(Enum):
    HEAD = 1
    BODY = 2
    CHUNKED = 3
    DEAF = 4


_IN_BODY = (_Phase.BODY, _Phase.CHUNKED)


class EdgeProtocol(HitProtocol):
    """One connection."""

    __slots__ = (
        "_awaited",
        "_body",
        "_discarded",
        "_ended",
        "_farewell",
        "_fed",
        "_fields",
        "_half_closed",
        "_judged_before",
        "_last",
        "_left",
        "_lingers",
        "_method",
        "_overload",
        "_partial",
        "_pending",
        "_phase",
        "_portion",
        "_posting",
        "_tried",
        "_wire",
    )

    def __init__(self, edge: EdgeServer, **kwargs: Any) -> None:
        super().__init__(edge, **kwargs)
        self._overload = edge.overload
        self._awaited: Patience | None = None  # what the client has to deliver in time
        self._phase = _Phase.HEAD
        self._fields = b""  # of the last head, where another with the same need not be judged again
        self._partial = b""  # of the head, as far as it has come
        self._fed = 0  # bytes of it that the parser has had
        self._method: str | None = None  # where that is one that the parser does not know
        self._pending = b""  # received, and not yet to be fed
        self._body: StreamReader = EMPTY_PAYLOAD
        self._left = 0  # bytes of the body still to come
        self._wire = 0  # bytes of a chunked body as it came
        self._portion = 0  # bytes of the body since it was last said to make progress
        self._last = False  # no request is taken after this one
        self._tried = False  # the short road of view events, for the request at hand
        self._judged_before: tuple[Refusal | None] | None = None  # whether there is room for the request at hand
        self._posting = False  # view events wait for the disk, and what comes after them waits, too
        self._half_closed = False
        self._lingers = False  # the client may still be sending
        self._discarded = 0
        self._ended: asyncio.Future[None] | None = None  # nothing comes any more
        self._farewell: asyncio.Task[None] | None = None  # the end in stages, where no handler sees to it

    # What comes in.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or turn it away when there is no place."""
        if not self._edge.guests.admit(self):
            self._phase, self._clean = _Phase.DEAF, False
            transport.write(self._edge.full)  # type: ignore[attr-defined]
            transport.close()
            self._edge.on_refused(Refusal.CONNECTIONS)
            return
        super().connection_made(transport)
        self._await(self._edge.guests.heads)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection is closed, by whomever."""
        if self._overload is not None:
            self._overload.ended(self._owed)
        self._owed = 0
        self._phase, self._clean = _Phase.DEAF, False
        self._end()
        super().connection_lost(exc)

    def _take_beginning(self, data: bytes) -> None:
        if not self._take_whole_head(data):
            self._take(data)

    def _take_post(self, data: bytes) -> None:
        if not self._takes_known_post(data):
            self._take(data)

    def _requested(self) -> None:
        if self._awaited is not None:
            self._await(None)

    def _take_whole_head(self, data: bytes) -> bool:
        """One whole head and no more is nearly everything that ever comes, most often with the fields of the last."""
        known = self._fields
        if data.endswith(known) and data.find(b"\r\n") + len(known) == len(data):
            self._take_known_head(data)
            return True
        end = data.find(END_OF_HEAD)
        if end > 0 and end + 4 == len(data):
            self._take_head(data)
            return True
        return False

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio's protocols may answer it, aiohttp's never does
        """The client sends no more. If it waits for an answer to what it has sent, it gets that before we close."""
        if self._phase in _IN_BODY and not self._body.is_eof():
            self._break_body(BrokenBody(400, Refusal.MALFORMED, "the request body ended before its time"))
        self._phase, self._clean = _Phase.DEAF, False
        self._await(None)
        self._end()
        if self._owed == 0 or self.transport is None:
            return False
        if self.transport.get_extra_info("sslcontext") is not None:
            return False  # TLS has no half-closed connections
        self._half_closed = True
        return True

    def _take(self, data: bytes) -> None:
        """Whatever came, as far as there is room for it."""
        if self._hears() and (self._close or self._force_close):
            return
        if self._posting:
            self._hold(data)
            return
        data, self._pending = self._pending + data, b""
        if self._phase in _IN_BODY:
            self._take_body(b"")  # the parser may have kept something back while the body's buffer was full
        while data and self._hears():
            if self._reading_paused or len(self._messages) >= self._max_msg_queue_size:
                self._pending = data
                break
            data = self._take_some(data)
        if not self._hears():
            self._discard(data)
        self._settle()

    def _hold(self, data: bytes) -> None:
        """Answers have the order of their requests: what comes before the last one is given is looked at after it."""
        self._pending += data
        if data and not self._buffer_paused:
            self._pause_reading_for_buffer()

    def _hears(self) -> bool:
        return self._phase is not _Phase.DEAF

    def _take_some(self, data: bytes) -> bytes:
        """Feed what belongs together; the rest."""
        if self._phase is _Phase.HEAD:
            return self._take_head_part(data)
        if self._phase is _Phase.CHUNKED:
            self._take_body(data)
            return b""
        piece, rest = data[: self._left], data[self._left :]
        self._left -= len(piece)
        self._take_body(piece)
        return rest

    def _take_head_part(self, data: bytes) -> bytes:
        seen = self._partial + data
        end = seen.find(END_OF_HEAD, max(0, len(self._partial) - 3)) + 4
        if end > 3:
            self._partial = b""
            return self._take_head(seen[:end], seen[end:])
        self._partial = seen
        try:
            if (self._fed or not within_method(seen)) and self._feed_head(seen):
                raise malformed("the header section has no end")
            if len(seen) > MAX_HEAD_BYTES:
                raise head_too_large()
        except Refused as refused:
            self._refuse(refused)
        return b""

    def _feed_head(self, head: bytes) -> Sequence[tuple[RawRequestMessage, StreamReader]]:
        """Feed what the parser has not had yet of a head that has come in parts."""
        unfed = head[self._fed :]
        if self._fed == 0:
            unfed, self._method = known_method(head)
        self._fed = len(head)
        return self._feed(unfed, head)

    def _take_head(self, head: bytes, after: bytes = b"") -> bytes:
        """A head is complete. after: what has come after it; what of that is not taken is returned."""
        if self._awaited is not None:
            self._await(None)
        try:
            message, payload, length = self._judged(head)
        except Refused as refused:
            self._refuse(refused)
            return after
        if length == 0:
            self._fields = plain_fields(message, head)
        if (reason := self._too_much()) is not None:
            self._shed(message, payload, reason)
        elif length != 0:
            if length == len(after) and self._takes_post_road(message, payload, head, after):
                return b""
            self._admit(self._expect_body(message, payload, length), payload, head)
        else:
            if message.should_close:
                self._phase, self._clean = _Phase.DEAF, False
            self._admit(message, payload, head)
        return after

    def _judged(self, head: bytes) -> tuple[RawRequestMessage, StreamReader, int]:
        """The one request that a whole head is, and the length of its body. Raises Refused."""
        found = self._feed_head(head)
        self._fed = 0
        if len(found) != 1:
            raise malformed("there are empty lines before the request")
        message, payload = found[0]
        if self._method is not None:
            message, self._method = message._replace(method=self._method), None
        length = judge(message, head)
        if (length == 0) is not (payload is EMPTY_PAYLOAD):
            raise malformed("the length of the request body is not clear")
        return message, payload, length

    def _take_known_head(self, head: bytes) -> None:
        """A head of which all but the first line has been judged on this connection, byte for byte."""
        reason = self._too_much()
        if reason is not None and head.startswith(b"GET ") and self._may_say_busy():
            self._say_busy(reason, self._edge.busy)  # whatever it asks for
            return
        try:
            fed, method = known_method(head)
            found = self._feed(fed, head)
            if len(found) != 1:
                raise malformed("there is more than one request in one head")
            message, payload = found[0]
            if method is not None:
                message = message._replace(method=method)
            judge_line(message, head)
        except Refused as refused:
            self._refuse(refused)
            return
        if reason is not None:
            self._shed(message, payload, reason)
        else:
            self._admit(message, payload, head)

    def _admit(self, message: RawRequestMessage, payload: StreamReader, head: bytes) -> None:
        """It is to be answered: at once if it is a hit in memory, else by a handler."""
        if payload is EMPTY_PAYLOAD and self._takes_short_road(message, head):
            return
        if self._overload is not None:
            self._overload.began()
        self._owed += 1
        if message.path[0] != "/":
            message = in_origin_form(message)
        self._enqueue(message, payload)

    def _takes_short_road(self, message: RawRequestMessage, head: bytes) -> bool:
        """Whether it has been answered there."""
        lane, short, transport = self._lane, self._edge.short, self.transport
        if lane is None or short is None or transport is None or not lane.open:
            return False
        if self._owed or self._paused or self._request_in_progress:
            return False
        asked_at = monotonic()
        found = short.answer(message, self._peer)
        if found is None:
            return False
        answer = found if isinstance(found, Answer) else lane.learn(head, found)
        if answer.whole is None and not lane.has_room:
            return False
        if self._parser is not None:
            self._parser.message_consumed()
        if answer.whole is not None:
            transport.write(answer.whole)
        else:
            self._write_large(transport, answer)
        block = Block.of(message.headers) if lane.logs else None
        if not answer.keys:
            answer.took_s = monotonic() - asked_at
        self._sent(lane, (Sent(answer, head, asked_at, block),))
        if answer.keys:
            lane.recognise(head, answer, message.headers)
        else:
            answer.let_go()
        if self._overload is not None:
            self._overload.began()
            self._overload.ended()
        return True

    def _takes_known_post(self, data: bytes) -> bool:
        """Whether view events have been taken whose head is known. The parser is between two requests, and stays so."""
        posts = self._edge.posts
        known = posts.known(data) if posts is not None else None
        if posts is None or known is None:
            return False
        reason = self._too_much()
        taken = posts.offer(known[0], self._client(), known[1]) if reason is None else None
        if taken is None:
            self._judged_before = (reason,)
            return False
        self._post_began(posts, taken, partial(self._take_again, data))
        return True

    def _takes_post_road(self, message: RawRequestMessage, payload: StreamReader, head: bytes, body: bytes) -> bool:
        """Whether a whole request with a body has been taken care of: offered there, or queued for a handler."""
        posts = self._edge.posts
        if posts is None or self._owed or self._paused or self._request_in_progress or self._reading_paused:
            return False
        if self._tried or not posts.is_for(message, len(body)):
            return False
        self._feed(body, b"")  # so that the parser knows where the next head begins, and a handler could read it
        taken = posts.offer(message.headers, self._client(), body)
        if taken is None:
            self._admit(message, payload, head)
            return True
        posts.learn(head, message.headers)
        # `start` tells the parser of a request that it takes; here nobody does until it is answered, or queued for it.
        self._post_began(posts, taken, partial(self._admit, message, payload, head), self._parser)
        return True

    def _take_again(self, data: bytes) -> None:
        """A whole request that was not fed before, to be answered by a handler."""
        before, self._phase, self._tried = self._phase, _Phase.HEAD, True
        self._judged_before = (None,)
        self._take(data)
        self._tried = False
        if before is _Phase.DEAF:
            self._phase, self._clean = before, False

    def _post_began(
        self, posts: PostRoad, taken: Taken, otherwise: Callable[[], None], parser: HttpParser[Any] | None = None
    ) -> None:
        """View events are offered. otherwise: what is done when the disk does not confirm them. parser: that has read
        the request, to be told when it is answered."""
        if self._awaited is not None:
            self._await(None)
        if self._overload is not None:
            self._overload.began()
        self._owed += 1
        if taken.offer.synced is None:
            self._answer_post(posts, taken, parser)
            return
        self._posting, self._clean = True, False
        taken.offer.synced.add_done_callback(partial(self._posted, posts, taken, otherwise, parser))

    def _posted(
        self,
        posts: PostRoad,
        taken: Taken,
        otherwise: Callable[[], None],
        parser: HttpParser[Any] | None,
        synced: asyncio.Future[None],
    ) -> None:
        """The disk has confirmed view events, or has not; the client may have left meanwhile."""
        self._posting = False
        confirmed = synced.exception() is None
        if not confirmed:
            posts.withdrawn(taken)
        if self.transport is None:
            if confirmed:
                posts.left(taken)
            return
        if confirmed:
            self._answer_post(posts, taken, parser)
        else:
            self._owed -= 1
            if self._overload is not None:
                self._overload.ended()
            held, self._pending = self._pending, b""
            otherwise()
            self._pending += held
        if self._pending or self._buffer_paused or self._half_closed:
            self._go_on()
        else:
            self._settle()

    def _go_on(self) -> None:
        """With what has come while view events waited."""
        if self._buffer_paused and len(self._messages) < self._max_msg_queue_size:
            self._resume_reading_for_buffer()
        self._take(b"")

    def _answer_post(self, posts: PostRoad, taken: Taken, parser: HttpParser[Any] | None) -> None:
        self._edge.in_flight.enter()  # until it is known whether the connection has to be ended: a drain waits for that
        answer, last = posts.answer(taken)
        if self.transport is not None:
            self.transport.write(answer)
        if parser is not None:
            parser.message_consumed()
        self._owed -= 1
        if self._overload is not None:
            self._overload.ended()
        self._answered(monotonic())
        if last and not self._half_closed:
            self._phase, self._clean = _Phase.DEAF, False
            self._partial = self._pending = b""
            self._farewell = self._loop.create_task(self._leave(), name="last-answer")
            return
        if self._half_closed:
            self.force_close()
        self._edge.in_flight.leave()

    async def _leave(self) -> None:
        """After the last answer of the connection, when no handler's end does it: it is in flight until then."""
        try:
            with suppress(ConnectionError):  # the client was quicker
                if self._paused:
                    await self._drain_helper()
                await self._close_in_stages()
        finally:
            self._edge.in_flight.leave()
            self.force_close()

    def _peer(self) -> Peer:
        return Peer(self._client(), "http" if self.ssl_context is None else "https")

    def _expect_body(self, message: RawRequestMessage, payload: StreamReader, length: int) -> RawRequestMessage:
        self._body, self._left, self._wire, self._portion = payload, length, 0, 0
        self._clean = False
        if length == CHUNKED:
            self._phase = _Phase.CHUNKED
            message = message._replace(should_close=True)
        else:
            self._phase = _Phase.BODY
        self._last = message.should_close
        self._await(self._edge.guests.bodies)
        return message

    def _take_body(self, data: bytes) -> None:
        """Feed a part of the body, all of which belongs to it unless it is chunked."""
        body = self._body
        try:
            self._feed(data, b"")
        except Refused as refused:
            if not body.is_eof():
                self._break_body(BrokenBody(refused.status, refused.reason, "the request body is not well chunked"))
                return
        if body.is_eof():
            self._body = EMPTY_PAYLOAD
            self._phase = _Phase.DEAF if self._last else _Phase.HEAD
            return
        self._portion += len(data)
        if self._portion >= self._edge.guests.limits.body_portion:
            self._portion = 0
            self._edge.guests.bodies.begin(self)
        self._wire += len(data)
        if (
            self._phase is _Phase.CHUNKED
            and not self._reading_paused
            and too_much_overhead(self._wire, body.total_bytes)
        ):
            self._break_body(BrokenBody(413, Refusal.TOO_LARGE, "the request body has too much beside its data"))

    def _feed(self, data: bytes, head: bytes) -> Sequence[tuple[RawRequestMessage, StreamReader]]:
        """What the parser makes of `data`. Raises Refused. head: as far as it is known, to word the refusal."""
        parser: Any = self._parser
        try:
            messages, upgrades, _ = parser.feed_data(data)
        except HttpProcessingError as error:
            raise refusal_of(error, head) from None
        if upgrades:
            parser.set_upgraded(False)  # the request is answered as if it had not asked to (RFC 9110, 7.8)
        return messages  # type: ignore[no-any-return]

    def _enqueue(self, message: RawRequestMessage | _ErrInfo, payload: StreamReader) -> None:
        """As the base class does it: for `start`, which answers one request after the other."""
        self._request_count += 1
        self._messages.append((message, payload))
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
        if not self._buffer_paused and len(self._messages) >= self._max_msg_queue_size:
            self._pause_reading_for_buffer()

    def _discard(self, data: bytes) -> None:
        if data:
            self._lingers = True
            self._discarded += len(data)
            if self._discarded > LINGER_BYTES:
                self._end()

    def _settle(self) -> None:
        """After anything but one whole head: what is expected next."""
        self._clean = self._phase is _Phase.HEAD and not self._partial and not self._pending and not self._posting
        guests = self._edge.guests
        if self._phase is _Phase.HEAD:
            if self._partial:
                self._await(guests.heads)
            elif self._awaited is not guests.waits:
                self._await(None)
        else:
            self._await(guests.bodies if self._body is not EMPTY_PAYLOAD else None)

    # What is refused.

    def late(self) -> None:
        """The client has not delivered what was due, or has waited for as long as it was told to."""
        if self._awaited is self._edge.guests.waits:
            self._await(None)
            return
        if self._phase in _IN_BODY:
            if self._reading_paused or self._pending:
                self._edge.guests.bodies.begin(self)  # it is we who do not take it
            else:
                self._break_body(BrokenBody(408, Refusal.SLOW, "the request body did not arrive in time"))
            return
        self._awaited = None
        if not self._idles():
            self._refuse(Refused(408, Refusal.SLOW, "the header section did not arrive in time"))
        elif self.transport is not None:
            if self._partial.strip():  # one that has sent nothing has asked nothing
                self.transport.write(self._edge.late)
                self._edge.on_refused(Refusal.SLOW)
            self.force_close()

    def _refuse(self, refused: Refused) -> None:
        """Answer what came before it, then this; nothing after it."""
        self._phase, self._clean, self._lingers = _Phase.DEAF, False, True
        self._partial = self._pending = b""
        self._edge.on_refused(refused.reason)
        self._owed += 1
        if self._overload is not None:
            self._overload.began()
        self._enqueue(_ErrInfo(refused.status, refused, refused.detail), EMPTY_PAYLOAD)

    def _break_body(self, broken: BrokenBody) -> None:
        """Whoever reads the body gets this error instead of the rest."""
        body, self._body = self._body, EMPTY_PAYLOAD
        self._phase, self._clean, self._lingers = _Phase.DEAF, False, True
        self._pending = b""
        self._await(None)
        self._edge.on_refused(broken.reason)
        body.set_exception(broken)
        # A reader that has just been woken by the end of a chunk looks for data only, and waits again (aiohttp 3.14).
        self._loop.call_soon(body.set_exception, broken)

    def _too_much(self) -> Refusal | None:
        """Why there is no room for the request at hand, if so. Asked once for each, by the road that sees it first."""
        judged, self._judged_before = self._judged_before, None
        if judged is not None:
            return judged[0]
        return self._overload.full() if self._overload is not None else None

    def _shed(self, message: RawRequestMessage, payload: StreamReader, reason: Refusal) -> None:
        """503, as cheaply as it can be said; the connection goes on where that is sound."""
        if payload is EMPTY_PAYLOAD and not message.should_close and self._parser is not None and self._may_say_busy():
            self._parser.message_consumed()
            self._say_busy(reason, self._edge.busy_head if message.method == "HEAD" else self._edge.busy)
        else:
            self._refuse(Refused(503, reason, "the edge has more to do than it can; try again in a moment"))

    def _may_say_busy(self) -> bool:
        return not self._paused and self._idles()

    def _say_busy(self, reason: Refusal, answers: tuple[bytes, ...]) -> None:
        """Whoever comes again before its time waits in the network: saying no costs as much as a hot hit."""
        self._edge.on_refused(reason)
        if self.transport is not None:
            self.transport.write(answers[self._again_s()])
            self._pause_transport_reading()
            self._await(self._edge.guests.waits)

    def _again_s(self) -> int:
        return self._overload.again_s() if self._overload is not None else 1

    def _await(self, wanted: Patience | None) -> None:
        """From now on the client has time for this; None: for nothing in particular."""
        if wanted is self._awaited:
            return
        if self._awaited is not None:
            self._awaited.end(self)
            if self._awaited is self._edge.guests.waits and not self._reading_paused and not self._buffer_paused:
                self._resume_transport_reading()
        self._awaited = wanted
        if wanted is not None:
            wanted.begin(self)

    # What goes out.

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what no handler answered: a request that was refused, or a handler that broke.

        Raises ConnectionError when a part of another answer has been sent: the connection is then cut.
        """
        detail = "the edge met an error of its own"
        if isinstance(exc, Refused):
            status, detail = exc.status, exc.detail
        else:
            log.error("a handler broke: %s %s", request.method, request.path, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("a part of the response is sent already")
        answer_in_our_version(request)
        response = problem(
            status,
            detail,
            proxy_status=refused_status(self._edge.node, status),
            headers={"Retry-After": str(self._again_s())} if status == 503 else None,
        )
        response.force_close()
        response.headers["Server"] = SERVER
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Called by the base class. A client's broken body is no error of ours and fills no log."""
        if not isinstance(kw.get("exc_info"), Refused):
            super().log_exception(*args, **kw)

    def finish_response(
        self, request: BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> Coroutine[Any, Any, tuple[web.StreamResponse, bool]]:
        """Called by the base class when a response is to be ended; the last one ends the connection."""
        if self._owed > 0:
            self._owed -= 1
            if self._overload is not None:
                self._overload.ended()
        if resp.keep_alive is False:
            self._lane = None  # nothing is answered after it, though the base class has yet to end the connection
        if self._owed == 0 and (self._half_closed or self._lingers):
            self.close()
            if not resp.prepared:
                resp.force_close()
        return self._finish(resp, super().finish_response(request, resp, start_time))

    async def _finish(
        self, resp: web.StreamResponse, finishing: Coroutine[Any, Any, tuple[web.StreamResponse, bool]]
    ) -> tuple[web.StreamResponse, bool]:
        """It is in flight until the kernel has all of it, and until the client may no longer be sending if it is the
        last. Raises ConnectionError when the client leaves meanwhile."""
        in_flight = self._edge.in_flight
        in_flight.enter()
        try:
            result = await finishing
            if self._paused:
                await self._drain_helper()
            if not resp.keep_alive and not self._half_closed:
                await self._close_in_stages()
        finally:
            in_flight.leave()
        self._edge.guests.idle(self)
        return result

    async def _close_in_stages(self) -> None:
        """Say that we are done, and listen until the client is, too: a reset takes from it what it has not read yet,
        and the kernel resets a connection that is closed to a client that is still sending (RFC 9112, 9.6)."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        self._phase, self._clean = _Phase.DEAF, False
        self._partial = self._pending = b""
        if transport.can_write_eof():
            transport.write_eof()
        if self._discarded > LINGER_BYTES:
            return
        self._ended = self._loop.create_future()
        if not transport.is_reading():
            transport.resume_reading()
        left = untaken(transport)
        while not self._ended.done():
            with suppress(TimeoutError):
                async with asyncio.timeout(LINGER_S):
                    await asyncio.shield(self._ended)
            before, left = left, untaken(transport)
            if left in (0, before):
                return

    def _end(self) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

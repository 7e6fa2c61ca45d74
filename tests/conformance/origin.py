"""A scripted origin on a real socket, with every byte of its answers under the script's control.

Each case performed gets a stage: a path prefix, its answers in order, and a record of what arrived. Any number of cases
may run at the same time. A request without a stage gets a 404 that no case expects.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate, parsedate_to_datetime

from tests.conformance.message import LIMIT_BYTES, Fields, Head, MessageError, read_content, read_head
from tests.conformance.model import Framing, Hold, Received, Reply

HOLD_WITHIN_S = 5.0
_HOLDER = re.compile(r"<(now|rfc850|asctime)([+-]\d+)?>|<(path|host|id)>")
_RANGE = re.compile(r"bytes=(?:(\d+)-(\d*)|-(\d+))")
_NO_STAGE = Reply(404, body=b"<no such case>")


class Stage:
    """What the origin does in one case, and what it has seen of it."""

    def __init__(
        self, name: str, path: str, host: str, replies: tuple[Reply, ...], note: Callable[[str], None]
    ) -> None:
        """path: the prefix of the case's targets; host: the edge's authority; note: takes lines of the dialogue."""
        self.path = path
        self.received: list[Received] = []
        self.replies = replies
        self.bodies = tuple(self._body(number, one, name) for number, one in enumerate(replies, 1))
        self.opened = asyncio.Event()  # lets held answers go on
        self.forced = False  # an answer was let go on by its deadline, not by the clients
        self._began = int(time.time())
        self._names = {"path": path, "host": host, "id": name}
        self._note = note
        self._changed = asyncio.Event()

    def fill(self, text: str) -> str:
        """The text with its place holders filled."""
        return _HOLDER.sub(self._held, text)

    async def arrived(self, number: int) -> None:
        """Wait until so many requests of the case have arrived. Raises TimeoutError."""
        async with asyncio.timeout(HOLD_WITHIN_S):
            while len(self.received) < number:
                await self._changed.wait()

    def take(self, request: Received) -> int:
        """Record a request; the index of the answer to it."""
        index = min(len(self.received), len(self.replies) - 1)
        self.received.append(request)
        self._note(f"    edge -> origin    {_shown(request)}")
        self._changed.set()
        self._changed = asyncio.Event()
        return index

    def note_answer(self, index: int, text: str) -> None:
        """Record what was answered."""
        self._note(f"    origin -> edge    answer {index + 1}: {text}")

    async def wait_for_clients(self) -> None:
        """Until every client of the step has the head of its answer."""
        try:
            async with asyncio.timeout(HOLD_WITHIN_S):
                await self.opened.wait()
        except TimeoutError:
            self.forced = True

    def _held(self, found: re.Match[str]) -> str:
        kind, offset, name = found.groups()
        return self._names[name] if name else http_date(self._began + int(offset or 0), kind)

    @staticmethod
    def _body(number: int, one: Reply, name: str) -> bytes:
        return f"answer {number} of {name}".encode() if one.body is None else one.body


class RawOrigin:
    """Start with `async with RawOrigin() as origin`; `origin.stages[path] = Stage(...)`."""

    def __init__(self) -> None:
        self.stages: dict[str, Stage] = {}
        self.port = 0
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> RawOrigin:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=LIMIT_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_exc: object) -> None:
        if self._server is not None:
            self._server.close()
        for writer in self._connections.values():
            writer.transport.abort()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        assert connection is not None
        self._connections[connection] = writer
        try:
            while await self._exchange(reader, writer):
                pass
            writer.close()  # what was written still arrives, and then the end
            await writer.wait_closed()
        except (ConnectionError, asyncio.IncompleteReadError, MessageError):
            pass
        finally:
            del self._connections[connection]
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; whether the connection goes on."""
        request_head = await read_head(reader)
        if request_head is None:
            return False
        if "100-continue" in request_head.values("Expect"):
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request = await _request(reader, request_head)
        stage = self._stage(request.target)
        if stage is None:
            return await _Answer(writer, request, _NO_STAGE, _NO_STAGE.body or b"", str).send()
        index = stage.take(request)
        one = stage.replies[index]
        answer = _Answer(writer, request, one, stage.bodies[index], stage.fill, stage.wait_for_clients)
        stage.note_answer(index, answer.shown)
        return await answer.send()

    def _stage(self, target: str) -> Stage | None:
        path = "/" + "/".join(target.partition("?")[0].split("/")[1:4])
        return self.stages.get(path)


async def _nothing() -> None:
    return None


class _Answer:
    """One answer on its way: the reply as scripted, made to fit the request."""

    def __init__(
        self,
        writer: asyncio.StreamWriter,
        request: Received,
        one: Reply,
        body: bytes,
        fill: Callable[[str], str],
        wait_for_clients: Callable[[], Awaitable[None]] = _nothing,
    ) -> None:
        self._writer = writer
        self._reply = one
        self._fill = fill
        self._wait_for_clients = wait_for_clients
        self._head_only = request.method == "HEAD"
        self._fields = [fill(line) for line in one.fields]
        self._status = one.status
        self._body = body
        if one.conditional and self._fails_if_match(request):
            self._status, self._body = 412, b""
        elif one.conditional and self._matches(request):
            self._status, self._body = 304, b""
        elif one.ranges and request.method == "GET":
            self._cut_out(request)

    @property
    def shown(self) -> str:
        """For the dialogue."""
        if self._reply.raw is not None:
            return repr(self._reply.raw[:300])
        return " | ".join((f"{self._reply.version} {self._status}", *self._fields))

    async def send(self) -> bool:
        """Write it; whether the connection goes on."""
        one = self._reply
        if one.raw is not None:
            self._writer.write(self._fill(one.raw).encode("latin-1"))
            await self._writer.drain()
            return False
        for text in one.interim:
            self._writer.write(self._fill(text).encode("latin-1"))
        self._writer.write(self._head().encode("latin-1"))
        if self._head_only or one.bodiless or self._status == 304:
            return one.framing is not Framing.CLOSE
        await self._send_body()
        return one.cut is None and one.framing is not Framing.CLOSE

    async def _send_body(self) -> None:
        one = self._reply
        data = self._body if one.cut is None else self._body[: one.cut]
        middle = len(data) // 2 if one.hold is Hold.MIDDLE else 0
        for piece in (data[:middle], data[middle:]):
            if piece:
                self._writer.write(_chunk(piece) if one.framing is Framing.CHUNKED else piece)
                await self._writer.drain()
            if one.hold is Hold.MIDDLE and piece is not data:
                await self._wait_for_clients()
        if one.framing is Framing.CHUNKED and one.cut is None:
            self._writer.write("".join(f"{line}\r\n" for line in ("0", *one.trailers, "")).encode("latin-1"))
        await self._writer.drain()

    def _head(self) -> str:
        lines = [f"{self._reply.version} {self._status} {self._reply.reason}", *self._fields, *self._framing()]
        if self._reply.dated and not any(line.lower().startswith("date:") for line in lines):
            lines.append(f"Date: {http_date(time.time())}")
        return "".join(f"{line}\r\n" for line in (*lines, ""))

    def _framing(self) -> tuple[str, ...]:
        one = self._reply
        if one.bodiless or self._status == 304 or one.framing is Framing.NONE:
            return () if one.bodiless or self._status == 304 else ("Content-Length: 0",)
        if one.framing is Framing.LENGTH:
            return (f"Content-Length: {len(self._body)}",)
        return ("Transfer-Encoding: chunked",) if one.framing is Framing.CHUNKED else ("Connection: close",)

    def _own(self, name: str) -> str | None:
        found = (line.partition(":") for line in self._fields)
        return next((value.strip() for known, _, value in found if known.lower() == name.lower()), None)

    def _fails_if_match(self, request: Received) -> bool:
        wanted = request.values("If-Match")
        return bool(wanted) and wanted != (self._own("ETag"),)

    def _matches(self, request: Received) -> bool:
        tags, tag = request.values("If-None-Match"), self._own("ETag")
        if tags:
            return tag is not None and _opaque(tag) in {_opaque(one) for one in ", ".join(tags).split(",")}
        since, modified = request.values("If-Modified-Since"), self._own("Last-Modified")
        return (
            bool(since) and modified is not None and parsedate_to_datetime(since[0]) >= parsedate_to_datetime(modified)
        )

    def _cut_out(self, request: Received) -> None:
        found = _RANGE.fullmatch(", ".join(request.values("Range")))
        bound = request.values("If-Range")
        if (
            found is None
            or self._status != 200
            or (bound and bound[0] not in (self._own("ETag"), self._own("Last-Modified")))
        ):
            return
        size = len(self._body)
        first = max(0, size - int(found[3])) if found[3] else int(found[1])
        last = min(size - 1, int(found[2])) if found[2] else size - 1
        if first >= size:
            self._status, self._body = 416, b""
            self._fields.append(f"Content-Range: bytes */{size}")
            return
        self._status, self._body = 206, self._body[first : last + 1]
        self._fields.append(f"Content-Range: bytes {first}-{last}/{size}")


async def _request(reader: asyncio.StreamReader, request_head: Head) -> Received:
    method, target, version = request_head.start.split(" ")
    content = await read_content(reader, request_head, until_end=False)
    return Received(method, target, version, request_head.fields, content.data, content.trailers)


def http_date(at: float, kind: str = "now") -> str:
    """A date in one of the three formats of RFC 9110, 5.6.7."""
    moment = time.gmtime(at)
    if kind == "rfc850":
        return time.strftime("%A, %d-%b-%y %H:%M:%S GMT", moment)
    if kind == "asctime":
        return time.asctime(moment)
    return formatdate(at, usegmt=True)


def shown_fields(fields: Fields) -> str:
    """Field lines for the dialogue."""
    return " | ".join(f"{name}: {value[:200]}" for name, value in fields)


def _shown(request: Received) -> str:
    body = f" | body {request.body[:60]!r}" if request.body else ""
    return f"{request.method} {request.target} | {shown_fields(request.fields)}{body}"


def _chunk(piece: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(piece), piece)


def _opaque(tag: str) -> str:
    return tag.strip().removeprefix("W/")

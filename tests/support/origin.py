"""A scripted HTTP origin on a real socket: it counts, waits, breaks off and lies exactly as told.

Nothing in it sleeps. A test opens gates (`Script.gate`) to let a response go on, so that it decides the interleaving.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate

from tests.support.connections import Connections

PIECE_BYTES = 64 * 1024  # per write, so that a reader that does not read stops the origin


class Gate:
    """Lets a number of bytes through; more when opened further."""

    def __init__(self) -> None:
        self._limit = 0
        self._moved = asyncio.Event()

    def open(self, to: int | None = None) -> None:
        """Let the body go up to offset `to`; all of it by default."""
        self._limit = 2**62 if to is None else to
        self._moved.set()
        self._moved = asyncio.Event()

    async def allowance(self, beyond: int) -> int:
        """Wait until more than `beyond` bytes may go; the offset up to which they may."""
        while self._limit <= beyond:
            await self._moved.wait()
        return self._limit


@dataclass(slots=True)
class Script:
    """One object, and how it is answered.

    hold: wait for this before the head; gate: for the body; break_at: cut the connection at that offset, every time or
    only the first `break_times`; declare: a Content-Length other than the true one; chunked: none at all. choose: the
    script that answers instead, by the request's fields.
    """

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Cache-Control": "public, max-age=60"})
    etag: str | None = None
    hold: asyncio.Event | None = None
    gate: Gate | None = None
    break_at: int | None = None
    break_times: int = 2**30
    declare: int | None = None
    ranges: bool = True
    chunked: bool = False
    choose: Callable[[dict[str, str]], Script] | None = None

    def with_digest(self) -> Script:
        """Declare the true digest, as published objects do."""
        digest = base64.b64encode(hashlib.sha256(self.body).digest()).decode()
        self.headers = self.headers | {"Repr-Digest": f"sha-256=:{digest}:"}
        return self


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as it arrived; names in lower case."""

    method: str
    path: str
    headers: dict[str, str]


class ScriptedOrigin:
    """Start with `async with ScriptedOrigin() as origin`; `origin.objects[path] = Script(...)`."""

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self.objects: dict[str, Script] = {}
        self.seen: list[Seen] = []
        self.sent_bytes = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._connections = Connections(self._serve)
        self._changed = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def count(self, path: str) -> int:
        """Requests for that path so far."""
        return sum(seen.path == path for seen in self.seen)

    async def seen_at_least(self, number: int) -> None:
        """Wait until that many requests have arrived."""
        while len(self.seen) < number:
            changed = self._changed
            await asyncio.wait_for(changed.wait(), 10)

    async def start(self) -> None:
        """Listen; on the same port as before after a stop."""
        self._server = await asyncio.start_server(self._connections, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse connections and cut those that are open."""
        if self._server is not None:
            self._server.close()
        await self._connections.cut()

    async def __aenter__(self) -> ScriptedOrigin:
        await self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await self._exchange(reader, writer):
            pass

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its response; whether the connection goes on."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        self.seen.append(Seen(method, path, headers))
        self._wake()
        script = self.objects.get(path) or Script(b"<no such object>", status=404, headers={})
        if script.choose is not None:
            script = script.choose(headers)
        if script.hold is not None:
            await script.hold.wait()
        return await self._answer(script, headers, writer)

    async def _answer(self, script: Script, asked: dict[str, str], writer: asyncio.StreamWriter) -> bool:
        fields = dict(script.headers) | {"Date": script.headers.get("Date", formatdate(self._wall(), usegmt=True))}
        if script.etag is not None:
            fields["ETag"] = script.etag
        if "if-match" in asked and asked["if-match"] != script.etag:
            return await _head_only(writer, 412, fields)
        if script.etag is not None and asked.get("if-none-match") == script.etag:
            return await _head_only(writer, 304, fields)
        body, status = script.body, script.status
        part = _part(asked.get("range", ""), len(body)) if script.ranges else None
        if part is not None:
            if part.start >= len(body):
                return await _head_only(writer, 416, fields | {"Content-Range": f"bytes */{len(body)}"})
            fields["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{len(body)}"
            body, status = body[part.start : part.stop], 206
        if script.chunked:
            fields["Transfer-Encoding"] = "chunked"
        else:
            fields["Content-Length"] = str(len(body) if script.declare is None else script.declare)
        writer.write(_head(status, fields))
        return await self._body(script, body, writer)

    async def _body(self, script: Script, body: bytes, writer: asyncio.StreamWriter) -> bool:
        stop = None
        if script.break_at is not None and script.break_times > 0:
            script.break_times -= 1
            stop = script.break_at
        end = len(body) if stop is None else min(stop, len(body))
        sent = 0
        while sent < end:
            limit = end if script.gate is None else min(end, await script.gate.allowance(sent))
            limit = min(limit, sent + PIECE_BYTES)
            writer.write(_chunk(body[sent:limit]) if script.chunked else body[sent:limit])
            self.sent_bytes += limit - sent
            sent = limit
            await writer.drain()
        if script.chunked and stop is None:
            writer.write(b"0\r\n\r\n")
        await writer.drain()
        if stop is None and script.declare is None:
            return True
        writer.close()  # what was written still arrives, and then the end
        await writer.wait_closed()
        return False

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _part(wanted: str, length: int) -> range | None:
    """The bytes that a single range asks for; None when it asks for no single range, and all is sent."""
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted)
    if found is None or found[0] == "bytes=-":
        return None
    first, last = found.groups()
    if not first:
        return range(max(length - int(last), 0) if int(last) else length, length)
    if last and int(last) < int(first):
        return None
    return range(int(first), min(int(last) + 1, length) if last else length)


def _chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def _head(status: int, fields: dict[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} Scripted\r\n{lines}\r\n".encode()


async def _head_only(writer: asyncio.StreamWriter, status: int, fields: dict[str, str]) -> bool:
    writer.write(_head(status, fields | ({} if status == 304 else {"Content-Length": "0"})))
    await writer.drain()
    return True

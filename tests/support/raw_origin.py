"""An origin on a real socket that answers with exactly the bytes it is told, however wrong they are.

Nothing in it sleeps: an `asyncio.Event` among the bytes is waited for, so that the test decides the interleaving.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from tests.support.connections import Connections


class End(Enum):
    """What becomes of the connection after an answer."""

    KEEP = "the next request is read"
    CLOSE = "closed in order"
    RESET = "reset"
    STALL = "held, and nothing more said"


@dataclass(frozen=True, slots=True)
class Raw:
    """One answer. early: begin before the request's body has arrived."""

    pieces: Sequence[bytes | asyncio.Event]
    end: End = End.KEEP
    early: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it arrived: head without the empty line, body out of its framing, number of the connection."""

    head: bytes
    body: bytes
    connection: int

    @property
    def request_line(self) -> str:
        return self.head.split(b"\r\n")[0].decode("latin-1")

    def lines(self, name: str) -> list[bytes]:
        """The values of that field's lines."""
        split = (line.partition(b":") for line in self.head.split(b"\r\n")[1:])
        return [value.strip() for known, _, value in split if known.decode().lower() == name]


class RawOrigin:
    """`async with RawOrigin(Raw([...]), ...) as origin`: the answers in order, the last one again and again."""

    def __init__(self, *answers: Raw, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.answers = list(answers)
        self.asked: list[Asked] = []
        self.sent_bytes = 0
        self.body_bytes = 0
        self.connections = 0
        self.port = 0
        self._tls = tls
        self._host = host
        self._server: asyncio.Server | None = None
        self._open = Connections(self._serve)

    @property
    def url(self) -> str:
        return f"{'http' if self._tls is None else 'https'}://{self._host}:{self.port}"

    async def start(self) -> None:
        """Listen; on the same port as before after a stop."""
        self._server = await asyncio.start_server(self._open, self._host, self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse connections and cut those that are open."""
        if self._server is not None:
            self._server.close()
        await self._open.cut()

    async def __aenter__(self) -> RawOrigin:
        await self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        while await self._exchange(reader, writer, number):
            pass

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).removesuffix(b"\r\n\r\n")
        answer = self.answers[min(len(self.asked), len(self.answers) - 1)]
        self.asked.append(Asked(head, b"", number))
        place = len(self.asked) - 1
        if not answer.early:
            self.asked[place] = Asked(head, await self._body(head, reader), number)
        for piece in answer.pieces:
            if isinstance(piece, asyncio.Event):
                await piece.wait()
            else:
                writer.write(piece)
                self.sent_bytes += len(piece)
                await writer.drain()
        if answer.early and answer.end is End.KEEP:
            self.asked[place] = Asked(head, await self._body(head, reader), number)
        return await self._end(answer.end, writer)

    async def _body(self, head: bytes, reader: asyncio.StreamReader) -> bytes:
        asked = Asked(head, b"", 0)
        if asked.lines("transfer-encoding") == [b"chunked"]:
            body = b""
            while size := int((await reader.readuntil(b"\r\n")).strip(), 16):
                body += (await reader.readexactly(size + 2))[:-2]
                self.body_bytes = len(body)
            await reader.readexactly(2)
            return body
        left = int((asked.lines("content-length") or [b"0"])[0])
        return await reader.readexactly(left) if left else b""

    async def _end(self, end: End, writer: asyncio.StreamWriter) -> bool:
        if end is End.STALL:
            await asyncio.Event().wait()
        if end is End.RESET:
            raw = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if end is End.CLOSE:
            writer.close()
            await writer.wait_closed()
        return end is End.KEEP


def response(body: bytes = b"", status: str = "200 OK", *lines: str) -> bytes:
    """A plain HTTP/1.1 response with its length."""
    head = "\r\n".join((f"HTTP/1.1 {status}", *lines, f"Content-Length: {len(body)}"))
    return f"{head}\r\n\r\n".encode() + body

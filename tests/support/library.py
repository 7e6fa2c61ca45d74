"""An origin of many small objects that all carry one tag, and a reader that asks for them fast.

Both speak just enough HTTP for it, in a few lines each: with 100,000 objects on six workers, a complete client and a
complete server would take most of the time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

REQUESTS_PER_CONNECTION = 20  # so that every worker of a node is met


@dataclass(slots=True)
class Library:
    """Every path is a book, which tells the edition that the library has now. grace: added to Cache-Control."""

    edition: int = 1
    grace: str = ""
    asked: int = 0
    conditional: int = 0
    port: int = 0

    def answer(self, head: str) -> bytes:
        """The response to a request's header section."""
        self.asked += 1
        path, etag = head.split(" ", 2)[1], f'"{self.edition}"'
        fields = (
            f"Cache-Control: max-age=86400{self.grace}\r\nETag: {etag}\r\nSurrogate-Key: library shelf-{path[-1]}\r\n"
        )
        if "\r\nif-none-match:" in head.lower():
            self.conditional += 1
            if etag in head:
                return f"HTTP/1.1 304 Not Modified\r\n{fields}\r\n".encode()
        body = f"edition {self.edition} of {path}"
        return f"HTTP/1.1 200 OK\r\n{fields}Content-Length: {len(body)}\r\n\r\n{body}".encode()


@asynccontextmanager
async def open_library() -> AsyncIterator[Library]:
    """A library that answers at `port`."""
    made = Library()
    server = await asyncio.get_running_loop().create_server(lambda: _Desk(made), "127.0.0.1", 0, backlog=1024)
    made.port = int(server.sockets[0].getsockname()[1])
    yield made
    server.close()


class _Desk(asyncio.Protocol):
    def __init__(self, library: Library) -> None:
        self._library = library
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head, self._received = self._received[:end].decode(), self._received[end + 4 :]
            self._transport.write(self._library.answer(head))


@dataclass(frozen=True, slots=True)
class Read:
    """One answer. edition: of the book that was asked for."""

    path: str
    edition: int
    cache_status: str


async def read_all(url: str, paths: Iterable[str], note: Callable[[Read], None], *, at_once: int = 8) -> None:
    """Ask the node at `url` for all of them; every answer has to be a 200 with the right book.

    A busy node that asks to come again in a moment is asked again.
    """
    waiting = iter(paths)

    async def some() -> None:
        reader = _Reader(url)
        try:
            for path in waiting:
                note(await reader.read(path))
        finally:
            reader.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(some())


class _Reader:
    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._address = parts.hostname, parts.port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._left = 0

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    async def read(self, path: str) -> Read:
        while True:
            status, fields, body = await self._exchange(path)
            if status == 200:
                edition, _, book = body.removeprefix("edition ").partition(" of ")
                assert book == path, (path, body)
                return Read(path, int(edition), fields["cache-status"])
            assert status == 503, (status, body)
            assert "retry-after" in fields
            self.close()
            await asyncio.sleep(0.05)

    async def _exchange(self, path: str) -> tuple[int, dict[str, str], str]:
        if self._left == 0:
            self.close()
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address)
            self._left = REQUESTS_PER_CONNECTION
        self._left -= 1
        reader, writer = self._streams
        writer.write(f"GET {path} HTTP/1.1\r\nHost: library.example\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])}
        body = await reader.readexactly(int(fields["content-length"]))
        if fields.get("connection", "").lower() == "close":
            self.close()
        return int(head[0].split(" ", 2)[1]), fields, body.decode()

"""An origin with one huge object that exists nowhere: any range of it is computed, at no cost worth mentioning."""

from __future__ import annotations

import asyncio
import hashlib
import re

from tests.support.connections import Connections

_PERIOD = hashlib.shake_256(b"film").digest(1024 * 1024 + 7)  # no whole number of blocks
_RANGE = re.compile(rb"\r\nrange:[ \t]*bytes=([0-9]+)-([0-9]*)", re.IGNORECASE)


class FilmOrigin:
    """`async with FilmOrigin(size) as origin`; every path is the object. asked: the ranges that were asked for."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.asked: list[tuple[int, int]] = []
        self.port = 0
        self._server: asyncio.Server | None = None
        self._connections = Connections(self._serve)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> FilmOrigin:
        self._server = await asyncio.start_server(self._connections, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_exc: object) -> None:
        assert self._server is not None
        self._server.close()
        await self._connections.cut()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await self._exchange(await reader.readuntil(b"\r\n\r\n"), writer)

    async def _exchange(self, head: bytes, writer: asyncio.StreamWriter) -> None:
        match = _RANGE.search(head)
        first, last, status = 0, self.size - 1, b"200 OK"
        if match is not None:
            first = int(match[1])
            last = min(int(match[2] or last), last)
            status = b"206 Partial Content\r\nContent-Range: bytes %d-%d/%d" % (first, last, self.size)
        self.asked.append((first, last))
        writer.write(
            b"HTTP/1.1 %b\r\nContent-Length: %d\r\nAccept-Ranges: bytes\r\n" % (status, last - first + 1)
            + b'Cache-Control: public, max-age=3600\r\nETag: "film"\r\nContent-Type: video/mp4\r\n\r\n'
        )
        step = 256 * 1024
        for offset in range(first, last + 1, step):
            writer.write(film_bytes(offset, min(step, last + 1 - offset)))
            await writer.drain()


def film_bytes(offset: int, length: int) -> bytes:
    """The object's bytes from `offset` on."""
    begin = offset % len(_PERIOD)
    piece = _PERIOD[begin : begin + length]
    while len(piece) < length:
        piece += _PERIOD[: length - len(piece)]
    return piece

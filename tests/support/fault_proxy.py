"""A TCP proxy in front of a real server, that can be cut, stalled and healed: a network partition on one machine."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType
from urllib.parse import urlsplit, urlunsplit

from tests.support.connections import Connections

_PIECE_BYTES = 64 * 1024


class FaultProxy:
    """`async with FaultProxy("127.0.0.1", 6379) as proxy`: clients connect to `proxy.port`."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._links = Connections(self._link)
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._cut = False
        self.accepted = 0

    @classmethod
    def of(cls, url: str) -> FaultProxy:
        """In front of the server at this URL."""
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        return cls(parts.hostname, parts.port)

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    def url(self, url: str) -> str:
        """The URL of the server, with the proxy's address in it."""
        parts = urlsplit(url)
        user, at, _ = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=f"{user}{at}127.0.0.1:{self.port}"))

    def cut(self) -> None:
        """Break all connections, and every new one as soon as it is made."""
        self._cut = True
        self._links.cancel()

    def stall(self) -> None:
        """Keep all connections, and let nothing through: packets are lost, nobody says so."""
        self._flowing.clear()

    def heal(self) -> None:
        """Let everything through again. Connections that stalled go on where they stopped."""
        self._cut = False
        self._flowing.set()

    async def __aenter__(self) -> FaultProxy:
        self._server = await asyncio.start_server(self._links, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await self._links.cut()

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self._cut:
            return
        far: asyncio.StreamWriter | None = None
        try:
            with suppress(OSError):
                far_reader, far = await asyncio.open_connection(*self._target)
                ways = [asyncio.create_task(self._pump(a, b)) for a, b in ((reader, far), (far_reader, writer))]
                try:
                    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for way in ways:
                        way.cancel()
                    await asyncio.gather(*ways, return_exceptions=True)
        finally:
            if far is not None:
                far.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(_PIECE_BYTES):
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()

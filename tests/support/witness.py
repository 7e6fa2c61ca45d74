"""A trivial application behind the edge's real connection protocol, on a real socket: it tells what it was asked.

`/gate…` waits until `gate` is opened; every other target reads the request's body and answers `seen`.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from aiohttp import web

from edge.connections import Limits
from edge.framing import Refusal
from edge.listening import EdgeRunner, EdgeServer, EdgeSite
from edge.overload import Overload
from edge.protocol import EdgeProtocol

LOOPBACK = "127.0.0.1"
WITHIN_S = 10.0


@dataclass(slots=True)
class Asked:
    """What one handler was asked; body None where it turned out to be broken."""

    method: str
    target: str
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes | None


@dataclass(slots=True)
class Witness:
    """What has been seen so far."""

    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: int = 0
    runner: EdgeRunner | None = None

    @property
    def targets(self) -> list[str]:
        """Targets in the order of their handlers' ends."""
        return [asked.target for asked in self.asked]

    @property
    def server(self) -> EdgeServer:
        """The server behind the socket."""
        assert self.runner is not None
        assert isinstance(self.runner.server, EdgeServer)
        return self.runner.server

    @property
    def connections(self) -> list[EdgeProtocol]:
        """The open connections, as the server sees them."""
        return [connection for connection in self.server.connections if isinstance(connection, EdgeProtocol)]

    async def handle(self, request: web.Request) -> web.Response:
        """Note what is asked."""
        target = request.raw_path
        if target.startswith("/gate"):
            self.waiting += 1
            await self.gate.wait()
        asked = Asked(request.method, target, request.raw_headers, None)
        self.asked.append(asked)
        asked.body = await request.read()
        return web.Response(text="seen")


@asynccontextmanager
async def witnessing(
    *, limits: Limits | None = None, overload: Overload | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Witness]:
    """Serve on a free port of the loopback address until the block is left."""
    witness = Witness()
    application = web.Application()
    application.router.add_route("*", "/{path:(?s:.*)}", witness.handle)
    witness.runner = EdgeRunner(
        application,
        limits=limits,
        overload=overload,
        node="edge-1",
        on_refused=witness.refused.append,
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=0.1,
    )
    await witness.runner.setup()
    listener = socket.create_server((LOOPBACK, 0), backlog=4096)
    witness.port = listener.getsockname()[1]
    await EdgeSite(witness.runner, listener, ssl_context=tls, backlog=4096).start()
    try:
        yield witness
    finally:
        witness.gate.set()
        if overload is not None:
            overload.stop()
        await witness.runner.cleanup()


async def exchange(port: int, sent: bytes, *, byte_by_byte: bool = False, ends: bool = False) -> bytes:
    """Send; all that comes back until the server closes, or cuts off what it does not listen to any more.

    ends: say first that nothing more will be sent.
    """
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    try:
        async with asyncio.timeout(WITHIN_S):
            await (_dribble(writer, sent) if byte_by_byte else _send(writer, sent))
            if ends and not writer.is_closing():
                writer.write_eof()
            return await _rest(reader)
    finally:
        writer.close()


async def _rest(reader: asyncio.StreamReader) -> bytes:
    received = b""
    with suppress(ConnectionResetError):
        while piece := await reader.read(65536):
            received += piece
    return received


async def _send(writer: asyncio.StreamWriter, sent: bytes) -> None:
    writer.write(sent)
    await asyncio.sleep(0)


async def _dribble(writer: asyncio.StreamWriter, sent: bytes) -> None:
    """A packet for each byte, as far as the other side lets us."""
    for offset in range(len(sent)):
        if writer.is_closing():
            return
        writer.write(sent[offset : offset + 1])
        await asyncio.sleep(0)
        await asyncio.sleep(0)


def statuses(answer: bytes) -> list[int]:
    """The statuses of the responses in what came back."""
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", answer)]

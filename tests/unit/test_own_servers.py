"""The servers that tests bring along leave no connection behind."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from tests.support.connections import Connections


async def never(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    raise AssertionError("it was cancelled before")


async def test_a_connection_is_closed_although_it_was_cut_before_anybody_handled_it() -> None:
    connections = Connections(never)

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections(reader, writer)
        connections.cancel()

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        async with asyncio.timeout(10):
            with suppress(ConnectionResetError):
                assert await reader.read() == b""
        await connections.cut()
        writer.close()

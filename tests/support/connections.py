"""The open connections of a test's own server, none of which outlives it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Connections:
    """What `asyncio.start_server` calls. Each connection is handled by a task of its own and ends with it.

    That holds also for a connection that was accepted in the last moment, whose task is cancelled before it has begun:
    no `finally` of the handler would see it.
    """

    def __init__(self, handle: Handler) -> None:
        self._handle = handle
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._run(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(partial(self._end, writer))

    def cancel(self) -> None:
        """Cut all, soon."""
        for task in self._tasks:
            task.cancel()

    async def cut(self) -> None:
        """Cut all, and wait until nobody handles them any more."""
        self.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await self._handle(reader, writer)

    def _end(self, writer: asyncio.StreamWriter, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        writer.transport.abort()
        if not task.cancelled() and (error := task.exception()) is not None:
            asyncio.get_running_loop().call_exception_handler({"message": "a test's server failed", "exception": error})

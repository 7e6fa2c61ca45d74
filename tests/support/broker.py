"""One SeaweedFS and two Valkeys for the whole test run, whichever process of it asks first.

Under pytest-xdist each worker is a process. Servers started by one of them would not live as long as the others need
them, and one set each would cost seconds and 130 MB. So the process that outlives all (the controller, or the only
one) holds them in a thread, starts each when it is first asked for, and tells its address over a Unix socket. The
servers are on a leash tied to that thread: a test run killed with -9 takes them along.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from deploy.local.seaweed import SeaweedFS
from deploy.local.valkey import Purpose, Valkey
from tests.support.processes import alive

PREFIX = "smartedu-tests-"
DATABASES = 4096
START_WITHIN_S = 90.0


@dataclass(frozen=True, slots=True)
class S3Address:
    """Where a storage is, and who may use it."""

    endpoint: str
    bucket: str
    access_key: str
    secret_key: str = field(repr=False)

    @classmethod
    def of(cls, server: SeaweedFS) -> S3Address:
        """The address of a running server."""
        return cls(server.endpoint, server.bucket, server.key.id, server.key.secret)

    @property
    def environment(self) -> dict[str, str]:
        """What a child needs to use it."""
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}


class Broker:
    """Holds the servers of a test run. Made and closed by the process that outlives the others."""

    def __init__(self) -> None:
        _sweep()
        self.directory = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        self.socket = self.directory / "broker.sock"
        self._log: list[str] = []
        say = self._log.append
        self._storage = SeaweedFS(self.directory / "seaweed", self.directory / "log/storage.log", say)
        valkey = partial(Valkey, say=say, databases=DATABASES)
        self._cache = valkey(self.directory / "cache", self.directory / "log/cache.log", purpose=Purpose.CACHE)
        self._counters = valkey(
            self.directory / "counters", self.directory / "log/counters.log", purpose=Purpose.COUNTERS
        )
        self._database = 0
        self._started: dict[str, asyncio.Future[None]] = {}
        self._closing = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        listening = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(listening,), name="test servers", daemon=True)
        self._thread.start()
        listening.wait(10)

    def close(self) -> None:
        """Stop the servers and remove everything they wrote."""
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(60)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _run(self, listening: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve(listening))
        finally:
            self._loop.close()

    async def _serve(self, listening: threading.Event) -> None:
        server = await asyncio.start_unix_server(self._answer, self.socket)
        listening.set()
        await self._closing.wait()
        server.close()
        for starting in self._started.values():
            starting.cancel()
        await asyncio.gather(self._storage.kill(), self._cache.kill(), self._counters.kill())

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            name = (await reader.readline()).decode().strip()
            try:
                reply: dict[str, Any] = await self._replies()[name]()
            except Exception as error:
                reply = {"error": f"{error}\n" + "\n".join(self._log)}
            writer.write(json.dumps(reply).encode() + b"\n")
            await writer.drain()
            writer.close()

    def _replies(self) -> dict[str, Callable[[], Awaitable[dict[str, Any]]]]:
        return {"s3": self._s3, "redis": self._redis, "counters": self._counters_redis, "database": self._next_database}

    async def _s3(self) -> dict[str, Any]:
        await self._once("s3", self._storage.start)
        return asdict(S3Address.of(self._storage))

    async def _redis(self) -> dict[str, Any]:
        await self._once("redis", self._cache.start)
        return {"url": self._cache.url}

    async def _counters_redis(self) -> dict[str, Any]:
        await self._once("counters", self._counters.start)
        return {"url": self._counters.url}

    async def _next_database(self) -> dict[str, Any]:
        self._database = self._database % (DATABASES - 1) + 1
        return {"number": self._database}

    async def _once(self, name: str, start: Callable[[], Awaitable[None]]) -> None:
        if name not in self._started:
            self._started[name] = asyncio.ensure_future(start())
        await asyncio.shield(self._started[name])


def ask(broker: Path, name: str) -> dict[str, Any]:
    """Ask the broker at this socket for "s3", "redis", "counters" or an unused "database" number. Blocks."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(START_WITHIN_S)
        connection.connect(str(broker))
        connection.sendall(name.encode() + b"\n")
        reply: dict[str, Any] = json.loads(connection.makefile().readline())
    if "error" in reply:
        raise RuntimeError(f"no {name} server: {reply['error']}")
    return reply


def _sweep() -> None:
    """Remove what test runs that were killed left in the temporary directory."""
    for directory in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        owner = directory.name.removeprefix(PREFIX).partition("-")[0]
        if owner.isdigit() and not alive(int(owner)):
            shutil.rmtree(directory, ignore_errors=True)

"""Storage, two Valkeys and whatever is put on top of them, under one state directory.

<state>/lock          held by the one running stack
<state>/stack.json    where everything is and how it is called, for other programs (mode 0600)
<state>/seaweed/      data, ports, keys of the storage; aws-credentials for its users
<state>/cache/        the cache Valkey: configuration, port, password
<state>/counters/     the counters Valkey: the same, and its append-only file
<state>/log/          one log per child
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from deploy.local.child import Child, Program, Say
from deploy.local.keyring import private_directory, write_private
from deploy.local.seaweed import SeaweedFS
from deploy.local.valkey import Purpose, Valkey


class OccupiedError(Exception):
    """Another process runs a stack on this state directory. The message names it."""


class StateLock:
    """The right to run a stack on a state directory; the kernel frees it when its holder ends, however it ends."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._file = state / "lock"
        self._descriptor = -1

    def __enter__(self) -> StateLock:
        """Raises OccupiedError."""
        private_directory(self._state)
        self._descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._descriptor, 200).decode(errors="replace").strip()
            os.close(self._descriptor)
            raise OccupiedError(f"state directory {self._state} is in use by {holder or 'another process'}") from None
        return self

    def sign(self, holder: str) -> None:
        """Leave a line that says who holds the lock, for the next one who wants it."""
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, holder.encode(), 0)

    def __exit__(self, *_exc: object) -> None:
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)


class Stack:
    """The servers of one state directory, and children on top. Left, everything ends in reverse order."""

    def __init__(self, state: Path, say: Say, *, bucket: str = "smartedu", redis_server: Path | None = None) -> None:
        """redis_server: run this binary instead of the Valkey that is shipped."""
        self.state = state.absolute()
        log = self.state / "log"
        self.storage = SeaweedFS(self.state / "seaweed", log / "storage.log", say, bucket)
        self.cache = Valkey(self.state / "cache", log / "cache.log", say, Purpose.CACHE, server=redis_server)
        self.counters = Valkey(
            self.state / "counters", log / "counters.log", say, Purpose.COUNTERS, server=redis_server
        )
        self._say = say
        self._tops: list[Child] = []
        self._addresses: dict[str, str] = {}
        self._note = self.state / "stack.json"

    async def __aenter__(self) -> Stack:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start the three servers at once; returns when all are ready. Raises StartError; then call `stop`."""
        private_directory(self.state)
        self._note.unlink(missing_ok=True)
        servers = (self.storage, self.cache, self.counters)
        outcomes = await asyncio.gather(*(server.start() for server in servers), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        for server in servers:
            if server.child is not None:
                server.child.changed = self._write
        self._write()

    async def put_on_top(self, program: Program, addresses: Mapping[str, str]) -> Child:
        """Start a program that needs the servers; returns when it is ready. Raises StartError.

        addresses: what to note about it in stack.json, e.g. {"edge": "http://127.0.0.1:8080"}.
        """
        child = Child(program, self._say, self._write)
        self._tops.append(child)
        self._addresses |= addresses
        await child.start()
        return child

    async def stop(self) -> None:
        """Stop everything, last started first; the servers at once, as nothing uses them any more."""
        for child in reversed(self._tops):
            await child.stop()
        self._tops.clear()
        await asyncio.gather(self.counters.stop(), self.cache.stop(), self.storage.stop())
        self._note.unlink(missing_ok=True)

    def pids(self) -> dict[str, int]:
        """Name and process id of all that run."""
        children = [server.child for server in (self.storage, self.cache, self.counters)] + list(self._tops)
        return {child.program.name: child.pid for child in children if child is not None and child.pid is not None}

    def _write(self) -> None:
        stack = {
            "s3_endpoint": self.storage.endpoint,
            "bucket": self.storage.bucket,
            "aws_credentials_file": str(self.storage.credentials_file),
            "redis": self.cache.url,
            "counters_redis": self.counters.url,
            **self._addresses,
            "pids": {"up": os.getpid(), **self.pids()},
        }
        write_private(self._note, json.dumps(stack, indent=2) + "\n")

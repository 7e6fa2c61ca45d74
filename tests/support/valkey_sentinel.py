"""A real Valkey with a replica and three Sentinels that watch over them, all on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import RedisError

from deploy.local.child import Child, Program
from deploy.local.ports import LOOPBACK, free_port
from deploy.local.valkey import bundled
from tests.support.waiting import eventually

NAME = "counters"
PASSWORD = "a-secret"
_SENTINELS = 3
_SENTINEL = """\
bind {host}
port {port}
dir ./
sentinel monitor {name} {host} {primary} 2
sentinel auth-pass {name} {password}
sentinel down-after-milliseconds {name} 1000
sentinel failover-timeout {name} 5000
sentinel parallel-syncs {name} 1
"""


class Watched:
    """Two servers, of which one is the primary, and the Sentinels. servers: their processes, first the one that begins
    as primary."""

    def __init__(self, directory: Path) -> None:
        self.ports = [free_port(), free_port()]
        self.sentinel_ports = [free_port() for _ in range(_SENTINELS)]
        self.servers = [self._server(directory / f"server-{port}", port) for port in self.ports]
        self.sentinels = [self._sentinel(directory / f"sentinel-{port}", port) for port in self.sentinel_ports]

    @property
    def url(self) -> str:
        hosts = ",".join(f"{LOOPBACK}:{port}" for port in self.sentinel_ports)
        return f"redis+sentinel://:{PASSWORD}@{hosts}/{NAME}"

    async def start(self) -> None:
        """Start everything, and wait until the Sentinels know each other and the replica."""
        await asyncio.gather(*(server.start() for server in self.servers))
        await self.ask(self.ports[1], "REPLICAOF", LOOPBACK, self.ports[0])

        async def in_step() -> bool:
            role = await self.ask(self.ports[1], "ROLE")
            return isinstance(role, list) and role[3] == b"connected"

        await eventually(in_step, within_s=30)
        await asyncio.gather(*(one.start() for one in self.sentinels))
        for port in self.sentinel_ports:
            await eventually(lambda port=port: self._knows_all(port), within_s=30)  # type: ignore[misc]

    async def kill(self) -> None:
        """SIGKILL to all."""
        await asyncio.gather(*(one.kill() for one in [*self.sentinels, *self.servers]))

    async def primary(self) -> int:
        """The number of the server that the Sentinels call so."""
        found = await self.ask(self.sentinel_ports[0], "SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)
        assert isinstance(found, (list, tuple))
        return self.ports.index(int(found[1]))

    async def ask(self, port: int, *command: object) -> object:
        """A command to one of them."""
        password = PASSWORD if port in self.ports else None
        async with Redis(host=LOOPBACK, port=port, password=password, protocol=2) as client:
            client.response_callbacks.clear()
            return await client.execute_command(*command)  # type: ignore[no-untyped-call]

    async def _knows_all(self, port: int) -> bool:
        found = await self.ask(port, "SENTINEL", "MASTER", NAME)
        assert isinstance(found, list)
        said = dict(zip(found[::2], found[1::2], strict=True))
        return bool(said[b"num-other-sentinels"] == b"%d" % (_SENTINELS - 1) and said[b"num-slaves"] == b"1")

    def _server(self, directory: Path, port: int) -> Child:
        argv = (
            *(str(bundled()), "--port", str(port), "--bind", LOOPBACK, "--save", ""),
            *("--appendonly", "yes", "--requirepass", PASSWORD, "--primaryauth", PASSWORD),
            *("--repl-diskless-sync-delay", "0"),
        )
        return self._child(directory, port, argv)

    def _sentinel(self, directory: Path, port: int) -> Child:
        directory.mkdir(parents=True)
        values = {"host": LOOPBACK, "port": port, "name": NAME, "primary": self.ports[0], "password": PASSWORD}
        (directory / "sentinel.conf").write_text(_SENTINEL.format(**values))
        return self._child(directory, port, (str(bundled()), "sentinel.conf", "--sentinel"))

    def _child(self, directory: Path, port: int, argv: tuple[str, ...]) -> Child:
        directory.mkdir(parents=True, exist_ok=True)

        async def ready() -> bool:
            with suppress(RedisError, OSError):
                return bool(await self.ask(port, "PING"))
            return False

        program = Program(
            name=directory.name,
            argv=argv,
            env={"LC_ALL": "C"},
            cwd=directory,
            log=directory / "log",
            ready=ready,
            ready_within_s=30,
        )
        return Child(program, print)


@asynccontextmanager
async def watched_by_sentinels(directory: Path) -> AsyncIterator[Watched]:
    """A running set."""
    watched = Watched(directory)
    try:
        await watched.start()
        yield watched
    finally:
        await watched.kill()

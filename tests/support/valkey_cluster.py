"""A real Valkey cluster of three primaries on loopback: one slot in three lies on each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from redis.asyncio import Redis

from deploy.local.child import Child, Program
from deploy.local.ports import GRPC_OFFSET, LOOPBACK, free_pair
from deploy.local.valkey import bundled
from tests.support.waiting import eventually

_SLOTS = 16384
_NODES = 3
_SETTINGS = ("--cluster-enabled", "yes", "--cluster-require-full-coverage", "no", "--cluster-node-timeout", "1000")


class ValkeyCluster:
    """nodes: the processes, in the order of their slots."""

    def __init__(self, directory: Path) -> None:
        self.ports = [free_pair() for _ in range(_NODES)]
        self.nodes = [self._child(directory / str(port), port) for port in self.ports]

    @property
    def url(self) -> str:
        """For `connect`."""
        return f"redis+cluster://{LOOPBACK}:{self.ports[0]}"

    async def start(self) -> None:
        """Start the nodes, deal out the slots, and wait until all agree."""
        await asyncio.gather(*(node.start() for node in self.nodes))
        share = -(-_SLOTS // _NODES)
        for number, port in enumerate(self.ports):
            first = number * share
            await self._ask(port, "CLUSTER", "ADDSLOTSRANGE", first, min(first + share, _SLOTS) - 1)
            await self._ask(port, "CLUSTER", "MEET", LOOPBACK, self.ports[0])
        for port in self.ports:
            await eventually(lambda port=port: self._agrees(port), within_s=30)  # type: ignore[misc]

    async def kill(self) -> None:
        """SIGKILL to all."""
        await asyncio.gather(*(node.kill() for node in self.nodes))

    async def _agrees(self, port: int) -> bool:
        state = await self._ask(port, "CLUSTER", "INFO")
        assert isinstance(state, bytes)
        wanted = {"cluster_state:ok", f"cluster_known_nodes:{_NODES}", f"cluster_slots_ok:{_SLOTS}"}
        return wanted <= set(state.decode().split())

    async def _ask(self, port: int, *command: object) -> object:
        async with Redis(host=LOOPBACK, port=port) as client:
            return await client.execute_command(*command)  # type: ignore[no-untyped-call]

    def _child(self, directory: Path, port: int) -> Child:
        directory.mkdir(parents=True)

        async def ready() -> bool:
            try:
                return bool(await self._ask(port, "PING"))
            except Exception:
                return False

        program = Program(
            name=f"node-{port}",
            argv=(
                *(str(bundled()), "--port", str(port), "--bind", LOOPBACK, "--save", ""),
                *("--cluster-port", str(port + GRPC_OFFSET), *_SETTINGS),
            ),
            env={"LC_ALL": "C"},
            cwd=directory,
            log=directory / "log",
            ready=ready,
            ready_within_s=30,
        )
        return Child(program, print)


@asynccontextmanager
async def valkey_cluster(directory: Path) -> AsyncIterator[ValkeyCluster]:
    """A running cluster."""
    cluster = ValkeyCluster(directory)
    try:
        await cluster.start()
        yield cluster
    finally:
        await cluster.kill()

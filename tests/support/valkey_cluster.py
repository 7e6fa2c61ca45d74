"""A real Valkey cluster of three primaries on loopback: one slot in three lies on each; with replicas where wanted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from redis.asyncio import Redis
from redis.crc import key_slot
from redis.exceptions import RedisError

from deploy.local.child import Child, Program
from deploy.local.ports import GRPC_OFFSET, LOOPBACK, free_pair
from deploy.local.valkey import bundled
from tests.support.waiting import eventually

_SLOTS = 16384
_PRIMARIES = 3
_SETTINGS = (
    *("--cluster-enabled", "yes", "--cluster-require-full-coverage", "no"),
    *("--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0"),
)
_KEPT = ("--appendonly", "yes", "--appendfsync", "everysec")


class ValkeyCluster:
    """nodes: the processes, first the primaries in the order of their slots, then the replica of each, if any."""

    def __init__(
        self, directory: Path, *, replicas: int = 0, append_only: bool = False, node_timeout_ms: int = 1000
    ) -> None:
        """replicas: of each primary. node_timeout_ms: after which a silent node is taken for lost."""
        self.ports = [free_pair() for _ in range(_PRIMARIES * (1 + replicas))]
        patience = ("--cluster-node-timeout", str(node_timeout_ms))
        settings = (*_SETTINGS, *patience, *(_KEPT if append_only else ()))
        self.nodes = [self._child(directory / str(port), port, settings) for port in self.ports]

    @property
    def url(self) -> str:
        """For `connect`."""
        return f"redis+cluster://{LOOPBACK}:{self.ports[0]}"

    @property
    def urls(self) -> str:
        """The same, naming every node."""
        return "redis+cluster://" + ",".join(f"{LOOPBACK}:{port}" for port in self.ports)

    async def start(self) -> None:
        """Start the nodes, deal out the slots, and wait until all agree."""
        await asyncio.gather(*(node.start() for node in self.nodes))
        share = -(-_SLOTS // _PRIMARIES)
        for number, port in enumerate(self.ports):
            if number < _PRIMARIES:
                first = number * share
                await self.ask(port, "CLUSTER", "ADDSLOTSRANGE", first, min(first + share, _SLOTS) - 1)
            await self.ask(port, "CLUSTER", "MEET", LOOPBACK, self.ports[0])
        await self._until_all_agree()
        for number, port in enumerate(self.ports[_PRIMARIES:]):
            await self._follow(port, await self.node_id(self.ports[number % _PRIMARIES]))
        await self._until_all_agree()

    async def kill(self) -> None:
        """SIGKILL to all."""
        await asyncio.gather(*(node.kill() for node in self.nodes))

    async def holder(self, key: str) -> int:
        """The number of the node that is primary for that key now, as the others see it."""
        slot = key_slot(key.encode())
        for port in self.ports:
            with suppress(RedisError, OSError):
                rows = await self.ask(port, "CLUSTER", "SLOTS")
                assert isinstance(rows, list)
                for first, last, primary, *_ in rows:
                    if first <= slot <= last:
                        return self.ports.index(primary[1])
        raise LookupError(key)

    async def begin_move(self, key: str, source: int, target: int) -> None:
        """Put the slot of that key on its way from one primary to another, key by key as Redis did it from 2011 on."""
        slot = key_slot(key.encode())
        ids = [await self.node_id(self.ports[number]) for number in (source, target)]
        await self.ask(self.ports[target], "CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
        await self.ask(self.ports[source], "CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])

    async def move_keys(self, key: str, source: int, target: int, *only: str) -> None:
        """Move all keys of the slot, or only some."""
        slot, port = key_slot(key.encode()), self.ports[source]
        found = only or await self.ask(port, "CLUSTER", "GETKEYSINSLOT", slot, 10_000)
        assert isinstance(found, (list, tuple))
        await self.ask(port, "MIGRATE", LOOPBACK, self.ports[target], "", 0, 5000, "KEYS", *found)

    async def end_move(self, key: str, target: int) -> None:
        """The slot belongs to the other primary now."""
        slot, name = key_slot(key.encode()), await self.node_id(self.ports[target])
        for port in [self.ports[target], *self.ports]:
            if await self.is_primary(port):
                await self.ask(port, "CLUSTER", "SETSLOT", slot, "NODE", name)

    async def is_primary(self, port: int) -> bool:
        """Whether the node at that port is one."""
        role = await self.ask(port, "ROLE")
        assert isinstance(role, list)
        return bool(role[0] == b"master")

    async def node_id(self, port: int) -> str:
        name = await self.ask(port, "CLUSTER", "MYID")
        assert isinstance(name, bytes)
        return name.decode()

    async def ask(self, port: int, *command: object) -> object:
        """The answer to a command, as it comes from one node."""
        async with Redis(host=LOOPBACK, port=port, protocol=2) as client:
            client.response_callbacks.clear()
            return await client.execute_command(*command)  # type: ignore[no-untyped-call]

    async def _follow(self, port: int, primary: str) -> None:
        async def follows() -> bool:
            await self.ask(port, "CLUSTER", "REPLICATE", primary)
            return True

        await eventually(follows, within_s=30)

        async def is_in_step() -> bool:
            role = await self.ask(port, "ROLE")
            return isinstance(role, list) and role[0] == b"slave" and role[3] == b"connected"

        await eventually(is_in_step, within_s=30)

    async def _until_all_agree(self) -> None:
        for port in self.ports:
            await eventually(lambda port=port: self._agrees(port), within_s=30)  # type: ignore[misc]

    async def _agrees(self, port: int) -> bool:
        state = await self.ask(port, "CLUSTER", "INFO")
        assert isinstance(state, bytes)
        wanted = {"cluster_state:ok", f"cluster_known_nodes:{len(self.ports)}", f"cluster_slots_ok:{_SLOTS}"}
        return wanted <= set(state.decode().split())

    def _child(self, directory: Path, port: int, settings: tuple[str, ...]) -> Child:
        directory.mkdir(parents=True)

        async def ready() -> bool:
            try:
                return bool(await self.ask(port, "PING"))
            except Exception:
                return False

        program = Program(
            name=f"node-{port}",
            argv=(
                *(str(bundled()), "--port", str(port), "--bind", LOOPBACK, "--save", ""),
                *("--cluster-port", str(port + GRPC_OFFSET), *settings),
            ),
            env={"LC_ALL": "C"},
            cwd=directory,
            log=directory / "log",
            ready=ready,
            ready_within_s=30,
        )
        return Child(program, print)


@asynccontextmanager
async def valkey_cluster(
    directory: Path, *, replicas: int = 0, append_only: bool = False, node_timeout_ms: int = 1000
) -> AsyncIterator[ValkeyCluster]:
    """A running cluster."""
    cluster = ValkeyCluster(directory, replicas=replicas, append_only=append_only, node_timeout_ms=node_timeout_ms)
    try:
        await cluster.start()
        yield cluster
    finally:
        await cluster.kill()

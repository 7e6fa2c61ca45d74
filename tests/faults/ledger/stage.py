"""What is tormented: two nodes of two workers each, and a Redis or a cluster that they count in."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Protocol

from deploy.local.valkey import Purpose, Valkey
from edge.counters.sink import Client, open_client, province_prefix
from tests.support.edges import Edge, start_edge
from tests.support.fault_proxy import FaultProxy
from tests.support.valkey_cluster import ValkeyCluster, valkey_cluster
from tests.support.waiting import eventually

HOME = "44"
PROVINCES = ("11", "12", HOME)
"""Each lies on another primary of the cluster."""
_PROMOTED_WITHIN_S = 60
_CUT_BYTES = 300_000


class Ground(Protocol):
    """Where the nodes count. url: for them; for_reading: without what may be cut."""

    url: str
    for_reading: str

    async def kill(self, dice: random.Random) -> None:
        """SIGKILL, without a restart."""

    async def start(self) -> None:
        """Let what was killed run again."""


class OneRedis:
    """One Valkey behind a connection that can be cut."""

    def __init__(self, valkey: Valkey, proxy: FaultProxy) -> None:
        self.valkey, self.proxy = valkey, proxy
        self.url, self.for_reading = proxy.url(valkey.url), valkey.url
        self.cut_bytes = 0
        self._kept = ("", 0)

    async def kill(self, dice: random.Random) -> None:
        await self.valkey.kill()

    async def start(self) -> None:
        await self.valkey.start()

    def note(self) -> None:
        """What is on its disk now is old enough to stay: only the last seconds get lost."""
        log = self._log()
        self._kept = log.name, log.stat().st_size

    def cut_tail(self, dice: random.Random) -> None:
        """Of what it has written last, some is gone, as after a power cut."""
        log = self._log()
        size = log.stat().st_size
        spare = size - (self._kept[1] if self._kept[0] == log.name else 0)
        cut = dice.randint(1, max(1, min(spare, _CUT_BYTES)))
        os.truncate(log, size - cut)
        self.cut_bytes += cut

    def _log(self) -> Path:
        return max(self.valkey.directory.glob("appendonlydir/*.incr.aof"), key=_number)


class Shards:
    """A cluster of three primaries, each with a replica."""

    def __init__(self, cluster: ValkeyCluster) -> None:
        self.cluster = cluster
        self.url = self.for_reading = cluster.urls
        self._killed: int | None = None

    async def kill(self, dice: random.Random) -> None:
        """One primary; returns when its replica has been promoted."""
        prefix = province_prefix(dice.choice(PROVINCES))
        primary = self._killed = await self.cluster.holder(prefix)
        await self.cluster.nodes[primary].kill()

        async def promoted() -> bool:
            return await self.cluster.holder(prefix) != primary

        await eventually(promoted, within_s=_PROMOTED_WITHIN_S)

    async def start(self) -> None:
        """The killed one again, until it follows its successor."""
        if self._killed is None:
            return
        await self.cluster.nodes[self._killed].start()
        port, self._killed = self.cluster.ports[self._killed], None

        async def in_step() -> bool:
            role = await self.cluster.ask(port, "ROLE")
            return isinstance(role, list) and role[0] == b"slave" and role[3] == b"connected"

        await eventually(in_step, within_s=_PROMOTED_WITHIN_S)


class Stage:
    """nodes: the first takes events of its own province, the second of any. reader: a client of what they count in."""

    def __init__(self, ground: Ground, nodes: list[Edge], reader: Client) -> None:
        self.ground, self.nodes, self.reader = ground, nodes, reader

    @property
    def doors(self) -> dict[str, list[str]]:
        """Where each province's events are taken."""
        first, second = (node.url for node in self.nodes)
        return {code: [first, second] if code == HOME else [second] for code in PROVINCES}

    @property
    def shows(self) -> dict[str, tuple[str, ...]]:
        """Whose counts each node shows, by its URL."""
        first, second = (node.url for node in self.nodes)
        return {first: (HOME,), second: PROVINCES}

    def kill_worker(self, dice: random.Random) -> None:
        """SIGKILL to one of the four."""
        pids = [pid for node in self.nodes for pid in node.worker_pids()]
        if pids:
            os.kill(dice.choice(pids), signal.SIGKILL)


@asynccontextmanager
async def staged(directory: Path, *, cluster: bool) -> AsyncIterator[Stage]:
    """Everything running. Ended by SIGKILL."""
    async with AsyncExitStack() as stack:
        ground = await _ground(directory, stack, cluster=cluster)
        given: dict[str, object] = {
            "origin": "http://127.0.0.1:1",
            "counters_redis": ground.url,
            "workers": 2,
            "views_per_client": 0,
            "viewer_views_per_minute": 0,
            "client_views_per_minute": 0,
        }
        placed = {
            "viewer_place": "header",
            "viewer_province_header": "X-Province",
            "trusted_proxies": "127.0.0.0/8",
            "counts_provinces": "all",
            "province": "12",
        }
        for name in ("one", "two"):
            (directory / name).mkdir()
        nodes = await asyncio.gather(
            start_edge(directory / "one", {**given, "node": "one", "province": HOME}, {}),
            start_edge(directory / "two", {**given, "node": "two", **placed}, {}),
        )
        for node in nodes:
            stack.push_async_callback(node.kill)
        if isinstance(ground, OneRedis):
            ground.note()
        reader = open_client(ground.for_reading, timeout_s=5.0, repeats=1)
        stack.push_async_callback(reader.aclose)
        yield Stage(ground, list(nodes), reader)


async def _ground(directory: Path, stack: AsyncExitStack, *, cluster: bool) -> Ground:
    if cluster:
        entered = valkey_cluster(directory / "cluster", replicas=1, append_only=True)
        return Shards(await stack.enter_async_context(entered))
    valkey = Valkey(directory / "counters", directory / "counters.log", print, Purpose.COUNTERS)
    await valkey.start()
    stack.push_async_callback(valkey.kill)
    proxy = await stack.enter_async_context(FaultProxy.of(valkey.url))
    return OneRedis(valkey, proxy)


def _number(path: Path) -> int:
    """Of a file of the append-only log: `appendonly.aof.12.incr.aof`."""
    return int(path.name.split(".")[-3])

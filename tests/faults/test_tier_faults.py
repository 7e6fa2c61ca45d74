"""Redis and the disk fail under a real node: it serves the right bytes all along, and uses them again by itself.

The tiers' own tests (`test_tiers`) look at each fault from inside; here is what clients and the origin notice of it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path

import pytest
import redis.asyncio

from deploy.local.valkey import Valkey
from tests.conftest import StartEdge
from tests.support.edges import Edge
from tests.support.fault_proxy import FaultProxy
from tests.support.origin import Script, ScriptedOrigin
from tests.support.processes import most_resident_mib
from tests.support.tiers import damages, values_in
from tests.support.visitor import Visitor, visiting
from tests.support.waiting import eventually

COUNT = 30
FRESH = {"Cache-Control": "public, max-age=6000"}
MAY_GROW_MIB = 64
MEMORY = "8MiB"
"""So little that a third of the objects does not fit: what is asked for comes from the tiers below."""


def body_of(number: int) -> bytes:
    return hashlib.shake_256(b"tier %d" % number).digest(400_000 + number)


BODIES = {f"/{number}": body_of(number) for number in range(COUNT)}


@pytest.fixture
async def origin() -> AsyncIterator[ScriptedOrigin]:
    async with ScriptedOrigin() as running:
        for path, body in BODIES.items():
            running.objects[path] = Script(body, etag='"1"', headers=FRESH)
        yield running


@asynccontextmanager
async def visited(node: Edge) -> AsyncIterator[Visitor]:
    """A visitor, and a look at the node's memory in the end."""
    (pid,) = node.worker_pids()
    before = most_resident_mib(pid)
    async with visiting(node.url) as visitor:
        yield visitor
    assert node.worker_pids() == [pid], "it was restarted"
    assert most_resident_mib(pid) - before < MAY_GROW_MIB


async def right(visitor: Visitor, paths: Iterable[str] = BODIES) -> list[str]:
    """Ask for each; all are right. What the edge says of its cache."""
    said = []
    for path in paths:
        answer = await visitor.ask(path)
        assert (answer.status, answer.whole) == (200, True)
        assert answer.digest == hashlib.sha256(BODIES[path]).hexdigest()
        said.append(answer.cache_status)
    return said


async def healthy(node: Edge, visitor: Visitor, tier: str) -> bool:
    return await visitor.metric(node.admin_url, f'smartedu_tier_healthy{{tier="{tier}"') == 1


async def unhealthy(node: Edge, visitor: Visitor, tier: str) -> bool:
    return not await healthy(node, visitor, tier)


async def failed(node: Edge, visitor: Visitor, tier: str, *kinds: str, times: int = 1) -> bool:
    """Whether the node's metrics say so; they are written twice a second."""
    line = 'smartedu_tier_failures_total{{failure="{}",tier="{}"'
    return sum([await visitor.metric(node.admin_url, line.format(kind, tier)) for kind in kinds]) >= times


# -- Redis -----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def values_of(server: Valkey) -> AsyncIterator[redis.asyncio.Redis]:
    client = redis.asyncio.Redis.from_url(server.url)
    try:
        yield client
    finally:
        await client.aclose()


async def keys_in(client: redis.asyncio.Redis) -> list[bytes]:
    """The keys of cached values."""
    return [key async for key in client.scan_iter(match="smartedu:cache:*", count=1000)]


async def value_of(client: redis.asyncio.Redis, key: bytes) -> bytes:
    value = await client.get(key)
    assert isinstance(value, bytes)
    return value


async def holds(client: redis.asyncio.Redis, count: int) -> bool:
    return len(await keys_in(client)) >= count


async def test_a_stopped_redis_is_in_nobodys_way_and_is_used_again_when_it_goes_on(
    own_redis: Valkey, edge: StartEdge, origin: ScriptedOrigin
) -> None:
    node = await edge(origin=origin.url, s3_endpoint=None, redis=own_redis.url, memory=MEMORY)
    assert own_redis.pid is not None
    async with visited(node) as visitor:
        paths = list(BODIES)
        await right(visitor, paths[:10])
        os.kill(own_redis.pid, signal.SIGSTOP)
        try:
            await right(visitor)
            await eventually(lambda: unhealthy(node, visitor, "redis"))
            await right(visitor)
        finally:
            os.kill(own_redis.pid, signal.SIGCONT)
        await eventually(lambda: healthy(node, visitor, "redis"))
    await is_used_again(edge, origin, node, own_redis)


async def is_used_again(edge: StartEdge, origin: ScriptedOrigin, node: Edge, server: Valkey) -> None:
    """What the node fetches from now on another node finds in Redis, whole, while the origin is down."""
    async with visiting(node.url) as visitor, values_of(server) as client:
        numbers = count()
        path = await eventually(lambda: written(visitor, origin, client, next(numbers)))
    other = await edge(origin=origin.url, s3_endpoint=None, redis=server.url)
    await origin.stop()
    async with visiting(other.url) as visitor:
        answer = await visitor.ask(path)
        assert (answer.status, answer.body) == (200, origin.objects[path].body)
        assert "; hit" in answer.cache_status


async def written(visitor: Visitor, origin: ScriptedOrigin, client: redis.asyncio.Redis, number: int) -> str:
    """Have one more object fetched; the path of one that is in Redis, '' when none is yet."""
    path = f"/new/{number}"
    origin.objects[path] = Script(path.encode() * 50_000, etag='"1"', headers=FRESH)
    assert (await visitor.ask(path)).body == origin.objects[path].body
    kept = [re.search(rb"\{(/new/\d+)#\}$", key) for key in await keys_in(client)]
    return next((found[1].decode() for found in kept if found is not None), "")


async def test_a_redis_whose_packets_are_lost_or_whose_connections_break_is_in_nobodys_way(
    own_redis: Valkey, edge: StartEdge, origin: ScriptedOrigin
) -> None:
    async with FaultProxy.of(own_redis.url) as proxy:
        servers = {"redis": proxy.url(own_redis.url), "counters_redis": own_redis.url}
        node = await edge(origin=origin.url, s3_endpoint=None, memory=MEMORY, **servers)
        async with visited(node) as visitor:
            await right(visitor)
            for fault in (proxy.stall, proxy.cut):
                fault()
                await right(visitor)
                await eventually(lambda: unhealthy(node, visitor, "redis"))
                await right(visitor)
                proxy.heal()
                await eventually(lambda: healthy(node, visitor, "redis"))
        await is_used_again(edge, origin, node, own_redis)


async def test_a_full_redis_still_serves_what_it_has_and_is_written_to_again(
    own_redis: Valkey, edge: StartEdge, origin: ScriptedOrigin
) -> None:
    node = await edge(origin=origin.url, s3_endpoint=None, redis=own_redis.url, memory=MEMORY)
    async with visited(node) as visitor, values_of(own_redis) as client:
        await right(visitor, ["/0"])
        await eventually(lambda: holds(client, 1))
        await client.config_set("maxmemory-policy", "noeviction")
        await client.config_set("maxmemory", "4mb")
        await right(visitor)
        await eventually(lambda: failed(node, visitor, "redis", "error", "skipped"))
        assert len(await keys_in(client)) < COUNT
        asked = origin.count("/0")
        await right(visitor, ["/0"])  # out of memory long ago
        assert origin.count("/0") == asked
        await client.config_set("maxmemory", "200mb")
        await eventually(lambda: is_written_to(visitor, client))
    await is_used_again(edge, origin, node, own_redis)


async def is_written_to(visitor: Visitor, client: redis.asyncio.Redis) -> bool:
    await right(visitor)
    return await holds(client, COUNT)


async def test_whatever_redis_returns_instead_of_what_was_written_is_a_miss_and_is_replaced(
    own_redis: Valkey, edge: StartEdge, origin: ScriptedOrigin
) -> None:
    first = await edge(origin=origin.url, s3_endpoint=None, redis=own_redis.url, memory="64MiB")
    async with visiting(first.url) as visitor, values_of(own_redis) as client:
        await right(visitor)
        await eventually(lambda: holds(client, COUNT))
        keys = sorted(await keys_in(client))
        values = {key: await value_of(client, key) for key in keys}
        damaged = spoilt(values)
        for key, value in damaged.items():
            await client.delete(key)
            if isinstance(value, bytes):
                await client.set(key, value)
            else:
                await client.rpush(key, *value)  # not even a string
        asked = len(origin.seen)
        second = await edge(origin=origin.url, s3_endpoint=None, redis=own_redis.url, memory="64MiB")
        async with visited(second) as other:
            await right(other)
            assert len(origin.seen) - asked == COUNT
            await right(other)
            assert len(origin.seen) - asked == COUNT
            await eventually(lambda: failed(second, other, "redis", "corrupt", times=COUNT // 2))
        await eventually(lambda: all_replaced(client, damaged))
    third = await edge(origin=origin.url, s3_endpoint=None, redis=own_redis.url, memory="64MiB")
    async with visiting(third.url) as visitor:
        assert all("; hit" in said for said in await right(visitor))


def spoilt(values: dict[bytes, bytes]) -> dict[bytes, bytes | list[bytes]]:
    """Each of them damaged in another way; one has another one's place."""
    spoilt: dict[bytes, bytes | list[bytes]] = {}
    keys = list(values)
    for number, key in enumerate(keys):
        ways = dict(damages(values[key]))
        of_another: list[bytes | list[bytes]] = [values[keys[number - 1]], [b"a", b"list"]]
        all_ways = [*ways.values(), *of_another]
        spoilt[key] = all_ways[number % len(all_ways)]
    return spoilt


async def all_replaced(client: redis.asyncio.Redis, damaged: dict[bytes, bytes | list[bytes]]) -> bool:
    for key, value in damaged.items():
        assert await client.type(key) == b"string"
        assert await client.get(key) != value
    return True


# -- disk ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB of its own."""
    directory = tmp_path / "small"
    directory.mkdir()
    command = ("mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(directory))
    if subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("mounting is not permitted here")
    yield directory
    subprocess.run(["umount", "-l", str(directory)], check=True)


async def on_disk(edge: StartEdge, origin: ScriptedOrigin, directory: Path) -> Edge:
    return await edge(origin=origin.url, s3_endpoint=None, disk=directory, disk_size="256MiB", memory=MEMORY)


async def all_on_disk(visitor: Visitor, directory: Path) -> bool:
    await right(visitor)
    return len(values_in(directory)) == COUNT


async def hits_everything(visitor: Visitor) -> bool:
    return all("; hit" in said for said in await right(visitor))


async def test_a_full_disk_costs_nothing_but_misses_and_is_written_to_again(
    edge: StartEdge, origin: ScriptedOrigin, small_disk: Path
) -> None:
    directory = small_disk / "tier"
    node = await on_disk(edge, origin, directory)
    async with visited(node) as visitor:
        fill(small_disk / "others")
        for _ in range(2):
            await right(visitor)
        assert len(values_in(directory)) < COUNT
        (small_disk / "others").unlink()
        await eventually(lambda: all_on_disk(visitor, directory), within_s=20)
        asked = len(origin.seen)
        assert await hits_everything(visitor)
        assert len(origin.seen) == asked


async def test_a_node_starts_and_restarts_with_a_disk_that_is_full_or_read_only(
    edge: StartEdge, origin: ScriptedOrigin, small_disk: Path
) -> None:
    fill(small_disk / "others")
    node = await on_disk(edge, origin, small_disk)
    async with visited(node) as visitor:
        await right(visitor)
    await node.stop()
    protect(small_disk)
    await node.start()
    async with visited(node) as visitor:
        await right(visitor)


def protect(directory: Path) -> None:
    """As the kernel does it with a disk that fails."""
    subprocess.run(["mount", "-o", "remount,ro", str(directory)], check=True)


def fill(path: Path) -> None:
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(bytes(4096)) == 4096:
            pass


async def test_damaged_files_are_misses_and_are_replaced(
    edge: StartEdge, origin: ScriptedOrigin, tmp_path: Path
) -> None:
    node = await on_disk(edge, origin, tmp_path / "tier")
    async with visited(node) as visitor:
        await eventually(lambda: all_on_disk(visitor, tmp_path / "tier"))
        for number, file in enumerate(values_in(tmp_path / "tier")):
            ways, until = list(damages(file.read_bytes())), file.stat().st_mtime
            file.write_bytes(ways[number % len(ways)][1])
            os.utime(file, (until, until))  # otherwise it would be a file that is too old, and not a damaged one
        for _ in range(2):
            await right(visitor)
        await eventually(lambda: failed(node, visitor, "disk", "corrupt"))
        assert await healthy(node, visitor, "disk")
        await eventually(lambda: hits_everything(visitor))


async def test_files_that_cannot_be_read_are_misses_and_the_tier_is_used_again(
    edge: StartEdge, origin: ScriptedOrigin, tmp_path: Path
) -> None:
    """Reading a directory fails as a bad sector does: with an error, whoever asks."""
    node = await on_disk(edge, origin, tmp_path / "tier")
    async with visited(node) as visitor:
        await eventually(lambda: all_on_disk(visitor, tmp_path / "tier"))
        files = values_in(tmp_path / "tier")
        for file in files:
            file.unlink()
            file.mkdir()
        for _ in range(2):
            await right(visitor)
        await eventually(lambda: failed(node, visitor, "disk", "error"))
        for file in files:
            with suppress(OSError):
                file.rmdir()
        await eventually(lambda: hits_everything(visitor))


def removed(directory: Path) -> bool:
    """Taken away, though somebody may be writing there."""
    shutil.rmtree(directory, ignore_errors=True)
    return not directory.exists()


async def test_a_disk_whose_directory_vanishes_is_filled_anew(
    edge: StartEdge, origin: ScriptedOrigin, tmp_path: Path
) -> None:
    node = await on_disk(edge, origin, tmp_path / "tier")
    async with visited(node) as visitor:
        await eventually(lambda: all_on_disk(visitor, tmp_path / "tier"))
        await eventually(lambda: removed(tmp_path / "tier"))
        await right(visitor)
        await eventually(lambda: all_on_disk(visitor, tmp_path / "tier"))
        await eventually(lambda: hits_everything(visitor))

"""One contract for every tier, run against the memory tier and a real Valkey; then what is Redis's alone."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from deploy.local.valkey import Valkey
from edge.cache.freshness import head_of
from edge.cache.memory import MemoryStore
from edge.cache.model import CacheKey, Entry
from edge.cache.shared import RedisTier, connect
from tests.support.loopguard import nothing_blocks_the_loop  # noqa: F401
from tests.support.ticking import ManualClock
from tests.support.waiting import eventually

KEY = CacheKey("/media/课/a b.m4s")
OTHER = CacheKey("/media/other")
LIMIT = 600_000


class Memory:
    """The memory tier behind the verbs that all tiers share."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self._store = MemoryStore(max_bytes=LIMIT + 2000)

    async def put(self, key: CacheKey, entry: Entry) -> bool:
        return self._store.put(key, entry)

    async def get(self, key: CacheKey) -> Entry | None:
        return self._store.get(key)

    async def remove(self, key: CacheKey) -> None:
        self._store.remove(key)


class Shared:
    """The Redis tier behind the same verbs."""

    def __init__(self, clock: ManualClock, tier: RedisTier) -> None:
        self.clock = clock
        self._tier = tier

    async def put(self, key: CacheKey, entry: Entry) -> bool:
        begun = self._tier.put(key, entry)
        await self._tier.settled()
        return begun

    async def get(self, key: CacheKey) -> Entry | None:
        return await self._tier.get(key)

    async def remove(self, key: CacheKey) -> None:
        await self._tier.remove(key)


@asynccontextmanager
async def redis_tier(url: str, clock: ManualClock | None = None, **settings: Any) -> AsyncIterator[RedisTier]:
    client = connect(url, deadline_s=10.0)
    # Deadlines that a busy test machine keeps; the tests of slowness set their own.
    given = {"deadline_s": 10.0, "write_deadline_s": 10.0, "max_value_bytes": LIMIT, "probe_s": 0.05} | settings
    tier = RedisTier(client, clock=clock or ManualClock(), namespace="test", **given)
    await tier.start()
    try:
        yield tier
    finally:
        await tier.close()
        await client.aclose()


@pytest.fixture(params=["memory", "redis"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Memory | Shared]:
    clock = ManualClock()
    if request.param == "memory":
        yield Memory(clock)
    else:
        async with redis_tier(request.getfixturevalue("redis_url"), clock) as tier:
            yield Shared(clock, tier)


def entry(clock: ManualClock, body: bytes = b"body", control: str = "max-age=60", status: int = 200) -> Entry:
    headers = (
        ("cache-control", control),
        ("etag", '"e"'),
        ("x-title", "专题教育"),
        ("x-twice", "1"),
        ("x-twice", "2"),
        ("content-length", str(len(body))),
    )
    return Entry(head_of(status, headers, now=clock.monotonic(), wall=clock.wall()), body)


async def test_what_was_stored_comes_back_as_it_was(store: Memory | Shared) -> None:
    for body in (b"", b"body", bytes(range(256)) * 1500):
        stored = entry(store.clock, body)
        assert await store.put(KEY, stored)
        found = await store.get(KEY)
        assert found is not None
        assert found.body == body
        assert (found.head.headers, found.head.etag) == (stored.head.headers, '"e"')
        assert (found.head.length, found.head.freshness) == (len(body), stored.head.freshness)


async def test_age_goes_on_counting_in_the_store(store: Memory | Shared) -> None:
    await store.put(KEY, entry(store.clock))
    store.clock.advance(7)
    found = await store.get(KEY)
    assert found is not None
    assert found.head.age_s(store.clock.monotonic()) == pytest.approx(7, abs=1)


async def test_the_newer_replaces_the_older(store: Memory | Shared) -> None:
    await store.put(KEY, entry(store.clock, b"old"))
    await store.put(KEY, entry(store.clock, b"new"))
    found = await store.get(KEY)
    assert found is not None
    assert found.body == b"new"


async def test_keys_do_not_meet(store: Memory | Shared) -> None:
    await store.put(KEY, entry(store.clock))
    assert await store.get(OTHER) is None


async def test_what_is_removed_is_gone(store: Memory | Shared) -> None:
    await store.put(KEY, entry(store.clock))
    await store.remove(KEY)
    await store.remove(OTHER)
    assert await store.get(KEY) is None


async def test_what_is_too_large_is_not_stored(store: Memory | Shared) -> None:
    assert not await store.put(KEY, entry(store.clock, bytes(LIMIT + 2000)))
    assert await store.get(KEY) is None


async def test_what_is_of_no_more_use_is_not_written_to_redis_and_the_rest_expires(redis_url: str) -> None:
    clock = ManualClock()
    async with redis_tier(redis_url, clock) as tier:
        assert not tier.put(OTHER, entry(clock, control="max-age=0"))
        tier.put(KEY, entry(clock, control="max-age=5, stale-while-revalidate=30, stale-if-error=100"))
        await tier.settled()
        client = connect(redis_url, deadline_s=10.0)
        names = [name async for name in client.scan_iter()]
        assert len(names) == 1
        assert 100 <= await client.ttl(names[0]) <= 105
        await client.aclose()


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "other format"])
async def test_a_damaged_value_is_a_miss_and_is_dropped(redis_url: str, damage: str) -> None:
    clock = ManualClock()
    client = connect(redis_url, deadline_s=10.0)
    async with redis_tier(redis_url, clock) as tier:
        tier.put(KEY, entry(clock, bytes(300_000)))
        await tier.settled()
        (name,) = [name async for name in client.scan_iter()]
        stored = await client.get(name)
        assert isinstance(stored, bytes)
        value = bytearray(stored)
        value[len(value) // 2] ^= 1
        damaged = {"flip": bytes(value), "cut": bytes(value[:-1]), "empty": b"", "other format": b"hello" * 9}[damage]
        await client.set(name, damaged)
        assert await tier.get(KEY) is None
        await tier.settled()
        assert await client.exists(name) == 0
    await client.aclose()


async def test_redis_gone_is_noticed_skipped_and_used_again_when_it_is_back(own_redis: Valkey) -> None:
    clock = ManualClock()
    async with redis_tier(own_redis.url, clock) as tier:
        assert tier.healthy
        await own_redis.kill()
        assert await tier.get(KEY) is None
        await eventually(lambda: not tier.healthy)
        assert not tier.put(KEY, entry(clock))
        await own_redis.start()
        await eventually(lambda: tier.healthy)
        assert tier.put(KEY, entry(clock))
        await tier.settled()
        assert await tier.get(KEY) is not None


async def test_redis_that_hangs_costs_a_few_deadlines_and_then_nothing(own_redis: Valkey) -> None:
    clock = ManualClock()
    async with redis_tier(own_redis.url, clock, deadline_s=0.05, write_deadline_s=0.05, failures=3) as tier:
        tier.put(KEY, entry(clock))
        await tier.settled()
        pid = own_redis.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            found = await asyncio.gather(*(tier.get(KEY) for _ in range(3)))
            assert found == [None, None, None]
            assert not tier.healthy
            asked = [await asyncio.wait_for(tier.get(KEY), 0.04) for _ in range(100)]
            assert asked == [None] * 100
        finally:
            os.kill(pid, signal.SIGCONT)
        await eventually(lambda: tier.healthy)
        found_again = await eventually(lambda: tier.get(KEY))
        assert found_again is not None
        assert found_again.body == b"body"


async def test_no_more_writes_are_under_way_than_allowed(redis_url: str) -> None:
    clock = ManualClock()
    async with redis_tier(redis_url, clock, max_writes=4) as tier:
        begun = [tier.put(CacheKey(f"/media/{number}"), entry(clock)) for number in range(10)]
        assert begun == [True] * 4 + [False] * 6
        await tier.settled()


async def test_sites_of_different_origins_do_not_meet_on_one_server(redis_url: str) -> None:
    clock = ManualClock()
    async with redis_tier(redis_url, clock) as tier:
        client = connect(redis_url, deadline_s=10.0)
        other = RedisTier(client, clock=clock, namespace="other")
        tier.put(KEY, entry(clock))
        await tier.settled()
        assert await other.get(KEY) is None
        await client.aclose()


async def test_a_tier_ends_at_whatever_point_of_a_ping_it_is_closed(redis_url: str) -> None:
    client = connect(redis_url, deadline_s=10.0)
    for steps in range(60):
        tier = RedisTier(client, clock=ManualClock(), namespace="test", deadline_s=10.0, probe_s=0.0)
        await tier.start()
        for _ in range(steps):
            await asyncio.sleep(0)
        async with asyncio.timeout(10):
            await tier.close()
    await client.aclose()

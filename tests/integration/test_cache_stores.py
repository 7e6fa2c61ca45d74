"""One contract for every tier: memory, disk, a real Valkey, a real Valkey cluster. Then what is Redis's alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import pytest
import pytest_asyncio

from edge.cache.disk import DiskTier
from edge.cache.memory import MemoryStore
from edge.cache.model import CacheKey, Entry, Layout, Stored, Varying
from edge.cache.shared import Client, RedisTier, connect
from tests.support.loopguard import nothing_blocks_the_loop  # noqa: F401
from tests.support.ticking import ManualClock
from tests.support.tiers import LARGEST, PATIENCE_S, body_of, damages, disk_files, disk_tier, entry, head, redis_tier
from tests.support.valkey_cluster import valkey_cluster

KEY = CacheKey("/media/课/a b{1}.m4s?q=%20")
OTHER = CacheKey("/media/other")
PIECE = 512 * 1024
BODIES = (b"", b"body", bytes(range(256)) * 1500, b"\0" * PIECE, bytes(range(256)) * (LARGEST // 256))


class Store(Protocol):
    """A tier behind the verbs that all share; `put` returns when it is done."""

    clock: ManualClock

    async def put(self, key: CacheKey, value: Stored) -> bool: ...

    async def get(self, key: CacheKey) -> Stored | None: ...

    async def remove(self, key: CacheKey) -> None: ...


class Memory:
    """The memory tier."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self._store = MemoryStore(max_bytes=64 * 1024 * 1024, largest_bytes=LARGEST + 4000)

    async def put(self, key: CacheKey, value: Stored) -> bool:
        return self._store.put(key, value)

    async def get(self, key: CacheKey) -> Stored | None:
        return self._store.get(key)

    async def remove(self, key: CacheKey) -> None:
        self._store.remove(key)


class Slow:
    """A tier that is awaited, and writes in the background."""

    def __init__(self, clock: ManualClock, tier: DiskTier | RedisTier) -> None:
        self.clock = clock
        self.tier = tier

    async def put(self, key: CacheKey, value: Stored) -> bool:
        begun = self.tier.put(key, value)
        await self.tier.settled()
        return begun

    async def get(self, key: CacheKey) -> Stored | None:
        return await self.tier.get(key)

    async def remove(self, key: CacheKey) -> None:
        await self.tier.remove(key)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster_url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """A cluster for the tests of this file."""
    async with valkey_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster.url


SLOW = ("disk", "redis", "cluster")


def _place(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Path | str | None:
    if kind in ("memory", "disk"):
        return tmp_path / "disk" if kind == "disk" else None
    return str(request.getfixturevalue("redis_url" if kind == "redis" else "cluster_url"))


@pytest.fixture(params=SLOW)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str | None:
    """A directory, or the URL of a Redis."""
    return _place(request.param, request, tmp_path)


@pytest.fixture(params=["memory", *SLOW])
def any_place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str | None:
    """A directory, or the URL of a Redis, or nothing."""
    return _place(request.param, request, tmp_path)


@asynccontextmanager
async def _slow(place: Path | str) -> AsyncIterator[Slow]:
    clock = ManualClock()
    if isinstance(place, Path):
        async with disk_tier(disk_files(place, clock), clock) as on_disk:
            yield Slow(clock, on_disk)
    else:
        async with redis_tier(place, clock, namespace=f"test {{{uuid4().hex}}}") as in_redis:
            yield Slow(clock, in_redis)


@pytest.fixture
async def slow(place: Path | str) -> AsyncIterator[Slow]:
    async with _slow(place) as made:
        yield made


@pytest.fixture
async def store(any_place: Path | str | None) -> AsyncIterator[Store]:
    if any_place is None:
        yield Memory(ManualClock())
        return
    async with _slow(any_place) as made:
        yield made


# -- every tier ----------------------------------------------------------------------------------------------------


async def test_what_was_stored_comes_back_as_it_was(store: Store) -> None:
    control = "max-age=60, stale-while-revalidate=5, stale-if-error=600"
    for number, body in enumerate(BODIES):
        stored = replace(entry(store.clock, body, control), mark=number)
        assert await store.put(KEY, stored)
        found = await store.get(KEY)
        assert isinstance(found, Entry)
        assert found.body == body
        assert replace(found.head, born=0.0) == replace(stored.head, born=0.0)
        assert found.mark == number


@pytest.mark.parametrize("control", ["max-age=9, must-revalidate", "max-age=9, no-cache", "s-maxage=9"])
async def test_what_a_response_demands_is_kept(store: Store, control: str) -> None:
    stored = entry(store.clock, control=control)
    await store.put(KEY, stored)
    found = await store.get(KEY)
    assert isinstance(found, Entry)
    assert found.head.freshness == stored.head.freshness


async def test_a_list_of_variants_comes_back_and_beside_it_the_variants(store: Store) -> None:
    varying = Varying((("accept-encoding", "x-device"), ()), mark=3)
    await store.put(KEY, varying)
    for part in ("v:1", "v:2"):
        await store.put(CacheKey(KEY.uri, part), entry(store.clock, part.encode()))
    assert await store.get(KEY) == varying
    assert body_of(await store.get(CacheKey(KEY.uri, "v:1"))) == b"v:1"
    assert body_of(await store.get(CacheKey(KEY.uri, "v:2"))) == b"v:2"


async def test_a_layout_comes_back_and_beside_it_the_blocks(store: Store) -> None:
    whole = head(store.clock, "max-age=60", length=3_000_000_000)
    await store.put(KEY, Layout(whole, 1024 * 1024, mark=5))
    block = Entry(replace(whole, status=206, length=1024 * 1024), bytes(range(256)) * 4096)
    await store.put(CacheKey(KEY.uri, "b:e:2999"), block)
    found = await store.get(KEY)
    assert isinstance(found, Layout)
    assert (found.block_bytes, found.mark, found.head.length) == (1024 * 1024, 5, 3_000_000_000)
    assert replace(found.head, born=0.0) == replace(whole, born=0.0)
    assert body_of(await store.get(CacheKey(KEY.uri, "b:e:2999"))) == block.body
    assert await store.get(CacheKey(KEY.uri, "b:e:2998")) is None


async def test_age_goes_on_counting_in_the_store(store: Store) -> None:
    await store.put(KEY, entry(store.clock))
    store.clock.advance(7)
    found = await store.get(KEY)
    assert isinstance(found, Entry)
    assert found.head.age_s(store.clock.monotonic()) == pytest.approx(7, abs=0.01)


async def test_the_newer_replaces_the_older_whatever_their_sizes(store: Store) -> None:
    large, small = bytes(LARGEST), b"small"
    for body in (small, large, b"1" * LARGEST, small, b"other"):
        await store.put(KEY, entry(store.clock, body))
        assert body_of(await store.get(KEY)) == body


async def test_what_is_of_another_kind_replaces_too(store: Store) -> None:
    await store.put(KEY, entry(store.clock, bytes(LARGEST)))
    await store.put(KEY, Varying(((),)))
    assert await store.get(KEY) == Varying(((),))
    await store.put(KEY, entry(store.clock))
    assert body_of(await store.get(KEY)) == b"body"


async def test_keys_and_parts_do_not_meet(store: Store) -> None:
    await store.put(KEY, entry(store.clock))
    for stranger in (OTHER, CacheKey(KEY.uri, "v:1"), CacheKey(KEY.uri + "v:1"), CacheKey(KEY.uri.lower() + "/")):
        assert await store.get(stranger) is None


async def test_what_is_removed_is_gone_and_the_rest_stays(store: Store) -> None:
    for key in (KEY, OTHER, CacheKey(KEY.uri, "v:1")):
        await store.put(key, entry(store.clock, bytes(900_000)))
    await store.remove(KEY)
    await store.remove(CacheKey("/media/never"))
    assert await store.get(KEY) is None
    assert body_of(await store.get(OTHER)) == bytes(900_000)
    assert body_of(await store.get(CacheKey(KEY.uri, "v:1"))) == bytes(900_000)


async def test_what_is_too_large_is_not_stored(store: Store) -> None:
    assert not await store.put(KEY, entry(store.clock, bytes(LARGEST + 4000)))
    assert await store.get(KEY) is None


async def test_many_at_once_do_not_mix(store: Store) -> None:
    keys = [CacheKey(f"/media/{number}") for number in range(12)]
    await asyncio.gather(*(store.put(key, entry(store.clock, key.uri.encode() * 5000)) for key in keys))
    found = await asyncio.gather(*(store.get(key) for key in keys for _ in range(3)))
    bodies = [body_of(value) for value in found]
    assert bodies == [key.uri.encode() * 5000 for key in keys for _ in range(3)]


# -- every tier that is awaited ------------------------------------------------------------------------------------


async def test_what_is_of_no_more_use_is_refused(slow: Slow) -> None:
    assert not await slow.put(KEY, entry(slow.clock, control="max-age=0"))
    assert not await slow.put(KEY, entry(slow.clock, control="no-store"))
    old = entry(slow.clock, control="max-age=5, stale-if-error=100")
    slow.clock.advance(104.5)
    assert not await slow.put(KEY, old)
    assert await slow.get(KEY) is None


async def test_writes_and_removals_of_one_key_keep_their_order(slow: Slow) -> None:
    for body in (bytes(LARGEST), b"short", bytes(LARGEST // 2), b"last"):
        assert slow.tier.put(KEY, entry(slow.clock, body))
    await slow.tier.settled()
    assert body_of(await slow.get(KEY)) == b"last"
    slow.tier.put(KEY, entry(slow.clock, bytes(LARGEST)))
    await slow.remove(KEY)
    await slow.tier.settled()
    assert await slow.get(KEY) is None


async def test_a_reader_sees_the_old_value_or_the_new_one_or_none_but_no_mixture(slow: Slow) -> None:
    bodies = [bytes([number]) * LARGEST for number in range(4)]
    writing = True
    await slow.put(KEY, entry(slow.clock, bodies[0]))

    async def read() -> int:
        seen = 0
        while writing:
            found = body_of(await slow.get(KEY))
            assert found is None or found in bodies
            seen += found is not None
        return seen

    readers = [asyncio.create_task(read()) for _ in range(3)]
    for body in bodies * 3:
        await slow.put(KEY, entry(slow.clock, body))
    writing = False
    assert sum(await asyncio.gather(*readers)) > 0
    assert body_of(await slow.get(KEY)) == bodies[-1]


async def test_no_more_writes_are_under_way_than_allowed(slow: Slow) -> None:
    limit = 32 * 1024 * 1024
    begun = [slow.tier.put(CacheKey(f"/media/{n}"), entry(slow.clock, bytes(LARGEST))) for n in range(20)]
    assert 0 < sum(begun) <= limit // LARGEST
    assert slow.tier.stats.skipped == begun.count(False)
    await slow.tier.settled()


async def test_origins_do_not_meet_in_one_place(redis_url: str, tmp_path: Path) -> None:
    clock = ManualClock()
    for namespace, expected in (("one", None), ("two", None), ("one", b"one")):
        async with (
            redis_tier(redis_url, clock, namespace=namespace) as in_redis,
            disk_tier(disk_files(tmp_path, clock, namespace=namespace), clock) as on_disk,
        ):
            for tier in (Slow(clock, in_redis), Slow(clock, on_disk)):
                assert body_of(await tier.get(KEY)) == expected
                await tier.put(KEY, entry(clock, namespace.encode()))


# -- Redis alone ---------------------------------------------------------------------------------------------------


async def names_in(client: Client) -> list[bytes]:
    return sorted([name async for name in client.scan_iter()])


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Client]:
    made = connect(redis_url, deadline_s=PATIENCE_S)
    yield made
    await made.aclose()


async def test_no_value_in_redis_is_larger_than_a_piece_and_its_front(redis_url: str, client: Client) -> None:
    clock = ManualClock()
    async with redis_tier(redis_url, clock) as tier:
        tier.put(KEY, entry(clock, bytes(LARGEST)))
        await tier.settled()
        names = await names_in(client)
        sizes = [await client.strlen(name) for name in names]
        assert len(names) == -(-LARGEST // PIECE)
        assert max(sizes) <= PIECE + 4096
        assert len({name[name.index(b"{") : name.index(b"}")] for name in names}) == 1


async def test_the_pieces_of_what_is_replaced_or_removed_go(redis_url: str, client: Client) -> None:
    clock = ManualClock()
    async with redis_tier(redis_url, clock) as tier:
        for body, left in ((bytes(LARGEST), 6), (b"1" * LARGEST, 6), (b"short", 1), (bytes(PIECE + 1), 2)):
            tier.put(KEY, entry(clock, body))
            await tier.settled()
            assert len(await names_in(client)) == left
        await tier.remove(KEY)
        assert await names_in(client) == []


async def test_a_value_lives_in_redis_as_long_as_it_is_of_use_and_its_pieces_a_little_longer(
    redis_url: str, client: Client
) -> None:
    clock = ManualClock()
    async with redis_tier(redis_url, clock) as tier:
        tier.put(KEY, entry(clock, bytes(PIECE + 1), "max-age=5, stale-while-revalidate=30, stale-if-error=100"))
        await tier.settled()
        first, further = await names_in(client)
        assert 100 <= await client.ttl(first) <= 105
        assert 110 <= await client.ttl(further) <= 115


@pytest.mark.parametrize("damage", [name for name, _ in damages(bytes(100))])
@pytest.mark.parametrize("which", [0, 1, 5], ids=["first piece", "second piece", "last piece"])
async def test_a_damaged_value_is_a_miss_and_is_dropped(
    redis_url: str, client: Client, damage: str, which: int
) -> None:
    clock = ManualClock()
    async with redis_tier(redis_url, clock) as tier:
        tier.put(KEY, entry(clock, b"\1" * LARGEST))
        await tier.settled()
        names = await names_in(client)
        stored = await client.get(names[which])
        assert isinstance(stored, bytes)
        await client.set(names[which], dict(damages(stored))[damage])
        assert await tier.get(KEY) is None
        await tier.settled()
        assert names[0] not in await names_in(client)
        assert await tier.get(KEY) is None
        assert tier.stats.corrupt == 1
        tier.put(KEY, entry(clock))
        await tier.settled()
        assert body_of(await tier.get(KEY)) == b"body"


async def test_a_value_of_which_redis_dropped_a_piece_is_a_miss_and_the_rest_is_dropped(
    redis_url: str, client: Client
) -> None:
    clock = ManualClock()
    async with redis_tier(redis_url, clock) as tier:
        tier.put(KEY, entry(clock, bytes(LARGEST)))
        await tier.settled()
        await client.delete((await names_in(client))[3])
        assert await tier.get(KEY) is None
        await tier.settled()
        assert await names_in(client) == []
        assert (tier.stats.incomplete, tier.stats.corrupt) == (1, 0)


async def test_a_value_under_another_ones_name_is_a_miss(redis_url: str, client: Client) -> None:
    clock = ManualClock()
    async with redis_tier(redis_url, clock) as tier:
        tier.put(KEY, entry(clock, b"secret"))
        await tier.settled()
        (name,) = await names_in(client)
        tier.put(OTHER, entry(clock, b"open"))
        await tier.settled()
        (other,) = [found for found in await names_in(client) if found != name]
        await client.copy(name.decode(), other.decode(), replace=True)
        assert await tier.get(OTHER) is None
        assert body_of(await tier.get(KEY)) == b"secret"


async def test_a_key_that_holds_no_string_is_a_miss_and_is_written_over(redis_url: str, client: Client) -> None:
    clock = ManualClock()
    async with redis_tier(redis_url, clock) as tier:
        tier.put(KEY, entry(clock))
        await tier.settled()
        (name,) = await names_in(client)
        await client.delete(name)
        await client.lpush(name, "a list")
        for _ in range(5):
            assert await tier.get(KEY) is None
        assert tier.healthy
        assert tier.put(KEY, entry(clock))
        await tier.settled()
        assert body_of(await tier.get(KEY)) == b"body"


async def test_marks_travel_as_the_bus_tells_them_and_what_it_cannot_tell_is_a_miss(redis_url: str) -> None:
    clock = ManualClock()
    async with (
        redis_tier(redis_url, clock, shared_mark=lambda mark: f"bus:{mark + 100}") as writer,
        redis_tier(redis_url, clock, mark_of=lambda text: int(text.removeprefix("bus:")) - 50) as reader,
        redis_tier(redis_url, clock, mark_of=lambda _: None) as stranger,
        redis_tier(redis_url, clock, shared_mark=lambda _: None) as deaf,
    ):
        writer.put(KEY, replace(entry(clock), mark=7))
        await writer.settled()
        found = await reader.get(KEY)
        assert found is not None
        assert found.mark == 57
        assert await stranger.get(KEY) is None
        assert not deaf.put(KEY, entry(clock, b"other"))
        assert body_of(await reader.get(KEY)) == b"body"


async def test_what_is_larger_than_this_node_takes_is_not_read(redis_url: str) -> None:
    clock = ManualClock()
    async with redis_tier(redis_url, clock) as large, redis_tier(redis_url, clock, max_value_bytes=PIECE) as small:
        large.put(KEY, entry(clock, bytes(LARGEST)))
        await large.settled()
        assert await small.get(KEY) is None
        assert body_of(await large.get(KEY)) == bytes(LARGEST)


async def test_a_tier_ends_at_whatever_point_of_a_probe_or_a_write_it_is_closed(redis_url: str) -> None:
    client = connect(redis_url, deadline_s=PATIENCE_S)
    clock = ManualClock()
    for steps in range(60):
        tier = RedisTier(client, clock=clock, namespace="test", deadline_s=PATIENCE_S, probe_s=0.0)
        await tier.start()
        tier.put(KEY, entry(clock, bytes(PIECE * 2)))
        for _ in range(steps):
            await asyncio.sleep(0)
        async with asyncio.timeout(10):
            await tier.close()
    await client.aclose()


async def test_it_is_told_without_reading_whether_all_is_there(slow: Slow) -> None:
    keys = [CacheKey("/media/film.mp4", f"b:1:{number}") for number in range(40)]
    assert await slow.tier.lacks_any(keys)
    for key in keys[:-1]:
        assert await slow.put(key, entry(slow.clock, b"block"))
    assert not await slow.tier.lacks_any(keys[:-1])
    assert await slow.tier.lacks_any(keys)

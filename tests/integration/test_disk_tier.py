"""What is particular to the disk tier: its bound, its order, restarts, damage, and a disk that does not answer."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import stat
import threading
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from edge.cache.disk import DiskTier
from edge.cache.files import Files, Useless
from edge.cache.ledger import Ledger
from edge.cache.model import CacheKey, Entry, Stored
from tests.support.loopguard import nothing_blocks_the_loop  # noqa: F401
from tests.support.ticking import ManualClock
from tests.support.tiers import body_of, damages, disk_files, disk_tier, entry, occupied, values_in
from tests.support.waiting import eventually

KEY = CacheKey("/media/课/a b.m4s")
KIB = 1024
MIB = 1024 * 1024


def keys(count: int, name: str = "media") -> list[CacheKey]:
    return [CacheKey(f"/{name}/{number}") for number in range(count)]


async def put(tier: DiskTier, key: CacheKey, value: Stored) -> bool:
    begun = tier.put(key, value)
    await tier.settled()
    return begun


async def stored(tier: DiskTier, key: CacheKey, value: Stored) -> bool:
    return await put(tier, key, value) and await tier.get(key) is not None


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "disk"


@pytest.fixture
async def tier(directory: Path, clock: ManualClock) -> AsyncIterator[DiskTier]:
    async with disk_tier(disk_files(directory, clock), clock) as running:
        yield running


# -- restarts ------------------------------------------------------------------------------------------------------


async def test_the_first_question_after_a_restart_is_answered_from_what_is_there(
    directory: Path, clock: ManualClock
) -> None:
    async with disk_tier(disk_files(directory, clock), clock) as before:
        for key in keys(20):
            before.put(key, entry(clock, key.uri.encode() * 1000))
    clock.advance(11)
    after_reboot = ManualClock()
    after_reboot.advance(11 + clock.wall() - after_reboot.wall() - 11)
    async with disk_tier(disk_files(directory, after_reboot), after_reboot) as after:
        for key in keys(20):
            found = await after.get(key)
            assert isinstance(found, Entry)
            assert found.body == key.uri.encode() * 1000
            assert found.head.age_s(after_reboot.monotonic()) == pytest.approx(11, abs=0.01)
        assert after.stats.entries == 20


async def test_what_waits_to_be_written_is_written_when_the_tier_is_closed(directory: Path, clock: ManualClock) -> None:
    async with disk_tier(disk_files(directory, clock), clock) as tier:
        assert all(tier.put(key, entry(clock, bytes(100_000))) for key in keys(50))
    assert len(values_in(directory)) == 50


async def test_what_a_dead_worker_left_half_written_is_removed_at_start_and_a_living_ones_is_not(
    directory: Path, clock: ManualClock
) -> None:
    async with disk_tier(disk_files(directory, clock), clock):
        (living_seat,) = (directory / "v1/tmp").iterdir()
        being_written = living_seat / "77"
        being_written.write_bytes(b"x")
        left = directory / "v1/tmp/5/1"
        left.parent.mkdir()
        left.write_bytes(bytes(100_000))
        async with disk_tier(disk_files(directory, clock), clock) as second:
            assert being_written.exists()
            assert not left.exists()
            assert await put(second, KEY, entry(clock))
            assert being_written.exists()


async def test_nobody_else_may_read_what_is_cached(directory: Path, tier: DiskTier, clock: ManualClock) -> None:
    await put(tier, KEY, entry(clock))
    found = [directory, *files_and_directories(directory)]
    assert len(found) > 6
    assert {stat.S_IMODE(path.stat().st_mode) for path in found} == {0o700, 0o600}


def files_and_directories(directory: Path) -> list[Path]:
    return list(directory.rglob("*"))


# -- the bound -----------------------------------------------------------------------------------------------------


def _counts(tier: DiskTier, size: int, files: int) -> bool:
    return (tier.stats.bytes, tier.stats.entries) == (size, files)


async def test_all_files_together_stay_within_the_bound_at_any_time(directory: Path, clock: ManualClock) -> None:
    limit = 4 * MIB
    async with (
        disk_tier(disk_files(directory, clock, max_bytes=limit), clock) as one,
        disk_tier(disk_files(directory, clock, max_bytes=limit), clock) as other,
    ):
        for number, key in enumerate(keys(150)):
            value = entry(clock, bytes((number * 7919) % 200_000))
            one.put(key, value)
            other.put(CacheKey(key.uri, "v:1"), value)
            if number % 5 == 0:
                assert occupied(directory) <= limit
            if number % 10 == 0:
                await asyncio.gather(one.settled(), other.settled())
        await asyncio.gather(one.settled(), other.settled())
        assert occupied(directory) > limit * 0.8
        assert one.stats.evictions + other.stats.evictions > 50
        # A look taken while a file was being written has its bytes reserved and the file not yet counted.
        there = (occupied(directory), len(values_in(directory)))
        for tier in (one, other):
            await eventually(partial(_counts, tier, *there))


async def test_overwriting_and_removing_keep_the_books_right(
    directory: Path, tier: DiskTier, clock: ManualClock
) -> None:
    for number in range(200):
        await put(tier, keys(9)[number % 9], entry(clock, bytes(number * 1000)))
        if number % 5 == 0:
            await tier.remove(keys(9)[number % 7])
    await tier.settled()
    await eventually(lambda: tier.stats.bytes == occupied(directory))
    assert tier.stats.entries == len(values_in(directory))


async def test_what_was_used_stays_when_many_pass_by_that_are_asked_for_once(
    directory: Path, clock: ManualClock
) -> None:
    async with disk_tier(disk_files(directory, clock, max_bytes=4 * MIB), clock) as tier:
        loved = keys(20, "loved")
        for key in loved:
            await put(tier, key, entry(clock, bytes(40 * KIB)))
        for number, key in enumerate(keys(600)):
            await put(tier, key, entry(clock, bytes(40 * KIB)))
            assert body_of(await tier.get(loved[number % 20])) is not None
        assert tier.stats.evictions > 500


async def test_what_only_memory_is_asked_for_stays_when_it_is_touched(directory: Path, clock: ManualClock) -> None:
    async with disk_tier(disk_files(directory, clock, max_bytes=4 * MIB), clock, probe_s=0.001) as tier:
        hot, cold = keys(2, "first")
        for key in (hot, cold):
            await put(tier, key, entry(clock, bytes(40 * KIB)))
        for key in keys(150):
            tier.touch(hot)
            await eventually(lambda: not tier._touched)
            await put(tier, key, entry(clock, bytes(40 * KIB)))
        assert await tier.get(hot) is not None
        assert await tier.get(cold) is None


async def test_what_is_of_no_more_use_goes_before_anything_else(directory: Path, clock: ManualClock) -> None:
    async with disk_tier(disk_files(directory, clock, max_bytes=4 * MIB), clock) as tier:
        for key in keys(40, "short"):
            await put(tier, key, entry(clock, bytes(40 * KIB), "max-age=10"))
        for key in keys(40, "long"):
            await put(tier, key, entry(clock, bytes(40 * KIB), "max-age=100"))
        clock.advance(11)
        for key in keys(30, "new"):
            await put(tier, key, entry(clock, bytes(40 * KIB), "max-age=100"))
        assert tier.stats.evictions == 0
        kept = [await tier.get(key) for key in keys(40, "long") + keys(30, "new")]
        assert None not in kept


async def test_what_is_too_old_for_any_use_is_removed_on_sight(
    directory: Path, tier: DiskTier, clock: ManualClock
) -> None:
    await put(tier, KEY, entry(clock, control="max-age=10, stale-if-error=10"))
    clock.advance(19)
    assert await tier.get(KEY) is not None
    clock.advance(2)
    assert await tier.get(KEY) is None
    await tier.settled()
    assert values_in(directory) == []
    assert tier.stats.corrupt == 0


async def test_an_eighth_of_the_tier_is_the_largest_object_by_default(directory: Path, clock: ManualClock) -> None:
    files = disk_files(directory, clock, max_bytes=8 * MIB)
    async with disk_tier(files, clock, max_object_bytes=None) as tier:
        assert await put(tier, KEY, entry(clock, bytes(MIB)))
        assert not await put(tier, KEY, entry(clock, bytes(MIB + 1)))


# -- damage --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 300, 50_000, 700_000])
@pytest.mark.parametrize("damage", [name for name, _ in damages(bytes(100))])
async def test_a_damaged_file_is_a_miss_is_counted_and_goes(
    directory: Path, tier: DiskTier, clock: ManualClock, damage: str, size: int
) -> None:
    await put(tier, KEY, entry(clock, b"\1" * size))
    (path,) = values_in(directory)
    status = path.stat()
    path.write_bytes(dict(damages(path.read_bytes()))[damage])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert await tier.get(KEY) is None
    await tier.settled()
    assert values_in(directory) == []
    assert tier.stats.corrupt == 1
    assert tier.healthy
    assert await put(tier, KEY, entry(clock, b"again"))
    assert body_of(await tier.get(KEY)) == b"again"


async def test_a_file_under_another_ones_name_is_a_miss(directory: Path, tier: DiskTier, clock: ManualClock) -> None:
    await put(tier, KEY, entry(clock, b"secret"))
    (path,) = values_in(directory)
    other = CacheKey("/open")
    await put(tier, other, entry(clock, b"open"))
    (other_path,) = [found for found in values_in(directory) if found != path]
    shutil.copy2(path, other_path)
    assert await tier.get(other) is None
    assert body_of(await tier.get(KEY)) == b"secret"


async def test_a_file_that_was_damaged_and_has_been_replaced_meanwhile_stays(
    directory: Path, tier: DiskTier, clock: ManualClock
) -> None:
    files = disk_files(directory, clock)

    def damage_and_look() -> Useless:
        files.open()
        (path,) = values_in(directory)
        path.write_bytes(b"damaged")
        os.utime(path, (clock.wall() + 50, clock.wall() + 50))
        found = files.read(KEY)
        assert isinstance(found, Useless)
        return found

    await put(tier, KEY, entry(clock, b"old"))
    seen = await asyncio.to_thread(damage_and_look)
    await put(tier, KEY, entry(clock, b"new"))
    await asyncio.to_thread(files.discard, seen)
    assert body_of(await tier.get(KEY)) == b"new"


def vanish(directory: Path) -> None:
    """At once: what is removed file by file is made anew under the remover's hands."""
    shutil.rmtree(directory.rename(directory.with_name("gone")))


async def test_a_directory_that_vanishes_is_made_anew_and_all_workers_count_together(
    directory: Path, clock: ManualClock
) -> None:
    async with (
        disk_tier(disk_files(directory, clock), clock) as one,
        disk_tier(disk_files(directory, clock), clock) as other,
    ):
        for key in keys(30):
            await put(one, key, entry(clock, bytes(50_000)))
        await asyncio.to_thread(vanish, directory)
        assert await one.get(keys(1)[0]) is None
        written = ((one, CacheKey("/1")), (other, CacheKey("/2")))

        async def both_are_kept() -> bool:
            """What one writes while the other makes the directory anew is a miss, and written again."""
            for tier, key in written:
                if await tier.get(key) is None:
                    assert await put(tier, key, entry(clock, bytes(50_000)))
            return None not in [await tier.get(key) for tier in (one, other) for _, key in written]

        await eventually(both_are_kept)
        for tier in (one, other):
            assert tier.healthy
            assert body_of(await tier.get(CacheKey("/1"))) == bytes(50_000)
            await eventually(lambda tier=tier: tier.stats.entries == 2)  # type: ignore[misc]
            assert tier.stats.bytes == occupied(directory)


@pytest.mark.parametrize("part", ["tmp", "seats", "used"])
async def test_a_part_of_the_tree_that_vanishes_comes_back_with_the_next_write(
    directory: Path, tier: DiskTier, clock: ManualClock, part: str
) -> None:
    await put(tier, KEY, entry(clock))
    gone = directory / "v1" / part
    await asyncio.to_thread(gone.unlink if gone.is_file() else lambda: shutil.rmtree(gone))
    assert await put(tier, CacheKey("/b"), entry(clock))
    assert body_of(await tier.get(CacheKey("/b"))) == b"body"
    assert body_of(await tier.get(KEY)) == b"body"


@pytest.mark.parametrize("what", ["removed", "cut", "emptied"])
async def test_without_its_books_the_tier_serves_counts_and_only_then_stores(
    directory: Path, tier: DiskTier, clock: ManualClock, what: str
) -> None:
    for key in keys(30):
        await put(tier, key, entry(clock, bytes(50_000)))
    books = directory / "v1/ledger"
    if what == "removed":
        books.unlink()
    else:
        os.truncate(books, {"cut": 100, "emptied": 0}[what])
    assert body_of(await tier.get(keys(1)[0])) == bytes(50_000)
    await eventually(lambda: stored(tier, KEY, entry(clock)))
    await eventually(lambda: tier.stats.entries == 31)
    assert tier.stats.bytes == occupied(directory)


async def test_after_a_boot_everything_is_counted_anew_and_served_meanwhile(
    directory: Path, clock: ManualClock
) -> None:
    async with disk_tier(disk_files(directory, clock), clock) as before:
        for key in keys(30):
            await put(before, key, entry(clock, bytes(50_000)))
    for path in values_in(directory)[:10]:
        path.unlink()  # as if the books had reached the disk and the files had not
    _as_of_another_boot(directory / "v1/ledger")
    async with disk_tier(disk_files(directory, clock), clock) as after:
        assert await put(after, KEY, entry(clock))
        await eventually(lambda: after.stats.entries == 21)
        assert after.stats.bytes == occupied(directory)


def _as_of_another_boot(path: Path) -> None:
    ledger = Ledger(path)
    with ledger.locked():
        ledger.set_complete(b"another boot's. ")


# -- a disk that does not do what it should ------------------------------------------------------------------------


class Trouble(Files):
    """Real files behind a disk that can be made to hang (`gate`) or to fail (`error`)."""

    gate: threading.Event | None = None
    error: int = 0
    asked = 0

    def _suffer(self) -> None:
        self.asked += 1
        if self.gate is not None:
            self.gate.wait(60)
        if self.error:
            raise OSError(self.error, os.strerror(self.error))

    def read(self, key: CacheKey) -> Stored | Useless | None:
        self._suffer()
        return super().read(key)

    def write(self, key: CacheKey, value: Stored) -> bool:
        self._suffer()
        return super().write(key, value)

    def probe(self) -> None:
        self._suffer()
        super().probe()


@pytest.fixture
def troubled(directory: Path, clock: ManualClock) -> Trouble:
    made = disk_files(directory, clock, kind=Trouble)
    assert isinstance(made, Trouble)
    return made


async def test_a_disk_that_hangs_costs_a_few_deadlines_then_nothing_and_is_used_again(
    troubled: Trouble, clock: ManualClock
) -> None:
    async with disk_tier(troubled, clock, deadline_s=0.05, failures=3) as tier:
        await put(tier, KEY, entry(clock))
        troubled.gate = threading.Event()
        try:
            assert await asyncio.gather(*(tier.get(KEY) for _ in range(3))) == [None] * 3
            assert not tier.healthy
            before = troubled.asked
            assert [await tier.get(KEY) for _ in range(100)] == [None] * 100
            assert troubled.asked <= before + 1  # the watch may have tried it
            assert not tier.put(KEY, entry(clock))
        finally:
            troubled.gate.set()
        troubled.gate = None
        await eventually(lambda: tier.healthy)
        assert body_of(await eventually(lambda: tier.get(KEY))) == b"body"


async def test_more_reads_than_there_is_room_for_are_misses_at_once(troubled: Trouble, clock: ManualClock) -> None:
    async with disk_tier(troubled, clock, max_reads=8, readers=2) as tier:
        await put(tier, KEY, entry(clock))
        troubled.gate = threading.Event()
        waiting = [asyncio.create_task(tier.get(KEY)) for _ in range(8)]
        await eventually(lambda: tier._reads.pending == 8)
        assert [await tier.get(KEY) for _ in range(100)] == [None] * 100
        assert tier.healthy
        troubled.gate.set()
        assert [body_of(found) for found in await asyncio.gather(*waiting)] == [b"body"] * 8


async def test_reads_that_nobody_waits_for_any_more_are_not_begun(troubled: Trouble, clock: ManualClock) -> None:
    async with disk_tier(troubled, clock, readers=1) as tier:
        await put(tier, KEY, entry(clock))
        troubled.gate = threading.Event()
        before = troubled.asked
        waiting = [asyncio.create_task(tier.get(KEY)) for _ in range(50)]
        await eventually(lambda: tier._reads.pending == 50)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        troubled.gate.set()
        await eventually(lambda: tier._reads.pending == 0)
        assert troubled.asked <= before + 1


async def test_a_write_that_hangs_holds_up_no_read_and_not_the_end(troubled: Trouble, clock: ManualClock) -> None:
    async with asyncio.timeout(20):
        async with disk_tier(troubled, clock) as tier:
            await put(tier, KEY, entry(clock))
            troubled.gate = hanging = threading.Event()
            tier.put(CacheKey("/slow"), entry(clock))
            await eventually(lambda: troubled.asked == 2)
            troubled.gate = None
            assert body_of(await tier.get(KEY)) == b"body"
    hanging.set()


async def test_writes_under_way_are_bounded_in_number_and_in_bytes(troubled: Trouble, clock: ManualClock) -> None:
    async with disk_tier(troubled, clock, max_writes=8, max_write_bytes=MIB) as tier:
        troubled.gate = threading.Event()
        assert [tier.put(key, entry(clock, bytes(300 * KIB))) for key in keys(5)] == [True] * 3 + [False] * 2
        assert [tier.put(key, entry(clock)) for key in keys(8, "small")] == [True] * 5 + [False] * 3
        assert tier.stats.skipped == 5
        troubled.gate.set()
        await tier.settled()
        assert tier.put(KEY, entry(clock, bytes(300 * KIB)))


async def test_a_disk_that_cannot_be_read_is_left_alone_and_said_so_once(
    troubled: Trouble, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with disk_tier(troubled, clock) as tier:
        await put(tier, KEY, entry(clock))
        troubled.error = errno.EACCES
        assert [await tier.get(KEY) for _ in range(50)] == [None] * 50
        assert not tier.healthy
        await eventually(lambda: troubled.asked > 10)  # the watch tries on
        assert [line.levelname for line in caplog.records] == ["WARNING"]
        troubled.error = 0
        await eventually(lambda: tier.healthy)
        assert body_of(await tier.get(KEY)) == b"body"
        assert tier.stats.errors >= 3


async def test_a_file_that_the_disk_cannot_read_is_removed(
    directory: Path, troubled: Trouble, clock: ManualClock
) -> None:
    async with disk_tier(troubled, clock) as tier:
        await put(tier, KEY, entry(clock))
        troubled.error = errno.EIO
        assert await tier.get(KEY) is None
        await tier.settled()
        assert values_in(directory) == []
        assert tier.healthy


async def test_a_disk_that_cannot_be_written_still_serves_and_is_tried_again(
    troubled: Trouble, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with disk_tier(troubled, clock) as tier:
        await put(tier, KEY, entry(clock))
        caplog.set_level("INFO")
        troubled.error = errno.EROFS
        for key in keys(20):
            await put(tier, key, entry(clock))
        assert troubled.asked == 2  # the first failure told enough, and the clock stands still
        troubled.error = 0
        assert tier.healthy
        assert body_of(await tier.get(KEY)) == b"body"
        clock.advance(1)
        assert await put(tier, CacheKey("/b"), entry(clock))
        assert await put(tier, CacheKey("/c"), entry(clock))
        assert body_of(await tier.get(CacheKey("/c"))) == b"body"
        assert [line.levelname for line in caplog.records] == ["WARNING", "INFO"]


class Obstacle:
    """A file where the directory is to be."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir()
        path.write_bytes(b"in the way")

    def go(self) -> None:
        self._path.unlink()


async def test_a_tier_that_cannot_be_opened_serves_nothing_and_opens_when_it_can(
    directory: Path, clock: ManualClock
) -> None:
    obstacle = Obstacle(directory)
    async with disk_tier(disk_files(directory, clock), clock) as tier:
        assert not tier.healthy
        assert await tier.get(KEY) is None
        assert not tier.put(KEY, entry(clock))
        await tier.remove(KEY)
        obstacle.go()
        await eventually(lambda: tier.healthy)
        assert await put(tier, KEY, entry(clock))
        assert body_of(await tier.get(KEY)) == b"body"

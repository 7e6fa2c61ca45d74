"""What becomes of the slow tiers under real faults: killed writers, full and lost disks, Redis stopped, full, gone.

Each time: a miss, never a wrong byte, nothing raised, and recovery without help.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from deploy.local.valkey import Valkey
from edge.cache.disk import DiskTier
from edge.cache.model import CacheKey, Entry
from edge.cache.shared import RedisTier, connect
from edge.clock import SystemClock
from tests.support.loopguard import nothing_blocks_the_loop  # noqa: F401
from tests.support.ticking import ManualClock
from tests.support.tier_process import MAX_BYTES, all_keys, is_one_that_was_written
from tests.support.tiers import (
    LARGEST,
    PATIENCE_S,
    body_of,
    disk_files,
    disk_tier,
    entry,
    occupied,
    redis_tier,
    values_in,
)
from tests.support.valkey_cluster import valkey_cluster
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
KEY = CacheKey("/media/a")
NOBODY = 65534


def keys(count: int, name: str = "media") -> list[CacheKey]:
    return [CacheKey(f"/{name}/{number}") for number in range(count)]


@asynccontextmanager
async def writers(count: int, *arguments: str) -> AsyncIterator[list[Process]]:
    """Processes that write into a tier; what still runs is killed in the end."""
    command = (sys.executable, "-m", "tests.support.tier_process", *arguments)
    running = [await asyncio.create_subprocess_exec(*command, stdout=PIPE, cwd=ROOT) for _ in range(count)]
    try:
        yield running
    finally:
        for process in running:
            with suppress(ProcessLookupError):
                process.kill()
        await asyncio.gather(*(process.wait() for process in running))


async def say(process: Process, count: int) -> None:
    """Wait until it has written so often."""
    assert process.stdout is not None
    await asyncio.wait_for(process.stdout.readexactly(count), 60)


def half_written(directory: Path) -> list[Path]:
    return list(directory.glob("v1/tmp/*/*"))


async def sound(tier: DiskTier | RedisTier) -> int:
    """How many values are there; all of them are as they were written."""
    found = 0
    for key in all_keys():
        value = await tier.get(key)
        if value is not None:
            assert isinstance(value, Entry)
            assert is_one_that_was_written(key, bytes(value.body))
            found += 1
    return found


# -- disk ----------------------------------------------------------------------------------------------------------


async def test_workers_killed_while_they_write_leave_only_whole_values_and_right_books(tmp_path: Path) -> None:
    clock = SystemClock()
    for round_ in range(3):
        async with writers(2, "disk", str(tmp_path)) as running:
            for process in running:
                await say(process, 4 + round_)
            for process in running:
                process.kill()
        assert occupied(tmp_path) <= MAX_BYTES
        async with disk_tier(disk_files(tmp_path, clock, max_bytes=MAX_BYTES), clock) as tier:
            assert await sound(tier) == len(values_in(tmp_path)) > 10
            assert tier.stats.corrupt == 0
            assert half_written(tmp_path) == []
            # One value per killed worker may be missing in the books until its bucket is counted again.
            assert abs(tier.stats.bytes - occupied(tmp_path)) <= 2 * LARGEST
            assert abs(tier.stats.entries - len(values_in(tmp_path))) <= 2


async def test_a_worker_reads_what_another_one_writes_while_it_writes(tmp_path: Path) -> None:
    clock = SystemClock()
    async with (
        disk_tier(disk_files(tmp_path, clock, max_bytes=MAX_BYTES), clock) as tier,
        writers(2, "disk", str(tmp_path)) as running,
    ):
        await asyncio.gather(*(say(process, 2) for process in running))
        seen = [await sound(tier) for _ in range(5)]
        assert max(seen) > 10
        assert tier.stats.corrupt == 0


async def test_a_worker_that_was_stopped_with_the_lock_in_its_hand_keeps_nobody_from_reading(tmp_path: Path) -> None:
    clock = ManualClock()
    async with disk_tier(disk_files(tmp_path, clock), clock) as tier:
        tier.put(KEY, entry(clock))
        await tier.settled()
        held = os.open(tmp_path / "v1/ledger", os.O_RDWR)
        fcntl.flock(held, fcntl.LOCK_EX)
        tier.put(CacheKey("/waits"), entry(clock))
        assert body_of(await tier.get(KEY)) == b"body"
        assert tier.healthy
        os.close(held)
        await tier.settled()
        assert body_of(await tier.get(CacheKey("/waits"))) == b"body"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB of its own."""
    directory = tmp_path / "small"
    directory.mkdir()
    command = ("mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(directory))
    mounted = subprocess.run(command, check=False, capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("mounting is not permitted here")
    yield directory
    subprocess.run(["umount", "-l", str(directory)], check=True)


async def test_of_a_disk_smaller_than_the_tier_a_part_is_left_free_and_what_is_new_finds_room(
    small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock()
    async with disk_tier(disk_files(small_disk, clock, max_bytes=64 * 1024 * 1024), clock) as tier:
        for key in keys(60):
            tier.put(key, entry(clock, key.uri.encode() * 40_000))
            await tier.settled()
            clock.advance(1)
        found = {key: await tier.get(key) for key in keys(60)}
        bodies = {key: body_of(value) for key, value in found.items() if value is not None}
        assert 10 <= len(bodies) < 25
        assert all(body == key.uri.encode() * 40_000 for key, body in bodies.items())
        assert keys(60)[-1] in bodies
        assert tier.healthy
        assert (tier.stats.errors, caplog.records) == (0, [])
        assert free_bytes(small_disk) >= 8 * 1024 * 1024 // 64
        assert half_written(small_disk) == []


async def test_a_disk_filled_by_others_is_used_again_when_they_are_gone(
    small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock()
    caplog.set_level("INFO")
    async with disk_tier(disk_files(small_disk, clock), clock, probe_s=3600.0) as tier:
        tier.put(KEY, entry(clock))
        await tier.settled()
        others = small_disk / "others"
        fill(others)
        for key in keys(20):
            tier.put(key, entry(clock, bytes(500_000)))
            await tier.settled()
        assert [line.levelname for line in caplog.records] == ["WARNING"]
        assert [await tier.get(key) for key in keys(20)] == [None] * 20
        others.unlink()
        clock.advance(3600)
        tier.put(KEY, entry(clock, bytes(500_000)))
        await tier.settled()
        assert body_of(await tier.get(KEY)) == bytes(500_000)
        assert [line.levelname for line in caplog.records] == ["WARNING", "INFO"]


def free_bytes(directory: Path) -> int:
    disk = os.statvfs(directory)
    return disk.f_bavail * disk.f_frsize


def fill(path: Path) -> None:
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(bytes(4096)) == 4096:
            pass


@pytest.fixture
def image(tmp_path: Path) -> Iterator[Path]:
    """A file that holds a file system, mounted at its name with `.mounted`; cutting the file breaks the disk."""
    path = tmp_path / "image"
    with path.open("wb") as file:
        file.truncate(64 * 1024 * 1024)
    mounted = path.with_suffix(".mounted")
    mounted.mkdir()
    commands = (("mkfs.ext4", "-q", str(path)), ("mount", "-o", "loop", str(path), str(mounted)))
    for command in commands:
        if shutil.which(command[0]) is None or subprocess.run(command, check=False, capture_output=True).returncode:
            pytest.skip(f"{command[0]} does not work here")
    yield path
    subprocess.run(["umount", "-l", str(mounted)], check=True)


async def test_a_disk_that_dies_is_a_miss_and_nothing_else(image: Path) -> None:
    clock = ManualClock()
    directory = image.with_suffix(".mounted")
    async with disk_tier(disk_files(directory, clock), clock) as tier:
        for key in keys(20):
            tier.put(key, entry(clock, key.uri.encode() * 20_000))
        await tier.settled()
        forget_what_was_read(directory)
        os.truncate(image, 0)
        found = [body_of(await tier.get(key)) for key in keys(20)]
        assert found.count(None) > 0
        assert all(body in (None, key.uri.encode() * 20_000) for key, body in zip(keys(20), found, strict=True))
        assert tier.stats.errors > 0
        for key in keys(20, "new"):
            tier.put(key, entry(clock, bytes(20_000)))
            clock.advance(1)
        await tier.settled()


def forget_what_was_read(directory: Path) -> None:
    """Have the next read ask the device."""
    for path in values_in(directory):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


IN_A_PROCESS_OF_ITS_OWN = """
import asyncio, encodings.idna, json, os, resource, sys
from pathlib import Path
from edge.cache.model import CacheKey
from tests.support.ticking import ManualClock
from tests.support.tiers import body_of, disk_files, disk_tier, entry, values_in
from tests.support.waiting import eventually

directory, clock, told = Path(sys.argv[1]), ManualClock(), {}
if os.getuid() == 0:  # whom permissions do not apply to
    os.setgid(65534)
    os.setuid(65534)

async def put(tier, key, size):
    tier.put(CacheKey(key), entry(clock, bytes(size)))
    await tier.settled()
    return len(body_of(await tier.get(CacheKey(key))) or b"")

async def main():
    async with disk_tier(disk_files(directory, clock), clock) as tier:
        told["before"] = await put(tier, "/before", 1000)
        await globals()[sys.argv[2]](tier)

async def permission_lost(tier):
    os.chmod(directory, 0)
    told["lost"] = [await put(tier, f"/{number}", 1000) for number in range(10)]
    os.chmod(directory, 0o700)
    await eventually(lambda: tier.healthy)
    clock.advance(1)
    told["after"] = await put(tier, "/after", 1000)
    told["still"] = len(body_of(await tier.get(CacheKey("/before"))))

async def files_limited(tier):
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    told["large"] = await put(tier, "/large", 200_000)
    told["small"] = await put(tier, "/small", 50_000)
    told["left"] = len(list(directory.glob("v1/tmp/*/*")))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    told["after"] = await put(tier, "/large", 200_000)

asyncio.run(main())
print(json.dumps(told))
"""


async def told_by_a_process(scenario: str) -> dict[str, object]:
    """Run a scenario in a process of its own, as somebody whom permissions apply to."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        directory = Path(name) / "disk"
        directory.mkdir()
        if os.getuid() == 0:
            for path in (Path(name), directory):
                os.chown(path, NOBODY, NOBODY)
        command = (sys.executable, "-c", IN_A_PROCESS_OF_ITS_OWN, str(directory), scenario)
        process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, cwd=ROOT)
        said, complaint = await process.communicate()
        assert process.returncode == 0, complaint.decode()
        answer: dict[str, object] = json.loads(said)
        return answer


async def test_permission_lost_is_a_miss_until_it_is_given_back() -> None:
    told = await told_by_a_process("permission_lost")
    assert told == {"before": 1000, "lost": [0] * 10, "after": 1000, "still": 1000}


async def test_a_file_that_may_not_grow_so_large_is_not_stored_and_leaves_nothing() -> None:
    told = await told_by_a_process("files_limited")
    assert told == {"before": 1000, "large": 0, "small": 50_000, "left": 0, "after": 200_000}


# -- Redis ---------------------------------------------------------------------------------------------------------


async def test_writers_killed_in_the_middle_leave_whole_values_and_nothing_that_stays_for_ever(
    own_redis: Valkey,
) -> None:
    clock = SystemClock()
    async with writers(2, "redis", own_redis.url) as running:
        for process in running:
            await say(process, 3)
        for process in running:
            process.kill()
    client = connect(own_redis.url, deadline_s=PATIENCE_S)
    lasting = [name async for name in client.scan_iter() if await client.pttl(name) < 0]
    assert lasting == []
    await client.aclose()
    async with redis_tier(own_redis.url, clock) as tier:
        assert await sound(tier) > 10
        assert tier.stats.corrupt == 0


async def test_redis_gone_is_noticed_skipped_and_used_again_when_it_is_back(own_redis: Valkey) -> None:
    clock = ManualClock()
    async with redis_tier(own_redis.url, clock) as tier:
        assert tier.healthy
        await own_redis.kill()
        assert await tier.get(KEY) is None
        await eventually(lambda: not tier.healthy)
        assert not tier.put(KEY, entry(clock))
        await tier.remove(KEY)
        await own_redis.start()
        await eventually(lambda: tier.healthy)
        assert tier.put(KEY, entry(clock, bytes(LARGEST)))
        await tier.settled()
        assert body_of(await tier.get(KEY)) == bytes(LARGEST)


async def test_redis_killed_while_pieces_are_on_their_way_is_a_miss(own_redis: Valkey) -> None:
    clock = ManualClock()
    async with redis_tier(own_redis.url, clock) as tier:
        for number in range(12):
            tier.put(keys(12)[number], entry(clock, bytes([number]) * LARGEST))
        await own_redis.kill()
        await tier.settled()
        await own_redis.start()
        await eventually(lambda: tier.healthy)
        for number, key in enumerate(keys(12)):
            assert body_of(await tier.get(key)) in (None, bytes([number]) * LARGEST)


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
        assert body_of(await eventually(lambda: tier.get(KEY))) == b"body"


async def test_redis_without_memory_still_serves_and_is_written_to_again(
    own_redis: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock()
    client = connect(own_redis.url, deadline_s=PATIENCE_S)
    caplog.set_level("INFO", "edge.cache.redis_line")
    async with redis_tier(own_redis.url, clock) as tier:
        tier.put(KEY, entry(clock))
        await tier.settled()
        await client.config_set("maxmemory-policy", "noeviction")
        await client.config_set("maxmemory", "4mb")
        begun = []
        for key in keys(30):
            begun.append(tier.put(key, entry(clock, bytes(2_000_000))))
            await tier.settled()
        assert begun.count(False) > 20  # once it is known to be full it is left alone
        assert tier.healthy
        assert body_of(await tier.get(KEY)) == b"body"
        assert [line.levelname for line in caplog.records] == ["WARNING"]
        await client.config_set("maxmemory", "100mb")
        clock.advance(1)
        assert tier.put(KEY, entry(clock, bytes(LARGEST)))
        await tier.settled()
        assert body_of(await tier.get(KEY)) == bytes(LARGEST)
        assert [line.levelname for line in caplog.records] == ["WARNING", "INFO"]
        begun = [tier.put(key, entry(clock)) for key in keys(5)]
        assert begun == [True] * 5
        await tier.settled()
    await client.aclose()


async def test_more_reads_of_a_redis_that_hangs_than_there_are_places_end_in_time(own_redis: Valkey) -> None:
    clock = ManualClock()
    async with redis_tier(own_redis.url, clock, deadline_s=0.2, failures=1000, max_reads=10) as tier:
        pid = own_redis.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            async with asyncio.timeout(20):
                assert await asyncio.gather(*(tier.get(key) for key in keys(500))) == [None] * 500
        finally:
            os.kill(pid, signal.SIGCONT)
        assert tier.stats.errors <= 30  # the others did not get as far as asking


async def test_of_a_cluster_that_lost_a_node_the_others_go_on_and_it_comes_back(tmp_path: Path) -> None:
    clock = ManualClock()
    everything = keys(60)
    async with (
        valkey_cluster(tmp_path) as cluster,
        redis_tier(cluster.url, clock, deadline_s=2.0, write_deadline_s=2.0) as tier,
    ):
        await store(tier, clock, everything)
        assert await held(tier, everything) == 60
        await cluster.nodes[1].kill()

        async def two_thirds() -> bool:
            await eventually(lambda: tier.healthy)
            await store(tier, clock, everything)
            return await held(tier, everything) >= 30

        await eventually(two_thirds, within_s=30)
        await cluster.nodes[1].start()

        async def all_of_it() -> bool:
            await eventually(lambda: tier.healthy)
            await store(tier, clock, everything)
            return await held(tier, everything) == 60

        await eventually(all_of_it, within_s=30)


async def store(tier: RedisTier, clock: ManualClock, everything: list[CacheKey]) -> None:
    for key in everything:
        clock.advance(1)
        tier.put(key, entry(clock, key.uri.encode(), "max-age=36000"))
        await tier.settled()


async def held(tier: RedisTier, everything: list[CacheKey]) -> int:
    """How many are found; each is the right one."""
    found = 0
    for key in everything:
        body = body_of(await tier.get(key))
        assert body in (None, key.uri.encode())
        found += body is not None
    return found

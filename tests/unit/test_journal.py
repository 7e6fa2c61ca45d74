"""The journal keeps its promise, or does not give it."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from edge.counters.event import place_in
from edge.counters.journal import Journal, JournalError, Refusal, frame
from edge.counters.label import Home
from edge.counters.record import encode
from tests.support.ticking import LoopTime

HOME = Home("44", "edge-1/0")
HERE = place_in("44")
PAYLOAD = encode(1_764_000_000_000, [], HERE) + bytes(100)


async def opened(directory: Path, **settings: object) -> Journal:
    values = {"wall": time.time, "monotonic": time.monotonic, "max_bytes": 1 << 20, **settings}
    return await Journal.open(directory, HOME, **values)  # type: ignore[arg-type]


def payloads(journal: Journal) -> list[bytes]:
    view, position, found = journal.view(), journal.begin, []
    while position < view.end:
        chunk = view.read(position)
        found += [one.payload for one in chunk.frames]
        position = chunk.next
    return found


async def test_waiting_appends_share_an_fsync(tmp_path: Path) -> None:
    journal = await opened(tmp_path)
    await asyncio.gather(*(journal.append(PAYLOAD, 0) for _ in range(100)))
    assert journal.state().groups <= 3
    assert len(payloads(journal)) == 100
    await journal.close()


async def test_positions_go_on_where_the_predecessor_stopped(tmp_path: Path) -> None:
    first = await opened(tmp_path)
    await first.append(PAYLOAD, 0)
    await first.close()
    second = await opened(tmp_path)
    assert (second.end, second.label) == (first.end, first.label)
    await second.append(PAYLOAD, 0)
    assert payloads(second) == [PAYLOAD, PAYLOAD]
    await second.close()


async def test_beyond_its_bound_it_refuses_until_something_may_go(tmp_path: Path) -> None:
    journal = await opened(tmp_path, max_bytes=16_384)
    while journal.state().size_bytes + 10 * len(frame(PAYLOAD)) <= 16_384:
        await asyncio.gather(*(journal.append(PAYLOAD, 0) for _ in range(10)))
    with pytest.raises(JournalError) as refused:
        await asyncio.gather(*(journal.append(PAYLOAD, 0) for _ in range(10)))
    assert refused.value.refusal is Refusal.FULL
    assert journal.state().size_bytes <= 16_384
    assert await journal.release(0, older_than_s=0) == 0
    freed = await journal.release(journal.end, older_than_s=3600)
    assert freed > 0, "crowded: what is durable goes although it is young"
    await journal.append(PAYLOAD, 0)
    await journal.close()


async def test_what_is_young_stays_while_there_is_room(tmp_path: Path) -> None:
    journal = await opened(tmp_path, segment_bytes=4096)
    for _ in range(100):
        await journal.append(PAYLOAD, 0)
    assert await journal.release(journal.end, older_than_s=3600) == 0
    assert await journal.release(journal.end, older_than_s=0) > 0
    assert payloads(journal), "the segment being written stays"
    await journal.close()


async def test_how_long_something_is_durable_counts_from_when_it_was_and_not_from_when_it_was_written(
    tmp_path: Path,
) -> None:
    now = 0.0
    journal = await opened(tmp_path, segment_bytes=4096, monotonic=lambda: now)
    for _ in range(200):
        await journal.append(PAYLOAD, 0)
    for segment in journal.view().segments:
        os.utime(segment.path, (0, 0))
    middle = journal.view().segments[1].limit
    assert await journal.release(middle, older_than_s=10) == 0
    now = 5.0
    assert await journal.release(journal.end, older_than_s=10) == 0
    now = 10.0
    assert await journal.release(journal.end, older_than_s=10) == middle
    journal.note_gone_back(middle)
    now = 15.0
    assert await journal.release(journal.end, older_than_s=10) == 0, "it was lost in between"
    now = 25.0
    assert await journal.release(journal.end, older_than_s=10) > 0
    await journal.close()


async def test_opening_a_journal_does_not_make_it_younger(tmp_path: Path) -> None:
    journal = await opened(tmp_path)
    await journal.append(PAYLOAD, 0)
    await journal.close()
    os.utime(journal.view().segments[0].path, (1000, 1000))
    journal = await opened(tmp_path, wall=lambda: 4600.0)
    assert await journal.age_s() == 3600
    await journal.close()


async def test_a_closed_journal_refuses(tmp_path: Path) -> None:
    journal = await opened(tmp_path)
    await journal.close()
    with pytest.raises(JournalError) as refused:
        await journal.append(PAYLOAD, 0)
    assert refused.value.refusal is Refusal.CLOSED


async def test_a_caller_that_leaves_takes_nobody_along(tmp_path: Path) -> None:
    journal = await opened(tmp_path)
    leaving = asyncio.create_task(journal.append(PAYLOAD, 0))
    staying = asyncio.create_task(journal.append(PAYLOAD, 0))
    await asyncio.sleep(0)
    leaving.cancel()
    await staying
    assert len(payloads(journal)) == 2
    await journal.close()


async def test_segments_without_their_identity_are_not_counted_under_a_new_one(tmp_path: Path) -> None:
    journal = await opened(tmp_path)
    await journal.append(PAYLOAD, 0)
    await journal.close()
    os.truncate(tmp_path / "journal-id", 0)
    with pytest.raises(JournalError, match="journal-id is missing or empty"):
        await opened(tmp_path)


@pytest.mark.parametrize("text", ["0123456789abcdef", "1234567890123456", "{}", "[]"])
async def test_a_label_that_cannot_be_read_is_not_replaced(tmp_path: Path, text: str) -> None:
    await (await opened(tmp_path)).close()
    (tmp_path / "journal-id").write_text(text)
    with pytest.raises(JournalError, match="journal-id can't be read"):
        await opened(tmp_path)
    assert (tmp_path / "journal-id").read_text() == text


async def test_a_clock_set_back_a_little_does_not_take_stamps_back(tmp_path: Path) -> None:
    now = 1000.0
    journal = await opened(tmp_path, wall=lambda: now)
    assert journal.stamp_ms() == 1_000_000
    now = 990.0
    assert journal.stamp_ms() == 1_000_000
    now = 100.0
    assert journal.stamp_ms() == 100_000, "a clock that was wrong by more is believed when it is put right"
    await journal.close()


async def test_the_stamp_goes_on_from_the_last_record(tmp_path: Path) -> None:
    journal = await opened(tmp_path, wall=lambda: 1000.0)
    await journal.append(encode(1_005_000, [], HERE), 1_005_000)
    await journal.close()
    journal = await opened(tmp_path, wall=lambda: 1000.0)
    assert journal.stamp_ms() == 1_005_000
    await journal.close()


# The kernel lets a process write only so far into any one file: a real write that breaks off half-way.
FAILING = """
import asyncio, resource, signal, sys
from pathlib import Path
from edge.counters.journal import JournalError
from tests.unit.test_journal import PAYLOAD, opened, payloads

async def main():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    journal = await opened(Path(sys.argv[1]))
    for _ in range(5):
        await journal.append(PAYLOAD, 0)
    resource.setrlimit(resource.RLIMIT_FSIZE, (journal.end + 50, resource.RLIM_INFINITY))
    refusals = 0
    for _ in range(2):
        try:
            await journal.append(PAYLOAD, 0)
        except JournalError as error:
            refusals += error.refusal.name == "FAULT"
    resource.setrlimit(resource.RLIMIT_FSIZE, (50, resource.RLIM_INFINITY))
    try:
        await journal.append(PAYLOAD * 3, 0)
    except JournalError as error:
        refusals += error.refusal.name == "FAULT"
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    for _ in range(5):
        await journal.append(PAYLOAD, 0)
    print(refusals, len(payloads(journal)), journal.state().lost_bytes)

asyncio.run(main())
"""


async def test_a_write_that_breaks_off_promises_nothing_and_spoils_nothing(tmp_path: Path) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", FAILING, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await child.communicate()
    # The second append goes to a new file, which is allowed to grow that far: one refusal, one success, one refusal.
    assert said.split() == [b"2", b"11", b"0"]
    journal = await opened(tmp_path)
    assert payloads(journal) == [PAYLOAD] * 11
    await journal.close()


# A stack larger than the memory that is left: no further thread can be started, as beyond a limit of processes.
THREADLESS = """
import asyncio, resource, sys, threading
from pathlib import Path
from edge.counters.journal import JournalError
from tests.unit.test_journal import PAYLOAD, opened

def is_threadless():
    try:
        threading.Thread(target=print).start()
    except RuntimeError:
        return True

async def main():
    directory = Path(sys.argv[1])
    journal = await opened(directory / "0", append_timeout_s=0.5)
    await journal.append(PAYLOAD, 0)
    threading.stack_size(1 << 30)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20), resource.RLIM_INFINITY))
    assert is_threadless()
    go_on = threading.Event()
    journal._executor.submit(go_on.wait)  # one of its threads is busy
    acknowledged = 1
    for _ in range(5):
        try:
            await journal.append(PAYLOAD, 0)
            acknowledged += 1
        except JournalError:
            go_on.set()
    go_on.set()
    await journal.close()
    try:
        await opened(directory / "1")
    except JournalError as error:
        print(acknowledged, error.refusal.name)

asyncio.run(main())
"""


async def test_where_no_more_threads_can_be_started_a_journal_goes_on_and_none_is_opened(tmp_path: Path) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", THREADLESS, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await child.communicate()
    assert said.split() == [b"6", b"FAULT"]
    journal = await opened(tmp_path / "0")
    assert len(payloads(journal)) == 6
    await journal.close()


class Faltering(ThreadPoolExecutor):
    """Takes work, and then says that it can't, for so many times: as where no thread can be started."""

    def __init__(self, times: int) -> None:
        super().__init__(max_workers=2)
        self.times = 0
        both = threading.Barrier(2)
        for _ in range(2):
            self.submit(both.wait)
        self.times = times

    def submit(self, function: Callable[..., Any], /, *args: Any, **named: Any) -> Future[Any]:
        future = super().submit(function, *args, **named)
        if self.times > 0:
            self.times -= 1
            raise RuntimeError("can't start new thread")
        return future


@pytest.mark.parametrize("late", [False, True], ids=["written at once", "written late"])
@pytest.mark.parametrize("times", [1, 2, 3])
async def test_a_write_that_takes_place_though_it_failed_spoils_nothing(tmp_path: Path, times: int, late: bool) -> None:
    journal = await opened(tmp_path)
    await journal.append(PAYLOAD, 0)
    journal._executor.shutdown()
    journal._executor = executor = Faltering(0)
    disk = threading.Event()
    if late:
        for _ in range(2):
            executor.submit(disk.wait)
    executor.times = times
    failing = journal.put(PAYLOAD + b"refused", 0)
    while executor.times > 1:  # it gives the segment up, too
        await asyncio.sleep(0)
        if failing.done():
            break
    disk.set()
    with pytest.raises(JournalError, match="can't start new thread") as refused:
        await failing
    assert refused.value.refusal is Refusal.FAULT
    assert journal.state().fault
    acknowledged = [PAYLOAD]
    for number in range(4):
        with suppress(JournalError):
            await journal.append(PAYLOAD + b"%d" % number, 0)
            acknowledged.append(PAYLOAD + b"%d" % number)
    assert len(acknowledged) >= 4
    assert (payloads(journal), journal.state().fault, journal.oldest_unsynced_ms()) == (acknowledged, "", None)
    await journal.close()
    again = await opened(tmp_path)
    assert (payloads(again), again.end) == (acknowledged, journal.end)
    await again.close()


async def test_a_write_that_fails_in_whatever_way_gives_back_the_place_it_took(tmp_path: Path) -> None:
    journal = await opened(tmp_path, max_bytes=16_384)
    journal._executor.shutdown()
    journal._executor = Faltering(1_000_000)
    for _ in range(1000):  # many times as much as may wait
        with pytest.raises(JournalError) as refused:
            await journal.append(PAYLOAD, 0)
        assert refused.value.refusal is Refusal.FAULT
    await journal.close()


async def test_whoever_has_waited_too_long_is_told_so_each_in_his_time_and_the_journal_goes_on(tmp_path: Path) -> None:
    journal, time = await opened(tmp_path, append_timeout_s=100), LoopTime()
    disk = threading.Event()
    for _ in range(2):
        journal._executor.submit(disk.wait)  # both of its threads: the disk does not answer
    first = journal.put(PAYLOAD, 0)
    await time.leap(60)
    assert not first.done()
    second = journal.put(PAYLOAD, 0)
    await time.leap(60)
    with pytest.raises(JournalError) as refused:
        first.result()
    assert refused.value.refusal is Refusal.SLOW
    assert not second.done()
    await time.leap(60)
    with pytest.raises(JournalError):
        second.result()
    third = journal.put(PAYLOAD, 0)
    disk.set()
    await third
    assert len(payloads(journal)) == 3  # not known is not lost
    await journal.close()


async def test_several_records_are_taken_together_or_not_at_all(tmp_path: Path) -> None:
    journal = await opened(tmp_path, max_bytes=16_384)
    await journal.append(PAYLOAD, 0, PAYLOAD + b"2", PAYLOAD + b"3")
    assert payloads(journal) == [PAYLOAD, PAYLOAD + b"2", PAYLOAD + b"3"]
    with pytest.raises(JournalError):
        await journal.append(PAYLOAD, 0, *[PAYLOAD] * 200)
    assert len(payloads(journal)) == 3
    await journal.close()


async def test_each_group_is_told_of_with_its_time_on_disk_and_its_size(tmp_path: Path) -> None:
    told: list[tuple[float, int]] = []
    journal = await opened(tmp_path, on_group=lambda seconds, size: told.append((seconds, size)))
    await journal.append(PAYLOAD, 0)
    await journal.append(PAYLOAD, 0)
    assert [size for _, size in told] == [len(frame(PAYLOAD))] * 2
    assert all(seconds > 0 for seconds, _ in told)
    await journal.close()


async def test_what_history_does_not_have_stays_while_there_is_room(tmp_path: Path) -> None:
    journal = await opened(tmp_path, segment_bytes=4096, max_bytes=40_960)
    for _ in range(100):
        await journal.append(PAYLOAD, 0)
    now_ms = int(time.time() * 1000)
    assert await journal.release(journal.end, older_than_s=0, keep_from_ms=now_ms - 3_600_000) == 0
    assert await journal.release(journal.end, older_than_s=0, keep_from_ms=now_ms + 3_600_000) > 0
    while journal.state().size_bytes < 36_000:
        await journal.append(PAYLOAD, 0)
    freed = await journal.release(journal.end, older_than_s=0, keep_from_ms=now_ms - 3_600_000)
    assert 0 < freed < 36_000, "crowded: the oldest goes, and only as much as has to"
    await journal.close()

"""Counting on a real Valkey: every accepted event exactly once, whatever happens in between."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import orjson
import pytest

from deploy.local.valkey import Valkey
from edge.counters import sink as sink_module
from edge.counters.board import Board
from edge.counters.leftover import Leftovers
from edge.counters.question import Top
from edge.counters.reading import Reading
from edge.counters.sink import VERSION, Client, Sink, SinkError, open_client
from edge.counters.stretch import gather
from edge.counters.tally import Batch
from edge.redis_clients import load_functions
from edge.slots import Slot
from tests.support.counting import PROVINCE, Wall, Writer, board, event, totals, writer
from tests.support.fault_proxy import FaultProxy
from tests.support.history import complete_past
from tests.support.loopguard import nothing_blocks_the_loop  # noqa: F401
from tests.support.waiting import eventually


@pytest.fixture
async def counts(counters_url: str) -> AsyncIterator[Board]:
    async with board(counters_url) as reader:
        yield reader


async def views_of(reader: Board, resource: str = "lesson-1") -> int:
    return (await reader.resources([resource])).resources[0].views


async def settled(one: Writer) -> None:
    """Everything the writer has accepted is applied."""
    await eventually(lambda: one.flusher.state().connected and one.flusher.state().pending_bytes == 0)


async def forget_ids(url: str) -> None:
    """Take away what would hide a second counting, as ten minutes do."""
    client = open_client(url)
    for key in await client.keys("*:seen*"):
        await client.delete(key)
    await client.aclose()


async def open_writers(url: str, province: str = PROVINCE) -> set[str]:
    """The writers on which the province's completeness depends."""
    client = open_client(url)
    found: Any = await client.zrange("{" + province + "}:complete", 0, -1)
    await client.aclose()
    return {name.decode() for name in found}


async def copy(source: Path, target: Path) -> None:
    await asyncio.to_thread(shutil.copytree, source, target)


@asynccontextmanager
async def leftovers(
    directory: Path, url: str, *, province: str = PROVINCE, own_slot: int = 0, **settings: float
) -> AsyncIterator[Leftovers]:
    """What the worker in `own_slot` does about journals that nobody adds to."""
    (directory / "slots").mkdir(exist_ok=True)
    sink = Sink(open_client(url), province)
    clocks = {"wall": Wall(), "monotonic": asyncio.get_running_loop().time}
    one = Leftovers(directory / "journal", directory / "slots", sink, own_slot, **clocks, **settings)  # type: ignore[arg-type]
    try:
        yield one
    finally:
        await one.stop()
        await sink.close()


async def look_after(directory: Path, url: str, **settings: Any) -> int:
    async with leftovers(directory, url, **settings) as one:
        return await one.look_after()


@asynccontextmanager
async def following(directory: Path, url: str) -> AsyncIterator[None]:
    """With the task that a worker has for it."""
    async with leftovers(directory, url) as one:
        one.start()
        yield


async def test_what_was_accepted_is_readable_within_a_second(tmp_path: Path, counters_url: str, counts: Board) -> None:
    async with writer(tmp_path, counters_url, interval_s=0.2) as one:
        assert (
            await one.accept(event(), event(kind="play"), event(kind="visit"), event(kind="watch", watched_s=7.5)) == 4
        )

        async def counted() -> bool:
            return await views_of(counts) == 1

        await eventually(counted, within_s=1.0)
        answer = (await counts.resources(["lesson-1", "never-seen"])).resources
        assert (answer[0].plays, answer[0].watch_seconds, answer[0].today.views) == (1, 7.5, 1)
        assert (answer[1].id, answer[1].views, answer[1].today.watch_seconds) == ("never-seen", 0, 0)
        summary = await counts.summary()
        assert totals(summary) == {"views": 1, "plays": 1, "watch_seconds": 7.5, "visits": 1, "resources": 1}
        assert (summary.views_today, summary.provinces, summary.countries) == (1, 1, 1)
        assert summary.views_daily_average == summary.views_daily_peak.views == 1


async def test_an_id_counts_once_within_a_writer_and_across_writers(
    tmp_path: Path, counters_url: str, counts: Board
) -> None:
    again = event()
    async with (
        writer(tmp_path / "a", counters_url, node="a") as first,
        writer(tmp_path / "b", counters_url, node="b") as second,
    ):
        await first.accept(again, again, event())
        await first.accept(again)
        await settled(first)
        await second.accept(again, event())
        await second.accept(again)
        await settled(second)
        assert await views_of(counts) == 3
        assert second.flusher.state().duplicates == 2


async def test_an_id_is_recognised_for_ten_minutes_of_acceptance_however_late_it_is_applied(
    tmp_path: Path, counters_url: str, counts: Board
) -> None:
    """The late node accepted nine minutes before the other, and is heard an hour after it."""
    again = event()
    async with writer(tmp_path / "late", "redis://127.0.0.1:1", node="late", wall=Wall(-540)) as cut_off:
        await cut_off.accept(again)
    async with writer(tmp_path / "late", counters_url, node="late", wall=Wall(-600), interval_s=3600) as registered:
        await eventually(lambda: registered.flusher.state().connected)
    async with writer(tmp_path / "b", counters_url, node="b") as other:
        await other.accept(again)
        await settled(other)
    async with writer(tmp_path / "b", counters_url, node="b", wall=Wall(3600)) as other:
        await other.accept(event(at_ms=int(Wall(3600)() * 1000)))
        await settled(other)
    async with writer(tmp_path / "late", counters_url, node="late", wall=Wall(3600)) as late:
        await settled(late)
    assert await views_of(counts) == 2


@pytest.mark.parametrize("slot", [0, 1], ids=["by the same worker", "by another of the node"])
@pytest.mark.parametrize(
    ("before_s", "after_s"), [(3600, 0), (8 * 3600, 0), (0, -1200), (-1200, 0), (0, 1200)], ids=str
)
async def test_an_id_is_recognised_however_the_nodes_clock_was_set_meanwhile(
    tmp_path: Path, counters_url: str, counts: Board, slot: int, before_s: int, after_s: int
) -> None:
    wall, again = Wall(before_s), event(at_ms=int((time.time() - 7200) * 1000))
    async with (
        writer(tmp_path, counters_url, wall=wall) as one,
        writer(tmp_path, counters_url, wall=wall, slot=1) as two,
    ):
        await one.accept(again)
        await settled(one)
        wall.ahead_s = after_s
        repeating = (one, two)[slot]
        assert await repeating.accept(again, event(at_ms=int((time.time() - 7200) * 1000))) == 2
        await settled(repeating)
    assert await views_of(counts) == 2


async def test_ids_are_forgotten_once_no_writer_can_bring_them_again(tmp_path: Path, counters_url: str) -> None:
    client = open_client(counters_url)
    wall = Wall(-3600)
    async with writer(tmp_path, counters_url, wall=wall) as one:
        await one.accept(event(at_ms=int(wall() * 1000)))
        await settled(one)
        buckets: Any = await client.zrange("{44}:seen", 0, -1)
        wall.ahead_s = 0.0
        await complete_past(client, time.time() - 60)
        assert await client.zcard("{44}:seen") == len(buckets) == 1, "it has not been here for ten minutes"
        await client.zadd("{44}:seen_at", dict.fromkeys(buckets, (time.time() - 700) * 1000))

        async def forgotten() -> bool:
            return await client.zcard("{44}:seen") == 0 and not await client.keys("{44}:seen:*")

        await eventually(forgotten)
    await client.aclose()


async def test_a_batch_sent_twice_counts_once_and_tells_where_the_watermark_is(
    tmp_path: Path, counters_url: str, counts: Board
) -> None:
    async with writer(tmp_path, counters_url, interval_s=3600) as one:
        await eventually(lambda: one.flusher.state().connected)
        await one.accept(event(), event())
        found = gather(one.journal.view(), 0, 100, PROVINCE)
        part = found.parts[PROVINCE].counts
        batch = Batch(one.name, 0, found.to, 1, found.bucket, part.groups, part.ids, part.watched_ms)
        first, second = await one.sink.apply(batch), await one.sink.apply(batch)
        assert (first.moved, second.moved) == (True, False)
        assert first.watermark == second.watermark == found.to
    assert await views_of(counts) == 2


async def test_the_successor_sends_what_a_dropped_worker_left(tmp_path: Path, counters_url: str, counts: Board) -> None:
    async with writer(tmp_path, counters_url, interval_s=3600) as dropped:
        await eventually(lambda: dropped.flusher.state().connected)
        await dropped.accept(*(event() for _ in range(500)))
        assert await views_of(counts) == 0
    async with writer(tmp_path, counters_url) as successor:
        await settled(successor)
    assert await views_of(counts) == 500


async def test_a_drain_sends_the_rest_and_no_longer_holds_completeness_back(
    tmp_path: Path, counters_url: str, counts: Board
) -> None:
    async with (
        writer(tmp_path / "a", counters_url, node="a", interval_s=3600) as leaving,
        writer(tmp_path / "b", counters_url, node="b") as staying,
    ):
        await leaving.accept(event())
        await eventually(lambda: staying.flusher.state().connected)
        before = (await counts.summary()).moment.complete_through or ""
        assert before
        assert await leaving.flusher.drain(5.0)
        assert await views_of(counts) == 1

        async def goes_on() -> bool:
            return ((await counts.summary()).moment.complete_through or "") > before

        await eventually(goes_on)


async def test_completeness_waits_for_the_slowest_writer(tmp_path: Path, counters_url: str, counts: Board) -> None:
    async with (
        writer(tmp_path / "a", counters_url, node="a", interval_s=3600) as slow,
        writer(tmp_path / "b", counters_url, node="b") as quick,
    ):
        await eventually(lambda: slow.flusher.state().connected)
        await slow.accept(event())
        accepted_ms = slow.journal.stamp_ms()
        await eventually(lambda: quick.flusher.state().complete_ms > accepted_ms + 100)
        moment = (await counts.summary()).moment
        assert moment.complete_through is not None
        assert moment.complete_through < moment.as_of
        client = open_client(counters_url)
        assert await client.zcount("{44}:complete", 0, accepted_ms) == 1
        await client.aclose()


async def test_a_writer_is_heard_before_it_accepts_anything_or_soon_gives_up_waiting(
    tmp_path: Path, own_counters: Valkey
) -> None:
    async with writer(tmp_path / "a", own_counters.url) as one:
        assert await one.flusher.heard(within_s=30, failing_s=30)
        client = open_client(own_counters.url)
        assert await client.zcard("{44}:complete") == 1
        await client.aclose()
        await own_counters.kill()
        async with writer(tmp_path / "b", own_counters.url, node="b") as other:
            assert not await other.flusher.heard(within_s=60, failing_s=0.1), "it fails"


async def test_a_writer_waits_for_a_redis_that_is_only_slow(tmp_path: Path, counters_url: str) -> None:
    async with FaultProxy.of(counters_url) as proxy:
        proxy.stall()
        async with writer(tmp_path, proxy.url(counters_url)) as one:
            asyncio.get_running_loop().call_later(0.5, proxy.heal)
            assert await one.flusher.heard(within_s=60, failing_s=0.01)


async def test_events_are_accepted_without_redis_and_counted_when_it_is_there(
    tmp_path: Path, own_counters: Valkey
) -> None:
    async with writer(tmp_path, own_counters.url) as one, board(own_counters.url) as reader:
        await one.accept(event())
        await settled(one)
        await own_counters.kill()
        for _ in range(20):
            assert await one.accept(event(), event()) == 2
        await eventually(lambda: not one.flusher.state().connected)
        await own_counters.start()
        await settled(one)
        assert await views_of(reader) == 41


async def test_a_bug_on_the_way_to_redis_is_told_and_ends_no_counting(
    tmp_path: Path,
    counters_url: str,
    counts: Board,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    apply, failed = Sink.apply, asyncio.Event()

    async def fails_once(self: Sink, batch: Batch) -> Any:
        if batch.ids and not failed.is_set():
            failed.set()
            raise RuntimeError("nobody has thought of this")
        return await apply(self, batch)

    monkeypatch.setattr(Sink, "apply", fails_once)
    async with writer(tmp_path, counters_url) as one:
        await one.accept(event())
        await failed.wait()
        await settled(one)
    assert await views_of(counts) == 1
    assert "nobody has thought of this" in caplog.text


async def test_a_redis_that_lost_its_last_seconds_is_told_again(tmp_path: Path, own_counters: Valkey) -> None:
    async with writer(tmp_path, own_counters.url) as one, board(own_counters.url) as reader:
        again = event()
        await one.accept(*(event(viewer=f"v{i}") for i in range(50)))
        await settled(one)
        log = next((own_counters.directory).rglob("*.incr.aof"))
        lose_from = log.stat().st_size
        for _ in range(10):
            await one.accept(*(event() for _ in range(20)), again)
            await settled(one)
        assert await views_of(reader) == 251
        await own_counters.kill()
        size = log.stat().st_size
        os.truncate(log, lose_from + (size - lose_from) // 3)  # in the midst of a call: that call must go as a whole
        await own_counters.start()
        await eventually(lambda: one.flusher.state().replayed_bytes > 0)
        await settled(one)
        assert await views_of(reader) == 251


async def complete_ms(client: Client) -> int | None:
    """Before when the province is complete, as readers are told."""
    [day] = await Reading(client, timeout_s=2.0).day([(PROVINCE, b"")], "20261129")
    return day.complete_ms


async def test_a_redis_that_forgot_a_writer_publishes_nothing_as_complete_before_it_is_heard_again(
    own_counters: Valkey,
) -> None:
    client = open_client(own_counters.url)
    sink = Sink(client, PROVINCE)

    await sink.apply(Batch("one", 0, 10, 1000))
    log = next((own_counters.directory).rglob("*.incr.aof"))
    size = log.stat().st_size
    await sink.apply(Batch("two", 0, 10, 1500))
    await sink.apply(Batch("one", 10, 20, 2000))
    assert await complete_ms(client) == 1500
    await own_counters.kill()
    os.truncate(log, size)
    await own_counters.start()

    async def goes_on() -> bool:
        with suppress(SinkError):  # the connection is that of the server that was killed
            return (await sink.apply(Batch("one", 10, 20, 3000))).moved
        return False

    await eventually(goes_on)
    assert await complete_ms(client) == 1000, "what the other one had accepted before 3000 is not known here"
    await sink.apply(Batch("two", 0, 10, 2500))
    assert await complete_ms(client) == 1000

    async def released() -> bool:
        await sink.apply(Batch("one", 20, 20, 4000))
        return await complete_ms(client) == 2500

    await eventually(released)
    await client.aclose()


async def test_a_library_that_another_installs_again_holds_nothing(counters_url: str) -> None:
    client = open_client(counters_url)
    sink = Sink(client, PROVINCE)
    await sink.apply(Batch("one", 0, 10, 1000))
    await load_functions(client, sink_module._CODE, "{44}:watermarks")
    await sink.apply(Batch("one", 10, 10, 2000))
    assert await complete_ms(client) == 2000
    await client.aclose()


async def test_what_another_version_holds_is_released_though_that_one_is_gone(
    counters_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = open_client(counters_url)
    sink = Sink(client, PROVINCE)
    await sink.apply(Batch("one", 0, 10, 1000))
    with monkeypatch.context() as another:
        for name in ("_CODE", "_APPLY"):
            another.setattr(sink_module, name, getattr(sink_module, name).replace(VERSION, "another"))
        await sink.apply(Batch("two", 0, 10, 1500, closing=True))

    async def released() -> bool:
        await sink.apply(Batch("one", 10, 10, 4000))
        return await complete_ms(client) == 4000

    assert not await released()
    await eventually(released)
    await client.aclose()


async def test_a_redis_that_lost_everything_gets_what_the_journal_still_has(
    tmp_path: Path, own_counters: Valkey
) -> None:
    async with writer(tmp_path, own_counters.url) as one, board(own_counters.url) as reader:
        await one.accept(*(event() for _ in range(50)))
        await settled(one)
        client = open_client(own_counters.url)
        await client.flushall()
        await client.function_flush("SYNC")
        await client.aclose()
        await eventually(lambda: one.flusher.state().replayed_bytes > 0)
        await settled(one)
        assert await views_of(reader) == 50


async def test_a_wiped_journal_does_not_stop_a_writer_from_counting(
    tmp_path: Path, counters_url: str, counts: Board
) -> None:
    async with writer(tmp_path / "disk-1", counters_url) as one:
        await one.accept(event(), event())
        await settled(one)
    async with writer(tmp_path / "disk-2", counters_url) as one:
        await one.accept(event())
        await settled(one)
    assert await views_of(counts) == 3
    client = open_client(counters_url)
    assert await client.zcard("{44}:complete") == 1, "the lost journal must not hold completeness back for ever"
    await client.aclose()


async def test_a_journal_restored_from_an_older_copy_counts_what_is_new(
    tmp_path: Path, counters_url: str, counts: Board
) -> None:
    async with writer(tmp_path, counters_url) as one:
        await one.accept(event())
        await settled(one)
        await one.accept(*(event() for _ in range(5)))
        await settled(one)
    segment = next((tmp_path / "journal/0").glob("*.log"))
    os.truncate(segment, segment.stat().st_size // 3)
    async with writer(tmp_path, counters_url) as one:
        await one.accept(event())
        await settled(one)
        await one.accept(event())
        await settled(one)
    assert await views_of(counts) == 8


async def test_the_journal_lets_go_only_of_what_redis_has_on_disk(tmp_path: Path, own_counters: Valkey) -> None:
    async with writer(tmp_path, own_counters.url, retention_s=0.0, prove_every_s=3600) as one:
        for _ in range(8):
            await one.accept(*(event() for _ in range(50)))
        await settled(one)
        assert one.journal.begin == 0
        await own_counters.kill()
        await one.accept(event())
        await own_counters.start()
        await settled(one)
        await one.flusher.prove()
        state = one.flusher.state()
        assert state.proving
        assert state.durable == one.journal.end
        assert 0 < one.journal.begin < one.journal.end


async def test_without_an_append_only_file_durability_is_not_claimed(tmp_path: Path, redis_url: str) -> None:
    async with writer(tmp_path, redis_url, retention_s=1.0, prove_every_s=3600) as one:
        for _ in range(8):
            await one.accept(*(event() for _ in range(50)))
        await settled(one)
        await one.flusher.prove()
        assert not one.flusher.state().proving
        assert one.flusher.retention_s == 24.0
        assert one.journal.begin == 0


async def test_a_leftover_journal_is_replayed_by_another_worker_and_removed_when_durable(
    tmp_path: Path, counters_url: str, counts: Board
) -> None:
    async with writer(tmp_path, "redis://127.0.0.1:1", slot=3) as gone:
        await gone.accept(event(), event())
    assert await look_after(tmp_path, counters_url) == 1
    assert await views_of(counts) == 2
    assert (tmp_path / "journal/3").exists(), "a Redis that goes back must be told again"
    assert await look_after(tmp_path, counters_url, retention_s=0.0) == 1
    assert await views_of(counts) == 2
    assert not (tmp_path / "journal/3").exists()


async def test_a_leftover_journal_that_is_delivered_is_read_again_when_it_has_changed(
    tmp_path: Path, counters_url: str, counts: Board
) -> None:
    async with writer(tmp_path, "redis://127.0.0.1:1", slot=3) as gone:
        await gone.accept(event())
    async with leftovers(tmp_path, counters_url) as one:
        assert [await one.look_after(sparing=True) for _ in range(2)] == [1, 0]
        async with writer(tmp_path, "redis://127.0.0.1:1", slot=3) as again:
            await again.accept(event())
        assert await one.look_after(sparing=True) == 1
        assert await views_of(counts) == 2


async def test_a_journal_in_use_is_left_alone(tmp_path: Path, counters_url: str) -> None:
    async with writer(tmp_path, counters_url, slot=0):
        (tmp_path / "slots").mkdir()
        with Slot.claim(tmp_path / "slots"):
            assert await look_after(tmp_path, counters_url, own_slot=1) == 0
        assert await look_after(tmp_path, counters_url, own_slot=0) == 0


async def test_a_renamed_node_counts_nothing_again_and_holds_nothing_back(
    tmp_path: Path, counters_url: str, counts: Board
) -> None:
    async with writer(tmp_path, counters_url, node="a") as one:
        await one.accept(event(), event())
        await settled(one)
    async with writer(tmp_path, "redis://127.0.0.1:1", node="a") as cut_off:
        await cut_off.accept(event())
    await forget_ids(counters_url)
    async with writer(tmp_path, counters_url, node="b") as renamed:
        await renamed.accept(event())
        await settled(renamed)
        assert await views_of(counts) == 3, "what the old name left is not counted under the new one"
        assert await look_after(tmp_path, counters_url) == 1
        assert await views_of(counts) == 4
        before = (await counts.summary()).moment.complete_through or ""

        async def goes_on() -> bool:
            return ((await counts.summary()).moment.complete_through or "") > before

        await eventually(goes_on)
        assert await open_writers(counters_url) == {renamed.name}
        await forget_ids(counters_url)
        assert await look_after(tmp_path, counters_url, retention_s=0.0) == 1
        assert [path.name for path in (tmp_path / "journal").iterdir()] == ["0"]
    assert await views_of(counts) == 4


async def test_a_node_killed_under_one_name_goes_on_under_another(
    tmp_path: Path, counters_url: str, counts: Board
) -> None:
    async with writer(tmp_path, counters_url, node="a", interval_s=3600) as killed:
        await eventually(lambda: killed.flusher.state().connected)
        await killed.accept(event())
    async with writer(tmp_path, counters_url, node="b") as renamed, following(tmp_path, counters_url):
        await eventually(lambda: renamed.flusher.state().connected)

        async def healed() -> bool:
            return await views_of(counts) == 1 and await open_writers(counters_url) == {renamed.name}

        await eventually(healed)


async def test_a_changed_province_gets_new_events_only_and_the_old_one_what_it_is_owed(
    tmp_path: Path, counters_url: str, counts: Board
) -> None:
    async with writer(tmp_path, counters_url) as one:
        await one.accept(event(), event())
        await settled(one)
    async with writer(tmp_path, "redis://127.0.0.1:1") as cut_off:
        await cut_off.accept(event())
    await forget_ids(counters_url)
    async with board(counters_url, "43") as hunan:
        async with writer(tmp_path, counters_url, province="43") as moved:
            await moved.accept(event())
            await settled(moved)
            assert await look_after(tmp_path, counters_url, province="43") == 1
        assert (await views_of(counts), await views_of(hunan)) == (3, 1)
        assert await open_writers(counters_url) == set()
        async with writer(tmp_path, counters_url) as back:
            await back.accept(event())
            await settled(back)
            await forget_ids(counters_url)
            assert await look_after(tmp_path, counters_url) == 2
        assert (await views_of(counts), await views_of(hunan)) == (4, 1)


async def test_a_copy_of_a_data_directory_and_its_original_each_count_their_own(
    tmp_path: Path, counters_url: str, counts: Board
) -> None:
    async with writer(tmp_path / "a", counters_url, node="a", interval_s=3600) as original:
        await eventually(lambda: original.flusher.state().connected)
        await original.accept(event(), event())
        await copy(tmp_path / "a", tmp_path / "b")
        await original.accept(event())
        async with writer(tmp_path / "b", counters_url, node="b") as clone:
            await clone.accept(event())
            await settled(clone)
            assert await look_after(tmp_path / "b", counters_url) == 1
            assert await views_of(counts) == 3
            await forget_ids(counters_url)
            assert await original.flusher.drain(5.0)
            assert await views_of(counts) == 4
            await forget_ids(counters_url)
            assert await look_after(tmp_path / "b", counters_url) == 1
    assert await views_of(counts) == 4


async def test_a_copied_directory_is_noticed_even_under_the_same_name(
    tmp_path: Path, counters_url: str, counts: Board
) -> None:
    async with writer(tmp_path / "a", counters_url) as original:
        await original.accept(event())
        await settled(original)
        await copy(tmp_path / "a", tmp_path / "b")
        async with writer(tmp_path / "b", counters_url) as restored:
            assert restored.name != original.name
            await asyncio.gather(original.accept(event()), restored.accept(event()))
            await settled(original)
            await settled(restored)
    assert await views_of(counts) == 3


async def test_twins_from_one_image_count_right_while_ids_are_known_and_say_what_is_wrong(
    tmp_path: Path, counters_url: str, counts: Board, caplog: pytest.LogCaptureFixture
) -> None:
    async with writer(tmp_path / "a", counters_url) as original:
        await original.accept(event())
        await settled(original)
        await copy(tmp_path / "a", tmp_path / "b")
        label = tmp_path / "b/journal/0/journal-id"
        said = orjson.loads(label.read_bytes())
        label.write_bytes(orjson.dumps({**said, "inode": label.stat().st_ino}))  # as in the image of a whole disk
        async with writer(tmp_path / "b", counters_url) as twin:
            assert twin.name == original.name
            await asyncio.gather(settled(original), settled(twin))
            for _ in range(6):
                await asyncio.gather(original.accept(event(), event()), twin.accept(event()))
            await asyncio.gather(settled(original), settled(twin))
            assert await views_of(counts) == 19
    assert "is a copy of this data directory in use" in caplog.text


async def test_two_nodes_that_wrongly_have_one_name_both_hold_completeness_back(
    tmp_path: Path, counters_url: str
) -> None:
    async with (
        writer(tmp_path / "a", counters_url, node="same") as first,
        writer(tmp_path / "b", counters_url, node="same") as second,
    ):

        async def both() -> bool:
            return await open_writers(counters_url) == {first.name, second.name}

        await eventually(both)
        batches = first.flusher.state().batches + second.flusher.state().batches
        await eventually(lambda: first.flusher.state().batches + second.flusher.state().batches > batches + 5)
        assert await both()


async def test_a_damaged_leftover_does_not_keep_others_from_being_counted(
    tmp_path: Path, counters_url: str, counts: Board
) -> None:
    for slot in (2, 3):
        async with writer(tmp_path, "redis://127.0.0.1:1", slot=slot) as gone:
            await gone.accept(event())
    (tmp_path / "journal/2/journal-id").write_text("{")
    assert await look_after(tmp_path, counters_url) == 1
    assert await views_of(counts) == 1
    assert (tmp_path / "slots/3.lock").stat().st_mode & 0o777 == 0o600


APPENDER = """
import asyncio, sys, time, orjson
from pathlib import Path
from tests.support.counting import event, writer

async def main():
    async with writer(Path(sys.argv[1]), sys.argv[2]) as one:
        while True:
            batch = [event() for _ in range(7)]
            await asyncio.gather(*(one.accept(made) for made in batch))
            sys.stdout.write("7\\n")
            sys.stdout.flush()

asyncio.run(main())
"""


async def test_kill_9_at_any_moment_loses_and_doubles_nothing(tmp_path: Path, counters_url: str, counts: Board) -> None:
    acknowledged = 0
    for _ in range(4):
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", APPENDER, str(tmp_path), counters_url, stdout=asyncio.subprocess.PIPE, cwd=Path.cwd()
        )
        assert child.stdout is not None
        for _ in range(15):
            acknowledged += int(await child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        await child.wait()
        acknowledged += sum(map(int, (await child.stdout.read()).split()))
    async with writer(tmp_path, counters_url) as successor:
        await settled(successor)
        view, position, journaled = successor.journal.view(), 0, 0
        while position < view.end:
            found = gather(view, position, 1000, PROVINCE)
            position, journaled = found.to, journaled + found.parts[PROVINCE].events
    # An event may be on disk though its process was killed before it could say so; never the other way round.
    assert acknowledged <= journaled <= acknowledged + 4 * 14
    assert await views_of(counts) == journaled


async def test_provinces_on_one_redis_are_added_up(tmp_path: Path, counters_url: str) -> None:
    async with (
        writer(tmp_path / "a", counters_url) as one,
        writer(tmp_path / "b", counters_url, province="43") as hunan,
    ):
        for each in (one, hunan):
            await each.accept(event(viewer="same"), event("lesson-2", viewer="other"))
            await settled(each)
    async with board(counters_url, "43", "44", "11") as reader:
        summary = await reader.summary()
        assert (summary.views, summary.resources, summary.provinces, summary.uniques) == (4, 2, 2, 2)
        assert [place.value for place in (await reader.top(Top(limit=2))).places] == [2, 2]

"""Counting on a real cluster: each province on its node, whatever becomes of the nodes and of the slots."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext, suppress
from pathlib import Path

import pytest
import pytest_asyncio
from redis.crc import key_slot

from edge.counters.event import Kind, place_in
from edge.counters.record import Correction
from edge.counters.sink import Sink, SinkError, open_client, province_prefix
from edge.counters.tally import Batch, Entry
from tests.support.counting import Writer, board, event, writer
from tests.support.rollups import Rollups
from tests.support.valkey_cluster import ValkeyCluster, valkey_cluster
from tests.support.waiting import eventually

PREFIX = province_prefix("44")
PROVINCES = ("11", "12", "44")  # on the first, the second and the third primary


@asynccontextmanager
async def counted_on(cluster: ValkeyCluster, directory: Path) -> AsyncIterator[Writer]:
    """A writer for provinces of which each lies on another node."""
    async with writer(directory, cluster.urls, provinces=PROVINCES) as one:
        yield one


async def views_of(cluster: ValkeyCluster, *provinces: str) -> int:
    async with board(cluster.urls, *provinces) as reader:
        return (await reader.summary()).views


async def agree(cluster: ValkeyCluster, province: str) -> list[str]:
    client = open_client(cluster.urls)
    try:
        return await Rollups(client, province).disagreements()
    finally:
        await client.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ValkeyCluster]:
    """One for the tests that leave it as they found it, but for where slots lie."""
    async with valkey_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


async def settled(one: Writer) -> None:
    """Everything accepted is applied; a cluster takes its time to agree on what has become of it."""
    await eventually(lambda: one.flusher.state().connected and one.flusher.state().pending_bytes == 0, within_s=30)


def test_the_provinces_of_these_tests_lie_on_three_nodes() -> None:
    assert [key_slot(province_prefix(one).encode()) * 3 // 16384 for one in PROVINCES] == [0, 1, 2]


async def all_is_counted(cluster: ValkeyCluster, views: int) -> None:
    assert await views_of(cluster, *PROVINCES) == views
    for code in PROVINCES:
        assert await agree(cluster, code) == []


async def test_each_province_is_counted_on_its_node_and_all_are_read_together(tmp_path: Path) -> None:
    async with valkey_cluster(tmp_path / "cluster", append_only=True) as cluster, counted_on(cluster, tmp_path) as one:
        for number, code in enumerate(PROVINCES):
            for viewer in ("anna", "ben", f"of-{code}"):
                events = [event(viewer=viewer) for _ in range(number + 1)]
                await one.accept(*events, event(kind="watch", watched_s=2.5), place=place_in(code))
        await settled(one)
        async with board(cluster.urls, *PROVINCES) as reader:
            summary = await reader.summary()
            assert (summary.views, summary.plays, summary.watch_seconds) == (3 + 6 + 9, 0, 9 * 2.5)
            assert summary.uniques == 5, "sketches of three nodes are one"
            assert summary.provinces == len(PROVINCES)
        for number, code in enumerate(PROVINCES):
            assert await cluster.holder(province_prefix(code)) == number
            assert await agree(cluster, code) == []

        async def durable() -> bool:  # each node says what it has on its disk; a slow one needs to be asked again
            await one.flusher.prove()
            return one.flusher.state().durable == one.journal.end

        await eventually(durable, within_s=30)


async def test_a_call_without_an_answer_is_not_repeated_by_the_client_and_counts_once(tmp_path: Path) -> None:
    async with valkey_cluster(tmp_path) as cluster:
        client = open_client(cluster.urls, timeout_s=0.5)
        sink = Sink(client, "44")
        await sink.apply(Batch("w", 0, 10, 1000))  # the functions are there
        port, pid = cluster.ports[2], cluster.nodes[2].pid
        assert pid is not None
        await cluster.ask(port, "CONFIG", "RESETSTAT")
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(SinkError):
                await sink.apply(Batch("w", 10, 20, 2000))
        finally:
            os.kill(pid, signal.SIGCONT)

        async def carried_out() -> bool:
            return await sink.watermark("w") == 20

        await eventually(carried_out, within_s=30)
        stats = await cluster.ask(port, "INFO", "commandstats")
        assert isinstance(stats, bytes)
        assert b"cmdstat_fcall:calls=1," in stats
        again = await sink.apply(Batch("w", 10, 20, 2000))
        assert (again.moved, again.watermark) == (False, 20)
        await client.aclose()


async def test_while_a_slot_is_on_the_move_its_province_waits_and_the_others_go_on(tmp_path: Path) -> None:
    async with valkey_cluster(tmp_path / "cluster") as cluster, counted_on(cluster, tmp_path) as one:
        await one.accept(*[event(f"lesson-{n}", viewer="anna") for n in range(20)])
        await settled(one)
        source, target = 2, 0
        await cluster.begin_move(PREFIX, source, target)
        for keys in ([":total"], [":views", ":moved"], [":watermarks"], []):
            await one.accept(*[event(f"new-{n}", viewer="ben") for n in range(10)])
            await one.accept(event(), place=place_in("11"))
            await fails_again(one, "44")
            await eventually(lambda: one.flusher.by_province()["11"].pending_bytes == 0, within_s=30)
            await cluster.move_keys(PREFIX, source, target, *(PREFIX + key for key in keys))
        await cluster.end_move(PREFIX, target)
        await settled(one)
        assert await cluster.holder(PREFIX) == target
        assert await views_of(cluster, *PROVINCES) == 60 + 4
        assert await agree(cluster, "44") == []


async def fails_again(one: Writer, province: str) -> None:
    before = one.flusher.by_province()[province].failures
    await eventually(lambda: one.flusher.by_province()[province].failures >= before + 2, within_s=30)


def correction(number: int) -> Batch:
    """One more view of a minute, as the writer's next batch."""
    minute = int(time.time()) // 60
    one = Correction(f"c-{number}", "44", "CN", Kind.VIEW, minute - minute % 60, "lesson-1", 1, "because")
    return Batch("w", number, number + 1, 1000, corrections=(Entry(one, minute * 60_000),))


@pytest.mark.parametrize("gone", [":total", ":countries", ":days:views", ":watermarks", ":complete", ":moved"])
async def test_a_batch_that_finds_a_key_moved_away_is_applied_afterwards_and_not_in_part(
    cluster: ValkeyCluster, gone: str
) -> None:
    """Functions aren't rolled back: one that met a key on the move half-way would have counted half of its batch."""
    client = open_client(cluster.urls)
    sink = Sink(client, "44")
    for number in range(3):
        await sink.apply(correction(number))
    source = await cluster.holder(PREFIX)
    target = (source + 1) % 3
    await cluster.begin_move(PREFIX, source, target)
    await cluster.move_keys(PREFIX, source, target, PREFIX + gone)
    for _ in range(3):
        with pytest.raises(SinkError):
            await sink.apply(correction(3))
    await cluster.move_keys(PREFIX, source, target)
    await cluster.end_move(PREFIX, target)

    async def applied() -> bool:
        with suppress(SinkError):
            return (await sink.apply(correction(3))).watermark == 4
        return False

    await eventually(applied, within_s=30)
    assert (await Rollups(client, "44").total())["views"] == 4
    assert await Rollups(client, "44").disagreements() == []
    await client.aclose()
    await cluster.ask(cluster.ports[target], "FLUSHALL")


@asynccontextmanager
async def kept_back(cluster: ValkeyCluster, replica: int) -> AsyncIterator[None]:
    """The replica does not get what its primary writes."""
    port = cluster.ports[replica]
    await cluster.ask(port, "CONFIG", "SET", "primaryuser", "nobody", "primaryauth", "wrong")
    await cluster.ask(port, "CLIENT", "KILL", "TYPE", "primary")
    yield
    await cluster.ask(port, "CONFIG", "SET", "primaryuser", "", "primaryauth", "")


@pytest.mark.parametrize("lags", [False, True], ids=["in step", "lagging"])
async def test_a_killed_primarys_replica_goes_on_and_what_it_never_got_is_sent_again(
    tmp_path: Path, lags: bool
) -> None:
    async with (
        valkey_cluster(tmp_path / "cluster", replicas=1, append_only=True) as cluster,
        counted_on(cluster, tmp_path) as one,
    ):
        await one.accept(*[event(viewer="anna") for _ in range(10)])
        await settled(one)
        primary = await cluster.holder(PREFIX)
        async with kept_back(cluster, primary + 3) if lags else nullcontext():
            await one.accept(*[event(f"lesson-{n}") for n in range(20)], event(kind="visit"))
            await settled(one)
            await cluster.nodes[primary].kill()
            await one.accept(*[event() for _ in range(5)])
            await one.accept(event(), place=place_in("11"))

            async def promoted() -> bool:
                return await cluster.holder(PREFIX) == primary + 3

            await eventually(promoted, within_s=60)
        await settled(one)
        assert (one.flusher.state().replayed_bytes > 0) == lags
        await all_is_counted(cluster, 36)
        await cluster.nodes[primary].start()  # comes back, and follows

        async def follows() -> bool:
            return not await cluster.is_primary(cluster.ports[primary])

        await eventually(follows, within_s=60)
        await one.accept(event())
        await settled(one)
        await all_is_counted(cluster, 37)


async def test_a_primary_that_is_cut_off_and_goes_on_taking_batches_loses_nobodys_counts(tmp_path: Path) -> None:
    """Its clients were told that they are applied; who takes the slots over knows nothing of it."""
    async with (
        valkey_cluster(tmp_path / "cluster", replicas=1) as cluster,
        counted_on(cluster, tmp_path) as one,
    ):
        await one.accept(*[event() for _ in range(10)])
        await settled(one)
        primary = await cluster.holder(PREFIX)
        async with kept_back(cluster, primary + 3):
            await one.accept(*[event() for _ in range(10)])
            await settled(one)
            await cluster.ask(cluster.ports[primary + 3], "CLUSTER", "FAILOVER", "TAKEOVER")
            await one.accept(*[event() for _ in range(10)])

            async def taken() -> bool:
                return await cluster.holder(PREFIX) == primary + 3

            await eventually(taken, within_s=60)
        await settled(one)
        await eventually(lambda: one.flusher.state().replayed_bytes > 0, within_s=30)
        await settled(one)
        await all_is_counted(cluster, 30)

"""The journal keeps what Redis has for as long as it promises, whenever that was written: a fail-over needs it."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from deploy.local.valkey import Valkey
from edge.counters.flush import Flusher
from edge.counters.intake import Intake
from edge.counters.journal import Journal
from edge.counters.label import Home
from edge.counters.leftover import Leftovers
from edge.counters.sink import Sink, open_client
from tests.support.counting import PROVINCE, Wall, Writer, event, writer
from tests.support.loopguard import nothing_blocks_the_loop  # noqa: F401
from tests.support.rollups import Rollups
from tests.support.ticking import ManualClock
from tests.support.waiting import eventually

NOWHERE = "redis://127.0.0.1:1"
RETENTION_S = 600.0
LONG_AGO_S = 6 * 3600


def made_long_ago(directory: Path) -> None:
    """As if Redis had been away since."""
    for path in directory.glob("*.log"):
        os.utime(path, (time.time() - LONG_AGO_S,) * 2)


def is_there(directory: Path) -> bool:
    return directory.exists()


async def views(url: str) -> int:
    client = open_client(url)
    total = await Rollups(client, PROVINCE).total()
    await client.aclose()
    return total["views"]


async def forget_everything(url: str) -> None:
    """As a fail-over to a replica that has not got anything yet."""
    client = open_client(url)
    await client.flushall()
    await client.aclose()


@asynccontextmanager
async def delivered(
    directory: Path, url: str, clock: ManualClock, *, max_bytes: int = 1 << 24
) -> AsyncIterator[Writer]:
    """A writer that has just delivered 400 views, in several segments, after a long isolation."""
    journal = await Journal.open(
        directory / "journal/0",
        Home(PROVINCE, "edge-1/0"),
        wall=time.time,
        monotonic=clock.monotonic,
        max_bytes=max_bytes,
        segment_bytes=4096,
    )
    sink = Sink(open_client(url), PROVINCE)
    flusher = Flusher(
        journal,
        sink,
        monotonic=time.monotonic,
        interval_s=0.02,
        heartbeat_s=0.1,
        prove_every_s=3600,
        retention_s=RETENTION_S,
    )
    one = Writer(journal, Intake(journal), flusher, sink, journal.label.identity)
    for _ in range(8):
        await one.accept(*(event() for _ in range(50)))
    made_long_ago(directory / "journal/0")
    flusher.start()
    try:
        await one.settled()
        yield one
    finally:
        await flusher.abandon()
        await journal.close()
        await sink.close()


async def ask(one: Writer) -> None:
    """Until Redis has it all on its disk, which is soon."""

    async def durable() -> bool:
        await one.flusher.prove()
        return one.flusher.state().durable == one.journal.end

    await eventually(durable)


async def begin_after(one: Writer, clock: ManualClock, seconds: float) -> int:
    """Where the journal begins when Redis is asked again so much later."""
    clock.advance(seconds)
    await ask(one)
    return one.journal.begin


async def test_what_was_delivered_after_an_isolation_stays_as_long_as_anything_else(
    tmp_path: Path, own_counters: Valkey
) -> None:
    clock = ManualClock()
    async with delivered(tmp_path, own_counters.url, clock) as one:
        assert await begin_after(one, clock, 0) == 0, "Redis has had it for a moment"
        assert await begin_after(one, clock, RETENTION_S - 1) == 0
        assert await begin_after(one, clock, 2) > 0
        assert one.journal.state().segments == 1


async def test_a_fail_over_right_after_an_isolation_loses_nothing(tmp_path: Path, own_counters: Valkey) -> None:
    async with delivered(tmp_path, own_counters.url, ManualClock()) as one:
        await ask(one)
    await forget_everything(own_counters.url)
    async with writer(tmp_path, own_counters.url) as successor:  # who remembers nothing of what was read before
        await successor.settled()
        assert await views(own_counters.url) == 400
        assert successor.journal.state().lost_bytes == 0


async def test_after_redis_has_gone_back_the_time_begins_anew(tmp_path: Path, own_counters: Valkey) -> None:
    clock = ManualClock()
    async with delivered(tmp_path, own_counters.url, clock) as one:
        await ask(one)
        await forget_everything(own_counters.url)
        await eventually(lambda: one.flusher.state().replayed_bytes > 0)
        await one.settled()  # it has gone down and up again, and nobody has asked meanwhile
        assert await begin_after(one, clock, RETENTION_S + 1) == 0
        assert await begin_after(one, clock, RETENTION_S + 1) > 0


async def test_where_redis_cannot_prove_anything_the_longer_time_counts_from_the_delivery_too(
    tmp_path: Path, redis_url: str
) -> None:
    clock = ManualClock()
    async with delivered(tmp_path, redis_url, clock) as one:
        assert await begin_after(one, clock, 0) == 0
        assert not one.flusher.state().proving
        assert await begin_after(one, clock, 24 * RETENTION_S - 1) == 0
        assert await begin_after(one, clock, 2) > 0


async def test_a_journal_that_is_full_gives_up_what_redis_has_before_its_time(
    tmp_path: Path, own_counters: Valkey
) -> None:
    async with delivered(tmp_path, own_counters.url, ManualClock(), max_bytes=18_000) as one:
        assert one.journal.state().size_bytes > 0.8 * 18_000
        await ask(one)
        assert 0 < one.journal.state().size_bytes <= 0.8 * 18_000
        assert one.journal.state().segments > 1, "only as much as has to"


@asynccontextmanager
async def leftovers(
    directory: Path,
    url: str,
    clock: ManualClock,
    *,
    own_slot: int = 0,
    keep_from_ms: Callable[[], int | None] = lambda: None,
) -> AsyncIterator[Leftovers]:
    (directory / "slots").mkdir(exist_ok=True)
    sink = Sink(open_client(url), PROVINCE)
    yield Leftovers(
        directory / "journal",
        directory / "slots",
        sink,
        own_slot,
        wall=Wall(),
        monotonic=clock.monotonic,
        retention_s=RETENTION_S,
        keep_from_ms=keep_from_ms,
    )
    await sink.close()


@pytest.fixture
async def left(tmp_path: Path) -> Path:
    """A journal of long ago that nobody has delivered."""
    async with writer(tmp_path, NOWHERE, slot=3) as gone:
        await gone.accept(event(), event())
    made_long_ago(tmp_path / "journal/3")
    return tmp_path / "journal/3"


async def test_a_leftover_goes_when_redis_has_had_it_for_long_enough(
    tmp_path: Path, own_counters: Valkey, left: Path
) -> None:
    clock = ManualClock()
    async with leftovers(tmp_path, own_counters.url, clock) as worker:
        await worker.look_after()
        assert await views(own_counters.url) == 2
        clock.advance(RETENTION_S - 1)
        await worker.look_after()
        assert is_there(left)
        clock.advance(2)
        await worker.look_after()
        assert not is_there(left)


async def test_a_leftover_that_redis_has_lost_meanwhile_stays_as_long_again(
    tmp_path: Path, own_counters: Valkey, left: Path
) -> None:
    clock = ManualClock()
    async with leftovers(tmp_path, own_counters.url, clock) as worker:
        await worker.look_after()
        await forget_everything(own_counters.url)
        clock.advance(RETENTION_S + 1)
        await worker.look_after()
        assert is_there(left)
        assert await views(own_counters.url) == 2
        clock.advance(RETENTION_S + 1)
        await worker.look_after()
        assert not is_there(left)


async def test_a_leftover_that_another_worker_had_to_send_again_stays_as_long_again(
    tmp_path: Path, own_counters: Valkey, left: Path
) -> None:
    clock = ManualClock()
    async with (
        leftovers(tmp_path, own_counters.url, clock) as one,
        leftovers(tmp_path, own_counters.url, clock, own_slot=1) as other,
    ):
        await one.look_after()
        await forget_everything(own_counters.url)
        clock.advance(RETENTION_S - 1)
        await other.look_after()
        clock.advance(2)
        await one.look_after()
        assert is_there(left)
        clock.advance(RETENTION_S + 1)
        await one.look_after()
        assert not is_there(left)


async def test_a_leftover_that_a_worker_has_had_meanwhile_stays_as_long_again(
    tmp_path: Path, own_counters: Valkey, left: Path
) -> None:
    clock = ManualClock()
    async with leftovers(tmp_path, own_counters.url, clock) as one:
        await one.look_after()
        await forget_everything(own_counters.url)
        async with writer(tmp_path, own_counters.url, slot=3) as again:
            await eventually(lambda: again.flusher.state().events > 0)
        clock.advance(RETENTION_S + 1)
        await one.look_after()
        assert is_there(left)


async def test_a_leftover_stays_until_history_has_its_days(tmp_path: Path, own_counters: Valkey, left: Path) -> None:
    clock, kept_from_s = ManualClock(), [time.time() - LONG_AGO_S - 60]
    async with leftovers(tmp_path, own_counters.url, clock, keep_from_ms=lambda: int(kept_from_s[0] * 1000)) as worker:
        for _ in range(2):
            await worker.look_after()
            clock.advance(RETENTION_S + 1)
        assert is_there(left)
        kept_from_s[0] += 120
        await worker.look_after()
        assert not is_there(left)


async def test_without_an_append_only_file_a_leftover_stays_for_the_longer_time(
    tmp_path: Path, redis_url: str, left: Path
) -> None:
    clock = ManualClock()
    async with leftovers(tmp_path, redis_url, clock) as worker:
        await worker.look_after()
        clock.advance(24 * RETENTION_S - 1)
        await worker.look_after()
        assert is_there(left)
        clock.advance(2)
        await worker.look_after()
        assert not is_there(left)

"""A day without Redis: what was accepted is counted afterwards, what could not be kept was refused, and nobody is told
that a count is complete which is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deploy.local.valkey import Valkey
from edge.counters.journal import JournalError, Refusal
from edge.counters.sink import open_client
from tests.support.counting import PROVINCE, Wall, Writer, event, writer
from tests.support.loopguard import nothing_blocks_the_loop  # noqa: F401
from tests.support.rollups import Rollups
from tests.support.waiting import eventually

HOUR_S = 3600
DAY_S = 24 * HOUR_S


async def said_complete_ms(redis: Valkey) -> float:
    """What Redis holds to be complete; 0 when it knows no open writer."""
    client = open_client(redis.url)
    found: Any = await client.zrange("{44}:complete", 0, 0, withscores=True)
    await client.aclose()
    return float(found[0][1]) if found else 0.0


async def cut_off(one: Writer, redis: Valkey) -> None:
    """The writer is known to the province, and then hears nothing of it."""
    await one.settled()
    await redis.kill()
    await eventually(lambda: not one.flusher.state().connected)


async def test_a_day_of_isolation_loses_nothing_and_every_event_lands_in_its_minute(
    tmp_path: Path, own_counters: Valkey
) -> None:
    wall = Wall(-DAY_S)
    async with writer(tmp_path, own_counters.url, wall=wall) as one:
        await cut_off(one, own_counters)
        moments = []
        for quarter in range(4 * 24):
            wall.ahead_s = -DAY_S + quarter * HOUR_S / 4
            moments.append(int(wall() * 1000))
            await one.accept(event(at_ms=moments[-1]), event(kind="watch", watched_s=1, at_ms=moments[-1]))
        wall.ahead_s = 0.0
        assert one.flusher.state().complete_ms <= moments[0]
        await own_counters.start()
        await one.settled()
        await eventually(lambda: one.flusher.state().complete_ms >= moments[-1])

        async def complete() -> bool:
            return await said_complete_ms(own_counters) >= moments[-1]

        await eventually(complete, within_s=20)
        client = open_client(own_counters.url)
        rollups = Rollups(client, PROVINCE)
        assert await rollups.total() == {"views": 96, "watch_ms": 96_000}
        assert await rollups.disagreements() == []
        for moment in (moments[0], moments[50], moments[-1]):
            assert await client.hget(f"{{44}}:m:{moment // 60_000}", "1 lesson-1") == b"1"
        await client.aclose()


async def test_beyond_the_bound_events_are_refused_and_those_before_it_are_counted(
    tmp_path: Path, own_counters: Valkey
) -> None:
    wall = Wall(-DAY_S)
    async with writer(tmp_path, own_counters.url, wall=wall, max_bytes=40_000) as one:
        await cut_off(one, own_counters)
        accepted, refusal = 0, None
        while refusal is None:
            wall.ahead_s += 60
            try:
                accepted += await one.accept(event(at_ms=int(wall() * 1000)), event(at_ms=int(wall() * 1000)))
            except JournalError as error:
                refusal = error.refusal
        assert refusal is Refusal.FULL
        full_ms = one.journal.stamp_ms()
        with pytest.raises(JournalError):
            await one.accept(event(at_ms=full_ms))
        assert one.journal.state().size_bytes <= 40_000
        await own_counters.start()
        await one.settled()
        client = open_client(own_counters.url)
        assert await Rollups(client, PROVINCE).total() == {"views": accepted}
        await client.aclose()
        await one.flusher.prove()  # crowded: what is durable goes although it is young
        wall.ahead_s += 60
        assert await one.accept(event(at_ms=int(wall() * 1000))) == 1


async def test_a_silent_writer_holds_completeness_back_though_another_goes_on(
    tmp_path: Path, own_counters: Valkey
) -> None:
    async with writer(tmp_path / "b", own_counters.url, node="b") as other:
        async with writer(tmp_path / "a", own_counters.url, node="a", wall=Wall(-HOUR_S)) as silent:
            await silent.settled()
            last_word = silent.flusher.state().complete_ms
        await other.accept(event())
        await other.settled()
        heard = other.flusher.state().complete_ms
        await eventually(lambda: other.flusher.state().complete_ms > heard + 300)
        said = await said_complete_ms(own_counters)
        assert last_word <= said < heard - HOUR_S * 900

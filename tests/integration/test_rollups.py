"""What one call books, seen from every side: totals, countries, minutes, hours, days, resources, and what has moved."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from edge.counters.event import Agent, Place
from edge.counters.sink import Client, open_client
from tests.support.counting import PROVINCE, Writer, board, event, writer
from tests.support.loopguard import nothing_blocks_the_loop  # noqa: F401
from tests.support.rollups import Rollups
from tests.support.waiting import eventually

NOW_MS = int(time.time() * 1000)
HOUR_MS = 3_600_000
SINGAPORE = Place(PROVINCE, "SG")


@pytest.fixture
async def client(counters_url: str) -> AsyncIterator[Client]:
    one = open_client(counters_url)
    yield one
    await one.aclose()


@pytest.fixture
def rollups(client: Client) -> Rollups:
    return Rollups(client, PROVINCE)


async def settled(one: Writer) -> None:
    await eventually(lambda: one.flusher.state().connected and one.flusher.state().pending_bytes == 0)


async def take(one: Writer, events: list[dict[str, object]], place: Place | None, agent: Agent = Agent.HUMAN) -> None:
    """As a request from somewhere else, or of a bot."""
    receipt = await one.intake.accept(orjson.dumps({"events": events}), place, agent)
    assert receipt.rejected == []


def some_of_all(at_ms: int = NOW_MS) -> list[dict[str, object]]:
    return [
        event("lesson-1", at_ms=at_ms),
        event("lesson-2", at_ms=at_ms, viewer="v"),
        event("lesson-1", "play", at_ms=at_ms),
        event("lesson-2", "watch", watched_s=7.5, at_ms=at_ms),
        event(kind="visit", at_ms=at_ms),
    ]


async def test_every_rollup_is_the_sum_of_its_parts(tmp_path: Path, counters_url: str, rollups: Rollups) -> None:
    async with writer(tmp_path, counters_url) as one:
        for hours in (0, 1, 5, 23):
            await take(one, some_of_all(NOW_MS - hours * HOUR_MS), None)
            await take(one, some_of_all(NOW_MS - hours * HOUR_MS), SINGAPORE)
        await settled(one)
    assert await rollups.total() == {"visits": 8, "views": 16, "plays": 8, "watch_ms": 60_000}
    assert await rollups.by_resource("views") == {"lesson-1": 8, "lesson-2": 8}
    assert await rollups.disagreements() == []


async def test_countries_are_counted_apart_within_the_province(
    tmp_path: Path, counters_url: str, client: Client
) -> None:
    async with writer(tmp_path, counters_url) as one:
        await take(one, some_of_all(), None)
        await take(one, some_of_all(), SINGAPORE)
        await take(one, [event()], SINGAPORE)
        await settled(one)
    found: Any = await client.hgetall("{44}:countries")
    assert (found[b"CN views"], found[b"SG views"], found[b"SG watch_ms"]) == (b"2", b"3", b"7500")


async def test_bots_are_in_no_human_figure(tmp_path: Path, counters_url: str, client: Client, rollups: Rollups) -> None:
    async with writer(tmp_path, counters_url) as one:
        await take(one, some_of_all(), None, Agent.BOT)
        await settled(one)
        assert await rollups.total() == {}
        assert await rollups.bots() == {"visits": 1, "views": 2, "plays": 1, "watch_ms": 7_500}
        assert await client.pfcount("{44}:u") == 0
        await take(one, some_of_all(), None)
        await settled(one)
        assert await rollups.total() == await rollups.bots()
    assert await rollups.disagreements() == []


async def test_a_late_event_lands_in_its_own_minute(tmp_path: Path, counters_url: str, client: Client) -> None:
    at_ms = NOW_MS - 23 * HOUR_MS
    async with writer(tmp_path, counters_url) as one:
        await one.accept(event(at_ms=at_ms))
        await settled(one)
    minute = at_ms // 60_000
    found: Any = await client.hgetall(f"{{44}}:m:{minute}")
    assert found == {b"1 lesson-1": b"1"}
    assert await client.expiretime(f"{{44}}:m:{minute}") == minute * 60 + 49 * 3600


async def test_a_repeated_id_is_left_out_of_every_rollup(tmp_path: Path, counters_url: str, rollups: Rollups) -> None:
    batch = some_of_all()
    async with writer(tmp_path, counters_url) as one:
        await take(one, batch, None)
        await settled(one)
        await take(one, [*batch, event("lesson-3", "watch", watched_s=1)], None)
        await settled(one)
        assert one.flusher.state().duplicates == 5
    assert await rollups.total() == {"visits": 1, "views": 2, "plays": 1, "watch_ms": 8_500}
    assert await rollups.disagreements() == []


async def test_a_closed_day_is_not_counted_into(tmp_path: Path, counters_url: str, client: Client) -> None:
    """Events of it can only be a replay: what history has must not be counted again."""
    rollups = Rollups(client, PROVINCE)
    yesterday = time.strftime("%Y%m%d", time.gmtime(NOW_MS / 1000 + 8 * 3600 - 86_400))
    await client.set("{44}:history_through", yesterday)
    async with writer(tmp_path, counters_url) as one:
        midnight_ms = NOW_MS - (NOW_MS + 8 * HOUR_MS) % (24 * HOUR_MS)
        await one.accept(event(at_ms=midnight_ms - 1), event(at_ms=midnight_ms))
        await settled(one)
        assert one.flusher.state().in_history == 1
    assert await rollups.total() == {"views": 1}
    assert await rollups.disagreements() == []


async def test_what_history_can_not_have_of_a_closed_day_is_counted_as_corrections(
    tmp_path: Path, counters_url: str, client: Client
) -> None:
    """A node was cut off from its first hour on: nobody waited for it when the day was closed."""
    rollups = Rollups(client, PROVINCE)
    midnight_ms = NOW_MS - (NOW_MS + 8 * HOUR_MS) % (24 * HOUR_MS)
    yesterday = time.strftime("%Y%m%d", time.gmtime(midnight_ms / 1000 + 8 * 3600 - 1))
    late = [
        event(at_ms=midnight_ms - 1),
        event(at_ms=midnight_ms - 1),
        event(kind="watch", watched_s=2, at_ms=midnight_ms - 1),
        event(kind="visit", at_ms=midnight_ms - 1),
    ]
    async with writer(tmp_path / "a", counters_url, node="a") as known:
        await settled(known)
        now: Any = await client.time()
        await client.hset("{44}:closed_at", yesterday, now[0] * 1000 + now[1] // 1000)
        await client.set("{44}:history_through", yesterday)
        await take(known, [event(at_ms=midnight_ms - 1)], None)
        await settled(known)
        assert await rollups.total() == {}
        async with writer(tmp_path / "b", counters_url, node="b") as news:
            await take(news, [*late, event(at_ms=midnight_ms)], None)
            await settled(news)
            assert news.flusher.state().in_history == 0
    assert await rollups.total() == {"views": 3, "watch_ms": 2_000, "visits": 1}
    assert await client.zscore("{44}:days:views", yesterday) == 2
    assert await client.keys(f"{{44}}:*:{yesterday}*") == [], "the day's details stay gone"
    entries: Any = await client.hvals("{44}:corrections")
    assert sorted((entry["kind"], entry["amount"], entry["resource"]) for entry in map(orjson.loads, entries)) == [
        ("view", 2, "lesson-1"),
        ("visit", 1, ""),
        ("watch", 2_000, "lesson-1"),
    ]


@pytest.mark.parametrize(
    ("closed", "following"),
    [
        ("20271230", "20271231"),
        ("20271231", "20280101"),
        ("20280228", "20280229"),
        ("20290228", "20290301"),
        ("20280430", "20280501"),
        ("20991231", "21000101"),
        ("21000228", "21000301"),
    ],
)
async def test_bots_of_a_closed_day_that_history_can_not_have_are_booked_on_the_day_after(
    tmp_path: Path, counters_url: str, client: Client, rollups: Rollups, closed: str, following: str
) -> None:
    await client.hset("{44}:closed_at", "before", 1)
    await client.set("{44}:history_through", closed)
    async with writer(tmp_path, counters_url) as news:
        await take(news, some_of_all(), None, Agent.BOT)
        await settled(news)
    assert await rollups.bots() == {"visits": 1, "views": 2, "plays": 1, "watch_ms": 7_500}
    assert await client.hget(f"{{44}}:day:{following}:bots", "views") == b"2"
    assert await client.zrange("{44}:days:bots", 0, -1, withscores=True) == [(following.encode(), 5)]
    assert await rollups.disagreements() == []


async def test_a_reader_of_a_redis_that_went_back_begins_again(
    tmp_path: Path, counters_url: str, client: Client
) -> None:
    """The same is counted once more, but by other calls: their numbers mean something else now."""
    async with board(counters_url) as reader:
        async with writer(tmp_path, counters_url) as one:
            for number in range(3):
                await one.accept(event(f"lesson-{number}"))
                await settled(one)
            assert (await reader.summary()).views == 3
        await client.flushdb()
        async with writer(tmp_path, counters_url) as one:
            for number in range(3, 6):
                await settled(one)
                await one.accept(event(f"lesson-{number}"))
            await settled(one)
            found = await reader.resources([f"lesson-{number}" for number in range(6)])
        assert [counts.views for counts in found.resources] == [1] * 6


async def test_what_an_earlier_version_counted_is_taken_over(
    tmp_path: Path, counters_url: str, client: Client, rollups: Rollups
) -> None:
    """It kept neither countries nor days of anything but views, nor what has moved."""
    async with writer(tmp_path, counters_url) as one:
        await take(one, some_of_all(), None)
        await settled(one)
        known: Any = await client.keys("{44}:*")
        for key in known:
            name = key.decode()
            if name.endswith(":countries") or name in ("{44}:seq", "{44}:moved", "{44}:trail"):
                await client.delete(key)
            if name.startswith("{44}:days:") and name != "{44}:days:views":
                await client.delete(key)
        await one.accept(event("lesson-3"))
        await settled(one)
        moved: Any = await client.zrange("{44}:moved", 0, -1)
        assert set(moved) == {b"lesson-1", b"lesson-2", b"lesson-3"}
    assert await rollups.disagreements() == []

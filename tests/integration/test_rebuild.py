"""A province's Redis against its history: differences are found, and put right while counting goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import date
from pathlib import Path

import pytest

from edge.counters.board import Board
from edge.counters.counting_day import day_name
from edge.counters.event import Agent, Kind
from edge.counters.history import Figures, HistoryError, manifest_name
from edge.counters.province_day import ProvinceDays
from edge.counters.question import Dimension, Slice, Totals
from edge.counters.rebuild import LeaseError, Rebuild, Report
from edge.counters.witnesses import Remedy
from tests.support.broker import S3Address
from tests.support.counting import PROVINCE, board, writer
from tests.support.history import (
    DAY,
    FIRST,
    RANDOM,
    Ledger,
    Scene,
    applied,
    correct,
    count,
    count_a_day,
    events_of,
    moment,
    running,
    total,
)

P = "{44}:"
LAST = FIRST + 3 * DAY


@pytest.fixture
async def scene(counters_url: str, s3: S3Address, s3_prefix: str, tmp_path: Path) -> AsyncIterator[Scene]:
    """Two closed days, one of them corrected, and three open ones."""
    async with running(counters_url, s3, s3_prefix, tmp_path) as made:
        for number in range(4):
            await count_a_day(made, number, 120)
        await correct(made.writer, made.ledger, Kind.VIEW, moment(FIRST, 11), "lesson-1", -2)
        await made.at(moment(LAST, 23, 59, 30))
        closed = await made.closing().catch_up()
        assert [manifest.day for manifest in closed] == [FIRST, FIRST + DAY]
        yield made


def rebuild(scene: Scene, holder: str = "a test") -> Rebuild:
    days = ProvinceDays(scene.client, PROVINCE)
    return Rebuild(days, scene.store, scene.tmp_path / "rebuild", holder=holder, progress=lambda *_: None)


class Interrupted(ProvinceDays):
    """A province of which something happens as soon as the days that it has were read for the first time."""

    def __init__(self, scene: Scene, happens: Callable[[], Awaitable[object]]) -> None:
        super().__init__(scene.client, PROVINCE)
        self._happens = [happens]

    async def scan_zset(self, key: str) -> AsyncIterator[tuple[str, int]]:
        async for one in super().scan_zset(key):
            yield one
        if key == f"{P}days:watch_ms" and self._happens:
            await self._happens.pop()()


def found(report: Report) -> set[tuple[str, str, int, int]]:
    return {(one.key, one.field, one.redis, one.history) for one in report.differences}


async def ranking(scene: Scene, key: str) -> dict[str, int]:
    days = ProvinceDays(scene.client, PROVINCE)
    return {name: score async for name, score in days.scan_zset(P + key)}


async def agrees(scene: Scene) -> None:
    """Redis says what the ledger does: totals, days, resources, countries."""
    ledger, client = scene.ledger, scene.client
    sums = total(ledger.minutes.values())
    stored = await client.hgetall(P + "total")
    assert {name: int(stored.get(name.encode(), 0)) for name in sums.document()} == sums.document()
    assert stored[b"first_day"] == f"{FIRST:%Y%m%d}".encode()
    for metric in ("views", "plays", "watch_ms"):
        ranked = await ranking(scene, metric)
        expected = {name: getattr(one, metric) for name, one in ledger.resources().items()}
        assert {name: n for name, n in ranked.items() if n} == {k: n for k, n in expected.items() if n}
    assert await ranking(scene, "days:watch_ms") == {
        f"{day:%Y%m%d}": ledger.day(day).watch_ms for day in {of for of, _, _ in ledger.minutes}
    }
    countries = await client.hgetall(P + "countries")
    assert int(countries[b"FR views"]) == total(one for (_, _, cc), one in ledger.minutes.items() if cc == "FR").views
    bots = await client.hgetall(P + "bots")
    assert int(bots[b"views"]) == total(ledger.bots.values()).views


async def test_what_was_counted_and_closed_has_no_difference(scene: Scene) -> None:
    report = await rebuild(scene).check()
    assert report.differences == ()
    assert (report.closed_days, report.through) == (2, FIRST + DAY)
    await agrees(scene)


TAMPERED = [
    ("total", "views", Remedy.ADJUST),
    ("countries", "CN plays", Remedy.ADJUST),
    ("bots", "visits", Remedy.ADJUST),
    ("plays", "lesson-2", Remedy.ADJUST),
    ("days:views", f"{FIRST:%Y%m%d}", Remedy.ADJUST),
    ("days:visits", f"{LAST:%Y%m%d}", Remedy.ADJUST),
    (f"day:{LAST:%Y%m%d}", "visits", Remedy.ADJUST),
    (f"day:{LAST:%Y%m%d}:views", "lesson-3", Remedy.ADJUST),
    (f"day:{LAST:%Y%m%d}:countries", "FR views", Remedy.ADJUST),
    (f"day:{FIRST:%Y%m%d}", "watch_ms", Remedy.RESTORE),
    (f"day:{FIRST:%Y%m%d}:bots", "views", Remedy.RESTORE),
    (f"day:{FIRST:%Y%m%d}:plays", "lesson-1", Remedy.RESTORE),
    (f"min:{FIRST:%Y%m%d}", "61 1 CN", Remedy.RESTORE),
    (f"h:{FIRST:%Y%m%d}07", "3 lesson-4", Remedy.RESTORE),
]


@pytest.mark.parametrize(("key", "field", "remedy"), TAMPERED, ids=[f"{key} {field}" for key, field, _ in TAMPERED])
async def test_a_tampered_number_is_found_and_put_right(scene: Scene, key: str, field: str, remedy: Remedy) -> None:
    if await scene.client.type(P + key) == b"zset":
        right = int(await scene.client.zscore(P + key, field) or 0)
        await scene.client.zincrby(P + key, 5, field)
    else:
        right = int(await scene.client.hget(P + key, field) or 0)
        await scene.client.hincrby(P + key, field, 5)
    report = await rebuild(scene).check()
    assert found(report) == {(key, field, right + 5, right)}
    assert report.differences[0].remedy is remedy
    assert (await rebuild(scene).apply()).differences == ()
    await agrees(scene)


async def test_what_an_open_days_finest_numbers_lack_is_told_and_left(scene: Scene) -> None:
    key, field = f"min:{LAST:%Y%m%d}", "61 1 CN"
    await scene.client.hincrby(P + key, field, 5)
    report = await rebuild(scene).apply()
    assert {(one.key, one.remedy) for one in report.differences} == {(key, Remedy.NONE)}
    await agrees(scene)


async def test_a_redis_that_lost_everything_is_rebuilt_from_history_and_the_journal(scene: Scene) -> None:
    await correct(scene.writer, scene.ledger, Kind.PLAY, moment(FIRST + DAY, 8), "lesson-2", 40)
    await scene.closing().catch_up()
    viewers = await scene.client.pfcount(P + "u")
    await scene.client.flushdb()
    await applied(scene.writer)
    await scene.at(moment(LAST, 23, 59, 40))
    report = await rebuild(scene).apply()
    assert report.differences == ()
    await agrees(scene)
    assert await scene.client.get(P + "history_through") == f"{FIRST + DAY:%Y%m%d}".encode()
    assert abs(await scene.client.pfcount(P + "u") - viewers) <= 1
    await count(scene.writer, scene.ledger, events_of(LAST, 50, RANDOM))
    await agrees(scene)
    assert (await rebuild(scene).check()).differences == ()


async def test_history_alone_is_enough_for_the_closed_days(scene: Scene, tmp_path: Path) -> None:
    """The journal is gone as well, as that of a node that history let go of."""
    ledger = scene.ledger
    ledger.rows = {row: one for row, one in ledger.rows.items() if row[0] <= FIRST + DAY}
    ledger.minutes = {spot: one for spot, one in ledger.minutes.items() if spot[0] <= FIRST + DAY}
    ledger.bots = {day: one for day, one in ledger.bots.items() if day <= FIRST + DAY}
    await scene.writer.flusher.abandon()
    await scene.client.flushdb()
    assert len((await rebuild(scene).check()).differences) > 20
    assert (await rebuild(scene).apply()).differences == ()
    await agrees(scene)
    async with writer(tmp_path / "new", scene.url, slot=1, wall=scene.wall) as other:
        await count(other, ledger, events_of(LAST, 30, RANDOM))
    await agrees(scene)


async def test_counting_goes_on_while_totals_are_put_right(scene: Scene) -> None:
    await scene.client.delete(P + "total", P + "views", P + "countries", P + "days:views")
    going = True

    async def go_on() -> None:
        while going:
            await count(scene.writer, scene.ledger, events_of(LAST, 7, RANDOM))

    counting = asyncio.create_task(go_on())
    report = await rebuild(scene).apply()
    going = False
    await counting
    assert report.differences == ()
    await agrees(scene)
    assert (await rebuild(scene).check()).differences == ()


async def test_what_comes_for_another_day_meanwhile_is_not_taken_for_one_too_many(scene: Scene) -> None:
    async def first_of_a_day() -> None:
        await scene.at(moment(LAST + DAY, 0, 1))
        await count(scene.writer, scene.ledger, events_of(LAST + DAY, 30, RANDOM))

    days = Interrupted(scene, first_of_a_day)
    one = Rebuild(days, scene.store, scene.tmp_path / "rebuild", holder="a test", progress=lambda *_: None)
    assert (await one.apply()).differences == ()
    await agrees(scene)


async def test_a_correction_of_a_closed_day_that_comes_meanwhile_stays(scene: Scene) -> None:
    async def corrected() -> None:
        await correct(scene.writer, scene.ledger, Kind.VIEW, moment(FIRST, 11), "lesson-1", 3)

    days = Interrupted(scene, corrected)
    one = Rebuild(days, scene.store, scene.tmp_path / "rebuild", holder="a test", progress=lambda *_: None)
    assert (await one.apply()).differences == ()
    await agrees(scene)


async def test_two_at_once_do_not_add_what_is_lacking_twice(scene: Scene) -> None:
    await scene.client.hincrby(P + "total", "views", -9)
    outcomes = await asyncio.gather(*(rebuild(scene, f"number {i}").apply() for i in range(3)), return_exceptions=True)
    assert any(isinstance(one, Report) for one in outcomes)
    assert all(isinstance(one, (Report, LeaseError)) for one in outcomes)
    await agrees(scene)


async def test_a_correction_of_a_closed_day_that_is_not_exported_yet_is_no_difference(scene: Scene) -> None:
    await correct(scene.writer, scene.ledger, Kind.VIEW, moment(FIRST, 11), "lesson-1", 3)
    assert (await rebuild(scene).check()).differences == ()
    assert (await rebuild(scene).apply()).differences == ()
    await agrees(scene)


async def test_a_closed_day_that_history_has_lost_is_not_thrown_away(scene: Scene) -> None:
    for name in await scene.store.ages(f"counts/v1/day={FIRST.isoformat()}/"):
        await scene.store.remove(name)
    before = await scene.client.hgetall(P + "total")
    with pytest.raises(HistoryError, match="history lacks it"):
        await rebuild(scene).apply()
    assert await scene.client.hgetall(P + "total") == before


async def let_go(scene: Scene, day: date) -> None:
    """As a week after the day was closed."""
    keys = [key async for key in scene.client.scan_iter(f"{P}*{day_name(day)}*")]
    await scene.client.delete(*keys)


async def test_a_closed_day_that_history_has_lost_long_after_its_details_have_gone_is_not_thrown_away(
    scene: Scene,
) -> None:
    await let_go(scene, FIRST)
    await scene.store.remove(manifest_name(FIRST, PROVINCE))
    with pytest.raises(HistoryError, match=f"{FIRST} is closed and was counted, but history lacks it"):
        await rebuild(scene).apply()
    await agrees(scene)


async def test_a_closed_day_on_which_there_were_only_bots_is_not_thrown_away_while_redis_has_its_details(
    scene: Scene,
) -> None:
    bots = LAST + DAY
    await scene.at(moment(bots, 23, 59))
    await count(scene.writer, scene.ledger, events_of(bots, 20, RANDOM), agent=Agent.BOT)
    await scene.at(moment(bots + 3 * DAY, 12))
    await scene.closing().catch_up()
    await scene.store.remove(manifest_name(bots, PROVINCE))
    with pytest.raises(HistoryError, match=f"{bots} is closed and was counted"):
        await rebuild(scene).apply()


async def test_a_closed_day_of_which_history_waits_for_corrections_alone_is_not_taken_for_a_lost_one(
    scene: Scene,
) -> None:
    await correct(scene.writer, scene.ledger, Kind.WATCH, moment(FIRST - 90 * DAY, 11), "lesson-1", 3)
    await scene.client.hincrby(P + "total", "views", 5)
    assert (await rebuild(scene).apply()).differences == ()
    await agrees(scene)


async def test_what_history_has_is_not_counted_again_after_redis_lost_the_closing_of_its_day(scene: Scene) -> None:
    """Nor booked as corrections, for a writer that was last heard for the first time long after the first closing."""
    await scene.client.set(P + "history_through", day_name(FIRST))
    await scene.client.hdel(P + "closed_at", day_name(FIRST + DAY))
    await scene.client.hset(P + "closed_at", mapping={"before": 1, day_name(FIRST): 1})
    assert (await rebuild(scene).apply()).differences == ()
    await count(scene.writer, Ledger(), events_of(FIRST + DAY, 40, RANDOM))
    assert scene.writer.flusher.state().in_history == 40
    await agrees(scene)
    assert (await rebuild(scene).check()).differences == ()


async def test_details_of_days_that_are_closed_because_history_has_them_go_in_time(scene: Scene) -> None:
    """A Redis that lost everything was told of them once more by the journals."""
    await scene.client.delete(P + "history_through")
    keys = [key async for key in scene.client.scan_iter(f"{P}*{day_name(FIRST)}*") if b":ud" not in key]
    for key in keys:
        await scene.client.persist(key)
    assert (await rebuild(scene).apply()).differences == ()
    assert len(keys) > 10
    for key in keys:
        assert 7 * 86_400 < await scene.client.ttl(key) <= 8 * 86_400, key


NOT_OF_RESOURCES = [("total", "visits"), ("countries", "FR views"), ("bots", "plays"), ("total", "first_day")]


@pytest.mark.parametrize(("key", "field"), NOT_OF_RESOURCES)
async def test_readers_see_what_was_put_right_before_the_next_event_comes(scene: Scene, key: str, field: str) -> None:
    right = await scene.client.hget(P + key, field)
    assert right is not None
    async with board(scene.url, wall=scene.wall) as reader:
        await scene.client.hset(P + key, field, day_name(FIRST - 9 * DAY) if field == "first_day" else int(right) + 5)
        wrong = await seen(reader)
        assert (await rebuild(scene).apply()).differences == ()
        assert await scene.client.hget(P + key, field) == right
        put_right = await seen(reader)
    async with board(scene.url, wall=scene.wall) as another:
        assert wrong != put_right == await seen(another)


async def seen(reader: Board) -> list[object]:
    """What a reader is answered that no single resource tells."""
    summary = await reader.summary()
    tables = [await reader.totals(Totals(by, None, Slice())) for by in (Dimension.COUNTRY, Dimension.AGENT)]
    return [summary.visits, summary.views_daily_average, *(table.rows for table in tables)]


async def test_details_that_redis_has_let_go_are_no_difference(scene: Scene) -> None:
    await let_go(scene, FIRST)
    assert (await rebuild(scene).check()).differences == ()
    assert total(scene.ledger.minutes.values()) != Figures()

"""Closed days at the door of the counts, while they are corrected: every figure agrees with the ledger at any moment.

A correction is counted at once and comes into history some time later. The tests read before, in between and after.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request

from edge import routes
from edge.appkeys import BOARD, EXPORTS, NODE
from edge.catalog_view import Lesson, Snapshot, Term
from edge.counters.board import Board
from edge.counters.closing import Closing
from edge.counters.event import Agent, Kind
from edge.counters.exported import DayTable, Exports
from edge.counters.history import Figures, History, Manifest, folder_of
from edge.counters.province_day import ProvinceDays
from edge.counters.rebuild import Rebuild, Report
from edge.counters.sink import open_client
from edge.problems import as_problems
from tests.support.broker import S3Address
from tests.support.counting import PROVINCE
from tests.support.history import (
    DAY,
    FIRST,
    RANDOM,
    RESOURCES,
    Scene,
    correct,
    count,
    count_a_day,
    events_of,
    moment,
    running,
    total,
)

EMPTY, LAST = FIRST + DAY, FIRST + 2 * DAY
LONG_AGO = date(2020, 1, 1)
SHOWN = ("visits", "views", "plays", "watch_seconds")


async def nothing() -> None:
    """Nothing happens."""


@dataclass(slots=True)
class Door:
    """The interface of a node, with a reader of its own. between: done once, when history is asked for a day
    after Redis was."""

    scene: Scene
    exports: Exports
    between: Callable[[], Awaitable[object]] = nothing
    client: TestClient[Request, Application] = field(init=False)

    async def day_table(self, day: date, province: str) -> DayTable | None:
        happens, self.between = self.between, nothing
        await happens()
        return await self.exports.day_table(day, province)

    async def read(self, path: str, status: int = 200) -> Any:
        async with self.client.get(f"/v1/counts/{path}") as answer:
            assert answer.status == status, await answer.text()
            return await answer.json(content_type=None)

    async def export(self, day: date, form: str = "csv") -> bytes:
        async with self.client.get(f"/v1/counts/export?day={day}&format={form}") as answer:
            assert answer.status == 200, await answer.text()
            return await answer.read()

    async def rows(self, dimension: str, day: date) -> dict[str, dict[str, Any]]:
        return {row["id"]: row for row in (await self.read(f"by/{dimension}?day={day}"))["by"]}

    async def point(self, metric: str, day: date, narrower: str = "") -> Any:
        """The day in a series by day."""
        found = await self.read(f"series?step=day&metric={metric}&from={day}&to={day}{narrower}")
        [one] = found["series"]
        return one[metric]

    async def agrees(self, day: date) -> None:
        """Every figure of the day is the ledger's: totals, provinces, countries, sections, rankings, series."""
        ledger, figures = self.scene.ledger, shown(self.scene.ledger.day(day))
        assert {metric: await self.point(metric, day) for metric in SHOWN} == figures
        for dimension, metrics in (("province", SHOWN), ("country", SHOWN), ("section", SHOWN[1:]), ("agent", SHOWN)):
            rows = await self.rows(dimension, day)
            wanted = {metric: figures[metric] for metric in metrics}
            people = {name: row for name, row in rows.items() if name != "bot"}
            assert {one: sum(row[one] for row in people.values()) for one in metrics} == pytest.approx(wanted)
        for metric in SHOWN[1:]:
            ranked = (await self.read(f"top?day={day}&metric={metric}"))["top"]
            wanted = {name: shown(of_resource(ledger.hours(day), name))[metric] for name in (*RESOURCES, "new")}
            found = {row["id"]: row[metric] for row in ranked if row[metric]}
            assert found == {name: n for name, n in wanted.items() if n}
            assert await self.point(metric, day, "&resource=lesson-1") == wanted["lesson-1"]
            assert await self.point(metric, day, "&section=special") == wanted["lesson-1"]
            french = total(one for (of, _, cc), one in ledger.minutes.items() if (of, cc) == (day, "FR"))
            assert await self.point(metric, day, "&country=FR") == shown(french)[metric]
            assert await self.point(metric, day, "&country=CN") == pytest.approx(
                figures[metric] - shown(french)[metric]
            )


def shown(figures: Figures) -> dict[str, float]:
    """As they are answered."""
    return {"visits": figures.visits, "views": figures.views, "plays": figures.plays} | {
        "watch_seconds": figures.watch_ms / 1000
    }


def of_resource(hours: dict[tuple[str, int | None], tuple[int, int, int]], resource: str) -> Figures:
    return total(Figures(0, *amounts) for (name, _), amounts in hours.items() if name == resource)


def catalog() -> Snapshot:
    lesson = Lesson("lesson-1", "special", "", "课", "lesson", {})
    return Snapshot("v1", {"lesson-1": lesson}, {}, {"special": Term("special", "special", "special")})


@pytest.fixture
async def scene(counters_url: str, s3: S3Address, s3_prefix: str, tmp_path: Path) -> AsyncIterator[Scene]:
    """Three closed days, on the second of which nothing was counted; and one that is open."""
    async with running(counters_url, s3, s3_prefix, tmp_path) as made:
        for number in (0, 2, 4):
            await count_a_day(made, number, 60)
        await made.at(moment(LAST + 2 * DAY, 12))
        assert [manifest.day for manifest in await made.closing().catch_up()] == [FIRST, LAST]
        yield made


@asynccontextmanager
async def opened(scene: Scene, name: str = "exports") -> AsyncIterator[Door]:
    """A worker that has not read anything yet."""
    async with AsyncExitStack() as stack:
        exports = Exports(scene.store, [ProvinceDays(scene.client, PROVINCE)], scene.tmp_path / name, wall=scene.wall)
        door = Door(scene, exports)
        redis = open_client(scene.url, repeats=1)
        board = Board(
            redis, (PROVINCE,), wall=scene.wall, every_s=0, catalog=catalog, history=door.day_table, timeout_s=5
        )
        stack.push_async_callback(board.close)
        app = Application(middlewares=[as_problems])
        app[NODE], app[BOARD], app[EXPORTS] = "test", board, exports
        routes.add_public(app, site_on=False, published=True)
        door.client = await stack.enter_async_context(TestClient(TestServer(app)))
        yield door


@pytest.fixture
async def door(scene: Scene) -> AsyncIterator[Door]:
    async with opened(scene) as made:
        yield made


async def let_go(scene: Scene, day: date) -> None:
    """As a week after the day was closed."""
    for pattern in (f"day:{day:%Y%m%d}*", f"h:{day:%Y%m%d}*", f"min:{day:%Y%m%d}"):
        if keys := [key async for key in scene.client.scan_iter("{44}:" + pattern)]:
            await scene.client.delete(*keys)


async def checked(scene: Scene, *, apply: bool = False) -> Report:
    days = ProvinceDays(scene.client, PROVINCE)
    one = Rebuild(days, scene.store, scene.tmp_path / "check", holder="a test", progress=lambda *_: None)
    return await (one.apply() if apply else one.check())


@pytest.mark.parametrize("day", [FIRST, EMPTY], ids=["in history", "empty"])
async def test_a_correction_is_in_every_figure_of_a_day_that_redis_let_go_at_once_and_once(
    scene: Scene, door: Door, day: date
) -> None:
    await let_go(scene, day)
    await door.agrees(day)
    made = [
        (Kind.VIEW, "lesson-1", 5),
        (Kind.VIEW, "lesson-1", -2),
        (Kind.PLAY, "new", 1000),
        (Kind.VISIT, "", 7),
        (Kind.WATCH, "lesson-2", 1500),
    ]
    for version, (kind, resource, amount) in enumerate(made):
        await correct(scene.writer, scene.ledger, kind, moment(day, 9, version), resource, amount)
        await door.agrees(day)
        if version != 1:  # two of them wait for the same export
            await scene.closing().catch_up()
            await door.agrees(day)
        async with opened(scene, "other") as other:
            await other.agrees(day)
    found = await History(scene.store).find(day, PROVINCE)
    assert found is not None
    assert len(found.manifest.corrections) == len(made)
    assert found.manifest.sums == scene.ledger.day(day)
    assert (await checked(scene)).differences == ()


@pytest.mark.parametrize("more", [False, True], ids=["one", "two"])
@pytest.mark.parametrize("day", [FIRST, EMPTY], ids=["in history", "empty"])
async def test_corrections_that_come_into_history_while_the_day_is_read_are_added_once(
    scene: Scene, door: Door, day: date, more: bool
) -> None:
    """Redis was asked when the first one waited; history answers when it has that, and another if there was one."""
    await let_go(scene, day)
    await correct(scene.writer, scene.ledger, Kind.VIEW, moment(day, 9), "lesson-1", 5)

    async def exported_and_corrected() -> None:
        await scene.closing().catch_up()
        if more:
            await correct(scene.writer, scene.ledger, Kind.VIEW, moment(day, 10), "lesson-1", 20)
            await scene.closing("another").catch_up()

    door.between = exported_and_corrected
    rows = await door.rows("province", day)
    assert (door.between, rows[PROVINCE]["views"]) == (nothing, scene.ledger.day(day).views)
    await door.agrees(day)


@pytest.mark.parametrize("day", [FIRST, EMPTY], ids=["in history", "empty"])
async def test_a_correction_that_comes_while_the_day_is_read_is_in_the_next_answer(
    scene: Scene, door: Door, day: date
) -> None:
    await let_go(scene, day)
    await correct(scene.writer, scene.ledger, Kind.VIEW, moment(day, 9), "lesson-1", 5)

    async def corrected() -> None:
        await correct(scene.writer, scene.ledger, Kind.VIEW, moment(day, 10), "lesson-1", 20)

    door.between = corrected
    await door.rows("province", day)
    await door.agrees(day)
    await scene.closing().catch_up()
    await door.agrees(day)


async def test_corrections_that_cancel_each_other_are_told_apart(scene: Scene, door: Door) -> None:
    await let_go(scene, FIRST)
    await door.agrees(FIRST)
    for resource, amount in (("lesson-1", 4), ("lesson-2", -4)):
        await correct(scene.writer, scene.ledger, Kind.VIEW, moment(FIRST, 9), resource, amount)
    await door.agrees(FIRST)
    await scene.closing().catch_up()
    await door.agrees(FIRST)


@pytest.mark.parametrize("corrected", [False, True])
async def test_a_day_that_history_has_lost_is_not_taken_for_what_corrections_make_of_it(
    scene: Scene, door: Door, corrected: bool
) -> None:
    await let_go(scene, FIRST)
    for name in await scene.store.ages(folder_of(FIRST, PROVINCE)):
        await scene.store.remove(name)
    if corrected:
        await correct(scene.writer, scene.ledger, Kind.VIEW, moment(FIRST, 9), "lesson-1", 5)
    await door.read(f"by/province?day={FIRST}", 410)
    await door.read(f"export?day={FIRST}", 503)
    assert await door.point("views", FIRST) == scene.ledger.day(FIRST).views


async def test_an_empty_day_comes_into_history_with_its_corrections_and_never_without(scene: Scene) -> None:
    stored: list[Manifest] = []

    class Watched(Closing):
        async def _publish(self, manifest: Manifest, etag: str | None) -> Any:
            stored.append(manifest)
            return await super()._publish(manifest, etag)

    made = [await correct(scene.writer, scene.ledger, Kind.PLAY, moment(EMPTY, 9), "lesson-1", n) for n in (5, 6)]
    days = ProvinceDays(scene.client, PROVINCE)
    closings = [Watched(days, scene.store, scene.tmp_path / name, wall=scene.wall) for name in ("one", "two")]
    for one in closings:
        await one.look()
    await asyncio.gather(*(one.catch_up() for one in closings))
    assert {(one.version, one.sums.plays, frozenset(one.corrections)) for one in stored} == {(1, 11, frozenset(made))}


async def test_what_nobody_did_on_a_closed_day_can_be_corrected_while_redis_has_its_details(
    scene: Scene, door: Door
) -> None:
    """There is no key of it, though there are others of the day; what is made goes together with them."""
    day = f"{LAST:%Y%m%d}"
    await scene.client.delete(f"{{44}}:day:{day}:plays", f"{{44}}:h:{day}03")
    scene.ledger.rows = {
        row: Figures(one.visits, one.views, 0, one.watch_ms) if row[0] == LAST else one
        for row, one in scene.ledger.rows.items()
        if (row[0], row[2]) != (LAST, 3)
    }
    await correct(scene.writer, scene.ledger, Kind.PLAY, moment(LAST, 3), "lesson-1", 5)
    top = (await door.read(f"top?day={LAST}&metric=plays"))["top"]
    assert {row["id"]: row["plays"] for row in top if row["plays"]} == {"lesson-1": 5}
    hours = await door.read(f"series?step=hour&metric=plays&resource=lesson-1&from={LAST}T03:00&to={LAST}T03:59")
    assert [point["plays"] for point in hours["series"]] == [5]
    for key in (f"day:{day}:plays", f"h:{day}03", f"day:{day}"):
        assert 7 * 86_400 < await scene.client.ttl("{44}:" + key) <= 8 * 86_400, key


async def test_a_day_of_nothing_but_bots_is_corrected_where_its_details_are(scene: Scene, door: Door) -> None:
    bots = LAST + DAY
    await count(scene.writer, scene.ledger, events_of(bots, 30, RANDOM), agent=Agent.BOT)
    await scene.at(moment(bots + 2 * DAY, 12))
    await scene.closing().catch_up()
    await correct(scene.writer, scene.ledger, Kind.VIEW, moment(bots, 9), "lesson-1", 5)
    await door.agrees(bots)
    assert (await checked(scene)).differences == ()
    await scene.closing().catch_up()
    assert (await checked(scene)).differences == ()
    await let_go(scene, bots)
    await door.agrees(bots)
    assert (await door.rows("agent", bots))["bot"]["views"] == scene.ledger.bots[bots].views


@pytest.mark.parametrize("corrected", [False, True])
async def test_bots_of_a_day_that_redis_let_go_are_answered_from_history(
    scene: Scene, door: Door, corrected: bool
) -> None:
    bots = LAST + DAY
    await count(scene.writer, scene.ledger, events_of(bots, 30, RANDOM), agent=Agent.BOT)
    await scene.at(moment(bots + 2 * DAY, 12))
    await scene.closing().catch_up()
    for day in (FIRST, EMPTY, bots):
        await let_go(scene, day)
        if corrected:
            await correct(scene.writer, scene.ledger, Kind.VIEW, moment(day, 9), "lesson-1", 5)
        rows = await door.rows("agent", day)
        for name, figures in (("human", scene.ledger.day(day)), ("bot", scene.ledger.bots.get(day, Figures()))):
            assert {metric: rows[name][metric] for metric in SHOWN} == shown(figures)
        await door.agrees(day)


async def test_a_closed_day_on_which_nothing_was_counted_is_exported_without_rows(scene: Scene, door: Door) -> None:
    assert await door.export(EMPTY) == b"day,province,resource,hour,visits,views,plays,watch_seconds\n"
    assert orjson.loads(await door.export(EMPTY, "json")) == []
    assert (await door.export(EMPTY, "parquet"))[:4] == b"PAR1"
    for day in (FIRST - DAY, LAST + 2 * DAY):
        said = await door.read(f"export?day={day}", 404)
        assert "allowed: a day that is over and in history" in said["detail"]


async def test_what_was_counted_and_is_not_in_history_is_never_exported_as_nothing(scene: Scene, door: Door) -> None:
    for day in (EMPTY, FIRST - DAY):
        await correct(scene.writer, scene.ledger, Kind.VIEW, moment(day, 9), "lesson-1", 5)
        async with door.client.get(f"/v1/counts/export?day={day}") as answer:
            assert (answer.status, "Retry-After" in answer.headers) == (503, True)
    await scene.closing().catch_up()
    for day in (EMPTY, FIRST - DAY):
        assert b",44,lesson-1,9,0,5,0,0.000\n" in await door.export(day)


async def test_a_correction_of_a_day_before_the_first_moves_no_first_day_and_comes_into_history(
    scene: Scene, door: Door
) -> None:
    before = (await door.read("summary"))["views_daily_average"]
    await correct(scene.writer, scene.ledger, Kind.VIEW, moment(LONG_AGO, 9), "lesson-1", 5)
    await door.agrees(LONG_AGO)
    assert await scene.client.hget("{44}:total", "first_day") == f"{FIRST:%Y%m%d}".encode()
    assert (await checked(scene)).differences == ()
    [manifest] = await scene.closing().catch_up()
    assert (manifest.day, manifest.sums) == (LONG_AGO, scene.ledger.day(LONG_AGO))
    await door.agrees(LONG_AGO)
    assert (await checked(scene)).differences == ()
    await correct(scene.writer, scene.ledger, Kind.VIEW, moment(LONG_AGO, 9), "lesson-1", -5)
    assert (await door.read("summary"))["views_daily_average"] == before


async def test_a_correction_of_a_day_before_the_first_comes_into_history_when_nothing_was_closed_before(
    counters_url: str, s3: S3Address, s3_prefix: str, tmp_path: Path
) -> None:
    async with running(counters_url, s3, s3_prefix, tmp_path) as scene, opened(scene) as door:
        await correct(scene.writer, scene.ledger, Kind.VIEW, moment(LONG_AGO, 9), "lesson-1", 5)
        await count_a_day(scene)
        await door.agrees(LONG_AGO)
        await scene.at(moment(FIRST + 3 * DAY, 12))
        assert [one.day for one in await scene.closing().catch_up()] == [FIRST, LONG_AGO]
        await door.agrees(LONG_AGO)
        await let_go(scene, LONG_AGO)
        await door.agrees(LONG_AGO)
        assert (await checked(scene)).differences == ()


@pytest.mark.parametrize("told", [f"{LONG_AGO:%Y%m%d}", f"{LAST:%Y%m%d}", None])
async def test_a_first_day_that_is_not_that_of_the_first_events_is_put_right(scene: Scene, told: str | None) -> None:
    await correct(scene.writer, scene.ledger, Kind.VIEW, moment(LONG_AGO, 9), "lesson-1", 5)
    await scene.closing().catch_up()
    if told is None:
        await scene.client.hdel("{44}:total", "first_day")
    else:
        await scene.client.hset("{44}:total", "first_day", told)
    [one] = (await checked(scene)).differences
    assert (one.key, one.field, one.redis, one.history) == (
        "total",
        "first_day",
        int(told or 0),
        int(f"{FIRST:%Y%m%d}"),
    )
    assert (await checked(scene, apply=True)).differences == ()
    assert await scene.client.hget("{44}:total", "first_day") == f"{FIRST:%Y%m%d}".encode()

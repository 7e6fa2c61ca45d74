"""`GET /v1/counts/…` as the ministry asks it: every figure is compared with a ledger of what was accepted."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request

from edge import routes
from edge.appkeys import BOARD, NODE, READ_TOKEN, SUMMARIES
from edge.bearer import ReadToken
from edge.broadcast import Broadcast
from edge.catalog_view import Lesson, Snapshot, Term
from edge.counters.board import Board, BoardError
from edge.counters.corrections import Corrections
from edge.counters.event import Agent, Place
from edge.counters.history import Figures
from edge.counters.question import Dimension, Metric, Series, Slice, Span, Step
from edge.counters.sink import open_client
from edge.handlers import counts
from edge.problems import as_problems
from tests.support.counting import Wall, Writer, event, writer
from tests.support.ledger import METRICS, UTC8, Counted, Ledger
from tests.support.loopguard import nothing_blocks_the_loop  # noqa: F401
from tests.support.waiting import eventually

Client = TestClient[Request, Application]

HUB = "00"
PROVINCES = ("44", "11", HUB)
TAGS = {
    "lesson-1": {"section": "curriculum", "grade": "grade-1", "subject": "music", "stage": "primary", "edition": "pep"},
    "lesson-2": {"section": "curriculum", "grade": "grade-2", "subject": "music", "stage": "primary"},
    "lesson-3": {"section": "special", "grade": "grade-1"},
}
RESOURCES = (*TAGS, "never-published")
KINDS = ("view", "view", "view", "play", "watch", "visit")


def catalog(version: str = "v1", tags: dict[str, dict[str, str]] = TAGS) -> Snapshot:
    lessons = {
        one: Lesson(
            one, of["section"], "", f"课 {one}", one, {d: Term(t, t, t) for d, t in of.items() if d != "section"}
        )
        for one, of in tags.items()
    }
    sections = {one: Term(one, one, one) for one in ("special", "curriculum", "reform")}
    return Snapshot(version, lessons, {}, sections)


@dataclass(slots=True)
class World:
    """Writers of several provinces, a reader of them all, and the ledger."""

    client: Client
    writers: dict[str, Writer]
    ledger: Ledger
    board: Board
    held: list[Snapshot | None] = field(default_factory=list)

    async def read(self, path: str, status: int = 200) -> Any:
        async with self.client.get(f"/v1/counts/{path}") as response:
            assert response.status == status, await response.text()
            return await response.json(content_type=None)

    async def take(
        self, events: list[dict[str, object]], province: str, country: str = "", agent: Agent = Agent.HUMAN
    ) -> None:
        home = "ZZ" if province == HUB else "CN"
        place = Place(province, country or home)
        receipt = await self.writers[province].intake.accept(orjson.dumps({"events": events}), place, agent)
        assert receipt.accepted == len(events)
        self.ledger.note(events, *place, bot=agent is Agent.BOT)

    async def settled(self) -> None:
        for one in self.writers.values():
            await one.settled()


def served(board: Board, token: bytes | None = None, *, ending: list[bool] | None = None) -> Application:
    app = Application(middlewares=[as_problems])
    app[NODE], app[BOARD], app[READ_TOKEN] = "test", board, ReadToken(token)
    over = ending if ending is not None else [False]
    app[SUMMARIES] = Broadcast(lambda: counts.summary_event(board), ending=lambda: over[0], every_s=0.05, most=3)
    app.on_shutdown.append(lambda _: app[SUMMARIES].stop())
    routes.add_public(app, site_on=False, published=True)
    return app


@pytest.fixture
async def world(tmp_path: Path, counters_url: str) -> AsyncIterator[World]:
    held: list[Snapshot | None] = [catalog()]
    async with AsyncExitStack() as stack:
        writers = {
            code: await stack.enter_async_context(
                writer(tmp_path / code, counters_url, node=f"edge-{code}", province=code)
            )
            for code in PROVINCES
        }
        client = open_client(counters_url, repeats=1)
        board = Board(client, PROVINCES, wall=Wall(), every_s=0, catalog=lambda: held[0])
        stack.push_async_callback(board.close)
        made = await stack.enter_async_context(TestClient(TestServer(served(board))))
        yield World(made, writers, Ledger(dict(TAGS)), board, held)


async def crowd(world: World, number: int = 400) -> None:
    """Events of all kinds, places and hours."""
    dice, now_ms = random.Random(number), int(time.time() * 1000)
    for province in PROVINCES:
        for country in ("", "SG") if province != "11" else ("",):
            events = []
            for _ in range(number // 5):
                kind = dice.choice(KINDS)
                members: dict[str, object] = {"viewer": f"v{dice.randrange(50)}"}
                if kind == "watch":
                    members["watched_s"] = dice.randrange(1, 120_000) / 1000
                at_ms = now_ms - dice.randrange(23 * 3600 * 1000)
                events.append(event(dice.choice(RESOURCES), kind, at_ms=at_ms, **members))
            await world.take(events, province, country)
    await world.take([event("lesson-1"), event("lesson-1", "play"), event(kind="visit")], "44", agent=Agent.BOT)
    await world.settled()


def days() -> list[str | None]:
    now = datetime.now(UTC8)
    return [None, now.date().isoformat(), (now - timedelta(days=1)).date().isoformat()]


def filters(**given: str | None) -> str:
    return "".join(f"&{name}={value}" for name, value in given.items() if value is not None)


def table(document: Any, metric: str) -> dict[str, float]:
    return {row["id"]: row[metric] for row in document["by"] if row[metric]}


async def test_all_rollups_are_those_of_the_ledger_and_agree_with_the_totals(world: World) -> None:
    await crowd(world)
    summary = await world.read("summary")
    for metric in METRICS:
        assert summary[metric] == world.ledger.sum(metric)
    assert (summary["provinces"], summary["countries"], summary["resources"]) == (2, 2, 4)
    tagged = ("section", "stage", "grade", "subject", "edition")
    for day in days():
        for province in (None, "44", "00"):
            for dimension in ("province", "country", *tagged):
                document = await world.read(f"by/{dimension}?{filters(day=day, province=province)[1:]}")
                for metric in METRICS if dimension in ("province", "country") else METRICS[1:]:
                    wanted = world.ledger.by(dimension, metric, day=day, province=province)
                    assert table(document, metric) == pytest.approx(wanted), (dimension, metric, day, province)
                    total = world.ledger.sum(metric, day=day, province=province)
                    assert sum(row[metric] for row in document["by"]) == pytest.approx(total)


async def test_filters_cut_across_each_other(world: World) -> None:
    await crowd(world)
    for day in days():
        found = await world.read(f"by/province?section=curriculum&grade=grade-2{filters(day=day)}")
        wanted = world.ledger.by("province", "views", section="curriculum", grade="grade-2", day=day)
        assert table(found, "views") == wanted
        found = await world.read(f"by/subject?province=44,11&section=special&metric=plays{filters(day=day)}")
        both = [world.ledger.by("subject", "plays", section="special", province=one, day=day) for one in ("44", "11")]
        assert sum(table(found, "plays").values()) == sum(sum(one.values()) for one in both)
        found = await world.read(f"by/province?country=SG&metric=watch_seconds{filters(day=day)}")
        assert table(found, "watch_seconds") == world.ledger.by("province", "watch_seconds", country="SG", day=day)


async def test_a_ranking_is_exact_and_its_pages_make_the_whole_of_it(world: World) -> None:
    await crowd(world)
    for dimension in ("resource", "province", "country", "section", "grade"):
        for metric in ("views", "watch_seconds"):
            wanted = world.ledger.by(dimension, metric)
            ranked = sorted(wanted.items(), key=lambda item: (-item[1], item[0]))
            path, rows = f"top?dimension={dimension}&metric={metric}&limit=2", []
            while path:
                document = await world.read(path)
                rows += [(row["id"], row[metric]) for row in document["top"] if row[metric]]
                path = (document["next"] or "").removeprefix("/v1/counts/")
            if dimension == "resource" and metric == "watch_seconds":
                assert dict(rows) == pytest.approx(wanted)
            else:
                assert rows == [(one, pytest.approx(amount)) for one, amount in ranked]
    found = await world.read("top?grade=grade-1&province=11&metric=plays")
    wanted = world.ledger.by("resource", "plays", grade="grade-1", province="11")
    assert {row["id"]: row["plays"] for row in found["top"] if row["plays"]} == wanted
    assert found["top"][0]["name"]["zh"].startswith("课 ")


@pytest.mark.parametrize("step", ["minute", "hour", "day"])
async def test_series_are_by_event_time_with_zeros_whatever_the_filter(world: World, step: str) -> None:
    await crowd(world)
    begin = datetime.now(UTC8) - timedelta(hours=23, minutes=30)
    cuts = {
        "minute": lambda at: at.replace(second=0, microsecond=0),
        "hour": lambda at: at.replace(minute=0, second=0, microsecond=0),
        "day": lambda at: at.replace(hour=0, minute=0, second=0, microsecond=0),
    }
    span = f"step={step}&from={begin.isoformat()}".replace("+", "%2B")
    for wanted in (
        {},
        {"province": "44"},
        {"country": "SG"},
        {"resource": "lesson-1"},
        {"section": "curriculum"},
        {"province": "11", "grade": "grade-1"},
    ):
        for metric in METRICS[1:]:
            document = await world.read(f"series?{span}&metric={metric}{filters(**wanted)}")
            points = {point["at"]: point[metric] for point in document["series"]}
            assert {at: n for at, n in points.items() if n} == pytest.approx(
                world.ledger.over(metric, cuts[step], **wanted)
            ), (wanted, metric)
            assert len(points) == len(document["series"])
    for day in days()[1:]:
        of_day = await world.read(f"series?step={step}&day={day}")
        assert of_day["series"] == (await world.read(f"series?step={step}&from={day}&to={day}"))["series"]
        assert sum(point["views"] for point in of_day["series"]) == world.ledger.sum("views", day=day)
    visits = await world.read(f"series?{span}&metric=visits")
    assert sum(point["visits"] for point in visits["series"]) == world.ledger.sum("visits")


async def test_bots_are_an_agent_of_their_own_and_in_no_other_figure(world: World) -> None:
    await crowd(world)
    document = await world.read("by/agent")
    rows = {row["id"]: row for row in document["by"]}
    assert (rows["bot"]["views"], rows["bot"]["plays"], rows["bot"]["visits"]) == (1, 1, 1)
    assert rows["human"]["views"] == world.ledger.sum("views")
    today = await world.read("by/agent?day=today&province=44&metric=views")
    assert {row["id"]: row["views"] for row in today["by"]}["bot"] == 1


async def test_where_provinces_are_listed_each_has_its_own_completeness(world: World) -> None:
    await world.take([event()], "44")
    await world.settled()
    document = await world.read("by/province")
    assert set(document["complete_through"]) == set(PROVINCES)
    assert all(row["complete_through"] == document["complete_through"][row["id"]] for row in document["by"])
    await world.writers["11"].flusher.abandon()
    stands = (await world.read("by/province"))["complete_through"]["11"]

    async def others_go_on() -> bool:
        through = (await world.read("by/province"))["complete_through"]
        return bool(through["44"] > stands and through["11"] == stands)

    await eventually(others_go_on)
    assert (await world.read("summary"))["complete_through"] == stands
    assert (await world.read("by/section?province=44"))["complete_through"] > stands


async def test_uniques_of_a_province_come_with_their_error(world: World) -> None:
    await world.take([event(viewer=f"v{n}") for n in range(200)], "44")
    await world.take([event(viewer="v1")], "11")
    await world.settled()
    for day in ("", "&day=today"):
        document = await world.read(f"by/province?metric=uniques{day}")
        found = {row["id"]: row["uniques"] for row in document["by"]}
        assert found["44"] == pytest.approx(200, rel=0.05)
        assert (found["11"], found["00"]) == (1, 0)
        assert document["standard_error"] == 0.0081
    long_ago = await world.read("by/province?metric=uniques&day=2026-01-01", 400)
    assert "known from" in long_ago["detail"]


async def test_a_new_catalog_moves_resources_and_without_one_all_are_unknown(world: World) -> None:
    await world.take([event("lesson-1"), event("lesson-3")], "44")
    await world.settled()
    first = await world.read("by/section?metric=views")
    assert first["catalog_version"] == "v1"
    assert {row["id"]: row["views"] for row in first["by"]} == {"special": 1, "curriculum": 1, "reform": 0}
    world.held[0] = catalog("v2", {"lesson-1": TAGS["lesson-3"]})
    second = await world.read("by/section?metric=views")
    assert second["catalog_version"] == "v2"
    assert table(second, "views") == {"special": 1, "unknown": 1}
    world.held[0] = None
    third = await world.read("by/section?metric=views")
    assert (third["catalog_version"], table(third, "views")) == (None, {"unknown": 2})


async def test_a_redis_that_was_emptied_or_went_back_is_read_anew(world: World, counters_url: str) -> None:
    await crowd(world)
    assert (await world.read("summary"))["views"] == world.ledger.sum("views")
    client = open_client(counters_url)
    before = {key: await client.dump(key) or b"" for key in await client.keys("*")}
    await world.take([event("lesson-1"), event("new-one")], "44")
    await world.settled()
    assert (await world.read("resources/new-one"))["views"] == 1
    for one in world.writers.values():
        await one.flusher.abandon()
    await client.flushdb()
    emptied = await world.read("summary")
    assert (emptied["views"], emptied["resources"], emptied["provinces"]) == (0, 0, 0)
    for key, value in before.items():
        await client.restore(key, 0, value)
    after = await world.read("summary")
    assert (after["views"], after["resources"]) == (world.ledger.sum("views") - 2, 4)
    assert (await world.read("resources/new-one"))["views"] == 0
    await client.aclose()


@pytest.mark.parametrize("step_s", [3600.0, -3600.0], ids=["ahead", "back"])
async def test_counts_that_cannot_be_read_stay_good_for_half_a_minute_whoever_sets_the_clock(
    counters_url: str, tmp_path: Path, step_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    wall, passed = Wall(), Wall()
    client = open_client(counters_url)
    board = Board(client, ("44",), wall=wall, monotonic=passed, every_s=0.01)
    async with writer(tmp_path, counters_url, province="44") as one:
        await one.accept(event())
        await one.settled()
    await eventually(lambda: views_are(board, 1))
    await client.set("{44}:trail", "of another type, so that every reading fails")
    await eventually(lambda: "counts not refreshed" in caplog.text)
    before = await board.summary()
    wall.ahead_s += step_s
    assert await board.summary() == before
    passed.ahead_s += 20
    assert await board.summary() == before
    passed.ahead_s += 11
    with pytest.raises(BoardError):
        await board.summary()
    await board.close()


async def views_are(board: Board, wanted: int) -> bool:
    return (await board.summary()).views == wanted


@dataclass(slots=True)
class Past:
    """What history has of a province's day, from the ledger."""

    resources: dict[str, tuple[int, int, int]]
    minutes: dict[tuple[int | None, str], Figures]
    bots: Figures
    corrections: tuple[str, ...] = ()


def past(ledger: Ledger, day: str, province: str) -> Past:
    views, plays, watched = (ledger.by("resource", metric, day=day, province=province) for metric in METRICS[1:])
    seen = {*views, *plays, *watched}
    resources = {r: (int(views.get(r, 0)), int(plays.get(r, 0)), round(watched.get(r, 0) * 1000)) for r in seen}
    minutes: dict[tuple[int | None, str], Figures] = {}
    for place, country in enumerate(("CN", "SG", "ZZ")):
        visits, *counts = (ledger.sum(metric, day=day, province=province, country=country) for metric in METRICS)
        minutes[place, country] = Figures(int(visits), int(counts[0]), int(counts[1]), round(counts[2] * 1000))
    bots = (ledger.sum(metric, bots=True, day=day, province=province) for metric in METRICS[:3])
    return Past(resources, minutes, Figures(*map(int, bots)))


async def let_go(counters_url: str, day: date) -> None:
    """As when history has had the day for a while."""
    client = open_client(counters_url)
    for code in PROVINCES:
        for pattern in ("day:{}*", "h:{}*", "min:{}"):
            if gone := await client.keys(f"{{{code}}}:" + pattern.format(f"{day:%Y%m%d}")):
                await client.delete(*gone)
        await client.set(f"{{{code}}}:history_through", f"{day:%Y%m%d}")
    await client.aclose()


def late_yesterday_ms() -> int:
    """A moment of the day before, in UTC+8, that is not yet a day ago."""
    now = time.time()
    midnight = now - (now + 8 * 3600) % 86_400
    return int(min(now - 86_400 + 60, midnight - 0.001) * 1000)


async def test_a_day_that_redis_has_let_go_is_answered_from_history_or_said_to_be_there(
    world: World, counters_url: str
) -> None:
    await crowd(world)
    almost_a_day_ago = late_yesterday_ms()
    for code in PROVINCES:
        await world.take([event("lesson-1", at_ms=almost_a_day_ago)], code)
    await world.take([event("lesson-1", at_ms=almost_a_day_ago)], "11", agent=Agent.BOT)
    await world.settled()
    day = (datetime.now(UTC8) - timedelta(days=1)).date()
    await let_go(counters_url, day)
    asked = ("by/section", "by/country", "top?limit=3", "by/agent", "series?step=hour", "series?step=day&grade=grade-1")
    for path in asked:
        narrow = f"from={day}&to={day}" if "series" in path else f"day={day}"
        said = await world.read(path + ("&" if "?" in path else "?") + narrow, 410)
        assert f"export?day={day}" in said["detail"]
    total = await world.read(f"series?step=day&from={day}&to={day}")
    assert total["series"][0]["views"] == world.ledger.sum("views", day=day.isoformat())

    async def remembered(asked: date, province: str) -> Past | None:
        return past(world.ledger, asked.isoformat(), province)

    board = Board(open_client(counters_url), PROVINCES, wall=Wall(), every_s=0, catalog=catalog, history=remembered)
    async with TestClient(TestServer(served(board))) as reader:
        remembering = World(reader, world.writers, world.ledger, board)
        for dimension in ("section", "country", "province"):
            for metric in METRICS[1:]:
                found = await remembering.read(f"by/{dimension}?day={day}")
                wanted = world.ledger.by(dimension, metric, day=day.isoformat())
                assert table(found, metric) == pytest.approx(wanted), (dimension, metric)
        agents = {row["id"]: row["views"] for row in (await remembering.read(f"by/agent?day={day}"))["by"]}
        assert agents == {"human": world.ledger.sum("views", day=day.isoformat()), "bot": 1}
        slices: tuple[dict[str, Any], ...] = ({"grade": "grade-1"}, {"country": "SG"}, {"resource": "lesson-1"})
        for chosen in (*slices, {"province": "11", "country": "CN"}):
            narrow = f"from={day}&to={day}&" + "&".join(f"{name}={value}" for name, value in chosen.items())
            for metric in METRICS[1:]:
                points = await remembering.read(f"series?step=day&metric={metric}&{narrow}")
                amount = world.ledger.sum(metric, day=day.isoformat(), **chosen)
                assert points["series"][0][metric] == pytest.approx(amount), (chosen, metric)
    await board.close()


@pytest.mark.parametrize(
    ("kind", "members", "metric"),
    [("visit", {}, "visits"), ("play", {}, "plays"), ("watch", {"watched_s": 1.5}, "watch_seconds")],
)
async def test_a_day_without_views_that_redis_has_let_go_is_not_zeros(
    world: World, counters_url: str, kind: str, members: dict[str, object], metric: str
) -> None:
    almost_a_day_ago = late_yesterday_ms()
    day = datetime.fromtimestamp(almost_a_day_ago / 1000, UTC8).date()
    assert {row["visits"] for row in (await world.read(f"by/province?day={day}"))["by"]} == {0}
    await world.take([event("lesson-1", kind, at_ms=almost_a_day_ago, **members)], "11")
    await world.settled()
    await let_go(counters_url, day)
    narrow = f"from={day}&to={day}&metric={metric}"
    for path in (f"by/province?day={day}", f"series?step=hour&{narrow}", f"series?step=day&country=CN&{narrow}"):
        said = await world.read(path, 410)
        assert f"export?day={day}" in said["detail"]
    total = await world.read(f"series?step=day&{narrow}")
    assert total["series"][0][metric] == world.ledger.sum(metric, day=day.isoformat())


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("summary?province=44", "province"),
        ("by/moon", "edition"),
        ("by/section?metrics=views", "metric"),
        ("by/section?metric=visits", "views, plays, watch_seconds"),
        ("by/section?metric=smiles", "watch_seconds"),
        ("by/section?day=29.11.2026", "2026-11-29"),
        ("by/section?day=2026-02-30", "2026-11-29"),
        ("by/section?province=45", "00, 11, 44"),
        ("by/section?country=CN", "province"),
        ("by/agent?section=special", "metric, day, province"),
        ("by/country?grade=grade-1", "province"),
        ("by/subject?metric=uniques", "province"),
        ("by/section?grade=" + "x" * 65, "64"),
        ("by/section?day=today&day=today", "once"),
        ("top?limit=1001", "1000"),
        ("top?offset=-1", "0"),
        ("top?metric=uniques", "province"),
        ("top?country=cn", "ISO 3166"),
        ("series?step=week", "minute, hour, day"),
        ("series?from=yesterday", "ISO 8601"),
        ("series?from=2026-11-29&to=2026-11-28", "before"),
        ("series?step=minute&from=2026-01-01", "3000"),
        ("series?metric=uniques", "views, plays, watch_seconds, visits"),
        ("series?metric=visits&section=special", "views, plays, watch_seconds"),
        ("series?step=minute&resource=a&from=2026-01-01&to=2026-01-01", "48 hours"),
        ("series?day=today&to=2026-11-29", "allowed: day, or from and to"),
        ("series?day=tomorrow", "today"),
        ("corrections?sort=up", "limit, offset, province"),
        ("stream?province=44", "none"),
        ("resources/a?fresh=1", "none"),
        ("resources?ids=a&limit=3", "ids"),
    ],
)
async def test_a_refusal_says_what_is_allowed(world: World, path: str, says: str) -> None:
    answer = await world.read(path, 400)
    assert says in answer["detail"]
    assert answer["status"] == 400


async def test_a_series_that_would_take_too_long_is_refused_with_what_is_allowed(world: World) -> None:
    answer = await world.read("series?step=hour&from=2026-06-01&to=2026-10-01", 400)
    assert "allowed: about" in answer["detail"]


async def test_a_correction_is_in_every_figure_and_listed_with_its_reason(world: World) -> None:
    await crowd(world)
    before = await world.read("series?step=hour&metric=watch_seconds&section=curriculum")
    at = datetime.now(UTC8) - timedelta(hours=2)
    entry = {
        "id": "c1",
        "kind": "watch",
        "resource": "lesson-1",
        "at": at.isoformat(),
        "amount": -1.5,
        "reason": "a test",
    }
    await Corrections(world.writers["44"].journal).accept(orjson.dumps(entry))
    await world.settled()
    world.ledger.entries.append(Counted("watch_seconds", -1.5, at, "lesson-1", "44", "CN", bot=False))
    after = await world.read("series?step=hour&metric=watch_seconds&section=curriculum")
    was, now = ({point["at"]: point["watch_seconds"] for point in one["series"]} for one in (before, after))
    assert {time: now[time] - was[time] for time in now if now[time] != was.get(time)} == {
        at.replace(minute=0, second=0, microsecond=0).isoformat(): pytest.approx(-1.5)
    }
    for dimension in ("province", "country", "grade"):
        found = table(await world.read(f"by/{dimension}?metric=watch_seconds"), "watch_seconds")
        assert found == pytest.approx(world.ledger.by(dimension, "watch_seconds"))
    document = await world.read("corrections?limit=1")
    [shown] = document["corrections"]
    assert datetime.fromisoformat(shown.pop("accepted_at")) <= datetime.now(UTC8)
    assert shown == {
        "id": "c1",
        "kind": "watch",
        "province": "44",
        "country": "CN",
        "resource": "lesson-1",
        "minute": at.replace(second=0, microsecond=0).isoformat(timespec="milliseconds"),
        "amount": -1.5,
        "reason": "a test",
    }
    assert (document["total"], document["next"]) == (1, None)


async def test_reading_may_need_a_token(world: World) -> None:
    async with TestClient(TestServer(served(world.board, b"secret"))) as client:
        for path in ("summary", "stream", "by/section", "resources/a", "corrections"):
            for field in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic secret"}):
                async with client.get(f"/v1/counts/{path}", headers=field) as refused:
                    assert refused.status == 401
                    assert refused.headers["WWW-Authenticate"].startswith("Bearer ")
                    assert refused.content_type == "application/problem+json"
        async with client.get("/v1/counts/summary", headers={"Authorization": "Bearer secret"}) as answer:
            assert answer.status == 200
            assert "Access-Control-Allow-Origin" not in answer.headers
    async with world.client.get("/v1/counts/summary") as answer:
        assert answer.headers["Access-Control-Allow-Origin"] == "*"


async def messages(client: Client, count: int) -> list[dict[str, Any]]:
    found = []
    async with client.get("/v1/counts/stream") as response:
        assert (response.status, response.content_type) == (200, "text/event-stream")
        async for line in response.content:
            if line.startswith(b"data: "):
                found.append(orjson.loads(line[6:]))
            if len(found) == count:
                break
    return found


async def test_the_stream_tells_the_summary_again_and_again(world: World) -> None:
    first = asyncio.create_task(messages(world.client, 3))
    second = await messages(world.client, 2)
    assert [set(one) for one in second] == [set(await world.read("summary"))] * 2
    times = [one["as_of"] for one in await first]
    assert times == sorted(times)
    assert len(set(times)) == 3


async def test_head_of_the_stream_is_its_head_at_once_and_takes_no_room(world: World) -> None:
    async with TestClient(TestServer(served(world.board))) as client:
        async with client.get("/v1/counts/stream") as followed:
            wanted = (followed.status, followed.content_type, followed.headers["Cache-Control"])
        for _ in range(5):
            async with client.head("/v1/counts/stream") as head:
                assert (head.status, head.content_type, head.headers["Cache-Control"]) == wanted
                assert await head.read() == b""
        async with client.head("/v1/counts/stream?province=44") as refused:
            assert refused.status == 400


async def test_the_stream_has_room_for_so_many_and_ends_whole_in_a_drain(world: World) -> None:
    ending = [False]
    async with TestClient(TestServer(served(world.board, ending=ending))) as client, AsyncExitStack() as stack:
        follow = [await stack.enter_async_context(client.get("/v1/counts/stream")) for _ in range(3)]
        for one in follow:
            await one.content.readuntil(b"data: ")
        async with client.get("/v1/counts/stream") as refused:
            assert refused.status == 503
            assert refused.headers["Retry-After"] == "1"
        ending[0] = True
        for one in follow:
            assert (await one.content.read()).endswith(b"\n\n")
            assert one.content.at_eof()


async def test_a_series_is_of_one_catalog_though_another_is_published_meanwhile(world: World) -> None:
    now_ms = int(time.time() * 1000)
    await world.take([event("lesson-1", at_ms=now_ms - hours * 3_600_000) for hours in (0, 23)], "44")
    await world.settled()
    sections = itertools.cycle([catalog("v1"), catalog("v2", {"lesson-1": TAGS["lesson-3"]})])
    board = Board(world.board._reading._client, PROVINCES, wall=Wall(), every_s=0, catalog=lambda: next(sections))
    try:
        today = datetime.now(UTC8).replace(hour=0, minute=0, second=0, microsecond=0)
        span = Span(Step.DAY, today - timedelta(days=2), today + timedelta(days=1))
        for _ in range(2):
            tags = ((Dimension.SECTION, "curriculum"),)
            points = await board.series(Series(Metric.VIEWS, span, Slice(tags=tags)))
            assert sum(points.values) == (2 if points.catalog == "v1" else 0)
    finally:
        await board._pulse.stop()

"""Closed days in object storage: exported, read back, corrected, exactly as they were counted."""

from __future__ import annotations

import asyncio
import csv
import io
import os
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from time import monotonic, time

import orjson
import pytest

from deploy.local.valkey import Valkey
from edge.counters.closing import Closing
from edge.counters.counting_day import day_name, moment_of
from edge.counters.event import Agent, Kind, Place
from edge.counters.exported import MOST_AT_ONCE, Exports
from edge.counters.exporter import Exporter
from edge.counters.history import (
    TABLES,
    Figures,
    History,
    HistoryError,
    Manifest,
    NoHistoryError,
    NotClosedError,
    digest_of,
)
from edge.counters.journal import Journal
from edge.counters.label import Home
from edge.counters.parquet import Format, Parquet
from edge.counters.province_day import DayChangedError, Look, ProvinceDays, final_ms
from edge.counters.rebuild import Rebuild, Report
from edge.counters.record import encode
from tests.support.broker import S3Address
from tests.support.counting import PROVINCE, writer
from tests.support.history import (
    DAY,
    FIRST,
    RANDOM,
    Ledger,
    Scene,
    applied,
    complete_past,
    correct,
    count,
    count_a_day,
    events_of,
    moment,
    running,
    set_clock,
)


@pytest.fixture
async def scene(counters_url: str, s3: S3Address, s3_prefix: str, tmp_path: Path) -> AsyncIterator[Scene]:
    async with running(counters_url, s3, s3_prefix, tmp_path) as made:
        yield made


async def agrees(scene: Scene, manifest: Manifest) -> None:
    """The objects of a day, read by DuckDB, are the ledger."""
    day, ledger = manifest.day, scene.ledger
    assert manifest.sums == ledger.day(day)
    assert manifest.bots == ledger.bots.get(day, Figures())
    paths = await scene.tables(manifest)
    with Parquet(paths["resources"].parent) as parquet:
        assert {row[:2]: row[2:] for row in parquet.hours(paths["resources"])} == ledger.hours(day)
        minutes = {row[:2]: Figures(*row[2:]) for row in parquet.minutes(paths["minutes"])}
        assert minutes == {(minute, cc): one for (of, minute, cc), one in ledger.minutes.items() if of == day}
        sketched = {row[0] for row in parquet.sketches(paths["sketches"])}
        assert sketched == {None} | {resource for of, resource, _ in ledger.rows if of == day}


class Interrupted(ProvinceDays):
    """A province of which something comes when one of its days is exported and about to be closed."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene.client, PROVINCE)
        self._scene = scene

    async def close(self, day: date, look: Look, keep_s: int) -> None:
        await count(self._scene.writer, self._scene.ledger, events_of(day, 5, RANDOM), agent=Agent.BOT)
        await super().close(day, look, keep_s)


async def checked(scene: Scene) -> Report:
    days = ProvinceDays(scene.client, PROVINCE)
    return await Rebuild(days, scene.store, scene.tmp_path / "check", holder="", progress=lambda *_: None).check()


async def test_a_day_is_closed_once_no_event_of_it_can_come_and_its_objects_are_what_was_counted(scene: Scene) -> None:
    await count_a_day(scene)
    assert await scene.closing().catch_up() == []
    await scene.at(moment(FIRST + 2 * DAY, 0, 14))
    assert await scene.closing().catch_up() == []
    await scene.at(moment(FIRST + 2 * DAY, 0, 16))
    (manifest,) = await scene.closing().catch_up()
    assert (manifest.day, manifest.version, manifest.province) == (FIRST, 1, PROVINCE)
    await agrees(scene, manifest)
    assert await scene.client.get("{44}:history_through") == f"{FIRST:%Y%m%d}".encode()
    assert await scene.closing().catch_up() == []


async def test_details_of_a_closed_day_go_after_a_week_and_its_sums_stay(scene: Scene) -> None:
    await count_a_day(scene)
    await scene.at(moment(FIRST + 3 * DAY, 12))
    await scene.closing().catch_up()
    day = f"{FIRST:%Y%m%d}"
    for key in (f"day:{day}", f"day:{day}:views", f"day:{day}:countries", f"min:{day}", f"day:{day}:bots"):
        assert 7 * 86_400 < await scene.client.ttl("{44}:" + key) <= 8 * 86_400, key
    hours = [key async for key in scene.client.scan_iter("{44}:h:*")]
    assert hours
    assert all([await scene.client.ttl(key) > 0 for key in hours])
    assert await scene.client.ttl("{44}:days:views") == await scene.client.ttl("{44}:total") == -1


async def test_an_event_of_a_closed_day_that_is_sent_again_is_not_counted_again(scene: Scene) -> None:
    await count_a_day(scene)
    await scene.at(moment(FIRST + 3 * DAY, 12))
    await scene.closing().catch_up()
    before = await scene.client.hgetall("{44}:total")
    await count(scene.writer, Ledger(), events_of(FIRST, 50, RANDOM))
    assert await scene.client.hgetall("{44}:total") == before


async def test_days_without_events_are_stepped_over(scene: Scene) -> None:
    await count_a_day(scene, 0)
    await count_a_day(scene, 3)
    await scene.at(moment(FIRST + 6 * DAY, 12))
    closed = await scene.closing().catch_up()
    assert [manifest.day for manifest in closed] == [FIRST, FIRST + 3 * DAY]
    assert await History(scene.store).days() == [FIRST, FIRST + 3 * DAY]
    assert await scene.client.get("{44}:history_through") == f"{FIRST + 4 * DAY:%Y%m%d}".encode()


async def test_a_day_of_nothing_but_bots_comes_into_history(scene: Scene) -> None:
    await scene.at(moment(FIRST, 23))
    await count(scene.writer, scene.ledger, events_of(FIRST, 30, RANDOM), agent=Agent.BOT)
    assert (await checked(scene)).differences == ()
    await count_a_day(scene, 1)
    await scene.at(moment(FIRST + 4 * DAY, 12))
    first, second = await scene.closing().catch_up()
    assert first.sums == Figures()
    assert (first.bots, second.bots) == (scene.ledger.bots[FIRST], scene.ledger.bots[FIRST + DAY])
    assert await scene.client.exists("{44}:days:bots") == 0
    assert (await checked(scene)).differences == ()


async def test_bots_that_come_between_the_export_of_a_day_and_its_closing_come_into_history(scene: Scene) -> None:
    await count_a_day(scene)
    await scene.at(moment(FIRST + 3 * DAY, 12))
    with pytest.raises(DayChangedError):
        await Closing(Interrupted(scene), scene.store, scene.tmp_path / "interrupted", wall=scene.wall).catch_up()
    (manifest,) = await scene.closing().catch_up()
    assert manifest.bots == scene.ledger.bots[FIRST]
    assert (await checked(scene)).differences == ()


async def test_exporters_at_the_same_time_end_with_one_and_the_same_day(scene: Scene) -> None:
    await count_a_day(scene)
    await scene.at(moment(FIRST + 3 * DAY, 12))
    done = await asyncio.gather(*(scene.closing(f"closing-{i}").catch_up() for i in range(3)))
    manifests = [manifest for one in done for manifest in one]
    assert manifests
    assert all(manifest == manifests[0] for manifest in manifests)
    await agrees(scene, manifests[0])
    assert len(await scene.store.ages(manifests[0].folder)) == 1 + len(TABLES)


async def test_a_new_redis_closes_nothing_while_a_node_may_still_be_cut_off_from_it(scene: Scene) -> None:
    await count_a_day(scene)
    await scene.at(moment(FIRST + 3 * DAY, 12))
    await scene.client.delete("{44}:history:born")
    assert await scene.closing().catch_up() == []
    await scene.at(moment(FIRST + 4 * DAY, 12))
    assert await scene.closing().catch_up() == []
    await scene.at(moment(FIRST + 4 * DAY, 14))
    assert [manifest.day for manifest in await scene.closing().catch_up()] == [FIRST]


async def test_a_clock_that_runs_ahead_closes_no_day_of_which_events_are_still_accepted(scene: Scene) -> None:
    """All of a node: that of its writers, and that of its exporter. Redis has one of its own."""
    await scene.at(time())
    await scene.at(time() + 3 * 86_400)
    await scene.closing().catch_up()
    through = (await ProvinceDays(scene.client, PROVINCE).standing()).through
    assert through is not None
    assert final_ms(through) <= time() * 1000
    set_clock(scene.wall, time())
    events = events_of(moment_of(time() - 86_400).date(), 50, RANDOM)
    await count(scene.writer, scene.ledger, events)
    assert scene.writer.flusher.state().in_history == 0
    assert int(await scene.client.hlen("{44}:corrections")) == 0
    found = await scene.client.hgetall("{44}:total")
    assert int(found[b"views"]) == sum(one.kind == Kind.VIEW for one in events)


async def test_redis_refuses_to_close_a_day_that_is_not_over_by_its_own_clock(scene: Scene) -> None:
    days, yesterday = ProvinceDays(scene.client, PROVINCE), moment_of(time() - 86_400).date()
    await scene.at(time())
    await count(scene.writer, scene.ledger, events_of(yesterday, 30, RANDOM))
    with pytest.raises(HistoryError, match=f"events of {day_name(yesterday)} may still come by this server's clock"):
        await days.close(yesterday, await days.look(yesterday), 60)
    assert (await days.standing()).through is None
    assert await scene.client.ttl("{44}:day:" + day_name(yesterday)) == -1
    over = moment_of(time() - 3 * 86_400).date()
    await days.close(over, await days.look(over), 60)
    assert (await days.standing()).through == over


async def test_a_correction_comes_into_history_once_redis_has_it_on_its_disk(
    own_counters: Valkey, s3: S3Address, s3_prefix: str, tmp_path: Path
) -> None:
    """Before, a Redis that goes back by some seconds may book what came late in other parts, and by other names."""
    async with running(own_counters.url, s3, s3_prefix, tmp_path) as scene:
        await count_a_day(scene)
        await scene.at(moment(FIRST + 3 * DAY, 12))
        await scene.closing().catch_up()
        await scene.client.config_set("appendfsync", "no")
        await correct(scene.writer, scene.ledger, Kind.VIEW, moment(FIRST, 11), "lesson-1", 5)
        assert await scene.closing().catch_up() == []
        await scene.client.config_set("appendfsync", "everysec")
        (second,) = await scene.closing().catch_up()
        assert (second.version, second.sums) == (2, scene.ledger.day(FIRST))
        await scene.client.config_set("appendonly", "no")
        await correct(scene.writer, scene.ledger, Kind.VIEW, moment(FIRST, 11), "lesson-1", 6)
        (third,) = await scene.closing().catch_up()
        assert (third.version, third.sums) == (3, scene.ledger.day(FIRST))


async def test_a_correction_that_redis_loses_before_it_is_on_disk_does_not_come_into_history(scene: Scene) -> None:
    class Lost(ProvinceDays):
        async def is_on_disk(self) -> bool:
            await scene.client.delete("{44}:corrections")
            return await super().is_on_disk()

    await count_a_day(scene)
    await scene.at(moment(FIRST + 3 * DAY, 12))
    await scene.closing().catch_up()
    await correct(scene.writer, scene.ledger, Kind.VIEW, moment(FIRST, 11), "lesson-1", 5)
    days = Lost(scene.client, PROVINCE)
    assert await Closing(days, scene.store, scene.tmp_path / "lost", wall=scene.wall).catch_up() == []


async def test_a_disk_that_takes_nothing_is_told_as_history_that_cannot_be_read(scene: Scene, tmp_path: Path) -> None:
    await count_a_day(scene)
    await scene.at(moment(FIRST + 3 * DAY, 12))
    await scene.closing().catch_up()
    (tmp_path / "full").touch()  # no directory can be made below a file
    days = [ProvinceDays(scene.client, PROVINCE)]
    exports = Exports(scene.store, days, tmp_path / "full/exports", wall=scene.wall)
    for _ in range(MOST_AT_ONCE + 1):
        with pytest.raises(HistoryError, match="can't be read on this node"):
            await exports.exported(FIRST, Format.CSV)
    with pytest.raises(HistoryError, match="can't be read on this node"):
        await exports.day_table(FIRST, PROVINCE)


async def test_what_history_has_is_not_written_over_with_something_else(scene: Scene) -> None:
    await count_a_day(scene)
    await scene.at(moment(FIRST + 3 * DAY, 12))
    (manifest,) = await scene.closing().catch_up()
    await scene.client.delete("{44}:history_through")
    await scene.client.hincrby("{44}:day:" + f"{FIRST:%Y%m%d}", "views", -1)
    with pytest.raises(HistoryError, match="counts rebuild"):
        await scene.closing().catch_up()
    found = await History(scene.store).find(FIRST, PROVINCE)
    assert found is not None
    assert found.manifest == manifest


async def test_a_day_whose_parts_do_not_add_up_is_not_exported(scene: Scene) -> None:
    await count_a_day(scene)
    await scene.client.zincrby("{44}:day:" + f"{FIRST:%Y%m%d}:views", 1, "lesson-1")
    await scene.at(moment(FIRST + 3 * DAY, 12))
    with pytest.raises(HistoryError, match="add up to"):
        await scene.closing().catch_up()
    assert await History(scene.store).find(FIRST, PROVINCE) is None


async def test_a_corrected_day_is_exported_again_with_the_correction(scene: Scene) -> None:
    early = await correct(scene.writer, scene.ledger, Kind.VIEW, moment(FIRST, 11), "lesson-1", -3)
    await count_a_day(scene)
    await scene.at(moment(FIRST + 3 * DAY, 12))
    (first,) = await scene.closing().catch_up()
    assert set(first.corrections) == {early}
    late = await correct(scene.writer, scene.ledger, Kind.PLAY, moment(FIRST, 11), "lesson-1", 1000)
    visits = await correct(scene.writer, scene.ledger, Kind.VISIT, moment(FIRST, 13, 5), "", 7)
    new = await correct(scene.writer, scene.ledger, Kind.WATCH, moment(FIRST, 13, 6), "lesson-new", 500)
    (second,) = await scene.closing().catch_up()
    assert (second.version, set(second.corrections)) == (2, {early, late, visits, new})
    assert second.sums == scene.ledger.day(FIRST)
    paths = await scene.tables(second)
    with Parquet(paths["resources"].parent) as parquet:
        assert {row[:2]: row[2:] for row in parquet.hours(paths["resources"])} == scene.ledger.hours(FIRST)
    assert await scene.closing().catch_up() == []


async def test_a_correction_of_a_day_on_which_nothing_was_counted_makes_that_day(scene: Scene) -> None:
    await count_a_day(scene)
    await scene.at(moment(FIRST + 5 * DAY, 12))
    await scene.closing().catch_up()
    made = await correct(scene.writer, scene.ledger, Kind.VIEW, moment(FIRST + DAY, 9), "lesson-1", 5)
    (manifest,) = await scene.closing().catch_up()
    assert (manifest.day, manifest.sums.views, set(manifest.corrections)) == (FIRST + DAY, 5, {made})


async def test_an_object_that_is_not_what_the_manifest_says_is_noticed(scene: Scene) -> None:
    await count_a_day(scene)
    await scene.at(moment(FIRST + 3 * DAY, 12))
    (manifest,) = await scene.closing().catch_up()
    other = scene.tmp_path / "other"
    other.write_bytes(b"PAR1 it is not")
    await scene.store.put(manifest.path("minutes"), other, digest_of(other))
    with pytest.raises(HistoryError, match="SHA-256 differs"):
        await scene.tables(manifest)
    await scene.store.remove(manifest.path("resources"))
    with pytest.raises(HistoryError, match="is missing"):
        await scene.tables(manifest)


async def test_the_manifest_is_json_that_anybody_can_read(scene: Scene) -> None:
    await count_a_day(scene)
    await scene.at(moment(FIRST + 3 * DAY, 12))
    (manifest,) = await scene.closing().catch_up()
    stored = await scene.store.read(f"counts/v1/day={FIRST.isoformat()}/province=44/manifest.json")
    assert stored is not None
    said = orjson.loads(stored.content)
    assert said["sums"] == scene.ledger.day(FIRST).document()
    assert sum(one["views"] for one in said["countries"].values()) == said["sums"]["views"]
    assert set(said["countries"]) == {"CN", "FR"}
    assert stored.content == manifest.encode()


async def test_a_journal_keeps_its_segments_until_their_days_are_in_history(scene: Scene) -> None:
    await count_a_day(scene)
    days = ProvinceDays(scene.client, PROVINCE)
    exporter = Exporter([days], scene.store, scene.tmp_path / "exporter", holder="a test", wall=scene.wall)
    journal = scene.writer.journal
    written_s = moment(FIRST, 23, 59)
    for segment in journal.view().segments:
        os.utime(segment.path, (written_s, written_s))

    async def release() -> int:
        await exporter.look()
        return await journal.release(journal.end, older_than_s=0.0, keep_from_ms=exporter.keep_from_ms())

    await scene.at(moment(FIRST + DAY, 12))
    assert await release() == 0
    await scene.at(moment(FIRST + 3 * DAY, 12))
    assert await release() > 0
    assert len(journal.view().segments) == 1


async def test_an_export_has_all_provinces_or_is_refused(scene: Scene, tmp_path: Path) -> None:
    await count_a_day(scene)
    days = [ProvinceDays(scene.client, code) for code in (PROVINCE, "31", "11")]
    exports = Exports(scene.store, days, tmp_path / "exports", wall=scene.wall)
    async with writer(tmp_path / "other", scene.url, province="31", wall=scene.wall) as other:
        shanghai = Ledger()
        await count(other, shanghai, events_of(FIRST, 40, RANDOM), province="31")
        closing = Closing(days[1], scene.store, tmp_path / "shanghai", wall=scene.wall)
        await closing.look()
        with pytest.raises(NotClosedError, match="is not over"):
            await exports.exported(FIRST, Format.CSV)
        await scene.at(moment(FIRST + 3 * DAY, 12))
        await scene.closing().catch_up()
        with pytest.raises(NotClosedError, match="not closed yet in province 31"):
            await exports.exported(FIRST, Format.CSV)
        await complete_past(scene.client, moment(FIRST + 3 * DAY, 12), "31")
        await closing.catch_up()
    pieces = [piece async for piece in await exports.exported(FIRST, Format.CSV)]
    rows = list(csv.DictReader(io.StringIO(b"".join(pieces).decode())))
    for code, ledger in ((PROVINCE, scene.ledger), ("31", shanghai)):
        assert sum(int(row["views"]) for row in rows if row["province"] == code) == ledger.day(FIRST).views
    with pytest.raises(NoHistoryError):
        await exports.exported(FIRST - DAY, Format.CSV)
    table = await exports.day_table(FIRST, "31")
    assert table is not None
    assert sum(amounts[0] for amounts in table.resources.values()) == shanghai.day(FIRST).views


async def test_no_more_exports_are_read_at_once_than_there_is_room_for(scene: Scene, tmp_path: Path) -> None:
    await count_a_day(scene)
    await scene.at(moment(FIRST + 3 * DAY, 12))
    await scene.closing().catch_up()
    days = [ProvinceDays(scene.client, PROVINCE)]
    exports = Exports(scene.store, days, tmp_path / "exports", wall=scene.wall)
    held = [await exports.exported(FIRST, Format.JSON) for _ in range(MOST_AT_ONCE)]
    with pytest.raises(HistoryError, match="are being read already"):
        await exports.exported(FIRST, Format.JSON)
    for one in held:
        await one.aclose()
    assert list((tmp_path / "exports").iterdir()) == []
    assert [piece async for piece in await exports.exported(FIRST, Format.JSON)]


@pytest.mark.parametrize("signed_off", [False, True], ids=["never heard of", "signed off before"])
async def test_events_of_a_closed_day_from_a_node_that_nobody_waited_for_come_into_history_as_corrections(
    scene: Scene, tmp_path: Path, signed_off: bool
) -> None:
    await count_a_day(scene)
    if signed_off:
        async with writer(tmp_path / "cut-off", scene.url, node="edge-9", wall=scene.wall) as early:
            assert await early.flusher.drain(5)
    home, bound = Home(PROVINCE, "edge-9/0"), 1 << 24
    away = await Journal.open(
        tmp_path / "cut-off/journal/0", home, wall=scene.wall, monotonic=monotonic, max_bytes=bound
    )
    events = events_of(FIRST, 60, RANDOM)
    stamp = away.stamp_ms()
    await away.append(encode(stamp, events, Place(PROVINCE, "CN")), stamp)
    await away.append(encode(stamp, events_of(FIRST, 20, RANDOM), Place(PROVINCE, "CN"), Agent.BOT), stamp)
    await away.close()
    await scene.at(moment(FIRST + 3 * DAY, 12))
    (first,) = await scene.closing().catch_up()
    async with writer(tmp_path / "cut-off", scene.url, node="edge-9", wall=scene.wall) as late:
        for one in events:
            scene.ledger.enter(one, Place(PROVINCE, "CN"), Agent.HUMAN)
        await applied(late)
    (second,) = await scene.closing().catch_up()
    assert first.sums != second.sums == scene.ledger.day(FIRST)
    paths = await scene.tables(second)
    with Parquet(paths["resources"].parent) as parquet:
        assert {row[:2]: row[2:] for row in parquet.hours(paths["resources"])} == scene.ledger.hours(FIRST)
    assert (await checked(scene)).differences == ()

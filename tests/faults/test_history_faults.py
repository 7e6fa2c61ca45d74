"""Closing a day under faults: exporters that are killed, storage that is away."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path

import pytest

from deploy.local.seaweed import SeaweedFS
from edge.assembly.bucket import BucketStore
from edge.assembly.history import Keeping
from edge.counters.closing import Closing
from edge.counters.event import Kind
from edge.counters.exported import Exports
from edge.counters.exporter import Exporter
from edge.counters.history import TABLES, History, Stored
from edge.counters.parquet import Parquet
from edge.counters.province_day import ProvinceDays
from origin.store import Location, Store
from tests.support.broker import S3Address
from tests.support.counting import PROVINCE
from tests.support.history import DAY, FIRST, Scene, bucket_store, correct, count_a_day, moment, running
from tests.support.waiting import eventually

NOW_S = moment(FIRST + 3 * DAY, 12)
MOST_STEPS = 40


@pytest.fixture
async def scene(counters_url: str, s3: S3Address, s3_prefix: str, tmp_path: Path) -> AsyncIterator[Scene]:
    """A day that is over and not closed yet."""
    async with running(counters_url, s3, s3_prefix, tmp_path) as made:
        await count_a_day(made, 0, 200)
        await made.at(NOW_S)
        yield made


async def export_and_die(scene: Scene, s3: S3Address, prefix: str, steps: int) -> int:
    """Run an exporter that kills itself after so many steps; its exit status."""
    told = {"url": scene.url, "prefix": prefix, "workplace": str(scene.tmp_path / "dying"), **asdict(s3)}
    argument = json.dumps(told | {"now_s": NOW_S, "steps": steps})
    child = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.support.dying_exporter", argument)
    return await child.wait()


async def is_exact(scene: Scene) -> None:
    found = await History(scene.store).find(FIRST, PROVINCE)
    assert found is not None
    assert found.manifest.sums == scene.ledger.day(FIRST)
    paths = await scene.tables(found.manifest)
    with Parquet(paths["resources"].parent) as parquet:
        assert {row[:2]: row[2:] for row in parquet.hours(paths["resources"])} == scene.ledger.hours(FIRST)


async def test_exporters_killed_after_each_step_leave_a_day_that_the_next_one_closes_exactly(
    scene: Scene, s3: S3Address, s3_prefix: str
) -> None:
    killed = 0
    for steps in range(1, MOST_STEPS):
        status = await export_and_die(scene, s3, s3_prefix, steps)
        if status == 0:
            break
        assert status == -signal.SIGKILL
        killed += 1
        assert await scene.client.get("{44}:history_through") is None
    assert killed >= 5
    assert await scene.closing().look() == []
    await is_exact(scene)
    manifest = await History(scene.store).find(FIRST, PROVINCE)
    assert manifest is not None
    assert len(await scene.store.ages(manifest.manifest.folder)) == 1 + len(TABLES)


async def test_exporters_killed_while_they_export_a_correction_leave_the_day_readable(
    scene: Scene, s3: S3Address, s3_prefix: str
) -> None:
    await scene.closing().catch_up()
    await correct(scene.writer, scene.ledger, Kind.VIEW, moment(FIRST, 11), "lesson-1", -3)
    killed = 0
    for steps in range(1, MOST_STEPS):
        if await export_and_die(scene, s3, s3_prefix, steps) == 0:
            break
        killed += 1
        found = await History(scene.store).find(FIRST, PROVINCE)
        assert found is not None
        await scene.tables(found.manifest)
    assert killed >= 5
    await is_exact(scene)


async def test_while_storage_is_away_nothing_is_let_go_and_the_day_is_closed_when_it_is_back(
    scene: Scene, own_s3: SeaweedFS
) -> None:
    store = bucket_store(S3Address.of(own_s3), "away")
    days = ProvinceDays(scene.client, PROVINCE)
    exporter = Exporter([days], store, scene.tmp_path / "exporter", holder="a test", wall=scene.wall)
    await own_s3.stop()
    await exporter.look()
    assert "storage" in exporter.state().last_error
    assert exporter.keep_from_ms() == 0
    assert await scene.client.get("{44}:history_through") is None
    assert await scene.client.ttl("{44}:day:" + f"{FIRST:%Y%m%d}") == -1
    await own_s3.start()

    async def closed() -> bool:
        await exporter.look()
        return exporter.state().through[PROVINCE] is not None

    await eventually(closed, 60.0)
    assert exporter.state().last_error == ""
    assert exporter.keep_from_ms() == int(moment(FIRST + DAY + DAY, 0) * 1000) - 60_000
    scene.store = store
    await is_exact(scene)


async def test_while_the_disk_is_full_nothing_is_let_go_and_the_day_is_closed_when_there_is_room(scene: Scene) -> None:
    full = scene.tmp_path / "full"
    full.touch()  # no directory can be made below a file
    days = [ProvinceDays(scene.client, PROVINCE), ProvinceDays(scene.client, "31")]
    exporter = Exporter(days, scene.store, full / "closing", holder="a test", wall=scene.wall)
    keeping = Keeping(exporter, Exports(scene.store, days, full / "reading", wall=scene.wall))
    await exporter.look()
    assert "province 44: [Errno" in keeping.check().detail
    assert not keeping.check().ok
    assert await scene.client.get("{44}:history_through") is None
    full.unlink()
    await exporter.look()
    assert keeping.check().ok
    await is_exact(scene)


async def test_an_exporter_outlives_its_bugs_and_says_so_until_they_are_gone(
    scene: Scene, s3: S3Address, s3_prefix: str
) -> None:
    broken = {"usable", "read"}

    class Broken(BucketStore):
        async def usable(self) -> bool:
            if "usable" in broken:
                raise KeyError("credentials")
            return await super().usable()

        async def read(self, name: str) -> Stored | None:
            if "read" in broken:
                raise KeyError("object")
            return await super().read(name)

    location = Location(s3.bucket, s3_prefix, s3.endpoint, s3.access_key, s3.secret_key)
    store, days = Broken(lambda: Store(location)), [ProvinceDays(scene.client, PROVINCE)]
    exporter = Exporter(days, store, scene.tmp_path / "exporter", holder="a test", wall=scene.wall, every_s=0.05)
    keeping = Keeping(exporter, Exports(store, days, scene.tmp_path / "reading", wall=scene.wall))
    exporter.start()
    await eventually(lambda: "credentials for the bucket" in keeping.check().detail)
    broken.remove("usable")
    await eventually(lambda: "province 44: a bug: KeyError('object')" in keeping.check().detail)
    assert not keeping.check().ok
    broken.remove("read")
    await eventually(lambda: exporter.state().through[PROVINCE] is not None and keeping.check().ok)
    await exporter.stop()
    await store.close()
    await is_exact(scene)


async def test_credentials_that_come_later_bring_closed_days_into_history(
    scene: Scene, s3: S3Address, s3_prefix: str
) -> None:
    looked, there = asyncio.Event(), False

    class Awaited(BucketStore):
        async def usable(self) -> bool:
            looked.set()
            return there

    location = Location(s3.bucket, s3_prefix, s3.endpoint, s3.access_key, s3.secret_key)
    store, days = Awaited(lambda: Store(location)), [ProvinceDays(scene.client, PROVINCE)]
    exporter = Exporter(days, store, scene.tmp_path / "exporter", holder="a test", wall=scene.wall, every_s=0.05)
    exporter.start()
    await looked.wait()
    await eventually(lambda: exporter.keep_from_ms() is None)  # nobody waits for a history that there is not
    there = True
    await eventually(lambda: exporter.state().through[PROVINCE] is not None)
    assert exporter.keep_from_ms() is not None
    await exporter.stop()
    await store.close()
    await is_exact(scene)


async def test_of_several_exporters_one_works_at_a_time_and_all_learn_how_far_history_is(scene: Scene) -> None:
    days = ProvinceDays(scene.client, PROVINCE)
    exporters = [
        Exporter([days], scene.store, scene.tmp_path / f"{i}", holder=f"number {i}", wall=scene.wall) for i in range(3)
    ]
    await asyncio.gather(*(one.look() for one in exporters))
    await asyncio.gather(*(one.look() for one in exporters))
    assert sum(one.state().closed for one in exporters) == 1
    assert len({one.keep_from_ms() for one in exporters}) == 1
    assert await scene.client.get("{44}:history:lease") is None
    assert isinstance(scene.closing(), Closing)
    await is_exact(scene)

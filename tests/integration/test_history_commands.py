"""Closed days through the door people use: a real node, its HTTP interface, and the commands."""

from __future__ import annotations

import asyncio
import csv
import errno
import io
import json
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from click.testing import CliRunner, Result

from config.provinces import PROVINCES
from edge.cli import main
from edge.counters.history import Figures, History, manifest_name
from edge.counters.parquet import Parquet
from edge.counters.past import Past, Progress, read_past
from edge.counters.province_day import ProvinceDays
from tests.conftest import StartEdge
from tests.support.broker import S3Address
from tests.support.counting import PROVINCE
from tests.support.edges import Edge
from tests.support.history import DAY, FIRST, Scene, count_a_day, moment, running, total
from tests.support.waiting import eventually

LAST = FIRST + DAY


@pytest.fixture
async def scene(counters_url: str, s3: S3Address, s3_prefix: str, tmp_path: Path) -> AsyncIterator[Scene]:
    """A closed day and one that is not closed."""
    async with running(counters_url, s3, s3_prefix, tmp_path) as made:
        await count_a_day(made, 0, 120)
        await count_a_day(made, 1, 120)
        await made.at(moment(FIRST + 2 * DAY, 12))
        assert [manifest.day for manifest in await made.closing().catch_up()] == [FIRST]
        yield made


@pytest.fixture
async def node(edge: StartEdge, scene: Scene, s3: S3Address, s3_prefix: str) -> Edge:
    return await edge(origin=f"s3://{s3.bucket}/{s3_prefix}", counters_redis=scene.url, province="44")


async def smartedu(*arguments: str, env: dict[str, str] | None = None) -> Result:
    """The command, in a thread: it has a loop of its own."""
    return await asyncio.to_thread(CliRunner().invoke, main, list(arguments), env=env)


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


async def test_a_closed_day_is_exported_the_same_as_csv_json_and_parquet(
    scene: Scene, node: Edge, tmp_path: Path
) -> None:
    outcomes = {}
    for form in ("csv", "json", "parquet"):
        target = tmp_path / f"day.{form}"
        asked = ("--url", node.url, "--day", FIRST.isoformat(), "--format", form, "--output", str(target))
        done = await smartedu("counts", "export", *asked)
        assert done.exit_code == 0, done.output
        reader = {"csv": "read_csv", "json": "read_json", "parquet": "read_parquet"}[form]
        with Parquet(tmp_path) as parquet:
            columns = "day::DATE::VARCHAR, province::INTEGER, nullif(resource, ''), hour::INTEGER, visits, views, plays"
            seconds = "watch_seconds::DECIMAL(18, 3)::VARCHAR"
            outcomes[form] = parquet._rows(" ".join(["SELECT", columns, ",", seconds, "FROM", f"{reader}('{target}')"]))
    assert outcomes["csv"] == outcomes["json"] == outcomes["parquet"]
    views = sum(row[5] for row in outcomes["csv"])
    visits = sum(row[4] for row in outcomes["csv"])
    assert (visits, views) == (scene.ledger.day(FIRST).visits, scene.ledger.day(FIRST).views)
    assert {(row[2], row[3]): row[5:7] for row in outcomes["csv"] if row[2]} == {
        place: amounts[:2] for place, amounts in scene.ledger.hours(FIRST).items()
    }


async def test_an_export_goes_to_standard_output_and_http_says_what_it_is(scene: Scene, node: Edge) -> None:
    done = await smartedu("counts", "export", "--url", node.url, "--day", FIRST.isoformat())
    rows = rows_of(done.stdout)
    assert sum(int(row["plays"]) for row in rows) == scene.ledger.day(FIRST).plays
    assert {row["province"] for row in rows} == {"44"}
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{node.url}/v1/counts/export?format=parquet&day={FIRST.isoformat()}") as answer,
    ):
        assert (answer.status, answer.content_type) == (200, "application/vnd.apache.parquet")
        assert (await answer.read())[:4] == b"PAR1"


async def test_a_day_that_is_not_closed_or_unknown_is_refused_with_the_reason(scene: Scene, node: Edge) -> None:
    for day, reason in ((LAST, "not closed yet in province 44"), (FIRST - timedelta(days=400), "nothing of")):
        done = await smartedu("counts", "export", "--url", node.url, "--day", day.isoformat())
        assert done.exit_code == 1
        assert reason in done.stderr


async def test_a_day_that_redis_has_let_go_is_answered_from_history(scene: Scene, node: Edge) -> None:
    keys = [key async for key in scene.client.scan_iter(f"{{44}}:*{FIRST:%Y%m%d}*")]
    await scene.client.delete(*keys)
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{node.url}/v1/counts/top?dimension=resource&metric=views&day={FIRST.isoformat()}") as answer,
    ):
        document = await answer.json()
    found = {one["id"]: one["views"] for one in document["top"] if one["views"]}
    by_resource: dict[str, int] = {}
    for (resource, _), amounts in scene.ledger.hours(FIRST).items():
        by_resource[str(resource)] = by_resource.get(str(resource), 0) + amounts[0]
    assert found == {resource: views for resource, views in by_resource.items() if views}


@pytest.mark.parametrize("step", ["minute", "hour"])
async def test_minutes_and_hours_of_a_day_that_redis_has_let_go_are_refused_with_the_address_of_its_export(
    scene: Scene, node: Edge, step: str
) -> None:
    asked = f"/v1/counts/series?metric=views&step={step}&from={FIRST}&to={FIRST}"
    async with aiohttp.ClientSession(node.url) as session:
        async with session.get(asked) as answer:
            points = (await answer.json())["series"]
            assert sum(point["views"] for point in points) == scene.ledger.day(FIRST).views
        await scene.client.delete(*[key async for key in scene.client.scan_iter(f"{{44}}:*{FIRST:%Y%m%d}*")])
        for narrower in ("", "&resource=lesson-1", "&country=CN"):
            async with session.get(asked + narrower) as answer:
                said = await answer.json(content_type=None)
                assert (answer.status, said["status"], answer.content_type) == (410, 410, "application/problem+json")
        found = re.search(r"/v1/counts/export\S*day=\d{4}-\d\d-\d\d", said["detail"])
        assert found, said["detail"]
        async with session.get(found[0]) as export:
            assert export.status == 200
            rows = rows_of(await export.text())
    assert sum(int(row["views"]) for row in rows) == scene.ledger.day(FIRST).views


async def test_a_node_without_a_bucket_for_history_says_so(edge: StartEdge, counters_url: str) -> None:
    node = await edge(counters_redis=counters_url, province="44", counts_history="off")
    done = await smartedu("counts", "export", "--url", node.url, "--day", FIRST.isoformat())
    assert done.exit_code == 1
    assert "no history" in done.stderr


async def test_rebuild_tells_a_difference_and_puts_it_right(
    scene: Scene, s3: S3Address, s3_prefix: str, tmp_path: Path
) -> None:
    where = ("--counters-redis", scene.url, "--origin", f"s3://{s3.bucket}/{s3_prefix}", "--s3-endpoint", s3.endpoint)
    asked = ("counts", "rebuild", "--province", "44", *where)
    env = s3.environment | {"SMARTEDU_STATE": str(tmp_path)}
    done = await smartedu(*asked, env=env)
    assert (done.exit_code, "no difference" in done.stdout) == (0, True), done.output
    await scene.client.hincrby("{44}:total", "views", 7)
    right = total(scene.ledger.minutes.values()).views
    done = await smartedu(*asked, env=env)
    assert done.exit_code == 1
    assert all(text in done.stdout for text in ("total", "views", str(right), str(right + 7)))
    done = await smartedu(*asked, "--json", env=env)
    (said,) = json.loads(done.stdout)
    assert said["differences"] == [
        {"key": "{44}:total", "field": "views", "redis": right + 7, "history": right, "remedy": "adjust"}
    ]
    assert (await smartedu(*asked, "--apply", env=env)).exit_code == 0
    assert int(await scene.client.hget("{44}:total", "views") or 0) == right
    assert scene.ledger.day(FIRST) != Figures()


@pytest.fixture
async def hub(scene: Scene, s3: S3Address, s3_prefix: str, tmp_path: Path) -> tuple[str, ...]:
    """`counts rebuild` with the configuration of a node that serves all provinces."""
    config = tmp_path / "hub.toml"
    config.write_text(
        f'counters_redis = "{scene.url}"\norigin = "s3://{s3.bucket}/{s3_prefix}"\ns3_endpoint = "{s3.endpoint}"\n'
    )
    return "counts", "rebuild", "--config", str(config)


def hub_environment(s3: S3Address, tmp_path: Path) -> dict[str, str]:
    return s3.environment | {"SMARTEDU_STATE": str(tmp_path)}


async def test_rebuild_does_every_province_that_the_node_serves(
    scene: Scene, hub: tuple[str, ...], s3: S3Address, tmp_path: Path
) -> None:
    env = hub_environment(s3, tmp_path)
    done = await smartedu(*hub, env=env)
    assert done.exit_code == 0, done.output
    for code, name in PROVINCES.items():
        assert f"province {code} ({name}): {int(code == PROVINCE)} closed days" in done.stdout
    assert done.stdout.endswith("35 provinces: 35 without a difference\n")
    for code in ("11", PROVINCE):
        await scene.client.hincrby(f"{{{code}}}:total", "views", 7)
    done = await smartedu(*hub, env=env)
    assert done.exit_code == 1
    assert done.stdout.endswith("35 provinces: 33 without a difference, 2 with (11, 44)\n")
    done = await smartedu(*hub, "--apply", "--json", env=env)
    assert done.exit_code == 0, done.output
    assert [(one["province"], one["differences"]) for one in json.loads(done.stdout)] == [
        (code, []) for code in PROVINCES
    ]
    assert int(await scene.client.hget("{11}:total", "views") or 0) == 0
    right = total(scene.ledger.minutes.values()).views
    assert int(await scene.client.hget("{44}:total", "views") or 0) == right


async def test_a_province_that_cannot_be_compared_is_told_and_keeps_no_other_from_being_put_right(
    scene: Scene, hub: tuple[str, ...], s3: S3Address, tmp_path: Path
) -> None:
    env = hub_environment(s3, tmp_path)
    await scene.store.put_if(manifest_name(FIRST, "31"), b"{}", None)
    await scene.client.hincrby("{44}:total", "views", 7)
    done = await smartedu(*hub, "--apply", env=env)
    assert done.exit_code == 1
    assert "Error: province 31: counts/v1/day=" in done.stderr
    assert "province 31 (" not in done.stdout
    assert done.stdout.endswith("35 provinces: 34 without a difference, 1 failed (31)\n")
    assert int(await scene.client.hget("{44}:total", "views") or 0) == total(scene.ledger.minutes.values()).views
    done = await smartedu(*hub, "--province", "31", "--province", "44", "--province", "31", "--json", env=env)
    assert done.exit_code == 1
    failed, compared = json.loads(done.stdout)
    assert (failed["province"], "is no manifest" in failed["error"]) == ("31", True)
    assert (compared["province"], compared["differences"]) == ("44", [])
    assert "Error: province 31" in done.stderr


async def test_a_province_for_which_there_is_no_room_on_disk_keeps_no_other_from_being_put_right(
    scene: Scene, hub: tuple[str, ...], s3: S3Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def with_little_room(history: History, province: str, workplace: Path, progress: Progress) -> Past:
        if province == "31":
            raise OSError(errno.ENOSPC, "No space left on device")
        return await read_past(history, province, workplace, progress)

    monkeypatch.setattr("edge.counters.rebuild.read_past", with_little_room)
    await scene.client.hincrby("{44}:total", "views", 7)
    asked = ("--province", "31", "--province", "44", "--apply", "--json")
    done = await smartedu(*hub, *asked, env=hub_environment(s3, tmp_path))
    assert done.exit_code == 1, done.output
    failed, put_right = json.loads(done.stdout)
    assert (failed["province"], "No space left" in failed["error"]) == ("31", True)
    assert (put_right["province"], put_right["differences"]) == ("44", [])


async def test_a_province_that_somebody_else_works_on_is_told_by_its_name_once(
    scene: Scene, hub: tuple[str, ...], s3: S3Address, tmp_path: Path
) -> None:
    days = ProvinceDays(scene.client, PROVINCE)
    assert await days.take_lease("another", 60)
    assert await days.take_lease("another", 60), "the answer to its first try may have been lost"
    assert not await days.take_lease("somebody else", 60)
    done = await smartedu(*hub, "--province", "44", "--apply", env=hub_environment(s3, tmp_path))
    assert (done.exit_code, done.stdout) == (1, "")
    assert "Error: province 44: somebody else works on its history" in done.stderr


async def test_rebuild_without_a_bucket_or_a_redis_says_what_is_missing(tmp_path: Path, counters_url: str) -> None:
    env = {"SMARTEDU_STATE": str(tmp_path)}
    done = await smartedu("counts", "rebuild", env=env)
    assert (done.exit_code, "--counters-redis" in done.stderr) == (2, True)
    done = await smartedu("counts", "rebuild", "--counters-redis", counters_url, env=env)
    assert (done.exit_code, "--origin s3://bucket" in done.stderr) == (2, True)


async def test_a_resource_may_be_called_like_a_command(scene: Scene, node: Edge) -> None:
    done = await smartedu("counts", "--url", node.url, "--json", "--", "export")
    assert json.loads(done.stdout)["resources"][0]["id"] == "export"
    assert "rebuild" in (await smartedu("counts", "--help")).stdout


async def test_a_node_closes_days_by_itself(edge: StartEdge, scene: Scene, s3: S3Address, s3_prefix: str) -> None:
    """The scene's days lie in the past: a real node, whose clock is the machine's, finds the second one over."""
    await scene.at(moment(LAST + 3 * DAY, 1))
    node = await edge(origin=f"s3://{s3.bucket}/{s3_prefix}", counters_redis=scene.url, province="44", workers=2)

    async def closed() -> bool:
        through = (await ProvinceDays(scene.client, PROVINCE).standing()).through
        return through is not None and through >= LAST

    await eventually(closed, 30.0)
    asked = ("--url", node.url, "--day", LAST.isoformat())
    rows = rows_of((await smartedu("counts", "export", *asked)).stdout)
    assert sum(int(row["views"]) for row in rows) == scene.ledger.day(LAST).views
    async with aiohttp.ClientSession() as session, session.get(f"{node.admin_url}/readyz") as answer:
        assert (await answer.json())["checks"]["history"]["ok"]

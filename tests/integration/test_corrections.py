"""Corrections: booked at their minute in every roll-up, once for ever."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from edge.admin_token import AdminToken
from edge.appkeys import ADMIN_TOKEN, CORRECTIONS
from edge.counters.corrections import Booked, Corrections
from edge.counters.sink import Client, open_client
from edge.handlers.corrections import post_correction
from edge.problems import as_problems
from tests.support.counting import PROVINCE, Writer, event, writer
from tests.support.loopguard import nothing_blocks_the_loop  # noqa: F401
from tests.support.rollups import Rollups
from tests.support.waiting import eventually

NOW_MS = int(time.time() * 1000)
HOUR_MS = 3_600_000


@pytest.fixture
async def client(counters_url: str) -> AsyncIterator[Client]:
    one = open_client(counters_url)
    yield one
    await one.aclose()


@pytest.fixture
def rollups(client: Client) -> Rollups:
    return Rollups(client, PROVINCE)


async def correct(one: Writer, name: str, amount: float, **members: object) -> None:
    given = {
        "id": name,
        "kind": "view",
        "resource": "lesson-1",
        "at": NOW_MS,
        "amount": amount,
        "reason": "a test",
        **members,
    }
    await Corrections(one.journal).accept(orjson.dumps({key: value for key, value in given.items() if value != ""}))


async def test_a_correction_is_booked_in_every_rollup(
    tmp_path: Path, counters_url: str, client: Client, rollups: Rollups
) -> None:
    async with writer(tmp_path, counters_url) as one:
        await one.accept(event(), event(), event(at_ms=NOW_MS - HOUR_MS), event(kind="visit"))
        await correct(one, "c-1", -2, at=NOW_MS - HOUR_MS)
        await correct(one, "c-2", 5.5, kind="watch", resource="lesson-2")
        await correct(one, "c-3", 10, kind="visit", resource="")
        await one.settled()
    assert await rollups.total() == {"views": 1, "watch_ms": 5_500, "visits": 11}
    assert await rollups.by_resource("views") == {"lesson-1": 1, "lesson-2": 0}
    assert await rollups.disagreements() == []
    found: Any = await client.hgetall("{44}:corrections")
    entry = orjson.loads(found[b"c-1"])
    assert (entry["kind"], entry["amount"], entry["reason"]) == ("view", -2, "a test")
    assert await client.zscore("{44}:corrections:at", "c-1") == entry["at"]


async def test_a_correction_counts_once_for_ever(
    tmp_path: Path, counters_url: str, client: Client, rollups: Rollups
) -> None:
    async with writer(tmp_path / "a", counters_url, node="a") as one:
        await correct(one, "c-1", -2)
        await correct(one, "c-1", -2)
        await one.settled()
    for key in await client.keys("{44}:seen*"):
        await client.delete(key)
    async with writer(tmp_path / "b", counters_url, node="b") as other:
        await correct(other, "c-1", -7)
        await other.settled()
    assert await rollups.total() == {"views": -2}
    assert await rollups.disagreements() == []


async def test_a_redis_that_forgot_a_correction_is_told_again(
    tmp_path: Path, counters_url: str, client: Client, rollups: Rollups
) -> None:
    async with writer(tmp_path, counters_url) as one:
        await one.accept(event(), event(), event())
        await correct(one, "c-1", -2)
        await one.settled()
        await client.flushdb()
        await eventually(lambda: one.flusher.state().replayed_bytes > 0)
        await one.settled()
    assert await rollups.total() == {"views": 1}


async def test_of_a_day_that_has_gone_to_history_the_lasting_counts_are_corrected(
    tmp_path: Path, counters_url: str, client: Client, rollups: Rollups
) -> None:
    """Its details have been let go of: none of them comes back with only the correction in it."""
    day = time.strftime("%Y%m%d", time.gmtime(NOW_MS / 1000 + 8 * 3600 - 2 * 86_400))
    async with writer(tmp_path, counters_url) as one:
        await one.accept(event())
        await client.set("{44}:history_through", day)
        await correct(one, "c-1", -1, at=NOW_MS - 48 * HOUR_MS)
        await one.settled()
    assert await rollups.total() == {"views": 0}
    assert await client.zscore("{44}:days:views", day) == -1
    assert await client.keys(f"{{44}}:*:{day}*") == []


@asynccontextmanager
async def admin(
    one: Writer | None, token: bytes | None = None, *, redis: Client | None = None
) -> AsyncIterator[TestClient[Any, Any]]:
    """The admin listener of a node that counts, or of one that does not. redis: where it asks what is booked."""
    application = web.Application(middlewares=[as_problems])
    application[ADMIN_TOKEN] = AdminToken(token)
    if one is not None:
        application[CORRECTIONS] = Corrections(one.journal, Booked(redis) if redis is not None else None)
    application.router.add_route("POST", "/counts/corrections", post_correction)
    async with TestClient(TestServer(application)) as asker:
        yield asker


GIVEN = {"id": "c-9", "kind": "view", "resource": "lesson-1", "at": NOW_MS, "amount": 3, "reason": "a test"}


async def test_an_operator_hears_that_a_correction_is_taken_once_it_is_on_disk(
    tmp_path: Path, counters_url: str, rollups: Rollups
) -> None:
    async with writer(tmp_path, counters_url) as one, admin(one, b"secret") as asker:
        assert (await asker.post("/counts/corrections", json=GIVEN)).status == 401
        assert one.journal.end == 0
        answer = await asker.post("/counts/corrections", json=GIVEN, headers={"Authorization": "Bearer secret"})
        assert (answer.status, await answer.json()) == (
            202,
            {"id": "c-9", "province": "44", "accepted": True, "known": False},
        )
        assert one.journal.end > 0
        await one.settled()
    assert await rollups.total() == {"views": 3}


@pytest.mark.parametrize(
    ("change", "said"),
    [({"amount": 0}, "amount: "), ({"province": "43"}, "province: this node takes no events of that province: 43")],
)
async def test_a_wrong_correction_is_refused_with_what_is_wrong(
    tmp_path: Path, counters_url: str, change: dict[str, object], said: str
) -> None:
    async with writer(tmp_path, counters_url) as one, admin(one) as asker:
        answer = await asker.post("/counts/corrections", json=GIVEN | change)
        assert answer.status == 400
        assert (await answer.json())["detail"].startswith(said)
        assert one.journal.end == 0


async def test_a_node_that_counts_nothing_takes_no_correction(tmp_path: Path, counters_url: str) -> None:
    async with admin(None) as asker:
        assert (await asker.post("/counts/corrections", json=GIVEN)).status == 503
    async with writer(tmp_path, counters_url) as one, admin(one) as asker:
        await one.journal.close()
        assert (await asker.post("/counts/corrections", json=GIVEN)).status == 503


async def test_an_id_that_stands_for_another_correction_is_refused_with_what_is_booked(
    tmp_path: Path, counters_url: str, client: Client, rollups: Rollups
) -> None:
    async with writer(tmp_path, counters_url) as one, admin(one, redis=client) as asker:
        assert (await asker.post("/counts/corrections", json=GIVEN)).status == 202
        end = one.journal.end
        for change in ({"amount": -7}, {"kind": "play"}, {"resource": "lesson-2"}, {"reason": "another"}):
            answer = await asker.post("/counts/corrections", json=GIVEN | change)
            assert (answer.status, answer.content_type) == (409, "application/problem+json")
            said = await answer.json(content_type=None)
            assert said["detail"].startswith("id: c-9 is booked in province 44 already, as view lesson-1 3 ")
            booked = said["booked"]
            assert (booked["id"], booked["kind"], booked["amount"], booked["reason"]) == ("c-9", "view", 3, "a test")
        assert one.journal.end == end
        again = await asker.post("/counts/corrections", json=GIVEN)
        assert (again.status, (await again.json())["known"]) == (202, True)
        await one.settled()
    assert await rollups.total() == {"views": 3}


async def test_of_two_corrections_under_one_id_at_the_same_time_the_one_that_is_passed_over_hears_of_it(
    tmp_path: Path, counters_url: str, client: Client, rollups: Rollups
) -> None:
    async with writer(tmp_path, counters_url) as one, admin(one, redis=client) as asker:
        bodies = [GIVEN | {"amount": amount} for amount in (3, -7)]
        answers = await asyncio.gather(*(asker.post("/counts/corrections", json=body) for body in bodies))
        assert sorted(answer.status for answer in answers) == [202, 409]
        taken = next(body for body, answer in zip(bodies, answers, strict=True) if answer.status == 202)
    assert await rollups.total() == {"views": taken["amount"]}


async def test_while_redis_cannot_be_asked_a_correction_is_taken_and_booked_once(
    tmp_path: Path, counters_url: str, rollups: Rollups
) -> None:
    nobody = open_client("redis://127.0.0.1:1")
    async with writer(tmp_path, counters_url) as one, admin(one, redis=nobody) as asker:
        for amount in (3, -7):
            answer = await asker.post("/counts/corrections", json=GIVEN | {"amount": amount})
            assert (answer.status, (await answer.json())["known"]) == (202, False)
        await one.settled()
    await nobody.aclose()
    assert await rollups.total() == {"views": 3}


async def test_a_correction_that_is_not_booked_soon_is_taken_all_the_same(
    tmp_path: Path, counters_url: str, client: Client
) -> None:
    async with writer(tmp_path, counters_url) as one, admin(one, redis=client) as asker:
        await one.flusher.abandon()
        answer = await asker.post("/counts/corrections", json=GIVEN)
        assert (answer.status, (await answer.json())["known"]) == (202, False)

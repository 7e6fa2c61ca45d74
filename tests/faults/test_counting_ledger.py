"""A ledger of what was acknowledged, kept by clients that repeat until they get an answer, against what was counted."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from deploy.local.valkey import Valkey
from tests.conftest import StartEdge
from tests.faults.ledger.torment import Plan, torment
from tests.support.counting import ANY_RATE, board, event
from tests.support.waiting import eventually

RESOURCES = [f"lesson-{number:02d}" for number in range(12)]


class Ledger:
    """What the node has answered for."""

    def __init__(self) -> None:
        self.views: Counter[str] = Counter()
        self.watched_s: Counter[str] = Counter()
        self.answers = 0
        self.repeats = 0

    def enter(self, events: list[dict[str, object]]) -> None:
        for one in events:
            resource = str(one["resource"])
            if one["kind"] == "view":
                self.views[resource] += 1
            else:
                self.watched_s[resource] += int(str(one["watched_s"]))
        self.answers += 1


def some_events(chance: random.Random) -> list[dict[str, object]]:
    made = [event(chance.choice(RESOURCES), viewer=f"v{chance.randrange(50)}") for _ in range(chance.randint(1, 20))]
    return [*made, event(chance.choice(RESOURCES), "watch", watched_s=chance.randint(1, 120))]


async def send(session: aiohttp.ClientSession, url: str, events: list[dict[str, object]], ledger: Ledger) -> None:
    """Repeat until there is an answer: the same ids every time."""
    while True:
        with suppress(aiohttp.ClientError, TimeoutError):
            async with session.post(f"{url}/v1/views", json={"events": events}) as response:
                if response.status == 202:
                    assert (await response.json())["accepted"] == len(events)
                    ledger.enter(events)
                    return
                assert response.status in (503, 504), await response.text()
        ledger.repeats += 1
        await asyncio.sleep(0.02)


async def counted(url: str) -> tuple[Counter[str], Counter[str]]:
    """Views and watched seconds by resource, as the node answers."""
    views, watched = Counter[str](), Counter[str]()
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{url}/v1/counts/resources", params={"ids": ",".join(RESOURCES)}) as response,
    ):
        if response.status == 200:
            for one in (await response.json())["resources"]:
                views[one["id"]], watched[one["id"]] = one["views"], one["watch_seconds"]
    return +views, +watched


@pytest.mark.timeout(500)  # half a minute, but for machines with other work
@pytest.mark.parametrize("plan", [Plan(8000, 8, 1.0), Plan(8000, 5, 0, cluster=True)], ids=["one Redis", "a cluster"])
async def test_every_acknowledged_event_is_counted_once_whatever_is_killed(tmp_path: Path, plan: Plan) -> None:
    """The short form of `python -m tests.faults.ledger`."""
    figures, book, watch = await torment(plan, tmp_path)
    assert book.repeats > 0, "nothing was hit: the kills came to nothing"
    assert figures.kills >= plan.kills
    assert min(figures.comparisons, watch.answers, watch.moments) > 0


async def test_a_killed_node_that_starts_under_another_name_and_province_counts_all_where_it_belongs(
    edge: StartEdge, own_counters: Valkey
) -> None:
    node = await edge(node="old-name", province="44", counters_redis=own_counters.url, **ANY_RATE)
    ledger = Ledger()
    chance = random.Random(7)
    async with aiohttp.ClientSession() as session, board(own_counters.url, "44") as old:
        await send(session, node.url, some_events(chance), ledger)

        async def old_has_all() -> bool:
            return (await old.summary()).views == ledger.views.total()

        await eventually(old_has_all)
        await own_counters.kill()
        await send(session, node.url, some_events(chance), ledger)
        await node.kill()
        await own_counters.start()
        renamed = await edge(node="new-name", province="43", counters_redis=own_counters.url, data_dir=node.data_dir)
        await eventually(old_has_all)
        assert (await counted(renamed.url)) == (Counter(), Counter())
        fresh = Ledger()
        await send(session, renamed.url, some_events(chance), fresh)

        async def new_has_all() -> bool:
            return await counted(renamed.url) == (fresh.views, fresh.watched_s)

        await eventually(new_has_all)
        assert await old_has_all()
    await renamed.stop()  # before its Redis is

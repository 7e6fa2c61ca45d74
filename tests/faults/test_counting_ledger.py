"""A ledger of what was acknowledged, kept by clients that repeat until they get an answer, against what was counted."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from contextlib import suppress

import aiohttp

from deploy.local.valkey import Valkey
from tests.conftest import StartEdge
from tests.support.counting import ANY_RATE, board, event
from tests.support.edges import Edge
from tests.support.waiting import eventually

CLIENTS = 6
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


async def client(url: str, seed: int, ledger: Ledger, stop: asyncio.Event) -> None:
    chance = random.Random(seed)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        while not stop.is_set():
            await send(session, url, some_events(chance), ledger)


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


async def further(ledger: Ledger, answers: int) -> None:
    """Wait until the clients have got that many more answers."""
    goal = ledger.answers + answers
    await eventually(lambda: ledger.answers >= goal, within_s=20)


async def torment(node: Edge, redis: Valkey, ledger: Ledger) -> None:
    """Workers, Redis and the whole node are killed while clients send; the last kill comes with Redis away."""
    chance = random.Random(5)
    for _ in range(4):
        await further(ledger, 25)
        os.kill(chance.choice(node.worker_pids()), signal.SIGKILL)
    await further(ledger, 25)
    await redis.kill()
    await further(ledger, 25)
    await node.kill()
    await node.start()
    await further(ledger, 25)
    await redis.start()
    await further(ledger, 25)


async def test_every_acknowledged_event_is_counted_once_whatever_is_killed(
    edge: StartEdge, own_counters: Valkey
) -> None:
    node = await edge(workers=2, province="44", counters_redis=own_counters.url, **ANY_RATE)
    ledger, stop = Ledger(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for seed in range(CLIENTS):
            group.create_task(client(node.url, seed, ledger, stop))
        await torment(node, own_counters, ledger)
        stop.set()
    assert ledger.repeats > 0, "nothing was hit: the kills came to nothing"

    async def agrees() -> bool:
        return await counted(node.url) == (ledger.views, ledger.watched_s)

    await eventually(agrees, within_s=20)
    await node.stop()
    await node.start()
    assert await counted(node.url) == (ledger.views, ledger.watched_s), "a restart changes nothing"
    await node.stop()  # before its Redis is


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

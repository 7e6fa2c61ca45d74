"""A tag of many objects, purged on three nodes of two workers each, one of them cut off and returned.

The suite runs it with a few hundred objects. `SMARTEDU_PURGE_OBJECTS=100000` makes it the check of the feature table
(several minutes, and some 3 GB of memory for the six workers):

    SMARTEDU_PURGE_OBJECTS=100000 pytest -n 0 --timeout 3600 tests/faults/test_purge_everywhere.py
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from deploy.local.valkey import Valkey
from tests.conftest import StartEdge
from tests.support.edges import Edge
from tests.support.fault_proxy import FaultProxy
from tests.support.library import Library, Read, open_library, read_all
from tests.support.waiting import eventually

OBJECTS = int(os.environ.get("SMARTEDU_PURGE_OBJECTS", "300"))
PATHS = [f"/book/{number:06}" for number in range(OBJECTS)]
MEMORY = f"{max(64, OBJECTS // 40)}MiB"  # some 10 KiB for each object and worker


@pytest.fixture
async def library() -> AsyncIterator[Library]:
    async with open_library() as made:
        yield made


async def editions(node: Edge, paths: Iterable[str], rounds: int = 2) -> set[int]:
    """The editions that a node serves, each path asked for some times."""
    found: set[int] = set()
    for _ in range(rounds):
        await read_all(node.url, paths, lambda read: found.add(read.edition))
    return found


async def purge(session: aiohttp.ClientSession, node: Edge, **order: object) -> tuple[int, dict[str, Any]]:
    async with session.post(node.admin_url + "/purge", json=order) as response:
        return response.status, await response.json()


def confirmed(answer: dict[str, Any]) -> dict[str, bool]:
    return {node["node"]: node["confirmed"] for node in answer["nodes"]}


@dataclass(frozen=True, slots=True)
class Site:
    """Three nodes on one Redis; the third reaches it through a proxy that can be cut."""

    nodes: list[Edge]
    proxy: FaultProxy
    session: aiohttp.ClientSession

    @property
    def away(self) -> Edge:
        return self.nodes[2]


@pytest.fixture
async def site(own_redis: Valkey, library: Library, edge: StartEdge) -> AsyncIterator[Site]:
    async with FaultProxy.of(own_redis.url) as proxy, aiohttp.ClientSession() as session:
        urls = [own_redis.url, own_redis.url, proxy.url(own_redis.url)]
        origin = f"http://127.0.0.1:{library.port}"
        starting = (
            edge(node=f"edge-{number}", workers=2, memory=MEMORY, origin=origin, s3_endpoint=None, redis=url)
            for number, url in enumerate(urls, 1)
        )
        yield Site(await asyncio.gather(*starting), proxy, session)


async def warm(site: Site) -> None:
    for node in site.nodes:
        assert await editions(node, PATHS, rounds=1) == {1}


async def test_after_the_answer_nothing_purged_is_served_by_whoever_confirmed_and_by_the_others_when_they_return(
    site: Site, library: Library
) -> None:
    await warm(site)
    before = library.asked
    assert before < 3 * 3 * OBJECTS, "the caches cache"
    library.edition = 2
    site.proxy.cut()
    status, answer = await purge(site.session, site.nodes[0], tag="library")
    assert status == 202
    assert confirmed(answer) == {"edge-1": True, "edge-2": True, "edge-3": False}
    assert {len(node["workers"]) for node in answer["nodes"]} == {2}
    for node in site.nodes[:2]:
        assert await editions(node, PATHS) == {2}
    assert 1 in await editions(site.away, PATHS[:10]), "as the answer said"

    site.proxy.heal()
    await eventually(lambda: everybody_confirms(site), within_s=30)
    assert await editions(site.away, PATHS) == {2}


async def everybody_confirms(site: Site) -> bool:
    status, answer = await purge(site.session, site.nodes[1], tag="unused")
    return status == 200 and confirmed(answer) == {"edge-1": True, "edge-2": True, "edge-3": True}


async def test_a_node_that_was_stopped_applies_what_it_missed_before_it_serves(site: Site, library: Library) -> None:
    await warm(site)
    await site.away.stop()
    library.edition = 2
    status, answer = await purge(site.session, site.nodes[0], prefix="/book/")
    assert status == 200, "who serves nobody keeps nobody waiting"
    assert confirmed(answer)["edge-3"] is False
    assert answer["nodes"][2]["state"] == "stopped"
    await site.away.start()
    assert await editions(site.away, PATHS) == {2}
    status, answer = await purge(site.session, site.away, tag="unused")
    assert (status, set(confirmed(answer).values())) == (200, {True})


async def test_a_soft_purge_costs_one_conditional_request_for_each_object_and_no_client_sees_a_miss(
    site: Site, library: Library
) -> None:
    library.grace = ", stale-while-revalidate=600"
    await warm(site)
    before = library.asked
    status, _ = await purge(site.session, site.nodes[0], tag="library", soft=True)
    assert status == 200
    seen: list[Read] = []
    await read_all(site.nodes[1].url, PATHS, seen.append)
    assert {read.edition for read in seen} == {1}
    assert not [read for read in seen if "miss" in read.cache_status]
    await eventually(lambda: library.conditional >= 1)
    assert library.asked - before == library.conditional
    assert library.conditional <= OBJECTS

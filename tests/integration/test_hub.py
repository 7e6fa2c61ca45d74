"""Parent edges as one shield: whoever asks, the origin is asked once."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.conftest import StartEdge
from tests.support.edges import Edge
from tests.support.origin import Script, ScriptedOrigin

EDGES, HUBS = 28, 3
PATH = "/media/lesson/00001.m4s"
SEGMENT = hashlib.shake_256(b"segment").digest(480_000)


@pytest.fixture
async def origin() -> AsyncIterator[ScriptedOrigin]:
    async with ScriptedOrigin() as running:
        yield running


async def body(session: aiohttp.ClientSession, node: Edge, path: str) -> bytes:
    async with session.get(node.url + path) as response:
        assert response.status == 200, await response.text()
        return await response.read()


async def started(edge: StartEdge, count: int, origins: tuple[str, ...], name: str) -> list[Edge]:
    """A few at a time: each costs a second of CPU at start."""
    nodes: list[Edge] = []
    for begin in range(0, count, 8):
        wave = range(begin, min(begin + 8, count))
        nodes += await asyncio.gather(
            *(edge(origin=origins, s3_endpoint=None, node=f"{name}{n}", memory="16MiB") for n in wave)
        )
    return nodes


@pytest.mark.timeout(240)
async def test_thirty_one_cold_nodes_make_one_origin_request_and_survive_a_lost_hub(
    edge: StartEdge, origin: ScriptedOrigin
) -> None:
    hold = asyncio.Event()
    origin.objects[PATH] = Script(SEGMENT, etag='"1"', hold=hold)
    hubs = await started(edge, HUBS, (origin.url,), "hub")
    edges = await started(edge, EDGES, tuple(hub.url for hub in hubs), "edge")
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        asking = [asyncio.create_task(body(session, node, PATH)) for node in (*edges, *edges)]
        await origin.seen_at_least(1)
        hold.set()
        assert all(one == SEGMENT for one in await asyncio.gather(*asking))
        assert origin.count(PATH) == 1

        await hubs[0].kill()
        for number in range(12):
            origin.objects[f"/media/{number}"] = Script(b"%d" % number)
        for number in range(12):
            asked = [body(session, node, f"/media/{number}") for node in edges[:5]]
            assert await asyncio.gather(*asked) == [b"%d" % number] * 5
            assert origin.count(f"/media/{number}") == 1

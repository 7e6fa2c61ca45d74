"""What a node had on its disk it has again at once after kill -9, with the right age, and never anything wrong."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.conftest import StartEdge
from tests.support.edges import Edge
from tests.support.origin import Script, ScriptedOrigin
from tests.support.waiting import eventually

OBJECTS = 200
ETERNAL = {"Cache-Control": "public, max-age=31536000, immutable"}


def content(number: int) -> bytes:
    return hashlib.shake_256(b"%d" % number).digest(20_000 + 997 * number)


@pytest.fixture
async def origin() -> AsyncIterator[ScriptedOrigin]:
    async with ScriptedOrigin() as running:
        for number in range(OBJECTS):
            running.objects[f"/media/{number}"] = Script(content(number), etag=f'"{number}"', headers=dict(ETERNAL))
        yield running


async def read_all(node: Edge, hits: list[bool]) -> None:
    async with aiohttp.ClientSession() as session:
        for number in range(OBJECTS):
            async with session.get(f"{node.url}/media/{number}") as response:
                assert await response.read() == content(number)
                hits.append("; hit" in response.headers["Cache-Status"])


async def kept(node: Edge, at_least: int) -> int:
    """Values on disk, as the node's metrics have it."""
    async with aiohttp.ClientSession() as session, session.get(f"{node.admin_url}/metrics") as response:
        lines = (await response.text()).splitlines()
    entries = sum(float(line.split()[-1]) for line in lines if line.startswith("smartedu_disk_entries"))
    assert entries >= at_least, entries
    return int(entries)


@pytest.mark.parametrize("workers", [1, 2])
async def test_after_kill_9_nearly_everything_is_a_hit_and_every_body_is_right(
    edge: StartEdge, origin: ScriptedOrigin, tmp_path: Path, workers: int
) -> None:
    node = await edge(
        origin=origin.url, s3_endpoint=None, disk=tmp_path / "disk", disk_size="256MiB", memory="16MiB", workers=workers
    )
    await read_all(node, [])
    await eventually(lambda: kept(node, OBJECTS))
    asked = len(origin.seen)
    await node.kill()
    await node.start()
    hits: list[bool] = []
    await read_all(node, hits)
    assert sum(hits) >= 0.95 * OBJECTS
    assert len(origin.seen) - asked <= 0.05 * OBJECTS


async def test_a_node_killed_in_the_middle_of_its_fills_never_serves_a_torn_body(
    edge: StartEdge, origin: ScriptedOrigin, tmp_path: Path
) -> None:
    node = await edge(origin=origin.url, s3_endpoint=None, disk=tmp_path / "disk", disk_size="256MiB", memory="16MiB")
    for _ in range(3):
        origin.seen.clear()
        reading = asyncio.create_task(read_all(node, []))
        await origin.seen_at_least(5)  # more than that cannot be stored yet
        await node.kill()
        await asyncio.gather(reading, return_exceptions=True)
        await node.start()
    await read_all(node, [])

"""A real node of several worker processes before a scripted store: what the workers owe the origin together."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from functools import partial

import aiohttp
import pytest
from yarl import URL

from tests.conftest import StartEdge
from tests.support.origin import Script, ScriptedOrigin
from tests.support.waiting import eventually

SEGMENT = hashlib.shake_256(b"node").digest(500_000)
KEYS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"}


@pytest.fixture
async def storage() -> AsyncIterator[ScriptedOrigin]:
    async with ScriptedOrigin() as running:
        yield running


def put(storage: ScriptedOrigin, path: str, hold: asyncio.Event | None = None) -> str:
    """Publish under the bucket `bucket`; the path on the node."""
    headers = {"Cache-Control": "public, max-age=600", "x-amz-meta-sha256": hashlib.sha256(SEGMENT).hexdigest()}
    storage.objects[f"/bucket{path}"] = Script(SEGMENT, etag='"1"', headers=headers, hold=hold)
    return path


LONG_TARGETS = ["/long-" + str(number) + "?" + '"' * 90 + "x" * (8192 - 8 - 3 * 90) for number in range(4)]
"""As long as a target may be once all of it is encoded."""


async def test_a_long_target_is_asked_of_its_owner_as_any_other(edge: StartEdge, storage: ScriptedOrigin) -> None:
    targets = [target.replace('"', "%22") for target in LONG_TARGETS]
    assert {len(target) for target in targets} == {8192}
    hold = asyncio.Event()
    storage.objects.update(dict.fromkeys(targets, Script(b"long", headers={"Cache-Control": "max-age=60"}, hold=hold)))
    node = await edge(origin=storage.url, workers=2)
    await eventually(lambda: node.logs().count("live workers of this node: 0, 1") >= 2)

    async def ask(target: str) -> bytes:
        async with aiohttp.ClientSession() as session, session.get(URL(node.url + target, encoded=True)) as response:
            return await response.read()

    asking = [asyncio.create_task(ask(target)) for target in LONG_TARGETS for _ in range(12)]
    await storage.seen_at_least(len(targets))
    hold.set()
    assert set(await asyncio.gather(*asking)) == {b"long"}
    assert [storage.count(target) for target in targets] == [1] * len(targets)


async def test_two_hundred_cold_requests_make_one_storage_request_for_each_object_whatever_worker_they_reach(
    storage: ScriptedOrigin, edge: StartEdge
) -> None:
    node = await edge(origin="s3://bucket", s3_endpoint=storage.url, workers=2, env=KEYS)
    connector = aiohttp.TCPConnector(limit=0, force_close=True)  # a connection each, so that both workers are asked

    async with aiohttp.ClientSession(connector=connector) as session:

        async def fetch(path: str) -> bytes:
            async with session.get(node.url + path) as response:
                assert response.status == 200
                return await response.read()

        await eventually(lambda: node.logs().count("live workers of this node: 0, 1") >= 2)
        for number in range(2):
            hold = asyncio.Event()
            path = put(storage, f"/media/lesson/{number}.m4s", hold)
            asking = [asyncio.create_task(fetch(path)) for _ in range(200)]
            await eventually(partial(storage.count, f"/bucket{path}"))
            hold.set()
            assert all(body == SEGMENT for body in await asyncio.gather(*asking))
            assert storage.count(f"/bucket{path}") == 1
    assert storage.seen[-1].headers["authorization"].startswith("AWS4-HMAC-SHA256")

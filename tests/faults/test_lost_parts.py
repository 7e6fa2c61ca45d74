"""Redis or storage lost: what still plays, what is refused and how, and that it is used again when it is back."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from hashlib import sha256
from typing import TYPE_CHECKING

import aiohttp
import boto3
import pytest
from botocore.config import Config

from deploy.local.seaweed import REGION, SeaweedFS
from deploy.local.valkey import Valkey
from tests.conftest import StartEdge
from tests.support.broker import S3Address
from tests.support.objects import PLAYLIST, put
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


def client_of(server: SeaweedFS) -> S3Client:
    return boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        region_name=REGION,
        aws_access_key_id=server.key.id,
        aws_secret_access_key=server.key.secret,
        config=Config(s3={"addressing_style": "path"}),
    )


@pytest.fixture
def own_s3_client(own_s3: SeaweedFS) -> Iterator[S3Client]:
    client = client_of(own_s3)
    yield client
    client.close()


async def check(session: aiohttp.ClientSession, admin_url: str) -> tuple[int, dict[str, dict[str, object]], str]:
    async with session.get(f"{admin_url}/readyz") as response:
        document = await response.json()
        return response.status, document["checks"], document["status"]


async def test_without_redis_the_node_serves_and_readiness_says_so_and_with_it_again_redis_is_used_again(
    edge: StartEdge, s3: S3Address, s3_client: S3Client, s3_prefix: str, own_redis: Valkey
) -> None:
    bodies = [os.urandom(50_000) for _ in range(3)]
    for number, body in enumerate(bodies):
        put(s3_client, s3.bucket, f"{s3_prefix}/media/x/{number}.m4s", body)
    node = await edge(origin=f"s3://{s3.bucket}/{s3_prefix}", redis=own_redis.url)
    async with aiohttp.ClientSession() as session:

        async def fetch(number: int) -> str:
            async with session.get(f"{node.url}/media/x/{number}.m4s") as response:
                assert response.status == 200
                assert await response.read() == bodies[number]
                return response.headers["Cache-Status"]

        assert "fwd=uri-miss" in await fetch(0)
        await eventually(lambda: _status_is(session, node.admin_url, "ready"))

        await own_redis.kill()
        await eventually(lambda: _misses(session, node.admin_url, "redis", "purges"))
        status, _, said = await check(session, node.admin_url)
        assert (status, said) == (200, "degraded"), "a node without Redis still serves"
        assert "hit" in await fetch(0)
        assert "fwd=uri-miss" in await fetch(1)

        await own_redis.start()
        await eventually(lambda: _status_is(session, node.admin_url, "ready"))
        await fetch(2)
    # A node with cold memory and no storage finds in Redis what the first one has put there.
    other = await edge(origin=f"s3://{s3.bucket}/{s3_prefix}", redis=own_redis.url, s3_endpoint="http://127.0.0.1:1")
    async with aiohttp.ClientSession() as session:

        async def from_redis() -> bool:
            async with session.get(f"{other.url}/media/x/2.m4s") as response:
                return response.status == 200 and await response.read() == bodies[2]

        await eventually(from_redis)


async def _misses(session: aiohttp.ClientSession, admin_url: str, *parts: str) -> bool:
    checks = (await check(session, admin_url))[1]
    return not any(checks[part]["ok"] for part in parts)


async def _status_is(session: aiohttp.ClientSession, admin_url: str, wanted: str) -> bool:
    return (await check(session, admin_url))[2] == wanted


async def test_without_storage_what_is_cached_plays_and_what_is_not_is_a_clean_error(
    edge: StartEdge, own_s3: SeaweedFS, own_s3_client: S3Client
) -> None:
    segment, playlist = os.urandom(80_000), b"#EXTM3U\n"
    digest = put(own_s3_client, own_s3.bucket, "media/x/1.m4s", segment)
    put(own_s3_client, own_s3.bucket, "media/x/master.m3u8", playlist, cache_control=PLAYLIST)
    put(own_s3_client, own_s3.bucket, "media/x/2.m4s", segment)
    node = await edge(
        origin=f"s3://{own_s3.bucket}",
        s3_endpoint=own_s3.endpoint,
        env={"AWS_ACCESS_KEY_ID": own_s3.key.id, "AWS_SECRET_ACCESS_KEY": own_s3.key.secret},
    )
    async with aiohttp.ClientSession() as session:

        async def fetch(name: str) -> tuple[int, bytes, str, str]:
            async with session.get(f"{node.url}/media/x/{name}") as response:
                status = response.headers["Cache-Status"]
                return response.status, await response.read(), response.content_type, status

        for name in ("1.m4s", "master.m3u8"):
            assert (await fetch(name))[0] == 200
        await own_s3.kill()

        async def playlist_is_stale() -> bool:
            status, body, _, cache_status = await fetch("master.m3u8")
            assert (status, body) == (200, playlist)
            return "ttl=-" in cache_status

        # Its second of freshness over, the playlist is served beyond it rather than not at all.
        await eventually(playlist_is_stale)
        status, body, _, _ = await fetch("1.m4s")
        assert (status, sha256(body).hexdigest()) == (200, digest)

        async with session.get(f"{node.url}/media/x/2.m4s") as response:
            assert response.status in (502, 504)
            assert response.content_type == "application/problem+json"
            assert "error=" in response.headers["Proxy-Status"]
            problem = await response.json()
            assert problem["status"] == response.status
            assert "Traceback" not in str(problem)

        await own_s3.start()

        async def is_back() -> bool:
            status, body, _, _ = await fetch("2.m4s")
            return (status, body) == (200, segment)

        await eventually(is_back)


async def test_without_redis_for_counters_events_are_accepted_and_counted_when_it_is_back(
    edge: StartEdge, own_counters: Valkey
) -> None:
    node = await edge(counters_redis=own_counters.url)
    async with aiohttp.ClientSession() as session:

        async def send(number: int) -> None:
            event = {"id": f"e-{number}", "kind": "view", "resource": "lesson-1", "at": _now_ms()}
            async with session.post(f"{node.url}/v1/views", json=event) as response:
                assert response.status == 202
                assert await response.json() == {"accepted": 1, "rejected": []}

        await send(1)
        await own_counters.kill()
        for number in range(2, 12):
            await send(number)
        async with session.get(f"{node.url}/v1/counts/resources/lesson-1") as response:
            assert response.status == 503
            assert response.content_type == "application/problem+json"
        await own_counters.start()
        await eventually(lambda: _views(session, node.url, 11), within_s=15)


async def test_a_killed_node_counts_what_it_had_accepted_after_its_restart(
    edge: StartEdge, own_counters: Valkey
) -> None:
    node = await edge(counters_redis=own_counters.url)
    async with aiohttp.ClientSession() as session:
        await own_counters.kill()  # so that nothing is applied before the node dies
        now = _now_ms()
        events = [{"id": f"k-{n}", "kind": "view", "resource": "lesson-1", "at": now} for n in range(200)]
        async with session.post(f"{node.url}/v1/views", json={"events": events}) as response:
            assert (await response.json())["accepted"] == 200
    await node.kill()
    await own_counters.start()
    await node.start()
    async with aiohttp.ClientSession() as session:
        await eventually(lambda: _views(session, node.url, 200), within_s=15)


async def _views(session: aiohttp.ClientSession, url: str, wanted: int) -> bool:
    async with session.get(f"{url}/v1/counts/resources/lesson-1") as response:
        assert response.status == 200
        views = (await response.json())["views"]
    assert views <= wanted, "an event was counted twice"
    return bool(views == wanted)


def _now_ms() -> int:
    return int(time.time() * 1000)

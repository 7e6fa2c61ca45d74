"""The whole road over real object storage: bytes, names, fields, signatures, and what storage refuses."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from deploy.local.seaweed import REGION
from edge.cache.shared import RedisTier, connect
from edge.clock import SystemClock
from origin.http import Deadlines
from origin.reader import OriginError, OriginFailure, ReadRequest
from origin.s3 import AccessKey, S3Reader
from tests.support.broker import S3Address
from tests.support.loopguard import nothing_blocks_the_loop  # noqa: F401
from tests.support.workers import Worker, worker

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

SEGMENT = hashlib.shake_256(b"s3").digest(1_500_000)
IMMUTABLE = "public, max-age=31536000, immutable"
NAMES = ["plain.m4s", "a b+c&d=e.pdf", "课程 教学/三年级.pdf", "100%.txt", "(x)!~*'-_.mp4", "ü@:;,$.json", "q?h#.vtt"]

OF_THE_OBJECT = {
    "cache-control",
    "content-length",
    "content-type",
    "date",
    "etag",
    "last-modified",
    "repr-digest",
    "surrogate-key",
}
OF_THE_EDGE = {
    "accept-ranges",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "age",
    "cache-status",
    "server",
}
TO_A_CLIENT = OF_THE_OBJECT | OF_THE_EDGE


def reader_of(s3: S3Address, prefix: str, key: AccessKey | None = None, bucket: str | None = None) -> S3Reader:
    access = key or AccessKey(s3.access_key, s3.secret_key)
    return S3Reader(
        endpoint=s3.endpoint,
        bucket=bucket or s3.bucket,
        prefix=prefix,
        region=REGION,
        credentials=lambda: access,
        deadlines=Deadlines(first_byte_s=20),
    )


def publish(client: S3Client, s3: S3Address, prefix: str, path: str, body: bytes, control: str = IMMUTABLE) -> None:
    client.put_object(
        Bucket=s3.bucket,
        Key=f"{prefix}{path}",
        Body=body,
        ContentType="video/iso.segment",
        CacheControl=control,
        Metadata={"sha256": hashlib.sha256(body).hexdigest(), "surrogate-key": "lesson-1 section-special"},
    )


@pytest.fixture
async def reader(s3: S3Address, s3_prefix: str) -> AsyncIterator[S3Reader]:
    reader = reader_of(s3, s3_prefix)
    yield reader
    await reader.close()


@pytest.fixture
async def edge(reader: S3Reader) -> AsyncIterator[Worker]:
    async with worker(reader) as running:
        yield running


async def test_every_tier_gives_the_bytes_that_were_published(
    reader: S3Reader, s3_client: S3Client, s3: S3Address, s3_prefix: str, redis_url: str
) -> None:
    publish(s3_client, s3, s3_prefix, "/media/l/1.m4s", SEGMENT)
    client = connect(redis_url, deadline_s=10.0)
    tier = RedisTier(client, clock=SystemClock(), namespace=s3_prefix, deadline_s=10.0, write_deadline_s=10.0)
    await tier.start()
    async with worker(reader, shared=tier) as first:
        assert await first.body("/media/l/1.m4s") == SEGMENT  # cold
        assert await first.body("/media/l/1.m4s") == SEGMENT  # memory
        await tier.settled()
    s3_client.delete_object(Bucket=s3.bucket, Key=f"{s3_prefix}/media/l/1.m4s")
    async with worker(reader, shared=tier) as second:
        async with second.get("/media/l/1.m4s") as response:  # redis, cold memory
            assert await response.read() == SEGMENT
            assert "hit" in response.headers["Cache-Status"]
            assert "detail=redis" in response.headers["Cache-Status"]
            assert (response.headers["Content-Type"], response.headers["Cache-Control"]) == (
                "video/iso.segment",
                IMMUTABLE,
            )
        assert await second.body("/media/l/1.m4s", range="bytes=-100") == SEGMENT[-100:]
    await tier.close()
    await client.aclose()


async def test_redis_stopped_and_started_again_is_noticed_and_never_in_the_way(
    reader: S3Reader, s3_client: S3Client, s3: S3Address, s3_prefix: str, own_redis: object
) -> None:
    from deploy.local.valkey import Valkey
    from tests.support.waiting import eventually

    assert isinstance(own_redis, Valkey)
    client = connect(own_redis.url, deadline_s=2.0)
    tier = RedisTier(
        client, clock=SystemClock(), namespace=s3_prefix, deadline_s=2.0, write_deadline_s=5.0, probe_s=0.05
    )
    await tier.start()
    async with worker(reader, shared=tier) as edge:
        for number in range(3):
            publish(s3_client, s3, s3_prefix, f"/media/l/{number}", SEGMENT[number:])
        assert await edge.body("/media/l/0") == SEGMENT
        await own_redis.stop()
        assert await edge.body("/media/l/1") == SEGMENT[1:]
        await eventually(lambda: not tier.healthy)
        await own_redis.start()
        await eventually(lambda: tier.healthy)
        assert await edge.body("/media/l/2") == SEGMENT[2:]
        await tier.settled()
    async with worker(reader, shared=tier) as fresh:
        await fresh.body("/media/l/2")
        assert fresh.outcomes[-1].tier.value == "redis"
    await tier.close()
    await client.aclose()


@pytest.mark.parametrize("name", NAMES)
async def test_any_name_reaches_its_object(
    reader: S3Reader, s3_client: S3Client, s3: S3Address, s3_prefix: str, name: str
) -> None:
    publish(s3_client, s3, s3_prefix, f"/media/{name}", name.encode())
    async with reader.open(ReadRequest(quote(f"/media/{name}"))) as response:
        assert response.status == 200
        assert b"".join([chunk async for chunk in response.chunks]) == name.encode()


async def test_storage_shows_up_as_an_ordinary_origin(
    reader: S3Reader, s3_client: S3Client, s3: S3Address, s3_prefix: str
) -> None:
    publish(s3_client, s3, s3_prefix, "/media/a", SEGMENT)
    async with reader.open(ReadRequest("/media/a")) as response:
        fields = dict(response.headers)
        assert set(fields) == OF_THE_OBJECT
        assert fields["surrogate-key"] == "lesson-1 section-special"
        assert fields["repr-digest"].startswith("sha-256=:")
        assert fields["content-length"] == str(len(SEGMENT))
        etag = fields["etag"]
    async with reader.open(ReadRequest("/media/a", if_none_match=etag)) as response:
        assert response.status == 304
        assert {name for name, _ in response.headers} <= OF_THE_OBJECT
    async with reader.open(ReadRequest("/media/a", if_match=etag, byte_range=(5, 9))) as response:
        assert {name for name, _ in response.headers} == OF_THE_OBJECT | {"content-range"}
        assert (response.status, response.field("content-range")) == (206, f"bytes 5-9/{len(SEGMENT)}")
        assert b"".join([chunk async for chunk in response.chunks]) == SEGMENT[5:10]
    async with reader.open(ReadRequest("/media/a", if_match='"other"', byte_range=(5, 9))) as response:
        assert response.status == 412
    async with reader.open(ReadRequest("/media/none")) as response:
        assert response.status == 404
        assert [chunk async for chunk in response.chunks] == []


async def test_a_client_gets_fields_of_the_object_and_of_the_edge_and_none_of_the_storage(
    edge: Worker, s3_client: S3Client, s3: S3Address, s3_prefix: str
) -> None:
    publish(s3_client, s3, s3_prefix, "/media/a", SEGMENT)
    for attempt in ("miss", "hit"):
        async with edge.get("/media/a") as response:
            assert response.status == 200, attempt
            # A response that the origin has just made is of no age (RFC 9111, 5.1).
            expected = TO_A_CLIENT if attempt == "hit" else TO_A_CLIENT - {"age"}
            assert {name.lower() for name in response.headers} == expected
            etag = response.headers["ETag"]
            await response.read()
    async with edge.get("/media/a", range="bytes=5-9") as response:
        assert response.status == 206
        assert {name.lower() for name in response.headers} == TO_A_CLIENT | {"content-range"}
    async with edge.get("/media/a", if_none_match=etag) as response:
        assert response.status == 304
        assert {name.lower() for name in response.headers} < TO_A_CLIENT


async def test_wrong_credentials_and_a_missing_bucket_are_errors_of_ours_and_no_404(
    s3: S3Address, s3_prefix: str
) -> None:
    wrong = reader_of(s3, s3_prefix, AccessKey(s3.access_key, "wrong"))
    elsewhere = reader_of(s3, s3_prefix, bucket="no-such-bucket")
    for reader in (wrong, elsewhere):
        with pytest.raises(OriginError) as failed:
            async with reader.open(ReadRequest("/media/a")):
                pass
        assert failed.value.failure is OriginFailure.CONFIGURATION
    async with worker(wrong) as edge, edge.get("/media/a") as response:
        assert (response.status, response.content_type) == (502, "application/problem+json")
        assert "wrong" not in (await response.text())
    await wrong.close()
    await elsewhere.close()


async def test_what_was_overwritten_without_its_new_digest_is_never_served_whole(
    edge: Worker, s3_client: S3Client, s3: S3Address, s3_prefix: str
) -> None:
    s3_client.put_object(
        Bucket=s3.bucket,
        Key=f"{s3_prefix}/media/a",
        Body=SEGMENT,
        CacheControl=IMMUTABLE,
        Metadata={"sha256": hashlib.sha256(b"another").hexdigest()},
    )
    import aiohttp

    async with edge.get("/media/a") as response:
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
    assert len(edge.memory) == 0


TRICKS = [
    "/media/../{outside}",
    "/media/%2e%2e/{outside}",
    "/media/..%2f{outside}",
    "/media/..%5c{outside}",
    "/media/%252e%252e/{outside}",
    "/media/x/../../{outside}",
    "/media//../{outside}",
    "/media/./{outside}",
    "/media/a%00b",
    "/media/%ff",
    "/media/" + "a" * 2000,
    "/media/a//b",
    "/media/",
    "/catalog/..%2f..%2f{outside}",
    "//media/{outside}",
    "/media/..;/{outside}",
    "/media/a%0d%0aX-Injected:%201",
]


@pytest.mark.parametrize("trick", TRICKS)
async def test_no_trick_leaves_the_published_prefixes(
    edge: Worker, s3_client: S3Client, s3: S3Address, s3_prefix: str, trick: str
) -> None:
    publish(s3_client, s3, s3_prefix, "/outside", b"secret of another prefix")
    target = trick.format(outside="outside")
    status, answer = await raw_get(edge, target)
    assert status in (400, 404)
    assert b"secret" not in answer
    assert b"x-injected" not in answer.lower().split(b"\r\n\r\n")[0]


async def raw_get(edge: Worker, target: str) -> tuple[int, bytes]:
    """A request whose target no client library has tidied up."""
    port = int(edge.url.rsplit(":", 1)[1])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {target} HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n".encode("latin-1"))
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    await writer.wait_closed()
    return int(answer.split(b" ", 2)[1]), answer

"""A whole worker in the test's own process, under a guard that no handler and no background task blocks its loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from blockbuster import BlockingError

from config.settings import load
from edge import app
from edge.assets import load_assets
from tests.support.broker import S3Address
from tests.support.counting import event
from tests.support.lessons import Published
from tests.support.loopguard import guarded_loop
from tests.support.waiting import eventually

Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def clients(
    s3: S3Address, redis_url: str, counters_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Client, Client]]:
    """Clients of the public and the admin listener of a worker that is put together as `smartedu serve` does it."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    for directory in ("run", "slots", "journal"):
        (tmp_path / directory).mkdir()
    flags = {"origin": f"s3://{s3.bucket}", "s3_endpoint": s3.endpoint, "node": "test", "site": True, "workers": 1}
    urls = {"redis": redis_url, "counters_redis": counters_url}
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(app.node(load(flags | urls | {"data_dir": str(tmp_path)}), 0))
        public, admin = (TestClient(TestServer(application)) for application in (node.public, node.admin))
        for client in (public, admin):
            await stack.enter_async_context(client)
        yield public, admin


async def test_no_request_blocks_the_loop_of_a_worker(clients: tuple[Client, Client], lesson: Published) -> None:
    public, admin = clients

    async def get(client: Client, path: str, status: int = 200, **headers: str) -> str:
        async with client.get(path, headers=headers) as response:
            body = await response.read()
            assert response.status == status, (path, body)
            return body.decode(errors="replace")

    async def listed() -> bool:
        return lesson.catalog_version in await get(public, f"/lesson/{lesson.id}")

    async def counted() -> bool:
        return '"views":1,' in await get(public, f"/v1/counts/resources/{lesson.id}")

    with guarded_loop():
        await eventually(listed)
        segment = f"{lesson.folder}/360p/00001.m4s"
        for path in ("/catalog/version.json", lesson.master, segment, "/", "/board", "/static/js/portal.js"):
            await asyncio.gather(*(get(public, path) for _ in range(5)))
        await get(public, segment, 206, Range="bytes=0-9")
        await get(public, "/media/nothing", 404)
        await get(public, "/static/nothing", 404)
        async with public.post("/v1/views", json={"events": [event(lesson.id), event("unknown-lesson")]}) as response:
            assert (response.status, (await response.json())["accepted"]) == (202, 1)
        await eventually(counted)
        for path in (f"resources?ids={lesson.id}", "summary", "top"):
            assert '"as_of"' in await get(public, f"/v1/counts/{path}")
        await get(public, "/healthz")
        for path in ("/healthz", "/readyz", "/config"):
            await get(admin, path)


async def test_the_guard_notices_a_blocking_call_of_ours() -> None:
    with guarded_loop(), pytest.raises(BlockingError):
        load_assets()

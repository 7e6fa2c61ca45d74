"""`POST /purge` and `PURGE` on the admin listener: who may, what is answered, what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from edge.admin_token import AdminToken
from edge.appkeys import ADMIN_TOKEN
from edge.cache.purge import Kind, Scope
from edge.cache.target import canonical
from edge.handlers.purge import CANONICAL, PURGER, add_admin_routes
from edge.problems import as_problems
from tests.support.purging import Purging, purging

Client = TestClient[web.Request, web.Application]
SECRET = b"0193-secret"


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[Purging]:
    async with purging(tmp_path / "purges", removed=3) as part:
        yield part


def application(worker: Purging, token: AdminToken) -> web.Application:
    made = web.Application(middlewares=[as_problems])
    made[PURGER], made[CANONICAL], made[ADMIN_TOKEN] = worker.purger, canonical, token
    add_admin_routes(made)
    return made


@pytest.fixture
async def client(worker: Purging) -> AsyncIterator[Client]:
    async with TestClient(TestServer(application(worker, AdminToken(None)))) as made:
        yield made


@pytest.fixture
async def guarded(worker: Purging) -> AsyncIterator[Client]:
    async with TestClient(TestServer(application(worker, AdminToken(SECRET)))) as made:
        yield made


async def test_the_answer_tells_the_purge_and_who_has_confirmed_it(client: Client, worker: Purging) -> None:
    async with client.post("/purge", json={"tag": "lesson-1", "soft": True}) as response:
        assert response.status == 200
        assert response.headers["Cache-Control"] == "no-store"
        said = await response.json()
    (record,) = worker.seen
    assert (record.scope, record.value, record.kind) == (Scope.TAG, "lesson-1", Kind.SOFT)
    position = worker.follower.position
    (node,) = said.pop("nodes")
    assert datetime.fromisoformat(node.pop("last_seen")).tzinfo is not None
    assert node == {
        "node": "edge-1",
        "state": "live",
        "epoch": position,
        "confirmed": True,
        "workers": [{"slot": 0, "epoch": position, "position": position, "confirmed": True}],
    }
    assert said == {
        "id": record.id,
        "scope": "tag",
        "value": "lesson-1",
        "soft": True,
        "epoch": position,
        "published": True,
        "complete": True,
        "removed": 3,
    }


async def test_many_are_one_order(client: Client, worker: Purging) -> None:
    async with client.post("/purge", json={"urls": ["/a", "http://x/b"]}) as response:
        said = await response.json()
    assert said["values"] == ["/a", "/b"] == worker.values()
    assert said["ids"] == [record.id for record in worker.seen]


@pytest.mark.parametrize("target", ["/media/a%7Eb.m4s?y=1&x=2", "http://edu.example/media/a~b.m4s?x=2&y=1"])
async def test_the_target_of_a_purge_request_is_what_is_purged(client: Client, worker: Purging, target: str) -> None:
    assert await _raw_purge(client, target) == 200
    assert worker.values() == ["/media/a~b.m4s?x=2&y=1"]
    assert worker.seen[0].kind is Kind.HARD


async def _raw_purge(client: Client, target: str) -> int:
    """Bytes as other purge clients send them; aiohttp's own client would not send the absolute form."""
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(f"PURGE {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return int(answer.split()[1])


async def test_a_purge_request_may_be_soft(client: Client, worker: Purging) -> None:
    async with client.request("PURGE", "/a", headers={"Soft-Purge": "1"}) as response:
        assert (await response.json())["soft"] is True
    async with client.request("PURGE", "/a", headers={"Soft-Purge": "yes"}) as response:
        assert response.status == 400
    async with client.request("PURGE", "/a", json={"soft": True}) as response:
        assert (response.status, (await response.json())["soft"]) == (200, True)
    for body in (b'{"soft": 1}', b'{"url": "/b"}', b"[]", b"soft"):
        async with client.request("PURGE", "/a", data=body) as response:
            assert response.status == 400
    assert [record.kind for record in worker.seen] == [Kind.SOFT, Kind.SOFT]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"{}", b'{"url": 1}', b'{"urls": ["/a", "b"]}', b'{"all": true, "x": 1}', b"\xff"]
)
async def test_what_is_no_order_is_400_and_purges_nothing(client: Client, worker: Purging, body: bytes) -> None:
    async with client.post("/purge", data=body) as response:
        assert response.status == 400
        assert response.content_type == "application/problem+json"
        assert (await response.json())["detail"]
    assert worker.seen == []


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer wrong", "Basic 0193-secret", "Bearer 0193-secret0", "bearer \xff"]
)
async def test_without_the_token_nothing_is_purged(guarded: Client, worker: Purging, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    for method, path in (("POST", "/purge"), ("PURGE", "/a")):
        async with guarded.request(method, path, data=b'{"all": true}', headers=headers) as response:
            assert response.status == 401
            assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert worker.seen == []


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
async def test_with_the_token_it_is(guarded: Client, worker: Purging, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {SECRET.decode()}"}
    async with guarded.post("/purge", json={"all": True}, headers=headers) as response:
        assert response.status == 200
        assert (await response.json())["value"] is None
    assert len(worker.seen) == 1


async def test_a_web_page_in_an_operators_browser_purges_nothing(client: Client, worker: Purging) -> None:
    async with client.post("/purge", data=b'{"all": true}', headers={"Origin": "https://evil.example"}) as response:
        assert response.status == 403
    assert worker.seen == []


async def test_when_the_log_cannot_be_written_the_answer_says_that_nothing_was_purged(
    client: Client, worker: Purging, tmp_path: Path
) -> None:
    (tmp_path / "purges" / "log").unlink()
    (tmp_path / "purges" / "log").mkdir()
    async with client.post("/purge", json={"all": True}) as response:
        assert response.status == 503
        assert "nothing was purged" in (await response.json())["detail"]
    assert worker.seen == []


def test_the_token_is_what_the_file_holds_without_white_space_and_never_nothing(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_bytes(b"  \n")
    with pytest.raises(ValueError, match="empty"):
        AdminToken.read(file)
    assert AdminToken.read(None)._secret is None
    file.write_bytes(b" abc\n")
    assert AdminToken.read(file)._secret == b"abc"

"""`GET /v1/counts/export` at the door: what is held for a client is let go however it leaves."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from datetime import date
from typing import cast

import pytest
from aiohttp import ServerDisconnectedError
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request, StreamResponse

from edge import routes
from edge.appkeys import EXPORTS, NODE
from edge.counters.exported import Exports
from edge.counters.parquet import Format
from edge.problems import as_problems
from tests.support.waiting import eventually

Client = TestClient[Request, Application]

ASKED = "/v1/counts/export?day=2026-11-20"
PIECE = bytes(64 * 1024)


@dataclass(slots=True)
class Endless:
    """Exports without an end. held: how many of them are open; heads: whether their heads reach the client."""

    held: int = 0
    heads: bool = True

    async def exported(self, _day: date, _how: Format) -> AsyncGenerator[bytes]:
        pieces = self._pieces()
        await anext(pieces)
        return pieces

    async def _pieces(self) -> AsyncGenerator[bytes]:
        self.held += 1
        try:
            while True:
                yield PIECE
        finally:
            self.held -= 1

    async def all_let_go(self) -> bool:
        return self.held == 0

    async def send_head(self, _request: Request, _response: StreamResponse) -> None:
        if not self.heads:
            raise ConnectionResetError("the client has left")


@pytest.fixture
async def exports() -> Endless:
    return Endless()


@pytest.fixture
async def client(exports: Endless) -> AsyncIterator[Client]:
    app = Application(middlewares=[as_problems])
    app[NODE], app[EXPORTS] = "test", cast("Exports", exports)
    app.on_response_prepare.append(exports.send_head)
    routes.add_public(app, site_on=False, published=True)
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_what_is_read_for_a_client_is_let_go_when_it_leaves_half_way(client: Client, exports: Endless) -> None:
    async with client.get(ASKED) as answer:
        assert await answer.content.readexactly(len(PIECE)) == PIECE
        assert exports.held == 1
        answer.close()
    await eventually(exports.all_let_go)


async def test_what_is_read_for_a_client_is_let_go_when_it_leaves_before_the_head(
    client: Client, exports: Endless
) -> None:
    exports.heads = False
    with pytest.raises(ServerDisconnectedError):
        await client.get(ASKED)
    await eventually(exports.all_let_go)


async def test_head_answers_as_get_does_and_holds_nothing(client: Client, exports: Endless) -> None:
    async with client.get(ASKED) as answer:
        wanted = {**answer.headers}
        answer.close()
    async with client.head(ASKED) as head:
        assert (head.status, await head.read()) == (200, b"")
        told = {**head.headers}
    for name in ("Content-Type", "Content-Disposition", "Cache-Control"):
        assert told[name] == wanted[name]
    await eventually(exports.all_let_go)
    async with client.head("/v1/counts/export?day=today") as refused:
        assert (refused.status, refused.content_type) == (400, "application/problem+json")


@pytest.mark.parametrize("day", ["today", "20.11.2026", "2026-02-30", ""])
async def test_a_day_that_cannot_be_exported_is_refused_with_one_that_can(client: Client, day: str) -> None:
    async with client.get(f"/v1/counts/export?day={day}") as answer:
        assert answer.status == 400
        detail = (await answer.json(content_type=None))["detail"]
    assert "YYYY-MM-DD" in detail
    assert "closed" in detail
    assert "or today" not in detail

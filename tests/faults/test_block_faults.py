"""An origin that fails in the middle of an object so large that it is kept in blocks: a cut, never a wrong byte."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.support.edges import Edge, start_edge
from tests.support.visitor import Answer, Visitor, visiting
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

MIB = 1024 * 1024
BODY = hashlib.shake_256(b"blocks").digest(9 * MIB)
OTHER = BODY[::-1]
VERSIONS = {'"1"': BODY, '"2"': OTHER}
WHOLE = {"ETag": '"1"', "Cache-Control": "max-age=600", "Accept-Ranges": "bytes"}
BAD = 5
"""The number of the block that goes wrong."""

Answering: TypeAlias = Callable[[web.Request, int, int], Awaitable[web.StreamResponse]]
"""How a block is answered: the request, its first and its last offset."""


def part(body: bytes, first: int, last: int, tag: str = '"1"', total: int = len(BODY)) -> web.Response:
    headers = {"Content-Range": f"bytes {first}-{last}/{total}", "ETag": tag, "Cache-Control": "max-age=600"}
    return web.Response(status=206, body=body[first : last + 1], headers=headers)


@dataclass
class LargeOrigin:
    """Answers every block well but the bad one, which it answers as it is told."""

    bad: Answering | None = None
    asked: list[tuple[str, int]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        first, last = 0, len(BODY) - 1
        if "Range" in request.headers:
            begin, _, end = request.headers["Range"].removeprefix("bytes=").partition("-")
            first, last = int(begin), min(int(end), last)
        self.asked.append((request.path, first // MIB))
        if self.bad is not None and first == BAD * MIB:
            return await self.bad(request, first, last)
        if "Range" in request.headers:
            return part(BODY, first, last)
        return web.Response(body=BODY, headers=WHOLE)


async def another_range(_request: web.Request, first: int, last: int) -> web.StreamResponse:
    return part(BODY, first - 1, last - 1)


async def a_shorter_range(_request: web.Request, first: int, last: int) -> web.StreamResponse:
    return part(BODY, first, last - 1)


async def another_length(_request: web.Request, first: int, last: int) -> web.StreamResponse:
    return part(OTHER, first, last, total=len(BODY) + 1)


async def another_version(_request: web.Request, first: int, last: int) -> web.StreamResponse:
    return part(OTHER, first, last, tag='"2"')


async def the_whole_of_another_version(_request: web.Request, _first: int, _last: int) -> web.StreamResponse:
    return web.Response(body=OTHER, headers=WHOLE | {"ETag": '"2"'})


async def the_whole(_request: web.Request, _first: int, _last: int) -> web.StreamResponse:
    return web.Response(body=BODY, headers=WHOLE)


async def broken_off(request: web.Request, first: int, last: int) -> web.StreamResponse:
    whole = part(BODY, first, last)
    response = web.StreamResponse(status=206, headers=whole.headers)
    response.content_length = last - first + 1
    await response.prepare(request)
    await response.write(BODY[first : first + 1000])
    assert request.transport is not None
    request.transport.abort()
    return response


async def silent(request: web.Request, _first: int, _last: int) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def only(status: int) -> Answering:
    async def answer(_request: web.Request, _first: int, _last: int) -> web.StreamResponse:
        return web.Response(status=status, text="no")

    return answer


FAULTS = {
    "another range": another_range,
    "a shorter range": a_shorter_range,
    "another length of the whole": another_length,
    "another version": another_version,
    "the whole of another version": the_whole_of_another_version,
    "the whole instead of the range": the_whole,
    "broken off": broken_off,
    "silent": silent,
    "gone": only(404),
    "changed": only(412),
    "no such range": only(416),
    "ill": only(503),
}


@dataclass(frozen=True)
class Scene:
    """One node, the origin before it, and a client."""

    node: Edge
    origin: LargeOrigin
    visitor: Visitor

    async def ask(self, path: str) -> Answer:
        """Of the version that the answer names every byte is right, and it says that it is whole only if it is."""
        answer = await self.visitor.ask(path)
        if answer.status == 200:
            version = VERSIONS[answer.headers["ETag"]]
            assert version.startswith(answer.body)
            assert answer.whole == (len(answer.body) == len(version))
        return answer

    async def ask_part(self, path: str, first: int, last: int) -> None:
        """The right bytes of the version that the answer names, or a clean error."""
        answer = await self.visitor.ask(path, range=f"bytes={first}-{last}")
        if answer.status == 206:
            assert answer.body == VERSIONS[answer.headers["ETag"]][first : last + 1]
        elif answer.status == 200:
            assert answer.body == VERSIONS[answer.headers["ETag"]]
        else:
            assert answer.status in (404, 412, 416, 502, 503)
            assert answer.whole


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    origin = LargeOrigin()
    application = web.Application()
    application.router.add_get("/{path:.*}", origin.answer)
    async with TestServer(application) as server:
        flags: dict[str, object] = {"origin": str(server.make_url("")).rstrip("/"), "memory": "64MiB"}
        node = await start_edge(tmp_path_factory.mktemp("node"), flags, {})
        try:
            async with visiting(node.url) as visitor:
                yield Scene(node, origin, visitor)
        finally:
            await node.stop()


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_block_that_goes_wrong_cuts_the_body_and_the_next_reader_has_all_of_it_when_the_origin_is_well(
    scene: Scene, fault: str
) -> None:
    path = f"/{fault.replace(' ', '-')}"
    scene.origin.bad = FAULTS[fault]
    for _ in range(2):
        answer = await scene.ask(path)
        assert not (answer.status == 200 and answer.whole)
    await scene.ask_part(path, BAD * MIB + 10, BAD * MIB + 19)
    scene.origin.bad = None

    async def is_well() -> bool:
        answer = await scene.ask(path)
        return answer.status == 200 and answer.whole and answer.headers["ETag"] == '"1"'

    await eventually(is_well)
    asked = len(scene.origin.asked)
    assert (await scene.ask(path)).whole
    assert len(scene.origin.asked) == asked

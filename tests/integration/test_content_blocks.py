"""Large objects in blocks: what is fetched, what is kept, what a new version or a purge does to them."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator

import aiohttp
import pytest

from edge.cache.fetch import Site
from edge.cache.limits import Limits
from edge.cache.model import CacheKey, Forward, Layout, Tier
from edge.cache.purge import Kind, PurgeRecord, Scope
from origin.http import HttpReader
from tests.support.loopguard import nothing_blocks_the_loop  # noqa: F401
from tests.support.origin import Gate, Script, ScriptedOrigin
from tests.support.ticking import ManualClock
from tests.support.workers import Worker, worker

PATH = "/media/film.mp4"
BLOCK = 64 * 1024
FILM = hashlib.shake_256(b"film").digest(20 * BLOCK + 1234)
LIMITS = Limits(max_object_bytes=4 * BLOCK, block_bytes=BLOCK, fill_bytes=64 * BLOCK)


@pytest.fixture
async def origin(clock: ManualClock) -> AsyncIterator[ScriptedOrigin]:
    async with ScriptedOrigin(clock.wall) as running:
        running.objects[PATH] = Script(FILM, etag='"1"')
        yield running


@pytest.fixture
async def edge(reader: HttpReader, clock: ManualClock) -> AsyncIterator[Worker]:
    async with worker(reader, clock=clock, limits=LIMITS) as running:
        yield running


def ranges_asked(origin: ScriptedOrigin) -> list[str]:
    return [seen.headers.get("range", "whole") for seen in origin.seen]


async def test_a_cold_range_fetches_only_the_blocks_it_needs_and_a_second_one_none(
    edge: Worker, origin: ScriptedOrigin
) -> None:
    first, last = 5 * BLOCK + 100, 6 * BLOCK + 99
    for _ in range(2):
        async with edge.get(PATH, range=f"bytes={first}-{last}") as response:
            assert (response.status, response.headers["Content-Range"]) == (206, f"bytes {first}-{last}/{len(FILM)}")
            assert await response.read() == FILM[first : last + 1]
    assert ranges_asked(origin) == [f"bytes={number * BLOCK}-{(number + 1) * BLOCK - 1}" for number in (5, 6)]
    assert edge.outcomes[0].forward is Forward.MISS
    assert (edge.outcomes[-1].forward, edge.outcomes[-1].tier) == (None, Tier.MEMORY)


async def test_random_ranges_reassemble_to_the_same_bytes(edge: Worker, origin: ScriptedOrigin) -> None:
    rng = random.Random(20261125)
    for _ in range(40):
        first = rng.randrange(len(FILM))
        last = min(len(FILM) - 1, first + rng.randrange(5 * BLOCK))
        assert await edge.body(PATH, range=f"bytes={first}-{last}") == FILM[first : last + 1]
    assert await edge.body(PATH, range="bytes=-77") == FILM[-77:]
    assert await edge.body(PATH) == FILM
    asked = ranges_asked(origin)
    assert len(asked) == len(set(asked)) <= len(FILM) // BLOCK + 1


async def test_a_whole_read_from_cold_fetches_every_block_once_for_all_its_readers(
    edge: Worker, origin: ScriptedOrigin
) -> None:
    origin.objects[PATH].headers |= {"Accept-Ranges": "bytes"}
    bodies = await asyncio.gather(*(edge.body(PATH) for _ in range(30)))
    assert all(body == FILM for body in bodies)
    asked = ranges_asked(origin)
    assert asked[0] == "whole"
    assert sorted(asked[1:]) == sorted(f"bytes={n * BLOCK}-{min((n + 1) * BLOCK, len(FILM)) - 1}" for n in range(1, 21))


async def test_a_slow_reader_holds_slices_and_not_the_object(edge: Worker, origin: ScriptedOrigin) -> None:
    gate = Gate()
    origin.objects[PATH].gate = gate
    async with edge.get(PATH, range="bytes=0-9") as response:
        gate.open()
        assert await response.read() == FILM[:10]
    assert edge.memory.used_bytes < 3 * BLOCK


async def test_a_block_of_another_version_drops_the_layout_and_the_new_version_is_served(
    edge: Worker, origin: ScriptedOrigin
) -> None:
    assert await edge.body(PATH, range="bytes=0-9") == FILM[:10]
    newer = FILM[::-1]
    origin.objects[PATH] = Script(newer, etag='"2"')
    at = 9 * BLOCK
    async with edge.get(PATH, range=f"bytes={at}-{at + 9}") as response:
        assert (response.headers["ETag"], await response.read()) == ('"2"', newer[at : at + 10])
    assert await edge.body(PATH, range="bytes=0-9") == newer[:10]


async def test_a_stale_layout_is_revalidated_once_and_keeps_its_blocks(
    edge: Worker, origin: ScriptedOrigin, clock: ManualClock
) -> None:
    assert await edge.body(PATH, range="bytes=0-9") == FILM[:10]
    clock.advance(100)
    assert await edge.body(PATH, range="bytes=5-14") == FILM[5:15]
    assert [seen.headers.get("if-none-match") for seen in origin.seen] == [None, '"1"']


@pytest.mark.parametrize("kind", [Kind.HARD, Kind.SOFT])
async def test_a_purge_takes_the_layout_and_all_blocks(edge: Worker, origin: ScriptedOrigin, kind: Kind) -> None:
    await edge.body(PATH, range=f"bytes=0-{3 * BLOCK}")
    before = len(origin.seen)
    await edge.engine.purge(PurgeRecord("1", Scope.URL, PATH, kind, 0.0, "edge-1"))
    if kind is Kind.HARD:
        assert edge.memory.used_bytes == 0
    assert await edge.body(PATH, range="bytes=0-9") == FILM[:10]
    newest = origin.seen[before:]
    expected = [None] if kind is Kind.HARD else ['"1"']
    assert [seen.headers.get("if-none-match") for seen in newest] == expected


async def test_a_precondition_on_a_large_object_is_judged_without_its_bytes(
    edge: Worker, origin: ScriptedOrigin
) -> None:
    await edge.body(PATH, range="bytes=0-9")
    sent = origin.sent_bytes
    for headers, status in (
        ({"if_none_match": '"1"'}, 304),
        ({"if_match": '"2"'}, 412),
        ({"range": f"bytes={len(FILM)}-"}, 416),
        ({"range": "bytes=0-9", "if_range": '"1"'}, 206),
    ):
        async with edge.get(PATH, **headers) as response:
            assert response.status == status
    assert origin.sent_bytes == sent


async def test_a_client_that_wants_stored_bytes_only_gets_blocks_that_are_there_or_a_504(
    reader: HttpReader, clock: ManualClock, origin: ScriptedOrigin
) -> None:
    async with worker(reader, clock=clock, limits=LIMITS, site=Site(forwards=True)) as proxy:
        first, second = "bytes=0-9", f"bytes={10 * BLOCK}-{10 * BLOCK + 9}"
        assert await proxy.body(PATH, range=first) == FILM[:10]
        asked = len(origin.seen)
        assert await proxy.body(PATH, range=first, cache_control="only-if-cached") == FILM[:10]
        async with proxy.get(PATH, range=second, cache_control="only-if-cached") as response:
            assert response.status == 504
        assert len(origin.seen) == asked


async def test_what_is_wrong_with_one_clients_request_costs_nobody_the_object(
    reader: HttpReader, origin: ScriptedOrigin, clock: ManualClock
) -> None:
    film = Script(FILM, etag='"1"', headers={"Cache-Control": "max-age=60", "Accept-Ranges": "bytes"})
    refused = Script(b"too long", status=431, headers={}, etag='"1"', ranges=False)
    origin.objects[PATH] = Script(choose=lambda fields: refused if "cookie" in fields else film)
    first, last = 9 * BLOCK, 9 * BLOCK + 9
    async with worker(reader, clock=clock, limits=LIMITS, site=Site(forwards=True, via="edge-1")) as edge:
        assert await edge.body(PATH, range="bytes=0-9") == FILM[:10]
        layout = edge.memory.peek(CacheKey(PATH))
        assert isinstance(layout, Layout)
        async with edge.get(PATH, range=f"bytes={first}-{last}", cookie="a=b") as response:
            assert (response.status, await response.read()) == (431, b"too long")
        assert edge.memory.peek(CacheKey(PATH)) is layout
        assert await edge.body(PATH, range=f"bytes={first}-{last}") == FILM[first : last + 1]


async def test_who_reads_an_old_version_takes_the_new_one_from_nobody(edge: Worker, origin: ScriptedOrigin) -> None:
    gate = Gate()
    origin.objects[PATH] = Script(FILM, etag='"1"', gate=gate)
    gate.open(BLOCK)
    async with edge.get(PATH, range=f"bytes=0-{10 * BLOCK}") as response:
        await response.content.readexactly(10)
        newer = FILM[::-1]
        origin.objects[PATH] = Script(newer, etag='"2"')
        await edge.engine.purge(PurgeRecord("1", Scope.URL, PATH, Kind.HARD, 0.0, "edge-1"))
        assert await edge.body(PATH, range="bytes=0-9") == newer[:10]
        layout = edge.memory.peek(CacheKey(PATH))
        gate.open()
        with pytest.raises(aiohttp.ClientError):
            await response.read()
    assert isinstance(layout, Layout)
    assert edge.memory.peek(CacheKey(PATH)) is layout

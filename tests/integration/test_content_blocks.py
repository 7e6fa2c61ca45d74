"""Large objects in blocks: what is fetched, what is kept, what a new version or a purge does to them."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

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
from tests.support.tiers import disk_files, disk_tier
from tests.support.waiting import eventually
from tests.support.workers import Worker, worker

PATH = "/media/film.mp4"
BLOCK = 64 * 1024
FILM = hashlib.shake_256(b"film").digest(20 * BLOCK + 1234)
PROXY = Site(forwards=True, via="edge-1")
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
    async with worker(reader, clock=clock, limits=LIMITS, site=PROXY) as edge:
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


async def test_variants_of_one_version_share_its_blocks(
    reader: HttpReader, origin: ScriptedOrigin, clock: ManualClock
) -> None:
    kept = {"Cache-Control": "max-age=60", "Accept-Ranges": "bytes", "Vary": "Origin"}
    origin.objects[PATH] = Script(FILM, etag='"1"', headers=kept)
    async with worker(reader, clock=clock, limits=LIMITS, site=PROXY) as edge:
        for number in range(6):
            site = f"https://{number % 2}.example"
            assert await edge.body(PATH, range=f"bytes=0-{4 * BLOCK - 1}", origin=site) == FILM[: 4 * BLOCK]
    first = "bytes=0-65535"
    assert sorted(ranges_asked(origin)) == sorted(
        [first, first, *(f"bytes={n * BLOCK}-{(n + 1) * BLOCK - 1}" for n in (1, 2, 3))]
    )


async def test_a_changed_object_is_asked_for_once_by_each_worker_whoever_has_the_old_one(
    reader: HttpReader, origin: ScriptedOrigin, tmp_path: Path
) -> None:
    kept = {"Cache-Control": "max-age=3600", "Accept-Ranges": "bytes"}
    origin.objects[PATH] = Script(FILM, etag='"1"', headers=kept)
    async with AsyncExitStack() as stack:
        workers = [
            await stack.enter_async_context(worker(reader, run_dir=tmp_path, slot=slot, limits=LIMITS, site=PROXY))
            for slot in range(2)
        ]
        siblings = [one.siblings for one in workers if one.siblings is not None]
        await eventually(lambda: all(one.live == [0, 1] for one in siblings))
        other = workers[0] if siblings[0].owner(CacheKey(PATH)) is not None else workers[1]
        assert await other.body(PATH, range="bytes=0-9") == FILM[:10]
        newer = FILM[::-1]
        origin.objects[PATH] = Script(newer, etag='"2"', headers=kept)
        for number in range(3, 11):
            first = number * BLOCK
            before = len(origin.seen)
            assert await other.body(PATH, range=f"bytes={first}-{first + 99}") == newer[first : first + 100]
            assert len(origin.seen) - before <= (3 if number == 3 else 1)
        before = len(origin.seen)
        assert await other.body(PATH, range=f"bytes={3 * BLOCK}-{11 * BLOCK - 1}") == newer[3 * BLOCK : 11 * BLOCK]
        assert len(origin.seen) == before


async def test_blocks_are_still_there_when_their_version_is_confirmed(
    reader: HttpReader, origin: ScriptedOrigin, clock: ManualClock, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        disk = await stack.enter_async_context(disk_tier(disk_files(tmp_path, clock), clock))
        edge = await stack.enter_async_context(worker(reader, clock=clock, limits=LIMITS, shared=disk))
        assert await edge.body(PATH) == FILM
        await disk.settled()
        asked = len(origin.seen)
        for _ in range(3):  # 60 s are its lifetime
            clock.advance(100)
            edge.memory.clear()
            assert await edge.body(PATH) == FILM
            await disk.settled()
        assert {seen.headers.get("range", "whole") for seen in origin.seen[asked:]} <= {"whole", "bytes=0-65535"}
        assert len(origin.seen) - asked == 3


async def test_the_digest_of_what_was_sent_is_not_passed_on_for_another_part(
    reader: HttpReader, origin: ScriptedOrigin, clock: ManualClock
) -> None:
    told = {"Cache-Control": "max-age=60", "Accept-Ranges": "bytes", "Content-Digest": "sha-256=:eA==:"}
    origin.objects[PATH] = Script(FILM, etag='"1"', headers=told)
    origin.objects["/small"] = Script(b"small", etag='"1"', headers=told)
    async with worker(reader, clock=clock, limits=LIMITS, site=Site(forwards=True)) as edge:
        for path, byte_range, is_told in (
            (PATH, "bytes=0-9", False),
            (PATH, "", False),
            ("/small", "", True),
            ("/small", "bytes=0-1", False),
        ):
            async with edge.get(path, **({"range": byte_range} if byte_range else {})) as response:
                assert ("Content-Digest" in response.headers) is is_told, (path, byte_range)


async def test_what_has_no_strong_tag_but_fits_is_stored_whole_when_a_range_is_asked_for(
    reader: HttpReader, origin: ScriptedOrigin, clock: ManualClock
) -> None:
    body = FILM[: 3 * BLOCK]
    kept = {"Cache-Control": "max-age=60", "Accept-Ranges": "bytes"}
    origin.objects["/clip"] = Script(body, etag='W/"1"', headers=kept)
    async with worker(reader, clock=clock, limits=LIMITS, site=Site(forwards=True)) as edge:
        for first in range(0, len(body), 10_000):
            assert await edge.body("/clip", range=f"bytes={first}-{first + 99}") == body[first : first + 100]
    assert ranges_asked(origin) == ["bytes=0-65535", "whole"]


async def test_what_one_client_provokes_for_itself_leaves_others_together(
    reader: HttpReader, origin: ScriptedOrigin, clock: ManualClock
) -> None:
    hold = asyncio.Event()
    hold.set()
    fine = Script(b"x" * 1000, etag='"1"', headers={"Cache-Control": "max-age=1"}, hold=hold)
    refused = Script(b"too large", status=431, headers={"Cache-Control": "no-store"})
    origin.objects["/hot"] = Script(choose=lambda fields: refused if "cookie" in fields else fine)
    async with worker(reader, clock=clock, limits=LIMITS, site=Site(forwards=True)) as edge:
        await edge.body("/hot")
        async with edge.get("/hot", cookie="a=b", cache_control="no-cache") as response:
            assert response.status == 431
        clock.advance(2)
        hold.clear()
        before = len(origin.seen)
        asking = [asyncio.create_task(edge.body("/hot")) for _ in range(20)]
        await origin.seen_at_least(before + 1)
        hold.set()
        assert set(await asyncio.gather(*asking)) == {b"x" * 1000}
        assert len(origin.seen) == before + 1


@pytest.mark.parametrize("tiered", [False, True])
async def test_a_long_read_is_a_hit_only_when_all_of_it_is_there(
    reader: HttpReader, origin: ScriptedOrigin, clock: ManualClock, tmp_path: Path, tiered: bool
) -> None:
    async with AsyncExitStack() as stack:
        disk = await stack.enter_async_context(disk_tier(disk_files(tmp_path, clock), clock)) if tiered else None
        edge = await stack.enter_async_context(worker(reader, clock=clock, limits=LIMITS, shared=disk))
        await edge.body(PATH, range="bytes=0-9")
        assert await edge.body(PATH) == FILM
        assert (edge.outcomes[-1].forward, edge.outcomes[-1].forward_status) == (Forward.PARTIAL, 206)
        assert await edge.body(PATH) == FILM
        assert (edge.outcomes[-1].forward, edge.outcomes[-1].tier) == (None, Tier.MEMORY)
        if disk is not None:
            await disk.settled()
            edge.memory.remove(next(key for key in edge.memory.keys_of(PATH) if key.part.endswith(":9")))
            assert await edge.body(PATH) == FILM
            assert edge.outcomes[-1].forward is None

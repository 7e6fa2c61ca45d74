"""One worker between real sockets and a scripted origin: coalescing, streaming, verification, staleness, failure."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace

import aiohttp
import pytest

from edge.cache.engine import Unavailable
from edge.cache.fetch import Site
from edge.cache.limits import Limits
from edge.cache.model import Forward, Tier
from origin.http import Deadlines, HttpReader
from tests.support.loopguard import nothing_blocks_the_loop  # noqa: F401
from tests.support.origin import Gate, Script, ScriptedOrigin
from tests.support.ticking import ManualClock
from tests.support.waiting import eventually
from tests.support.workers import Worker, worker

PATH = "/media/lesson/00001.m4s"
SEGMENT = hashlib.shake_256(b"segment").digest(700_000)
LIMITS = Limits(max_object_bytes=1_000_000, fill_bytes=4_000_000, fill_wait_s=5.0)


@pytest.fixture
async def edge(reader: HttpReader, clock: ManualClock) -> AsyncIterator[Worker]:
    async with worker(reader, clock=clock, limits=LIMITS, patience_s=0.2) as running:
        yield running


async def broken_body(edge: Worker, path: str, **headers: str) -> bytes:
    """What of the body arrives before the connection breaks off; fails when it does not."""
    received = b""
    async with edge.get(path, **headers) as response:
        try:
            async for chunk in response.content.iter_any():
                received += chunk
        except aiohttp.ClientPayloadError:
            return received
    raise AssertionError("the body arrived with a proper end")


async def test_two_hundred_cold_requests_make_one_origin_request(edge: Worker, origin: ScriptedOrigin) -> None:
    hold = asyncio.Event()
    origin.objects[PATH] = Script(SEGMENT, etag='"1"', hold=hold).with_digest()
    asking = [asyncio.create_task(edge.body(PATH)) for _ in range(200)]
    await origin.seen_at_least(1)
    hold.set()
    bodies = await asyncio.gather(*asking)
    assert all(body == SEGMENT for body in bodies)
    assert origin.count(PATH) == 1
    assert await edge.body(PATH) == SEGMENT
    assert origin.count(PATH) == 1
    assert sum(outcome.collapsed for outcome in edge.outcomes) >= 1
    assert edge.outcomes[-1].tier is Tier.MEMORY


async def test_followers_see_bytes_before_the_end(edge: Worker, origin: ScriptedOrigin) -> None:
    gate = Gate()
    origin.objects[PATH] = Script(SEGMENT, etag='"1"', gate=gate)
    gate.open(to=100_000)
    async with edge.get(PATH) as first, edge.get(PATH) as second:
        assert await first.content.readexactly(100_000) == SEGMENT[:100_000]
        assert await second.content.readexactly(100_000) == SEGMENT[:100_000]
        async with edge.get(PATH, range="bytes=50000-59999") as part:
            assert await part.read() == SEGMENT[50_000:60_000]
        gate.open()
        assert await first.read() == await second.read() == SEGMENT[100_000:]
    assert origin.count(PATH) == 1


async def test_the_leader_leaving_changes_nothing_for_the_others(edge: Worker, origin: ScriptedOrigin) -> None:
    gate = Gate()
    origin.objects[PATH] = Script(SEGMENT, etag='"1"', gate=gate)
    gate.open(to=100_000)
    leader = await edge.get(PATH)
    await leader.content.readexactly(1000)
    follower = await edge.get(PATH)
    leader.close()
    gate.open()
    assert await follower.read() == SEGMENT
    follower.release()
    assert origin.count(PATH) == 1
    assert (await edge.body(PATH)) == SEGMENT
    assert origin.count(PATH) == 1


async def test_everyone_leaving_does_not_stop_the_fill(edge: Worker, origin: ScriptedOrigin) -> None:
    gate = Gate()
    origin.objects[PATH] = Script(SEGMENT, etag='"1"', gate=gate)
    gate.open(to=1000)
    only = await edge.get(PATH)
    only.close()
    gate.open()
    await eventually(lambda: len(edge.memory) == 1)
    assert await edge.body(PATH) == SEGMENT
    assert origin.count(PATH) == 1


async def test_an_origin_that_dies_in_the_body_breaks_the_responses_and_stores_nothing(
    edge: Worker, origin: ScriptedOrigin
) -> None:
    origin.objects[PATH] = Script(SEGMENT, etag='"1"', break_at=300_000, ranges=False)
    broken = await asyncio.gather(*(broken_body(edge, PATH) for _ in range(5)))
    assert all(SEGMENT.startswith(received) and len(received) <= 300_000 for received in broken)
    assert len(edge.memory) == 0
    origin.objects[PATH] = Script(SEGMENT, etag='"1"')
    assert await edge.body(PATH) == SEGMENT


async def test_a_body_that_breaks_off_once_is_resumed_under_the_same_entity_tag(
    edge: Worker, origin: ScriptedOrigin
) -> None:
    origin.objects[PATH] = Script(SEGMENT, etag='"1"', break_at=300_000, break_times=1).with_digest()
    assert await edge.body(PATH) == SEGMENT
    rest = origin.seen[-1].headers
    assert (rest["if-match"], rest["range"]) == ('"1"', f"bytes=300000-{len(SEGMENT) - 1}")


async def test_a_body_is_never_continued_with_another_objects_bytes(edge: Worker, origin: ScriptedOrigin) -> None:
    gate = Gate()
    origin.objects[PATH] = Script(SEGMENT, etag='"1"', break_at=300_000, gate=gate)
    asking = asyncio.create_task(broken_body(edge, PATH))
    await origin.seen_at_least(1)
    origin.objects[PATH] = Script(SEGMENT[::-1], etag='"2"')
    gate.open()
    assert SEGMENT.startswith(await asking)
    assert await edge.body(PATH) == SEGMENT[::-1]


async def test_a_body_that_does_not_match_its_digest_never_arrives_whole(edge: Worker, origin: ScriptedOrigin) -> None:
    wrong = Script(SEGMENT, etag='"1"').with_digest()
    wrong.body = SEGMENT[:-1] + b"?"
    origin.objects[PATH] = wrong
    assert len(await broken_body(edge, PATH)) < len(SEGMENT)
    assert len(edge.memory) == 0
    small = Script(b"abc", etag='"1"').with_digest()
    small.body = b"abd"
    origin.objects["/media/small"] = small
    assert await broken_body(edge, "/media/small") == b""


async def test_an_origin_that_declares_too_much_never_gets_a_short_body_stored(
    edge: Worker, origin: ScriptedOrigin
) -> None:
    origin.objects[PATH] = Script(SEGMENT, declare=len(SEGMENT) + 1)
    assert SEGMENT.startswith(await broken_body(edge, PATH))
    assert len(edge.memory) == 0


async def test_ranges_reassemble_from_cold_and_from_memory(edge: Worker, origin: ScriptedOrigin) -> None:
    origin.objects[PATH] = Script(SEGMENT, etag='"1"').with_digest()
    step = 123_457
    for _ in range(2):
        parts = []
        for first in range(0, len(SEGMENT), step):
            async with edge.get(PATH, range=f"bytes={first}-{first + step - 1}") as response:
                assert response.status == 206
                last = min(first + step, len(SEGMENT)) - 1
                assert response.headers["Content-Range"] == f"bytes {first}-{last}/{len(SEGMENT)}"
                parts.append(await response.read())
        assert b"".join(parts) == SEGMENT
    assert origin.count(PATH) == 1


async def test_an_unsatisfiable_range_is_416_and_several_ranges_are_200(edge: Worker, origin: ScriptedOrigin) -> None:
    origin.objects[PATH] = Script(SEGMENT, etag='"1"')
    async with edge.get(PATH, range=f"bytes={len(SEGMENT)}-") as response:
        assert (response.status, response.content_type) == (416, "application/problem+json")
        assert response.headers["Content-Range"] == f"bytes */{len(SEGMENT)}"
    async with edge.get(PATH, range="bytes=0-1,4-5") as response:
        assert (response.status, await response.read()) == (200, SEGMENT)


async def test_conditions_are_answered_from_memory(edge: Worker, origin: ScriptedOrigin) -> None:
    origin.objects[PATH] = Script(b"body", etag='"1"')
    await edge.body(PATH)
    async with edge.get(PATH, if_none_match='"1"') as response:
        assert (response.status, await response.read()) == (304, b"")
        assert response.headers["ETag"] == '"1"'
        assert "Content-Length" not in response.headers
    async with edge.get(PATH, if_match='"2"') as response:
        assert (response.status, response.content_type) == (412, "application/problem+json")
    assert origin.count(PATH) == 1


async def test_head_is_get_without_the_body(edge: Worker, origin: ScriptedOrigin) -> None:
    origin.objects[PATH] = Script(SEGMENT, etag='"1"')
    for _ in range(2):
        async with edge.session.head(edge.url + PATH) as response:
            assert (response.status, response.headers["Content-Length"]) == (200, str(len(SEGMENT)))
            assert await response.read() == b""
    async with edge.session.head(edge.url + PATH, headers={"Range": "bytes=0-9"}) as response:
        # RFC 9110, 14.2: a range means something with GET only.
        assert (response.status, response.headers["Content-Length"]) == (200, str(len(SEGMENT)))
    assert origin.count(PATH) == 1


async def test_a_stale_response_is_served_while_one_request_revalidates_it(
    edge: Worker, origin: ScriptedOrigin, clock: ManualClock
) -> None:
    control = {"Cache-Control": "max-age=5, stale-while-revalidate=30"}
    hold = asyncio.Event()
    origin.objects[PATH] = Script(b"old", etag='"1"', headers=control)
    await edge.body(PATH)
    clock.advance(10)
    origin.objects[PATH] = Script(b"new", etag='"2"', headers=control, hold=hold)
    assert [await edge.body(PATH) for _ in range(3)] == [b"old"] * 3
    await origin.seen_at_least(2)
    assert origin.count(PATH) == 2
    assert origin.seen[-1].headers["if-none-match"] == '"1"'
    assert edge.outcomes[-1].stale
    hold.set()
    await eventually(lambda: _is_body(edge, b"new"))


async def _is_body(edge: Worker, expected: bytes) -> bool:
    return await edge.body(PATH) == expected


async def test_a_304_freshens_the_stored_response_without_its_bytes(
    edge: Worker, origin: ScriptedOrigin, clock: ManualClock
) -> None:
    origin.objects[PATH] = Script(SEGMENT, etag='"1"', headers={"Cache-Control": "max-age=5", "X-Seen": "1"})
    await edge.body(PATH)
    clock.advance(10)
    origin.objects[PATH] = Script(SEGMENT, etag='"1"', headers={"Cache-Control": "max-age=50", "X-Seen": "2"})
    sent = origin.sent_bytes
    async with edge.get(PATH) as response:
        assert await response.read() == SEGMENT
        assert (response.headers["X-Seen"], response.headers["Cache-Control"]) == ("2", "max-age=50")
        assert "fwd=stale; fwd-status=304; stored" in response.headers["Cache-Status"]
    assert origin.sent_bytes == sent
    clock.advance(40)
    await edge.body(PATH)
    assert edge.outcomes[-1].forward is None


async def test_an_origin_that_is_down_lets_stale_play_within_its_window_and_the_rest_is_502(
    edge: Worker, origin: ScriptedOrigin, clock: ManualClock
) -> None:
    origin.objects[PATH] = Script(b"list", etag='"1"', headers={"Cache-Control": "max-age=5, stale-if-error=100"})
    await edge.body(PATH)
    await origin.stop()
    clock.advance(50)
    for _ in range(8):  # more often than the breaker's limit
        async with edge.get(PATH) as response:
            assert (response.status, await response.read()) == (200, b"list")
            assert 50 <= int(response.headers["Age"]) <= 52
    async with edge.get("/media/unknown") as response:
        assert (response.status, response.content_type) == (502, "application/problem+json")
        assert response.headers["Proxy-Status"].startswith("edge-1; error=")
        assert (await response.json(content_type=None))["status"] == 502
    clock.advance(56)
    async with edge.get(PATH) as response:
        assert response.status == 502
    await origin.start()
    clock.advance(1)  # the breaker's next probe
    assert await edge.body(PATH) == b"list"


async def test_an_origin_that_fails_with_5xx_counts_as_failing(
    edge: Worker, origin: ScriptedOrigin, clock: ManualClock
) -> None:
    origin.objects[PATH] = Script(b"list", etag='"1"', headers={"Cache-Control": "max-age=5, stale-if-error=100"})
    await edge.body(PATH)
    origin.objects[PATH] = Script(b"sorry", status=503)
    clock.advance(10)
    assert await edge.body(PATH) == b"list"
    origin.objects["/media/other"] = Script(b"sorry", status=500)
    async with edge.get("/media/other") as response:
        assert response.status == 502
        assert b"sorry" not in await response.read()


async def test_a_slow_origin_is_not_waited_for_when_stale_may_be_served(
    edge: Worker, origin: ScriptedOrigin, clock: ManualClock
) -> None:
    control = {"Cache-Control": "max-age=5, stale-if-error=100"}
    origin.objects[PATH] = Script(b"old", etag='"1"', headers=control)
    await edge.body(PATH)
    clock.advance(10)
    hold = asyncio.Event()
    origin.objects[PATH] = Script(b"new", etag='"2"', headers=control, hold=hold)
    assert await edge.body(PATH) == b"old"
    hold.set()
    await eventually(lambda: _is_body(edge, b"new"))


async def test_an_origin_that_never_answers_is_a_504(origin: ScriptedOrigin) -> None:
    reader = HttpReader(origin.url, deadlines=Deadlines(connect_s=10, first_byte_s=0.1))
    origin.objects[PATH] = Script(b"late", hold=asyncio.Event())
    async with worker(reader) as edge, edge.get(PATH) as response:
        assert (response.status, response.content_type) == (504, "application/problem+json")
        assert "connection_read_timeout" in response.headers["Proxy-Status"]
    await reader.close()


async def test_a_missing_object_is_asked_for_once_per_short_while(
    edge: Worker, origin: ScriptedOrigin, clock: ManualClock
) -> None:
    for _ in range(5):
        async with edge.get("/media/none") as response:
            assert response.status == 404
    assert origin.count("/media/none") == 1
    clock.advance(3)
    origin.objects["/media/none"] = Script(b"here now")
    assert await edge.body("/media/none") == b"here now"


async def test_what_must_not_be_shared_is_fetched_for_each_and_never_queues(
    edge: Worker, origin: ScriptedOrigin
) -> None:
    origin.objects[PATH] = Script(b"mine", headers={"Cache-Control": "private, max-age=60"})
    assert await edge.body(PATH) == b"mine"
    hold = asyncio.Event()
    origin.objects[PATH].hold = hold
    seen = len(origin.seen)
    asking = [asyncio.create_task(edge.body(PATH)) for _ in range(5)]
    await origin.seen_at_least(seen + 5)  # all at once, none behind another
    hold.set()
    assert await asyncio.gather(*asking) == [b"mine"] * 5
    assert len(edge.memory) == 0
    assert edge.outcomes[-1].forward is Forward.BYPASS


async def test_an_object_too_large_to_store_and_without_a_strong_validator_streams_through(
    edge: Worker, origin: ScriptedOrigin
) -> None:
    large = SEGMENT * 2
    origin.objects[PATH] = Script(large, etag='W/"1"')
    assert [await edge.body(PATH) for _ in range(2)] == [large] * 2
    async with edge.get(PATH, range="bytes=1400000-") as response:
        assert response.status == 416
    async with edge.session.head(edge.url + PATH) as response:
        assert response.headers["Content-Length"] == str(len(large))
    assert origin.count(PATH) == 2
    assert edge.memory.used_bytes == 0


async def test_a_slow_client_of_a_large_object_slows_the_origin_and_not_the_memory(
    edge: Worker, origin: ScriptedOrigin
) -> None:
    large = bytes(40_000_000)
    origin.objects[PATH] = Script(large, etag='"1"')
    async with edge.get(PATH) as response:
        await response.content.readexactly(10)
        origin.objects["/media/small"] = Script(b"small")
        assert await edge.body("/media/small") == b"small"
        assert origin.sent_bytes < len(large)
        assert await response.read() == large[10:]


async def test_slow_clients_of_bodies_that_are_not_kept_take_no_misses_from_others(
    reader: HttpReader, origin: ScriptedOrigin
) -> None:
    limits = Limits(max_object_bytes=4_000_000, block_bytes=0, fill_bytes=8_000_000, fill_wait_s=0.5)
    large = bytes(30_000_000)
    async with worker(reader, limits=limits) as edge, AsyncExitStack() as stack:
        for number in range(3):
            origin.objects[f"/media/{number}"] = Script(large, chunked=True)
            response = await stack.enter_async_context(edge.get(f"/media/{number}"))
            await response.content.readexactly(6_000_000)  # beyond what may be kept
        origin.objects["/media/other"] = Script(bytes(4_000_000), etag='"1"')
        assert await edge.body("/media/other") == bytes(4_000_000)


async def test_responses_for_one_client_only_hold_no_more_places_than_there_are(
    reader: HttpReader, origin: ScriptedOrigin
) -> None:
    gate = Gate()
    private = {"Cache-Control": "private"}
    for number in range(3):
        origin.objects[f"/{number}"] = Script(SEGMENT, headers=private, gate=gate, ranges=False)
    origin.objects["/shared"] = Script(b"shared")
    gate.open(to=1000)
    limits = replace(LIMITS, max_passes=2, pass_wait_s=0.05)
    async with worker(reader, limits=limits, site=Site(forwards=True)) as edge, AsyncExitStack() as stack:
        slow = [await stack.enter_async_context(edge.get(f"/{number}")) for number in range(2)]
        for response in slow:
            await response.content.readexactly(1000)
        async with edge.get("/2") as response:
            assert (response.status, response.content_type) == (503, "application/problem+json")
        assert await edge.body("/shared") == b"shared"
        gate.open()
        for response in slow:
            assert await response.read() == SEGMENT[1000:]
        await eventually(lambda: edge.engine._passing._places._free == 2)
        assert await edge.body("/2") == SEGMENT


async def test_other_methods_are_refused(edge: Worker) -> None:
    async with edge.session.post(edge.url + PATH, data=b"x") as response:
        assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")


async def test_players_of_other_sites_may_read_what_they_need(edge: Worker, origin: ScriptedOrigin) -> None:
    origin.objects[PATH] = Script(b"x", headers={"Cache-Control": "max-age=5", "Surrogate-Key": "lesson-1"})
    async with edge.get(PATH, origin="https://elsewhere.example") as response:
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert "Content-Range" in response.headers["Access-Control-Expose-Headers"]
        assert response.headers["Accept-Ranges"] == "bytes"
        assert response.headers["Surrogate-Key"] == "lesson-1"  # another edge may be asking


async def test_the_node_reads_objects_for_itself_through_the_same_cache(edge: Worker, origin: ScriptedOrigin) -> None:
    origin.objects["/catalog/version.json"] = Script(b"{}")
    key = "/catalog/version.json"
    assert [await edge.engine.read(key) for _ in range(3)] == [b"{}"] * 3
    assert origin.count("/catalog/version.json") == 1
    assert await edge.engine.read("/catalog/none") is None
    await origin.stop()
    with pytest.raises(Unavailable):
        await edge.engine.read("/catalog/other")


async def test_a_closing_worker_ends_its_fills_and_breaks_what_is_unfinished(
    reader: HttpReader, origin: ScriptedOrigin
) -> None:
    gate = Gate()
    origin.objects[PATH] = Script(SEGMENT, etag='"1"', gate=gate)
    gate.open(to=1000)
    async with worker(reader, limits=LIMITS) as edge, edge.get(PATH) as response:
        await response.content.readexactly(1000)
        await edge.engine.close()
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
        assert len(edge.memory) == 0


def test_what_may_be_stored_and_filled_follows_from_the_memory() -> None:
    mib = 1024 * 1024
    assert Limits.within(1024 * mib).max_object_bytes == 8 * mib
    assert Limits.within(64 * mib).max_object_bytes == 8 * mib
    assert Limits.within(16 * mib).max_object_bytes == 4 * mib
    assert Limits.within(4 * mib).max_object_bytes == 2 * mib
    assert Limits.within(4 * mib).fill_bytes == 2 * mib * 4 // 3, "of which a body of unknown length may have 2 MiB"

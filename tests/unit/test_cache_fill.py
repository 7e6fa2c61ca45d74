"""Growing bodies, flights, budgets and breakers, interleaved by hand."""

from __future__ import annotations

import asyncio
import base64
import hashlib

import pytest

from edge.cache.breaker import Breaker
from edge.cache.fill import FillBudget, GrowingBody, OvertakenError, receive
from edge.cache.flight import Flight, FlightCrashed, Flights
from edge.cache.freshness import head_of
from edge.cache.model import CacheKey, Head
from edge.cache.ranges import Part
from origin.reader import Chunks, OriginError, OriginFailure
from tests.support.ticking import ManualClock

KEY = CacheKey("/media/a")


async def chunks_of(*chunks: bytes) -> Chunks:
    for chunk in chunks:
        yield chunk


def head(length: int | None, digest: bytes | None = None) -> Head:
    fields = [("content-length", str(length))] if length is not None else []
    if digest is not None:
        fields.append(("repr-digest", f"sha-256=:{base64.b64encode(digest).decode()}:"))
    return head_of(200, tuple(fields), now=0.0, wall=0.0)


async def collect(body: GrowingBody, part: Part | None = None) -> bytes:
    return b"".join([bytes(piece) async for piece in body.read(part)])


async def test_readers_at_any_place_read_the_same_bytes_while_it_grows_and_after() -> None:
    body, whole = GrowingBody(), bytes(range(200))
    readers = [asyncio.create_task(collect(body, part)) for part in (None, Part(0, 0), Part(5, 19), Part(190, 199))]
    for offset in range(0, 200, 10):
        body.append(whole[offset : offset + 10])
        if offset == 100:
            readers.append(asyncio.create_task(collect(body)))
            readers.append(asyncio.create_task(collect(body, Part(15, 105))))
        await asyncio.sleep(0)
    body.finish(whole)
    readers.append(asyncio.create_task(collect(body, Part(3, 4))))
    expected = [whole, whole[:1], whole[5:20], whole[190:], whole, whole[15:106], whole[3:5]]
    assert await asyncio.gather(*readers) == expected


async def test_a_reader_between_two_chunks_goes_on_in_the_whole() -> None:
    body = GrowingBody()
    body.append(b"abc")
    reading = body.read()
    assert bytes(await anext(reading)) == b"abc"
    body.append(b"def")
    body.finish(b"abcdefg")
    assert bytes(await anext(reading)) == b"defg"
    await reading.aclose()


async def test_a_body_that_fails_gives_its_readers_what_there_was_and_then_the_error() -> None:
    body = GrowingBody()
    body.append(b"abc")
    body.fail(OriginError(OriginFailure.INCOMPLETE, "cut"))
    reading = body.read()
    assert bytes(await anext(reading)) == b"abc"
    with pytest.raises(OriginError):
        await anext(reading)


async def test_the_piece_that_completes_a_wrong_body_is_never_released() -> None:
    body = GrowingBody()
    wrong = head(6, hashlib.sha256(b"abcdef").digest())
    with pytest.raises(OriginError, match="SHA-256"):
        await receive(chunks_of(b"abc", b"dex"), wrong, body, limit=100)
    body.fail(OriginError(OriginFailure.PROTOCOL, "wrong"))
    reading = body.read()
    assert bytes(await anext(reading)) == b"abc"
    with pytest.raises(OriginError):
        await anext(reading)


@pytest.mark.parametrize("chunks", [(b"abc",), (b"abc", b"defg"), ()])
async def test_a_body_of_another_length_than_declared_is_refused(chunks: tuple[bytes, ...]) -> None:
    with pytest.raises(OriginError):
        await receive(chunks_of(*chunks), head(6), GrowingBody(), limit=100)


async def test_a_body_of_undeclared_length_is_kept_up_to_the_limit() -> None:
    assert await receive(chunks_of(b"abc", b"", b"def"), head(None), GrowingBody(), limit=6) == b"abcdef"


async def test_a_body_of_undeclared_length_beyond_the_limit_reaches_its_readers_and_is_not_kept() -> None:
    chunks = [bytes([number]) * 10 for number in range(20)]
    body = GrowingBody(window=30)
    readers = [asyncio.create_task(collect(body)) for _ in range(3)]
    await asyncio.sleep(0)
    assert await receive(chunks_of(*chunks), head(None), body, limit=15) is None
    body.finish(None)
    assert await asyncio.gather(*readers) == [b"".join(chunks)] * 3


async def test_an_unkept_body_goes_no_faster_than_its_slowest_reader_and_holds_no_more_than_the_window() -> None:
    taken = 0

    async def endless() -> Chunks:
        nonlocal taken
        while True:
            taken += 10
            yield b"x" * 10

    body = GrowingBody(window=30)
    slow = body.read()
    work = asyncio.create_task(receive(endless(), head(None), body, limit=15))
    assert bytes(await anext(slow)) == b"x" * 10
    for _ in range(50):
        await asyncio.sleep(0)
    before = taken
    assert before <= 60
    assert bytes(await anext(slow)) == b"x" * 10
    for _ in range(50):
        await asyncio.sleep(0)
    assert taken <= before + 20
    await slow.aclose()
    with pytest.raises(OriginError, match="nobody reads"):
        await work


async def test_who_comes_when_the_beginning_of_an_unkept_body_is_gone_is_told_so_at_once() -> None:
    body = GrowingBody(window=10)
    first = body.read()
    work = asyncio.create_task(receive(chunks_of(*[b"x" * 10] * 5), head(None), body, limit=5))
    for _ in range(3):
        await anext(first)
    with pytest.raises(OvertakenError):
        body.read()
    await first.aclose()
    await asyncio.gather(work, return_exceptions=True)


async def test_one_caller_starts_the_work_and_all_get_its_result() -> None:
    flights: Flights[str] = Flights("test")
    go, started = asyncio.Event(), 0

    async def work(flight: Flight[str]) -> None:
        nonlocal started
        started += 1
        await go.wait()
        flight.land("result")

    joined = [flights.join(KEY, work) for _ in range(5)]
    assert [led for _, led in joined] == [True, False, False, False, False]
    waits = [asyncio.create_task(flight.result()) for flight, _ in joined]
    await asyncio.sleep(0)
    waits[0].cancel()  # the leader's client leaves
    go.set()
    results = await asyncio.gather(*waits, return_exceptions=True)
    assert results[1:] == ["result"] * 4
    assert started == 1
    assert len(flights) == 0


async def test_work_that_raises_or_forgets_to_land_is_seen_by_all_and_leaves_no_flight() -> None:
    flights: Flights[str] = Flights("test")

    async def forget(_flight: Flight[str]) -> None:
        await asyncio.sleep(0)

    flight, _ = flights.join(KEY, forget)
    with pytest.raises(FlightCrashed):
        await flight.result()
    assert len(flights) == 0


async def test_closing_ends_flights_and_their_followers_hear_of_it() -> None:
    flights: Flights[str] = Flights("test")

    async def forever(_flight: Flight[str]) -> None:
        await asyncio.Event().wait()

    flight, _ = flights.join(KEY, forever)
    waiting = asyncio.create_task(flight.result())
    await asyncio.sleep(0)
    await flights.close()
    with pytest.raises(FlightCrashed):
        await waiting


async def test_fills_wait_for_their_share_and_give_up_after_the_deadline() -> None:
    budget = FillBudget(limit=100, deadline_s=0.05)
    async with budget.reserve(60):
        with pytest.raises(OriginError) as failed:
            async with budget.reserve(60):
                pass
        assert failed.value.failure is OriginFailure.OVERLOADED
        async with budget.reserve(40):
            assert budget.taken == 100
    async with budget.reserve(10**9):
        assert budget.taken == 100
    assert budget.taken == 0


def test_a_breaker_opens_after_failures_in_a_row_and_lets_one_probe_through_per_interval() -> None:
    clock = ManualClock()
    breaker = Breaker(now=clock.monotonic, limit=3, probe_after_s=1.0)
    breaker.failed()
    breaker.failed()
    breaker.succeeded()
    breaker.failed()
    breaker.failed()
    assert breaker.allow()
    breaker.failed()
    assert not breaker.closed
    assert not breaker.allow()
    clock.advance(1.0)
    assert [breaker.allow(), breaker.allow()] == [
        True,
        False,
    ]  # the probe may also be cancelled: then the next interval
    clock.advance(1.0)
    assert breaker.allow()
    breaker.succeeded()
    assert [breaker.allow(), breaker.allow(), breaker.closed] == [True, True, True]
    breaker.failed(decisive=True)
    assert not breaker.allow()

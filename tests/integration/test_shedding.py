"""A worker with more to do than it can: it says so at once, and does the rest in time."""

from __future__ import annotations

import asyncio
import itertools
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.connections import Limits
from edge.framing import Refusal
from edge.overload import MOST_AGAIN_S, Delay, Overload, Throttle
from tests.support.loopguard import nothing_blocks_the_loop
from tests.support.waiting import eventually
from tests.support.witness import LOOPBACK, Witness, exchange, statuses, witnessing

__all__ = ["nothing_blocks_the_loop"]

GATE = b"GET /gate HTTP/1.1\r\nHost: edge\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: edge\r\n\r\n"
CLOSE = b"\r\nConnection: close\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: edge" + CLOSE
DELAY = Delay(alarm_s=0.005, target_s=0.005, patience_s=0.05, burst=1.0)


@pytest.fixture
async def full() -> AsyncIterator[tuple[Witness, list[asyncio.StreamWriter]]]:
    """A worker that takes two requests at once and has them."""
    overload = Overload(max_in_flight=2, loop=asyncio.get_running_loop())
    async with witnessing(overload=overload, limits=Limits(retry_after_s=0.1)) as witness:
        writers = []
        for number in (1, 2):
            _, writer = await asyncio.open_connection(LOOPBACK, witness.port)
            writer.write(GATE)
            writers.append(writer)
            await eventually(lambda number=number: witness.waiting == number)  # type: ignore[misc]
        yield witness, writers
        for writer in writers:
            writer.close()


Full = tuple[Witness, list[asyncio.StreamWriter]]


async def test_beyond_its_limit_a_worker_answers_503_and_when_to_come_again(full: Full) -> None:
    witness, _ = full
    head, _, body = (await exchange(witness.port, LAST)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 1" in head
    assert b"Proxy-Status: edge-1; error=proxy_internal_response" in head
    assert b"Content-Type: application/problem+json" in head
    assert orjson.loads(body)["status"] == 503
    assert witness.asked == []
    assert witness.refused == [Refusal.IN_FLIGHT]


async def test_a_refused_client_may_keep_its_connection_and_is_served_when_there_is_room(full: Full) -> None:
    witness, _ = full
    reader, writer = await asyncio.open_connection(LOOPBACK, witness.port)
    for refusals in (1, 2, 3):
        writer.write(GET)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"Connection: close" not in head
        await reader.readuntil(b"}")
        assert witness.refused == [Refusal.IN_FLIGHT] * refusals
    witness.gate.set()
    await eventually(lambda: len(witness.asked) == 2)
    writer.write(GET)
    assert (await reader.readuntil(b"seen")).startswith(b"HTTP/1.1 200 ")
    writer.close()


async def test_who_comes_again_before_its_time_is_not_heard_until_then(full: Full) -> None:
    witness, _ = full
    reader, writer = await asyncio.open_connection(LOOPBACK, witness.port)
    writer.write(GET)
    await reader.readuntil(b"}")
    writer.write(GET)
    refused_at = asyncio.get_running_loop().time()
    witness.gate.set()
    assert (await reader.readuntil(b"seen")).startswith(b"HTTP/1.1 200 ")
    assert asyncio.get_running_loop().time() - refused_at > 0.05
    assert witness.refused == [Refusal.IN_FLIGHT]
    assert len(witness.server.guests.waits) == 0
    writer.close()


async def test_a_refusal_of_head_has_no_body(full: Full) -> None:
    witness, _ = full
    answer = await exchange(witness.port, b"HEAD / HTTP/1.1\r\nHost: edge\r\n\r\n", ends=True)
    assert statuses(answer) == [503]
    assert answer.endswith(b"\r\n\r\n")


async def test_what_has_a_body_or_comes_behind_another_is_refused_and_the_connection_closed(full: Full) -> None:
    witness, _ = full
    post = b"POST / HTTP/1.1\r\nHost: edge\r\nContent-Length: 3\r\n\r\nabc"
    for sent in (post + GET, GET + GET, GET + post):
        before = len(witness.refused)
        answer = await exchange(witness.port, sent, ends=True)
        assert set(statuses(answer)) == {503}
        assert len(witness.refused) - before == len(statuses(answer))
    assert witness.asked == []


async def test_a_place_is_free_again_however_its_request_ends(full: Full) -> None:
    witness, writers = full
    assert witness.server.overload is not None
    reset(writers[0])
    await eventually(lambda: witness.server.overload is not None and witness.server.overload.in_flight == 1)
    assert statuses(await exchange(witness.port, LAST)) == [200]
    bad = GET.replace(b"Host", b"Host ")
    assert statuses(await exchange(witness.port, bad)) == [400]
    broken = b"POST / HTTP/1.1\r\nHost: edge\r\nTransfer-Encoding: chunked\r\n\r\nx"
    assert statuses(await exchange(witness.port, broken)) == [400]
    assert witness.server.overload.in_flight == 1
    witness.gate.set()
    await eventually(lambda: witness.server.overload is not None and witness.server.overload.in_flight == 0)


def reset(writer: asyncio.StreamWriter) -> None:
    """Cut a connection so that the other side knows: a mere close could mean that a client just sends no more."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def test_a_loop_that_stays_late_turns_some_away_and_takes_all_again_when_it_is_not() -> None:
    loop = asyncio.get_running_loop()
    async with witnessing(overload=Overload(max_in_flight=1000, loop=loop, delay=DELAY)) as witness:
        assert witness.server.overload is not None
        waiting = [asyncio.create_task(exchange(witness.port, GATE.replace(b"\r\n\r\n", CLOSE))) for _ in range(20)]
        await eventually(lambda: witness.waiting == 20)
        busy = asyncio.create_task(hold_up(loop))
        answered: Counter[int] = Counter()
        while answered[503] < 3 or not answered[200]:
            asked = (exchange(witness.port, LAST) for _ in range(10))
            answered.update(statuses(answer)[0] for answer in await asyncio.gather(*asked))
        busy.cancel()
        assert set(witness.refused) == {Refusal.OVERLOAD}
        witness.gate.set()
        assert [statuses(answer) for answer in await asyncio.gather(*waiting)] == [[200]] * 20
        await eventually(lambda: witness.server.overload is not None and witness.server.overload.turned_away == 0.0)

        async def is_taken() -> bool:
            return statuses(await exchange(witness.port, LAST)) == [200]

        await eventually(is_taken)


async def test_a_loop_that_is_late_with_little_to_do_turns_nobody_away() -> None:
    loop = asyncio.get_running_loop()
    async with witnessing(overload=Overload(max_in_flight=1000, loop=loop, delay=DELAY)) as witness:
        busy = asyncio.create_task(hold_up(loop))
        for _ in range(20):
            assert statuses(await exchange(witness.port, LAST)) == [200]
        busy.cancel()


async def test_a_loop_that_is_late_for_want_of_a_processor_turns_nobody_away() -> None:
    loop = asyncio.get_running_loop()
    starved = Overload(max_in_flight=1000, loop=loop, delay=DELAY, computed=lambda: 0.0)
    async with witnessing(overload=starved) as witness:
        waiting = [asyncio.create_task(exchange(witness.port, GATE.replace(b"\r\n\r\n", CLOSE))) for _ in range(20)]
        await eventually(lambda: witness.waiting == 20)
        busy = asyncio.create_task(hold_up(loop))
        for _ in range(20):
            assert statuses(await exchange(witness.port, LAST)) == [200]
        busy.cancel()
        witness.gate.set()
        await asyncio.gather(*waiting)


async def hold_up(loop: asyncio.AbstractEventLoop) -> None:
    """Keep the event loop busy for longer at a time than it may be late."""
    while True:
        end = loop.time() + 2.5 * DELAY.target_s
        while loop.time() < end:
            pass
        await asyncio.sleep(0)


def overloaded(per_s: float, delay: Delay = DELAY) -> tuple[Throttle, float]:
    """A throttle whose loop has been late for longer than a moment while it answered so many; and the time."""
    throttle, now, tick_s = Throttle(delay), 0.0, delay.patience_s / 4
    while throttle.takes_one(now):
        now += tick_s
        throttle.measured(2 * delay.target_s, tick_s, round(per_s * tick_s), now)
    return throttle, now


def taken(throttle: Throttle, offered_per_s: float, began: float, seconds: float) -> float:
    """How many of so many requests a second are taken, per second."""
    count = int(offered_per_s * seconds)
    return sum(throttle.takes_one(began + number / offered_per_s) for number in range(count)) / seconds


def test_a_burst_is_no_overload() -> None:
    throttle, now = Throttle(DELAY), 0.0
    for _ in range(10):
        for late_s, elapsed_s in [(0.1, 0.005)] * 9 + [(0.0, 0.01)]:
            now += elapsed_s
            throttle.measured(late_s, elapsed_s, 1, now)
            assert all(throttle.takes_one(now) for _ in range(100))
    assert throttle.turned_away == 0.0


@pytest.mark.parametrize("offered", [0.5, 1.5, 3.0, 30.0])
def test_under_overload_as_many_are_taken_as_were_answered(offered: float) -> None:
    throttle, now = overloaded(per_s=1000.0)
    assert taken(throttle, offered * 1000.0, now, 1.0) == pytest.approx(min(offered, 1.0) * 1000.0, rel=0.1)


def test_the_rate_falls_while_the_loop_is_later_than_the_target_and_rises_while_it_is_not() -> None:
    throttle, now = overloaded(per_s=1000.0)
    rates = []
    for late_s in [0.015] * 10 + [0.0] * 10:
        rates.append(taken(throttle, 100_000.0, now, 0.06))
        now += 0.06
        throttle.measured(late_s, 0.06, 60, now)
    down, up = rates[:10], rates[10:]
    assert all(earlier >= later for earlier, later in itertools.pairwise(down))
    assert down[-1] < 500.0
    assert all(earlier <= later for earlier, later in itertools.pairwise(up))
    assert up[-1] > 500.0


def test_overload_is_over_when_those_who_were_told_to_come_again_have_come_and_were_taken() -> None:
    throttle, now = overloaded(per_s=100.0)
    for _ in range(4 * MOST_AGAIN_S):
        now += 1.0
        throttle.takes_one(now)
        throttle.measured(0.0, 1.0, 1, now)
    assert throttle.turned_away < 0.01
    assert all(throttle.takes_one(now) for _ in range(10_000))


@given(
    st.lists(st.tuples(st.floats(0, 10), st.floats(0.001, 10), st.integers(0, 10_000), st.integers(0, 50)), max_size=50)
)
def test_some_are_always_taken_again(measured: list[tuple[float, float, int, int]]) -> None:
    throttle, now = Throttle(DELAY), 0.0
    for late_s, elapsed_s, answered, asked in measured:
        now += elapsed_s
        for _ in range(asked):
            throttle.takes_one(now)
        throttle.measured(late_s, elapsed_s, answered, now)
        assert 0.0 <= throttle.turned_away <= 1.0
    assert throttle.takes_one(now + 1.0)


@pytest.mark.parametrize(("share", "told"), [(0.0, {1}), (0.5, {2, 3}), (0.7, {4, 5, 6, 7}), (1.0, set(range(5, 10)))])
async def test_the_more_are_turned_away_the_later_they_are_told_to_come_and_not_all_at_once(
    share: float, told: set[int]
) -> None:
    overload = Overload(max_in_flight=1, loop=asyncio.get_running_loop())
    overload.throttle.turned_away = share
    assert {overload.again_s() for _ in range(100)} == told

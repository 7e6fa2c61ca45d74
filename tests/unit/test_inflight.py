"""What a drain waits for: requests in flight, whoever counts them at the moment."""

from __future__ import annotations

import asyncio

from edge.inflight import InFlight


async def test_a_request_that_one_hands_on_to_another_is_waited_for() -> None:
    in_flight, done = InFlight(), asyncio.Event()

    async def handler() -> None:
        in_flight.enter()
        await done.wait()
        in_flight.leave()

    async def queue() -> None:
        await asyncio.sleep(0)
        tasks.append(asyncio.create_task(handler()))

    tasks: list[asyncio.Task[None]] = []
    in_flight.enter()
    drained = asyncio.create_task(in_flight.wait_empty(20))
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(queue()))
    in_flight.leave()
    for _ in range(20):
        await asyncio.sleep(0)
    assert in_flight.count
    assert not drained.done()
    done.set()
    assert await drained


async def test_nothing_in_flight_is_nothing_to_wait_for() -> None:
    assert await InFlight().wait_empty(0)
    in_flight = InFlight()
    in_flight.enter()
    assert not await in_flight.wait_empty(0)

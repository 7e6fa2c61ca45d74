"""Who joins a flight, and who no longer does."""

from __future__ import annotations

import asyncio

from edge.cache.flight import Flight, Flights
from edge.cache.model import CacheKey

KEY = CacheKey("/a")


class Work:
    """Lands at once with its number, and goes on until it is told to end."""

    def __init__(self, number: int) -> None:
        self._number = number
        self.end = asyncio.Event()

    async def __call__(self, flight: Flight[int]) -> None:
        flight.land(self._number)
        await self.end.wait()


async def test_a_retired_flight_keeps_those_in_it_and_is_joined_by_nobody_else() -> None:
    flights: Flights[int] = Flights("test")
    first, led = flights.join(KEY, Work(1))
    assert led
    assert await first.result() == 1
    assert flights.join(KEY, Work(2)) == (first, False), "it has landed, and is still under way"
    flights.retire(KEY, first)
    second, led = flights.join(KEY, Work(2))
    assert led
    assert (await first.result(), await second.result()) == (1, 2)
    await flights.close()


async def test_while_a_retired_flight_is_under_way_the_one_in_its_place_is_not_retired() -> None:
    flights: Flights[int] = Flights("test")
    work = Work(1)
    first, _ = flights.join(KEY, work)
    await first.result()
    assert flights.retire(KEY, first)
    second, _ = flights.join(KEY, Work(2))
    await second.result()
    assert not flights.retire(KEY, second)
    assert flights.join(KEY, Work(3)) == (second, False)
    work.end.set()
    while len(asyncio.all_tasks()) > 2:  # noqa: ASYNC110 - the first flight's task ends
        await asyncio.sleep(0)
    assert flights.retire(KEY, second)
    await flights.close()


async def test_the_end_of_a_retired_flight_takes_nothing_from_the_one_in_its_place() -> None:
    flights: Flights[int] = Flights("test")
    work = Work(1)
    first, _ = flights.join(KEY, work)
    await first.result()
    flights.retire(KEY, first)
    second, _ = flights.join(KEY, Work(2))
    flights.retire(KEY, first)
    work.end.set()
    while len(asyncio.all_tasks()) > 2:  # noqa: ASYNC110 - the first flight's task ends
        await asyncio.sleep(0)
    assert flights.join(KEY, Work(3)) == (second, False)
    await flights.close()

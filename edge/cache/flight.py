"""One piece of work per key: the first caller starts it, all others wait for the same result ("singleflight").

The work is a task that the `Flights` own, not the caller: a client that leaves cancels only its own wait. A flight has
two moments: it *lands* (its result is known to everyone who waits), and it *ends* (its task is done, e.g. the body is
committed). It stays joinable until it ends.

Why the leader looks at the tiers again: a request R2 misses in memory and awaits (say, Redis); meanwhile the flight
that R1 led lands, stores and ends; R2 goes on, finds no flight, and starts one. Without a second look inside it, R2
would ask the origin for what has just been stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Generic, TypeVar

from edge.cache.model import CacheKey
from edge.tasks import end

Result = TypeVar("Result")


class Flight(Generic[Result]):
    """One flight, as its followers see it."""

    __slots__ = ("_error", "_landed", "_result")

    def __init__(self) -> None:
        self._landed = asyncio.Event()
        self._result: Result | None = None
        self._error: BaseException | None = None

    @property
    def landed(self) -> bool:
        """Whether the result is known."""
        return self._landed.is_set()

    def land(self, result: Result) -> None:
        """Give everyone the result; called by the work, once."""
        self._result = result
        self._landed.set()

    def crash(self, error: BaseException) -> None:
        """Give everyone the error, unless there is a result already."""
        if not self.landed:
            self._error = error
            self._landed.set()

    async def result(self) -> Result:
        """Wait for the result. Every waiter has its own wait: cancelling one touches nothing else."""
        await self._landed.wait()
        if self._result is None:
            raise FlightCrashed from self._error
        return self._result


class FlightCrashed(Exception):  # noqa: N818 - what happened, in the words of this module
    """The work ended without a result; the cause is chained."""


class Flights(Generic[Result]):
    """All flights of a worker, by key. name: of the tasks."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._flying: dict[CacheKey, Flight[Result]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._flying)

    def join(
        self, key: CacheKey, work: Callable[[Flight[Result]], Coroutine[object, object, None]]
    ) -> tuple[Flight[Result], bool]:
        """The key's flight, and whether this call started it (with `work`, which must land it)."""
        flight = self._flying.get(key)
        if flight is not None:
            return flight, False
        flight = self._flying[key] = Flight()
        task = asyncio.create_task(self._fly(key, flight, work), name=f"{self._name} {key.path}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return flight, True

    async def _fly(
        self, key: CacheKey, flight: Flight[Result], work: Callable[[Flight[Result]], Coroutine[object, object, None]]
    ) -> None:
        try:
            await work(flight)
        except BaseException as error:
            flight.crash(error)
            raise
        finally:
            del self._flying[key]
            if not flight.landed:
                flight.crash(RuntimeError("the flight's work ended without a result"))

    async def close(self) -> None:
        """Cancel all flights; their followers see FlightCrashed."""
        await end(self._tasks)

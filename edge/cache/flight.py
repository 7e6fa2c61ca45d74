"""One piece of work per key: the first caller starts it, all others wait for the same result ("singleflight").

The work is a task that the `Flights` own, not the caller: a client that leaves cancels only its own wait. A flight has
two moments: it *lands* (its result is known to everyone who waits), and it *ends* (its task is done, e.g. the body is
committed). It stays joinable until it ends, or until a purge detaches it: what was asked for before the purge is good
enough for those who wait already, and for nobody who comes later. So is what was good for those who waited and has
grown too old since for one who comes later: such a flight is retired, and another takes its place. While it is under
way nobody retires that one, too: each has a whole body to bring.

Why the leader looks at the tiers again: a request R2 misses in memory and awaits (say, Redis); meanwhile the flight
that R1 led lands, stores and ends; R2 goes on, finds no flight, and starts one. Without a second look inside it, R2
would ask the origin for what has just been stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Generic, TypeAlias, TypeVar

from edge.cache.model import CacheKey
from edge.tasks import end
from origin.reader import Headers, Interim

Result = TypeVar("Result")


class Flight(Generic[Result]):
    """One flight, as its leader, its followers and its work see it.

    leader_left: set when nobody is there any more to whom a result could be given that is the leader's alone.
    """

    __slots__ = ("_error", "_landed", "_listeners", "_result", "leader_left")

    def __init__(self) -> None:
        self._landed = asyncio.Event()
        self._result: Result | None = None
        self._error: BaseException | None = None
        self._listeners: list[Interim] = []
        self.leader_left = asyncio.Event()

    @property
    def landed(self) -> bool:
        """Whether the result is known."""
        return self._landed.is_set()

    @property
    def outcome(self) -> Result | None:
        """The result, None before the landing."""
        return self._result

    def land(self, result: Result) -> None:
        """Give everyone the result; called by the work, once."""
        self._result = result
        self._listeners.clear()
        self._landed.set()

    def crash(self, error: BaseException) -> None:
        """Give everyone the error, unless there is a result already."""
        if not self.landed:
            self._error = error
            self._landed.set()

    def interim(self, status: int, headers: Headers) -> None:
        """Tell everyone who waits, and wants to know, of an interim response (1xx)."""
        for listener in self._listeners:
            listener(status, headers)

    async def result(self, on_interim: Interim | None = None) -> Result:
        """Wait for the result. Every waiter has its own wait: cancelling one touches nothing else."""
        if on_interim is not None and not self.landed:
            self._listeners.append(on_interim)
        try:
            await self._landed.wait()
        finally:
            if on_interim in self._listeners:
                self._listeners.remove(on_interim)
        if self._result is None:
            raise FlightCrashed from self._error
        return self._result


class FlightCrashed(Exception):  # noqa: N818 - what happened, in the words of this module
    """The work ended without a result; the cause is chained."""


Work: TypeAlias = Callable[[Flight[Result]], Coroutine[object, object, None]]


class Flights(Generic[Result]):
    """All flights of a worker, by key. name: of the tasks."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._flying: dict[CacheKey, Flight[Result]] = {}
        self._retired: dict[CacheKey, Flight[Result]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._flying)

    def join(self, key: CacheKey, work: Work[Result]) -> tuple[Flight[Result], bool]:
        """The key's flight, and whether this call started it (with `work`, which must land it)."""
        flight = self._flying.get(key)
        if flight is not None:
            return flight, False
        flight = self._flying[key] = Flight()
        self._begin(key, flight, work)
        return flight, True

    def alone(self, key: CacheKey, work: Work[Result]) -> Flight[Result]:
        """A flight that nobody else joins."""
        flight: Flight[Result] = Flight()
        self._begin(key, flight, work)
        return flight

    @contextmanager
    def adopted(self, key: CacheKey) -> Iterator[Flight[Result] | None]:
        """A flight for `key` whose work is the block under `with`; None when there is one already."""
        if key in self._flying:
            yield None
            return
        flight = self._flying[key] = Flight()
        try:
            yield flight
        except BaseException as error:
            flight.crash(error)
            raise
        finally:
            self._end(key, flight)

    def detach(self, belongs: Callable[[CacheKey, Result | None], bool]) -> None:
        """Let nobody join any more the flights for which `belongs(key, result so far)` is true."""
        gone = [key for key, flight in self._flying.items() if belongs(key, flight.outcome)]
        for key in gone:
            del self._flying[key]

    def retire(self, key: CacheKey, flight: Flight[Result]) -> bool:
        """Let nobody join this flight any more; those that are in it stay.

        False, and nothing happens, while another one that was retired is under way: there are two of a key at most.
        """
        if key in self._retired or self._flying.get(key) is not flight:
            return False
        self._retired[key] = flight
        del self._flying[key]
        return True

    def _begin(self, key: CacheKey, flight: Flight[Result], work: Work[Result]) -> None:
        task = asyncio.create_task(self._fly(key, flight, work), name=f"{self._name} {key.uri}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _fly(self, key: CacheKey, flight: Flight[Result], work: Work[Result]) -> None:
        try:
            await work(flight)
        except BaseException as error:
            flight.crash(error)
            raise
        finally:
            self._end(key, flight)

    def _end(self, key: CacheKey, flight: Flight[Result]) -> None:
        for under_way in (self._flying, self._retired):
            if under_way.get(key) is flight:  # it may have been detached, and another have taken its place
                del under_way[key]
        if not flight.landed:
            flight.crash(RuntimeError("the flight's work ended without a result"))

    async def close(self) -> None:
        """Cancel all flights; their followers see FlightCrashed."""
        await end(self._tasks)

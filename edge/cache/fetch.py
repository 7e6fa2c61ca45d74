"""How a response is got that memory does not hold: Redis, the sibling that owns the key, the origin.

Two kinds of flights, so that workers never wait for each other in a ring:
- a *local* flight looks at this worker's tiers and asks the origin; siblings' requests only ever join these;
- a *forwarding* flight looks at the tiers and asks the owner; when the owner cannot be reached it takes over the result
  of the key's local flight.
If two workers take each other for the owner, each one's forwarding flight ends in the other's local flight.

A flight lands as soon as the head is judged; its body may still be growing then.
"""

from __future__ import annotations

import logging
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, TypeAlias

from cachetools import LRUCache

from edge.cache import siblings as wire
from edge.cache.fill import FillBudget, GrowingBody, receive
from edge.cache.flight import Flight, Flights
from edge.cache.freshness import Verdict, decide, freshened, head_of, usable_on_error
from edge.cache.memory import MemoryStore
from edge.cache.model import CacheKey, Entry, Forward, Head, Pass, Tier
from edge.cache.ranges import Part, parse_content_range
from edge.cache.siblings import Answered, Siblings
from edge.clock import Clock
from origin.reader import Chunks, ObjectReader, OriginError, OriginFailure, ReadRequest, ReadResponse

log = logging.getLogger(__name__)

_MIB = 1024 * 1024
_MAX_PASSES = 10_000  # remembered "do not share" keys; a forgotten one costs one look at a head


class SharedTier(Protocol):
    """A tier beyond this worker, as the engine needs it: it may be slow or gone, and never raises."""

    async def get(self, key: CacheKey) -> Entry | None: ...

    def put(self, key: CacheKey, entry: Entry) -> bool: ...


@dataclass(frozen=True, slots=True)
class Found:
    """A complete entry. forward None: it was in a tier; error: the origin failed and this is the stale rest."""

    entry: Entry
    tier: Tier
    forward: Forward | None = None
    forward_status: int | None = None
    error: OriginError | None = None


@dataclass(frozen=True, slots=True)
class Growing:
    """A judged head whose body is on its way into the cache."""

    head: Head
    body: GrowingBody
    tier: Tier
    forward: Forward | None
    forward_status: int | None


@dataclass(frozen=True, slots=True)
class Unshared:
    """Everyone has to ask for himself."""

    marker: Pass


@dataclass(frozen=True, slots=True)
class Failed:
    """The origin failed, and nothing stored may stand in."""

    error: OriginError
    forward: Forward


Landing: TypeAlias = Found | Growing | Unshared | Failed


@dataclass(frozen=True, slots=True)
class Limits:
    """max_object_bytes: larger objects pass unstored; fill_bytes, fill_wait_s: of the fill budget, per worker.

    negative_ttl_s: lifetime of a 404 without one of its own; pass_s: how long "do not share" is remembered.
    """

    max_object_bytes: int = 32 * _MIB
    fill_bytes: int = 128 * _MIB
    fill_wait_s: float = 5.0
    negative_ttl_s: float = 2.0
    pass_s: float = 10.0

    @classmethod
    def within(cls, memory_bytes: int) -> Limits:
        """For a worker with a memory tier of that size: an object takes an eighth of it at most, all fills a quarter.

        In a small memory an object may take half, up to 4 MiB, so that segments are still coalesced.
        """
        largest = max(min(32 * _MIB, memory_bytes // 8), min(4 * _MIB, memory_bytes // 2))
        return cls(max_object_bytes=largest, fill_bytes=max(memory_bytes // 4, largest))


class Fetcher:
    """All flights of one worker."""

    def __init__(
        self,
        *,
        reader: ObjectReader,
        memory: MemoryStore,
        shared: SharedTier | None,
        siblings: Siblings | None,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self._reader = reader
        self._memory = memory
        self._shared = shared
        self._siblings = siblings
        self._clock = clock
        self._limits = limits
        self._budget = FillBudget(limit=limits.fill_bytes, deadline_s=limits.fill_wait_s)
        self._passes: LRUCache[CacheKey, Pass] = LRUCache(_MAX_PASSES)
        self._local: Flights[Landing] = Flights("fill")
        self._forwarding: Flights[Landing] = Flights("ask sibling for")

    def marker(self, key: CacheKey) -> Pass | None:
        """What is remembered of a key that is not shared."""
        return self._passes.get(key)

    def forget(self, key: CacheKey) -> None:
        """The marker turned out wrong."""
        self._passes.pop(key, None)

    def join(self, key: CacheKey) -> tuple[Flight[Landing], bool]:
        """The key's flight, and whether this call started it."""
        owner = self._siblings.owner(key) if self._siblings is not None else None
        if owner is None:
            return self.join_local(key)
        return self._forwarding.join(key, partial(self._fly_forwarding, key, owner))

    def join_local(self, key: CacheKey) -> tuple[Flight[Landing], bool]:
        """The key's flight that asks no sibling."""
        return self._local.join(key, partial(self._fly_local, key))

    async def close(self) -> None:
        """End all flights."""
        await self._forwarding.close()
        await self._local.close()

    # -- flights ---------------------------------------------------------------------------------------------------

    async def _fly_local(self, key: CacheKey, flight: Flight[Landing]) -> None:
        base, tier = await self._newest(key)
        if base is not None and decide(base, self._clock.monotonic()) is Verdict.HIT:
            flight.land(Found(base, tier))
            return
        try:
            if not await self._ask_origin(key, flight, base):
                await self._ask_origin(key, flight, None)
        except OriginError as error:
            flight.land(self._failed(error, base, tier))

    async def _fly_forwarding(self, key: CacheKey, owner: int, flight: Flight[Landing]) -> None:
        base, tier = await self._newest(key)
        if base is not None and decide(base, self._clock.monotonic()) is Verdict.HIT:
            flight.land(Found(base, tier))
            return
        try:
            await self._ask_sibling(key, owner, flight, base)
        except OriginError as error:
            log.info("sibling %d did not answer (%s), asking the origin", owner, error)
            local, _ = self.join_local(key)
            flight.land(await local.result())

    async def _newest(self, key: CacheKey) -> tuple[Entry | None, Tier]:
        """The youngest stored entry, and where it was; one found in Redis is in memory afterwards."""
        stored = self._memory.get(key)
        if self._shared is None or (stored is not None and decide(stored, self._clock.monotonic()) is Verdict.HIT):
            return stored, Tier.MEMORY
        shared = await self._shared.get(key)
        stored = self._memory.get(key)  # it may have come while we waited
        if shared is None or (stored is not None and stored.head.born >= shared.head.born):
            return stored, Tier.MEMORY
        self._memory.put(key, shared)
        return shared, Tier.REDIS

    def _failed(self, error: OriginError, base: Entry | None, tier: Tier) -> Landing:
        if base is not None and usable_on_error(base.head, self._clock.monotonic()):
            return Found(base, tier, Forward.STALE, error=error)
        return Failed(error, Forward.MISS if base is None else Forward.STALE)

    # -- the origin ------------------------------------------------------------------------------------------------

    async def _ask_origin(self, key: CacheKey, flight: Flight[Landing], base: Entry | None) -> bool:
        """Fill or revalidate. False: the origin confirmed a validator that is not ours; ask again without one."""
        asked_at = self._clock.monotonic()
        async with self._reader.open(_conditional_read(key, base)) as response:
            now = self._clock.monotonic()
            if response.status == 304 and base is not None:
                return self._revalidated(key, flight, base, response, now - asked_at)
            if response.status >= 500:
                raise OriginError(OriginFailure.UNAVAILABLE, f"the origin answered {response.status}")
            if response.status in (206, 304, 412, 416):
                raise OriginError(OriginFailure.PROTOCOL, f"the origin answered {response.status} to a plain request")
            head = self._head(response, now - asked_at)
            marker = self._unshareable(head, now)
            if marker is not None:
                self._memory.remove(key)
                self._passes[key] = marker
                flight.land(Unshared(marker))
                return True
            forward = Forward.MISS if base is None else Forward.STALE
            landing = Growing(head, GrowingBody(), Tier.ORIGIN, forward, response.status)
            await self._receive(key, flight, landing, response.chunks, to_shared=head.status == 200)
        return True

    def _revalidated(
        self, key: CacheKey, flight: Flight[Landing], base: Entry, response: ReadResponse, delay_s: float
    ) -> bool:
        confirmed = response.field("etag")
        if confirmed is not None and confirmed.removeprefix("W/") != (base.head.etag or "").removeprefix("W/"):
            return False
        age = tuple(line for line in response.headers if line[0] == "age")
        update = replace(
            response, status=base.head.status, headers=freshened(base.head.headers, response.headers) + age
        )
        head = replace(self._head(update, delay_s), length=base.head.length)
        entry = Entry(head, base.body)
        self._keep(key, entry, to_shared=head.status == 200)
        flight.land(Found(entry, Tier.ORIGIN, Forward.STALE, 304))
        return True

    def _head(self, response: ReadResponse, delay_s: float) -> Head:
        return head_of(
            response.status,
            response.headers,
            now=self._clock.monotonic(),
            wall=self._clock.wall(),
            response_delay_s=delay_s,
            negative_ttl_s=self._limits.negative_ttl_s,
        )

    def _unshareable(self, head: Head, now: float) -> Pass | None:
        if not head.freshness.storable:
            return Pass("the origin forbids storing it", now + self._limits.pass_s)
        if head.length is not None and head.length > self._limits.max_object_bytes:
            kept_s = min(max(0.0, head.freshness.lifetime_s - head.age_s(now)), self._limits.pass_s)
            return Pass("too large to be stored", now + kept_s, head)
        return None

    # -- the sibling -----------------------------------------------------------------------------------------------

    async def _ask_sibling(self, key: CacheKey, owner: int, flight: Flight[Landing], base: Entry | None) -> None:
        """Land what the owner has. OriginError: it could not be asked."""
        siblings = self._siblings
        reader = siblings.reader(owner) if siblings is not None else None
        if siblings is None or reader is None:
            raise OriginError(OriginFailure.CONNECT, "the sibling has just gone")
        try:
            async with reader.open(_conditional_read(key, base)) as response:
                answer = wire.decode(response, now=self._clock.monotonic())
                await self._take_over(key, flight, base, answer, response.chunks)
        except OriginError as error:
            if error.failure is not OriginFailure.OVERLOADED:
                siblings.failed(owner)
            raise

    async def _take_over(
        self,
        key: CacheKey,
        flight: Flight[Landing],
        base: Entry | None,
        answer: wire.Answer,
        chunks: Chunks,
    ) -> None:
        if answer.kind is Answered.ENTRY and answer.head is not None:
            landing = Growing(answer.head, GrowingBody(), Tier.SIBLING, answer.forward, answer.forward_status)
            await self._receive(key, flight, landing, chunks, to_shared=False)
        elif answer.kind is Answered.SAME and answer.head is not None and base is not None:
            entry = Entry(answer.head, base.body)
            self._keep(key, entry, to_shared=False)
            flight.land(Found(entry, Tier.SIBLING, answer.forward, answer.forward_status))
        elif answer.kind is Answered.PASS and answer.marker is not None:
            self._passes[key] = answer.marker
            flight.land(Unshared(answer.marker))
        elif answer.kind is Answered.ERROR and answer.error is not None:
            flight.land(self._failed(answer.error, base, Tier.MEMORY))
        else:
            raise OriginError(OriginFailure.PROTOCOL, "a sibling worker's answer makes no sense")

    # -- the body --------------------------------------------------------------------------------------------------

    async def _receive(
        self,
        key: CacheKey,
        flight: Flight[Landing],
        landing: Growing,
        chunks: Chunks,
        *,
        to_shared: bool,
    ) -> None:
        """Land with the head, then take in the body. What goes wrong from there on is the body's readers' to see."""
        head, body, limit = landing.head, landing.body, self._limits.max_object_bytes
        async with self._budget.reserve(limit if head.length is None else head.length):
            flight.land(landing)
            try:
                async with aclosing(self._resuming(key, head, chunks)) as resuming:
                    whole = await receive(resuming, head, body, limit=limit)
            except OriginError as error:
                log.warning("fill of %s broke off: %s", key.path, error)
                body.fail(error)
                return
            except BaseException:
                body.fail(OriginError(OriginFailure.TERMINATED, "the fill was ended"))
                raise
            # Stored first: whoever sees the end of the body finds the entry.
            self._keep(key, Entry(replace(head, length=len(whole)), whole), to_shared=to_shared)
            body.finish(whole)

    async def _resuming(self, key: CacheKey, head: Head, chunks: Chunks) -> Chunks:
        """The chunks; if they break off, once more from there, provided that the strong entity tag is the same."""
        position = 0
        try:
            async for chunk in chunks:
                position += len(chunk)
                yield chunk
            return
        except OriginError as error:
            if head.length is None or head.strong_etag is None or position >= head.length:
                raise
            broken = error
        part = Part(position, head.length - 1)
        read = ReadRequest(key.path, if_match=head.strong_etag, byte_range=(part.first, part.last))
        async with self._reader.open(read) as rest:
            whereabouts = parse_content_range(rest.field("content-range"))
            if rest.status != 206 or whereabouts != (part, head.length) or rest.field("etag") != head.etag:
                raise broken
            async for chunk in rest.chunks:
                yield chunk

    def _keep(self, key: CacheKey, entry: Entry, *, to_shared: bool) -> None:
        self._memory.put(key, entry)
        if to_shared and self._shared is not None:
            self._shared.put(key, entry)


def _conditional_read(key: CacheKey, base: Entry | None) -> ReadRequest:
    if base is None or base.head.status != 200:
        return ReadRequest(key.path)
    etag = base.head.etag
    return ReadRequest(
        key.path, if_none_match=etag, if_modified_since=base.head.last_modified if etag is None else None
    )

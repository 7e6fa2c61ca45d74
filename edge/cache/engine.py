"""The driver: look into memory, ask the pure verdict, act. One `get` per request, one `Outcome` for each.

A hit is answered without awaiting anything. Everything else joins the key's flight (`edge.cache.fetch`) or passes.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace

from edge.cache.breaker import Breaker, GuardedReader
from edge.cache.conditional import Shape, shape
from edge.cache.fetch import Failed, Fetcher, Found, Growing, Landing, Limits, SharedTier, Unshared
from edge.cache.freshness import Verdict, decide, head_of, usable_on_error
from edge.cache.memory import MemoryStore
from edge.cache.model import UNCONDITIONAL, CacheKey, Conditions, Entry, Forward, Head, Outcome, Pass, Tier
from edge.cache.ranges import Part, parse_content_range
from edge.cache.siblings import Answer, Answered, Siblings, encode
from edge.clock import Clock
from origin.reader import Chunks, ObjectReader, OriginError, OriginFailure, ReadRequest, ReadResponse

ORIGIN_FAILURES = 5
"""Failures in a row after which the origin is left alone, but for one probe per `ORIGIN_PROBE_S`."""
ORIGIN_PROBE_S = 1.0


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, as the cache sees it. head_only: no body is wanted."""

    key: CacheKey
    conditions: Conditions = UNCONDITIONAL
    head_only: bool = False


Body = bytes | memoryview | AsyncGenerator[bytes | memoryview, None] | Chunks


@dataclass(slots=True)
class Reply:
    """What to send. `close` must be awaited once it is sent, or given up.

    head: of the stored response; status and part say what of it is sent; length: bytes of `body`, None when unknown.
    An iterated body raises OriginError where it breaks off: then the client must not be told that it is complete.
    """

    status: int
    head: Head
    outcome: Outcome
    age_s: int
    part: Part | None = None
    length: int | None = None
    body: Body = b""
    resources: AsyncExitStack | None = field(default=None, repr=False)

    async def close(self) -> None:
        """Give back what the body needed."""
        if self.resources is not None:
            await self.resources.aclose()


class Unavailable(Exception):  # noqa: N818 - a verdict on a request
    """Nothing can be served; `outcome.error` says why."""

    def __init__(self, outcome: Outcome, error: OriginError) -> None:
        super().__init__(str(error))
        self.outcome = outcome
        self.error = error


class Engine:
    """One worker's cache. record: called with the outcome of every request, at the time its head is known.

    limits: of objects and fills; by default what suits the memory tier's size.
    patience_s: how long a request waits for the origin when a stale response could be served instead.
    max_passes: responses streamed past the cache at once; each holds an origin connection while its client reads.
    """

    def __init__(
        self,
        *,
        reader: ObjectReader,
        memory: MemoryStore,
        shared: SharedTier | None,
        siblings: Siblings | None,
        clock: Clock,
        record: Callable[[Outcome], None] = lambda _outcome: None,
        limits: Limits | None = None,
        patience_s: float = 2.0,
        max_passes: int = 32,
        pass_wait_s: float = 5.0,
    ) -> None:
        breaker = Breaker(now=clock.monotonic, limit=ORIGIN_FAILURES, probe_after_s=ORIGIN_PROBE_S)
        self._reader = GuardedReader(reader, breaker)
        self._memory = memory
        self._clock = clock
        self._record = record
        self._patience_s = patience_s
        self._pass_places = asyncio.Semaphore(max_passes)
        self._pass_wait_s = pass_wait_s
        self._fetcher = Fetcher(
            reader=self._reader,
            memory=memory,
            shared=shared,
            siblings=siblings,
            clock=clock,
            limits=limits or Limits.within(memory.max_bytes),
        )

    @property
    def origin_healthy(self) -> bool:
        """Whether the origin answered lately."""
        return self._reader.healthy

    async def close(self) -> None:
        """End all fills. What was handed in stays open."""
        await self._fetcher.close()

    async def get(self, ask: Ask) -> Reply:
        """The reply to a GET or HEAD; Unavailable when there is none."""
        now = self._clock.monotonic()
        entry = self._memory.get(ask.key)
        if entry is not None:
            verdict = decide(entry, now)
            if verdict is Verdict.STALE_HIT:
                self._fetcher.join(ask.key)  # nobody waits for it
            if verdict is Verdict.HIT or verdict is Verdict.STALE_HIT:
                return self._from_entry(ask, Found(entry, Tier.MEMORY), now, collapsed=False)
        marker = self._fetcher.marker(ask.key)
        if marker is not None and decide(marker, now) is Verdict.PASS:
            return await self._pass(ask, marker)
        return await self._fly(ask, entry)

    async def for_sibling(self, key: CacheKey, known_etag: str | None) -> tuple[Answer, Body]:
        """The answer to another worker that does not hold the key, or only with `known_etag`, no longer fresh."""
        entry = self._memory.get(key)
        if entry is not None and decide(entry, self._clock.monotonic()) is Verdict.HIT:
            return _answer(Found(entry, Tier.MEMORY), known_etag)
        marker = self._fetcher.marker(key)
        if marker is not None and decide(marker, self._clock.monotonic()) is Verdict.PASS:
            return _answer(Unshared(marker), known_etag)
        flight, _ = self._fetcher.join_local(key)
        return _answer(await flight.result(), known_etag)

    def encoded(self, answer: Answer) -> str:
        """The answer as the field value that a sibling reads."""
        return encode(answer, now=self._clock.monotonic())

    async def read(self, key: CacheKey) -> bytes | None:
        """A whole object for the node's own use; None when there is none. Raises Unavailable or OriginError."""
        reply = await self.get(Ask(key))
        try:
            if reply.status != 200:
                return None
            if isinstance(reply.body, bytes | memoryview):
                return bytes(reply.body)
            return b"".join([chunk async for chunk in reply.body])
        finally:
            await reply.close()

    # -- what a flight brings --------------------------------------------------------------------------------------

    async def _fly(self, ask: Ask, stale: Entry | None) -> Reply:
        flight, led = self._fetcher.join(ask.key)
        if stale is None or not usable_on_error(stale.head, self._clock.monotonic()):
            return await self._landed(ask, await flight.result(), led=led)
        try:
            async with asyncio.timeout(self._patience_s):
                landing = await flight.result()
        except TimeoutError:
            # The flight goes on; whoever comes after it gets what it brings.
            late = OriginError(OriginFailure.READ_TIMEOUT, "the origin is slow")
            landing = Found(stale, Tier.MEMORY, Forward.STALE, error=late)
        return await self._landed(ask, landing, led=led)

    async def _landed(self, ask: Ask, landing: Landing, *, led: bool) -> Reply:
        now = self._clock.monotonic()
        match landing:
            case Found():
                return self._from_entry(ask, landing, now, collapsed=not led)
            case Growing():
                return self._from_growing(ask, landing, now, collapsed=not led)
            case Unshared(marker):
                return await self._pass(ask, marker)
            case Failed(error, forward):
                raise self._unavailable(error, forward, collapsed=not led)

    def _from_entry(self, ask: Ask, found: Found, now: float, *, collapsed: bool) -> Reply:
        entry, head = found.entry, found.entry.head
        verdict = shape(head, ask.conditions) if ask.conditions is not UNCONDITIONAL else Shape(head.status)
        ttl_s = _ttl_s(head, now)
        outcome = Outcome(
            tier=found.tier,
            forward=found.forward,
            forward_status=found.forward_status,
            stored=found.forward_status is not None,
            collapsed=collapsed and found.forward is not None,
            stale=ttl_s < 0,
            ttl_s=ttl_s,
            error=found.error,
        )
        reply = self._reply(verdict, head, outcome, now)
        if verdict.part is not None:
            reply.body = memoryview(entry.body)[verdict.part.first : verdict.part.last + 1]
        elif verdict.status == head.status and not ask.head_only:
            reply.body = entry.body
        if ask.head_only:
            reply.body = b""
        return reply

    def _from_growing(self, ask: Ask, growing: Growing, now: float, *, collapsed: bool) -> Reply:
        head = growing.head
        verdict = shape(head, ask.conditions)
        ttl_s = _ttl_s(head, now)
        outcome = Outcome(
            tier=growing.tier,
            forward=growing.forward,
            forward_status=growing.forward_status,
            stored=growing.forward is not None,
            collapsed=collapsed and growing.forward is not None,
            stale=ttl_s < 0,
            ttl_s=ttl_s,
        )
        reply = self._reply(verdict, head, outcome, now)
        if not ask.head_only and verdict.status in (206, head.status):
            reply.body = growing.body.read(verdict.part)
        return reply

    def _reply(self, verdict: Shape, head: Head, outcome: Outcome, now: float) -> Reply:
        self._record(outcome)
        length = head.length
        if verdict.part is not None:
            length = verdict.part.length
        elif verdict.status != head.status:
            length = 0
        return Reply(verdict.status, head, outcome, int(head.age_s(now)), part=verdict.part, length=length)

    def _unavailable(self, error: OriginError, forward: Forward, *, collapsed: bool = False) -> Unavailable:
        outcome = Outcome(tier=Tier.ORIGIN, forward=forward, collapsed=collapsed, error=error)
        self._record(outcome)
        return Unavailable(outcome, error)

    # -- past the cache --------------------------------------------------------------------------------------------

    async def _pass(self, ask: Ask, marker: Pass) -> Reply:
        verdict = shape(marker.head, ask.conditions) if marker.head is not None else None
        if marker.head is not None and verdict is not None and (ask.head_only or verdict.status in (304, 412, 416)):
            outcome = Outcome(tier=Tier.MEMORY, ttl_s=_ttl_s(marker.head, self._clock.monotonic()))
            return self._reply(verdict, marker.head, outcome, self._clock.monotonic())
        resources = AsyncExitStack()
        try:
            return await self._open_pass(ask, _passed_read(ask.key, marker, verdict), resources)
        except OriginError as error:
            await resources.aclose()
            raise self._unavailable(error, Forward.BYPASS) from error
        except BaseException:
            await resources.aclose()
            raise

    async def _open_pass(self, ask: Ask, read: ReadRequest, resources: AsyncExitStack) -> Reply:
        await self._take_pass_place(resources)
        asked_at = self._clock.monotonic()
        response = await resources.enter_async_context(self._reader.open(read))
        if response.status == 412 and read.if_match is not None:
            # Another object than the marker says: forget that, and answer with the whole of the new one.
            self._fetcher.forget(ask.key)
            response = await resources.enter_async_context(self._reader.open(ReadRequest(ask.key.path)))
        if response.status >= 500 or response.status in (304, 412, 416):
            raise OriginError(OriginFailure.UNAVAILABLE, f"the origin answered {response.status}")
        now = self._clock.monotonic()
        delay_s = now - asked_at
        head = head_of(response.status, response.headers, now=now, wall=self._clock.wall(), response_delay_s=delay_s)
        if response.status == 206:
            part, total = _passed_part(response)
            head, verdict = replace(head, length=total), Shape(206, part)
        else:
            verdict = shape(head, _without_range(ask.conditions))
        reply = self._reply(verdict, head, _passed(response.status), now)
        reply.resources = resources
        if not ask.head_only and reply.status == head.status:
            reply.body = response.chunks
        return reply

    async def _take_pass_place(self, resources: AsyncExitStack) -> None:
        try:
            async with asyncio.timeout(self._pass_wait_s):
                await self._pass_places.acquire()
        except TimeoutError:
            raise OriginError(OriginFailure.OVERLOADED, "too many large objects are being read") from None
        resources.callback(self._pass_places.release)


def _answer(landing: Landing, known_etag: str | None) -> tuple[Answer, Body]:
    match landing:
        case Found(entry, _, forward, forward_status):
            if known_etag is not None and known_etag == entry.head.etag:
                return Answer(Answered.SAME, entry.head, forward, forward_status), b""
            return Answer(Answered.ENTRY, entry.head, forward, forward_status), entry.body
        case Growing(head, body, _, forward, forward_status):
            return Answer(Answered.ENTRY, head, forward, forward_status), body.read()
        case Unshared(marker):
            return Answer(Answered.PASS, marker=marker), b""
        case Failed(error):
            return Answer(Answered.ERROR, error=error), b""


def _passed_read(key: CacheKey, marker: Pass, verdict: Shape | None) -> ReadRequest:
    """A range is forwarded as one when it is known to belong to the object that the marker describes."""
    etag = marker.head.strong_etag if marker.head is not None else None
    if verdict is None or verdict.part is None or etag is None:
        return ReadRequest(key.path)
    return ReadRequest(key.path, if_match=etag, byte_range=(verdict.part.first, verdict.part.last))


def _passed_part(response: ReadResponse) -> tuple[Part, int]:
    whereabouts = parse_content_range(response.field("content-range"))
    if whereabouts is None:
        raise OriginError(OriginFailure.PROTOCOL, "the origin sent a range without saying which")
    return whereabouts


def _without_range(conditions: Conditions) -> Conditions:
    """A range is not cut out of a passing body: 14.2 lets us send the whole."""
    return replace(conditions, byte_range=None, if_range=None)


def _passed(status: int) -> Outcome:
    return Outcome(tier=Tier.ORIGIN, forward=Forward.BYPASS, forward_status=status)


def _ttl_s(head: Head, now: float) -> int:
    return math.floor(head.freshness.lifetime_s - head.age_s(now))

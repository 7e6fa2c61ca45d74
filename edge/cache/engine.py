"""The driver: look into memory, ask the pure verdict, act. One `get` per request, one `Outcome` for each.

A hit is answered without awaiting anything. Everything else joins the key's flight (`edge.cache.fetch`), or goes past
the cache on its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import TypeAlias

from edge.cache import invalidation, siblings
from edge.cache.ask import Ask
from edge.cache.blocks import Changed, ChangedError, Coming, Have, Lost, Refused, RefusedError
from edge.cache.fetch import Fetcher, Site
from edge.cache.fill import OvertakenError
from edge.cache.flight import Flight
from edge.cache.freshness import Verdict, decide, updated_by_head, usable_on_error
from edge.cache.landing import Failed, Found, Growing, Handoff, Landing, Unshared
from edge.cache.limits import Limits
from edge.cache.memory import MemoryStore
from edge.cache.model import CacheKey, Entry, Forward, Head, Layout, Outcome, Pass, Tier
from edge.cache.passing import Passing
from edge.cache.purge import Kind, PurgeRecord, Scope
from edge.cache.ranges import Part
from edge.cache.recorder import Recorder, Unrecorded
from edge.cache.reply import Body, Reply, Unavailable, reply_of, shaped, ttl_s
from edge.cache.siblings import Answer, Answered, Question, Siblings
from edge.cache.tiers import Held, NoPurges, Purges, SlowTier, Tiers, part_of
from edge.clock import Clock
from origin.places import Places
from origin.reader import ObjectReader, OriginError, OriginFailure

__all__ = ["Ask", "Body", "Engine", "Reply", "Site", "Unavailable"]

_PURGES_IN_A_ROW = 500
_ROUNDS = 4  # of asking once more because what a flight brought was for others; the last is for oneself

Invalidate = Callable[[tuple[str, ...], tuple[str, ...]], Awaitable[None]]
"""Told, after an unsafe request, of the URIs and of the groups (tags) whose stored responses are to be dropped."""


Join: TypeAlias = Callable[[Ask, str | None], tuple[Flight[Landing], bool]]


async def _invalidate_nothing(_uris: tuple[str, ...], _groups: tuple[str, ...]) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True)
class _Again:
    """What a flight brought does not answer this request, which has to ask once more.

    part: the variant that it wants, now that it is known what selects variants. marker: why it should ask for itself.
    """

    part: str | None = None
    marker: Pass | None = None


_CHANGING = Pass("it changes too fast", 0.0)
_OVERTAKEN = Pass("its beginning is gone", 0.0)


class Engine:
    """One worker's cache.

    slow: the tiers beside memory, fastest first. limits: of objects and fills; by default what suits the memory tier.
    patience_s: how long a request waits for the origin when a stale response could be served instead.
    recorder: told of the fills. invalidate: see `Invalidate`. touch: see `Tiers`.
    """

    def __init__(
        self,
        *,
        reader: ObjectReader,
        memory: MemoryStore,
        slow: tuple[tuple[Tier, SlowTier], ...] = (),
        siblings: Siblings | None = None,
        clock: Clock,
        purges: Purges | None = None,
        recorder: Recorder | None = None,
        limits: Limits | None = None,
        site: Site | None = None,
        patience_s: float = 2.0,
        invalidate: Invalidate = _invalidate_nothing,
        touch: Callable[[CacheKey], None] = lambda _key: None,
    ) -> None:
        self._reader = reader
        self._clock = clock
        self._limits = limits or Limits.within(memory.max_bytes)
        self._site = site or Site()
        self._patience_s = patience_s
        self._invalidate = invalidate
        self._tiers = Tiers(memory, slow, NoPurges() if purges is None else purges, clock, touch)
        places = Places(self._limits.max_passes, wait_s=self._limits.pass_wait_s)
        self._passing = Passing(reader=reader, clock=clock, places=places, site=self._site)
        self._fetcher = Fetcher(
            reader=reader,
            tiers=self._tiers,
            siblings=siblings,
            clock=clock,
            limits=self._limits,
            site=self._site,
            places=places,
            recorder=recorder or Unrecorded(),
        )

    @property
    def memory(self) -> MemoryStore:
        """The memory tier."""
        return self._tiers.memory

    @property
    def fetcher(self) -> Fetcher:
        """What is under way, for the metrics."""
        return self._fetcher

    async def close(self) -> None:
        """End all fills. What was handed in stays open."""
        await self._fetcher.close()

    async def get(self, ask: Ask) -> Reply:
        """The reply to a request; Unavailable when there is none."""
        if ask.method not in ("GET", "HEAD") or ask.body is not None:
            return await self._past(ask)
        now = self._clock.monotonic()
        held = self._tiers.in_memory(ask)
        if held is not None:
            verdict = decide(held.value.head, now, ask.directives)
            if verdict is Verdict.STALE_HIT:
                self._refresh(ask)
            if verdict is Verdict.HIT or verdict is Verdict.STALE_HIT:
                self._tiers.served(ask.uri, held.part)
                found = Found(held.value, held.tier, part=held.part)
                if isinstance(held.value, Entry):
                    return self._from_entry(ask, found, held.value, now, collapsed=False)
                reply = await self._from_layout(ask, found, held.value, collapsed=False)
                if isinstance(reply, Reply):
                    return reply
        return await self._beyond_memory(ask, held)

    def hit(self, ask: Ask) -> Reply | None:
        """The reply to a GET or HEAD that a fresh, complete response in memory answers; without awaiting anything.

        Whoever sends it says so to `served`.
        """
        held = self._tiers.in_memory(ask)
        if held is None or not isinstance(held.value, Entry):
            return None
        now = self._clock.monotonic()
        if decide(held.value.head, now, ask.directives) is not Verdict.HIT:
            return None
        reply = self._from_entry(ask, Found(held.value, held.tier, part=held.part), held.value, now, collapsed=False)
        reply.key = CacheKey(ask.uri, held.part)
        return reply

    def served(self, uri: str, part: str, times: int) -> None:
        """Memory has served this so often, by other ways than `get`."""
        self._tiers.served(uri, part, times)

    async def read(self, uri: str) -> bytes | None:
        """A whole object for the node's own use; None when there is none. Raises Unavailable or OriginError."""
        reply = await self.get(Ask(uri))
        try:
            if reply.status != 200:
                return None
            if isinstance(reply.body, bytes | memoryview):
                return bytes(reply.body)
            return b"".join([bytes(chunk) async for chunk in reply.body])
        finally:
            await reply.close()

    # -- purge -----------------------------------------------------------------------------------------------------

    async def purge(self, record: PurgeRecord) -> int:
        """Take out of memory, or make stale there, what the purge names; how many values that were.

        Flights that began before are joined no more. It gives way to the loop now and then.
        """
        self._fetcher.detach(partial(_touches, record))
        count = 0
        for count, key in enumerate(self._named(record), 1):
            self._purge_one(key, record)
            if count % _PURGES_IN_A_ROW == 0:
                await asyncio.sleep(0)
        return count

    def _named(self, record: PurgeRecord) -> Iterable[CacheKey]:
        memory = self._tiers.memory
        match record.scope:
            case Scope.URL:
                return memory.keys_of(record.value)
            case Scope.TAG:
                return self._with_blocks(memory.tagged(record.value))
            case Scope.PREFIX | Scope.ALL:
                return chain.from_iterable(map(memory.keys_of, memory.uris_under(record.value)))

    def _with_blocks(self, keys: tuple[CacheKey, ...]) -> Iterator[CacheKey]:
        """The blocks of a large object bear no tags of their own."""
        for key in keys:
            if isinstance(self._tiers.memory.peek(key), Layout):
                yield from self._tiers.memory.keys_of(key.uri)
            else:
                yield key

    def _purge_one(self, key: CacheKey, record: PurgeRecord) -> None:
        memory = self._tiers.memory
        if record.kind is Kind.HARD:
            memory.remove(key)
            return
        value = memory.peek(key)
        if isinstance(value, Entry | Layout) and not key.part.startswith("b:"):
            memory.put(key, replace(value, head=self._tiers.weakened(value.head, record.kind, record.at)))

    # -- for the other workers -------------------------------------------------------------------------------------

    async def for_sibling(self, ask: Ask, question: Question) -> tuple[Answer, Body, Callable[[], None]]:
        """The answer to another worker that holds nothing fresh; the last is to be called when the body is sent."""
        # Of now: a purge that comes while we wait is not in what we wait for.
        position = self._tiers.purges.position
        if question.block is not None:
            answer, body = await self._block_for_sibling(ask, question.block)
            return replace(answer, position=position), body, _nothing
        held = self._tiers.in_memory(ask)
        if held is not None and decide(held.value.head, self._clock.monotonic(), ask.directives) is Verdict.HIT:
            landing: Landing = Found(held.value, held.tier, part=held.part)
            done = _nothing
        else:
            landing, done = await self._flown_for_sibling(ask)
        answer, body = self._answer(landing, question)
        return replace(answer, position=position), body, done

    async def _flown_for_sibling(self, ask: Ask) -> tuple[Landing, Callable[[], None]]:
        """What a flight brings that answers the sibling's request; what is another's alone only says that it is."""
        again = _Again(marker=self._fetcher.marker(ask))
        for _ in range(_ROUNDS):
            flight, led = self._board(ask, again, self._fetcher.join_local)
            done = flight.leader_left.set if led else _nothing
            try:
                landing = await flight.result()
            except BaseException:
                done()
                raise
            misfit = None if led else self._misfit(ask, landing)
            if misfit is None:
                return landing, done
            if misfit.marker is not None:
                return Unshared(misfit.marker), _nothing
            again = misfit
        return Unshared(_CHANGING), _nothing

    def encoded(self, answer: Answer) -> str:
        """The answer as the field value that a sibling reads."""
        return siblings.encode(answer, now=self._clock.monotonic())

    def asked(self, field: str) -> Question:
        """The question in a sibling's field value; ValueError when it makes no sense."""
        return siblings.asked(field, now=self._clock.monotonic())

    async def _block_for_sibling(self, ask: Ask, wanted: siblings.WantedBlock) -> tuple[Answer, Body]:
        flight = self._fetcher.blocks.join_local(ask, wanted.layout, wanted.number)
        match await flight.result():
            case Have(entry):
                return Answer(Answered.ENTRY, entry.head), entry.body
            case Coming(body):
                return Answer(Answered.ENTRY, wanted.layout.head), body.read()
            case Changed():
                return Answer(Answered.CHANGED), b""
            case Refused():
                return Answer(Answered.PASS), b""
            case Lost(error):
                return Answer(Answered.ERROR, error=error), b""

    @staticmethod
    def _answer(landing: Landing, question: Question) -> tuple[Answer, Body]:
        match landing:
            case Found(Layout() as layout, _, forward, status, part=part, stored=stored):
                size = layout.block_bytes
                return Answer(
                    Answered.LAYOUT, layout.head, forward, status, block_bytes=size, part=part, stored=stored
                ), b""
            case Found(Entry() as entry, _, forward, status, error, part=part, stored=stored):
                # By the strong tag: two bodies may have the same weak one.
                same = question.known_etag is not None and question.known_etag == entry.head.strong_etag and stored
                kind, body = (Answered.SAME, b"") if same else (Answered.ENTRY, entry.body)
                return Answer(kind, entry.head, forward, status, part=part, stored=stored and error is None), body
            case Growing(head, growing, _, forward, status, part=part):
                try:
                    return Answer(Answered.ENTRY, head, forward, status, part=part), growing.read()
                except OvertakenError:
                    return Answer(Answered.PASS, marker=_OVERTAKEN), b""
            case Unshared(marker, None):
                return Answer(Answered.PASS, marker=marker), b""
            case Unshared(marker, Handoff(response, head)):
                return Answer(Answered.PASS, head, marker=marker), response.chunks
            case Failed(error):
                return Answer(Answered.ERROR, error=error), b""
        raise TypeError(landing)

    # -- what a flight brings --------------------------------------------------------------------------------------

    def _refresh(self, ask: Ask) -> None:
        """Revalidate, with nobody waiting for it."""
        ask.take_fields()
        flight, led = self._fetcher.join(ask)
        if led:
            flight.leader_left.set()

    async def _beyond_memory(self, ask: Ask, held: Held | None) -> Reply:
        if ask.directives.only_if_cached:
            return await self._only_if_cached(ask)
        if ask.head_only and self._site.forwards:
            return await self._ask_head(ask, held)
        ask.take_fields()
        again = _Again()
        for left in reversed(range(_ROUNDS)):
            came = await self._fly(ask, held, again)
            if isinstance(came, Reply):
                return came
            again = came if left > 1 else _Again(marker=_CHANGING)
            held = self._tiers.in_memory(ask)
        raise _unavailable(OriginError(OriginFailure.UNAVAILABLE, "it changes too fast"), Forward.MISS)

    async def _past(self, ask: Ask) -> Reply:
        """A method that is not served from a cache; what it changed there is dropped from here (RFC 9111, 4.4)."""
        reply = await self._passing.get(ask, Forward.METHOD)
        try:
            if invalidation.applies(ask.method, reply.status):
                await self._invalidate(self._changed(ask, reply), invalidation.groups(reply.head.headers))
        except BaseException:
            await reply.close()
            raise
        return reply

    def _changed(self, ask: Ask, reply: Reply) -> tuple[str, ...]:
        """The URIs whose stored responses a successful unsafe request has made doubtful, in the cache's form."""
        headers = reply.head.headers
        named = (
            uri
            for base in (ask.base, *self._site.bases)
            if base
            for uri in invalidation.uris(ask.method, ask.uri, reply.status, headers, base)
        )
        return tuple(dict.fromkeys((ask.uri, *filter(None, map(self._canonical, named)))))

    def _canonical(self, uri: str) -> str | None:
        try:
            return self._site.canonical(uri)
        except ValueError:
            return None  # nothing can be stored under it

    async def _ask_head(self, ask: Ask, held: Held | None) -> Reply:
        """HEAD goes to the origin as such; what it says of a stored response counts for that, too (RFC 9111, 4.3.5)."""
        mark = self._tiers.purges.position
        reply = await self._passing.get(ask, self._fetcher.why(ask, held))
        if held is None or ask.authorized or ask.directives.no_store:
            return reply
        try:
            await self._learn(ask, held, reply.head, mark)
        except BaseException:
            await reply.close()
            raise
        return reply

    async def _learn(self, ask: Ask, held: Held, received: Head, mark: int) -> None:
        """What the head of an answer says of the response that was stored when the question was asked."""
        still = self._tiers.in_memory(ask)
        if still is None or still.value is not held.value:
            return  # another one has taken its place meanwhile, or a purge has taken it
        updated = updated_by_head(held.value.head, received, rules=self._site.rules)
        if updated is None:
            await self._tiers.forget(ask.uri, held.part)
        elif updated is not held.value.head:
            self._tiers.keep(ask, replace(held.value, head=updated, mark=mark))

    async def _only_if_cached(self, ask: Ask) -> Reply:
        """RFC 9111, 5.2.1.7: from the cache, or 504."""
        held = await self._tiers.find(ask)
        now = self._clock.monotonic()
        if held is not None and decide(held.value.head, now, ask.directives) is not Verdict.REVALIDATE:
            reply = await self._landed(ask, Found(held.value, held.tier, part=held.part), led=True)
            if isinstance(reply, Reply):
                return reply
        raise _not_stored(Forward.MISS)

    def _board(self, ask: Ask, again: _Again, join: Join) -> tuple[Flight[Landing], bool]:
        """A flight for a request, and whether it leads it."""
        if again.marker is not None or ask.directives.no_store:
            return self._fetcher.alone(ask), True
        flight, led = join(ask, again.part)
        if not led and self._comes_too_late(ask, flight.outcome) and self._fetcher.retire(ask, again.part, flight):
            return join(ask, again.part)
        return flight, led

    def _comes_too_late(self, ask: Ask, landing: Landing | None) -> bool:
        """Whether a flight that has landed already brought what this request does not take without asking.

        Those who waited for the landing share it, whatever its lifetime; who comes while its body is still on the way
        finds a stored response like any other (RFC 9111, 4).
        """
        match landing:
            case Found(value):
                head = value.head
            case Growing(head):
                pass
            case _:
                return False
        fits = part_of(head, ask) == landing.part
        return fits and decide(head, self._clock.monotonic(), ask.directives) is Verdict.REVALIDATE

    async def _fly(self, ask: Ask, stale: Held | None, again: _Again) -> Reply | _Again:
        """One flight, and what it brought."""
        marker = again.marker or self._fetcher.marker(ask)
        if marker is not None and (marker.head is not None or ask.conditions.byte_range is not None):
            return await self._passing.get(ask, Forward.BYPASS, marker.head)
        flight, led = self._board(ask, replace(again, marker=marker), self._fetcher.join)
        resources = AsyncExitStack()
        if led:
            resources.callback(flight.leader_left.set)
        try:
            landing = await self._patiently(ask, flight, stale)
            reply = await self._landed(ask, landing, led=led, resources=resources)
        except BaseException:
            await resources.aclose()
            raise
        if isinstance(reply, _Again) or reply.resources is not resources:
            await resources.aclose()
        return reply

    async def _patiently(self, ask: Ask, flight: Flight[Landing], stale: Held | None) -> Landing:
        """The flight's landing; while a stale response could be served instead, not at any price."""
        now = self._clock.monotonic()
        spare = stale if stale is not None and usable_on_error(stale.value.head, now, ask.directives) else None
        # When patience ends the flight goes on; whoever comes after it gets what it brings.
        late = OriginError(OriginFailure.READ_TIMEOUT, "the origin is slow")
        if spare is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._patience_s):
                    return await flight.result(ask.on_interim)
            spare = self._tiers.left_of(ask.uri, spare)
            if spare is not None:
                return Found(spare.value, spare.tier, Forward.STALE, error=late, part=spare.part)
        try:
            async with asyncio.timeout(self._limits.wait_s):
                return await flight.result(ask.on_interim)
        except TimeoutError:
            return Failed(late, Forward.MISS)

    async def _landed(
        self, ask: Ask, landing: Landing, *, led: bool, resources: AsyncExitStack | None = None
    ) -> Reply | _Again:
        now = self._clock.monotonic()
        misfit = None if led else self._misfit(ask, landing)
        if misfit is not None:
            return misfit
        match landing:
            case Found(Entry() as entry):
                return self._from_entry(ask, landing, entry, now, collapsed=not led)
            case Found(Layout() as layout):
                return await self._from_layout(ask, landing, layout, collapsed=not led)
            case Growing():
                return self._from_growing(ask, landing, now, collapsed=not led)
            case Unshared(_, Handoff() as handoff) if resources is not None:
                return self._from_handoff(ask, landing, handoff, resources)
            case Unshared(marker):
                return await self._passing.get(ask, landing.forward, marker.head)
            case Failed(error, forward):
                raise _unavailable(error, forward, collapsed=not led)
        raise TypeError(landing)

    def _misfit(self, ask: Ask, landing: Landing) -> _Again | None:
        """How to ask once more, when what another request's flight brought does not answer this one, too."""
        match landing:
            case Found(value):
                head = value.head
            case Growing(head):
                pass
            case Unshared(marker):
                return _Again(marker=marker)
            case Failed():
                return None
        part = part_of(head, ask)
        if part != landing.part:
            return _Again(part)
        looked_up = landing.forward is None  # and not asked for: it may be older than this request bears
        if looked_up and decide(head, self._clock.monotonic(), ask.directives) is Verdict.REVALIDATE:
            return _Again(part)
        return None

    def _from_entry(self, ask: Ask, found: Found, entry: Entry, now: float, *, collapsed: bool) -> Reply:
        head = entry.head
        verdict = shaped(head, ask.conditions)
        reply = reply_of(verdict, head, _outcome(found, head, now, collapsed=collapsed), now)
        if ask.head_only:
            return reply
        if verdict.part is not None:
            reply.body = memoryview(entry.body)[verdict.part.first : verdict.part.last + 1]
        elif verdict.status == head.status:
            reply.body = entry.body
        return reply

    async def _from_layout(self, ask: Ask, found: Found, layout: Layout, *, collapsed: bool) -> Reply | _Again:
        head, now = layout.head, self._clock.monotonic()
        verdict = shaped(head, ask.conditions)
        outcome = _outcome(found, head, now, collapsed=collapsed)
        if ask.head_only or verdict.status not in (200, 206):
            return reply_of(verdict, head, outcome, now)
        ask.take_fields()
        wanted = verdict.part or Part(0, (head.length or 0) - 1)
        if ask.directives.only_if_cached and not await self._fetcher.blocks.has(ask, layout, wanted):
            raise _not_stored(Forward.PARTIAL)
        try:
            opened = await self._fetcher.blocks.open(ask, layout, wanted)
        except ChangedError:
            await self._tiers.forget_version(ask.uri, found.part, layout)
            ask.directives = replace(ask.directives, no_cache=True)  # a sibling that is asked next may still have it
            return _Again()
        except RefusedError:
            return await self._passing.get(ask, Forward.PARTIAL)
        except OriginError as error:
            raise _unavailable(error, Forward.PARTIAL) from error
        if found.forward is None:
            status = 206 if opened.forward is not None else None
            stored = opened.forward is not None
            outcome = replace(outcome, tier=opened.tier, forward=opened.forward, forward_status=status, stored=stored)
        reply = reply_of(verdict, head, outcome, now)
        reply.body = opened.pieces
        return reply

    def _from_growing(self, ask: Ask, growing: Growing, now: float, *, collapsed: bool) -> Reply | _Again:
        head = growing.head
        verdict = shaped(head, ask.conditions)
        body: Body = b""
        if not ask.head_only and verdict.status in (206, head.status):
            try:
                body = growing.body.read(verdict.part)
            except OvertakenError:
                return _Again(marker=_OVERTAKEN)
        ttl = ttl_s(head, now)
        stale = ttl < 0 and (growing.stored or head.status < 500)  # one of now that nobody stores has no time to lose
        outcome = Outcome(
            tier=growing.tier,
            forward=growing.forward,
            forward_status=growing.forward_status,
            stored=growing.stored and growing.forward is not None,
            collapsed=collapsed and growing.forward is not None,
            stale=stale,
            ttl_s=ttl if growing.stored or stale else None,
            timings=growing.timings,
        )
        reply = reply_of(verdict, head, outcome, now)
        reply.body = body
        return reply

    def _from_handoff(self, ask: Ask, landing: Unshared, handoff: Handoff, resources: AsyncExitStack) -> Reply:
        """The leader's own response, which was asked for whole and unconditionally."""
        head = handoff.head
        verdict = shaped(head, replace(ask.conditions, byte_range=None, if_range=None))
        outcome = Outcome(
            tier=Tier.ORIGIN, forward=landing.forward, forward_status=head.status, timings=landing.timings
        )
        reply = reply_of(verdict, head, outcome, self._clock.monotonic())
        reply.resources = resources
        if not ask.head_only and verdict.status == head.status:
            reply.body = handoff.response.chunks
        return reply


def _not_stored(forward: Forward) -> Unavailable:
    error = OriginError(OriginFailure.NOT_ASKED, "the request wants a stored response only, and there is none")
    return _unavailable(error, forward)


def _unavailable(error: OriginError, forward: Forward, *, collapsed: bool = False) -> Unavailable:
    return Unavailable(Outcome(tier=Tier.ORIGIN, forward=forward, collapsed=collapsed, error=error), error)


def _outcome(found: Found, head: Head, now: float, *, collapsed: bool) -> Outcome:
    ttl = ttl_s(head, now)
    return Outcome(
        tier=found.tier,
        forward=found.forward,
        forward_status=found.forward_status,
        stored=found.stored and found.forward_status is not None and found.error is None,
        collapsed=collapsed and found.forward is not None,
        stale=ttl < 0,
        ttl_s=ttl if found.stored else None,
        error=found.error,
        timings=found.timings,
    )


def _touches(record: PurgeRecord, uri: str, tags: tuple[str, ...] | None) -> bool:
    """Whether a purge names a response; while its tags are not known yet, every purge by tag does."""
    match record.scope:
        case Scope.URL:
            return uri == record.value
        case Scope.TAG:
            return tags is None or record.value in tags
        case Scope.PREFIX | Scope.ALL:
            return uri.startswith(record.value)


def _nothing() -> None:
    """There is nothing to give back."""

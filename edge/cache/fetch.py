"""How a response is got that memory does not hold: the slow tiers, the sibling that owns the key, the origin.

Two kinds of flights, so that workers never wait for each other in a ring:
- a *local* flight looks at this worker's tiers and asks the origin; siblings' requests only ever join these;
- a *forwarding* flight looks at the tiers and asks the owner, or the origin when the owner cannot be reached.
If two workers take each other for the owner, each one's forwarding flight ends in the other's local flight.

A flight lands as soon as the head is judged; its body may still be growing then. A response that is not to be shared is
handed to the leader alone, over the connection on which it came (`Handoff`); followers ask for themselves.

What a purge has to do with it: the node's purge position is noted before the origin is asked, travels with the value as
its `mark`, and is compared once more when the value is about to be kept. So a purge wins over every fill under way.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeGuard

from edge.cache import siblings as wire
from edge.cache import storing
from edge.cache.ask import Ask
from edge.cache.blocks import Blocks, blocks_of, first_offset, whole_fields
from edge.cache.fill import FillBudget, GrowingBody, receive
from edge.cache.flight import Flight, Flights
from edge.cache.freshness import (
    RequestFacts,
    Rules,
    Verdict,
    decide,
    for_all_who_wait,
    head_of,
    usable_on_error,
    validated,
)
from edge.cache.landing import Failed, Found, Growing, Handoff, Landing, Timings, Unshared
from edge.cache.limits import Limits
from edge.cache.markers import Markers
from edge.cache.model import CacheKey, Entry, Forward, Head, Layout, Pass, Tier, Varying
from edge.cache.ranges import Part, parse_content_range
from edge.cache.recorder import FillEnd, Filling, Recorder, filling
from edge.cache.siblings import Answered, Siblings
from edge.cache.tiers import Held, Tiers, part_of
from edge.clock import Clock
from origin.places import Places
from origin.reader import (
    Chunks,
    Headers,
    ObjectReader,
    OriginError,
    OriginFailure,
    ReadRequest,
    ReadResponse,
    answered_with_error,
)

log = logging.getLogger(__name__)

_SHARED_ERROR_BYTES = 64 * 1024  # a larger error document is not shared with the followers
_FIRST_SHARE_BYTES = 256 * 1024  # of the budget, for a body of unknown length; it may ask for more
_OF_A_PART = frozenset({"content-range", "content-length", "content-digest", "content-md5"})
_STALE_IF = frozenset({500, 502, 503, 504})  # RFC 5861, section 4


@dataclass(frozen=True, slots=True)
class Site:
    """What holds for one origin.

    rules: of freshness. ranges_known: it serves ranges though it does not say so. forwards: it is an HTTP server that
    gets the client's own fields, conditions and methods; otherwise it is a store of published objects that are read.
    via: our name in the Via of responses, '' for none. bases: the origin's own names for itself, e.g.
    `http://origin:8000`. canonical: a target in the cache's form.
    """

    rules: Rules = field(default_factory=Rules)
    ranges_known: bool = False
    forwards: bool = False
    via: str = ""
    bases: tuple[str, ...] = ()
    canonical: Callable[[str], str] = str

    def received(self, response: ReadResponse) -> Headers:
        """The response's fields, with us among those who passed it on (RFC 9110, 7.6.3)."""
        if not self.via:
            return response.headers
        return (*response.headers, ("via", f"{response.version} {self.via}"))


class Fetcher:
    """All flights of one worker."""

    def __init__(
        self,
        *,
        reader: ObjectReader,
        tiers: Tiers,
        siblings: Siblings | None,
        clock: Clock,
        limits: Limits,
        site: Site,
        places: Places,
        recorder: Recorder,
    ) -> None:
        """places: for responses that are for one client only."""
        self._reader = reader
        self._places = places
        self._recorder = recorder
        self._tiers = tiers
        self._siblings = siblings
        self._clock = clock
        self._limits = limits
        self._site = site
        self._budget = FillBudget(limit=limits.fill_bytes, deadline_s=limits.fill_wait_s)
        self._markers = Markers(clock.monotonic)
        self._local: Flights[Landing] = Flights("fill")
        self._forwarding: Flights[Landing] = Flights("ask sibling for")
        self.blocks = Blocks(
            reader=reader, tiers=tiers, siblings=siblings, clock=clock, limits=limits, budget=self._budget
        )

    @property
    def in_flight(self) -> int:
        """Flights under way."""
        return len(self._local) + len(self._forwarding) + len(self.blocks)

    @property
    def fill_bytes(self) -> int:
        """Bytes reserved for bodies on their way in."""
        return self._budget.taken

    def marker(self, ask: Ask) -> Pass | None:
        """What is remembered of a key that is not shared."""
        marker = self._markers.get(ask)
        if marker is None:
            return None
        tags = marker.head.tags if marker.head is not None else ()
        return marker if self._tiers.purges.verdict(ask.uri, tags, marker.mark) is None else None

    def join(self, ask: Ask, part: str | None = None) -> tuple[Flight[Landing], bool]:
        """The key's flight, and whether this call started it. part: of the variant, where that is known better."""
        key = self._key(ask, part)
        owner = self._siblings.owner(key) if self._siblings is not None else None
        if owner is None:
            return self.join_local(ask, part)
        return self._forwarding.join(key, partial(self._fly_forwarding, ask, owner))

    def join_local(self, ask: Ask, part: str | None = None) -> tuple[Flight[Landing], bool]:
        """The key's flight that asks no sibling."""
        return self._local.join(self._key(ask, part), partial(self._fly_local, ask))

    def retire(self, ask: Ask, part: str | None, flight: Flight[Landing]) -> bool:
        """Let nobody join any more the flight that these have just joined; False when that is not possible now."""
        key = self._key(ask, part)
        return self._local.retire(key, flight) or self._forwarding.retire(key, flight)

    def alone(self, ask: Ask) -> Flight[Landing]:
        """A flight for this request alone; what it brings is stored all the same, where it may be."""
        return self._local.alone(self._key(ask), partial(self._fly_alone, ask))

    def detach(self, touches: Callable[[str, tuple[str, ...] | None], bool]) -> None:
        """Nobody who comes after a purge joins a flight that began before it.

        touches(uri, tags): whether the purge names such a response; tags are None while they are not known yet.
        """

        def purged(key: CacheKey, landing: Landing | None) -> bool:
            head = _head_in(landing)
            return touches(key.uri, head.tags if head is not None else None)

        self._local.detach(purged)
        self._forwarding.detach(purged)
        self.blocks.detach(lambda uri: touches(uri, None))

    async def close(self) -> None:
        """End all flights."""
        await self._forwarding.close()
        await self._local.close()
        await self.blocks.close()

    def _key(self, ask: Ask, part: str | None = None) -> CacheKey:
        """Requests with credentials fly apart: what comes back may be for them alone."""
        if part is None:
            part = self._tiers.flight_part(ask)
        return CacheKey(ask.uri, "a" + part if ask.authorized else part)

    # -- flights ---------------------------------------------------------------------------------------------------

    async def _fly_local(self, ask: Ask, flight: Flight[Landing]) -> None:
        began = self._clock.monotonic()
        held = await self._tiers.find(ask)
        looked: Timings = (("tiers", self._clock.monotonic() - began),)
        if self._answers(held, ask):
            flight.land(_found(held, looked))
            return
        await self._from_origin(ask, flight, held, looked)

    async def _fly_alone(self, ask: Ask, flight: Flight[Landing]) -> None:
        await self._from_origin(ask, flight, self._tiers.in_memory(ask), ())

    async def _fly_forwarding(self, ask: Ask, owner: int, flight: Flight[Landing]) -> None:
        held = await self._tiers.find(ask)
        if self._answers(held, ask):
            flight.land(_found(held, ()))
            return
        try:
            await self._ask_sibling(ask, owner, flight, held)
        except OriginError as error:
            if flight.landed:
                return
            log.info("sibling %d did not answer (%s), asking the origin", owner, error)
            await self._from_origin(ask, flight, held, ())

    def _answers(self, held: Held | None, ask: Ask) -> TypeGuard[Held]:
        return held is not None and decide(held.value.head, self._clock.monotonic(), ask.directives) is Verdict.HIT

    async def _from_origin(self, ask: Ask, flight: Flight[Landing], held: Held | None, looked: Timings) -> None:
        try:
            if not await self._ask_origin(ask, flight, held, looked):
                await self._ask_origin(ask, flight, None, looked, ranged=False)
        except OriginError as error:
            if not flight.landed:
                flight.land(self._failed(ask, error, held, looked))

    def _failed(self, ask: Ask, error: OriginError, held: Held | None, looked: Timings) -> Landing:
        held = self._tiers.left_of(ask.uri, held)
        if held is not None and self._usable(ask, held):
            return Found(held.value, held.tier, Forward.STALE, error.received, error, held.part, looked)
        return Failed(error, self.why(ask, held), looked)

    def why(self, ask: Ask, held: Held | None) -> Forward:
        """Why the request goes forward."""
        if ask.directives.no_store:
            return Forward.REQUEST
        if self.marker(ask) is not None:
            return Forward.BYPASS
        if held is None:
            varies = isinstance(self._tiers.memory.peek(CacheKey(ask.uri)), Varying)
            return Forward.VARY if varies else Forward.MISS
        fresh = decide(held.value.head, self._clock.monotonic()) is Verdict.HIT
        return Forward.REQUEST if fresh else Forward.STALE

    # -- the origin ------------------------------------------------------------------------------------------------

    async def _ask_origin(
        self, ask: Ask, flight: Flight[Landing], held: Held | None, looked: Timings, *, ranged: bool = True
    ) -> bool:
        """Fill or revalidate. False: what came does not fit what was asked; ask again, for the whole.

        ranged: a cold range may be asked for as one.
        """
        mark = self._tiers.purges.position
        held = self._tiers.left_of(ask.uri, held)
        why = self.why(ask, held)
        asked_at = self._clock.monotonic()
        read = self._read(ask, held, flight, ranged=ranged)
        async with self._recorded(read) as (response, record):
            delay_s = self._clock.monotonic() - asked_at
            fill = _Fill(ask, flight, held, response, mark, delay_s, (*looked, ("origin", delay_s)), why, record)
            if response.status == 304 and held is not None and (read.if_none_match or read.if_modified_since):
                return await self._revalidated(fill, held)
            if self._is_failure(ask, self._tiers.left_of(ask.uri, held), response.status):
                raise answered_with_error(response.status)
            if response.status in (206, 416) and read.byte_range is not None:
                return await self._partial(fill, read.byte_range)
            if response.status in (206, 304) or (response.status in (412, 416) and not self._site.forwards):
                raise OriginError(OriginFailure.PROTOCOL, f"the origin answered {response.status} to a plain request")
            await self._judged(fill, self._head(fill, response.status, self._site.received(response)))
        return True

    @asynccontextmanager
    async def _recorded(self, read: ReadRequest) -> AsyncIterator[tuple[ReadResponse, Filling]]:
        with filling(self._recorder) as record:
            async with self._reader.open(read) as response:
                yield response, record

    def _is_failure(self, ask: Ask, held: Held | None, status: int) -> bool:
        """Whether a response counts as the origin failing: a store's 5xx always, a server's when there is a spare."""
        if not self._site.forwards:
            return status >= 500
        return status in _STALE_IF and held is not None and self._usable(ask, held)

    def _usable(self, ask: Ask, held: Held) -> bool:
        return usable_on_error(held.value.head, self._clock.monotonic(), ask.directives)

    def _read(self, ask: Ask, held: Held | None, flight: Flight[Landing], *, ranged: bool) -> ReadRequest:
        head = held.value.head if held is not None else None
        conditional = head is not None and head.status == 200
        return ReadRequest(
            ask.target or ask.uri,
            if_none_match=head.etag if head is not None and conditional else None,
            if_modified_since=head.last_modified
            if head is not None and conditional and self._says_when(head)
            else None,
            byte_range=self._first_block(ask) if head is None and ranged else None,
            headers=whole_fields(ask),
            on_interim=flight.interim,
        )

    def _says_when(self, head: Head) -> bool:
        """Servers are told both validators (RFC 9111, 4.3.1); a store compares one, the better."""
        return self._site.forwards or head.etag is None

    def _first_block(self, ask: Ask) -> tuple[int, int] | None:
        """A range of something unknown: the block in which it begins tells how large the object is."""
        size = self._limits.block_bytes
        if not size or ask.conditions.byte_range is None or ask.head_only:
            return None
        first = first_offset(ask.conditions.byte_range)
        if first is None:
            return None
        begin = first // size * size
        return begin, begin + size - 1

    def _head(self, fill: _Fill, status: int, headers: Headers) -> Head:
        return head_of(
            status,
            headers,
            now=self._clock.monotonic(),
            wall=self._clock.wall(),
            response_delay_s=fill.delay_s,
            rules=self._site.rules,
            request=RequestFacts(authorized=fill.ask.authorized),
        )

    async def _revalidated(self, fill: _Fill, held: Held) -> bool:
        """A 304 makes the stored response young again; False when it is about another one."""
        received = self._head(fill, fill.response.status, self._site.received(fill.response))
        request = RequestFacts(authorized=fill.ask.authorized)
        fresh = validated(held.value.head, received, rules=self._site.rules, request=request)
        if fresh is None:
            return False
        value = replace(held.value, head=fresh, mark=fill.mark)
        marker = self._unshareable(fill.ask, replace(fresh, length=0))
        if marker is not None:
            await self._revalidated_for_one(fill, value, marker)
            return True
        fill.record.result = FillEnd.REVALIDATED
        stored = self._tiers.keep(fill.ask, value)
        found = Found(value, Tier.ORIGIN, fill.forward, 304, part=held.part, timings=fill.timings, stored=stored)
        fill.flight.land(found)
        return True

    async def _revalidated_for_one(self, fill: _Fill, value: Entry | Layout, marker: Pass) -> None:
        """What the 304 says is for the leader alone; the body is the stored one."""
        if isinstance(value, Entry):
            stored = replace(fill.response, status=value.head.status, chunks=_once(bytes(value.body)))
            await self._handed_over(replace(fill, response=stored), value.head, marker)
        else:
            await self._superseded(fill, value.head, marker)
            fill.flight.land(Unshared(marker, forward=fill.forward, timings=fill.timings))

    async def _judged(self, fill: _Fill, head: Head) -> None:
        """The origin sent a whole response: shared and stored, shared and not stored, or for the leader alone."""
        if head.status in _STALE_IF and for_all_who_wait(head) and await self._shared_error(fill, head):
            return
        marker = self._unshareable(fill.ask, head)
        if marker is None:
            if fill.held is not None or head.status == 200:
                self._markers.forget(fill.ask)
            await self._receive(fill, self._growing(fill, head), fill.response.chunks)
        elif marker.head is not None and self._can_lay_out(fill, head):
            await self._laid_out(fill, head)
        else:
            await self._handed_over(fill, head, marker)

    def _unshareable(self, ask: Ask, head: Head) -> Pass | None:
        now, until = self._clock.monotonic(), self._soon()
        if ask.directives.no_store:
            return Pass("the client forbids storing it", now)
        if not head.freshness.storable:
            return Pass(head.freshness.reason or "the origin forbids storing it", until)
        if head.vary == ("*",):
            return Pass("only the origin can tell for whom it is", until)
        if head.length is not None and head.length > self._limits.max_object_bytes:
            kept_s = min(max(0.0, head.freshness.lifetime_s - head.age_s(now)), self._limits.pass_s)
            return Pass("too large to be stored", now + kept_s, head)
        return None

    def _soon(self) -> float:
        return self._clock.monotonic() + self._limits.pass_s

    def _growing(self, fill: _Fill, head: Head) -> Growing:
        return Growing(
            head,
            GrowingBody(),
            Tier.ORIGIN,
            fill.forward,
            fill.response.status,
            part=part_of(head, fill.ask),
            timings=fill.timings,
        )

    async def _shared_error(self, fill: _Fill, head: Head) -> bool:
        """An error document goes to all who wait at this moment, and is not stored. False: it is too large for that."""
        if head.length is None or head.length > _SHARED_ERROR_BYTES:
            return False
        body = await receive(fill.response.chunks, head, GrowingBody(), limit=_SHARED_ERROR_BYTES)
        entry, part = Entry(head, body or b"", fill.mark), part_of(head, fill.ask)
        fill.flight.land(Found(entry, Tier.ORIGIN, fill.forward, head.status, None, part, fill.timings, stored=False))
        return True

    async def _handed_over(self, fill: _Fill, head: Head, marker: Pass) -> None:
        """The leader gets this response as it comes."""
        await self._superseded(fill, head, marker)
        fill.record.result = FillEnd.PASSED
        await self._land_for_one(fill, head, marker)

    async def _land_for_one(self, fill: _Fill, head: Head | None, marker: Pass) -> None:
        """The leader reads the response as it comes, if there is a place for that; else it has to wait for one."""
        if head is None or fill.flight.leader_left.is_set() or not self._places.take_now():
            fill.flight.land(Unshared(marker, forward=fill.forward, timings=fill.timings))
            return
        try:
            fill.flight.land(Unshared(marker, Handoff(fill.response, head), fill.forward, fill.timings))
            await fill.flight.leader_left.wait()
        finally:
            self._places.give_back()

    async def _superseded(self, fill: _Fill, head: Head, marker: Pass) -> None:
        """What is not shared takes the place of what was stored before; what is only this client's affair does not."""
        ask = fill.ask
        about_the_request = head.status in storing.ABOUT_THE_REQUEST
        if ask.directives.no_store or (fill.held is not None and about_the_request):
            return
        self._remember(fill, marker)
        if fill.held is not None and head.status < 500 and not about_the_request and not ask.authorized:
            await self._tiers.forget(ask.uri, fill.held.part)

    def _remember(self, fill: _Fill, marker: Pass) -> None:
        self._markers.put(fill.ask, replace(marker, mark=fill.mark))

    # -- large objects ---------------------------------------------------------------------------------------------

    def _can_lay_out(self, fill: _Fill, head: Head) -> bool:
        """Blocks of it can be had one by one, and told apart from those of another version."""
        ranges = self._site.ranges_known or (fill.response.field("accept-ranges") or "").strip().lower() == "bytes"
        return bool(self._limits.block_bytes) and head.status == 200 and head.strong_etag is not None and ranges

    async def _laid_out(self, fill: _Fill, head: Head) -> None:
        """The whole of a large object is coming: take its first block from it; the others are asked for when needed."""
        first = Part(0, self._limits.block_bytes - 1)
        await self._land_layout(fill, head, first, _first_bytes(fill.response.chunks, first.length))

    async def _partial(self, fill: _Fill, asked: tuple[int, int]) -> bool:
        """The answer to a cold range, asked for as a block: it tells the size and the validator of the whole."""
        whereabouts = parse_content_range(fill.response.field("content-range"))
        if fill.response.status == 416 or whereabouts is None:
            if not self._site.forwards:
                return False
            # Let the client ask for just what it wants: the origin has the last word on what that means.
            marker = Pass("the origin refuses that range", 0.0)
            fill.flight.land(Unshared(marker, forward=fill.forward, timings=fill.timings))
            return True
        part, total = whereabouts
        whole = tuple(line for line in self._site.received(fill.response) if line[0] not in _OF_A_PART)
        head = self._head(fill, 200, (*whole, ("content-length", str(total))))
        if part != Part(asked[0], min(asked[1], total - 1)):
            raise OriginError(OriginFailure.PROTOCOL, "the origin sent another range than it was asked for")
        if part.length == total and self._unshareable(fill.ask, head) is None:
            await self._receive(fill, self._growing(fill, head), fill.response.chunks)
        elif head.strong_etag is not None and self._unshareable(fill.ask, replace(head, length=0)) is None:
            await self._land_layout(fill, head, part, fill.response.chunks)
        elif self._unshareable(fill.ask, head) is None:
            return False  # its parts cannot be told apart, but the whole may be stored
        else:
            marker = self._unshareable(fill.ask, head) or Pass("its parts cannot be told apart", self._soon())
            if not fill.ask.directives.no_store:
                self._remember(fill, marker)
            fill.flight.land(Unshared(marker, forward=fill.forward, timings=fill.timings))
        return True

    async def _land_layout(self, fill: _Fill, head: Head, part: Part, chunks: Chunks) -> None:
        layout = Layout(head, self._limits.block_bytes, fill.mark)
        before = self._tiers.kept(fill.ask, head)
        if isinstance(before, Layout):
            self._drop_blocks(fill.ask.uri, before, layout)
        stored = self._tiers.keep(fill.ask, layout)
        fill.record.result = FillEnd.STORED if stored else FillEnd.UNSTORED
        found = Found(
            layout,
            Tier.ORIGIN,
            fill.forward,
            fill.response.status,
            part=part_of(head, fill.ask),
            timings=fill.timings,
            stored=stored,
        )
        async with aclosing(chunks):
            await self.blocks.take(fill.ask, layout, part, chunks, lambda: fill.flight.land(found))

    def _drop_blocks(self, uri: str, before: Layout, after: Layout) -> None:
        """What memory has of the version before; other variants may have blocks of their own."""
        old, new = blocks_of(before), blocks_of(after)
        for key in self._tiers.memory.keys_of(uri) if old != new else ():
            if key.part.startswith(old):
                self._tiers.memory.remove(key)

    # -- the sibling -----------------------------------------------------------------------------------------------

    async def _ask_sibling(self, ask: Ask, owner: int, flight: Flight[Landing], held: Held | None) -> None:
        """Land what the owner has. OriginError: it could not be asked, or knows less of the purges than we do."""
        siblings = self._siblings
        reader = siblings.reader(owner) if siblings is not None else None
        if siblings is None or reader is None:
            raise OriginError(OriginFailure.CONNECT, "the sibling has just gone")
        question = wire.Question(
            headers=ask.headers,
            authorized=ask.authorized,
            byte_range=ask.conditions.byte_range,
            directives=ask.directives,
            known_etag=held.value.head.etag if held is not None else None,
        )
        position = self._tiers.purges.position  # what we hold is known to be good up to here
        asked_at = self._clock.monotonic()
        fields = ((wire.QUESTION, wire.ask(question, now=asked_at)),)
        try:
            async with reader.open(ReadRequest(ask.uri, headers=fields)) as response:
                now = self._clock.monotonic()
                answer = wire.decode(response, now=now)
                mark = min(answer.position, position)
                fill = _Fill(
                    ask,
                    flight,
                    held,
                    response,
                    mark,
                    now - asked_at,
                    (("sibling", now - asked_at),),
                    self.why(ask, held),
                )
                self._refuse_outdated(ask, answer)
                await self._take_over(fill, answer)
        except OriginError as error:
            if error.failure.blames_origin:
                siblings.failed(owner)
            raise

    def _refuse_outdated(self, ask: Ask, answer: wire.Answer) -> None:
        """What a sibling gives that has not applied a purge yet may be what that purge is about."""
        tags = answer.head.tags if answer.head is not None else ()
        if self._tiers.purges.verdict(ask.uri, tags, answer.position) is not None:
            raise OriginError(OriginFailure.CONFIGURATION, "the sibling has not heard of a purge yet")

    async def _take_over(self, fill: _Fill, answer: wire.Answer) -> None:
        head, held = answer.head, fill.held
        match answer.kind:
            case Answered.ENTRY if head is not None:
                landing = Growing(
                    head,
                    GrowingBody(),
                    Tier.SIBLING,
                    answer.forward,
                    answer.forward_status,
                    answer.part,
                    fill.timings,
                    answer.stored,
                )
                await self._receive(fill, landing, fill.response.chunks, keep=answer.stored, everywhere=False)
            case Answered.SAME if head is not None and held is not None:
                self._land_from_sibling(fill, answer, replace(held.value, head=head, mark=fill.mark))
            case Answered.LAYOUT if head is not None:
                self._land_from_sibling(fill, answer, Layout(head, answer.block_bytes, fill.mark))
            case Answered.PASS if answer.marker is not None:
                self._remember(fill, answer.marker)
                await self._land_for_one(fill, head, answer.marker)
            case Answered.ERROR if answer.error is not None:
                fill.flight.land(self._failed(fill.ask, answer.error, held, fill.timings))
            case _:
                raise OriginError(OriginFailure.PROTOCOL, "a sibling worker's answer makes no sense")

    def _land_from_sibling(self, fill: _Fill, answer: wire.Answer, value: Entry | Layout) -> None:
        stored = answer.stored and self._tiers.keep(fill.ask, value, everywhere=False)
        fill.flight.land(
            Found(
                value,
                Tier.SIBLING,
                answer.forward,
                answer.forward_status,
                part=answer.part,
                timings=fill.timings,
                stored=stored,
            )
        )

    # -- the body --------------------------------------------------------------------------------------------------

    async def _receive(
        self, fill: _Fill, landing: Growing, chunks: Chunks, *, keep: bool = True, everywhere: bool = True
    ) -> None:
        """Land with the head, then take in the body. What goes wrong from there on is the body's readers' to see."""
        head, body = landing.head, landing.body
        before = self._tiers.kept(fill.ask, head)
        async with self._budget.reserve(_FIRST_SHARE_BYTES if head.length is None else head.length) as share:
            fill.flight.land(landing)
            try:
                async with aclosing(self._resuming(fill.ask, head, chunks)) as resuming:
                    whole = await receive(resuming, head, body, limit=self._limits.max_object_bytes, share=share)
            except OriginError as error:
                log.warning("fill of %s broke off: %s", fill.ask.uri, error)
                fill.record.result = FillEnd.FAILED
                body.fail(error)
                return
            except BaseException:
                body.fail(OriginError(OriginFailure.TERMINATED, "the fill was ended"))
                raise
            # Stored first: whoever sees the end of the body finds the entry. Who did not bear the age of this one may
            # have asked for another meanwhile, and that one be here already.
            if whole is not None and keep and not self._tiers.is_overtaken(fill.ask, head, before):
                entry = Entry(replace(head, length=len(whole)), whole, fill.mark)
                stored = self._tiers.keep(fill.ask, entry, everywhere=everywhere)
                fill.record.result = FillEnd.STORED if stored else FillEnd.UNSTORED
            body.finish(whole)

    async def _resuming(self, ask: Ask, head: Head, chunks: Chunks) -> Chunks:
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
        read = ReadRequest(ask.target or ask.uri, if_match=head.strong_etag, byte_range=(part.first, part.last))
        async with self._reader.open(replace(read, headers=whole_fields(ask))) as rest:
            whereabouts = parse_content_range(rest.field("content-range"))
            if rest.status != 206 or whereabouts != (part, head.length) or rest.field("etag") != head.etag:
                raise broken
            async for chunk in rest.chunks:
                yield chunk


@dataclass(frozen=True, slots=True)
class _Fill:
    """An answer in hand, and what it is the answer to. delay_s: from the question to its head."""

    ask: Ask
    flight: Flight[Landing]
    held: Held | None
    response: ReadResponse
    mark: int
    delay_s: float
    timings: Timings
    forward: Forward
    record: Filling = field(default_factory=Filling)


def _found(held: Held, timings: Timings) -> Found:
    return Found(held.value, held.tier, part=held.part, timings=timings)


def _head_in(landing: Landing | None) -> Head | None:
    match landing:
        case Found(value):
            return value.head
        case Growing(head):
            return head
    return None


async def _once(body: bytes) -> Chunks:
    yield body


async def _first_bytes(chunks: Chunks, size: int) -> Chunks:
    """The first `size` bytes; the rest is not read."""
    left = size
    async for chunk in chunks:
        yield chunk[:left]
        left -= len(chunk)
        if left <= 0:
            return

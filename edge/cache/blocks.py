"""Large objects in blocks: each block an entry of its own, all of them under the one strong validator of their layout.

A reader goes through the blocks it needs, one after the other; each block has a flight of its own, so that a thousand
readers cost one request per block. A block is looked up anew for every slice that is sent: a slow client holds a slice
in memory, never a block, and what it has not read yet may be evicted and come back from a slower tier.

A block whose validator is another than the layout's belongs to another version: the layout is dropped (`ChangedError`).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import TypeAlias

from edge.cache import siblings as wire
from edge.cache.ask import Ask
from edge.cache.fill import FillBudget, GrowingBody, receive
from edge.cache.flight import Flight, Flights
from edge.cache.freshness import described
from edge.cache.limits import Limits
from edge.cache.model import CacheKey, Entry, Forward, Freshness, Head, Layout, Tier
from edge.cache.ranges import Part, parse_content_range
from edge.cache.siblings import Answered, Siblings
from edge.cache.storing import ABOUT_THE_REQUEST
from edge.cache.tiers import Tiers, part_of
from edge.clock import Clock
from origin.reader import (
    Chunks,
    ObjectReader,
    OriginError,
    OriginFailure,
    ReadRequest,
    ReadResponse,
    answered_with_error,
)

SLICE_BYTES = 32 * 1024
"""What a slow reader holds at a time."""
QUICK_SLICE_BYTES = 256 * 1024
"""What one holds that has always taken the last slice within `QUICK_S`: fewer, larger steps cost less."""
QUICK_S = 0.005
_LOOKED_AT = 64  # blocks of a long read, before it is called a hit: it may be left after the first
_KEPT_S = 86_400.0  # a block, at least: for as long as its version may be confirmed again
_PAUSES_S = (0.2, 1.0)  # before a block is asked for again, from where it broke off: an origin may be starting again
_FIRST = re.compile(r"bytes=([0-9]{1,18})-[0-9]{0,18}|bytes=-[0-9]{1,18}")


class ChangedError(Exception):
    """The origin holds another version than the layout describes."""


class _GoneError(OriginError):
    """The same, when a part of the body has been sent: there is nothing to be had any more by asking again."""


class RefusedError(Exception):
    """The origin refuses the request on whose behalf a block was asked for: each has to ask for itself."""


@dataclass(frozen=True, slots=True)
class Have:
    """A whole block."""

    entry: Entry
    tier: Tier


@dataclass(frozen=True, slots=True)
class Coming:
    """A block on its way."""

    body: GrowingBody
    tier: Tier


@dataclass(frozen=True, slots=True)
class Changed:
    """Another version is there now."""


@dataclass(frozen=True, slots=True)
class Refused:
    """One client's request for it is not to the origin's liking, which says nothing of the object."""

    status: int


@dataclass(frozen=True, slots=True)
class Lost:
    """The block cannot be had."""

    error: OriginError


BlockLanding: TypeAlias = Have | Coming | Changed | Refused | Lost


@dataclass(frozen=True, slots=True)
class Opened:
    """The bytes of a range whose first block is there or coming. forward None: it was in a tier."""

    tier: Tier
    forward: Forward | None
    pieces: AsyncGenerator[bytes | memoryview, None]


def first_offset(field: str) -> int | None:
    """Where a single range begins; 0 for a suffix, None for anything else."""
    match = _FIRST.fullmatch(field.replace(" ", "").lower())
    return int(match[1] or 0) if match is not None else None


def block_key(uri: str, layout: Layout, number: int) -> CacheKey:
    """Where a block is kept: another validator, length, or block size is another place.

    The length, too: an origin whose entity tags are not worth their name must not get blocks of two lengths mixed up.
    """
    return CacheKey(uri, f"{blocks_of(layout)}{number}")


def blocks_of(layout: Layout) -> str:
    """What the parts of all its blocks' keys begin with."""
    version = f"{layout.head.etag}\n{layout.head.length}\n{layout.block_bytes}"
    return f"b:{blake2b(version.encode('utf-8', 'surrogatepass'), digest_size=9).hexdigest()}:"


def block_part(layout: Layout, number: int) -> Part:
    """The bytes of the object that are in that block."""
    first = number * layout.block_bytes
    return Part(first, min(first + layout.block_bytes, layout.head.length or 0) - 1)


class _Pace:
    """How much a reader is given at a time."""

    __slots__ = ("size",)

    def __init__(self) -> None:
        self.size = SLICE_BYTES

    def taken(self, after_s: float) -> None:
        """It has taken what it was given last."""
        self.size = min(2 * self.size, QUICK_SLICE_BYTES) if after_s < QUICK_S else SLICE_BYTES


class Blocks:
    """All block flights of one worker."""

    def __init__(
        self,
        *,
        reader: ObjectReader,
        tiers: Tiers,
        siblings: Siblings | None,
        clock: Clock,
        limits: Limits,
        budget: FillBudget,
    ) -> None:
        self._reader = reader
        self._tiers = tiers
        self._siblings = siblings
        self._clock = clock
        self._limits = limits
        self._budget = budget
        self._flights: Flights[BlockLanding] = Flights("block of")

    def __len__(self) -> int:
        return len(self._flights)

    async def open(self, ask: Ask, layout: Layout, wanted: Part) -> Opened:
        """The bytes of `wanted`; raises ChangedError or OriginError when its first blocks cannot be had.

        All blocks of a short range are made sure of before anything is promised to the client, so that it is answered
        as a whole or not at all; of a long one the first.
        """
        size, tier, forward = layout.block_bytes, Tier.MEMORY, None
        first, last = wanted.first // size, wanted.last // size
        sure = last if last - first <= self._limits.readahead else first
        self._read_ahead(ask, layout, first - 1, sure)
        for number in range(first, sure + 1):
            match await self._landing(ask, layout, number):
                case Have(_, found):
                    tier = tier if forward is not None or found is Tier.MEMORY else found
                case Coming(_, found):
                    tier, forward = found, Forward.PARTIAL
                case Changed():
                    raise ChangedError
                case Refused():
                    raise RefusedError
                case Lost(error):
                    raise error.again()
        if forward is None and sure < last:
            beyond = min(last, sure + _LOOKED_AT)
            further = [block_key(ask.uri, layout, number) for number in range(sure + 1, beyond + 1)]
            if await self._tiers.lacks_any(further):
                tier, forward = Tier.ORIGIN, Forward.PARTIAL
        return Opened(tier, forward, self._pieces(ask, layout, wanted))

    async def has(self, ask: Ask, layout: Layout, wanted: Part) -> bool:
        """Whether this worker's tiers have all of `wanted` at this moment."""
        first, last = wanted.first // layout.block_bytes, wanted.last // layout.block_bytes
        for number in range(first, last + 1):
            if await self._tiers.block(block_key(ask.uri, layout, number), layout) is None:
                return False
        return True

    def join_local(self, ask: Ask, layout: Layout, number: int) -> Flight[BlockLanding]:
        """The block's flight that asks no sibling."""
        key = block_key(ask.uri, layout, number)
        return self._flights.join(key, partial(self._fly, ask, layout, number, None))[0]

    async def take(self, ask: Ask, layout: Layout, part: Part, chunks: Chunks, landed: Callable[[], None]) -> None:
        """A block that came with the head of its object. landed: called as soon as readers may look for it."""
        number = part.first // layout.block_bytes
        key = block_key(ask.uri, layout, number)
        with self._flights.adopted(key) as flight:
            if flight is None:
                landed()
                return
            try:
                async with self._budget.reserve(part.length):
                    landed()
                    await self._receive(key, layout, part, chunks, flight, layout.mark, Tier.ORIGIN)
            except OriginError as error:
                flight.land(Lost(error))  # there was no room: readers of an earlier layout may be waiting for it
                raise

    def detach(self, purged: Callable[[str], bool]) -> None:
        """Nobody who comes later joins the flights for blocks of such URIs."""
        self._flights.detach(lambda key, _landing: purged(key.uri))

    async def close(self) -> None:
        """End all flights."""
        await self._flights.close()

    # -- reading ---------------------------------------------------------------------------------------------------

    async def _landing(self, ask: Ask, layout: Layout, number: int) -> BlockLanding:
        key = block_key(ask.uri, layout, number)
        entry = self._tiers.block_in_memory(key, layout)
        if entry is not None:
            self._tiers.served(key.uri, key.part)
            return Have(entry, Tier.MEMORY)
        return await self._join(ask, layout, number, key).result()

    def _join(self, ask: Ask, layout: Layout, number: int, key: CacheKey) -> Flight[BlockLanding]:
        owner = self._siblings.owner(key) if self._siblings is not None else None
        return self._flights.join(key, partial(self._fly, ask, layout, number, owner))[0]

    async def _pieces(self, ask: Ask, layout: Layout, wanted: Part) -> AsyncGenerator[bytes | memoryview, None]:
        size, pace = layout.block_bytes, _Pace()
        last = wanted.last // size
        for number in range(wanted.first // size, last + 1):
            self._read_ahead(ask, layout, number, last)
            part = block_part(layout, number)
            inside = Part(max(wanted.first, part.first) - part.first, min(wanted.last, part.last) - part.first)
            async with aclosing(self._block_pieces(ask, layout, number, inside, pace)) as pieces:
                async for piece in pieces:
                    yield piece

    def _read_ahead(self, ask: Ask, layout: Layout, number: int, last: int) -> None:
        """Ask for what comes next, while that takes nothing away from those who wait for what comes now."""
        if self._budget.is_tight:
            return
        for ahead in range(number + 1, min(number + self._limits.readahead, last) + 1):
            key = block_key(ask.uri, layout, ahead)
            if self._tiers.memory.peek(key) is None:
                self._join(ask, layout, ahead, key)

    async def _block_pieces(
        self, ask: Ask, layout: Layout, number: int, inside: Part, pace: _Pace
    ) -> AsyncGenerator[bytes, None]:
        at, pauses = inside.first, list(_PAUSES_S)
        while at <= inside.last:
            try:
                piece = await self._slice(ask, layout, number, Part(at, min(at + pace.size - 1, inside.last)))
            except _GoneError:
                raise
            except OriginError:
                # Somewhere in a long body, patience is worth more than a quick end.
                if not pauses:
                    raise
                await asyncio.sleep(pauses.pop(0))
                continue
            # Nothing but the slice is held while the client takes it: not the block, and not what it comes from.
            given_at = self._clock.monotonic()
            yield piece
            pace.taken(self._clock.monotonic() - given_at)
            at += len(piece)

    async def _slice(self, ask: Ask, layout: Layout, number: int, wanted: Part) -> bytes:
        """The first bytes of `wanted` (offsets in the block), as many as are there already, at least one."""
        match await self._landing(ask, layout, number):
            case Have(entry):
                return bytes(entry.body[wanted.first : wanted.last + 1])
            case Coming(body):
                return await _first_piece(body, wanted)
            case Changed():
                await self._tiers.forget_version(ask.uri, part_of(layout.head, ask), layout)
                raise _GoneError(OriginFailure.INCOMPLETE, "the object has changed while it was being read")
            case Refused(status):
                raise answered_with_error(status)
            case Lost(error):
                raise error.again()

    # -- flights ---------------------------------------------------------------------------------------------------

    async def _fly(
        self, ask: Ask, layout: Layout, number: int, owner: int | None, flight: Flight[BlockLanding]
    ) -> None:
        key = block_key(ask.uri, layout, number)
        held = await self._tiers.block(key, layout)
        if held is not None:
            flight.land(Have(*held))
            return
        if owner is not None and await self._from_sibling(ask, layout, number, owner, flight):
            return
        try:
            await self._from_origin(ask, layout, number, flight)
        except OriginError as error:
            if not flight.landed:
                flight.land(Lost(error))

    async def _from_origin(self, ask: Ask, layout: Layout, number: int, flight: Flight[BlockLanding]) -> None:
        mark = self._tiers.purges.position
        part = block_part(layout, number)
        read = ReadRequest(
            ask.target or ask.uri,
            if_match=layout.head.strong_etag,
            byte_range=(part.first, part.last),
            headers=whole_fields(ask),
        )
        # The share first: what arrives before there is room for it would lie in the connections' buffers.
        async with self._budget.reserve(part.length), self._reader.open(read) as response:
            if not _same_version(response, layout, part):
                flight.land(_refused(response, layout, ask))
                return
            key = block_key(ask.uri, layout, number)
            await self._receive(key, layout, part, response.chunks, flight, mark, Tier.ORIGIN)

    async def _from_sibling(
        self, ask: Ask, layout: Layout, number: int, owner: int, flight: Flight[BlockLanding]
    ) -> bool:
        """Ask the worker that owns the block; False when it could not be asked."""
        reader = self._siblings.reader(owner) if self._siblings is not None else None
        if reader is None:
            return False
        key, part, now = block_key(ask.uri, layout, number), block_part(layout, number), self._clock.monotonic()
        wanted = wire.WantedBlock(number, layout)
        question = wire.ask(wire.Question(headers=ask.headers, authorized=ask.authorized, block=wanted), now=now)
        try:
            async with reader.open(ReadRequest(ask.uri, headers=((wire.QUESTION, question),))) as response:
                answer = wire.decode(response, now=self._clock.monotonic())
                mark = min(answer.position, self._tiers.purges.position)
                if answer.kind is Answered.CHANGED:
                    flight.land(Changed())
                elif answer.kind is Answered.ERROR and answer.error is not None:
                    flight.land(Lost(answer.error))
                elif answer.kind is not Answered.ENTRY:
                    return False
                else:
                    await self._receive(key, layout, part, response.chunks, flight, mark, Tier.SIBLING)
        except OriginError as error:
            if self._siblings is not None and error.failure is not OriginFailure.OVERLOADED:
                self._siblings.failed(owner)
            return flight.landed
        return True

    async def _receive(
        self,
        key: CacheKey,
        layout: Layout,
        part: Part,
        chunks: Chunks,
        flight: Flight[BlockLanding],
        mark: int,
        tier: Tier,
    ) -> None:
        head, body = _block_head(layout, part, self._clock.monotonic()), GrowingBody()
        flight.land(Coming(body, tier))
        try:
            whole = await receive(chunks, head, body, limit=part.length)
        except OriginError as error:
            body.fail(error)
            return
        except BaseException:
            body.fail(OriginError(OriginFailure.TERMINATED, "the fill was ended"))
            raise
        block = Entry(head, whole or b"", mark)
        self._tiers.keep_block(key, block, layout, everywhere=tier is Tier.ORIGIN)
        body.finish(whole or b"")


async def _first_piece(body: GrowingBody, wanted: Part) -> bytes:
    async with aclosing(body.read(wanted)) as pieces:
        async for piece in pieces:
            return bytes(piece)
    raise OriginError(OriginFailure.INCOMPLETE, "the block ended before its time")


def _block_head(layout: Layout, part: Part, now: float) -> Head:
    """Enough of a head for the tiers to keep the block.

    Its object's head alone says whether it may be used. So it is kept for longer than that is fresh: when the origin
    confirms the version, the blocks are still there.
    """
    fields = (("content-length", str(part.length)), ("etag", layout.head.etag or ""))
    lifetime_s = max(_KEPT_S, layout.head.freshness.useful_s)
    return described(206, fields, born=now, freshness=Freshness(storable=True, lifetime_s=lifetime_s))


def _same_version(response: ReadResponse, layout: Layout, part: Part) -> bool:
    return (
        response.status == 206
        and response.field("etag") == layout.head.etag
        and parse_content_range(response.field("content-range")) == (part, layout.head.length)
    )


def _refused(response: ReadResponse, layout: Layout, ask: Ask) -> BlockLanding:
    """What an answer that is not the block says of it. One client's fields are sent, on behalf of all who wait."""
    if ask.headers and response.status in ABOUT_THE_REQUEST:
        return Refused(response.status)
    if response.status >= 500:
        return Lost(answered_with_error(response.status))
    if response.status in (200, 206) and response.field("etag") == layout.head.etag:
        return Lost(OriginError(OriginFailure.PROTOCOL, "the origin sent another range than it was asked for"))
    return Changed()


_NOT_FOR_FILLS = frozenset(
    {"range", "if-range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since"}
)


def whole_fields(ask: Ask) -> tuple[tuple[str, str], ...]:
    """The client's fields without those that would make the answer less than the whole."""
    return tuple(line for line in ask.headers if line[0] not in _NOT_FOR_FILLS)

"""The tiers of one worker as one place: find the youngest response that fits a request, keep a new one in all of them.

A URI's responses lie under `CacheKey(uri)`; where they vary, a `Varying` lies there instead and tells under which parts
the variants are. What comes from a slow tier has been there for any length of time, so it is checked against the purges
since; memory is purged at once and need not be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from edge.cache import vary
from edge.cache.ask import Ask
from edge.cache.freshness import Verdict, decide, made_stale
from edge.cache.memory import MemoryStore
from edge.cache.model import CacheKey, Entry, Head, Layout, Stored, Tier, Varying
from edge.cache.purge import UNKNOWN, Kind
from edge.clock import Clock

_SAMPLE = 64
MAX_SPECS = 4
"""Sets of selecting fields that are remembered of one URI."""
MAX_VARIANTS = 32
"""Variants of one URI that memory holds, and beyond which no more go to the slow tiers."""
CLOCKS_AGREE_S: Final = 60.0
"""How far ahead of ours another node's clock may be (ARCHITECTURE, assumptions)."""


class SlowTier(Protocol):
    """A tier that must be awaited: it may be slow or gone, and never raises. `put` only begins to write.

    lacks_any: whether there is nothing under one of the keys, as far as it can tell without reading; also when it
    can't tell.
    """

    @property
    def healthy(self) -> bool: ...

    async def get(self, key: CacheKey) -> Stored | None: ...

    async def lacks_any(self, keys: Sequence[CacheKey]) -> bool: ...

    def put(self, key: CacheKey, value: Stored) -> bool: ...

    async def remove(self, key: CacheKey) -> None: ...


class Purges(Protocol):
    """What has been purged. position: counts what was applied here; verdict: on something marked at `since`.

    softened_at: when the earliest soft purge after `since` that names it was asked for (wall clock, s); UNKNOWN if
    nobody can tell.
    """

    @property
    def position(self) -> int: ...

    def verdict(self, uri: str, tags: tuple[str, ...], since: int) -> Kind | None: ...

    def softened_at(self, uri: str, tags: tuple[str, ...], since: int) -> float: ...


class NoPurges:
    """Nothing is ever purged."""

    position = 0

    def verdict(self, uri: str, tags: tuple[str, ...], since: int) -> Kind | None:
        """None."""
        return None

    def softened_at(self, uri: str, tags: tuple[str, ...], since: int) -> float:
        """Nobody can tell."""
        return UNKNOWN


@dataclass(frozen=True, slots=True)
class Held:
    """A value that fits the request, and where it was. part: of the URI, under which it lies.

    position: of the last purge that it is known to have outlived.
    """

    value: Entry | Layout
    tier: Tier
    part: str = ""
    position: int = 0


class Tiers:
    """slow: the tiers beside memory, fastest first. touch: told of a sample of what memory serves.

    Without it, what is so hot that it never leaves memory would look unused on disk, and be gone after a restart.
    """

    def __init__(
        self,
        memory: MemoryStore,
        slow: Iterable[tuple[Tier, SlowTier]],
        purges: Purges,
        clock: Clock,
        touch: Callable[[CacheKey], None] = lambda _key: None,
    ) -> None:
        self._touch = touch
        self._served = 0
        self.memory = memory
        self.purges = purges
        self._slow = tuple(slow)
        self._clock = clock

    def served(self, uri: str, part: str, times: int = 1) -> None:
        """Memory has served this so often."""
        before, self._served = self._served // _SAMPLE, self._served + times
        if self._served // _SAMPLE > before:
            self._touch(CacheKey(uri, part))

    def in_memory(self, ask: Ask) -> Held | None:
        """The youngest response in memory that fits; without awaiting."""
        value = self.memory.get(CacheKey(ask.uri))
        if value is None:
            return None
        position = self.purges.position
        if isinstance(value, Varying):
            best: Held | None = None
            for part in _parts(value, ask):
                variant = self.memory.get(CacheKey(ask.uri, part))
                if isinstance(variant, Entry | Layout):
                    best = _younger(best, Held(variant, Tier.MEMORY, part, position))
            return best
        return Held(value, Tier.MEMORY, "", position)

    async def find(self, ask: Ask) -> Held | None:
        """The youngest response that fits, looked for until a fresh one is found; it is in memory afterwards."""
        best = self.in_memory(ask)
        for tier, store in self._slow:
            if best is not None and self._fresh(best, ask):
                return best
            found = await self._in_slow(tier, store, ask)
            # Memory is looked at again: it may have come while we waited. What we had may have been purged.
            best = _younger(self.in_memory(ask), _younger(self.left_of(ask.uri, best), found))
            if best is found and found is not None:
                self._promote(ask, found)
        return best

    async def block(self, key: CacheKey, layout: Layout) -> tuple[Entry, Tier] | None:
        """One block of a large object, from the fastest tier that has it; it is in memory afterwards."""
        held = self.block_in_memory(key, layout)
        if held is not None:
            return held, Tier.MEMORY
        for tier, store in self._slow:
            value = await store.get(key)
            if isinstance(value, Entry) and not self._is_purged(key, layout, value):
                self.memory.put(key, value)
                return value, tier
        return None

    async def lacks_any(self, keys: Sequence[CacheKey]) -> bool:
        """Whether no tier has all of these that memory lacks, without reading any."""
        left = [key for key in keys if self.memory.peek(key) is None]
        if not left:
            return False
        for _, store in self._slow:
            if not await store.lacks_any(left):
                return False
        return True

    def block_in_memory(self, key: CacheKey, layout: Layout) -> Entry | None:
        """One block, if memory has it; without awaiting.

        Checked though memory is purged at once: a block bears no tags, so a purge by tag that came when its layout had
        left memory has not found it.
        """
        value = self.memory.get(key)
        return value if isinstance(value, Entry) and not self._is_purged(key, layout, value) else None

    def _is_purged(self, key: CacheKey, layout: Layout, block: Entry) -> bool:
        return self.purges.verdict(key.uri, layout.head.tags, block.mark) is Kind.HARD

    def keep(self, ask: Ask, value: Entry | Layout, *, everywhere: bool = True) -> bool:
        """Store a response to that request, unless it was purged meanwhile. everywhere: in the slow tiers, too."""
        head = value.head
        verdict = self.purges.verdict(ask.uri, head.tags, value.mark)
        if verdict is Kind.HARD:
            return False
        if verdict is not None:
            value = replace(value, head=self._weakened(ask.uri, head, verdict, value.mark))
        part = part_of(head, ask)
        if part:
            everywhere = self._note_variant(ask.uri, head.vary, everywhere=everywhere) and everywhere
        self._put(CacheKey(ask.uri, part), value, everywhere=everywhere)
        return True

    def keep_block(self, key: CacheKey, block: Entry, layout: Layout, *, everywhere: bool = True) -> None:
        """Store one block, unless its object was purged meanwhile."""
        if not self._is_purged(key, layout, block):
            self._put(key, block, everywhere=everywhere)

    def left_of(self, uri: str, held: Held | None) -> Held | None:
        """What the purges since its position have left of a value; to be asked again after every wait."""
        if held is None:
            return None
        head = held.value.head
        verdict = self.purges.verdict(uri, head.tags, held.position)
        if verdict is Kind.HARD:
            return None
        # Marked as of now: what memory holds is purged at once, and was just checked.
        position = self.purges.position
        value = replace(held.value, mark=position)
        if verdict is not None:
            value = replace(value, head=self._weakened(uri, head, verdict, held.position))
        return replace(held, value=value, position=position)

    def weakened(self, head: Head, kind: Kind, asked_at: float) -> Head:
        """What is left of a head by a purge that does not remove it. asked_at: when it was asked for, wall clock (s).

        It was stale from then on, whenever it is met. If that time is unknown, or lies in the future, nobody can say
        how much of its grace is left: none.
        """
        now, wall = self._clock.monotonic(), self._clock.wall()
        if kind is Kind.SOFT and 0 < asked_at <= wall + CLOCKS_AGREE_S:
            return made_stale(head, now - max(0.0, wall - asked_at))
        stale = made_stale(head, now)
        return replace(stale, freshness=replace(stale.freshness, validate_always=True))

    async def forget(self, uri: str, part: str = "") -> None:
        """Drop a response that turned out wrong or superseded, and all blocks of its URI from memory."""
        self.memory.remove_uri(uri)
        for _, store in self._slow:
            await store.remove(CacheKey(uri, part))

    async def forget_version(self, uri: str, part: str, layout: Layout) -> None:
        """The same of one version of a large object, unless another has taken its place."""
        kept = self.memory.peek(CacheKey(uri, part))
        if isinstance(kept, Layout) and kept.head.etag == layout.head.etag:
            await self.forget(uri, part)

    def kept(self, ask: Ask, head: Head) -> Stored | None:
        """What memory has where a response with that head to this request belongs; that is no use of it."""
        return self.memory.peek(CacheKey(ask.uri, part_of(head, ask)))

    def is_overtaken(self, ask: Ask, head: Head, before: Stored | None) -> bool:
        """Whether memory, which kept `before` when this response began to come, has got a younger one since."""
        now = self.kept(ask, head)
        return now is not before and isinstance(now, Entry | Layout) and now.head.born > head.born

    def flight_part(self, ask: Ask) -> str:
        """The part of the URI that a response to this request will probably be kept under."""
        value = self.memory.peek(CacheKey(ask.uri))
        return vary.part(value.specs[0], ask.headers) if isinstance(value, Varying) else ""

    # ------------------------------------------------------------------------------------------------------------------

    def _weakened(self, uri: str, head: Head, kind: Kind, since: int) -> Head:
        """The same by the purges after position `since`, of which `kind` is the strongest."""
        return self.weakened(head, kind, self.purges.softened_at(uri, head.tags, since))

    def _fresh(self, held: Held, ask: Ask) -> bool:
        return decide(held.value.head, self._clock.monotonic(), ask.directives) is Verdict.HIT

    async def _in_slow(self, tier: Tier, store: SlowTier, ask: Ask) -> Held | None:
        value = await store.get(CacheKey(ask.uri))
        if value is None:
            return None
        if not isinstance(value, Varying):
            return self.left_of(ask.uri, Held(value, tier, "", value.mark))
        self._merge(ask.uri, value)
        best: Held | None = None
        for part in _parts(value, ask):
            variant = await store.get(CacheKey(ask.uri, part))
            if isinstance(variant, Entry | Layout):
                best = _younger(best, self.left_of(ask.uri, Held(variant, tier, part, variant.mark)))
        return self.left_of(ask.uri, best)  # one may have been purged while the next was looked for

    def _promote(self, ask: Ask, held: Held) -> None:
        self.memory.put(CacheKey(ask.uri, held.part), held.value)

    def _merge(self, uri: str, found: Varying) -> None:
        known = self.memory.peek(CacheKey(uri))
        specs = known.specs if isinstance(known, Varying) else ()
        merged = (*specs, *(spec for spec in found.specs if spec not in specs))[:MAX_SPECS]
        if merged != specs:
            self.memory.put(CacheKey(uri), Varying(merged, found.mark))

    def _note_variant(self, uri: str, spec: tuple[str, ...], *, everywhere: bool) -> bool:
        """Remember that the URI varies; False when it has so many variants that no more are worth writing down."""
        key = CacheKey(uri)
        known = self.memory.peek(key)
        specs = known.specs if isinstance(known, Varying) else ()
        if not specs or specs[0] != spec:
            newest_first = (spec, *(other for other in specs if other != spec))[:MAX_SPECS]
            self._put(key, Varying(newest_first, self.purges.position), everywhere=everywhere)
        return self._bound_variants(uri)

    def _bound_variants(self, uri: str) -> bool:
        held = [key for key in self.memory.keys_of(uri) if key.part.startswith("v:")]
        if len(held) < MAX_VARIANTS:
            return True
        self.memory.remove(min(held, key=self._born))
        return False

    def _born(self, key: CacheKey) -> float:
        value = self.memory.peek(key)
        return value.head.born if isinstance(value, Entry | Layout) else 0.0

    def _put(self, key: CacheKey, value: Stored, *, everywhere: bool) -> None:
        self.memory.put(key, value)
        if everywhere:
            for _, store in self._slow:
                store.put(key, value)


def part_of(head: Head, ask: Ask) -> str:
    """The part of the URI under which a response with that head to this request belongs."""
    return vary.part(head.vary, ask.headers) if head.vary else ""


def _parts(varying: Varying, ask: Ask) -> tuple[str, ...]:
    return tuple(vary.part(spec, ask.headers) for spec in varying.specs)


def _younger(one: Held | None, other: Held | None) -> Held | None:
    """The one that was born later (RFC 9111, 4.1: of several that match, the most recent)."""
    if one is None or other is None:
        return one or other
    return one if one.value.head.born >= other.value.head.born else other

"""Several origins that hold the same things, as one: each key has its own, and others to fall back on.

Which: rendezvous hashing. Every parent has a weight for every key, the heaviest is the key's own. When a parent goes,
its keys, and only they, move to the next in their ranks, spread over all others. So a group of parent edges holds each
object once and is one shield, and a lost parent costs the storage behind it only what that parent held.

How much: bounded loads (Mirrokni, Thorup, Zadimoghaddam 2016). A parent takes no more requests at one time than `BOUND`
times the mean; what is beyond goes to the next in rank. So a title that everybody watches does not sink its parent.

Health: a parent that refuses a connection, or fails at `FAILURES` targets with no success in between, is left out; one
that fails `FAILURES` times in a row at one target is left out for that alone, which may be broken everywhere. From then
on it is asked in the background, with a HEAD for one after the other of what it failed at, and comes back with the
first answer that is no 502, 503 or 504: a 500 may be all that there is to have of that object. One that refused
connections comes back with any answer. No client waits for that. When none is healthy, all are tried: the breaker in
front of the whole keeps the rate low then.

Falling back: what certainly was not sent goes to the next parent at once. What may have been sent goes on only when
repeating it is harmless, and within a budget, so that trouble is never multiplied.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from math import ceil

from origin.reader import ObjectReader, OriginError, OriginFailure, ReadRequest, ReadResponse
from origin.retries import RetryBudget

log = logging.getLogger(__name__)

BOUND = 1.25
"""The load that one parent takes, in means over the healthy ones."""
AT_EASE = 4
"""Requests under way at one parent that are never too many: below that, keeping a key at its place is worth more."""
FAILURES = 5
MOST_TARGETS = 1000
"""So many that a parent fails at are known; beyond that those are forgotten that failed longest ago."""
ATTEMPTS = 3
"""Parents that one request is sent to at most."""
PROBE_S = 1.0
MOST_PROBES = 60
"""For one target; then it is asked for as if it had never failed."""
_PASSING = frozenset({502, 503, 504})  # statuses that speak of the parent's own trouble, not of the object


@dataclass(slots=True)
class _Parent:
    """under_way: exchanges; retries: asked after a failure, its own or another's, since the start.

    failing: how often in a row it has failed at each target. since: those since anything succeeded, as many as it takes
    to leave it out. refused: it is left out because nobody listened.
    """

    name: str
    reader: ObjectReader
    under_way: int = 0
    retries: int = 0
    healthy: bool = True
    refused: bool = False
    failing: OrderedDict[str, int] = field(default_factory=OrderedDict)
    since: set[str] = field(default_factory=set)
    probe: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def open(self, request: ReadRequest) -> AsyncIterator[ReadResponse]:
        """As the reader's, counted."""
        self.under_way += 1
        try:
            async with self.reader.open(request) as response:
                yield response
        finally:
            self.under_way -= 1

    def failed(self, target: str) -> None:
        """Once more at that target."""
        self.failing[target] = self.failing.pop(target, 0) + 1
        if len(self.failing) > MOST_TARGETS:
            self.failing.popitem(last=False)
        if len(self.since) < FAILURES:
            self.since.add(target)

    def succeeded(self, target: str) -> None:
        """It is well, and so is what it has of that target."""
        self.failing.pop(target, None)
        self.since.clear()
        self.refused = False

    def avoids(self, target: str) -> bool:
        """Whether it is left out for that target."""
        return self.failing.get(target, 0) >= FAILURES

    def doubtful(self) -> str | None:
        """The target that is to be probed with next; None when it is left out for nothing."""
        return next((target for target in self.failing if self.avoids(target) or not self.healthy), None)

    def probed_in_vain(self, target: str) -> None:
        """It still fails at that one: others come before it is probed with again."""
        self.failing[target] = self.failing.pop(target, 0) + 1
        if self.healthy and self.failing[target] > FAILURES + MOST_PROBES:
            del self.failing[target]  # perhaps nobody asks for it any more

    def weight(self, target: str) -> bytes:
        """The parent with the greatest one has the key."""
        name = f"{self.name}\n{target}".encode("utf-8", "surrogateescape")
        return blake2b(name, digest_size=8).digest()


class Parents:
    """An ObjectReader over readers by name; the name is what a key's place depends on.

    budget: for what may reach a second parent. sleep: waits between two probes.
    """

    def __init__(
        self,
        readers: Mapping[str, ObjectReader],
        *,
        budget: RetryBudget,
        probe_s: float = PROBE_S,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._parents = [_Parent(name, reader) for name, reader in readers.items()]
        self._budget = budget
        self._probe_s = probe_s
        self._sleep = sleep
        self._closed = False

    @property
    def healthy(self) -> Mapping[str, bool]:
        """Which of them are well, by name."""
        return {parent.name: parent.healthy for parent in self._parents}

    @property
    def under_way(self) -> Mapping[str, int]:
        """Exchanges with each of them now, by name."""
        return {parent.name: parent.under_way for parent in self._parents}

    @property
    def retries(self) -> Mapping[str, int]:
        """How often each of them was asked because a request had failed before, by name."""
        return {parent.name: parent.retries for parent in self._parents}

    def rank(self, target: str) -> list[str]:
        """The parents for a key, its own first."""
        return [parent.name for parent in self._ranked(target)]

    @asynccontextmanager
    async def open(self, request: ReadRequest) -> AsyncIterator[ReadResponse]:
        """Read from the key's parent, or the next that can; OriginError when none could."""
        self._budget.asked()
        async with AsyncExitStack() as held:
            yield await self._answer(request, held)

    async def close(self) -> None:
        """Stop probing, close the readers."""
        self._closed = True
        probes = [parent.probe for parent in self._parents if parent.probe is not None]
        for probe in probes:
            probe.cancel()
        await asyncio.gather(*probes, return_exceptions=True)
        for parent in self._parents:
            await parent.reader.close()

    async def _answer(self, request: ReadRequest, held: AsyncExitStack) -> ReadResponse:
        tried: list[_Parent] = []
        while True:
            parent = self._chosen(request, tried)
            parent.retries += bool(tried)
            tried.append(parent)
            try:
                response = await self._ask(parent, request, held)
            except OriginError as error:
                if not self._goes_on(request, tried, error.failure):
                    raise
                continue
            if response.status not in _PASSING or not self._goes_on(request, tried, OriginFailure.UNAVAILABLE):
                return response
            await held.aclose()

    async def _ask(self, parent: _Parent, request: ReadRequest, held: AsyncExitStack) -> ReadResponse:
        try:
            response = await held.enter_async_context(parent.open(request))
        except OriginError as error:
            if error.failure.blames_origin:
                self._failed(parent, request.path, refused=error.failure is OriginFailure.CONNECT)
            raise
        if not response.tells_of_trouble:
            self._well(parent, request.path)
        elif request.method in ("GET", "HEAD"):  # what it says to odd methods is the client's doing
            self._failed(parent, request.path)
        return response

    def _goes_on(self, request: ReadRequest, tried: list[_Parent], failure: OriginFailure) -> bool:
        """Whether to ask once more after that failure; a lone origin only if it closed the connection."""
        if len(tried) == ATTEMPTS or not (failure.blames_origin or failure.unsent):
            return False
        others = len(tried) < len(self._parents)
        if failure.unsent:
            return others
        again = len(tried) == 1 and failure is OriginFailure.TERMINATED
        return (others or again) and request.repeatable and self._budget.spend()

    # -- which ---------------------------------------------------------------------------------------------------------

    def _ranked(self, target: str) -> list[_Parent]:
        if len(self._parents) == 1:
            return self._parents
        return sorted(self._parents, key=lambda parent: parent.weight(target), reverse=True)

    def _chosen(self, request: ReadRequest, tried: list[_Parent]) -> _Parent:
        """The first in rank that is well and has not more than its share to do."""
        untried = [parent for parent in self._ranked(request.target) if parent not in tried] or self._parents
        well = [parent for parent in untried if parent.healthy] or untried
        well = [parent for parent in well if not parent.avoids(request.path)] or well
        share = self._share()
        return next(
            (parent for parent in well if parent.under_way < share), min(well, key=lambda parent: parent.under_way)
        )

    def _share(self) -> int:
        """Requests under way that one parent may have, the one to be placed included."""
        well = sum(parent.healthy for parent in self._parents) or len(self._parents)
        total = sum(parent.under_way for parent in self._parents) + 1
        return max(AT_EASE, ceil(BOUND * total / well))

    # -- health --------------------------------------------------------------------------------------------------------

    def _well(self, parent: _Parent, target: str) -> None:
        parent.succeeded(target)
        if not parent.healthy:
            parent.healthy = True
            log.info("parent %s answers again", parent.name)

    def _failed(self, parent: _Parent, target: str, *, refused: bool = False) -> None:
        parent.failed(target)
        if len(self._parents) == 1:
            return
        if parent.healthy and (refused or len(parent.since) >= FAILURES):
            parent.healthy, parent.refused = False, refused
            log.warning("parent %s is left out until it answers again", parent.name)
        if parent.probe is None and not self._closed and (not parent.healthy or parent.avoids(target)):
            parent.probe = asyncio.create_task(self._probing(parent), name=f"probe of {parent.name}")

    async def _probing(self, parent: _Parent) -> None:
        """Until the parent is left out for nothing, by this or by a client's request that had no other to go to."""
        try:
            while parent.doubtful() is not None:
                await self._sleep(self._probe_s)
                target = parent.doubtful()
                if target is None:
                    continue
                if await self._answers(parent, target):
                    self._well(parent, target)
                else:
                    parent.probed_in_vain(target)
        finally:
            parent.probe = None

    async def _answers(self, parent: _Parent, target: str) -> bool:
        try:
            async with parent.reader.open(ReadRequest(target, method="HEAD")) as response:
                return parent.refused or response.status not in _PASSING
        except OriginError:
            return False

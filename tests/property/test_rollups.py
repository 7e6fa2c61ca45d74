"""Whatever happens on the way, every roll-up is the sum of its parts, and the total what was accepted.

Any sequence of requests, batches of any size, repeated batches, repeated ids, corrections, and a Redis that goes back
to an earlier state, over a real Valkey and the real functions.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.counters.event import Agent, Kind, Place, ViewEvent
from edge.counters.journal import Segment, View, frame
from edge.counters.record import Correction, encode, encode_correction
from edge.counters.sink import Client, Sink, open_client
from edge.counters.stretch import Stretch, gather
from edge.counters.tally import Batch
from tests.support.rollups import METRICS, Rollups

PROVINCE, WRITER = "44", "0123456789abcdef"
HERE, ABROAD = Place(PROVINCE, "CN"), Place(PROVINCE, "SG")
START_MS = int(time.time()) * 1000  # keys of a minute go 49 hours after it

kinds = st.sampled_from(Kind)
resources = st.sampled_from(["a", "b", "c"])
moments = st.integers(START_MS - 86_400_000, START_MS)
events = st.builds(
    lambda number, kind, resource, viewer, at_ms, ms: ViewEvent(
        f"id-{number}", kind, "" if kind is Kind.VISIT else resource, viewer, at_ms, ms if kind is Kind.WATCH else 0
    ),
    st.integers(0, 40),  # few: ids are repeated
    kinds,
    resources,
    st.sampled_from(["", "x", "y"]),
    moments,
    st.integers(0, 120_000),
)


@dataclass(frozen=True)
class Take:
    """A request."""

    events: list[ViewEvent]
    place: Place
    agent: Agent


@dataclass(frozen=True)
class Correct:
    """A correction; of equal ids the first is booked."""

    id: int
    kind: Kind
    resource: str
    at_ms: int
    amount: int


@dataclass(frozen=True)
class Flush:
    """A batch of about so many events, offered so many times."""

    max_events: int
    times: int


@dataclass(frozen=True)
class Remember:
    """The state that a later GoBack goes back to."""


@dataclass(frozen=True)
class GoBack:
    """Redis loses what came since."""


Step = Take | Correct | Flush | Remember | GoBack
steps: st.SearchStrategy[Step] = st.one_of(
    st.builds(Take, st.lists(events, min_size=1, max_size=6), st.sampled_from([HERE, ABROAD]), st.sampled_from(Agent)),
    st.builds(Take, st.lists(events, min_size=1, max_size=6), st.just(HERE), st.just(Agent.HUMAN)),
    st.builds(Correct, st.integers(0, 1), kinds, resources, moments, st.integers(-50, 50).filter(bool)),
    st.builds(Flush, st.integers(1, 12), st.integers(1, 2)),
    st.builds(Remember),
    st.builds(GoBack),
)


@dataclass
class Ledger:
    """What is to be counted: the first of each id."""

    seen: set[str] = field(default_factory=set)
    total: Counter[str] = field(default_factory=Counter)
    bots: Counter[str] = field(default_factory=Counter)
    views: Counter[str] = field(default_factory=Counter)

    def take(self, step: Take) -> None:
        for one in step.events:
            if one.id not in self.seen:
                self.seen.add(one.id)
                amount = one.watched_ms if one.kind is Kind.WATCH else 1
                (self.bots if step.agent else self.total)[METRICS[one.kind]] += amount
                if one.kind is Kind.VIEW and not step.agent:
                    self.views[one.resource] += 1

    def correct(self, step: Correct) -> None:
        if f"correction {step.id}" not in self.seen:
            self.seen.add(f"correction {step.id}")
            self.total[METRICS[step.kind]] += step.amount
            if step.kind is Kind.VIEW:
                self.views[step.resource] += step.amount


class Run:
    """A journal, and the Redis that it is counted in."""

    def __init__(self, client: Client, path: Path) -> None:
        self._client, self._path = client, path
        self._sink = Sink(client, PROVINCE)
        self._stamp_ms = START_MS
        self._remembered: dict[bytes, bytes] = {}
        self.ledger = Ledger()
        path.touch()

    def view(self) -> View:
        size = self._path.stat().st_size
        return View((Segment(self._path, 0, size),), size)

    async def do(self, step: Step) -> None:
        match step:
            case Take():
                self.ledger.take(step)
                self._append(encode(self._stamp_ms, step.events, step.place, step.agent))
            case Correct():
                self.ledger.correct(step)
                resource = "" if step.kind is Kind.VISIT else step.resource
                minute = step.at_ms // 60_000
                one = Correction(f"c-{step.id}", PROVINCE, "CN", step.kind, minute, resource, step.amount, "a test")
                self._append(encode_correction(self._stamp_ms, one))
            case Flush():
                await self._flush(step)
            case Remember():
                self._remembered = {key: await self._client.dump(key) for key in await self._keys()}  # type: ignore[misc]
            case GoBack():
                await self._client.flushdb()
                for key, dumped in self._remembered.items():
                    await self._client.restore(key, 0, dumped)

    async def finish(self) -> None:
        """Count what is left."""
        while await self._sink.watermark(WRITER) < self.view().end:
            await self._flush(Flush(1_000, 1))

    async def _keys(self) -> Any:
        return await self._client.keys("*")

    def _append(self, payload: bytes) -> None:
        self._stamp_ms += 100
        with self._path.open("ab") as file:
            file.write(frame(payload))

    async def _flush(self, step: Flush) -> None:
        at = await self._sink.watermark(WRITER)
        found = gather(self.view(), at, step.max_events, PROVINCE)
        if found.to > at:
            applied = [await self._sink.apply(_batch(at, found)) for _ in range(step.times)]
            assert [one.moved for one in applied] == [True, False][: step.times]


def _batch(at: int, found: Stretch) -> Batch:
    part = found.parts[PROVINCE].counts
    return Batch(
        WRITER, at, found.to, 1, found.bucket, part.groups, part.ids, part.watched_ms, part.audiences, part.corrections
    )


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=st.lists(steps, max_size=25))
def test_rollups_agree_with_the_ledger_and_with_each_other(counters_url: str, script: list[Step]) -> None:
    asyncio.run(_play(counters_url, script))


async def _play(url: str, script: list[Step]) -> None:
    client = open_client(url)
    try:
        await client.flushdb()
        with TemporaryDirectory() as directory:
            run = Run(client, Path(directory) / "journal.log")
            for step in script:
                await run.do(step)
            await run.finish()
        rollups, ledger = Rollups(client, PROVINCE), run.ledger
        assert await rollups.disagreements() == []
        assert _nonzero(await rollups.total()) == _nonzero(ledger.total)
        assert _nonzero(await rollups.bots()) == _nonzero(ledger.bots)
        assert _nonzero(await rollups.by_resource("views")) == _nonzero(ledger.views)
        moved: Any = await client.zrange("{44}:moved", 0, -1)
        assert {name.decode() for name in moved} >= set(_nonzero(ledger.views))
    finally:
        await client.aclose()


def _nonzero(counts: Counter[str]) -> dict[str, int]:
    return {name: number for name, number in counts.items() if number}

"""However many provinces read one journal, from wherever and in whatever order: each gets its own events, once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from edge.counters.event import Kind, ViewEvent, place_in
from edge.counters.journal import Journal
from edge.counters.label import Home
from edge.counters.record import decode, encode, head
from edge.counters.stretch import Stretch, Stretches

PROVINCES = ("44", "43", "00")
START_MS = 1_764_000_000_000

provinces = st.sampled_from(PROVINCES)


class Append(NamedTuple):
    """A record of so many events, so long after the last one."""

    province: str
    events: int
    wait_ms: int


class Read(NamedTuple):
    """A province's reader takes so many stretches."""

    province: str
    stretches: int


class Back(NamedTuple):
    """A province's Redis has gone back: to where it was some batches ago."""

    province: str
    batches: int


Step = Append | Read | Back
steps: st.SearchStrategy[Step] = st.one_of(
    st.builds(Append, provinces, st.integers(1, 4), st.sampled_from([0, 1, 200_000])),
    st.builds(Append, provinces, st.integers(1, 4), st.just(1)),
    st.builds(Read, provinces, st.integers(1, 12)),
    st.builds(Back, provinces, st.integers(1, 5)),
)


class Reader:
    """A lane without a sink: where it stands, and the ids it has taken with each batch."""

    def __init__(self, province: str) -> None:
        self.province = province
        self.cursor = 0
        self.taken: list[tuple[int, bytes]] = []

    async def read(self, stretches: Stretches, times: int) -> None:
        for _ in range(times):
            stretch = await stretches.after(self.cursor, self.province, at_once=True)
            if stretch is None:
                return
            assert stretch.start == self.cursor < stretch.to
            part = stretch.parts.get(self.province)
            if part is not None:
                self.taken.append((self.cursor, part.counts.ids))
            self.cursor = stretch.to

    def go_back(self, batches: int) -> None:
        if self.taken:
            lost = self.taken[-batches:]
            self.taken = self.taken[:-batches]
            self.cursor = lost[0][0]

    def ids(self) -> list[bytes]:
        whole = b"".join(ids for _, ids in self.taken)
        return sorted(whole[i : i + 12] for i in range(0, len(whole), 12))


@settings(max_examples=60, deadline=None)
@given(st.lists(steps, max_size=40), st.integers(1, 6))
def test_each_province_gets_its_own_events_once(script: list[Step], max_events: int) -> None:
    asyncio.run(_play(script, max_events))


async def _play(script: Sequence[Step], max_events: int) -> None:
    with TemporaryDirectory() as name:
        journal = await Journal.open(
            Path(name),
            Home(PROVINCES[0], "edge-1/0"),
            wall=time.time,
            monotonic=time.monotonic,
            max_bytes=1 << 20,
            segment_bytes=512,
            provinces=PROVINCES,
        )
        stretches = Stretches(journal, monotonic=time.monotonic, interval_s=0.01, max_events=max_events)
        readers = {province: Reader(province) for province in PROVINCES}
        stamp_ms, number = START_MS, 0
        for step in script:
            match step:
                case Append():
                    stamp_ms += step.wait_ms
                    number += step.events
                    await journal.append(_record(step, stamp_ms, number), stamp_ms)
                case Read():
                    await readers[step.province].read(stretches, step.stretches)
                case Back():
                    readers[step.province].go_back(step.batches)
        for reader in readers.values():
            while reader.cursor < journal.end:
                for other in PROVINCES:
                    stretches.leave(other)  # nobody waits for those who are not reading just now
                await reader.read(stretches, 1)
        expected = _by_province(journal)
        stretches.close()
        await journal.close()
        assert {province: reader.ids() for province, reader in readers.items()} == expected


def _record(step: Append, stamp_ms: int, last: int) -> bytes:
    made = [
        ViewEvent(f"id-{number}", Kind.VIEW, "a", "", stamp_ms, 0) for number in range(last - step.events + 1, last + 1)
    ]
    return encode(stamp_ms, made, place_in(step.province))


def _by_province(journal: Journal) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {province: [] for province in PROVINCES}
    view, position = journal.view(), 0
    while position < view.end:
        chunk = view.read(position)
        for payload, _ in chunk.frames:
            found[head(payload, PROVINCES[0]).place.province] += [event[0] for event in decode(payload)]
        position = chunk.next
    return {province: sorted(ids) for province, ids in found.items()}


async def test_who_is_ahead_waits_for_who_still_reads_and_not_for_who_is_in_trouble(tmp_path: Path) -> None:
    clock = [0.0]
    journal = await Journal.open(
        tmp_path,
        Home(PROVINCES[0], "edge-1/0"),
        wall=time.time,
        monotonic=time.monotonic,
        max_bytes=1 << 20,
        provinces=PROVINCES,
    )
    for number in range(30):
        await journal.append(_record(Append("44", 1, 0), START_MS, number + 1), START_MS)
    stretches = Stretches(journal, monotonic=lambda: clock[0], interval_s=1.0, max_events=1)
    slow, quick = Reader("43"), Reader("44")
    await quick.read(stretches, 1)
    assert await stretches.after(0, "43", at_once=True) is await stretches.after(0, "44", at_once=True), "read once"
    await quick.read(stretches, 30)
    assert len(quick.taken) == 8, "the ninth would make the slow one read for itself"
    await slow.read(stretches, 3)
    await quick.read(stretches, 30)
    assert len(quick.taken) == 10, "the third is still being taken, as far as anybody knows"
    stretches.leave("43")
    await quick.read(stretches, 30)
    assert quick.cursor == journal.end
    await slow.read(stretches, 30)
    assert slow.cursor == journal.end
    stretches.close()
    await journal.close()


async def test_what_is_new_is_looked_at_once_in_an_interval(tmp_path: Path) -> None:
    clock = [0.0]
    journal = await Journal.open(
        tmp_path, Home("44", "edge-1/0"), wall=time.time, monotonic=time.monotonic, max_bytes=1 << 20
    )
    stretches = Stretches(journal, monotonic=lambda: clock[0], interval_s=1.0, max_events=100)
    found: list[Stretch] = []
    for number, at_s in enumerate((0.0, 0.5, 1.1, 1.9, 2.0)):
        clock[0] = at_s
        await journal.append(_record(Append("44", 1, 0), START_MS, number + 1), START_MS)
        stretch = await stretches.after(found[-1].to if found else 0, "44")
        if stretch is not None:
            found.append(stretch)
    assert [stretch.parts["44"].events for stretch in found] == [1, 2, 2]
    assert stretches.rest_s() == 1.0
    stretches.close()
    await journal.close()


async def test_a_lone_reader_that_was_moved_ahead_looks_once_in_an_interval_again(tmp_path: Path) -> None:
    clock = [0.0]
    journal = await Journal.open(
        tmp_path, Home("44", "edge-1/0"), wall=time.time, monotonic=time.monotonic, max_bytes=1 << 20
    )
    stretches = Stretches(journal, monotonic=lambda: clock[0], interval_s=1.0, max_events=100)
    await journal.append(_record(Append("44", 1, 0), START_MS, 1), START_MS)
    assert await stretches.after(0, "44") is not None
    await journal.append(_record(Append("44", 1, 0), START_MS, 2), START_MS)
    position, events = journal.end, []  # somebody else has delivered the second one
    for number, at_s in enumerate((1.0, 1.5, 2.1, 2.9, 3.0)):
        clock[0] = at_s
        await journal.append(_record(Append("44", 1, 0), START_MS, number + 3), START_MS)
        stretch = await stretches.after(position, "44")
        if stretch is not None:
            position = stretch.to
            events.append(stretch.parts["44"].events)
    assert events == [1, 2, 2]
    stretches.close()
    await journal.close()


async def test_a_reader_that_is_ahead_of_others_does_not_make_them_read_for_themselves(tmp_path: Path) -> None:
    clock = [0.0]
    journal = await Journal.open(
        tmp_path,
        Home("44", "edge-1/0"),
        wall=time.time,
        monotonic=time.monotonic,
        max_bytes=1 << 20,
        provinces=PROVINCES,
    )
    ends = []
    for number in range(6):
        await journal.append(_record(Append(PROVINCES[number % 2], 1, 0), START_MS, number + 1), START_MS)
        ends.append(journal.end)
    stretches = Stretches(journal, monotonic=lambda: clock[0], interval_s=1.0, max_events=1)
    behind = await stretches.after(0, "43", at_once=True)
    assert behind is not None
    ahead = await stretches.after(ends[3], "44", at_once=True)
    assert ahead is not None
    assert set(ahead.parts) == {"44"}, "read for itself"
    following = await stretches.after(behind.to, "43", at_once=True)
    assert following is not None
    assert following is await stretches.after(behind.to, "44", at_once=True), "read for all"
    clock[0] = 5.0  # the one behind has not been heard of for long
    found = await stretches.after(ends[4], "44", at_once=True)
    assert found is not None
    assert found is await stretches.after(ends[4], "43", at_once=True), "the front is where the other one stands"
    stretches.close()
    await journal.close()


class Waiting:
    """What waits in a journal of several provinces, and the sizes of the parts that it is taken in."""

    def __init__(self, journal: Journal, provinces: Sequence[str]) -> None:
        self._journal, self._provinces = journal, provinces
        self._stretches = Stretches(journal, monotonic=time.monotonic, interval_s=0.01, max_events=500)
        self._appended = 0

    async def parts(self, events: Sequence[str]) -> list[int]:
        """Append an event of each of these provinces, and take all; the events in each call."""
        at = self._journal.end
        written = []
        for province in events:
            self._appended += 1
            written.append(self._journal.put(_record(Append(province, 1, 0), START_MS, self._appended), START_MS))
        await asyncio.gather(*written)
        found: list[int] = []
        while at < self._journal.end:
            stretch = await self._stretches.after(at, self._provinces[0], at_once=True)
            assert stretch is not None
            for province in self._provinces:  # all of them take it: nobody is waited for
                assert await self._stretches.after(at, province, at_once=True) is stretch
            found += [part.events for part in stretch.parts.values()]
            at = stretch.to
        return found

    async def close(self) -> None:
        self._stretches.close()
        await self._journal.close()


@asynccontextmanager
async def waiting(directory: Path, provinces: Sequence[str]) -> AsyncIterator[Waiting]:
    home = Home(provinces[0], "edge-1/0")
    journal = await Journal.open(
        directory, home, wall=time.time, monotonic=time.monotonic, max_bytes=1 << 24, provinces=provinces
    )
    here = Waiting(journal, provinces)
    yield here
    await here.close()


async def test_redis_gets_little_at_a_time_while_little_waits_and_few_large_batches_when_much_does(
    tmp_path: Path,
) -> None:
    async with waiting(tmp_path, ["44"]) as here:
        assert await here.parts(["44"] * 100) == [50, 50]
        many = await here.parts(["44"] * 8000)
        assert (sum(many), many[0], min(many[:-1])) == (8000, 500, 50)
        assert len(many) <= 40, "larger ones, as long as much waits"


async def test_a_province_with_most_of_the_events_does_not_make_many_calls_for_the_others(tmp_path: Path) -> None:
    provinces = ["44", "11", "12", "13", "14", "15", "21", "22"]
    async with waiting(tmp_path, provinces) as here:
        events = [code for number in range(35) for code in ("44",) * 28 + (provinces[1 + number % 7],) * 7]
        assert await here.parts(provinces) == [1] * 8  # so that is known who has a part
        calls = await here.parts(events)
        assert sum(calls) == len(events)
        assert len(calls) <= len(events) * 23 // 1000

"""One refresh serves all who wait; it goes on in the background while somebody reads, and failures are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from edge.counters.pulse import Pulse
from edge.counters.reading import BoardError
from tests.support.loopguard import nothing_blocks_the_loop  # noqa: F401
from tests.support.waiting import eventually


@dataclass(slots=True)
class Source:
    """What is refreshed: each refresh waits for its gate."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    begun: int = 0
    failure: BoardError | None = None

    async def refresh(self) -> None:
        self.begun += 1
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure


@dataclass(slots=True)
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def pulse(source: Source, clock: Clock) -> AsyncIterator[Pulse]:
    made = Pulse(source.refresh, monotonic=clock, every_s=0.01, wait_s=0.2)
    yield made
    await made.stop()


async def test_all_who_wait_are_served_by_one_refresh(pulse: Pulse, source: Source) -> None:
    readers = [asyncio.create_task(pulse.fresh()) for _ in range(50)]
    await eventually(lambda: source.begun == 1)
    source.gate.set()
    await asyncio.gather(*readers)
    assert source.begun <= 2


async def test_after_the_first_no_reader_waits_though_a_refresh_is_under_way(pulse: Pulse, source: Source) -> None:
    source.gate.set()
    await pulse.fresh()
    source.gate.clear()
    await eventually(lambda: source.begun > 1)
    await pulse.fresh()


async def test_refreshes_go_on_while_readers_came_lately_and_rest_afterwards(
    pulse: Pulse, source: Source, clock: Clock
) -> None:
    source.gate.set()
    await pulse.fresh()
    await eventually(lambda: source.begun > 5)
    clock.now = 10_000.0
    await eventually(lambda: not [task for task in asyncio.all_tasks() if task.get_name() == "counts-refresh"])
    begun = source.begun
    await pulse.fresh()
    assert source.begun > begun


async def test_a_failure_is_told_to_who_waits_and_for_a_while_hides_behind_what_was_read(
    pulse: Pulse, source: Source, clock: Clock
) -> None:
    source.gate.set()
    source.failure = BoardError("away")
    with pytest.raises(BoardError, match="away"):
        await pulse.fresh()
    source.failure = None
    await pulse.fresh()
    source.failure = BoardError("away again")
    begun = source.begun
    await eventually(lambda: source.begun > begun + 1)
    await pulse.fresh()
    clock.now += 31
    with pytest.raises(BoardError, match="away again"):
        await pulse.fresh()


async def test_a_refresh_that_does_not_end_keeps_nobody_for_ever(pulse: Pulse) -> None:
    with pytest.raises(BoardError, match=r"not read within 0\.2 s"):
        await pulse.fresh()


async def test_with_no_pause_every_reader_gets_a_refresh_that_began_after_it_came(source: Source) -> None:
    pulse = Pulse(source.refresh, monotonic=Clock(), every_s=0)
    early = asyncio.create_task(pulse.fresh())
    await eventually(lambda: source.begun == 1)
    late = asyncio.create_task(pulse.fresh())
    source.gate.set()
    await asyncio.gather(early, late)
    assert source.begun == 2
    await pulse.stop()

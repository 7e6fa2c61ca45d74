"""Kills, one after the other, while clients send; now and then everybody holds still and all numbers are compared."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.ledger.book import Book
from tests.faults.ledger.crowd import Crowd
from tests.faults.ledger.stage import OneRedis, Stage, staged
from tests.faults.ledger.watch import Watch, all_agrees
from tests.support.waiting import eventually

STEPS = ("worker", "tail", "worker", "node", "redis", "worker", "all", "stall")
CLUSTER_STEPS = ("worker", "primary", "node", "worker", "primary")
_KILLS = {"worker": 1, "tail": 1, "node": 1, "redis": 1, "primary": 1, "all": 2, "stall": 0, "cut": 0}
_STALL_S = 2.5


@dataclass(frozen=True, slots=True)
class Plan:
    """How much. events: acknowledged at the end, at least. kills: at least. cut_s: how long the connection is cut once.

    per_s: events a second that are offered. compare_every: steps between two comparisons of everything. within_s: how
    long after the last kill everything may take to be counted.
    """

    events: int
    kills: int
    cut_s: float
    cluster: bool = False
    clients: int = 8
    per_s: float = 0
    compare_every: int = 4
    within_s: float = 60.0

    @property
    def steps(self) -> list[str]:
        """What is done, in turn."""
        kinds = CLUSTER_STEPS if self.cluster else STEPS
        steps: list[str] = []
        while sum(_KILLS[step] for step in steps) < self.kills:
            steps.append(kinds[len(steps) % len(kinds)])
        if self.cut_s and not self.cluster:
            steps.insert(len(steps) // 2, "cut")
        return steps


@dataclass(slots=True)
class Figures:
    """What came of it."""

    done: Counter[str] = field(default_factory=Counter)
    comparisons: int = 0
    seconds: float = 0.0
    cut_bytes: int = 0

    @property
    def kills(self) -> int:
        return sum(_KILLS[step] * number for step, number in self.done.items())


class Torment:
    """Does the steps of a plan. progress: told the events, the kills and what is being done."""

    def __init__(
        self, plan: Plan, stage: Stage, book: Book, crowd: Crowd, progress: Callable[[int, int, str], None]
    ) -> None:
        self._plan, self._stage, self._book, self._crowd = plan, stage, book, crowd
        self._progress = progress
        self._dice = random.Random(5)
        self.figures = Figures()

    async def run(self) -> None:
        """All of it, ending with a comparison. Raises AssertionError."""
        steps = self._plan.steps
        share = self._plan.events // (len(steps) + 1)
        for number, step in enumerate(steps, 1):
            self._tell(f"before: {step}")
            await self._further(share // 2)
            self._tell(step)
            await self._do(step)
            self.figures.done[step] += 1
            await self._further(number * share - self._book.events)
            if number % self._plan.compare_every == 0:
                await self._compare()
        await self._further(self._plan.events - self._book.events)
        await self._compare()

    async def _do(self, step: str) -> None:
        doing: dict[str, Callable[[], Awaitable[None]]] = {
            "worker": self._kill_worker,
            "node": self._kill_node,
            "redis": self._kill_redis,
            "primary": self._kill_redis,
            "tail": self._cut_tail,
            "all": self._kill_all,
            "stall": self._stall,
            "cut": self._cut,
        }
        await doing[step]()

    async def _kill_worker(self) -> None:
        self._stage.kill_worker(self._dice)

    async def _kill_node(self) -> None:
        node = self._dice.choice(self._stage.nodes)
        await node.kill()
        await node.start()

    async def _kill_redis(self) -> None:
        await self._stage.ground.kill(self._dice)
        await self._further(200)
        await self._stage.ground.start()

    async def _cut_tail(self) -> None:
        ground = self._one_redis()
        await ground.kill(self._dice)
        ground.cut_tail(self._dice)
        await ground.start()

    async def _kill_all(self) -> None:
        """Redis, its tail cut, and a node, both away at once."""
        ground, node = self._one_redis(), self._dice.choice(self._stage.nodes)
        await asyncio.gather(ground.kill(self._dice), node.kill())
        ground.cut_tail(self._dice)
        await node.start()
        await ground.start()

    async def _stall(self) -> None:
        """Nothing comes through, and nobody says so."""
        proxy = self._one_redis().proxy
        proxy.stall()
        await asyncio.sleep(_STALL_S)
        proxy.heal()

    async def _cut(self) -> None:
        proxy = self._one_redis().proxy
        proxy.cut()
        await asyncio.sleep(self._plan.cut_s)
        proxy.heal()

    def _one_redis(self) -> OneRedis:
        assert isinstance(self._stage.ground, OneRedis)
        return self._stage.ground

    async def _compare(self) -> None:
        self._tell("comparing")
        await self._crowd.pause(self._plan.within_s)
        now_ms = int(time.time() * 1000) + 1
        await all_agrees(self._stage, self._book, now_ms, within_s=self._plan.within_s)
        self.figures.comparisons += 1
        self._crowd.go_on()

    async def _further(self, events: int) -> None:
        goal = self._book.events + events

        def reached() -> bool:
            self._tell()
            return self._book.events >= goal

        await eventually(reached, within_s=120 + events / 100)

    def _tell(self, what: str = "") -> None:
        self._progress(self._book.events, self.figures.kills, what)


async def torment(
    plan: Plan, directory: Path, progress: Callable[[int, int, str], None] = lambda _events, _kills, _what: None
) -> tuple[Figures, Book, Watch]:
    """Set the stage in `directory`, do it, and return what came of it. Raises AssertionError."""
    async with staged(directory, cluster=plan.cluster) as stage:
        book = Book()
        crowd = Crowd(book, stage.doors, clients=plan.clients, per_s=plan.per_s)
        watch, running = Watch(stage, book), Torment(plan, stage, book, crowd, progress)
        began = time.monotonic()
        sending, watching = asyncio.create_task(crowd.run()), asyncio.create_task(watch.run())
        crowd.go_on()
        main = asyncio.create_task(running.run())
        try:
            await asyncio.wait({main, sending, watching}, return_when=asyncio.FIRST_COMPLETED)
            _raise_first((sending, watching, main))
            crowd.stop()
            await sending
        finally:
            await _end((main, sending, watching))
        running.figures.seconds = time.monotonic() - began
        if isinstance(stage.ground, OneRedis):
            running.figures.cut_bytes = stage.ground.cut_bytes
        return running.figures, book, watch


def _raise_first(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        if task.done():
            task.result()


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

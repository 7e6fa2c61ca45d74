"""Whatever happens in whatever order: nobody who serves ends while too few others do, and at the end all are new."""

from __future__ import annotations

import math
import signal
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.errors import HaltServer
from hypothesis import given
from hypothesis import strategies as st

from edge.renewal import END_WITHIN_S, HURRY_S, START_WITHIN_S, Renewal

DRAIN_S = 40


@dataclass
class Stub:
    """A worker as its parent knows it. told: how often it was told to end, first at told_at; killed: unasked."""

    age: int
    born_at: float = 0.0
    generation: int = 0
    hurried: bool = False
    serving: bool = False
    leaving: bool = False
    overtaken: bool = False
    killed_at: float = math.inf
    told: int = 0
    told_at: float = math.inf
    killed: bool = False

    @property
    def pid(self) -> int:
        return self.age

    def hurry(self) -> None:
        self.hurried = True

    @property
    def ending(self) -> bool:
        """Whether it has served and is on its way out."""
        return self.serving and (self.leaving or self.overtaken)

    def owes_its_end(self, now: float) -> bool:
        """Whether it should have ended by now, or served."""
        return not self.serving and now >= END_WITHIN_S + min(self.told_at, self.born_at + START_WITHIN_S)


class Stage(Renewal):
    """The rules of renewal without processes."""

    num_workers = 0  # nobody is told of it

    def __init__(self, count: int) -> None:
        self.WORKERS: dict[int, Any] = {}
        self.worker_age = 0
        self.num_workers = count
        self.time = 0.0
        self._now = lambda: self.time
        self.cfg = SimpleNamespace(graceful_timeout=DRAIN_S)
        self.app = SimpleNamespace(settings=object(), reload=self._read, first_workers=0)
        self.manage_workers()

    def _read(self) -> None:
        self.app.settings = object()

    def setup(self, app: object) -> None:
        pass

    def spawn_worker(self) -> int:
        self.worker_age += 1
        self.WORKERS[self.worker_age] = Stub(self.worker_age, self.time)
        return self.worker_age

    def kill_worker(self, pid: int, sig: int) -> None:
        worker = self.WORKERS[pid]
        if sig == signal.SIGKILL:
            worker.killed = True
        else:
            worker.told += 1
            worker.told_at = min(worker.told_at, self.time)

    def at_work(self) -> list[Stub]:
        """Those who serve and go on serving."""
        return [worker for worker in self.WORKERS.values() if worker.serving and not worker.told]


EVENTS = st.one_of(
    st.just(("reload", 0)),
    st.just(("look", 0)),
    st.tuples(st.sampled_from(["serves", "dies"]), st.integers(0, 9)),
    st.tuples(st.just("count"), st.integers(1, 4)),
    st.tuples(st.just("passes"), st.integers(1, 100)),
)


@given(st.integers(1, 4), st.lists(EVENTS, max_size=40))
def test_nobody_who_serves_is_ended_while_too_few_others_do(count: int, events: list[tuple[str, int]]) -> None:
    stage = Stage(count)
    for event, number in events:
        workers = list(stage.WORKERS.values())
        one = workers[number % len(workers)]
        if event == "serves":
            one.serving = not one.killed  # also when it was told to end a moment ago
        elif event == "dies":
            del stage.WORKERS[one.pid]
        elif event == "count":
            stage.num_workers = number
        elif event == "passes":
            stage.time += number
        before = len(stage.at_work())
        if event == "reload":
            stage.reload()
        else:
            stage.manage_workers()
        assert len(stage.at_work()) >= min(before, stage.num_workers)
        assert all(
            worker.killed == worker.owes_its_end(stage.time) for worker in stage.WORKERS.values() if not worker.hurried
        )
        ending = [worker for worker in stage.WORKERS.values() if worker.ending]
        last = max((worker.generation for worker in ending), default=0)
        assert all(worker.hurried or worker.generation == last for worker in ending)
    for _ in range(3):  # what is told to end does, what starts serves
        for worker in list(stage.WORKERS.values()):
            if worker.told or worker.killed:
                del stage.WORKERS[worker.pid]
            else:
                worker.serving = True
        stage.manage_workers()
    assert len(stage.WORKERS) == stage.num_workers
    newest = stage._generation
    assert all(worker.generation == newest and worker.serving and not worker.told for worker in stage.WORKERS.values())


def test_a_worker_that_serves_after_it_was_overtaken_stands_for_nobody() -> None:
    stage = Stage(1)
    stage.WORKERS[1].serving = True
    stage.reload()
    stage.reload()
    assert stage.WORKERS[2].told
    stage.WORKERS[2].serving = True
    stage.manage_workers()
    assert not stage.WORKERS[1].told
    stage.WORKERS[3].serving = True
    stage.manage_workers()
    assert stage.WORKERS[1].told
    assert not stage.WORKERS[3].told


def test_one_of_the_first_that_never_starts_ends_the_node() -> None:
    stage = Stage(2)
    stage.app.first_workers = 2
    stage.WORKERS[1].serving = True
    stage.time = START_WITHIN_S + END_WITHIN_S
    with pytest.raises(HaltServer):
        stage.manage_workers()
    assert [worker.killed for worker in stage.WORKERS.values()] == [False, True]


def test_who_is_told_to_hurry_and_does_not_end_is_killed_and_nobody_else_that_has_served() -> None:
    stage = Stage(1)
    for age in (1, 2, 3):
        stage.WORKERS[age].serving = True
        stage.manage_workers()
        if age < 3:
            stage.reload()
    assert [worker.hurried for worker in stage.WORKERS.values()] == [True, False, False]
    stage.time = HURRY_S + DRAIN_S
    stage.manage_workers()
    assert [worker.killed for worker in stage.WORKERS.values()] == [True, False, False]

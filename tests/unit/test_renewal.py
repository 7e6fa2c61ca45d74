"""Whatever happens in whatever order: nobody who serves ends while too few others do, and at the end all are new."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from edge.renewal import Renewal


@dataclass
class Stub:
    """A worker as its parent knows it. told: how often it was told to end."""

    age: int
    serving: bool = False
    leaving: bool = False
    overtaken: bool = False
    told: int = 0

    @property
    def pid(self) -> int:
        return self.age


class Stage(Renewal):
    """The rules of renewal without processes."""

    num_workers = 0  # nobody is told of it

    def __init__(self, count: int) -> None:
        self.WORKERS: dict[int, Any] = {}
        self.worker_age = 0
        self.num_workers = count
        self.app = SimpleNamespace(settings=object(), reload=self._read)
        self.manage_workers()

    def _read(self) -> None:
        self.app.settings = object()

    def setup(self, app: object) -> None:
        pass

    def spawn_worker(self) -> int:
        self.worker_age += 1
        self.WORKERS[self.worker_age] = Stub(self.worker_age)
        return self.worker_age

    def kill_worker(self, pid: int, sig: int) -> None:
        self.WORKERS[pid].told += 1

    def at_work(self) -> list[Stub]:
        """Those who serve and go on serving."""
        return [worker for worker in self.WORKERS.values() if worker.serving and not worker.told]


EVENTS = st.one_of(
    st.just(("reload", 0)),
    st.just(("look", 0)),
    st.tuples(st.sampled_from(["serves", "dies"]), st.integers(0, 9)),
    st.tuples(st.just("count"), st.integers(1, 4)),
)


@given(st.integers(1, 4), st.lists(EVENTS, max_size=40))
def test_nobody_who_serves_is_ended_while_too_few_others_do(count: int, events: list[tuple[str, int]]) -> None:
    stage = Stage(count)
    for event, number in events:
        workers = list(stage.WORKERS.values())
        one = workers[number % len(workers)]
        if event == "serves":
            one.serving = True  # also when it was told to end a moment ago
        elif event == "dies":
            del stage.WORKERS[one.pid]
        elif event == "count":
            stage.num_workers = number
        before = len(stage.at_work())
        if event == "reload":
            stage.reload()
        else:
            stage.manage_workers()
        assert len(stage.at_work()) >= min(before, stage.num_workers)
    last = stage._last_of_old
    for _ in range(3):  # what is told to end does, what starts serves
        for worker in list(stage.WORKERS.values()):
            if worker.told:
                del stage.WORKERS[worker.pid]
            else:
                worker.serving = True
        stage.manage_workers()
    assert len(stage.WORKERS) == stage.num_workers
    assert all(worker.age > last and worker.serving and not worker.told for worker in stage.WORKERS.values())


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

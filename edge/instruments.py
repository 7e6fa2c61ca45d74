"""What metrics are made of: counters, histograms and gauges that cost an addition, and the files they are kept in.

`prometheus_client` keeps each worker's values in files of one directory (PROMETHEUS_MULTIPROC_DIR) and adds them up
when any worker is scraped. Writing there costs tens of microseconds, more than answering a hit, so everything is added
up in memory first and handed over by `flush`, a few times a second.

The files are named after the worker's slot, not its process: a successor goes on counting in its predecessor's file, so
that neither the directory nor a scrape grows with the number of renewals. Only the gauges of a dead worker must go.
"""

from __future__ import annotations

import fcntl
import logging
import os
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess, values

log = logging.getLogger(__name__)

MAX_SERIES = 2000
"""Sets of label values that one metric of one worker has; what comes beyond is added up under `other`."""

_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
_OTHER = "other"
_owner = "parent"

if _DIRECTORY in os.environ:
    # Before the first metric is made: each one takes the class that stands here.
    values.ValueClass = values.MultiProcessValue(lambda: _owner)  # type: ignore[no-untyped-call]

Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A metric's line in the table. kind: counter, histogram or gauge; unit: of its value; meaning: one sentence."""

    name: str
    kind: str
    unit: str
    labels: Labels
    meaning: str


class Batched:
    """A counter whose increments are plain additions until `flush`. Its name ends in `_total`."""

    def __init__(self, name: str, unit: str, meaning: str, labels: Sequence[str] = ()) -> None:
        self.row = Row(name, "counter", unit, tuple(labels), meaning)
        self._counter = Counter(name, meaning, labels)
        self._pending: dict[Labels, int] = {}
        self._totals: dict[Labels, int] = {}
        self._series = _Series(len(labels))

    def inc(self, *labels: str, by: int = 1) -> None:
        """Add to the series of these label values, given in the order of the table."""
        self._pending[labels] = self._pending.get(labels, 0) + by

    def rise_to(self, total: int, *labels: str) -> None:
        """Add what somebody who counts by himself has counted since the last call."""
        grown = total - self._totals.get(labels, 0)
        self._totals[labels] = total
        if grown > 0:
            self.inc(*labels, by=grown)

    def flush(self) -> None:
        """Hand over what has been added since the last time."""
        pending, self._pending = self._pending, {}
        for labels, by in pending.items():
            bounded = self._series.bounded(labels)
            (self._counter.labels(*bounded) if bounded else self._counter).inc(by)


class Spread:
    """A histogram whose observations are plain additions until `flush`. bounds: of its buckets, inclusive, rising."""

    def __init__(
        self, name: str, unit: str, meaning: str, labels: Sequence[str] = (), *, bounds: Sequence[float]
    ) -> None:
        self.row = Row(name, "histogram", unit, tuple(labels), meaning)
        self._histogram = Histogram(name, meaning, labels, buckets=bounds)
        self._bounds = tuple(bounds)
        self._pending: dict[Labels, _Buckets] = {}
        self._series = _Series(len(labels))

    def observe(self, value: float, *labels: str, times: int = 1) -> None:
        """Enter a value into the series of these label values, given in the order of the table; so many times."""
        buckets = self._pending.get(labels)
        if buckets is None:
            buckets = self._pending[labels] = _Buckets([0] * (len(self._bounds) + 1))
        buckets.counts[bisect_left(self._bounds, value)] += times
        buckets.sum += value * times

    def flush(self) -> None:
        """Hand over what has been observed since the last time."""
        pending, self._pending = self._pending, {}
        for labels, buckets in pending.items():
            bounded = self._series.bounded(labels)
            histogram = self._histogram.labels(*bounded) if bounded else self._histogram
            # There is no public way to enter many observations at once; a test compares with `observe`.
            histogram._sum.inc(buckets.sum)  # noqa: SLF001
            for held, count in zip(histogram._buckets, buckets.counts, strict=True):  # noqa: SLF001
                if count:
                    held.inc(count)


Across = Literal["livesum", "livemin", "livemax"]


class Level:
    """A gauge. across: what the node's value is made of its living workers' values."""

    def __init__(self, name: str, unit: str, meaning: str, labels: Sequence[str] = (), *, across: Across) -> None:
        self.row = Row(name, "gauge", unit, tuple(labels), meaning)
        self._gauge = Gauge(name, meaning, labels, multiprocess_mode=across)
        self._pending: dict[Labels, float] = {}
        self._series = _Series(len(labels))

    def set(self, value: float, *labels: str) -> None:
        """The value from now on, of the series of these label values."""
        self._pending[labels] = value

    def flush(self) -> None:
        """Hand over what has been set since the last time."""
        pending, self._pending = self._pending, {}
        for labels, value in pending.items():
            bounded = self._series.bounded(labels)
            (self._gauge.labels(*bounded) if bounded else self._gauge).set(value)


@dataclass(slots=True)
class _Buckets:
    counts: list[int]
    sum: float = 0.0


class _Series:
    """The label values in use: clients and origins make some of them up, and each set costs memory for ever."""

    def __init__(self, labels: int) -> None:
        self._known: set[Labels] = set()
        self._beyond = (_OTHER,) * labels

    def bounded(self, labels: Labels) -> Labels:
        if labels not in self._known:
            if len(self._known) >= MAX_SERIES:
                return self._beyond
            self._known.add(labels)
        return labels


# -- the files -----------------------------------------------------------------------------------------------------


def exposition() -> bytes:
    """All workers' metrics in the Prometheus text format, as far as they are flushed. Reads files: for a thread."""
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def work_as(slot: int) -> None:
    """From now on this process is the worker of that slot: its counters go on where its predecessor's stopped."""
    global _owner  # noqa: PLW0603 - as the library's process identifier, it is one per process by its nature
    if _DIRECTORY not in os.environ:
        return
    owner = f"slot{slot}"
    with _files() as directory:
        multiprocess.mark_process_dead(owner)  # type: ignore[no-untyped-call]
        # A gauge without labels is 0 in the process that made it: the parent's would be the lowest of all for ever.
        multiprocess.mark_process_dead("parent")  # type: ignore[no-untyped-call]
        (directory / f"{owner}.pid").write_text(str(os.getpid()))
        _owner = owner


def worker_ended(pid: int) -> None:
    """Called by the workers' parent: the gauges of that process mean nothing any more."""
    if _DIRECTORY not in os.environ:
        return
    try:
        with _files() as directory:
            for note in directory.glob("*.pid"):
                # A successor that has taken the slot meanwhile has written its own number there.
                if note.read_text() == str(pid):
                    multiprocess.mark_process_dead(note.stem)  # type: ignore[no-untyped-call]
    except OSError as error:  # the parent must live, whatever happens to its metrics
        log.warning("the gauges of process %d cannot be removed: %s", pid, error)


@contextmanager
def _files() -> Iterator[Path]:
    """The directory, with nobody else changing who owns what in it.

    Without the lock the parent could find a dead worker's number, a successor take the slot and begin to write, and the
    parent then remove the successor's files.
    """
    directory = Path(os.environ[_DIRECTORY])
    descriptor = os.open(directory / "owners.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield directory
    finally:
        os.close(descriptor)

"""Showing long work: a moving bar on a terminal, a line at every tenth in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import IO, Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

STEP = 0.1


class Reporter(Protocol):
    """Told what is being done and how far it is. Called from one thread only."""

    def stage(self, title: str, total: float) -> None:
        """A piece of work begins; `total` is its size in any unit, 0 when unknown."""

    def reach(self, amount: float) -> None:
        """So much of the current stage is done, in the unit of its total."""


class LineReporter:
    """One line when a stage begins and one at each tenth of it, but not within `interval_s` of the last."""

    def __init__(
        self, stream: IO[str], *, interval_s: float = 2.0, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._interval_s = interval_s
        self._monotonic = monotonic
        self._said_at = 0.0
        self._title = ""
        self._total = 0.0
        self._next = STEP

    def stage(self, title: str, total: float) -> None:
        self._title, self._total, self._next = title, total, STEP
        self._say(title)

    def reach(self, amount: float) -> None:
        if self._total <= 0:
            return
        share = min(1.0, amount / self._total)
        if share + 1e-9 < self._next or self._monotonic() - self._said_at < self._interval_s:
            return
        self._say(f"{self._title}: {share:.0%}")
        self._next = (int(share / STEP + 1e-9) + 1) * STEP

    def _say(self, text: str) -> None:
        self._said_at = self._monotonic()
        print(text, file=self._stream, flush=True)


class BarReporter:
    """A bar that moves; finished stages stay above it. Use it as a context manager."""

    def __init__(self, stream: IO[str]) -> None:
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),  # it has file names in it
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=Console(file=stream, emoji=False),
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._finish(complete=kind is None)
        self._bars.stop()

    def stage(self, title: str, total: float) -> None:
        self._finish(complete=True)
        self._task = self._bars.add_task(title, total=total or None)

    def reach(self, amount: float) -> None:
        if self._task is not None:
            self._bars.update(self._task, completed=amount)

    def _finish(self, *, complete: bool) -> None:
        if self._task is not None and complete:
            self._bars.update(self._task, total=1, completed=1)
        self._task = None


def is_terminal(stream: IO[str] = sys.stderr) -> bool:
    """Whether someone is looking: a bar makes sense."""
    return stream.isatty()

"""What the cache tells whoever counts: its fills, from beginning to end. (An `Outcome` tells of each request.)"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class FillEnd(Enum):
    """What became of an exchange with the origin that was begun for the cache."""

    STORED = "stored"  # a response is kept
    REVALIDATED = "revalidated"  # a 304 has made the kept one fresh
    UNSTORED = "unstored"  # everyone who waited got it, and it is not kept: too large, or purged meanwhile
    PASSED = "passed"  # it is not to be shared, the leader alone got it
    FAILED = "failed"  # the origin could not be asked, or broke off
    CANCELLED = "cancelled"  # the node stops


class Recorder(Protocol):
    """Told about every fill twice. Must be quick, and must not raise."""

    def fill_began(self) -> None: ...

    def fill_ended(self, result: FillEnd) -> None: ...


class Unrecorded:
    """Counts nothing."""

    def fill_began(self) -> None:
        """Nothing."""

    def fill_ended(self, result: FillEnd) -> None:
        """Nothing."""


@dataclass(slots=True)
class Filling:
    """A fill under way. result: what becomes of it if nothing goes wrong from here on."""

    result: FillEnd = FillEnd.UNSTORED


@contextmanager
def filling(recorder: Recorder) -> Iterator[Filling]:
    """A fill is under way while the block runs; whichever way it is left, its end is told once."""
    fill = Filling()
    recorder.fill_began()
    try:
        yield fill
    except BaseException as error:
        ended_by_us = isinstance(error, asyncio.CancelledError | GeneratorExit)
        fill.result = FillEnd.CANCELLED if ended_by_us else FillEnd.FAILED
        raise
    finally:
        recorder.fill_ended(fill.result)

"""Time as a value handed in: monotonic for lifetimes, wall clock for HTTP dates and count buckets."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two readings, in seconds."""

    def monotonic(self) -> float:
        """Seconds that never go back; only differences mean anything."""

    def wall(self) -> float:
        """Seconds since the epoch, as the node's clock has it."""


class SystemClock:
    """The machine's clocks."""

    # The functions themselves: a method around them would cost each hit as much again.
    monotonic = staticmethod(time.monotonic)
    wall = staticmethod(time.time)

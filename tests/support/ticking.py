"""Clocks that go on when they are told to."""

from __future__ import annotations

import asyncio
import time


class ManualClock:
    """It stands still otherwise. Both readings move together, by `advance`; they start at the true time, so that HTTP
    dates fit."""

    def __init__(self) -> None:
        self._monotonic = time.monotonic()
        self._wall = time.time()

    def monotonic(self) -> float:
        return self._monotonic

    def wall(self) -> float:
        return self._wall

    def advance(self, seconds: float) -> None:
        self._monotonic += seconds
        self._wall += seconds


class LoopTime:
    """The running loop's own clock, which leaps when told: its timers are due so much earlier. asyncio's loop only."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._true, self._leapt_s = loop.time, 0.0
        setattr(loop, "time", self.now)  # noqa: B010 - a method, to mypy

    def now(self) -> float:
        return self._true() + self._leapt_s

    async def leap(self, seconds: float) -> None:
        """Let so much time pass, and what is due by then happen."""
        self._leapt_s += seconds
        for _ in range(3):
            await asyncio.sleep(0)

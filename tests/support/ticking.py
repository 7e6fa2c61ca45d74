"""A clock that stands still until it is told to go on."""

from __future__ import annotations

import time


class ManualClock:
    """Both readings move together, by `advance`; they start at the true time, so that HTTP dates fit."""

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

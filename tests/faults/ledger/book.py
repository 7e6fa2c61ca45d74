"""What clients were told is counted, and what they have asked for."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple

VISIT: Final = "*"
"""Stands for the resource of a visit, as in Redis."""
KINDS: Final = {"visit": 0, "view": 1, "play": 2, "watch": 3}


class Cell(NamedTuple):
    """Where an event belongs. minute: of its time, since the epoch."""

    province: str
    minute: int
    kind: int
    resource: str


class Book:
    """The ledger. views: of (province, resource), what may be counted at most and must be at least."""

    def __init__(self) -> None:
        self.acknowledged: Counter[Cell] = Counter()
        self.events = 0
        self.answers = 0
        self.repeats = 0
        self._asked: Counter[tuple[str, str]] = Counter()
        self._times: dict[tuple[str, str], array[int]] = {}
        self._sums: dict[tuple[str, str], array[int]] = {}

    def ask(self, province: str, events: Iterable[dict[str, object]]) -> None:
        """These are about to be sent for the first time."""
        for one in events:
            if one["kind"] == "view":
                self._asked[province, str(one["resource"])] += 1

    def enter(self, province: str, events: list[dict[str, object]], at_ms: int) -> None:
        """All of these were acknowledged, by `at_ms` at the latest."""
        views: Counter[str] = Counter()
        for one in events:
            kind, resource = str(one["kind"]), str(one.get("resource", VISIT))
            amount = int(str(one["watched_s"])) * 1000 if kind == "watch" else 1
            self.acknowledged[Cell(province, int(str(one["at"])) // 60_000, KINDS[kind], resource)] += amount
            if kind == "view":
                views[resource] += 1
        for resource, number in views.items():
            key = province, resource
            times, sums = self._times.setdefault(key, array("q")), self._sums.setdefault(key, array("q"))
            times.append(max(at_ms, times[-1]) if times else at_ms)
            sums.append(number + (sums[-1] if sums else 0))
        self.events += len(events)
        self.answers += 1

    def least(self, province: str, resource: str, before_ms: int) -> int:
        """Views that were acknowledged before that time."""
        times = self._times.get((province, resource))
        place = bisect_left(times, before_ms) if times else 0
        return self._sums[province, resource][place - 1] if place else 0

    def most(self, province: str, resource: str) -> int:
        """Views that anybody has asked to be counted so far."""
        return self._asked[province, resource]

    def of(self, province: str) -> dict[Cell, int]:
        """All that was acknowledged of a province."""
        return {cell: amount for cell, amount in self.acknowledged.items() if cell.province == province}

"""Estimated numbers of viewers, remembered as long as nothing that they are made of has changed.

They are made by Redis from sketches (HyperLogLog with 16,384 registers: standard error 0.81 %) that can be merged, so
that a viewer seen in two provinces or on two days is one. They can't be added up, and no other figure is made of them.

A sketch changes only with events that are counted, so an estimate is good for as long as the counts beside it are the
same: those are its *mark*. It is asked for after the counts were read, and so is never older than they are.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from edge.counters.reading import BoardError, Reading

STANDARD_ERROR: Final = 0.0081
_REMEMBERED: Final = 20_000


@dataclass(frozen=True, slots=True)
class Sketch:
    """What viewers are to be estimated of. name: what follows the province in the key. mark: the counts beside it;
    all zeros: nobody was there."""

    name: str
    mark: tuple[int, ...]


class _Known(NamedTuple):
    mark: tuple[int, ...]
    at: float
    number: int


class Estimates:
    """stale_s: how long an estimate may be used though the counts have changed, while Redis is away."""

    def __init__(self, reading: Reading, monotonic: Callable[[], float], *, stale_s: float) -> None:
        self._reading = reading
        self._monotonic = monotonic
        self._stale_s = stale_s
        self._known: OrderedDict[tuple[tuple[str, ...], str], _Known] = OrderedDict()

    async def of(self, provinces: tuple[str, ...], sketches: Sequence[Sketch]) -> list[int]:
        """By sketch, viewers in all the provinces. Raises BoardError."""
        numbers: dict[Sketch, int] = {}
        for one in sketches:
            known = self._known.get((provinces, one.name))
            if not any(one.mark):
                numbers[one] = 0
            elif known is not None and known.mark == one.mark:
                numbers[one] = known.number
        wanted = [one for one in dict.fromkeys(sketches) if one not in numbers]
        if wanted:
            numbers |= zip(wanted, await self._ask(provinces, wanted), strict=True)
        return [numbers[one] for one in sketches]

    async def _ask(self, provinces: tuple[str, ...], wanted: Sequence[Sketch]) -> list[int]:
        """While Redis is away, what was known lately."""
        now = self._monotonic()
        try:
            found = await self._reading.uniques(provinces, [one.name for one in wanted])
        except BoardError:
            known = [self._known.get((provinces, one.name)) for one in wanted]
            usable = [one.number for one in known if one is not None and now - one.at < self._stale_s]
            if len(usable) < len(wanted):
                raise
            return usable
        self._remember(provinces, wanted, found, now)
        return found

    def _remember(
        self, provinces: tuple[str, ...], sketches: Sequence[Sketch], found: Sequence[int], now: float
    ) -> None:
        for one, number in zip(sketches, found, strict=True):
            self._known[provinces, one.name] = _Known(one.mark, now, number)
            self._known.move_to_end((provinces, one.name))
        while len(self._known) > _REMEMBERED + len(sketches):
            self._known.popitem(last=False)

"""Estimated numbers of viewers, remembered for a moment.

They are made by Redis from sketches (HyperLogLog with 16,384 registers: standard error 0.81 %) that can be merged, so
that a viewer seen in two provinces or on two days is one. They can't be added up, and no other figure is made of them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from edge.counters.reading import BoardError, Reading

STANDARD_ERROR: Final = 0.0081
_REMEMBERED: Final = 20_000


class Estimates:
    """fresh_s: how long an estimate is as good as new. stale_s: how long it may be used while Redis is away."""

    def __init__(self, reading: Reading, monotonic: Callable[[], float], *, fresh_s: float, stale_s: float) -> None:
        self._reading = reading
        self._monotonic = monotonic
        self._fresh_s = fresh_s
        self._stale_s = stale_s
        self._known: OrderedDict[tuple[Sequence[str], str], tuple[float, int]] = OrderedDict()

    async def of(self, provinces: tuple[str, ...], names: Sequence[str]) -> list[int]:
        """By name of a sketch (what follows the province in its key), viewers in all the provinces.

        Raises BoardError.
        """
        now = self._monotonic()
        wanted = [name for name in dict.fromkeys(names) if not self._is_known(provinces, name, now, self._fresh_s)]
        if wanted:
            try:
                found = await self._reading.uniques(provinces, wanted)
            except BoardError:
                if not all(self._is_known(provinces, name, now, self._stale_s) for name in wanted):
                    raise
            else:
                self._remember(provinces, wanted, found, now)
        return [self._known[provinces, name][1] for name in names]

    def _is_known(self, provinces: tuple[str, ...], name: str, now: float, within_s: float) -> bool:
        found = self._known.get((provinces, name))
        return found is not None and now - found[0] < within_s

    def _remember(self, provinces: tuple[str, ...], names: Sequence[str], found: Sequence[int], now: float) -> None:
        for name, number in zip(names, found, strict=True):
            self._known[provinces, name] = (now, number)
            self._known.move_to_end((provinces, name))
        while len(self._known) > _REMEMBERED + len(names):
            self._known.popitem(last=False)

"""All caches over one trace at one size, and whether ours is where it must be."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.hitratio.replay import RIVALS, YARDSTICKS, Ratio, ours, yardstick
from tests.bench.hitratio.traces import Trace

POINT = 0.01
SIZES = (0.001, 0.01, 0.1)


@dataclass(frozen=True, slots=True)
class Comparison:
    """share: of the trace's footprint that the caches may hold. yardsticks: by the algorithm's name."""

    trace: Trace
    share: float
    ours: Ratio
    yardsticks: dict[str, Ratio]

    @property
    def lead(self) -> Ratio:
        """Over the best of the rivals, in each figure."""
        best = Ratio(*(max(figures) for figures in zip(*self._figures(), strict=True)))
        return Ratio(self.ours.objects - best.objects, self.ours.bytes - best.bytes)

    @property
    def kept(self) -> bool:
        """Within a point of the best of the rivals and not under LRU, in both figures."""
        lru = self.yardsticks["LRU"]
        close = min(self.lead.objects, self.lead.bytes) >= -POINT
        return close and self.ours.objects >= lru.objects and self.ours.bytes >= lru.bytes

    def _figures(self) -> Iterator[tuple[float, float]]:
        for name in RIVALS:
            yield self.yardsticks[name].objects, self.yardsticks[name].bytes


def compare(trace: Trace, shares: Sequence[float] = SIZES) -> Iterator[Comparison]:
    """One comparison for each size."""
    with tempfile.TemporaryDirectory(prefix="smartedu-trace-") as directory:
        path = Path(directory) / "trace.bin"
        trace.write(path)
        for share in shares:
            units = max(1, int(trace.footprint * share) // trace.unit)
            measured = {name: yardstick(name, path, units) for name in YARDSTICKS}
            yield Comparison(trace, share, ours(trace, units * trace.unit), measured)

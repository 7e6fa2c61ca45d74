"""One trace through one cache of one size: ours, or one of libcachesim's."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path

from edge.cache.memory import MemoryStore
from edge.cache.model import CacheKey, Varying
from tests.bench.hitratio.traces import Trace

RIVALS = {"S3-FIFO": "S3FIFO", "SIEVE": "Sieve", "W-TinyLFU": "WTinyLFU"}
YARDSTICKS = {**RIVALS, "LRU": "LRU", "Belady": "Belady"}
_HASHPOWER = 17  # of the yardsticks' tables at first; they grow


@dataclass(frozen=True, slots=True)
class Ratio:
    """objects, bytes: shares of the requests, and of the bytes asked for, that were there."""

    objects: float
    bytes: float


@dataclass(frozen=True, slots=True)
class Weight(Varying):
    """Something that is kept and takes as many bytes as it is said to."""

    weight: int = 0

    @property
    def size(self) -> int:
        return self.weight


def ours(trace: Trace, max_bytes: int) -> Ratio:
    """The memory tier as it is, but that it may keep what is larger than an eighth of it, as the yardsticks may."""
    store = MemoryStore(max_bytes=max_bytes, largest_bytes=max_bytes)
    store.put(CacheKey("0"), Weight(()))
    own = store.used_bytes - 1  # what the store adds to a value's size, but for the key's characters
    store.clear()
    keys = [CacheKey(str(number)) for number in range(trace.count)]
    hits = hit_bytes = 0
    for number, size in zip(trace.objects, trace.sizes, strict=True):
        key = keys[number]
        if store.get(key) is not None:
            hits += 1
            hit_bytes += size
        else:
            store.put(key, Weight((), weight=size - own - len(key.uri)))
    return Ratio(hits / len(trace.objects), hit_bytes / sum(trace.sizes))


def yardstick(name: str, path: Path, size: int) -> Ratio:
    """libcachesim's algorithm of that name over a written trace. size: in the trace's units."""
    library = importlib.import_module("libcachesim")
    reader = library.TraceReader(str(path), library.TraceType.ORACLE_GENERAL_TRACE)
    missed, missed_bytes = getattr(library, YARDSTICKS[name])(size, hashpower=_HASHPOWER).process_trace(reader)
    return Ratio(1 - missed, 1 - missed_bytes)

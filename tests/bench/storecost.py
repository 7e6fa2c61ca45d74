"""What the memory tier costs: time by the number of entries, memory by what an entry carries, purges by their size.

The command is `python -m tests.bench.storecost`. Times are CPU time, best of several rounds: read the ratios.
"""

from __future__ import annotations

import gc
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass
from itertools import islice
from pathlib import Path

import click
from cachetools import LRUCache
from rich.console import Console
from rich.table import Table

from edge.cache.memory import MemoryStore
from edge.cache.model import CacheKey, Entry, Freshness, Head

COUNTS = (1_000, 10_000, 100_000, 1_000_000)
QUICK_COUNTS = (1_000, 10_000)
LOOKUPS = 50_000
ROUNDS = 7
MEMORY_COUNT = 10_000
PASSED = 3  # times as many pass through the store, so that it has its ghosts
ROOM = 1 << 50
HOUR = Freshness(storable=True, lifetime_s=3600.0)


def uri(number: int) -> str:
    """As long as the platform's."""
    return f"/media/lessons/000000000000-{number:07}/720p/segment-00001.m4s"


def entry(*tags: str, body: bytes = b"", headers: tuple[tuple[str, str], ...] = ()) -> Entry:
    return Entry(Head(200, headers, len(body), 0.0, HOUR, None, None, tags=tags), body)


def best(work: Callable[[], object]) -> float:
    """CPU-seconds of the best round: what the work costs when nothing else disturbs it."""
    spent = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        work()
        spent.append(time.process_time() - begun)
    return min(spent)


# -- time by the number of entries -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Times:
    """ns: of a hit in the store, of one by URI in a bare dict, of one in cachetools' LRU; of a newcomer that drives
    another value out. ms: of a full run of the garbage collector.
    """

    hit: float
    bare: float
    recency: float
    turnover: float
    collection: float


def times(count: int) -> Times:
    """In a store full of so many small values, asked for in random order."""
    value, keys = entry(), [CacheKey(uri(number)) for number in range(count)]
    asked = random.Random(1).choices(keys, k=LOOKUPS)
    bare_hits, recency_hits = _bare(keys, asked), _recency(keys, asked)
    store = full(keys, value)
    hits = best(lambda: [store.get(key) for key in asked])
    collection = best(gc.collect)
    fresh = iter([CacheKey(uri(number)) for number in range(count, count + ROUNDS * LOOKUPS)])
    turnovers = best(lambda: [store.put(key, value) for key in islice(fresh, LOOKUPS)])
    assert (len(store), store.evictions) == (count, ROUNDS * LOOKUPS)
    each = 1e9 / LOOKUPS
    return Times(each * hits, each * bare_hits, each * recency_hits, each * turnovers, 1e3 * collection)


def _bare(keys: list[CacheKey], asked: list[CacheKey]) -> float:
    bare = {key.uri: 1 for key in keys}
    return best(lambda: [bare.get(key.uri) for key in asked])


def _recency(keys: list[CacheKey], asked: list[CacheKey]) -> float:
    recency: LRUCache[CacheKey, int] = LRUCache(len(keys))
    for key in keys:
        recency[key] = 1
    return best(lambda: [recency.get(key) for key in asked])


def full(keys: list[CacheKey], value: Entry) -> MemoryStore:
    """A store that has room for exactly these keys."""
    one = MemoryStore(max_bytes=ROOM)
    one.put(keys[0], value)
    store = MemoryStore(max_bytes=one.used_bytes * len(keys), largest_bytes=ROOM)
    for key in keys:
        store.put(key, value)
    return store


def show_times(console: Console, counts: tuple[int, ...]) -> None:
    measured = {count: times(count) for count in counts}
    first = measured[counts[0]]
    table = Table(title="CPU time by the number of entries (and its ratio to the smallest store's)")
    table.add_column("entries", justify="right")
    for column in ("hit, ns", "bare dict, ns", "cachetools LRU, ns", "insert + evict, ns", "full gc, ms"):
        table.add_column(column, justify="right", no_wrap=True)
    for count, now in measured.items():
        pairs = zip(astuple(now), astuple(first), strict=True)
        table.add_row(f"{count:,}", *(f"{figure:,.0f} ({figure / smallest:.1f})" for figure, smallest in pairs))
    console.print(table)


# -- memory by what an entry carries ---------------------------------------------------------------------------------

KINDS: dict[str, Callable[[int], tuple[CacheKey, Entry]]] = {
    "no fields, no body": lambda number: (CacheKey(uri(number)), _own(number)),
    "body of 100 B": lambda number: (CacheKey(uri(number)), _own(number, body=100)),
    "body of 10 kB": lambda number: (CacheKey(uri(number)), _own(number, body=10_000)),
    "10 field lines": lambda number: (CacheKey(uri(number)), _own(number, lines=10)),
    "a variant of its own URI": lambda number: (CacheKey(uri(number), f"v:{number}"), _own(number)),
    "4 tags of its own": lambda number: (CacheKey(uri(number)), _own(number, tags=[f"{number}-{i}" for i in range(4)])),
    "4 tags shared by 1,000": lambda number: (
        CacheKey(uri(number)),
        _own(number, tags=[f"{number // 1000}-{i}" for i in range(4)]),
    ),
}


def _own(number: int, body: int = 0, lines: int = 0, tags: list[str] | None = None) -> Entry:
    """Nothing in it is shared with another entry, as when it came off the network."""
    headers = tuple((f"x-field-{line}", f"value {number} {line}") for line in range(lines))
    freshness = Freshness(storable=True, lifetime_s=float(number))
    head = Head(200, headers, body, number + 0.5, freshness, f'"{number:032x}"', None, tags=tuple(tags or ()))
    return Entry(head, bytes(body), mark=number)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def memory(kind: str) -> tuple[float, float]:
    """Bytes an entry of that kind takes in a full store, and what is accounted for it; seen in a fresh process."""
    command = [sys.executable, "-c", f"from tests.bench.storecost import fill; fill({kind!r})"]
    resident, accounted = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(resident), float(accounted)


def fill(kind: str) -> None:
    """Print the two figures of this process."""
    make, one = KINDS[kind], MemoryStore(max_bytes=ROOM)
    one.put(*make(PASSED * MEMORY_COUNT))  # the longest number
    store = MemoryStore(max_bytes=one.used_bytes * MEMORY_COUNT, largest_bytes=ROOM)
    gc.collect()
    before = resident_bytes()
    for number in range(PASSED * MEMORY_COUNT):
        store.put(*make(number))
    gc.collect()
    print((resident_bytes() - before) / len(store), store.used_bytes / len(store))  # noqa: T201


def show_memory(console: Console) -> None:
    table = Table(title=f"bytes per entry in a full store of {MEMORY_COUNT:,}, ghosts included")
    for column in ("entry", "resident", "accounted for"):
        table.add_column(column, justify="left" if column == "entry" else "right", no_wrap=True)
    for kind in KINDS:
        table.add_row(kind, *(f"{figure:,.0f}" for figure in memory(kind)))
    console.print(table)


# -- purges by their size --------------------------------------------------------------------------------------------


def purge_seconds(count: int) -> tuple[float, float]:
    """To remove so many values under one tag; to find so many URIs under a prefix."""
    store = MemoryStore(max_bytes=ROOM)
    for number in range(count):
        store.put(CacheKey(uri(number)), entry("all", f"own-{number}"))
    begun = time.process_time()
    found = list(store.uris_under("/media/lessons/"))
    looked = time.process_time()
    for key in store.tagged("all"):
        store.remove(key)
    done = time.process_time()
    assert (len(found), len(store), store.used_bytes) == (count, 0, 0)
    return done - looked, looked - begun


def show_purges(console: Console, counts: tuple[int, ...]) -> None:
    table = Table(title="purges, CPU time in ms")
    for column in ("entries", "removed by tag", "µs each", "found by prefix"):
        table.add_column(column, justify="right", no_wrap=True)
    for count in counts:
        removed, looked = min(purge_seconds(count) for _ in range(3))
        table.add_row(f"{count:,}", f"{1e3 * removed:,.1f}", f"{1e6 * removed / count:.2f}", f"{1e3 * looked:,.1f}")
    console.print(table)


@click.command()
@click.option("--quick", is_flag=True, help="Small stores only.")
def storecost(quick: bool) -> None:
    """Measure the memory tier alone."""
    console = Console(width=None if sys.stdout.isatty() else 140)
    show_times(console, QUICK_COUNTS if quick else COUNTS)
    show_memory(console)
    show_purges(console, QUICK_COUNTS if quick else COUNTS[1:3])


if __name__ == "__main__":
    storecost()

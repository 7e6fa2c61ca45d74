"""How the cost of a hit grows with the number of objects in the cache: it should not.

One edge is filled with more and more small objects, and asked for any of them, at random. Beside it, in turns, another
one is asked for as many as the first had at the beginning: the ratio between the two leaves the machine's moods out.

All are asked for in part, by the short road: whole answers to what is hot are kept ready, and with them the figures
would tell how much that is.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle

from loadtest.bench import cases
from loadtest.bench.cases import Kind, Proxied
from loadtest.bench.client import Crowd, Judge
from loadtest.bench.processes import cpu_s, resident_bytes
from loadtest.bench.rounds import Plan, Results, Sample
from loadtest.bench.servers import Server

SIZES = (1_000, 10_000, 100_000)
MILLION = 1_000_000
THING = Proxied("many", 200)
PART_BYTES = 100
PICKS = 20_000
FILLED_WITHIN_S = 3600.0
_BYTES_EACH = 6144
_BYTES_BESIDE = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Step:
    """At one number of objects. fill_us: CPU time of a miss on the way there; resident_bytes: of the whole worker."""

    objects: int
    per_cpu_s: float
    ratios: tuple[float, ...]
    fill_us: float
    resident_bytes: int


def memory(objects: int) -> str:
    """The `--memory` that holds so many with room to spare."""
    return str(objects * _BYTES_EACH + _BYTES_BESIDE)


def measurements(plan: Plan, sizes: Sequence[int]) -> int:
    """How many `run` takes."""
    return 2 * plan.rounds * len(sizes) + len(sizes) + 1


def run(plan: Plan, few: Server, many: Server, sizes: Sequence[int], tick: Callable[[], None]) -> list[Step]:
    """Fill and measure. few, many: two edges with empty caches. Raises WrongAnswerError, also for what is evicted."""
    _fill(plan, few, 0, sizes[0])
    tick()
    steps, held = [], 0
    for size in sizes:
        fill_us = _fill(plan, many, held, size)
        held = size
        tick()
        results = Results()
        for number in range(plan.rounds):
            turns = [(few, sizes[0]), (many, size)]
            for server, objects in turns if number % 2 else reversed(turns):
                results.add(str(server is many), "", _hits(plan, server, objects))
                tick()
        ratios = tuple(results.ratios(("True", ""), ("False", "")))
        per_cpu_s = results.median("True", "", lambda sample: sample.per_cpu_s) or 0.0
        steps.append(Step(size, per_cpu_s, ratios, fill_us, resident_bytes(many.pid)))
    return steps


def _fill(plan: Plan, server: Server, first: int, beyond: int) -> float:
    """Ask for each object from `first` on, once; the CPU time of one such miss, in microseconds."""
    asked = (cases.request(THING.cold_path(number), {}) for number in range(first, beyond))
    judge = Judge(200, THING.size, server.says[Kind.MISS])
    with Crowd(server.address(THING.path), plan.connections, server.tls) as crowd:
        before = cpu_s(server.pid)
        load = crowd.ask(asked, judge, FILLED_WITHIN_S)
        return (cpu_s(server.pid) - before) / load.answers * 1e6


def _hits(plan: Plan, server: Server, objects: int) -> Sample:
    judge = Judge(206, PART_BYTES, server.says[Kind.RANGE])
    asked = _any_of(objects)
    with Crowd(server.address(THING.path), plan.connections, server.tls) as crowd:
        before = cpu_s(server.pid)
        load = crowd.ask(asked, judge, plan.seconds)
        return Sample(load.answers, load.wall_s, cpu_s(server.pid) - before, load.answers * PART_BYTES)


def _any_of(objects: int) -> Iterator[bytes]:
    """Requests for parts of objects at random; made before the clock runs."""
    numbers = random.Random(objects).choices(range(objects), k=PICKS)
    part = {"Range": f"bytes=0-{PART_BYTES - 1}"}
    return cycle([cases.request(THING.cold_path(number), part) for number in numbers])

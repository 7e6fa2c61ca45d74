"""Medians and ratios as tables, with the machine, the versions and the command that made them."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TypeAlias

from rich.console import Console
from rich.table import Table

from loadtest.bench.cases import (
    APPLICATION,
    C_FLOOR,
    DOCUMENT_HIT,
    EDGE,
    FLOOR,
    MANY,
    NGINX,
    NGINX_CACHE,
    NGINX_DEFAULT,
    OTHER_ROADS,
    OWN_HIT,
    VARNISH,
    Case,
)
from loadtest.bench.growth import Step
from loadtest.bench.idle import Held
from loadtest.bench.rounds import SELDOM, Plan, Results, Sample, per_cpu_s

PACKAGES = ("smartedu-edge", "aiohttp", "uvloop", "aiofastnet")
PEERS = (NGINX, NGINX_CACHE, NGINX_DEFAULT, VARNISH, APPLICATION, FLOOR, C_FLOOR)
ENOUGH_ROUNDS = 5 * SELDOM
BUSY = 0.9
# Below this size CPU-seconds per GB say little.
SIZABLE_BYTES = 100_000


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Under what the figures were taken. load_average: of the last minute, before. peers: versions of those found.

    network: what was between load and servers.
    """

    command: str
    server_core: int
    load_core: int
    load_average: float
    peers: Mapping[str, str]
    network: str


@dataclass(frozen=True, slots=True)
class Measure:
    """What a table compares. least_bytes: cases with smaller bodies are left out, because it says little of them."""

    title: str
    value: Callable[[Sample], float]
    least_bytes: int = 0


MEASURES = (
    Measure("requests per CPU-second of the serving process (ratios: more is better)", per_cpu_s),
    Measure("requests per second (ratios: more is better)", lambda sample: sample.per_s),
    Measure(
        "CPU-seconds of the serving process per GB of bodies (ratios: less is better)",
        lambda sample: sample.cpu_s_per_gb,
        SIZABLE_BYTES,
    ),
)


@dataclass(frozen=True, slots=True)
class Compared:
    """The edge beside its peers, case by case."""

    title: str
    rows: Sequence[Case]
    results: Results

    def peers(self) -> list[str]:
        """Those that were measured."""
        return [name for name in PEERS if any(self.results.of(case.title, name) for case in self.rows)]

    def tables(self) -> list[Table]:
        """One for each measure."""
        return [self._table(measure) for measure in MEASURES]

    def _table(self, measure: Measure) -> Table:
        """One row per case: the edge's own figure, how busy it was, and its ratio to each peer.

        The edge by its other roads has rows below; its own hit is that of the edge as it is.
        """
        made = _table(f"{self.title}: {measure.title}")
        made.add_column("case", no_wrap=True)
        made.add_column("edge", justify="right", no_wrap=True)
        made.add_column("core used", justify="right", no_wrap=True)
        for name in (*self.peers(), OWN_HIT):
            made.add_column(f": {name}", justify="right")
        for case in self.rows:
            if case.length < measure.least_bytes:
                continue
            made.add_row(case.title, *self._cells(measure, case, EDGE, OWN_HIT))
            own = OWN_HIT if case.beside else EDGE
            for road, title in OTHER_ROADS.items():
                if self.results.of(case.title, road):
                    made.add_row(f"  {title}", *self._cells(measure, case, road, own))
        return made

    def _cells(self, measure: Measure, case: Case, who: str, own: str) -> list[str]:
        """own: whose samples of the case are those of the edge's own hit."""

        def ratio(other: str) -> str:
            return _spread(self.results.ratios((case.title, who), (case.title, other), measure.value))

        return [
            count(self.results.median(case.title, who, measure.value) or 0.0),
            f"{self.results.median(case.title, who, _busy) or 0.0:.0%}",
            *(ratio(name) for name in self.peers()),
            ratio(own),
        ]


@dataclass(frozen=True, slots=True)
class Grown:
    """The edge beside itself, with more and more in its cache."""

    steps: Sequence[Step]

    def tables(self) -> list[Table]:
        """One row per number of objects."""
        made = _table(
            "parts of hits per CPU-second by the short road, with more and more objects of 200 bytes, medians"
        )
        first = f"{self.steps[0].objects:,}"
        for name in ("objects", "hits", f"beside {first} objects", "CPU-us per miss till here", "resident MB"):
            made.add_column(name, justify="right", no_wrap=True)
        for step in self.steps:
            made.add_row(
                f"{step.objects:,}",
                count(step.per_cpu_s),
                _spread(step.ratios),
                f"{step.fill_us:.0f}",
                f"{step.resident_bytes / 1e6:.0f}",
            )
        return [made]


@dataclass(frozen=True, slots=True)
class Idle:
    """Memory of connections that wait."""

    held: Sequence[Held]

    def tables(self) -> list[Table]:
        """One row per server."""
        made = _table("memory of idle keep-alive connections, each of which has asked once; measured once")
        made.add_column("server", no_wrap=True)
        for name in ("connections", "kB for each", "resident MB in all"):
            made.add_column(name, justify="right", no_wrap=True)
        for one in self.held:
            made.add_row(
                one.server,
                f"{one.connections:,}",
                f"{one.each_bytes / 1e3:.2f}",
                f"{one.resident_bytes / 1e6:.0f}",
            )
        return [made]


Part: TypeAlias = Compared | Grown | Idle


def show(console: Console, parts: Sequence[Part], plan: Plan, circumstances: Circumstances) -> None:
    """Print everything."""
    for part in parts:
        for table in part.tables():
            if table.row_count:
                console.print(table)
    for line in notes(parts, plan, circumstances):
        console.print(line, highlight=False, soft_wrap=True)


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left")


def notes(parts: Sequence[Part], plan: Plan, circumstances: Circumstances) -> list[str]:
    """The machine, the versions, how it was measured, and what limits the figures."""
    where = f"server on core {circumstances.server_core}, load on core {circumstances.load_core}"
    if circumstances.server_core == circumstances.load_core:
        where = f"one core for server and load together (core {circumstances.server_core}): requests/s is of both"
    measured = (
        f"{plan.rounds} rounds of {plan.seconds:g} s each (what takes long to begin: {SELDOM} times as long, "
        f"in every {SELDOM}th), {plan.connections} connections if not said, {circumstances.network}"
    )
    if plan.most < MANY:
        measured += f" (and never more than {plan.most}, whatever a row says)"
    found = [f"{name} {number}" for name, number in circumstances.peers.items()]
    missing = [name for name in ("nginx", "Varnish", "C compiler") if name not in circumstances.peers]
    lines = [
        f"machine   {_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}; "
        f"load average before: {circumstances.load_average:.1f}",
        f"versions  Python {platform.python_version()}, "
        + ", ".join([*(f"{name} {version(name)}" for name in PACKAGES), *found])
        + (f"; not found, so not measured: {', '.join(missing)}" if missing else ""),
        f"method    {measured}; {where}; a ratio is the median of the rounds' ratios, in brackets their middle half",
        f"command   {circumstances.command}",
    ]
    shared = circumstances.server_core == circumstances.load_core
    results = next((part.results for part in parts if isinstance(part, Compared)), Results())
    return lines + warnings(results, plan, one_core=shared)


def warnings(results: Results, plan: Plan, *, one_core: bool) -> list[str]:
    """What a reader must know before quoting a figure."""
    if plan.rounds < ENOUGH_ROUNDS:
        return [f"warning   {plan.rounds} rounds are too few to quote: this only shows that the benchmark runs"]
    if one_core:
        return ["warning   the load takes its time from the servers: only requests per CPU-second can be compared"]
    lines = []
    edge, floor = (results.median(DOCUMENT_HIT, name, _busy) for name in (EDGE, FLOOR))
    if edge is not None and edge < BUSY:
        lines.append(
            f"warning   the edge ran only {edge:.0%} of the time it was asked: other work shares the machine. "
            "Requests/s means little, and a server that finds more to do whenever it gets to run looks cheaper"
        )
    elif floor is not None and floor < BUSY:
        lines.append(
            f"warning   the load kept the bare protocol only {floor:.0%} busy: requests/s of the fastest servers is "
            "the load's limit, requests per CPU-second is not"
        )
    return lines


def _spread(ratios: Sequence[float]) -> str:
    """Median and the middle half of the rounds, for example `0.62 (0.60-0.65)`; '' when there is nothing to compare."""
    if not ratios:
        return ""
    low, high = min(ratios), max(ratios)
    if len(ratios) > 1:
        low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return f"{statistics.median(ratios):.2f} ({low:.2f}-{high:.2f})"


def _busy(sample: Sample) -> float:
    return sample.busy


def count(value: float) -> str:
    """Three significant digits: 812, 8.12 K, 81.2 K."""
    if value < 1000:
        return f"{value:.3g}"
    return f"{value / 1000:#.3g}".rstrip(".") + " K"


def _processor() -> str:
    """The processor's name, as Linux tells it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()

"""Medians and ratios as tables, with the machine, the versions and the command that made them."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TypeAlias

from rich.console import Console
from rich.table import Table

from loadtest.bench.cases import HITS, Case
from loadtest.bench.growth import Step
from loadtest.bench.rounds import Plan, Results, Sample
from loadtest.bench.servers import APPLICATION, EDGE, FLOOR, NGINX, NGINX_CACHE, VARNISH

PACKAGES = ("smartedu-edge", "aiohttp", "uvloop")
PEERS = (APPLICATION, NGINX, NGINX_CACHE, VARNISH, FLOOR)
ENOUGH_ROUNDS = 5
BUSY = 0.9
# Below this size CPU-seconds per GB say little.
SIZABLE_BYTES = 100_000


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Under what the figures were taken. load_average: of the last minute, before. peers: versions of those found."""

    command: str
    server_core: int
    load_core: int
    load_average: float
    peers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Compared:
    """The edge beside its peers, case by case."""

    title: str
    rows: Sequence[Case]
    results: Results

    def peers(self) -> list[str]:
        """Those that were measured."""
        return [name for name in PEERS if any(self.results.of(case.title, name) for case in self.rows)]

    def table(self) -> Table:
        """One row per case: the edge's figures, then its ratio to each peer with the peer's own figure."""
        made = _table(f"requests per CPU-second of the serving process, medians: {self.title}")
        made.add_column("case", no_wrap=True)
        for name in ("edge", "requests/s", "core used", "CPU-s/GB"):
            made.add_column(name, justify="right", no_wrap=True)
        for name in (*self.peers(), "own hit"):
            made.add_column(f"edge : {name}", justify="right", no_wrap=True)
        for case in self.rows:
            made.add_row(
                case.title,
                *_figures(self.results, case),
                *(_ratio(self.results, case, name) for name in self.peers()),
                _own_ratio(self.results, case),
            )
        return made


@dataclass(frozen=True, slots=True)
class Grown:
    """The edge beside itself, with more and more in its cache."""

    steps: Sequence[Step]

    def table(self) -> Table:
        """One row per number of objects."""
        made = _table("hits per CPU-second with more and more objects of 200 bytes in the cache, medians")
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
        return made


Part: TypeAlias = Compared | Grown


def show(console: Console, parts: Sequence[Part], plan: Plan, circumstances: Circumstances) -> None:
    """Print everything."""
    for part in parts:
        console.print(part.table())
    for line in notes(parts, plan, circumstances):
        console.print(line, highlight=False, soft_wrap=True)


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left")


def notes(parts: Sequence[Part], plan: Plan, circumstances: Circumstances) -> list[str]:
    """The machine, the versions, how it was measured, and what limits the figures."""
    where = f"server on core {circumstances.server_core}, load on core {circumstances.load_core}"
    if circumstances.server_core == circumstances.load_core:
        where = f"one core for server and load together (core {circumstances.server_core}): requests/s is of both"
    measured = f"{plan.rounds} rounds of {plan.seconds:g} s each, {plan.connections} connections, loopback, plain HTTP"
    found = [f"{name} {number}" for name, number in circumstances.peers.items()]
    missing = [name for name in ("nginx", "Varnish") if name not in circumstances.peers]
    lines = [
        f"machine   {_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}; "
        f"load average before: {circumstances.load_average:.1f}",
        f"versions  Python {platform.python_version()}, "
        + ", ".join([*(f"{name} {version(name)}" for name in PACKAGES), *found])
        + (f"; not found, so not measured: {', '.join(missing)}" if missing else ""),
        f"method    {measured}; {where}; a ratio is the median of the rounds' ratios, its range in brackets",
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
    edge, floor = (results.median(HITS[0].title, name, _busy) for name in (EDGE, FLOOR))
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


def _figures(results: Results, case: Case) -> list[str]:
    def median(name: str) -> float:
        return results.median(case.title, EDGE, lambda sample: float(getattr(sample, name))) or 0.0

    per_gb = f"{median('cpu_s_per_gb'):.2f}" if case.length >= SIZABLE_BYTES else ""
    return [count(median("per_cpu_s")), count(median("per_s")), f"{median('busy'):.0%}", per_gb]


def _ratio(results: Results, case: Case, peer: str) -> str:
    theirs = results.median(case.title, peer, _per_cpu_s)
    if theirs is None:
        return ""
    return f"{_spread(results.ratios((case.title, EDGE), (case.title, peer)))} of {count(theirs)}"


def _own_ratio(results: Results, case: Case) -> str:
    return _spread(results.ratios((case.title, EDGE), (case.beside, EDGE))) if case.beside else ""


def _spread(ratios: Sequence[float]) -> str:
    """For example `0.62 (0.60-0.65)`."""
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


def _busy(sample: Sample) -> float:
    return sample.busy


def _per_cpu_s(sample: Sample) -> float:
    return sample.per_cpu_s


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

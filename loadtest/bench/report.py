"""Medians and ratios as one table, with the machine, the versions and the command that made it."""

from __future__ import annotations

import os
import platform
import statistics
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from loadtest.bench.cases import CASES, HITS, Case
from loadtest.bench.rounds import Plan, Results, Sample
from loadtest.bench.servers import APPLICATION, EDGE, FLOOR, NGINX

PACKAGES = ("smartedu-edge", "aiohttp", "uvloop")
PEERS = (APPLICATION, NGINX, FLOOR)
ENOUGH_ROUNDS = 5
BUSY = 0.9
# Below this size CPU-seconds per GB say little.
SIZABLE_BYTES = 100_000


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Under what the figures were taken. load_average: of the last minute, before the first round."""

    command: str
    server_core: int
    load_core: int
    load_average: float
    nginx: str | None


def show(console: Console, results: Results, plan: Plan, circumstances: Circumstances) -> None:
    """Print everything."""
    console.print(table(results, peers(circumstances)))
    for line in notes(results, plan, circumstances):
        console.print(line, highlight=False, soft_wrap=True)


def peers(circumstances: Circumstances) -> tuple[str, ...]:
    """Those that were measured."""
    return tuple(name for name in PEERS if name != NGINX or circumstances.nginx)


def table(results: Results, against: tuple[str, ...]) -> Table:
    """One row per case: the edge's figures, then its ratio to each peer with the peer's own figure."""
    made = Table(title="requests per CPU-second of the serving process, medians", title_justify="left")
    made.add_column("case", no_wrap=True)
    for name in ("edge", "requests/s", "core used", "CPU-s/GB"):
        made.add_column(name, justify="right", no_wrap=True)
    for name in (*against, "own hit"):
        made.add_column(f"edge : {name}", justify="right", no_wrap=True)
    for case in CASES:
        made.add_row(
            case.title,
            *_figures(results, case),
            *(_ratio(results, case, name) for name in against),
            _own_ratio(results, case),
        )
    return made


def notes(results: Results, plan: Plan, circumstances: Circumstances) -> list[str]:
    """The machine, the versions, how it was measured, and what limits the figures."""
    where = f"server on core {circumstances.server_core}, load on core {circumstances.load_core}"
    if circumstances.server_core == circumstances.load_core:
        where = f"one core for server and load together (core {circumstances.server_core}): requests/s is of both"
    measured = f"{plan.rounds} rounds of {plan.seconds:g} s each, {plan.connections} connections, loopback, plain HTTP"
    lines = [
        f"machine   {_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}; "
        f"load average before: {circumstances.load_average:.1f}",
        f"versions  Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in PACKAGES)
        + (f", nginx {circumstances.nginx}" if circumstances.nginx else "; nginx is not on PATH, so not measured"),
        f"method    {measured}; {where}; a ratio is the median of the rounds' ratios, its range in brackets",
        f"command   {circumstances.command}",
    ]
    shared = circumstances.server_core == circumstances.load_core
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


def _spread(ratios: list[float]) -> str:
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

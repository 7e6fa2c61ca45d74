"""The command: `python -m tests.bench.hitratio`."""

from __future__ import annotations

import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from tests.bench.hitratio.comparison import SIZES, Comparison, compare
from tests.bench.hitratio.replay import YARDSTICKS, Ratio
from tests.bench.hitratio.traces import Trace, download, real
from tests.bench.hitratio.week import QUICK, Plan, school_weeks


@click.command()
@click.option("--sdist", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="libcachesim-*.tar.gz.")
@click.option(
    "--share", "shares", type=float, multiple=True, default=SIZES, show_default=True, help="Of the footprint."
)
@click.option("--quick", is_flag=True, help="A short model of the platform only; nothing is downloaded.")
def hitratio(sdist: Path | None, shares: tuple[float, ...], quick: bool) -> None:
    """Hit ratios of the memory tier beside libcachesim's algorithms; the real traces are downloaded with its source."""
    progress = Console(stderr=True)
    traces = [school_weeks(QUICK)] if quick else [*_real(sdist, progress), school_weeks(Plan())]
    table = Table(
        title="hit ratio, % of objects / % of bytes, in caches of the same size",
        caption=f"libcachesim {version('libcachesim')}; lead: over the best of S3-FIFO, SIEVE and W-TinyLFU, in points",
    )
    for column in ("trace", "size", "ours", *YARDSTICKS, "lead", ""):
        table.add_column(column, justify="left" if column == "trace" else "right", no_wrap=True)
    for trace in traces:
        progress.print(f"{trace.name}: {len(trace.objects):,} requests, {trace.count:,} objects, {_size(trace)}")
        for comparison in compare(trace, shares):
            table.add_row(*_row(comparison))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _real(sdist: Path | None, progress: Console) -> list[Trace]:
    with tempfile.TemporaryDirectory(prefix="smartedu-traces-") as directory:
        if sdist is None:
            progress.print("downloading libcachesim's source distribution for the traces in it")
            sdist = download(Path(directory))
        return real(sdist)


def _row(comparison: Comparison) -> list[str]:
    lead = comparison.lead
    return [
        comparison.trace.name,
        f"{100 * comparison.share:g} %",
        _figures(comparison.ours),
        *(_figures(comparison.yardsticks[name]) for name in YARDSTICKS),
        f"{100 * lead.objects:+.1f} / {100 * lead.bytes:+.1f}",
        "kept" if comparison.kept else "MISSED",
    ]


def _figures(ratio: Ratio) -> str:
    return f"{100 * ratio.objects:.1f} / {100 * ratio.bytes:.1f}"


def _size(trace: Trace) -> str:
    return f"footprint {trace.footprint / 1e6:,.0f} MB"


if __name__ == "__main__":
    hitratio()

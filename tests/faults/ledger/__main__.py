"""The long form: `python -m tests.faults.ledger --events 1000000 --kills 30 --cut-s 60`, and with `--cluster`."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from tests.faults.ledger.torment import Plan, torment


@click.command()
@click.option("--events", type=click.IntRange(1000, 100_000_000), default=1_000_000, show_default=True)
@click.option("--kills", type=click.IntRange(1, 10_000), default=30, show_default=True)
@click.option("--cut-s", type=click.FloatRange(0, 3600), default=60.0, show_default=True, help="Connection cut once.")
@click.option(
    "--rate", type=click.IntRange(0, 100_000), default=4000, show_default=True, help="Events offered a second."
)
@click.option("--cluster", is_flag=True, help="Three primaries with a replica each; primaries are killed.")
def ledger(events: int, kills: int, cut_s: float, rate: int, cluster: bool) -> None:
    """Kill nodes, workers and Redis while clients send, and compare every number with what was acknowledged."""
    console = Console(width=140)
    logging.disable(logging.WARNING)  # of our own client, while Redis is away
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with (
        tempfile.TemporaryDirectory(prefix="smartedu-ledger-") as directory,
        Progress(*columns, console=console) as bar,
    ):
        task = bar.add_task("starting", total=events)

        def progress(done: int, killed: int, what: str) -> None:
            text = f"{done:,} events, {killed} kills: {what}" if what else None
            bar.update(task, completed=min(done, events), description=text)

        plan = Plan(events, kills, cut_s, cluster=cluster, per_s=rate, clients=16, within_s=180)
        figures, book, watch = asyncio.run(torment(plan, Path(directory), progress))
    done = ", ".join(f"{number} x {step}" for step, number in figures.done.items())
    console.print(f"{book.events:,} events acknowledged in {book.answers:,} answers, {book.repeats:,} repeats")
    console.print(f"{figures.kills} kills ({done}) in {figures.seconds:.0f} s; {figures.cut_bytes:,} bytes of tail cut")
    console.print(
        f"every number was that of the ledger in {figures.comparisons} comparisons; {watch.answers:,} answers and "
        f"{watch.moments:,} moments of Redis meanwhile were within it and added up"
    )


if __name__ == "__main__":
    ledger()

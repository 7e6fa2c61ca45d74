"""The command: `python -m loadtest.bench`."""

from __future__ import annotations

import signal
import sys
from typing import NoReturn

import click
from rich.console import Console

from loadtest.bench import growth, idle, report, rounds
from loadtest.bench.cases import WrongAnswerError
from loadtest.bench.parts import PARTS, Run
from loadtest.bench.processes import StartError

# All of `--quick`: enough to see that everything works, too little to quote.
QUICK = rounds.Plan(rounds=2, seconds=0.05, connections=8, scale=0.05, most=100)
QUICK_OBJECTS = tuple(size // 10 for size in growth.SIZES[:2])
QUICK_WAITING = 200
# Where there is no terminal that has a width.
COLUMNS = 180


@click.command()
@click.option("--rounds", "count", type=click.IntRange(1, 1000), default=25, show_default=True, help="Rounds.")
@click.option("--seconds", type=click.FloatRange(0.01, 600), default=0.2, show_default=True, help="Of one measurement.")
@click.option("--connections", type=click.IntRange(1, 5000), default=64, show_default=True, help="Keep-alive, at once.")
@click.option("--only", type=click.Choice(PARTS), multiple=True, help="This part alone; may be given again.")
@click.option("--million", is_flag=True, help="Grow the cache to a million objects; takes some minutes and 4 GB.")
@click.option("--quick", is_flag=True, help="Only show that it works: 2 very short rounds.")
def bench(count: int, seconds: float, connections: int, only: tuple[str, ...], million: bool, quick: bool) -> None:
    """Measure the edge beside its peers, those that are installed; takes about half an hour.

    published: objects from storage, beside nginx with files. proxied: an HTTP origin, beside nginx and Varnish as
    caches. Both also beside aiohttp's web.Application, a bare uvloop protocol and a bare server in C. tls: the origin
    again, beside nginx over TLS. growth: hits with more and more objects in the cache. idle: memory of connections.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell starts background jobs with SIGINT ignored
        signal.signal(number, _terminated)
    sizes = growth.SIZES + ((growth.MILLION,) if million else ())
    run = Run(
        QUICK if quick else rounds.Plan(count, seconds, connections),
        QUICK_OBJECTS if quick else sizes,
        QUICK_WAITING if quick else idle.CONNECTIONS,
        Console(stderr=True),
    )
    try:
        tables = run.measure(only or PARTS)
    except (WrongAnswerError, StartError) as error:
        raise click.ClickException(str(error)) from None
    console = Console(width=None if sys.stdout.isatty() else COLUMNS)
    told = " ".join(["python -m loadtest.bench", *sys.argv[1:]])
    report.show(console, tables, run.plan, run.circumstances(told))


def _terminated(_number: int, _frame: object) -> NoReturn:
    """End as after Ctrl-C, so that whatever was started is stopped."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    bench()

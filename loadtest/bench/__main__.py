"""The command: `python -m loadtest.bench`."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

import click
from rich.console import Console
from rich.progress import Progress

from loadtest.bench import nginx, replica, report, rounds, servers, storage
from loadtest.bench.cases import CASES, THINGS, WrongAnswerError
from loadtest.bench.client import fetch
from loadtest.bench.processes import StartError, pin

# All of `--quick`: enough to see that everything works, too little to quote.
QUICK = rounds.Plan(rounds=2, seconds=0.1, connections=8, scale=0.05)


@click.command()
@click.option("--rounds", "count", type=click.IntRange(1, 1000), default=5, show_default=True, help="Rounds.")
@click.option("--seconds", type=click.FloatRange(0.01, 600), default=1.0, show_default=True, help="Of one measurement.")
@click.option("--connections", type=click.IntRange(1, 5000), default=64, show_default=True, help="Keep-alive, at once.")
@click.option("--quick", is_flag=True, help="Only show that it works: 2 very short rounds.")
def bench(count: int, seconds: float, connections: int, quick: bool) -> None:
    """Measure the edge beside aiohttp's web.Application, a bare uvloop protocol and nginx (when installed)."""
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell starts background jobs with SIGINT ignored
        signal.signal(number, _terminated)
    plan = QUICK if quick else rounds.Plan(count, seconds, connections)
    progress = Console(stderr=True)
    try:
        results, circumstances = _measure(plan, progress)
    except (WrongAnswerError, StartError) as error:
        raise click.ClickException(str(error)) from None
    report.show(Console(width=None if sys.stdout.isatty() else 200), results, plan, circumstances)


def _terminated(_number: int, _frame: object) -> NoReturn:
    """End as after Ctrl-C, so that whatever was started is stopped."""
    raise KeyboardInterrupt


def _measure(plan: rounds.Plan, progress: Console) -> tuple[rounds.Results, report.Circumstances]:
    cores = sorted(os.sched_getaffinity(0))
    server_core, load_core = cores[0], cores[-1]
    load_average = os.getloadavg()[0]
    # Children inherit it; whoever serves is then moved to its own core.
    os.sched_setaffinity(0, {load_core})
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="smartedu-bench-")))
        progress.print("starting storage, Redis, the edge and its peers")
        edge, found = stack.enter_context(servers.edge(directory / "state"))
        storage.put(found, rounds.paths(plan))
        tags = _replicate(edge, directory)
        binary = nginx.command()
        taking_part = [edge, *_start_peers(stack, directory, binary)]
        for server in taking_part:
            pin(server.pid, server_core)
        results = _run(plan, taking_part, tags, progress)
        progress.print("stopping what was started")
    told = " ".join(["python -m loadtest.bench", *sys.argv[1:]])
    version = nginx.version(binary) if binary else None
    return results, report.Circumstances(told, server_core, load_core, load_average, version)


def _replicate(edge: servers.Server, directory: Path) -> dict[str, str]:
    """Note for the peers what the edge answers, once it is a hit; returns the ETag of each object by path."""
    replies, bodies, tags = [], [], {}
    for thing in THINGS:
        fetch(edge.address(thing.path), thing.path)
        answer = fetch(edge.address(thing.path), thing.path)
        if answer.status != 200 or "; hit" not in answer.field("Cache-Status"):
            raise WrongAnswerError(f"{thing.path} is not a hit when asked again: {answer.status} {answer.fields}")
        fields = tuple(field for field in answer.fields if field[0].lower() not in replica.OWN_FIELDS)
        replies.append(replica.Reply(thing.path, thing.content_type, fields))
        bodies.append(answer.body)
        tags[thing.path] = answer.field("ETag")
    replica.write(directory, replies, bodies)
    return tags


def _start_peers(stack: ExitStack, directory: Path, binary: str | None) -> list[servers.Server]:
    found = [
        stack.enter_context(servers.python_peer(servers.APPLICATION, "loadtest.bench.application", directory)),
        stack.enter_context(servers.python_peer(servers.FLOOR, "loadtest.bench.floor", directory)),
    ]
    if binary:
        found.append(stack.enter_context(servers.nginx_peer(binary, directory)))
    return found


def _run(
    plan: rounds.Plan, taking_part: list[servers.Server], tags: dict[str, str], progress: Console
) -> rounds.Results:
    """The rounds, with every byte compared before and after them."""
    pairs = [(case, server) for case in CASES for server in rounds.subjects(case, taking_part)]
    for case, server in pairs:
        if not case.cold:
            rounds.check_bytes(case, server, tags[case.thing.path])
    with Progress(console=progress, transient=True) as bar:
        task = bar.add_task("measuring", total=len(pairs) * plan.rounds)
        results = rounds.run(plan, taking_part, tags, lambda: bar.advance(task))
    for case, server in pairs:
        rounds.check_bytes(case, server, tags[case.thing.path])
    return results


if __name__ == "__main__":
    bench()

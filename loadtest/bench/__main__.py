"""The command: `python -m loadtest.bench`."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import click
from rich.console import Console
from rich.progress import Progress

from loadtest.bench import growth, nginx, replica, report, rounds, servers, storage, varnish
from loadtest.bench.cases import PROXIED, PUBLISHED, THINGS, Case, WrongAnswerError
from loadtest.bench.client import fetch
from loadtest.bench.processes import StartError, pin

# All of `--quick`: enough to see that everything works, too little to quote.
QUICK = rounds.Plan(rounds=2, seconds=0.1, connections=8, scale=0.05)
PARTS = ("published", "proxied", "growth")
PROXY_MEMORY = "2GiB"


@click.command()
@click.option("--rounds", "count", type=click.IntRange(1, 1000), default=5, show_default=True, help="Rounds.")
@click.option("--seconds", type=click.FloatRange(0.01, 600), default=1.0, show_default=True, help="Of one measurement.")
@click.option("--connections", type=click.IntRange(1, 5000), default=64, show_default=True, help="Keep-alive, at once.")
@click.option("--only", type=click.Choice(PARTS), multiple=True, help="This part alone; may be given again.")
@click.option("--million", is_flag=True, help="Grow the cache to a million objects; takes some minutes and 4 GB.")
@click.option("--quick", is_flag=True, help="Only show that it works: 2 very short rounds.")
def bench(count: int, seconds: float, connections: int, only: tuple[str, ...], million: bool, quick: bool) -> None:
    """Measure the edge beside its peers, those that are installed.

    published: objects from storage, beside aiohttp's web.Application, a bare uvloop protocol and nginx with files.
    proxied: an HTTP origin, beside nginx and Varnish as caches. growth: hits with more and more objects in the cache.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell starts background jobs with SIGINT ignored
        signal.signal(number, _terminated)
    sizes = growth.SIZES + ((growth.MILLION,) if million else ())
    run = Run(
        QUICK if quick else rounds.Plan(count, seconds, connections),
        tuple(size // 10 for size in sizes[:2]) if quick else sizes,
        Console(stderr=True),
    )
    try:
        tables = run.measure(only or PARTS)
    except (WrongAnswerError, StartError) as error:
        raise click.ClickException(str(error)) from None
    console = Console(width=None if sys.stdout.isatty() else 200)
    report.show(console, tables, run.plan, run.circumstances())


def _terminated(_number: int, _frame: object) -> NoReturn:
    """End as after Ctrl-C, so that whatever was started is stopped."""
    raise KeyboardInterrupt


@dataclass(frozen=True, slots=True)
class Cores:
    """Whoever is measured has one of its own, all the others share another."""

    server: int
    load: int

    @classmethod
    def claim(cls) -> Cores:
        """Two cores where there are two; children inherit the load's."""
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[-1]})
        return cls(cores[0], cores[-1])


class Run:
    """One run of the benchmark. sizes: of the growing cache, in objects."""

    def __init__(self, plan: rounds.Plan, sizes: Sequence[int], console: Console) -> None:
        self.plan = plan
        self._sizes = sizes
        self._console = console
        self._load_average = os.getloadavg()[0]
        self._cores = Cores.claim()
        self._nginx = nginx.command()
        self._varnish = varnish.command()

    def measure(self, parts: Sequence[str]) -> list[report.Part]:
        """What was measured, part by part. Raises WrongAnswerError, StartError."""
        made = {"published": self._published, "proxied": self._proxied, "growth": self._growth}
        with ExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="smartedu-bench-")))
            found = [made[part](directory / part) for part in PARTS if part in parts]
        self._console.print("all that was started is stopped")
        return found

    def circumstances(self) -> report.Circumstances:
        """Under what the figures were taken."""
        versions = {}
        if self._nginx:
            versions["nginx"] = nginx.version(self._nginx)
        if self._varnish:
            versions["Varnish"] = varnish.version(self._varnish)
        told = " ".join(["python -m loadtest.bench", *sys.argv[1:]])
        return report.Circumstances(told, self._cores.server, self._cores.load, self._load_average, versions)

    def _published(self, directory: Path) -> report.Part:
        directory.mkdir()
        with ExitStack() as stack:
            self._console.print("starting storage, Redis, the edge and its peers")
            edge, found = stack.enter_context(servers.edge(directory / "state"))
            storage.put(found, rounds.paths(self.plan))
            tags = _replicate(edge, directory)
            peers = [
                stack.enter_context(servers.python_peer(servers.APPLICATION, "loadtest.bench.application", directory)),
                stack.enter_context(servers.python_peer(servers.FLOOR, "loadtest.bench.floor", directory)),
            ]
            if self._nginx:
                peers.append(stack.enter_context(servers.nginx_peer(self._nginx, directory)))
            results = self._rounds(PUBLISHED, [edge, *peers], tags)
        return report.Compared("published objects: storage and Redis behind the edge", PUBLISHED, results)

    def _proxied(self, directory: Path) -> report.Part:
        directory.mkdir()
        with ExitStack() as stack:
            self._console.print("starting an HTTP origin, the edge and other caches before it")
            origin = stack.enter_context(servers.origin(directory))
            taking_part = [stack.enter_context(servers.proxy(directory / "edge", origin, PROXY_MEMORY))]
            if self._nginx:
                peer = servers.nginx_cache_peer(self._nginx, directory / "nginx", origin)
                taking_part.append(stack.enter_context(peer))
            if self._varnish:
                peer = servers.varnish_peer(self._varnish, directory / "varnish", origin)
                taking_part.append(stack.enter_context(peer))
            results = self._rounds(PROXIED, taking_part, {})
        return report.Compared("an HTTP origin behind the edge and other caches", PROXIED, results)

    def _growth(self, directory: Path) -> report.Part:
        directory.mkdir()
        with ExitStack() as stack, self._progress() as bar:
            self._console.print("starting an HTTP origin and two edges")
            origin = stack.enter_context(servers.origin(directory))
            few, many = (
                stack.enter_context(servers.proxy(directory / name, origin, growth.memory(objects)))
                for name, objects in (("few", self._sizes[0]), ("many", self._sizes[-1]))
            )
            for server in (few, many):
                pin(server.pid, self._cores.server)
            task = bar.add_task("filling and measuring", total=growth.measurements(self.plan, self._sizes))
            return report.Grown(growth.run(self.plan, few, many, self._sizes, lambda: bar.advance(task)))

    def _rounds(
        self, rows: Sequence[Case], taking_part: Sequence[servers.Server], tags: dict[str, str]
    ) -> rounds.Results:
        for server in taking_part:
            pin(server.pid, self._cores.server)
        with self._progress() as bar:
            task = bar.add_task("measuring", total=rounds.measurements(self.plan, rows, taking_part))
            return rounds.run(self.plan, rows, taking_part, tags, lambda: bar.advance(task))

    def _progress(self) -> Progress:
        return Progress(console=self._console, transient=True)


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


if __name__ == "__main__":
    bench()

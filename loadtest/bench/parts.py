"""The parts of a run: for each, what is started, and what is measured there."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from loadtest.bench import (
    growth,
    idle,
    loopback,
    native,
    nginx,
    replica,
    report,
    rounds,
    servers,
    storage,
    tls,
    varnish,
)
from loadtest.bench.cases import (
    APPLICATION,
    FLOOR,
    FOR_A_HANDLER,
    HANDLER,
    LANE_OFF,
    PROXIED,
    PUBLISHED,
    STORED,
    THINGS,
    TLS,
    Case,
    Proxied,
    Thing,
    WrongAnswerError,
)
from loadtest.bench.client import Answer, fetch
from loadtest.bench.processes import StartError, allow_descriptors, pin

PARTS = ("published", "proxied", "tls", "growth", "idle")
PROXY_MEMORY = "2GiB"
# Of an edge that only has hits to give.
HITS_MEMORY = "256MiB"


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


@dataclass(frozen=True, slots=True)
class Programs:
    """What is found on this machine, None for what is not."""

    nginx: str | None
    varnish: str | None
    compiler: str | None

    @classmethod
    def find(cls) -> Programs:
        """On PATH, or where Debian puts them."""
        return cls(nginx.command(), varnish.command(), native.compiler())

    def versions(self) -> dict[str, str]:
        """Of those that are there."""
        told = {}
        if self.nginx:
            told["nginx"] = nginx.version(self.nginx)
        if self.varnish:
            told["Varnish"] = varnish.version(self.varnish)
        if self.compiler:
            told["C compiler"] = native.version(self.compiler)
        return told


class Run:
    """One run of the benchmark. sizes: of the growing cache, in objects. waiting: idle connections."""

    def __init__(self, plan: rounds.Plan, sizes: Sequence[int], waiting: int, console: Console) -> None:
        descriptors = allow_descriptors()
        self.plan = replace(plan, most=idle.allowed(plan.most, descriptors))
        self._sizes = sizes
        self._console = console
        self._load_average = os.getloadavg()[0]
        self._network = loopback.claim()
        self._cores = Cores.claim()
        self._waiting = idle.allowed(waiting, descriptors)
        self._programs = Programs.find()

    def measure(self, parts: Sequence[str]) -> list[report.Part]:
        """What was measured, part by part. Raises WrongAnswerError, StartError."""
        made = {
            "published": self._published,
            "proxied": self._proxied,
            "tls": self._tls,
            "growth": self._growth,
            "idle": self._idle,
        }
        with ExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="smartedu-bench-")))
            found = []
            for part in PARTS:
                if part in parts:
                    (directory / part).mkdir()
                    found.append(made[part](directory / part))
        self._console.print("all that was started is stopped")
        return found

    def circumstances(self, command: str) -> report.Circumstances:
        """Under what the figures were taken."""
        cores = self._cores
        versions = self._programs.versions()
        return report.Circumstances(command, cores.server, cores.load, self._load_average, versions, self._network)

    def _published(self, directory: Path) -> report.Part:
        with ExitStack() as stack:
            self._console.print("published: starting storage, Redis, the edge and its peers")
            edge, found = stack.enter_context(servers.edge(directory / "state"))
            storage.put(found, rounds.paths(self.plan))
            hot = _hot(edge, THINGS)
            _replicate(hot, directory)
            peers = self._constant_peers(stack, directory)
            if self._programs.nginx:
                peers.append(stack.enter_context(servers.nginx_peer(self._programs.nginx, directory)))
            results = self._rounds(PUBLISHED, [edge, *peers], hot)
        return report.Compared("published objects, storage and Redis behind the edge", PUBLISHED, results)

    def _proxied(self, directory: Path) -> report.Part:
        with ExitStack() as stack:
            self._console.print("proxied: starting an HTTP origin, the edge and other caches before it")
            origin = stack.enter_context(servers.origin(directory))
            edge = stack.enter_context(servers.proxy(directory / "edge", origin, PROXY_MEMORY))
            off = servers.proxy(directory / "off", origin, HITS_MEMORY, "--no-fast-lane", name=LANE_OFF)
            short = stack.enter_context(off)
            handler = replace(short, name=HANDLER, asked_with=FOR_A_HANDLER)
            taking_part = [edge, short, handler, *self._caches(stack, directory, origin)]
            if self._programs.nginx:
                untuned = servers.nginx_cache_peer(self._programs.nginx, directory / "untuned", origin, tuned=False)
                taking_part.append(stack.enter_context(untuned))
            hot = _hot(edge, STORED)
            _replicate(hot, directory)
            taking_part += self._constant_peers(stack, directory)
            results = self._rounds(PROXIED, taking_part, hot)
        return report.Compared("an HTTP origin behind the edge and other caches", PROXIED, results)

    def _tls(self, directory: Path) -> report.Part:
        with ExitStack() as stack:
            self._console.print("tls: starting an HTTP origin, and before it the edge and nginx over TLS")
            origin = stack.enter_context(servers.origin(directory))
            taking_part = self._secure(stack, directory, origin, PROXY_MEMORY)
            spoken = _same_tls(taking_part)
            results = self._rounds(TLS, taking_part, _hot(taking_part[0], STORED))
        return report.Compared(f"the same over {spoken}", TLS, results)

    def _growth(self, directory: Path) -> report.Part:
        with ExitStack() as stack, self._progress() as bar:
            self._console.print("growth: starting an HTTP origin and two edges")
            origin = stack.enter_context(servers.origin(directory))
            memory = growth.memory(self._sizes[-1])
            few, many = (
                stack.enter_context(servers.proxy(directory / name, origin, memory, "--no-fast-lane"))
                for name in ("few", "many")
            )
            for server in (few, many):
                pin(server.pid, self._cores.server)
            task = bar.add_task("filling and measuring", total=growth.measurements(self.plan, self._sizes))
            return report.Grown(growth.run(self.plan, few, many, self._sizes, lambda: bar.advance(task)))

    def _idle(self, directory: Path) -> report.Part:
        with ExitStack() as stack, self._progress() as bar:
            self._console.print(f"idle: starting an HTTP origin and caches, for {self._waiting:,} connections to each")
            origin = stack.enter_context(servers.origin(directory))
            secure = directory / "tls"
            secure.mkdir()
            taking_part = [
                stack.enter_context(servers.proxy(directory / "edge", origin, HITS_MEMORY)),
                *self._caches(stack, directory, origin),
                *(
                    replace(one, name=f"{one.name} over TLS")
                    for one in self._secure(stack, secure, origin, HITS_MEMORY)
                ),
            ]
            for server in taking_part:
                pin(server.pid, self._cores.server)
            task = bar.add_task("connecting", total=len(taking_part))
            return report.Idle(idle.run(taking_part, self._waiting, lambda: bar.advance(task)))

    def _caches(self, stack: ExitStack, directory: Path, origin: int) -> list[servers.Server]:
        """Other caches before the origin on that port, those that are installed."""
        found = []
        if self._programs.nginx:
            peer = servers.nginx_cache_peer(self._programs.nginx, directory / "nginx", origin)
            found.append(stack.enter_context(peer))
        if self._programs.varnish:
            found.append(
                stack.enter_context(servers.varnish_peer(self._programs.varnish, directory / "varnish", origin))
            )
        return found

    def _secure(self, stack: ExitStack, directory: Path, origin: int, memory: str) -> list[servers.Server]:
        """The edge over TLS before the origin on that port, and nginx if it is installed."""
        identity = tls.issue(directory, servers.HOST)
        found = [stack.enter_context(servers.proxy(directory / "edge", origin, memory, identity=identity))]
        if self._programs.nginx:
            peer = servers.nginx_cache_peer(self._programs.nginx, directory / "nginx", origin, identity)
            found.append(stack.enter_context(peer))
        return found

    def _constant_peers(self, stack: ExitStack, directory: Path) -> list[servers.Server]:
        """web.Application and the floors, which answer what is noted in `directory`."""
        found = [
            stack.enter_context(servers.python_peer(APPLICATION, "loadtest.bench.application", directory)),
            stack.enter_context(servers.python_peer(FLOOR, "loadtest.bench.floor", directory)),
        ]
        program = self._native(directory)
        if program:
            found.append(stack.enter_context(servers.native_peer(program, directory)))
        return found

    def _native(self, directory: Path) -> Path | None:
        """The floor in C, or a word why there is none."""
        if self._programs.compiler is None:
            self._console.print("there is no C compiler, so no floor in C")
            return None
        try:
            return native.build(self._programs.compiler, directory)
        except (OSError, subprocess.SubprocessError) as error:
            self._console.print(f"going on without the floor in C: {error}")
            return None

    def _rounds(
        self, rows: Sequence[Case], taking_part: Sequence[servers.Server], hot: Mapping[str, Answer]
    ) -> rounds.Results:
        for server in taking_part:
            pin(server.pid, self._cores.server)
        tags = {path: answer.field("ETag") for path, answer in hot.items()}
        total = rounds.measurements(self.plan, rows, taking_part)
        self._console.print(f"taking {total} measurements of about {self.plan.seconds:g} s")
        with self._progress() as bar:
            task = bar.add_task("measuring", total=total)
            return rounds.run(self.plan, rows, taking_part, tags, lambda: bar.advance(task))

    def _progress(self) -> Progress:
        return Progress(console=self._console, transient=True)


def _hot(edge: servers.Server, things: Sequence[Thing | Proxied]) -> dict[str, Answer]:
    """What the edge answers once it is a hit, by path."""
    found = {}
    for thing in things:
        fetch(edge.address(thing.path), thing.path, tls=edge.tls)
        answer = fetch(edge.address(thing.path), thing.path, tls=edge.tls)
        if answer.status != 200 or "; hit" not in answer.field("Cache-Status"):
            raise WrongAnswerError(f"{thing.path} is not a hit when asked again: {answer.status} {answer.fields}")
        found[thing.path] = answer
    return found


def _replicate(hot: Mapping[str, Answer], directory: Path) -> None:
    """Note for the peers what the edge answers."""
    replies = [
        replica.Reply(
            path,
            answer.field("Content-Type"),
            tuple(field for field in answer.fields if field[0].lower() not in replica.OWN_FIELDS),
        )
        for path, answer in hot.items()
    ]
    replica.write(directory, replies, [answer.body for answer in hot.values()])


def _same_tls(taking_part: Sequence[servers.Server]) -> str:
    """What all of them speak. Raises StartError when they do not encrypt alike."""
    spoken = {server.name: tls.agreed(server.address(""), server.tls) for server in taking_part if server.tls}
    if len(set(spoken.values())) != 1:
        raise StartError(f"the servers do not encrypt alike: {spoken}")
    return spoken[taking_part[0].name]

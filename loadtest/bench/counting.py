"""What counting costs, and how soon a view can be read: `python -m loadtest.bench.counting`.

One edge with one worker on one core; its Valkey, the load and everything else on the other. Everything is measured from
outside, over HTTP; CPU time is that of the worker, all its threads.

    rate      a closed loop of connections that post as fast as they are answered, in batches of 1 and of 50. Redis is
              stopped meanwhile; then it goes on, and takes what the journal has
    steady    an open loop of 5,000 events a second, in batches of 5: calls of Redis, and probes: a view of a resource
              that nobody has seen before is posted, and asked for every 10 ms from its 202 on, until it is there
    delivery  hot hits at an edge that counts and at one that does not, in turns; then with a Redis that hangs, and one
              that is not there, while events are posted. Any wrong answer ends the measurement. Two processes are never
              equally quick: several of each are started, and two that do not count are compared in the same way. What
              both take when nobody asks tells the difference without that noise
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import click
import redis
import uvloop
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from loadtest.bench import cases, loopback, servers
from loadtest.bench.board import RESOURCES, events, valkey
from loadtest.bench.cases import DOCUMENT_HIT, SEGMENT_HIT, Proxied
from loadtest.bench.client import Address, Crowd, Judge
from loadtest.bench.processes import cpu_s, pin
from loadtest.bench.rounds import Sample

RATE, STEADY, DELIVERY = "rate", "steady", "delivery"
BATCHES = ((1, 1, 10_000), (50, 1, 100_000), (50, 50, 0))
"""Events in a request, viewers in it, and the goal: a player's own events, and those of a school's many."""
STEADY_BATCH = 5
PROBES_PER_S = 10
POSTED_PER_S = 200
"""While Redis is away: what it takes is in the figures."""
POLL_S = 0.01
TICK_S = 0.002
PAIRS = 24
"""Two processes of the same program differ by some percent for as long as they live: many are started."""
HITS_S = 0.5
"""Short, and many: the moods of the machine last for seconds."""
REST_S = 2.0
COUNTED_WITHIN_S = 300.0
VIEWERS = 1_000_000
FLAGS = ("--province", "44", "--views-per-client", "0", "--client-views-per-minute", "0")
"""All events come from one address here, which is no bot."""
CALLS = ("fcall", "fcall_ro", "waitaof", "hello", "client|setname", "function|load")
"""What clients of a counting edge send; their functions call others, which are not told apart from clients' own."""
THINGS = {DOCUMENT_HIT: Proxied("document", 1000), SEGMENT_HIT: Proxied("segment", 480_000)}


class Bodies:
    """Requests with events that nobody has sent before."""

    def __init__(self, batch: int, viewers: int = 1) -> None:
        self.batch, self._viewers = batch, viewers
        self._dice = random.Random(batch)
        self._run = f"{time.time_ns():x}"
        self.events = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        now, dice = int(time.time() * 1000), self._dice.random
        first, self.events = self.events, self.events + self.batch
        viewers = [int(dice() * VIEWERS) for _ in range(self._viewers)]
        events = ",".join(
            f'{{"id":"{self._run}-{first + i}","kind":"view","resource":"lesson-{int(dice() * RESOURCES):06d}",'
            f'"viewer":"viewer-{viewers[i % self._viewers]}","at":{now}}}'
            for i in range(self.batch)
        )
        return post(f'{{"events":[{events}]}}')


def post(body: str) -> bytes:
    """A request that brings events."""
    head = "POST /v1/views HTTP/1.1\r\nHost: edge.test\r\nUser-Agent: smartedu-bench\r\nContent-Type: application/json"
    return f"{head}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


class Line(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and body of the answer."""
        if self._transport is None:
            raise ConnectionError("not connected")
        self._received, self._answer = b"", asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if end and self._answer is not None and not self._answer.done():
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            if len(body) >= length:
                self._answer.set_result((int(head[9:12]), body))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionError("the edge hung up"))


async def line_to(address: Address) -> Line:
    """A new one."""
    _, line = await asyncio.get_running_loop().create_connection(Line, *address)
    return line


class Steady:
    """An open loop of events, and probes among them. delays: from a probe's 202 until it can be read, s."""

    def __init__(self, address: Address, per_s: int) -> None:
        self._address, self._per_s = address, per_s
        self._free: asyncio.LifoQueue[Line] = asyncio.LifoQueue()
        self._tasks: set[asyncio.Task[None]] = set()
        self.accepted = 0
        self.delays: list[float] = []

    async def run(self, seconds: float, probes: bool) -> None:
        """Raises ConnectionError for any answer but 202."""
        bodies, began, offered, probed = Bodies(STEADY_BATCH), time.perf_counter(), 0, 0
        while (passed := time.perf_counter() - began) < seconds:
            while offered < passed * self._per_s:
                offered += STEADY_BATCH
                self._begin(self._post(next(bodies)))
            if probes and probed < passed * PROBES_PER_S:
                probed += 1
                self._begin(self._probe(f"probe-{os.getpid()}-{time.time_ns():x}"))
            await asyncio.sleep(TICK_S)
        await asyncio.gather(*self._tasks)

    def _begin(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _post(self, request: bytes, count: int = STEADY_BATCH) -> None:
        line = self._free.get_nowait() if not self._free.empty() else await line_to(self._address)
        status, body = await line.ask(request)
        if status != 202:
            raise ConnectionError(f"{status} {body!r}")
        self.accepted += count
        self._free.put_nowait(line)

    async def _probe(self, resource: str) -> None:
        line = await line_to(self._address)
        event = {"id": resource, "kind": "view", "resource": resource, "at": int(time.time() * 1000)}
        await self._post(post(json.dumps(event)), 1)
        accepted_at = time.perf_counter()
        asked = f"GET /v1/counts/resources/{resource} HTTP/1.1\r\nHost: edge.test\r\n\r\n".encode()
        while True:
            status, body = await line.ask(asked)
            if status == 200 and json.loads(body)["views"] == 1:
                break
            await asyncio.sleep(POLL_S)
        self.delays.append(time.perf_counter() - accepted_at)


class Calls:
    """What a Valkey has been asked by its clients, not by its own functions."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url)
        self._before = self._told()

    def since(self) -> dict[str, int]:
        """By command, since the last look."""
        before, self._before = self._before, self._told()
        return {name: number - before.get(name, 0) for name, number in self._before.items()}

    def _told(self) -> dict[str, int]:
        stats: Any = self._client.info("commandstats")
        return {name: int(stats.get(f"cmdstat_{name}", {}).get("calls", 0)) for name in CALLS}


class Rate(NamedTuple):
    """accepted, counted: events per CPU-second, until they are on disk and acknowledged, and until Redis has them.

    per_s: acknowledged a second. size: bytes of the journal for each event.
    """

    accepted: float
    counted: float
    per_s: float
    size: float


def rate(bench: Bench, edge: servers.Server, bodies: Bodies, seconds: float, connections: int) -> Rate:
    """With Redis stopped nothing is sent, so that what accepting costs can be told from what counting costs."""
    batch = bodies.batch
    answer = len(json.dumps({"accepted": batch, "rejected": []}, separators=(",", ":")))
    judge, data = Judge(202, answer), bench.data(edge.name)
    known = bench.counted()
    with Crowd(edge.address(""), connections) as crowd:
        crowd.ask(bodies, judge, 1.0)
        bench.until_counted(known + bodies.events)
        with stopped(bench.valkey_pid):
            before, held = cpu_s(edge.pid), _journal_bytes(data)
            load = crowd.ask(bodies, judge, seconds)
            accepting, wrote = cpu_s(edge.pid) - before, _journal_bytes(data) - held
        bench.until_counted(known + bodies.events)
        counting = cpu_s(edge.pid) - before
    events = load.answers * batch
    return Rate(events / accepting, events / counting, events / load.wall_s, wrote / events)


def _journal_bytes(data: Path) -> int:
    return sum(file.stat().st_size for file in data.glob("journal/*/*.log"))


def hits(server: servers.Server, title: str, seconds: float, connections: int) -> Sample:
    """Hot hits of one kind. Raises WrongAnswerError for any other answer."""
    thing = THINGS[title]
    request, judge = cases.request(thing.path, {}), Judge(200, thing.size)
    with Crowd(server.address(thing.path), connections, greet=lambda one: one.settle(request, judge)) as crowd:
        before = cpu_s(server.pid)
        load = crowd.ask(_again(request), judge, seconds)
        return Sample(load.answers, load.wall_s, cpu_s(server.pid) - before, load.answers * thing.size)


def _again(request: bytes) -> Iterator[bytes]:
    while True:
        yield request


def delivery(
    pair: Sequence[servers.Server], rounds: int, seconds: float, connections: int, tick: Callable[[], None]
) -> dict[str, list[float]]:
    """Hits per CPU-second of the first by those of the second, round by round, by case."""
    ratios: dict[str, list[float]] = {title: [] for title in THINGS}
    for number in range(rounds):
        for title in THINGS:
            turns = list(pair) if number % 2 else list(reversed(pair))
            found = {server.name: hits(server, title, seconds, connections).per_cpu_s for server in turns}
            ratios[title].append(found[pair[0].name] / found[pair[1].name])
            tick()
    return ratios


def at_rest(pair: Sequence[servers.Server]) -> list[float]:
    """Shares of a core that they take while nobody asks."""
    before = [cpu_s(server.pid) for server in pair]
    began = time.monotonic()
    time.sleep(REST_S)
    took_s = time.monotonic() - began
    return [(cpu_s(server.pid) - used) / took_s for server, used in zip(pair, before, strict=True)]


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """The process hangs meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


class Bench:
    """What was found, as rows of a table."""

    def __init__(self, stack: ExitStack, directory: Path, cores: Sequence[int]) -> None:
        self._directory, self._cores = directory, cores
        self.valkey_pid, self.url = stack.enter_context(valkey(directory))
        pin(self.valkey_pid, cores[-1])
        self.origin = stack.enter_context(servers.origin(directory))
        self.rows: list[tuple[str, str, str]] = []

    @contextmanager
    def edge(self, name: str, *flags: str) -> Iterator[servers.Server]:
        """One of that name, on a core of its own."""
        proxy = servers.proxy(self._directory / name, self.origin, "256MiB", *FLAGS, "--node", name, *flags, name=name)
        with proxy as started:
            pin(started.pid, self._cores[0])
            yield started

    def data(self, name: str) -> Path:
        return self._directory / name / "data"

    def counted(self) -> int:
        """The views that Redis has."""
        with redis.Redis.from_url(self.url) as client:
            return int(cast("Any", client.hget("{44}:total", "views")) or 0)

    def until_counted(self, events: int) -> None:
        """Wait until Redis has so many. Raises TimeoutError."""
        until = time.monotonic() + COUNTED_WITHIN_S
        while self.counted() < events:
            if time.monotonic() > until:
                raise TimeoutError(f"{events} events were not counted within {COUNTED_WITHIN_S:g} s")
            time.sleep(0.1)

    def measure_rate(self, seconds: float, connections: int, tick: Callable[[], None]) -> None:
        for batch, viewers, least in BATCHES:
            with self.edge(f"rate-{batch}-{viewers}", "--counters-redis", self.url) as edge:
                found = rate(self, edge, Bodies(batch, viewers), seconds, connections)
            name = f"batches of {batch}" + (f", of {viewers} viewers" if viewers > 1 else "")
            goal = f">= {least:,}" if least else ""
            self.rows.append((f"{name}: events per CPU-second, acknowledged", f"{found.accepted:,.0f}", goal))
            self.rows.append((f"{name}: events per CPU-second, counted", f"{found.counted:,.0f}", ""))
            self.rows.append((f"{name}: events acknowledged a second", f"{found.per_s:,.0f}", ""))
            self.rows.append((f"{name}: journal bytes per event", f"{found.size:.1f}", ""))
            tick()

    def measure_steady(self, per_s: int, seconds: float, tick: Callable[[], None]) -> None:
        delays: list[float] = []
        with (
            self.edge("steady", "--counters-redis", self.url) as edge,
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            calls = Calls(self.url)
            for probes in (False, True):
                steady = Steady(edge.address(""), per_s)
                before, began = cpu_s(edge.pid), time.monotonic()
                calls.since()
                runner.run(steady.run(seconds, probes))
                share = (cpu_s(edge.pid) - before) / (time.monotonic() - began)
                asked = calls.since()
                per_1000 = 1000 * sum(asked.values()) / steady.accepted
                how = "and read all the time" if probes else "and not read"
                self.rows.append((f"{per_s:,} events/s {how}: calls of Redis per 1,000", f"{per_1000:.1f}", "<= 50"))
                self.rows.append((f"{per_s:,} events/s {how}: share of a core", f"{share:.2f}", ""))
                delays = sorted(steady.delays)
                tick()
        for place, goal in ((0.5, ""), (0.99, "<= 1,000"), (1.0, "")):
            delay = delays[min(len(delays) - 1, int(place * len(delays)))]
            name = f"accepted to readable, {100 * place:g} % of {len(delays)}, ms"
            self.rows.append((name, f"{1000 * delay:,.0f}", goal))

    def measure_delivery(self, rounds: int, seconds: float, connections: int, tick: Callable[[], None]) -> None:
        found: dict[str, dict[str, list[float]]] = {}
        rests: list[list[float]] = []

        def measure(what: str, pair: Sequence[servers.Server]) -> None:
            for title, ratios in delivery(pair, rounds // PAIRS, seconds, connections, tick).items():
                found.setdefault(what, {}).setdefault(title, []).extend(ratios)

        for number in range(PAIRS):
            with self._three(number) as (counting, plain, other):
                measure("neither counts", (other, plain))
                measure("counting, nothing to count", (counting, plain))
                rests.append(at_rest((counting, plain)))
                with events(counting.ports[""], POSTED_PER_S, RESOURCES), stopped(self.valkey_pid):
                    measure("Redis hangs", (counting, plain))
                with self._unreachable(number) as cut_off, events(cut_off.ports[""], POSTED_PER_S, RESOURCES):
                    measure("Redis is gone", (cut_off, plain))
        counts, none = (statistics.median(shares) for shares in zip(*rests, strict=True))
        self.rows.append(("counting, nothing to count: of a core at rest", f"{100 * counts:.2f} %", ""))
        self.rows.append(("neither counts: of a core at rest", f"{100 * none:.2f} %", ""))
        self.rows.append(("of a core left for hits by counting", f"{1 - (counts - none):.4f}", ">= 0.99"))
        for what, ratios in found.items():
            self._compare(what, ">= 0.99" if what.startswith("counting") else "", ratios)

    @contextmanager
    def _three(self, number: int) -> Iterator[tuple[servers.Server, servers.Server, servers.Server]]:
        """One that counts and two that do not; who comes first changes."""
        with ExitStack() as stack:
            kinds = ["counting", "plain", "other"]
            kinds = kinds[number % 3 :] + kinds[: number % 3]
            flags = {"counting": ("--counters-redis", self.url)}
            started = {kind: stack.enter_context(self.edge(f"{kind}-{number}", *flags.get(kind, ()))) for kind in kinds}
            yield started["counting"], started["plain"], started["other"]

    @contextmanager
    def _unreachable(self, number: int) -> Iterator[servers.Server]:
        """One whose Redis does not exist."""
        (port,) = servers.free_ports(1)
        with self.edge(f"cut-off-{number}", "--counters-redis", f"redis://{servers.HOST}:{port}/0") as started:
            yield started

    def _compare(self, what: str, goal: str, ratios: dict[str, list[float]]) -> None:
        for title, found in ratios.items():
            text = f"{statistics.median(found):.3f} ({min(found):.2f}-{max(found):.2f})"
            self.rows.append((f"{what}: {title}, beside none", text, goal))


@click.command()
@click.option("--seconds", type=click.FloatRange(1, 600), default=8.0, show_default=True, help="Of one measurement.")
@click.option("--rounds", type=click.IntRange(PAIRS, 1000), default=48, show_default=True, help="Of hits.")
@click.option("--connections", type=click.IntRange(1, 2000), default=64, show_default=True)
@click.option("--per-s", type=click.IntRange(100, 20_000), default=5000, show_default=True, help="Of the open loop.")
@click.option("--only", type=click.Choice([RATE, STEADY, DELIVERY]), multiple=True)
def counting(seconds: float, rounds: int, connections: int, per_s: int, only: tuple[str, ...]) -> None:
    """Measure what counting costs."""
    parts = only or (RATE, STEADY, DELIVERY)
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1]})
    network = loopback.claim()
    console = Console(width=140)
    steps = {RATE: len(BATCHES), STEADY: 2, DELIVERY: 4 * (rounds // PAIRS) * PAIRS * len(THINGS)}
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="smartedu-counting-")))
        bench = Bench(stack, directory, cores)
        progress = stack.enter_context(Progress(console=console, transient=True))
        task = progress.add_task("measuring", total=sum(steps[part] for part in parts))

        def tick() -> None:
            progress.advance(task)

        if RATE in parts:
            bench.measure_rate(seconds, connections, tick)
        if STEADY in parts:
            bench.measure_steady(per_s, 3 * seconds, tick)
        if DELIVERY in parts:
            bench.measure_delivery(rounds, min(seconds, HITS_S), connections, tick)
    table = Table(title="counting")
    for name in ("figure", "measured", "goal"):
        table.add_column(name, justify="left" if name == "figure" else "right")
    for row in bench.rows:
        table.add_row(*row)
    console.print(table)
    console.print(f"measured on {network}")


if __name__ == "__main__":
    counting()

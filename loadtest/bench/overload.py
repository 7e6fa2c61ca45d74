"""What an overloaded edge still gets done: `python -m loadtest.bench.overload`.

An open loop: requests come at their own rate, whether or not earlier ones are answered. The population is bounded as
in life: a client has one connection and one request at a time, and one that was told to come again later (503,
Retry-After) waits that long. A closed loop of all clients in turn sets the scale; then multiples of its rate are
offered. The closed loop itself is no peak to compare with: its requests wait for each other and so arrive in convoys,
which are cheaper to answer (the same code runs for a dozen in a row) than what comes by chance. The peak is the best
that the edge got done of an open loop at up to that rate.

Goodput is answers 200 within `PATIENT_S`, per CPU-second of the serving process, so that what else runs on the machine
does not count; refusals are judged by how soon they come.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import click
import uvloop
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from loadtest.bench import servers
from loadtest.bench.client import Address
from loadtest.bench.processes import cpu_s, pin

PATIENT_S = 1.0
"""Whoever waits longer has turned to something else: an answer after that is no use."""
CLOSED = 0.0
"""Stands for the closed loop among the multiples."""
UP_TO_CAPACITY = (0.8, 0.9, 1.0)
BEYOND = (2.0, 3.0)
MULTIPLES = UP_TO_CAPACITY + BEYOND
SETTLE_S = 4.0
"""What comes first is not measured: it takes a moment to tell an overload from a burst."""
AGAIN_S = 10.0
"""After that everybody who was told to come again may have done so."""
OVER_S = 22.0
"""After that the edge knows that the overload is over."""
TICK_S = 0.001
PEAK_IN_FLIGHT = 64
END_OF_HEAD = b"\r\n\r\n"


@dataclass(slots=True)
class Tally:
    """What came of the requests of one measurement. Delays in seconds."""

    sent: int = 0
    late: int = 0
    lost: int = 0
    unoffered: int = 0  # there was no client left to send it
    good: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)


class Client(asyncio.Protocol):
    """One connection, one request at a time. free: called when it may ask again; refused: when it was told to wait."""

    def __init__(self, request: bytes, free: Callable[[Client], None], refused: Callable[[], None]) -> None:
        self._request = request
        self._free = free
        self._refused = refused
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._left = -1  # bytes of the body, -1 while the head is not whole
        self._asked_at = 0.0
        self.tally = Tally()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are not of that class, only of that shape

    def connection_lost(self, _exc: Exception | None) -> None:
        self._transport = None

    @property
    def connected(self) -> bool:
        """Whether it can ask."""
        return self._transport is not None

    def ask(self, tally: Tally) -> None:
        """Send the request; what comes of it is told to `tally`."""
        if self._transport is None:
            tally.lost += 1
            return
        self.tally, self._asked_at, self._received, self._left = tally, time.perf_counter(), b"", -1
        tally.sent += 1
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._left < 0:
            end = self._received.find(END_OF_HEAD)
            if end < 0:
                return
            length = self._received.lower().split(b"content-length: ")[1].split(b"\r\n")[0]
            self._left = end + 4 + int(length)
        if len(self._received) >= self._left:
            self._answered(int(self._received[9:12]))

    def _answered(self, status: int) -> None:
        delay = time.perf_counter() - self._asked_at
        if status == 200:
            if delay <= PATIENT_S:
                self.tally.good.append(delay)
            else:
                self.tally.late += 1
            self._free(self)
            return
        self.tally.refused.append(delay)
        self._refused()
        again_s = int(self._received.lower().split(b"retry-after: ")[1].split(b"\r\n")[0])
        asyncio.get_running_loop().call_later(again_s, self._free, self)


class Crowd:
    """Clients, of whom those that are free wait in a queue."""

    def __init__(self) -> None:
        self._free: deque[Client] = deque()
        self._closed_loop: Tally | None = None

    async def connect(self, address: Address, path: str, count: int) -> None:
        """Let there be so many clients that can ask: the edge does not keep those for long that have not asked."""
        request = f"GET {path} HTTP/1.1\r\nHost: edge.test\r\nUser-Agent: smartedu-bench\r\n\r\n".encode()
        self._free = deque(client for client in self._free if client.connected)
        while len(self._free) < count:
            _, client = await asyncio.get_running_loop().create_connection(
                lambda: Client(request, self._take, self._next), *address
            )
            self._free.append(client)

    def _take(self, client: Client) -> None:
        if client.connected:
            self._free.append(client)
        self._next()

    def _next(self) -> None:
        if self._closed_loop is not None and self._free:
            self._free.popleft().ask(self._closed_loop)

    async def as_fast_as_possible(self, seconds: float) -> Tally:
        """A closed loop: always `PEAK_IN_FLIGHT` requests, of all clients in turn."""
        tally = self._closed_loop = Tally()
        for _ in range(PEAK_IN_FLIGHT):
            self._free.popleft().ask(tally)
        await asyncio.sleep(seconds)
        self._closed_loop = None
        return tally

    async def at_rate(self, per_s: float, seconds: float) -> Tally:
        """An open loop; what is still to be answered at its end goes on."""
        tally, began, offered = Tally(), time.perf_counter(), 0
        while (passed := time.perf_counter() - began) < seconds:
            due = int(per_s * passed) - offered
            offered += due
            for _ in range(due):
                if self._free:
                    self._free.popleft().ask(tally)
                else:
                    tally.unoffered += 1
            await asyncio.sleep(TICK_S)
        return tally


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement. cpu_s: of the serving process."""

    tally: Tally
    seconds: float
    cpu_s: float

    @property
    def goodput(self) -> float:
        """Useful answers per CPU-second."""
        return len(self.tally.good) / self.cpu_s


class Bench:
    """One edge and its crowd. samples: one a round, by the multiple that was offered."""

    def __init__(self, server: servers.Server, path: str, clients: int, seconds: float) -> None:
        self._server = server
        self._path = path
        self._clients = clients
        self._seconds = seconds
        self._crowd = Crowd()
        self.samples: dict[float, list[Sample]] = {}

    async def run(self, rounds: int, tick: Callable[[], None]) -> None:
        """Scale and multiples in turns."""
        for _ in range(rounds):
            await self._ready()
            scale = await self._measured(CLOSED, self._crowd.as_fast_as_possible(self._seconds))
            tick()
            for multiple in MULTIPLES:
                rate = multiple * len(scale.tally.good) / self._seconds
                await self._ready()
                await self._crowd.at_rate(rate, SETTLE_S)
                await self._measured(multiple, self._crowd.at_rate(rate, self._seconds))
                await asyncio.sleep(OVER_S if multiple == MULTIPLES[-1] else AGAIN_S)
                tick()

    async def _ready(self) -> None:
        await self._crowd.connect(self._server.address(self._path), self._path, self._clients)

    async def _measured(self, multiple: float, load: Coroutine[None, None, Tally]) -> Sample:
        before = cpu_s(self._server.pid)
        tally = await load
        spent = cpu_s(self._server.pid) - before
        await asyncio.sleep(2 * PATIENT_S)  # the last answers
        sample = Sample(tally, self._seconds, spent)
        self.samples.setdefault(multiple, []).append(sample)
        return sample


def _table(kind: str, samples: dict[float, list[Sample]]) -> Table:
    peaks = [max(one.goodput for one in row) for row in zip(*(samples[one] for one in UP_TO_CAPACITY), strict=True)]
    table = Table(title=f"{kind}: medians of {len(peaks)} rounds")
    for name in (
        "offered",
        "sent/s",
        "good/s",
        "good per CPU-s",
        "of the peak (range)",
        "good after, ms: median, 99 %",
    ):
        table.add_column(name, justify="right")
    for name in ("refused/s", "refused after, ms", "late"):
        table.add_column(name, justify="right")
    for multiple, row in samples.items():
        ratios = [one.goodput / peak for one, peak in zip(row, peaks, strict=True)]
        good = sorted(delay for one in row for delay in one.tally.good)
        refused = [delay for one in row for delay in one.tally.refused]
        table.add_row(
            f"{multiple:g}x" if multiple else "closed loop",
            f"{statistics.median(one.tally.sent / one.seconds for one in row):,.0f}",
            f"{statistics.median(len(one.tally.good) / one.seconds for one in row):,.0f}",
            f"{statistics.median(one.goodput for one in row):,.0f}",
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})",
            f"{1000 * good[len(good) // 2]:.1f}, {1000 * good[int(0.99 * len(good))]:.1f}" if good else "",
            f"{statistics.median(len(one.tally.refused) / one.seconds for one in row):,.0f}",
            f"{1000 * statistics.median(refused):.1f}" if refused else "",
            f"{sum(one.tally.late for one in row):,}",
        )
    return table


@click.command()
@click.option("--clients", type=click.IntRange(PEAK_IN_FLIGHT, 20_000), default=4000, show_default=True)
@click.option("--seconds", type=click.FloatRange(1, 600), default=8.0, show_default=True, help="Of one measurement.")
@click.option("--rounds", type=click.IntRange(1, 100), default=3, show_default=True)
@click.option("--kind", type=click.Choice(["pass", "store"]), default="pass", show_default=True, help="Misses or hits.")
def overload(clients: int, seconds: float, rounds: int, kind: str) -> None:
    """Offer an edge 1 to 3 times what it can do, and show what it gets done."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1]})
    console = Console(width=160)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="smartedu-overload-")))
        origin = stack.enter_context(servers.origin(directory))
        edge = stack.enter_context(servers.proxy(directory / "edge", origin, "256MiB"))
        pin(edge.pid, cores[0])
        bench = Bench(edge, f"/{kind}/1000/document", clients, seconds)
        progress = stack.enter_context(Progress(console=console, transient=True))
        task = progress.add_task("measuring", total=rounds * (1 + len(MULTIPLES)))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(bench.run(rounds, lambda: progress.advance(task)))
    console.print(_table("misses that nobody may store" if kind == "pass" else "hits", bench.samples))


if __name__ == "__main__":
    overload()

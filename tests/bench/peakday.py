"""A peak day, compressed in time: `python -m tests.bench.peakday`, or a part of it with `--share 0.1`.

64.33 million views over the day's arrival curve (60 % of an hour's within five minutes of the bell), in every province
by its weight, of 28,052 resources by Zipf's law. Each province has a writer of its own, as its nodes have: real records
in a real journal, flushed through the real tally and sink to one Valkey with an append-only file, or to a cluster of
three (`--cluster`). Only the clock is not real: each writer's runs through the day as fast as its events are counted.

In the end the summary is compared with the input: the total, each province, each resource in each province, and each
minute in each province.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import numpy as np
import uvloop
from redis.asyncio import Redis
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from deploy.local.ports import LOOPBACK
from deploy.local.valkey import Purpose, Valkey
from edge.counters.board import Board
from edge.counters.event import Kind, ViewEvent, place_in
from edge.counters.flush import Flusher
from edge.counters.journal import Journal, JournalError
from edge.counters.label import Home
from edge.counters.record import encode
from edge.counters.sink import Client, Sink, open_client, province_prefix
from edge.tasks import end
from tests.support.valkey_cluster import valkey_cluster

PEAK: Final = 64_330_000
RESOURCES: Final = 28_052
ZIPF: Final = 0.8
VIEWERS: Final = 20_000_000
UTC8: Final = timezone(timedelta(hours=8))
HOURS: Final = {
    **dict(zip(range(7, 23), (4, 13, 13, 12, 7, 3, 4, 9, 8, 6, 3, 3, 5, 5, 3, 1), strict=True)),
    **dict.fromkeys((23, 0, 1, 2, 3, 4, 5, 6), 1 / 8),
}
"""Percent of the day's views that begin in each hour."""
BELL_MINUTES: Final = 5
BELL: Final = 0.6
_PROVINCES: Final = """
44 9.37  41 9.07  37 7.52  51 5.32  61 2.70  21 1.87  31 0.96  54 0.35  13 5.95  43 5.12  32 5.09  45 4.67  34 4.63
36 3.92  42 3.72  52 3.65  53 3.65  33 3.43  35 3.17  65 2.29  14 2.25  50 2.01  62 1.92  15 1.33  23 1.30  22 1.11
11 1.02  46 0.79  12 0.74  64 0.58  63 0.49
"""
SHARES: Final = dict(zip(_PROVINCES.split()[::2], map(float, _PROVINCES.split()[1::2]), strict=True))
"""Percent of the country's views in each province."""
REQUEST: Final = 10
"""Events that come in one request, of one viewer."""
CHUNK: Final = 2000
"""Events between two looks at anything else."""
AT_ONCE: Final = 20
"""Chunks on their way to the disk."""
AHEAD_BYTES: Final = 2 * 1024 * 1024
"""A journal's clock stands while it has more than that to be counted."""
JOURNAL_BYTES: Final = 64 * 1024 * 1024
PATIENCE_S: Final = 120.0
"""For the disk to confirm: a client would ask again, these writers do not, and so much to write stalls disks."""
POLL_S: Final = 0.02


@dataclass(slots=True)
class Clock:
    """A wall clock that is set."""

    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


@dataclass(slots=True)
class Input:
    """What goes in, of one province: views by minute of the day, and by resource."""

    minutes: np.ndarray[Any, np.dtype[np.int64]]
    resources: np.ndarray[Any, np.dtype[np.int64]] = field(default_factory=lambda: np.zeros(RESOURCES, np.int64))

    @property
    def views(self) -> int:
        return int(self.minutes.sum())


def curve() -> np.ndarray[Any, np.dtype[np.float64]]:
    """The share of each minute in the day's views."""
    weights = np.zeros(1440, np.float64)
    for hour, percent in HOURS.items():
        weights[hour * 60 : hour * 60 + BELL_MINUTES] = percent * BELL / BELL_MINUTES
        weights[hour * 60 + BELL_MINUTES : (hour + 1) * 60] = percent * (1 - BELL) / (60 - BELL_MINUTES)
    weights /= weights.sum()
    return weights


def inputs(views: int) -> dict[str, Input]:
    """The day, province by province: so many views in all, each minute's rounded so that nothing is left over."""
    ends = np.cumsum(list(SHARES.values())) / sum(SHARES.values()) * views
    parts = [int(b) - int(a) for a, b in pairwise([0, *np.rint(ends)])]
    until = np.cumsum(curve())
    return {
        code: Input(np.diff(np.rint(until * part).astype(np.int64), prepend=0))
        for code, part in zip(SHARES, parts, strict=True)
    }


class Province:
    """One province's writer and its day."""

    def __init__(self, code: str, day: Input, midnight_s: int, popular: np.ndarray[Any, np.dtype[np.float64]]) -> None:
        self.code, self.day = code, day
        self._midnight_s, self._popular = midnight_s, popular
        self._dice, self._viewers = np.random.default_rng(int(code)), random.Random(code)
        self._place = place_in(code)
        self._clock = Clock(midnight_s)
        self._number = 0
        self._synced: list[asyncio.Future[None]] = []
        self._journal: Journal | None = None
        self.flusher: Flusher | None = None

    async def begin(self, directory: Path, sink: Sink, max_events: int, stack: AsyncExitStack) -> None:
        """Open the journal and start to count. max_events: about the most in one call."""
        self._journal = await Journal.open(
            directory / self.code,
            Home(self.code, f"day-{self.code}/0"),
            wall=self._clock,
            monotonic=time.monotonic,
            max_bytes=JOURNAL_BYTES,
            append_timeout_s=PATIENCE_S,
        )
        stack.push_async_callback(self._journal.close)
        self.flusher = Flusher(self._journal, sink.beside(self.code), monotonic=time.monotonic, max_events=max_events)
        self.flusher.start()
        stack.push_async_callback(self.flusher.abandon)

    async def live(self) -> None:
        """The whole day, minute by minute; returns when all is counted."""
        assert self.flusher is not None
        for minute, count in enumerate(self.day.minutes):
            self._clock.now_s = self._midnight_s + 60 * minute + 59
            for records in self._records(minute, int(count)):
                await self._append(records)
        await self._append([])
        if not await self.flusher.drain(600):
            raise TimeoutError(f"province {self.code} was not counted in time")

    def _records(self, minute: int, count: int) -> Iterator[list[bytes]]:
        at_ms, stamp_ms = (self._midnight_s + 60 * minute) * 1000, int(self._clock() * 1000)
        picked = np.searchsorted(self._popular, self._dice.random(count))
        np.add.at(self.day.resources, picked, 1)
        for first in range(0, count, CHUNK):
            records = []
            for begin in range(first, min(first + CHUNK, count), REQUEST):
                viewer = f"viewer-{self._viewers.randrange(VIEWERS)}"
                events = []
                for number in picked[begin : begin + REQUEST].tolist():
                    self._number += 1
                    name = f"{self.code}-{self._number:x}"
                    events.append(ViewEvent(name, Kind.VIEW, f"lesson-{number:06d}", viewer, at_ms, 0))
                records.append(encode(stamp_ms, events, self._place))
            yield records

    async def _append(self, records: list[bytes]) -> None:
        """Hand records in; what is on its way to the disk is waited for once there is much of it, and at the end."""
        assert self._journal is not None
        assert self.flusher is not None
        while self.flusher.state().pending_bytes > AHEAD_BYTES:  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(POLL_S)
        while records:
            try:
                self._synced.append(self._journal.put(records[0], self._journal.stamp_ms(), *records[1:]))
                break
            except JournalError:  # full until what is counted is durable
                await asyncio.sleep(POLL_S)
        if len(self._synced) >= AT_ONCE or not records:
            await asyncio.gather(*self._synced)
            self._synced.clear()


async def compare(client: Client, days: dict[str, Input], day: str) -> dict[str, int]:
    """The summary, after everything was compared. Raises AssertionError."""
    board = Board(client, tuple(days), wall=time.time, every_s=0, timeout_s=60)
    summary = await board.summary()
    views = sum(one.views for one in days.values())
    assert summary.views == views, f"the summary says {summary.views}, the input {views}"
    for code, one in days.items():
        prefix = province_prefix(code)
        total: Any = await client.hgetall(f"{prefix}:total")
        assert int(total.get(b"views", 0)) == one.views, f"{code}: {total}, the input {one.views}"
        ranking: Any = await client.zrange(f"{prefix}:views", 0, -1, withscores=True)
        counted = np.zeros(RESOURCES, np.int64)
        for name, score in ranking:
            counted[int(name[-6:])] = int(score)
        assert (counted == one.resources).all(), f"{code}: resources differ"
        held: Any = await client.hgetall(f"{prefix}:min:{day}")
        minutes = np.zeros(1440, np.int64)
        for name, number in held.items():
            minutes[int(name.split()[0])] += int(number)
        assert (minutes == one.minutes).all(), f"{code}: minutes differ"
    return {"views": summary.views, "resources": summary.resources, "provinces": summary.provinces}


async def replay(directory: Path, share: float, max_events: int, in_cluster: bool, console: Console) -> None:
    """Do it, and say how long it took."""
    midnight = datetime.now(UTC8).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    days = inputs(round(PEAK * share))
    views = sum(one.views for one in days.values())
    popular = np.cumsum(np.arange(1, RESOURCES + 1) ** -ZIPF)
    popular /= popular[-1]
    async with AsyncExitStack() as stack:
        url, urls = await (three if in_cluster else single)(directory, stack)
        client = open_client(url, timeout_s=30.0)
        stack.push_async_callback(client.aclose)
        sink = Sink(client, "44")
        provinces = [Province(code, one, int(midnight.timestamp()), popular) for code, one in days.items()]
        for one in provinces:
            await one.begin(directory / "journal", sink, max_events, stack)
        began, cpu = time.monotonic(), time.process_time()
        showing = asyncio.create_task(show(provinces, views, console))
        async with asyncio.TaskGroup() as group:
            for one in provinces:
                group.create_task(one.live())
        took, spent = time.monotonic() - began, time.process_time() - cpu
        await end([showing])
        said = await compare(client, days, midnight.strftime("%Y%m%d"))
        states = [one.flusher.state() for one in provinces if one.flusher is not None]
        used = await spending(urls)
    console.print(f"{views:,} views of {midnight:%Y-%m-%d} counted in {took:.0f} s: {views / took:,.0f} a second")
    console.print(f"the summary, every province, resource and minute equal the input: {said}")
    calls = sum(one.batches for one in states)
    console.print(
        f"{calls:,} calls, {1000 * calls / views:.2f} for 1,000; "
        f"CPU: {spent:.0f} s here, {used.cpu_s:.0f} s of {len(urls)} Valkey with {used.peak / 2**30:.1f} GiB at most"
    )


async def single(directory: Path, stack: AsyncExitStack) -> tuple[str, list[str]]:
    """One server: for its clients, and by itself."""
    valkey = Valkey(directory / "counters", directory / "counters.log", print, Purpose.COUNTERS)
    await valkey.start()
    stack.push_async_callback(valkey.kill)
    return valkey.url, [valkey.url]


async def three(directory: Path, stack: AsyncExitStack) -> tuple[str, list[str]]:
    """A cluster: for its clients, and each of its servers."""
    cluster = await stack.enter_async_context(
        valkey_cluster(directory / "cluster", append_only=True, node_timeout_ms=15_000)
    )
    return cluster.urls, [f"redis://{LOOPBACK}:{port}" for port in cluster.ports]


class Spent(NamedTuple):
    """By servers together: CPU seconds, and bytes of memory at their peaks."""

    cpu_s: float
    peak: int


async def spending(urls: Sequence[str]) -> Spent:
    """Of servers, as they tell."""
    cpu_s, peak = 0.0, 0
    for url in urls:
        async with Redis.from_url(url) as client:
            told: Any = await client.info()
        cpu_s += told["used_cpu_user"] + told["used_cpu_sys"]
        peak += told["used_memory_peak"]
    return Spent(cpu_s, peak)


async def show(provinces: list[Province], views: int, console: Console) -> None:
    """A bar of what is counted, until this is cancelled."""
    columns = (TextColumn("counted"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=views)
        while True:
            await asyncio.sleep(0.5)
            counted = sum(one.flusher.state().events for one in provinces if one.flusher is not None)
            bar.update(task, completed=counted)


@click.command()
@click.option("--share", type=click.FloatRange(0.0001, 10), default=1.0, show_default=True, help="Of 64.33 million.")
@click.option("--batch", type=click.IntRange(1, 4000), default=500, show_default=True, help="Events in one call.")
@click.option("--cluster", is_flag=True, help="To three servers that share the provinces.")
def peakday(share: float, batch: int, cluster: bool) -> None:
    """Replay a peak day as fast as it can be counted."""
    logging.basicConfig(level=logging.WARNING)
    console = Console(width=120)
    with (
        tempfile.TemporaryDirectory(prefix="smartedu-peakday-", dir=os.environ.get("TMPDIR")) as directory,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(replay(Path(directory), share, batch, cluster, console))


if __name__ == "__main__":
    peakday()

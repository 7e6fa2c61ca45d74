"""A writer of view counts, put together as a worker does it, and events to feed it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import orjson

from edge.counters.board import Board, Summary
from edge.counters.event import Place
from edge.counters.flush import Flusher
from edge.counters.intake import Intake
from edge.counters.journal import Journal
from edge.counters.label import Home
from edge.counters.sink import Sink, open_client
from tests.support.waiting import eventually

PROVINCE = "44"
# Of a node whose clients are load generators: at their rates they would be refused, or counted as bots.
ANY_RATE = {"views_per_client": 0, "viewer_views_per_minute": 0, "client_views_per_minute": 0}


@dataclass(slots=True)
class Wall:
    """A wall clock that goes on as the machine's does, `ahead_s` seconds apart from it."""

    ahead_s: float = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s


@dataclass(slots=True)
class Writer:
    """One worker's counting: what it accepts, keeps and sends."""

    journal: Journal
    intake: Intake
    flusher: Flusher
    sink: Sink
    name: str

    async def accept(self, *events: dict[str, object], place: Place | None = None) -> int:
        """Accept events as a request would bring them, from the node's own province or another; how many were taken."""
        return (await self.intake.accept(orjson.dumps({"events": events}), place)).accepted

    async def settled(self) -> None:
        """Everything that was accepted is applied."""
        await eventually(lambda: self.flusher.state().connected and self.flusher.state().pending_bytes == 0)


def event(
    resource: str = "lesson-1", kind: str = "view", *, at_ms: int | None = None, **members: object
) -> dict[str, object]:
    """A valid event with a fresh id."""
    made: dict[str, object] = {"id": str(uuid4()), "kind": kind, "at": at_ms or int(time.time() * 1000), **members}
    return made if kind == "visit" else {"resource": resource, **made}


@asynccontextmanager
async def writer(
    directory: Path,
    url: str,
    *,
    node: str = "edge-1",
    slot: int = 0,
    province: str = PROVINCE,
    wall: Wall | None = None,
    provinces: Iterable[str] = (),
    max_bytes: int = 64 * 1024 * 1024,
    **flushing: float,
) -> AsyncIterator[Writer]:
    """A running writer, for its own province and others. Leaving drops it as a kill does: nothing is drained."""
    clock = wall or Wall()
    journal = await Journal.open(
        directory / "journal" / str(slot),
        Home(province, f"{node}/{slot}"),
        wall=clock,
        monotonic=time.monotonic,
        max_bytes=max_bytes,
        segment_bytes=4096,
        provinces=provinces,
    )
    sink = Sink(open_client(url, timeout_s=1.0), province)
    settings = {"interval_s": 0.02, "heartbeat_s": 0.1, "max_backoff_s": 0.2, **flushing}
    flusher = Flusher(journal, sink, monotonic=time.monotonic, **settings)  # type: ignore[arg-type]
    flusher.start()
    try:
        yield Writer(journal, Intake(journal), flusher, sink, journal.label.identity)
    finally:
        await flusher.abandon()
        await journal.close()
        await sink.close()


@asynccontextmanager
async def board(url: str, *provinces: str, wall: Wall | None = None) -> AsyncIterator[Board]:
    """Reads the counts at `url`, of province 44 unless others are named."""
    reader = Board(open_client(url, repeats=1), provinces or (PROVINCE,), wall=wall or Wall(), every_s=0)
    try:
        yield reader
    finally:
        await reader.close()


def totals(summary: Summary) -> dict[str, object]:
    """The figures that must agree whatever the road: everything but times and estimates."""
    return {name: getattr(summary, name) for name in ("views", "plays", "watch_seconds", "visits", "resources")}

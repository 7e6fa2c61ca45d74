"""A node's intake without the rest of it: the real handler, the real protocol, a real journal; nobody flushes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from aiohttp import web

from config.provinces import PROVINCES
from edge.account import LaneAccounts
from edge.appkeys import INTAKE, SENDERS
from edge.cache.dates import written
from edge.cache.memory import MemoryStore
from edge.clock import SystemClock
from edge.counters.allowance import Allowances
from edge.counters.event import Agent, Place
from edge.counters.intake import Intake
from edge.counters.journal import Journal
from edge.counters.label import Home
from edge.counters.outliers import Outliers
from edge.counters.record import decode, head
from edge.fastlane import Lane
from edge.handlers import views
from edge.inflight import InFlight
from edge.listening import EdgeRunner
from edge.overload import Overload
from edge.postroad import PostRoad
from edge.problems import as_problems
from edge.protocol import EdgeProtocol
from edge.sender import Senders
from tests.support.counting import PROVINCE, Wall


@dataclass(slots=True)
class Desk:
    """Where events are handed in. port: of 127.0.0.1."""

    port: int
    session: aiohttp.ClientSession
    journal: Journal
    wall: Wall
    in_flight: InFlight
    runner: EdgeRunner

    @property
    def connections(self) -> list[EdgeProtocol]:
        """The open ones, as the server sees them."""
        server = self.runner.server
        return [one for one in server.connections if isinstance(one, EdgeProtocol)] if server is not None else []

    def post(self, data: object, **headers: str) -> aiohttp.client._RequestContextManager:
        """`async with desk.post(b"…", user_agent="x") as response`; underscores in names become hyphens."""
        named = {"Content-Type": "application/json"} | {k.replace("_", "-"): v for k, v in headers.items()}
        return self.session.post(f"http://127.0.0.1:{self.port}/v1/views", data=data, headers=named)

    def written(self) -> Counter[tuple[Place, Agent]]:
        """The events on disk, by what their records say of them."""
        found: Counter[tuple[Place, Agent]] = Counter()
        position = 0
        while frames := (chunk := self.journal.view().read(position)).frames:
            for payload, _ in frames:
                said = head(payload, PROVINCE)
                found[said.place, said.agent] += len(list(decode(payload)))
            position = chunk.next
        return found

    def total(self) -> int:
        """How many there are."""
        return sum(self.written().values())


@asynccontextmanager
async def desk(
    directory: Path,
    *,
    senders: Senders | None = None,
    allowances: Allowances | None = None,
    outliers: Outliers | None = None,
    max_bytes: int = 64 * 1024 * 1024,
    short: bool = True,
    append_timeout_s: float = 5.0,
    keepalive_s: float = 75.0,
    overload: Overload | None = None,
) -> AsyncIterator[Desk]:
    """A running one. short: with the short road of view events; otherwise all take the full one."""
    wall = Wall()
    journal = await Journal.open(
        directory / "journal",
        Home(PROVINCE, "edge-1/0"),
        wall=wall,
        monotonic=time.monotonic,
        max_bytes=max_bytes,
        provinces=PROVINCES,
        append_timeout_s=append_timeout_s,
    )
    in_flight = InFlight()
    app = web.Application(middlewares=[in_flight.middleware(), as_problems])
    app.on_response_prepare.append(in_flight.on_prepare)
    app[INTAKE] = intake = Intake(journal, outliers=outliers, allowances=allowances)
    app[SENDERS] = senders = senders or Senders()
    app.router.add_post("/v1/views", views.post_views)
    app.router.add_options("/v1/views", views.options_views)
    posts = PostRoad(intake, senders, in_flight, lambda: written(wall())) if short else None
    runner = EdgeRunner(
        app,
        posts=posts,
        lane=_lane(in_flight) if short else None,
        in_flight=in_flight,
        overload=overload,
        handler_cancellation=True,
        keepalive_timeout=keepalive_s,
    )
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        async with aiohttp.ClientSession() as session:
            yield Desk(runner.addresses[0][1], session, journal, wall, in_flight, runner)
    finally:
        await runner.cleanup()
        await journal.close()


def _lane(in_flight: InFlight) -> Lane:
    """There is nothing to be served, but whoever has one knows heads by their bytes."""
    return Lane(
        memory=MemoryStore(max_bytes=0),
        clock=SystemClock(),
        max_bytes=0,
        max_unsent_bytes=0,
        teller=LaneAccounts(None, lambda _uri, _part, _times: None),
        in_flight=in_flight,
    )

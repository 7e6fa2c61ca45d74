"""A worker on the edge's own connections, with or without a fast lane, in the test's own process.

As `tests.support.workers`, but behind `edge.listening`, with the middleware that counts, and with somebody who listens
to what the lane tells.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import trustme
import uvloop
from aiohttp import web

from edge.account import Accounts
from edge.answers import Answer, Block
from edge.appkeys import ENGINE, NODE
from edge.cache.dates import written
from edge.cache.engine import Engine
from edge.cache.fetch import Site
from edge.cache.freshness import Rules
from edge.cache.limits import Limits as CacheLimits
from edge.cache.memory import MemoryStore
from edge.cache.pages import Pipe
from edge.clock import Clock, SystemClock
from edge.connections import Limits
from edge.delivery import Delivery
from edge.fastlane import Lane
from edge.handlers import content
from edge.inflight import InFlight
from edge.lent import Lent
from edge.listening import EdgeRunner, EdgeServer, EdgeSite, Transport
from edge.overload import Overload
from edge.problems import expect
from edge.routes import content_label
from edge.shortroad import ShortRoad
from origin.http import HttpReader
from tests.support.origin import Script, ScriptedOrigin
from tests.support.wire import Wire

T = TypeVar("T")
LOOPBACK = "127.0.0.1"
RULES = Rules(negative_ttl_s=86_400.0)  # nothing becomes stale in a test that does not say so


@dataclass(slots=True)
class Told:
    """What the lane has told: how often it has served, and how often a client left; and each line for the log."""

    served_times: int = 0
    served_bytes: int = 0
    cut_times: int = 0
    lines: list[tuple[Answer, Block, bool]] = field(default_factory=list)

    def served(self, answer: Answer, times: int, _took_s: float) -> None:
        """So often."""
        self.served_times += times
        self.served_bytes += times * answer.bytes

    def cut(self, _answer: Answer) -> None:
        """Once."""
        self.cut_times += 1

    def logged(self, answer: Answer, block: Block, _client: str, *, took_s: float, whole: bool) -> None:
        """One line."""
        assert took_s >= 0
        self.lines.append((answer, block, whole))


@dataclass(slots=True)
class LaneEdge:
    """The running worker."""

    port: int
    told: Told
    memory: MemoryStore
    engine: Engine
    in_flight: InFlight
    runner: EdgeRunner
    lane: Lane | None
    lent: Lent

    @property
    def on_the_lane(self) -> int:
        """Requests that the lane has served whole so far."""
        if self.lane is not None:
            self.lane.flush()
        return self.told.served_times

    @property
    def server(self) -> EdgeServer:
        """What is behind the socket."""
        assert isinstance(self.runner.server, EdgeServer)
        return self.runner.server


@asynccontextmanager
async def lane_edge(
    origin_url: str,
    *,
    fast_lane: bool = True,
    published: bool = False,
    limits: Limits | None = None,
    make_overload: Callable[[], Overload] | None = None,
    memory_bytes: int = 64 * 1024 * 1024,
    lane_bytes: int = 2 * 1024 * 1024,
    unsent_bytes: int = 8 * 1024 * 1024,
    lent_bytes: int = 8 * 1024 * 1024,
    logs: bool = False,
    keepalive_s: float = 75.0,
    clock: Clock | None = None,
    tls: ssl.SSLContext | None = None,
    transport: Transport = Transport.AUTO,
) -> AsyncIterator[LaneEdge]:
    """Serve that origin on a free port until the block is left; published: as a store of published objects."""
    clock = clock or SystemClock()
    overload = make_overload() if make_overload is not None else None
    reader = HttpReader(origin_url)
    memory = MemoryStore(max_bytes=memory_bytes)
    site = Site(rules=RULES, ranges_known=published, forwards=not published, via="" if published else "edge-1")

    async def invalidate(uris: tuple[str, ...], _groups: tuple[str, ...]) -> None:
        for uri in uris:
            memory.remove_uri(uri)

    engine = Engine(
        reader=reader,
        memory=memory,
        site=site,
        clock=clock,
        limits=CacheLimits.within(memory_bytes),
        invalidate=invalidate,
    )
    in_flight, told = InFlight(), Told()
    lane = None
    if fast_lane:
        lane = Lane(
            memory=memory,
            clock=clock,
            max_bytes=lane_bytes,
            max_unsent_bytes=unsent_bytes,
            teller=told,
            in_flight=in_flight,
            pipe=Pipe(),
            logs=logs,
        )
    application = web.Application(middlewares=[in_flight.middleware()])
    application.on_response_prepare.append(in_flight.on_prepare)
    application.on_response_prepare.append(content.exact_fields)
    application[NODE], application[ENGINE] = "edge-1", engine
    delivery = Delivery(Accounts(None, clock.monotonic), "edge-1", published=published, obeys=not published)
    application[content.LENT] = lent = Lent(lent_bytes, memory.keeps)
    application[content.DELIVERY], application[content.OURS] = delivery, content.NOTHING
    handler = content.get_content if published else content.proxy
    application.router.add_route("*", "/{path:.*}", handler, expect_handler=expect)
    runner = EdgeRunner(
        application,
        limits=limits,
        overload=overload,
        node="edge-1",
        lane=lane,
        short=_short_road(engine, delivery, lane, clock) if lane is not None else None,
        in_flight=in_flight,
        access_log=None,
        handler_cancellation=True,
        keepalive_timeout=keepalive_s,
        shutdown_timeout=0.1,
    )
    await runner.setup()
    listener = socket.create_server((LOOPBACK, 0), backlog=128)
    await EdgeSite(runner, listener, ssl_context=tls, transport=transport).start()
    try:
        yield LaneEdge(listener.getsockname()[1], told, memory, engine, in_flight, runner, lane, lent)
    finally:
        await runner.cleanup()
        await engine.close()
        await reader.close()
        if overload is not None:
            overload.stop()


def _short_road(engine: Engine, delivery: Delivery, lane: Lane, clock: Clock) -> ShortRoad:
    label = partial(content_label, published=delivery.published)
    return ShortRoad(
        engine=engine,
        delivery=delivery,
        lane=lane,
        route=label,
        date=lambda: written(clock.wall()),
        now=clock.monotonic,
    )


class Identity:
    """What an encrypted worker shows, and what its clients believe: of an authority of its own."""

    def __init__(self) -> None:
        authority = trustme.CA()
        self._issued = authority.issue_cert(LOOPBACK)
        self.server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._issued.configure_cert(self.server)
        self.client = ssl.create_default_context()
        authority.configure_trust(self.client)

    def flags(self, directory: Path) -> dict[str, object]:
        """For a node, which reads them from files."""
        cert, key = directory / "cert.pem", directory / "key.pem"
        cert.write_bytes(b"".join(pem.bytes() for pem in self._issued.cert_chain_pems))
        key.write_bytes(self._issued.private_key_pem.bytes())
        return {"tls_cert": cert, "tls_key": key}


@dataclass(slots=True)
class Running:
    """A worker and its origin on a loop of the kind that serves clients, in a thread: for tests that block."""

    loop: asyncio.AbstractEventLoop
    edge: LaneEdge
    origin: ScriptedOrigin
    trust: ssl.SSLContext | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.edge.port

    def wire(self, *, receive_bytes: int | None = None) -> Wire:
        """A connection of a client, encrypted if need be."""
        return Wire(self.port, receive_bytes=receive_bytes, trust=self.trust)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """There, and wait for it here."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def call(self, what: Callable[[], T]) -> T:
        """The same for what is no coroutine."""

        async def called() -> T:
            return what()

        return self.run(called())

    def on_the_lane(self) -> int:
        """Requests that the lane has served whole so far."""
        return self.call(lambda: self.edge.on_the_lane)

    def warm(self, *requests: bytes, times: int = 3) -> None:
        """Ask for these until the lane knows them."""
        for request in requests:
            with self.wire() as wire:
                for _ in range(times):
                    wire.ask(request, request.split(b" ")[0].decode())


@contextmanager
def running(objects: dict[str, Script], *, identity: Identity | None = None, **flags: Any) -> Iterator[Running]:
    """`with running({"/a": Script(b"a")}, lane_bytes=…) as here`: see `lane_edge`. identity: it is encrypted."""
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    stack = AsyncExitStack()

    async def start() -> Running:
        origin = await stack.enter_async_context(ScriptedOrigin())
        origin.objects.update(objects)
        tls, trust = (identity.server, identity.client) if identity is not None else (None, None)
        return Running(loop, await stack.enter_async_context(lane_edge(origin.url, tls=tls, **flags)), origin, trust)

    try:
        yield asyncio.run_coroutine_threadsafe(start(), loop).result(30)
    finally:
        asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

"""Who is who: settings in, the object graph of one worker out, clean-up in reverse. The only place that knows."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from config.settings import EdgeSettings
from edge import appkeys, metrics, routes
from edge.assets import load_assets
from edge.cache.engine import Engine
from edge.cache.memory import MemoryStore
from edge.cache.model import CacheKey, Outcome
from edge.cache.shared import RedisTier, connect
from edge.cache.siblings import Siblings
from edge.catalog_view import CatalogView
from edge.clock import SystemClock
from edge.counters.board import Board
from edge.counters.flush import Flusher
from edge.counters.intake import Intake
from edge.counters.journal import Journal, JournalError
from edge.counters.label import Home
from edge.counters.leftover import Leftovers
from edge.counters.sink import Sink, open_client
from edge.handlers import health
from edge.inflight import InFlight
from edge.problems import as_problems
from edge.tasks import begin, end
from origin.credentials import CredentialSource
from origin.http import Deadlines, HttpReader
from origin.s3 import AccessKey, S3Reader

log = logging.getLogger(__name__)

# A view event batch is at most 256 KiB; the handler says so with its own words before this limit cuts in.
MAX_REQUEST_BODY = 512 * 1024
# How long a stopping worker tries to send what it has counted.
FLUSH_WITHIN_S = 5.0
# A lesson's first viewer may come this soon after it was published; until then its id is unknown to the counters.
CATALOG_PERIOD_S = 1.0
# Longer than what the key's owner itself may wait for the storage, so that a slow one is not asked twice.
SIBLING_DEADLINES = Deadlines(queue_s=2.0, connect_s=0.5, first_byte_s=20.0, idle_s=20.0)


@dataclass(frozen=True, slots=True)
class WorkerNode:
    """One worker's applications, by listener, and what the server needs to drain them."""

    public: web.Application
    admin: web.Application
    siblings: web.Application
    sibling_socket: Path
    in_flight: InFlight


@asynccontextmanager
async def node(settings: EdgeSettings, slot: int) -> AsyncIterator[WorkerNode]:
    """The object graph of the worker in `slot`, started; leaving the context stops it in reverse order."""
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        run_dir = _short_path(settings.data_dir / "run", stack)
        shared = await _shared_tier(settings, clock, stack)
        engine = await _engine(settings, slot, run_dir, shared, clock, stack)
        catalog = _catalog(engine, stack) if settings.site else None
        counting = await _counting(settings, slot, catalog, clock, stack)
        in_flight = InFlight()
        stack.callback(metrics.flush)
        _own_task(_keep_metrics(counting, in_flight), "metrics", stack)
        siblings = web.Application()
        siblings[appkeys.ENGINE] = engine
        routes.add_siblings(siblings)
        yield WorkerNode(
            _public(settings, engine, catalog, counting, in_flight),
            _admin(settings, in_flight, _checks(settings, engine, shared, counting, in_flight)),
            siblings,
            run_dir / f"worker-{slot}.sock",
            in_flight,
        )


def _public(
    settings: EdgeSettings,
    engine: Engine,
    catalog: CatalogView | None,
    counting: Counting | None,
    in_flight: InFlight,
) -> web.Application:
    application = web.Application(middlewares=[in_flight.middleware(), as_problems], client_max_size=MAX_REQUEST_BODY)
    application.on_response_prepare.append(in_flight.on_prepare)
    application[appkeys.NODE] = settings.node
    application[appkeys.ENGINE] = engine
    if counting is not None:
        application[appkeys.INTAKE] = counting.intake
        application[appkeys.BOARD] = counting.board
    if catalog is not None:
        application[appkeys.CATALOG_VIEW] = catalog
        application[appkeys.ASSETS] = load_assets()
    routes.add_public(application, site_on=catalog is not None)
    return application


def _admin(settings: EdgeSettings, in_flight: InFlight, checks: health.Checks) -> web.Application:
    application = web.Application(middlewares=[as_problems], client_max_size=MAX_REQUEST_BODY)
    application.on_response_prepare.append(in_flight.on_prepare)
    application[appkeys.NODE] = settings.node
    application[health.CHECKS] = checks
    application[health.CONFIG] = settings.public_view()
    routes.add_admin(application)
    return application


def _checks(
    settings: EdgeSettings,
    engine: Engine,
    shared: RedisTier | None,
    counting: Counting | None,
    in_flight: InFlight,
) -> health.Checks:
    """What readiness asks, by the name it appears under."""
    checks: dict[str, Callable[[], health.Check]] = {
        "accepting": lambda: health.Check(not in_flight.draining, "false while the worker drains", vital=True),
        "origin": lambda: health.Check(engine.origin_healthy, "object storage answers, as far as it was asked"),
    }
    if shared is not None:
        checks["redis"] = lambda: health.Check(shared.healthy, "cache tier in Redis")
    if counting is not None:
        checks["counters_redis"] = counting.check
    elif settings.counters_url() is not None:
        checks["journal"] = lambda: health.Check(ok=False, detail="view events are refused: see the log")
    return checks


def _short_path(directory: Path, stack: AsyncExitStack) -> Path:
    """The directory under a name short enough for a Unix socket's address (108 bytes), wherever the data lies."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    stack.callback(os.close, descriptor)
    return Path(f"/proc/self/fd/{descriptor}")


async def _shared_tier(settings: EdgeSettings, clock: SystemClock, stack: AsyncExitStack) -> RedisTier | None:
    if settings.redis is None:
        return None
    client = connect(settings.redis.get_secret_value())
    stack.push_async_callback(client.aclose)
    tier = RedisTier(client, clock=clock, namespace=str(settings.origin))
    await tier.start()
    stack.push_async_callback(tier.close)
    return tier


async def _engine(
    settings: EdgeSettings,
    slot: int,
    run_dir: Path,
    shared: RedisTier | None,
    clock: SystemClock,
    stack: AsyncExitStack,
) -> Engine:
    reader = S3Reader(
        endpoint=settings.s3_endpoint or f"https://s3.{settings.s3_region}.amazonaws.com",
        bucket=settings.origin.name,
        prefix=settings.origin.prefix,
        region=settings.s3_region,
        credentials=await _credentials(stack),
    )
    stack.push_async_callback(reader.close)
    siblings = Siblings(
        run_dir=run_dir,
        own_slot=slot,
        connect=lambda path: HttpReader("http://sibling", unix_socket=path, deadlines=SIBLING_DEADLINES),
        clock=clock,
    )
    await siblings.start()
    stack.push_async_callback(siblings.close)
    engine = Engine(
        reader=reader,
        memory=MemoryStore(max_bytes=settings.memory // settings.workers),
        shared=shared,
        siblings=siblings,
        clock=clock,
        record=_record,
    )
    stack.push_async_callback(engine.close)
    return engine


async def _credentials(stack: AsyncExitStack) -> Callable[[], AccessKey | None]:
    """The usual AWS ways of finding credentials, asked off the loop: files, processes and metadata services block."""
    source = CredentialSource()
    _own_task(source.keep_fresh(), "credentials", stack)
    await source.first_answer()
    return source.current


def _catalog(engine: Engine, stack: AsyncExitStack) -> CatalogView:
    view = CatalogView(lambda path: engine.read(CacheKey(path)), period_s=CATALOG_PERIOD_S)
    _own_task(view.run(), "catalog-view", stack)
    return view


def _own_task(work: Coroutine[object, object, None], name: str, stack: AsyncExitStack) -> None:
    """Run `work` until the stack is left."""
    stack.push_async_callback(end, [begin(work, name)])


async def _keep_metrics(counting: Counting | None, in_flight: InFlight) -> None:
    """Write what was counted, and the gauges of things that nobody tells us about when they change."""
    while True:
        metrics.IN_FLIGHT.set(in_flight.count)
        if counting is not None:
            metrics.JOURNAL_PENDING.set(counting.flusher.state().pending_bytes)
        metrics.flush()
        await asyncio.sleep(metrics.FLUSH_EVERY_S)


@dataclass(frozen=True, slots=True)
class Counting:
    """The counting side of one worker."""

    intake: Intake
    board: Board
    flusher: Flusher

    def check(self) -> health.Check:
        """Whether what is accepted also reaches Redis; until it does, it is kept in the journal."""
        state = self.flusher.state()
        detail = f"{state.pending_bytes} bytes of the journal are still to be applied"
        return health.Check(state.connected, f"{detail}: {state.last_error}" if state.last_error else detail)


async def _counting(
    settings: EdgeSettings, slot: int, catalog: CatalogView | None, clock: SystemClock, stack: AsyncExitStack
) -> Counting | None:
    """Journal, flusher and read model, started; None on a node without a Redis for counters.

    On the way out the flusher sends what is left; what cannot be sent in time stays for the slot's next worker.
    """
    url = settings.counters_url()
    if url is None:
        return None
    journals = settings.data_dir / "journal"
    try:
        journal = await Journal.open(
            journals / str(slot),
            Home(settings.province, f"{settings.node}/{slot}"),
            wall=clock.wall,
            monotonic=clock.monotonic,
            max_bytes=settings.journal_size // settings.workers,
        )
    except JournalError as error:
        # A full or broken disk must not keep the media from being served; events get 503 until the worker is renewed.
        log.critical("no view events are accepted: the journal of slot %d cannot be opened: %s", slot, error)
        return None
    stack.push_async_callback(journal.close)
    sink = Sink(open_client(url), settings.province)
    stack.push_async_callback(sink.close)
    flusher = Flusher(journal, sink, monotonic=clock.monotonic)
    flusher.start()
    stack.push_async_callback(flusher.drain, FLUSH_WITHIN_S)
    leftovers = Leftovers(
        journals,
        settings.data_dir / "slots",
        sink,
        slot,
        wall=clock.wall,
        monotonic=clock.monotonic,
    )
    leftovers.start()
    stack.push_async_callback(leftovers.stop)
    board = Board(open_client(url, repeats=1), [settings.province], wall=clock.wall)
    stack.push_async_callback(board.close)
    known = (lambda resource: not catalog.loaded or catalog.knows(resource)) if catalog is not None else None
    return Counting(Intake(journal, known), board, flusher)


def _record(outcome: Outcome) -> None:
    name = (
        "error"
        if outcome.error is not None and not outcome.stale
        else outcome.forward.value
        if outcome.forward
        else "hit"
    )
    metrics.OUTCOMES.inc("stale-" + name if outcome.stale else name, outcome.tier.value)

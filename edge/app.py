"""Who is who: settings in, the object graph of one worker out, clean-up in reverse. The only place that knows."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from aiohttp import web

from config.settings import EdgeSettings
from edge import appkeys, metrics, routes
from edge.assembly import origins
from edge.assembly.counting import Counting
from edge.assembly.counting import counting as counting_of
from edge.assets import load_assets
from edge.cache.breaker import GuardedReader
from edge.cache.engine import Engine
from edge.cache.limits import Limits, stored_bytes
from edge.cache.memory import MemoryStore
from edge.cache.model import Outcome, Tier
from edge.cache.shared import RedisTier, connect
from edge.cache.siblings import Siblings
from edge.cache.status import word
from edge.catalog_view import CatalogView
from edge.clock import SystemClock
from edge.handlers import content, health
from edge.inflight import InFlight
from edge.problems import as_problems
from edge.tasks import begin, end
from origin.http import Deadlines, HttpReader
from origin.reader import ObjectReader

log = logging.getLogger(__name__)

# A view event batch is at most 256 KiB; the handler says so with its own words before this limit cuts in.
MAX_REQUEST_BODY = 512 * 1024
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
    metrics.work_as(slot)
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        run_dir = _short_path(settings.data_dir / "run", stack)
        shared = await _shared_tier(settings, clock, stack)
        reader = await origins.reader(settings, clock, stack)
        engine = await _engine(settings, slot, run_dir, reader, shared, clock, stack)
        catalog = _catalog(engine, stack) if settings.site else None
        known = _known(catalog) if catalog is not None else None
        counting = await counting_of(settings, slot, known, clock, stack)
        in_flight = InFlight()
        stack.callback(metrics.flush)
        _own_task(_keep_metrics(counting, in_flight), "metrics", stack)
        siblings = web.Application()
        siblings[appkeys.ENGINE] = engine
        routes.add_siblings(siblings)
        yield WorkerNode(
            _public(settings, engine, catalog, counting, in_flight),
            _admin(settings, in_flight, _checks(settings, reader, shared, counting, in_flight)),
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
    application[content.DELIVERY] = content.Delivery(
        published=settings.bucket is not None,
        query_keys=settings.known_query_keys,
        obeys=settings.obeys_request_directives,
    )
    application.on_response_prepare.append(content.exact_fields)
    if counting is not None:
        application[appkeys.INTAKE] = counting.intake
        application[appkeys.BOARD] = counting.board
    if catalog is not None:
        application[appkeys.CATALOG_VIEW] = catalog
        application[appkeys.ASSETS] = load_assets()
    routes.add_public(application, site_on=catalog is not None, published=settings.bucket is not None)
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
    reader: GuardedReader,
    shared: RedisTier | None,
    counting: Counting | None,
    in_flight: InFlight,
) -> health.Checks:
    """What readiness asks, by the name it appears under."""
    checks: dict[str, Callable[[], health.Check]] = {
        "accepting": lambda: health.Check(not in_flight.draining, "false while the worker drains", vital=True),
        "origin": lambda: health.Check(reader.healthy, "the origin answers, as far as it was asked"),
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
    tier = RedisTier(client, clock=clock, namespace=settings.origin_name)
    await tier.start()
    stack.push_async_callback(tier.close)
    return tier


async def _engine(
    settings: EdgeSettings,
    slot: int,
    run_dir: Path,
    reader: ObjectReader,
    shared: RedisTier | None,
    clock: SystemClock,
    stack: AsyncExitStack,
) -> Engine:
    siblings = Siblings(
        run_dir=run_dir,
        own_slot=slot,
        connect=lambda path: HttpReader("http://sibling", unix_socket=path, deadlines=SIBLING_DEADLINES),
        clock=clock,
    )
    await siblings.start()
    stack.push_async_callback(siblings.close)
    share = settings.memory // settings.workers
    memory = MemoryStore(max_bytes=stored_bytes(share))
    engine = Engine(
        reader=reader,
        memory=memory,
        slow=((Tier.REDIS, shared),) if shared is not None else (),
        siblings=siblings,
        clock=clock,
        record=_record,
        limits=Limits.within(share, max_object_bytes=settings.max_object, block_bytes=settings.block_size),
        site=origins.site(settings),
    )
    stack.push_async_callback(engine.close)
    return engine


def _catalog(engine: Engine, stack: AsyncExitStack) -> CatalogView:
    view = CatalogView(lambda path: engine.read(quote(path)), period_s=CATALOG_PERIOD_S)
    _own_task(view.run(), "catalog-view", stack)
    return view


def _known(catalog: CatalogView) -> Callable[[str], bool]:
    return lambda resource: not catalog.loaded or catalog.knows(resource)


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


def _record(outcome: Outcome) -> None:
    metrics.OUTCOMES.inc("none", word(outcome), outcome.tier.value)

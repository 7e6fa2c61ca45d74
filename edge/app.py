"""Who is who: settings in, the object graph of one worker out, clean-up in reverse. The only place that knows."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote

from aiohttp import web

from config.settings import EdgeSettings
from edge import appkeys, garbage, metrics, routes
from edge.access_log import AccessLog
from edge.account import Accounts, LaneAccounts
from edge.admin_token import AdminToken
from edge.assembly import origins
from edge.assembly.caching import Caching, caching
from edge.assembly.counting import Counting
from edge.assembly.counting import counting as counting_of
from edge.assembly.gauges import Gauges
from edge.assembly.origins import Origin
from edge.assembly.placing import senders
from edge.assets import load_assets
from edge.bearer import ReadToken
from edge.broadcast import Broadcast
from edge.cache import target
from edge.cache.dates import written
from edge.cache.engine import Engine
from edge.cache.pages import Pipe
from edge.cache.siblings import socket_name
from edge.catalog_view import CatalogView
from edge.clock import Clock, SystemClock
from edge.delivery import Delivery
from edge.fastlane import Lane
from edge.handlers import content, counts, health, purge
from edge.inflight import InFlight
from edge.lent import Lent
from edge.overload import Overload
from edge.postroad import PostRoad
from edge.problems import as_problems, attributed
from edge.sender import Senders
from edge.shortroad import ShortRoad
from edge.tasks import begin, end

log = logging.getLogger(__name__)

# A view event batch is at most 256 KiB; the handler says so with its own words before this limit cuts in.
MAX_REQUEST_BODY = 512 * 1024
# A lesson's first viewer may come this soon after it was published; until then its id is unknown to the counters.
CATALOG_PERIOD_S = 1.0
_LANE_SHARE = 32  # of a worker's memory, for what the fast lane keeps beside the bodies
_UNSENT_SHARE = 8  # of it, for bodies that clients of the fast lane have begun to take
_LENT_SHARE = 64  # of it, for bodies that others read and memory has let go


@dataclass(frozen=True, slots=True)
class WorkerNode:
    """One worker's applications, by listener, and what the server needs to serve and to drain them.

    hear_siblings: to be awaited once the sibling socket is there, before clients are. A sibling that has just logged a
    purge tells those whose sockets it sees; this worker reads what was logged before its socket was there to be seen.
    """

    public: web.Application
    admin: web.Application
    siblings: web.Application
    sibling_socket: Path
    in_flight: InFlight
    overload: Overload
    lane: Lane
    short: ShortRoad
    posts: PostRoad | None
    hear_siblings: Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class _Parts:
    """What the applications hand to their handlers."""

    settings: EdgeSettings
    origin: Origin
    cache: Caching
    catalog: CatalogView | None
    counting: Counting | None
    summaries: Broadcast | None
    senders: Senders
    delivery: Delivery
    in_flight: InFlight


@asynccontextmanager
async def node(settings: EdgeSettings, slot: int) -> AsyncIterator[WorkerNode]:
    """The object graph of the worker in `slot`, started; leaving the context stops it in reverse order."""
    metrics.work_as(slot)
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        run_dir = _short_path(settings.data_dir / "run", stack)
        stack.callback(metrics.flush)
        origin = await origins.origin(settings, clock, stack)
        cache = await caching(settings, slot, run_dir, origin.reader, clock, stack)
        catalog = _catalog(cache.engine, stack) if settings.site else None
        known = _known(catalog) if catalog is not None else None
        counting = await counting_of(settings, slot, known, clock, stack, catalog)
        in_flight = InFlight()
        summaries = _summaries(counting, in_flight, stack)
        log = _access_log(settings, slot, stack)
        overload = Overload(max_in_flight=settings.max_in_flight, loop=asyncio.get_running_loop())
        stack.callback(overload.stop)
        _own_task(garbage.keep_collecting(lambda: in_flight.count == _following(summaries)), "garbage", stack)
        lane = _lane(settings, cache, clock, in_flight, log)
        _own_task(Gauges(cache, origin, counting, in_flight, overload, log, lane).keep(), "gauges", stack)
        delivery = _delivery(settings, Accounts(log, clock.monotonic))
        peers = senders(settings, stack)
        parts = _Parts(settings, origin, cache, catalog, counting, summaries, peers, delivery, in_flight)
        yield WorkerNode(
            _public(parts),
            _admin(parts),
            _siblings(parts),
            run_dir / socket_name(slot, settings.fingerprint),
            in_flight,
            overload,
            lane,
            _short_road(settings, cache, delivery, lane, clock),
            _post_road(parts, clock),
            cache.purging.follower.sync,
        )


def _lane(settings: EdgeSettings, cache: Caching, clock: Clock, in_flight: InFlight, log: AccessLog | None) -> Lane:
    accounts = LaneAccounts(log, cache.engine.served)
    share = settings.memory // settings.workers
    return Lane(
        memory=cache.memory,
        clock=clock,
        max_bytes=share // _LANE_SHARE,
        by_bytes=settings.fast_lane,
        max_unsent_bytes=share // _UNSENT_SHARE,
        teller=accounts,
        in_flight=in_flight,
        pipe=_pipe(settings),
        logs=accounts.logs,
    )


def _pipe(settings: EdgeSettings) -> Pipe | None:
    """None where every connection is encrypted, or the kernel cannot do it."""
    if settings.tls_cert is not None or not settings.fast_lane:
        return None
    try:
        return Pipe()
    except OSError as error:
        log.warning("large answers are copied on their way to clients: %s", error)
        return None


def _short_road(settings: EdgeSettings, cache: Caching, delivery: Delivery, lane: Lane, clock: Clock) -> ShortRoad:
    label = partial(routes.content_label, published=settings.bucket is not None)
    return ShortRoad(
        engine=cache.engine,
        delivery=delivery,
        lane=lane,
        route=label,
        date=lambda: written(clock.wall()),
        now=clock.monotonic,
    )


def _post_road(parts: _Parts, clock: Clock) -> PostRoad | None:
    if parts.counting is None:
        return None
    return PostRoad(parts.counting.intake, parts.senders, parts.in_flight, lambda: written(clock.wall()))


def _delivery(settings: EdgeSettings, accounts: Accounts) -> Delivery:
    return Delivery(
        accounts=accounts,
        node=settings.node,
        published=settings.bucket is not None,
        query_keys=settings.known_query_keys,
        obeys=settings.obeys_request_directives,
        shows_key=settings.cache_status_key,
        shows_timing=settings.server_timing,
    )


def _public(parts: _Parts) -> web.Application:
    settings, in_flight = parts.settings, parts.in_flight
    application = web.Application(middlewares=[in_flight.middleware(), as_problems], client_max_size=MAX_REQUEST_BODY)
    application.on_response_prepare.append(in_flight.on_prepare)
    application.on_response_prepare.append(content.exact_fields)
    application.on_response_prepare.append(attributed(settings.node))
    application[appkeys.NODE] = settings.node
    application[appkeys.ENGINE] = parts.cache.engine
    application[content.DELIVERY] = parts.delivery
    application[content.LENT] = Lent(settings.memory // settings.workers // _LENT_SHARE, parts.cache.memory.keeps)
    application[appkeys.READ_TOKEN] = ReadToken.read(settings.counts_read_token_file)
    if parts.counting is not None:
        application[appkeys.INTAKE] = parts.counting.intake
        application[appkeys.SENDERS] = parts.senders
        application[appkeys.BOARD] = parts.counting.board
        if parts.counting.keeping is not None:
            application[appkeys.EXPORTS] = parts.counting.keeping.exports
    if parts.summaries is not None:
        application[appkeys.SUMMARIES] = parts.summaries
    if parts.catalog is not None:
        application[appkeys.CATALOG_VIEW] = parts.catalog
        application[appkeys.ASSETS] = load_assets()
    routes.add_public(application, site_on=parts.catalog is not None, published=settings.bucket is not None)
    return application


def _admin(parts: _Parts) -> web.Application:
    settings = parts.settings
    application = web.Application(middlewares=[as_problems], client_max_size=MAX_REQUEST_BODY)
    application.on_response_prepare.append(parts.in_flight.on_prepare)
    application.on_response_prepare.append(attributed(settings.node))
    application[appkeys.NODE] = settings.node
    application[health.CHECKS] = _checks(parts)
    application[health.CONFIG] = settings.public_view()
    application[purge.PURGER] = parts.cache.purging.purger
    application[appkeys.ADMIN_TOKEN] = AdminToken.read(settings.admin_token_file)
    if parts.counting is not None:
        application[appkeys.CORRECTIONS] = parts.counting.corrections
    application[purge.CANONICAL] = (
        _canonical_published
        if settings.bucket is not None
        else partial(target.canonical, query_keys=settings.known_query_keys)
    )
    routes.add_admin(application)
    return application


def _siblings(parts: _Parts) -> web.Application:
    application = web.Application()
    application[appkeys.ENGINE] = parts.cache.engine
    application[purge.FOLLOWER] = parts.cache.purging.follower
    routes.add_siblings(application)
    return application


def _checks(parts: _Parts) -> health.Checks:
    """What readiness asks, by the name it appears under."""
    cache, counting, in_flight = parts.cache, parts.counting, parts.in_flight
    checks: dict[str, Callable[[], health.Check]] = {
        "accepting": lambda: health.Check(not in_flight.draining, "false while the worker drains", vital=True),
        "origin": parts.origin.check,
        "purges": cache.purging.check,
    }
    disk, redis = cache.disk, cache.redis
    if disk is not None:
        checks["disk"] = lambda: health.Check(disk.healthy, "cache tier on disk")
    if redis is not None:
        checks["redis"] = lambda: health.Check(redis.healthy, "cache tier in Redis")
    if counting is not None:
        checks["counters_redis"] = counting.check
        if counting.keeping is not None:
            checks["history"] = counting.keeping.check
    elif parts.settings.counters_url() is not None:
        checks["journal"] = lambda: health.Check(ok=False, detail="view events are refused: see the log")
    return checks


def _canonical_published(raw: str) -> str:
    return target.parse(raw).uri


def _access_log(settings: EdgeSettings, slot: int, stack: AsyncExitStack) -> AccessLog | None:
    if settings.access_log == "off":
        return None
    log = AccessLog(
        settings.access_log,
        node=settings.node,
        slot=slot,
        sample=settings.access_log_sample,
        shown=settings.known_query_keys or (),  # they name objects, as the operator says
    )
    log.start()
    stack.callback(log.close)
    return log


def _short_path(directory: Path, stack: AsyncExitStack) -> Path:
    """The directory under a name short enough for a Unix socket's address (108 bytes), wherever the data lies."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    stack.callback(os.close, descriptor)
    return Path(f"/proc/self/fd/{descriptor}")


def _catalog(engine: Engine, stack: AsyncExitStack) -> CatalogView:
    view = CatalogView(lambda path: engine.read(quote(path)), period_s=CATALOG_PERIOD_S)
    _own_task(view.run(), "catalog-view", stack)
    return view


def _summaries(counting: Counting | None, in_flight: InFlight, stack: AsyncExitStack) -> Broadcast | None:
    """The summary, once a second for all who follow it; a drain sends them away."""
    if counting is None:
        return None
    board = counting.board
    broadcast = Broadcast(lambda: counts.summary_event(board), ending=lambda: in_flight.draining)
    stack.push_async_callback(broadcast.stop)
    return broadcast


def _following(summaries: Broadcast | None) -> int:
    """How many requests are under way that never end by themselves."""
    return len(summaries) if summaries is not None else 0


def _known(catalog: CatalogView) -> Callable[[str], bool]:
    return lambda resource: not catalog.loaded or catalog.knows(resource)


def _own_task(work: Coroutine[object, object, None], name: str, stack: AsyncExitStack) -> None:
    """Run `work` until the stack is left."""
    stack.push_async_callback(end, [begin(work, name)])

"""Where misses go, put together from the settings: a bucket, one HTTP origin, or several behind consistent hashing."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial

from config.settings import Bucket, EdgeSettings
from edge.cache.breaker import GuardedReader
from edge.cache.fetch import Site
from edge.cache.freshness import Rules
from edge.cache.target import canonical
from edge.clock import Clock
from edge.handlers import health
from edge.metered import MeteredReader
from edge.tasks import begin, end
from origin.credentials import CredentialSource
from origin.http import Deadlines, HttpReader
from origin.parents import Parents
from origin.pool import tls_context
from origin.reader import ObjectReader
from origin.retries import RetryBudget
from origin.s3 import AccessKey, S3Reader

FAILURES = 5
"""Failures in a row after which an object, and such objects after which the origin, is left alone but for probes."""
PROBE_S = 1.0


def site(settings: EdgeSettings) -> Site:
    """What holds for responses of these origins."""
    return Site(
        rules=Rules(negative_ttl_s=settings.negative_ttl_s, targeted=settings.targeted_fields),
        ranges_known=settings.bucket is not None,
        forwards=settings.bucket is None,
        via="" if settings.bucket is not None else settings.node,
        bases=settings.http_origins,
        canonical=partial(canonical, query_keys=settings.known_query_keys),
    )


class Origin:
    """reader: what the cache reads from. parents: when there are several."""

    def __init__(self, name: str, guarded: GuardedReader, parents: Parents | None = None) -> None:
        self.reader = guarded
        self._name = name
        self._parents = parents

    def by_name(self) -> Mapping[str, bool]:
        """Which of the origins are being asked, by name."""
        return {self._name: self.reader.healthy} if self._parents is None else self._parents.healthy

    def retries(self) -> Mapping[str, int]:
        """How often each of several was asked after a failure, by name."""
        return {} if self._parents is None else self._parents.retries

    def check(self) -> health.Check:
        """Whether misses can be served, as far as it was tried lately."""
        away = [name for name, healthy in self.by_name().items() if not healthy]
        detail = f"no answer from {', '.join(away)}" if away else "the origin answers, as far as it was asked"
        return health.Check(self.reader.healthy and not away, detail)


async def origin(settings: EdgeSettings, clock: Clock, stack: AsyncExitStack) -> Origin:
    """The reader behind its breaker; closed with the stack."""
    store, parents = await _store(settings, clock, stack)
    stack.push_async_callback(store.close)
    guarded = GuardedReader(store, now=clock.monotonic, limit=FAILURES, probe_after_s=PROBE_S)
    return Origin(settings.origin_name, guarded, parents)


async def _store(settings: EdgeSettings, clock: Clock, stack: AsyncExitStack) -> tuple[ObjectReader, Parents | None]:
    if settings.bucket is not None:
        return MeteredReader(
            await _bucket(settings, settings.bucket, stack), settings.origin_name, clock.monotonic
        ), None
    tls = await _tls(settings, *settings.http_origins)
    readers: dict[str, ObjectReader] = {
        url: MeteredReader(
            HttpReader(url, deadlines=deadlines_of(settings), max_concurrent=settings.origin_concurrency, tls=tls),
            url,
            clock.monotonic,
        )
        for url in settings.http_origins
    }
    if len(readers) == 1:
        return next(iter(readers.values())), None
    parents = Parents(readers, budget=RetryBudget(now=clock.monotonic))
    return parents, parents


async def _bucket(settings: EdgeSettings, bucket: Bucket, stack: AsyncExitStack) -> S3Reader:
    endpoint = settings.s3_endpoint or f"https://s3.{settings.s3_region}.amazonaws.com"
    return S3Reader(
        endpoint=endpoint,
        bucket=bucket.name,
        prefix=bucket.prefix,
        region=settings.s3_region,
        credentials=await _credentials(stack),
        deadlines=deadlines_of(settings),
        max_concurrent=settings.origin_concurrency,
        tls=await _tls(settings, endpoint),
    )


async def _tls(settings: EdgeSettings, *urls: str) -> ssl.SSLContext | None:
    """Where there is something to verify; in a thread, since the authorities are files."""
    if not any(url.startswith("https:") for url in urls):
        return None
    return await asyncio.to_thread(tls_context, settings.origin_ca)


def deadlines_of(settings: EdgeSettings) -> Deadlines:
    """How long each step of a request to an origin may take."""
    return Deadlines(
        connect_s=settings.origin_connect_s,
        first_byte_s=settings.origin_first_byte_s,
        idle_s=settings.origin_idle_s,
        total_s=settings.origin_total_s,
    )


async def _credentials(stack: AsyncExitStack) -> Callable[[], AccessKey | None]:
    """The usual AWS ways of finding credentials, asked off the loop: files, processes and metadata services block."""
    source = CredentialSource()
    stack.push_async_callback(end, [begin(source.keep_fresh(), "credentials")])
    await source.first_answer()
    return source.current

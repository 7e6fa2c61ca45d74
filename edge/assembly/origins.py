"""Where misses go, put together from the settings: a bucket, one HTTP origin, or several behind consistent hashing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial

from config.settings import EdgeSettings
from edge.cache.breaker import Breaker, GuardedReader
from edge.cache.fetch import Site
from edge.cache.freshness import Rules
from edge.cache.target import canonical
from edge.clock import Clock
from edge.tasks import begin, end
from origin.credentials import CredentialSource
from origin.http import Deadlines, HttpReader
from origin.reader import ObjectReader
from origin.s3 import AccessKey, S3Reader

FAILURES = 5
"""Failures in a row after which an origin is left alone, but for one probe per `PROBE_S`."""
PROBE_S = 1.0


def site(settings: EdgeSettings) -> Site:
    """What holds for responses of these origins."""
    return Site(
        rules=Rules(negative_ttl_s=settings.negative_ttl_s, targeted=settings.targeted_fields),
        ranges_known=settings.bucket is not None,
        forwards=settings.bucket is None,
        bases=settings.http_origins,
        canonical=partial(canonical, query_keys=settings.known_query_keys),
    )


async def reader(settings: EdgeSettings, clock: Clock, stack: AsyncExitStack) -> GuardedReader:
    """The reader behind its breaker; closed with the stack."""
    bucket = settings.bucket
    store: ObjectReader
    if bucket is None:
        store = HttpReader(settings.http_origins[0], deadlines=_deadlines(settings))
    else:
        store = S3Reader(
            endpoint=settings.s3_endpoint or f"https://s3.{settings.s3_region}.amazonaws.com",
            bucket=bucket.name,
            prefix=bucket.prefix,
            region=settings.s3_region,
            credentials=await _credentials(stack),
            deadlines=_deadlines(settings),
        )
    stack.push_async_callback(store.close)
    return GuardedReader(store, Breaker(now=clock.monotonic, limit=FAILURES, probe_after_s=PROBE_S))


def _deadlines(settings: EdgeSettings) -> Deadlines:
    return Deadlines(
        connect_s=settings.origin_connect_s,
        first_byte_s=settings.origin_first_byte_s,
        idle_s=settings.origin_idle_s,
    )


async def _credentials(stack: AsyncExitStack) -> Callable[[], AccessKey | None]:
    """The usual AWS ways of finding credentials, asked off the loop: files, processes and metadata services block."""
    source = CredentialSource()
    stack.push_async_callback(end, [begin(source.keep_fresh(), "credentials")])
    await source.first_answer()
    return source.current

"""The cache of one worker: memory, disk, Redis, siblings and the engine over them, put together from the settings."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from config.settings import EdgeSettings
from edge import metrics
from edge.assembly import origins
from edge.assembly.purging import Purging
from edge.cache.disk import DiskTier
from edge.cache.engine import Engine
from edge.cache.files import Files
from edge.cache.limits import Limits, stored_bytes
from edge.cache.memory import MemoryStore
from edge.cache.model import CacheKey, Tier
from edge.cache.shared import RedisTier, connect
from edge.cache.siblings import Siblings
from edge.cache.tiers import SlowTier
from edge.clock import Clock
from origin.http import Deadlines, HttpReader
from origin.parents import ATTEMPTS
from origin.reader import ObjectReader

HEAD_BYTES: Final = 64 * 1024
"""What an object that is just small enough may take in memory beside its body."""


@dataclass(frozen=True, slots=True)
class Caching:
    """What others need of it."""

    engine: Engine
    memory: MemoryStore
    disk: DiskTier | None
    redis: RedisTier | None
    purging: Purging


async def caching(
    settings: EdgeSettings, slot: int, run_dir: Path, reader: ObjectReader, clock: Clock, stack: AsyncExitStack
) -> Caching:
    """Started, with every purge applied that could be heard of; closed with the stack."""
    purging = Purging(settings, slot, clock)
    disk = await _disk(settings, clock, stack)
    redis = await _redis(settings, purging, clock, stack)
    siblings = await _siblings(settings, slot, run_dir, clock, stack)
    slow: tuple[tuple[Tier, SlowTier], ...] = (
        *(((Tier.DISK, disk),) if disk is not None else ()),
        *(((Tier.REDIS, redis),) if redis is not None else ()),
    )
    share = settings.memory // settings.workers
    limits = Limits.within(share, max_object_bytes=settings.max_object, block_bytes=settings.block_size)
    memory = MemoryStore(
        max_bytes=stored_bytes(share),
        largest_bytes=limits.max_object_bytes + HEAD_BYTES,
    )
    engine = Engine(
        reader=reader,
        memory=memory,
        slow=slow,
        siblings=siblings,
        clock=clock,
        purges=purging,
        recorder=metrics.Fills(),
        limits=limits,
        site=origins.site(settings),
        invalidate=purging.invalidate,
        touch=disk.touch if disk is not None else _untouched,
    )
    stack.push_async_callback(engine.close)
    await purging.begin(engine, siblings, stack)
    return Caching(engine, memory, disk, redis, purging)


def _untouched(_key: CacheKey) -> None:
    """There is no disk."""


async def _siblings(settings: EdgeSettings, slot: int, run_dir: Path, clock: Clock, stack: AsyncExitStack) -> Siblings:
    # Longer than what the key's owner itself may wait for the origin, so that a slow one is not asked twice.
    of_the_origin = origins.deadlines_of(settings)
    attempts = min(1 + max(1, len(settings.http_origins)), ATTEMPTS)
    deadlines = Deadlines(
        queue_s=2.0,
        connect_s=0.5,
        first_byte_s=of_the_origin.queue_s + attempts * (of_the_origin.connect_s + of_the_origin.first_byte_s) + 1.0,
        idle_s=settings.origin_idle_s + 5.0,
    )
    siblings = Siblings(
        run_dir=run_dir,
        own_slot=slot,
        fingerprint=settings.fingerprint,
        connect=lambda path: HttpReader("http://sibling", unix_socket=path, deadlines=deadlines),
        clock=clock,
    )
    await siblings.start()
    stack.push_async_callback(siblings.close)
    return siblings


async def _disk(settings: EdgeSettings, clock: Clock, stack: AsyncExitStack) -> DiskTier | None:
    if settings.disk is None:
        return None
    files = Files(settings.disk, namespace=settings.origin_name, max_bytes=settings.disk_size, clock=clock)
    tier = DiskTier(files, clock=clock)
    await tier.start()
    stack.push_async_callback(tier.close)
    return tier


async def _redis(settings: EdgeSettings, purging: Purging, clock: Clock, stack: AsyncExitStack) -> RedisTier | None:
    if settings.redis is None:
        return None
    client = connect(settings.redis.get_secret_value())
    stack.push_async_callback(client.aclose)
    tier = RedisTier(
        client,
        clock=clock,
        namespace=settings.origin_name,
        shared_mark=purging.follower.shared_mark,
        mark_of=purging.follower.mark_of,
    )
    await tier.start()
    stack.push_async_callback(tier.close)
    return tier

"""A process that uses a slow tier until it is killed: `python -m tests.support.tier_process disk DIR | redis URL`.

It says "." after every few values. What lies under a key is the key and a number, again and again, so that anybody can
tell whether a body is one that was written.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
from pathlib import Path

from edge.cache.disk import DiskTier
from edge.cache.model import CacheKey
from edge.cache.shared import RedisTier
from edge.clock import SystemClock
from tests.support.tiers import disk_files, disk_tier, entry, redis_tier

MAX_BYTES = 24 * 1024 * 1024
KEYS = 60


def body_for(key: CacheKey, number: int, size: int) -> bytes:
    """A body of about that size."""
    phrase = f"{key.uri}#{number};".encode()
    return phrase * max(1, size // len(phrase))


def is_one_that_was_written(key: CacheKey, body: bytes) -> bool:
    """Whether it is whole and of that key."""
    phrase, _, _ = body.partition(b";")
    return phrase.startswith(f"{key.uri}#".encode()) and body == (phrase + b";") * body.count(b";")


def all_keys() -> list[CacheKey]:
    """The keys that the processes write."""
    return [CacheKey(f"/media/{number}") for number in range(KEYS)]


async def _write(tier: DiskTier | RedisTier) -> None:
    clock, dice = SystemClock(), random.Random()
    for number in itertools.count():
        for key in dice.choices(all_keys(), k=8):
            size = dice.choice((100, 5_000, 300_000, 2_000_000))
            tier.put(key, entry(clock, body_for(key, number, size), "max-age=3600"))
        await tier.settled()
        sys.stdout.write(".")
        sys.stdout.flush()


async def _main(kind: str, where: str) -> None:
    clock = SystemClock()
    if kind == "disk":
        async with disk_tier(disk_files(Path(where), clock, max_bytes=MAX_BYTES), clock) as on_disk:
            await _write(on_disk)
    else:
        async with redis_tier(where, clock) as in_redis:
            await _write(in_redis)


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))

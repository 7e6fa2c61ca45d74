"""A deadline that an event brings nearer: how long something may take depends on what is heard meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from edge.tasks import begin, end


@asynccontextmanager
async def deadline(within_s: float | None, nearer: asyncio.Event, then_s: float) -> AsyncIterator[asyncio.Timeout]:
    """Cut the block off after so many seconds (None: never), or `then_s` after `nearer` is set, if that comes first.

    Raises TimeoutError when it was cut off; the block may raise one of its own, so what is given says whether it has
    expired.
    """
    async with asyncio.timeout(within_s) as limit:
        watch = begin(_bring_near(limit, nearer, then_s), "deadline")
        try:
            yield limit
        finally:
            await end([watch])


async def _bring_near(limit: asyncio.Timeout, nearer: asyncio.Event, then_s: float) -> None:
    await nearer.wait()
    ends_at, now_at = limit.when(), asyncio.get_running_loop().time() + then_s
    if not limit.expired():
        limit.reschedule(now_at if ends_at is None else min(ends_at, now_at))

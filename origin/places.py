"""A limited number of places, and the queue for them, which does not grow old.

A queue that drains takes up a burst and does good. One that stands only adds its length to every wait: all who are
served have waited, and no more of them are. So when there has been a queue for a while, whoever would have to wait
longer than a moment is refused at once, and the others go on at the full rate (the controlled delay of CoDel, RFC 8289,
as "Fail at Scale", ACM Queue 13(8), applies it to requests; the wait is foreseen here instead of waited out).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

STANDING_S = 1.0
"""A queue that has lasted longer than this is no burst."""
MOMENT_S = 0.2
"""How long one may have to wait in a queue that stands."""
_MEMORY_S = 4.0  # of how fast places become free


class NoPlaceError(Exception):
    """All places are taken, and will be for too long."""


class Places:
    """So many at once. wait_s: nobody waits longer. now: seconds on a monotonic clock, by default the loop's.

    A queue as long as there are places is never too long: it takes no more than what is under way anyhow.
    """

    def __init__(self, count: int, *, wait_s: float, now: Callable[[], float] | None = None) -> None:
        self._count = count
        self._free = count
        self._wait_s = wait_s
        self._now = now or (lambda: asyncio.get_running_loop().time())
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._gone = 0  # of those in the queue, who wait no more
        self._standing_since = 0.0
        self._counted_since = 0.0
        self._handed = 0.0  # places that went to somebody in the queue since then

    @property
    def queued(self) -> int:
        """How many wait for a place."""
        return len(self._waiting) - self._gone

    async def take(self) -> None:
        """One of the places, to be given back. Raises NoPlaceError."""
        if self.take_now():
            return
        now = self._now()
        if self.queued == 0:
            self._standing_since = self._counted_since = now
            self._handed = 0.0
        elif self._too_long(now):
            raise NoPlaceError
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout(self._wait_s):
                await waiter
        except BaseException as ended:
            if waiter.cancelled():
                self._gone += 1
            else:
                self.give_back()  # it had just become ours
            if isinstance(ended, TimeoutError):
                raise NoPlaceError from None
            raise

    def take_now(self) -> bool:
        """One of the places, to be given back, if there is one without waiting."""
        if self._free == 0:
            return False
        self._free -= 1
        return True

    def give_back(self) -> None:
        """The place goes to whoever has waited longest."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                self._handed += 1
                waiter.set_result(None)
                return
            self._gone -= 1
        self._free += 1

    def _too_long(self, now: float) -> bool:
        if self.queued < self._count or now - self._standing_since <= STANDING_S:
            return False
        if now - self._counted_since > _MEMORY_S:
            self._counted_since += (now - self._counted_since) / 2
            self._handed /= 2
        return self.queued * (now - self._counted_since) > MOMENT_S * self._handed

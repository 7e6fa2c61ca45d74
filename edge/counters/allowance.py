"""How many events each client may send: a token bucket per client, as one number (the generic cell rate algorithm).

The number is the time at which all that the client has sent would be paid off, at the sustained rate. Who is admitted
may send a whole body and is charged for what was in it, so nothing is refused after it was read, and whoever goes
beyond his allowance pays the rest off before he is admitted again.

Not taken from a library: `limits` keeps windows, not buckets, in memory behind locks and a timer thread; this is less
than its adapter would be. The table of clients is cachetools' LRU: who has not been here for longest is forgotten.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cachetools import LRUCache

MAX_CLIENTS: Final = 65_536
BURST_S: Final = 60.0
"""What a client may send at once after a pause, as seconds of its rate."""


class Allowances:
    """Those of one worker's clients. per_s: events a second, 0 for any number. now: monotonic clock, seconds."""

    def __init__(self, per_s: float, *, now: Callable[[], float], max_clients: int = MAX_CLIENTS) -> None:
        self._per_s = per_s
        self._now = now
        self._paid_at: LRUCache[str, float] = LRUCache(max_clients)

    def wait_s(self, client: str) -> float:
        """How long this client has to wait before it may send again; 0 when it may now."""
        if not self._per_s:
            return 0.0
        ahead_s = self._paid_at.get(client, 0.0) - self._now()
        return max(0.0, ahead_s + 1.0 / self._per_s - BURST_S)

    def charge(self, client: str, events: int) -> None:
        """It has sent so many; a body without any costs as much as one."""
        if self._per_s:
            now = self._now()
            self._paid_at[client] = max(self._paid_at.get(client, now), now) + max(events, 1) / self._per_s

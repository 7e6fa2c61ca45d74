"""How often the counts are read: one refresh for all who wait, in the background while somebody reads.

Theory of operation. The first reader starts the refreshes and waits for one. They go on by themselves while readers
come, so that later readers find fresh counts and wait for nothing; when nobody has come for a while they come seldom,
which is enough to know what has changed since, and then stop. However many read, Redis is asked as often as by one.
With a pause of 0 nothing is refreshed without being asked for, and every reader waits for a refresh that began after it
came.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from edge.counters.reading import BoardError
from edge.tasks import begin, end

log = logging.getLogger(__name__)

_LONGEST_REST_S: Final = 1.0


class Pulse:
    """refresh: raises BoardError. every_s: pause between two refreshes; as long as one took, at most a second.

    linger_s: how long they go on like that without a reader, and then every seldom_s until forget_s. wait_s: how long a
    reader waits. stale_s: how old what was read last may be while refreshes fail.
    """

    def __init__(
        self,
        refresh: Callable[[], Awaitable[None]],
        *,
        monotonic: Callable[[], float],
        every_s: float = 0.2,
        seldom_s: float = 5.0,
        linger_s: float = 60.0,
        forget_s: float = 900.0,
        wait_s: float = 10.0,
        stale_s: float = 30.0,
    ) -> None:
        self._refresh = refresh
        self._monotonic = monotonic
        self._every_s = every_s
        self._seldom_s = seldom_s
        self._linger_s = linger_s
        self._forget_s = forget_s
        self._wait_s = wait_s
        self._stale_s = stale_s
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Condition()
        self._wanted = asyncio.Event()
        self._began = 0
        self._ended = 0
        self._error: BoardError | None = None
        self._good_at: float | None = None
        self._asked_at = 0.0

    async def fresh(self) -> None:
        """Returns when what is held is fresh. Raises BoardError."""
        self._asked_at = self._monotonic()
        if self._task is None or self._task.done():
            self._task = begin(self._keep(), "counts-refresh")
        if self._every_s and self._good_at is not None and self._asked_at - self._good_at <= self._still_good_s():
            return
        # A refresh that has begun already may have read before what this reader wants to see.
        number = self._began + 1 if not self._every_s or self._began == self._ended else self._began
        self._wanted.set()
        try:
            async with asyncio.timeout(self._wait_s), self._changed:
                await self._changed.wait_for(lambda: self._ended >= number)
        except TimeoutError:
            raise BoardError(f"the counts were not read within {self._wait_s:g} s") from None
        if self._error is not None:
            raise self._error

    async def stop(self) -> None:
        """No more refreshes."""
        await end([self._task] if self._task is not None else [])

    def _still_good_s(self) -> float:
        """While refreshes succeed, the last one is good until the next; once they fail, for as long as is allowed."""
        return self._stale_s if self._error is not None else 5 * self._every_s + 1.0

    async def _keep(self) -> None:
        while self._monotonic() - self._asked_at < self._forget_s:
            self._wanted.clear()
            self._began += 1
            began_at = self._monotonic()
            try:
                await self._refresh()
            except BoardError as error:
                self._complain(error)
            else:
                self._error, self._good_at = None, self._monotonic()
            async with self._changed:
                self._ended = self._began
                self._changed.notify_all()
            await self._pause(self._monotonic() - began_at)

    def _complain(self, error: BoardError) -> None:
        # The same trouble several times a second is one line.
        if str(error) != str(self._error or ""):
            log.warning("counts not refreshed: %s", error)
        self._error = error

    async def _pause(self, took_s: float) -> None:
        if self._every_s and self._error is None and self._monotonic() - self._asked_at < self._linger_s:
            await asyncio.sleep(max(self._every_s, min(took_s, _LONGEST_REST_S)))
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._seldom_s if self._every_s else self._forget_s):
                await self._wanted.wait()

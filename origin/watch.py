"""A deadline that is moved with every piece of a stream and seldom missed, so moving it must cost next to nothing.

Only the moment is noted; the timer that was set for an earlier one finds, when it fires, that there is time left, and
is set again. So a stream costs one timer per deadline's length instead of one per piece.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf

from origin.reader import OriginError, OriginFailure


class Watch:
    """Calls `missed` with an OriginError once the expected event, or the end of it all, is overdue."""

    def __init__(self, missed: Callable[[OriginError], None]) -> None:
        self._missed = missed
        self._loop = asyncio.get_running_loop()
        self._by = inf
        self._failure = OriginFailure.READ_TIMEOUT
        self._awaited = ""
        self._end_by = inf
        self._timer: asyncio.TimerHandle | None = None

    def limit(self, end_by: float) -> None:
        """From now on all has to be over at `end_by`, in the loop's time."""
        self._end_by = end_by
        self._arm()

    def expect(self, within_s: float, failure: OriginFailure, awaited: str) -> None:
        """The next event has to come within so many seconds. awaited: its name, for the error."""
        self._by = self._loop.time() + within_s
        self._failure = failure
        self._awaited = awaited
        self._arm()

    def pause(self) -> None:
        """Nothing is expected for now but the end of it all."""
        self._by = inf

    def clear(self) -> None:
        """It is over in time; the timer stays for what may come next."""
        self._by = self._end_by = inf

    def stop(self) -> None:
        """Nothing will come any more."""
        self.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        due = min(self._by, self._end_by)
        if self._timer is not None and self._timer.when() > due:
            self._timer.cancel()
            self._timer = None
        if self._timer is None and due < inf:
            self._timer = self._loop.call_at(due, self._fire)

    def _fire(self) -> None:
        self._timer = None
        now = self._loop.time()
        if now >= self._end_by:
            self._missed(OriginError(OriginFailure.EXCHANGE_TIMEOUT, "the exchange took longer than it may in all"))
        elif now >= self._by:
            self._missed(OriginError(self._failure, f"{self._awaited} did not come in time"))
        else:
            self._arm()

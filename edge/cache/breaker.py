"""A breaker: after failures in a row a neighbour is left alone, and asked again once in a while.

    closed --(limit failures in a row)--> open --(probe succeeds)--> closed

While open, `allow` lets one call through per `probe_after_s`; there is no third state to get stuck in when a probe is
cancelled.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from origin.reader import ObjectReader, OriginError, OriginFailure, ReadRequest, ReadResponse


class Breaker:
    """limit: failures in a row that open it; probe_after_s: seconds between two probes; now: monotonic clock."""

    def __init__(self, *, now: Callable[[], float], limit: int, probe_after_s: float) -> None:
        self._now = now
        self._limit = limit
        self._probe_after_s = probe_after_s
        self._failures = 0
        self._probe_at = 0.0

    @property
    def closed(self) -> bool:
        """Whether all is well."""
        return self._failures < self._limit

    def allow(self) -> bool:
        """Whether to call now. While open, true for one caller per probe interval."""
        if self.closed:
            return True
        if self._now() < self._probe_at:
            return False
        self._probe_at = self._now() + self._probe_after_s
        return True

    def succeeded(self) -> None:
        """A call went well: closed."""
        self._failures = 0

    def failed(self, *, decisive: bool = False) -> None:
        """A call failed; `decisive` opens at once (nobody listens)."""
        self._failures = self._limit if decisive else min(self._failures + 1, self._limit)
        if not self.closed:
            self._probe_at = self._now() + self._probe_after_s


# Failures that say something about our side or about one object, not about whether the origin is alive.
_NO_SIGN_OF_DEATH = frozenset({OriginFailure.OVERLOADED, OriginFailure.CONFIGURATION})


class GuardedReader:
    """An ObjectReader behind a breaker: while it is open, `open` fails at once instead of waiting for a dead origin."""

    def __init__(self, reader: ObjectReader, breaker: Breaker) -> None:
        self._reader = reader
        self._breaker = breaker

    @property
    def healthy(self) -> bool:
        """Whether the origin answered lately."""
        return self._breaker.closed

    @asynccontextmanager
    async def open(self, request: ReadRequest) -> AsyncIterator[ReadResponse]:
        """As the reader's; only the head counts as success or failure."""
        if not self._breaker.allow():
            raise OriginError(OriginFailure.UNAVAILABLE, "the origin failed repeatedly and is being left alone")
        answered = False
        try:
            async with self._reader.open(request) as response:
                answered = True
                if response.status < 500:
                    self._breaker.succeeded()
                else:
                    self._breaker.failed()
                yield response
        except OriginError as error:
            if not answered and error.failure not in _NO_SIGN_OF_DEATH:
                self._breaker.failed()
            raise

    async def close(self) -> None:
        """Close the reader."""
        await self._reader.close()

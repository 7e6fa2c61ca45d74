"""An ObjectReader that counts what is asked of one origin and what comes of it. It stands right before the real one.

Behind the breaker, so that what the breaker refuses is no request; one for each parent, so that each has its own sums.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

from edge import metrics
from origin.reader import Chunks, ObjectReader, OriginError, ReadRequest, ReadResponse

_UNANSWERED = "cancelled"  # until there is something to say: whoever asked has gone before the head


class MeteredReader:
    """origin: its name in the metrics, host and port or the bucket. now: monotonic clock, seconds."""

    def __init__(self, reader: ObjectReader, origin: str, now: Callable[[], float]) -> None:
        self._reader = reader
        self._origin = origin
        self._now = now

    @asynccontextmanager
    async def open(self, request: ReadRequest) -> AsyncIterator[ReadResponse]:
        """As the reader's."""
        exchange = _Exchange(self._origin)
        asked_at = self._now()
        try:
            async with self._reader.open(request) as response:
                metrics.ORIGIN_HEAD.observe(self._now() - asked_at, self._origin)
                exchange.result = f"{response.status // 100}xx"
                yield replace(response, chunks=exchange.counted(response.chunks))
        except OriginError as error:
            # With the head in hand the failures of the body are noted where they arise: what else passes here then is
            # thrown in by whoever reads, and no doing of the origin's.
            if exchange.result == _UNANSWERED:
                exchange.result = error.failure.value
            raise
        finally:
            metrics.ORIGIN_REQUESTS.inc(self._origin, exchange.result)

    async def close(self) -> None:
        """Close the reader."""
        await self._reader.close()


class _Exchange:
    """One request and what became of it."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self.result = _UNANSWERED

    async def counted(self, chunks: Chunks) -> Chunks:
        async with aclosing(chunks):
            try:
                async for chunk in chunks:
                    metrics.ORIGIN_BYTES.inc(self._origin, by=len(chunk))
                    yield chunk
            except OriginError as error:
                self.result = error.failure.value
                raise

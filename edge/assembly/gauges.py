"""The levels and totals that nobody tells of when they change, read twice a second and written with the rest."""

from __future__ import annotations

import asyncio
from typing import NoReturn

from edge import metrics
from edge.access_log import AccessLog
from edge.assembly.caching import Caching
from edge.assembly.counting import Counting
from edge.assembly.history import Keeping
from edge.assembly.origins import Origin
from edge.fastlane import Lane
from edge.inflight import InFlight
from edge.overload import Overload


class Gauges:
    """All that is read of one worker."""

    def __init__(
        self,
        cache: Caching,
        origin: Origin,
        counting: Counting | None,
        in_flight: InFlight,
        overload: Overload,
        log: AccessLog | None,
        lane: Lane,
    ) -> None:
        self._lane = lane
        self._cache = cache
        self._origin = origin
        self._counting = counting
        self._began_ms = counting.journal.stamp_ms() if counting is not None else 0
        self._in_flight = in_flight
        self._overload = overload
        self._log = log

    async def keep(self) -> NoReturn:
        """Read and write, again and again, and once more at the end."""
        try:
            while True:
                self._write()
                await asyncio.sleep(metrics.FLUSH_EVERY_S)
        finally:
            self._write()

    def _write(self) -> None:
        self.read()
        metrics.flush()

    def read(self) -> None:
        """As of now."""
        self._lane.flush()
        metrics.LANE_ANSWERS.set(len(self._lane))
        metrics.LANE_BYTES.set(self._lane.used_bytes)
        metrics.IN_FLIGHT.set(self._in_flight.count)
        metrics.TURNED_AWAY.set(self._overload.turned_away)
        self._read_memory()
        self._read_slow_tiers()
        self._read_purging()
        for name, healthy in self._origin.by_name().items():
            metrics.BREAKER_OPEN.set(not healthy, name)
        for name, retries in self._origin.retries().items():
            metrics.ORIGIN_RETRIES.rise_to(retries, name)
        if self._counting is not None:
            self._read_counting(self._counting)
            self._read_history(self._counting.keeping)
        if self._log is not None:
            metrics.LOG_LINES.rise_to(self._log.written, "written")
            metrics.LOG_LINES.rise_to(self._log.dropped, "dropped")

    def _read_counting(self, counting: Counting) -> None:
        now_ms = counting.journal.stamp_ms()
        journal, flushed = counting.journal.state(), counting.flusher.state()
        metrics.JOURNAL_PENDING.set(flushed.pending_bytes)
        metrics.JOURNAL_BYTES.set(journal.size_bytes)
        metrics.JOURNAL_LIMIT_BYTES.set(journal.max_bytes)
        metrics.JOURNAL_LOST.rise_to(journal.lost_bytes)
        metrics.COUNTS_CONNECTED.set(flushed.connected)
        metrics.BATCHES.rise_to(flushed.batches)
        metrics.APPLIED.rise_to(flushed.events)
        metrics.LEFT_OUT.rise_to(flushed.duplicates, "duplicate")
        metrics.LEFT_OUT.rise_to(flushed.in_history, "in_history")
        metrics.REPLAYED.rise_to(flushed.replayed_bytes)
        metrics.COUNTS_CALLS.rise_to(counting.sink.calls.sent)
        metrics.COUNTS_FAILURES.rise_to(flushed.failures)
        oldest_s = 0.0
        for province, state in counting.flusher.by_province().items():
            # Before the first exchange nothing is known of what a predecessor has applied.
            lag_s = max(0, now_ms - (state.complete_ms or self._began_ms)) / 1000
            metrics.WATERMARK_LAG.set(lag_s, province)
            oldest_s = max(oldest_s, lag_s if state.pending_bytes else 0.0)
        metrics.FLUSH_LAG.set(oldest_s)

    def _read_history(self, keeping: Keeping | None) -> None:
        if keeping is None:
            return
        state = keeping.exporter.state()
        metrics.HISTORY_DAYS.rise_to(state.closed)
        metrics.HISTORY_FAILURES.rise_to(state.failures)
        metrics.HISTORY_THROUGH.set(state.through_ms / 1000)

    def _read_memory(self) -> None:
        memory, fetcher = self._cache.memory, self._cache.engine.fetcher
        metrics.FLIGHTS.set(fetcher.in_flight)
        metrics.FILL_BYTES.set(fetcher.fill_bytes)
        metrics.MEMORY_ENTRIES.set(len(memory))
        metrics.MEMORY_BYTES.set(memory.used_bytes)
        metrics.MEMORY_LIMIT_BYTES.set(memory.max_bytes)
        metrics.EVICTIONS.rise_to(memory.evictions, "memory")

    def _read_slow_tiers(self) -> None:
        disk, redis = self._cache.disk, self._cache.redis
        if disk is not None:
            stats = disk.stats
            metrics.DISK_ENTRIES.set(stats.entries)
            metrics.DISK_BYTES.set(stats.bytes)
            metrics.TIER_HEALTHY.set(disk.healthy, "disk")
            metrics.EVICTIONS.rise_to(stats.evictions, "disk")
            metrics.TIER_FAILURES.rise_to(stats.corrupt, "disk", "corrupt")
            metrics.TIER_FAILURES.rise_to(stats.errors, "disk", "error")
            metrics.TIER_FAILURES.rise_to(stats.skipped, "disk", "skipped")
        if redis is not None:
            lost = redis.stats
            metrics.TIER_HEALTHY.set(redis.healthy, "redis")
            metrics.TIER_FAILURES.rise_to(lost.corrupt, "redis", "corrupt")
            metrics.TIER_FAILURES.rise_to(lost.incomplete, "redis", "incomplete")
            metrics.TIER_FAILURES.rise_to(lost.errors, "redis", "error")
            metrics.TIER_FAILURES.rise_to(lost.skipped, "redis", "skipped")

    def _read_purging(self) -> None:
        state = self._cache.purging.follower.state()
        metrics.PURGE_BUS_ATTACHED.set(state.attached)
        metrics.PURGES_UNPLACED.set(state.unplaced)

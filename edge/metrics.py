"""Every metric of a node: one table, one name, one sentence each.

Workers are processes; `prometheus_client` keeps each worker's values in a file of the node's metrics directory
(PROMETHEUS_MULTIPROC_DIR) and adds them up when any worker is scraped. Writing there costs tens of microseconds, more
than answering a hit, so what is counted per request is first added up in memory (`Batched`) and written by `flush`.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest, multiprocess

FLUSH_EVERY_S = 0.5


class Batched:
    """A counter whose increments are plain additions until `flush`."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._pending: dict[tuple[str, ...], int] = {}

    def inc(self, *labels: str, by: int = 1) -> None:
        """Add to the series of these label values, given in the order of the table."""
        self._pending[labels] = self._pending.get(labels, 0) + by

    def flush(self) -> None:
        """Hand over what has been added since the last time."""
        pending, self._pending = self._pending, {}
        for labels, by in pending.items():
            self._counter.labels(*labels).inc(by)


REQUESTS = Batched(
    Counter(
        "smartedu_requests_total",
        "Requests on the public listeners, by route, method and status; `cut` where the client left before the end.",
        ["route", "method", "status"],
    )
)
OUTCOMES = Batched(
    Counter(
        "smartedu_cache_outcomes_total",
        "Answers by how they came about (hit, uri-miss, stale, bypass, error; `stale-` first: too old) and by tier.",
        ["outcome", "tier"],
    )
)
BODY_BYTES = Batched(
    Counter(
        "smartedu_body_bytes_total",
        "Body bytes handed to clients of content, by the tier they came from.",
        ["tier"],
    )
)
EVENTS = Batched(
    Counter(
        "smartedu_view_events_total",
        "View events received, by result: accepted, or the reason of the rejection.",
        ["result"],
    )
)
JOURNAL_PENDING = Gauge(
    "smartedu_journal_pending_bytes",
    "View event journal on this node's disk that is still to be applied in Redis, in bytes.",
    multiprocess_mode="livesum",
)
IN_FLIGHT = Gauge(
    "smartedu_in_flight_requests",
    "Requests being answered now.",
    multiprocess_mode="livesum",
)


def flush() -> None:
    """Write what this worker has counted since the last time."""
    for batched in (REQUESTS, OUTCOMES, BODY_BYTES, EVENTS):
        batched.flush()


def exposition() -> bytes:
    """All workers' metrics in the Prometheus text format, as far as they are flushed. Reads files: for a thread."""
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)

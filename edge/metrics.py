"""Every metric of a node: one table, one name, one sentence each.

Workers are processes; `prometheus_client` keeps each worker's values in a file of the node's metrics directory
(PROMETHEUS_MULTIPROC_DIR) and adds them up when any worker is scraped.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest, multiprocess

REQUESTS = Counter(
    "smartedu_requests_total",
    "Requests on the public listeners, by route, method and status; `cut` where the client left before the end.",
    ["route", "method", "status"],
)
OUTCOMES = Counter(
    "smartedu_cache_outcomes_total",
    "How the cache came by each answer: hit, stale, fill, revalidate, pass or error, and the tier it came from.",
    ["outcome", "tier"],
)
BODY_BYTES = Counter(
    "smartedu_body_bytes_total",
    "Body bytes handed to clients of content, by the tier they came from.",
    ["tier"],
)
EVENTS = Counter(
    "smartedu_view_events_total",
    "View events received, by result: accepted, or the reason of the rejection.",
    ["result"],
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


def exposition() -> bytes:
    """All workers' metrics in the Prometheus text format."""
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)

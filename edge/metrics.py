"""Every metric of a node: one table, one name, one sentence each. `docs/metrics.md` is the same table for operators.

Each label has few values (`LABELS` says which), never what a client can make up: no path, no title, no address. What a
title's figures are follows from the access log, which has the same bytes and outcomes as these sums.
"""

from __future__ import annotations

from typing import Final

from edge.cache.model import Outcome
from edge.cache.purge import PurgeRecord
from edge.cache.recorder import FillEnd
from edge.cache.status import word
from edge.instruments import Batched, Level, Row, Spread, exposition, work_as, worker_ended

__all__ = ["exposition", "flush", "purged", "served", "work_as", "worker_ended"]

FLUSH_EVERY_S = 0.5

LABELS: Final = {
    "route": "the route's pattern, never the path; `none` where nothing matched",
    "method": "`GET`, `HEAD`, `POST`, `PUT`, `PATCH`, `DELETE`, `OPTIONS`, `other`",
    "status": "HTTP status; `cut` where the client left before the end",
    "outcome": (
        "`hit`, or why it went forward, in the words of RFC 9211: `uri-miss`, `vary-miss`, `partial`, `stale`, "
        "`request`, `method`, `bypass`; `error` where nothing could be served; `cut` where the client left before "
        "there was an answer; `stale-` before it for what was too old"
    ),
    "tier": "where it came from: `memory`, `disk`, `redis`, `sibling` (another worker), `origin`; `none` for `cut`",
    "result": "how it ended: the values are in the metric's own row",
    "reason": (
        "shed with 503 and Retry-After: `connections`, `in_flight` (as many as the worker may hold), `overload`; the "
        "request's own fault: `malformed`, `too_large`, `unsupported`, `slow`"
    ),
    "place": "the node's `own` province; `found`; `unknown`; `nonsense`: a proxy's header that names no place",
    "province": "its two-digit code, of those that this node counts for",
    "bot": "what gave it away: `declared` (its User-Agent), `viewer`, `client` (more views a minute than people can)",
    "failure": "the values are in the metric's own row",
    "scope": "`url`, `prefix`, `tag`, `all`",
    "mode": "`hard` (removed), `soft` (made stale), `validate` (not used before the origin has confirmed it)",
    "origin": "its address as configured, `http://…` or `s3://…`",
}

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

# -- requests ------------------------------------------------------------------------------------------------------

REQUESTS = Batched(
    "smartedu_requests_total",
    "requests",
    "Requests on the public listeners that have ended.",
    ["route", "method", "status"],
)
IN_FLIGHT = Level(
    "smartedu_in_flight_requests",
    "requests",
    "Requests being answered, until the last byte has left the process.",
    across="livesum",
)
REFUSALS = Batched(
    "smartedu_refusals_total",
    "requests",
    "Requests, or connections, turned away before any handler saw them.",
    ["reason"],
)
TURNED_AWAY = Level(
    "smartedu_turned_away_ratio",
    "0 to 1",
    "Share of new requests that the most loaded worker turns away now because its event loop is behind.",
    across="livemax",
)
OUTCOMES = Batched(
    "smartedu_cache_outcomes_total",
    "requests",
    "Requests of content, by how their answer came about and from where.",
    ["route", "outcome", "tier"],
)
BODY_BYTES = Batched(
    "smartedu_body_bytes_total",
    "bytes",
    "Body bytes handed to clients of content; those of tier `origin` by all is the byte miss ratio.",
    ["route", "tier"],
)
FIRST_BYTE = Spread(
    "smartedu_time_to_first_byte_seconds",
    "seconds",
    "From the arrival of a request of content to the moment its answer's head is known.",
    ["route", "outcome"],
    bounds=_SECONDS,
)
COLLAPSED = Batched(
    "smartedu_collapsed_requests_total",
    "requests",
    "Requests of content that waited for what another one had asked for already.",
)

# -- the cache -----------------------------------------------------------------------------------------------------

FILLS_STARTED = Batched(
    "smartedu_fills_started_total",
    "fills",
    "Exchanges with the origin begun for the cache.",
)
FILLS_ENDED = Batched(
    "smartedu_fills_ended_total",
    "fills",
    "The same, ended: `stored`, `revalidated` (304), `unstored` (too large, or purged meanwhile), `passed` (not "
    "shared), `failed` (by the origin), `cancelled` (the node stops).",
    ["result"],
)
FLIGHTS = Level(
    "smartedu_flights",
    "flights",
    "Keys being looked up or filled now.",
    across="livesum",
)
FILL_BYTES = Level(
    "smartedu_fill_bytes",
    "bytes",
    "Memory reserved for bodies on their way into the cache.",
    across="livesum",
)
MEMORY_ENTRIES = Level(
    "smartedu_memory_entries",
    "entries",
    "Values in the memory tiers of all workers.",
    across="livesum",
)
MEMORY_BYTES = Level(
    "smartedu_memory_bytes",
    "bytes",
    "What they take, with all that is kept beside them.",
    across="livesum",
)
LANE_ANSWERS = Level(
    "smartedu_lane_answers",
    "entries",
    "Answers that the fast lanes of all workers keep ready.",
    across="livesum",
)
LANE_BYTES = Level(
    "smartedu_lane_bytes",
    "bytes",
    "What they take beside the bodies, which are those of the memory tier.",
    across="livesum",
)
MEMORY_LIMIT_BYTES = Level(
    "smartedu_memory_limit_bytes",
    "bytes",
    "What they may take.",
    across="livesum",
)
DISK_ENTRIES = Level(
    "smartedu_disk_entries",
    "entries",
    "Values in the node's disk tier, as the worker that knows of most has it.",
    across="livemax",
)
DISK_BYTES = Level(
    "smartedu_disk_bytes",
    "bytes",
    "What they take.",
    across="livemax",
)
EVICTIONS = Batched(
    "smartedu_evictions_total",
    "entries",
    "Values that had to make room for others.",
    ["tier"],
)
TIER_HEALTHY = Level(
    "smartedu_tier_healthy",
    "0 or 1",
    "Whether every worker uses the tier; 0 where one has given it up for the time being.",
    ["tier"],
    across="livemin",
)
TIER_FAILURES = Batched(
    "smartedu_tier_failures_total",
    "values",
    "What a slow tier did not do: `error` (it failed or was too slow), `corrupt` (the value was damaged), "
    "`incomplete` (a part of it was gone), `skipped` (not written, since too much was under way).",
    ["tier", "failure"],
)
PURGES = Batched(
    "smartedu_purges_applied_total",
    "purges",
    "Purges carried out, counted once per worker.",
    ["scope", "mode"],
)
PURGE_LAG = Spread(
    "smartedu_purge_lag_seconds",
    "seconds",
    "From the moment a purge was asked for, on whichever node, until a worker had carried it out.",
    bounds=_SECONDS,
)
PURGE_BUS_ATTACHED = Level(
    "smartedu_purge_bus_attached",
    "0 or 1",
    "Whether every worker has carried out all that the purge bus has told; 0 also while the bus is not heard.",
    across="livemin",
)
PURGES_UNPLACED = Level(
    "smartedu_purges_unplaced",
    "purges",
    "Purges asked for here that the bus, and so the other nodes, are still to be told.",
    across="livemax",
)

# -- the origin ----------------------------------------------------------------------------------------------------

ORIGIN_REQUESTS = Batched(
    "smartedu_origin_requests_total",
    "requests",
    "Exchanges with the origin that have ended: `1xx` to `5xx`, the error type of RFC 9209 where it gave no answer or "
    "broke off, `cancelled` where nobody waited for the head any more.",
    ["origin", "result"],
)
ORIGIN_BYTES = Batched(
    "smartedu_origin_bytes_total",
    "bytes",
    "Body bytes received from the origin.",
    ["origin"],
)
ORIGIN_HEAD = Spread(
    "smartedu_origin_time_to_head_seconds",
    "seconds",
    "From asking the origin to the head of its answer, the wait for a place and a connection included.",
    ["origin"],
    bounds=_SECONDS,
)
ORIGIN_RETRIES = Batched(
    "smartedu_origin_retries_total",
    "requests",
    "Requests sent to one of several parents because they had failed before, there or at another one.",
    ["origin"],
)
BREAKER_OPEN = Level(
    "smartedu_origin_breaker_open",
    "0 or 1",
    "Whether a worker leaves the origin alone, but for probes, since it failed repeatedly.",
    ["origin"],
    across="livemax",
)

# -- logs and view events ------------------------------------------------------------------------------------------

LOG_LINES = Batched(
    "smartedu_access_log_lines_total",
    "lines",
    "Lines of the access log: `written`, or `dropped` because the disk or the reader of the log was too slow or full.",
    ["result"],
)
VIEW_BODIES = Batched(
    "smartedu_view_bodies_total",
    "requests",
    "Requests that bring view events: `taken`, or why nothing of them was: `limited` (429), `not_json`, `not_events`, "
    "`too_many`, `too_large`, `type`, `encoding`, `slow`, `broken`, `no_journal`, `journal_full`, `journal_busy`, "
    "`journal_slow`, `journal_fault`, `journal_closed`.",
    ["result"],
)
EVENTS = Batched(
    "smartedu_view_events_total",
    "events",
    "View events received: `accepted`, or the reason of the rejection.",
    ["result"],
)
BOT_EVENTS = Batched(
    "smartedu_view_bot_events_total",
    "events",
    "Of the accepted ones, those that are counted as a bot's and in no figure of people.",
    ["bot"],
)
VIEW_PLACES = Batched(
    "smartedu_view_places_total",
    "events",
    "The accepted ones, by how the place of their viewers was found.",
    ["place"],
)
JOURNAL_SYNC = Spread(
    "smartedu_journal_sync_seconds",
    "seconds",
    "From handing a group of accepted events to the disk to its confirmation (fsync): what a 202 waits for.",
    bounds=_SECONDS,
)
JOURNAL_WRITTEN = Batched(
    "smartedu_journal_written_bytes_total",
    "bytes",
    "What was written to the journal with them.",
)
JOURNAL_PENDING = Level(
    "smartedu_journal_pending_bytes",
    "bytes",
    "View event journal on this node's disk that is still to be applied in Redis.",
    across="livesum",
)
JOURNAL_BYTES = Level(
    "smartedu_journal_bytes",
    "bytes",
    "View event journal on this node's disk, with what is kept although it is applied.",
    across="livesum",
)
JOURNAL_LIMIT_BYTES = Level(
    "smartedu_journal_limit_bytes",
    "bytes",
    "What it may take; beyond it new events are refused with 503.",
    across="livesum",
)
JOURNAL_LOST = Batched(
    "smartedu_journal_lost_bytes_total",
    "bytes",
    "Damaged or missing parts of the journal that had to be stepped over: accepted events that cannot be counted.",
)
FLUSH_LAG = Level(
    "smartedu_flush_lag_seconds",
    "seconds",
    "How long ago, at most, the oldest event was accepted that is still to be applied in Redis; 0 where all are.",
    across="livemax",
)
WATERMARK_LAG = Level(
    "smartedu_watermark_lag_seconds",
    "seconds",
    "How far the time up to which all that this node has accepted for a province is applied lies behind now.",
    ["province"],
    across="livemax",
)
COUNTS_CONNECTED = Level(
    "smartedu_counts_connected",
    "0 or 1",
    "Whether the last exchange of every worker with the Redis for counters went well, for every province.",
    across="livemin",
)
BATCHES = Batched(
    "smartedu_counts_batches_total",
    "batches",
    "Batches of view events that were applied in Redis, or told it that there were none.",
)
APPLIED = Batched(
    "smartedu_counts_applied_events_total",
    "events",
    "View events in them, those left out included; what was replayed is in it again.",
)
LEFT_OUT = Batched(
    "smartedu_counts_left_out_events_total",
    "events",
    "View events that were not counted: `duplicate` (the same id within 10 minutes), `in_history` (of a day that is "
    "closed, and has them).",
    ["result"],
)
REPLAYED = Batched(
    "smartedu_counts_replayed_bytes_total",
    "bytes",
    "View event journal that was sent again, since Redis had lost its last seconds.",
)
COUNTS_CALLS = Batched(
    "smartedu_counts_redis_calls_total",
    "commands",
    "Commands sent to the Redis for counters to apply, to ask for watermarks and for what is on its disk.",
)
COUNTS_FAILURES = Batched(
    "smartedu_counts_failures_total",
    "batches",
    "Tries to apply a batch, or to learn the watermark, that failed and were made again.",
)
HISTORY_DAYS = Batched(
    "smartedu_history_days_total",
    "days",
    "Days of a province that were brought into object storage and closed; again after a correction.",
)
HISTORY_FAILURES = Batched(
    "smartedu_history_failures_total",
    "rounds",
    "Looks for days that are over after which one of them was still not in object storage; the log says why.",
)
HISTORY_THROUGH = Level(
    "smartedu_history_through_seconds",
    "seconds",
    "When the last closed day of the province that is furthest behind ended, since 1970; 0 before there is one.",
    across="livemax",
)

TABLE: Final = tuple(metric for metric in globals().values() if isinstance(metric, Batched | Spread | Level))
"""All of them, in this order."""


def rows() -> list[Row]:
    """The table's lines."""
    return [metric.row for metric in TABLE]


def served(route: str, outcome: Outcome | None, body_bytes: int, first_byte_s: float | None, *, times: int = 1) -> None:
    """Count one request of content that is over. body_bytes: what was handed to its connection, also if it broke off.

    times: so many, all alike. outcome and first_byte_s are None for one whose client left before there was an answer.
    """
    if outcome is None or first_byte_s is None:
        OUTCOMES.inc(route, "cut", "none")
        return
    said, tier = word(outcome), outcome.tier.value
    OUTCOMES.inc(route, said, tier, by=times)
    BODY_BYTES.inc(route, tier, by=body_bytes * times)
    FIRST_BYTE.observe(first_byte_s, route, said, times=times)
    if outcome.collapsed:
        COLLAPSED.inc()


def purged(record: PurgeRecord, lag_s: float) -> None:
    """Count one purge that this worker has carried out, so many seconds after it was asked for."""
    PURGES.inc(record.scope.value, record.kind.name.lower())
    PURGE_LAG.observe(lag_s)


def journal_group(seconds: float, size: int) -> None:
    """Count one group of accepted events that the disk has confirmed, or has refused."""
    JOURNAL_SYNC.observe(seconds)
    JOURNAL_WRITTEN.inc(by=size)


class Fills:
    """Counts the cache's fills: its `edge.cache.recorder.Recorder`."""

    def fill_began(self) -> None:
        """One more."""
        FILLS_STARTED.inc()

    def fill_ended(self, result: FillEnd) -> None:
        """One more has ended, and how."""
        FILLS_ENDED.inc(result.value)


def flush() -> None:
    """Write what this worker has counted since the last time."""
    for metric in TABLE:
        metric.flush()

"""Events -> counts by (kind, day, resource), ready to be applied in one server-side call.

A tally keeps, besides each count, the ids it is made of: only the province's Redis knows which of them another writer
has already counted, so the subtraction happens there, in the same atomic call. Pure: records in, a `Batch` out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from edge.counters.event import Kind
from edge.counters.record import NO_VIEWER, CountedEvent

DEDUP_BUCKET_MS: Final = 300_000
SEALED: Final = "sealed"  # the mover of a journal to which nothing is added
_DAY_MINUTES: Final = 1440
_UTC8_MINUTES: Final = 480
_NO_RESOURCE: Final = b"*"  # not a legal resource id, so it can't be mistaken for one


@dataclass(frozen=True, slots=True)
class Cell:
    """Events that are counted in the same place: `events` ids of the batch, in turn, belong to it.

    day: YYYYMMDD in UTC+8. resource: `*` for visits.
    """

    kind: int
    day: str
    resource: bytes
    events: int


@dataclass(frozen=True, slots=True)
class Audience:
    """Viewers of one resource on one day, as concatenated 8-byte digests."""

    day: str
    resource: bytes
    viewers: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """Everything between two journal positions of one writer, added up.

    expect: the watermark the province must hold for the batch to be applied; to: the watermark it sets.
    complete_ms: everything this writer accepted before that time is applied once the batch is.
    bucket: number of the 5-minute span of acceptance the events belong to; ids are remembered by bucket.
    ids: concatenated 12-byte digests, cell after cell, each id once.
    watched_ms: one number for each id of the watch cells, in turn.
    closing: the writer has nothing left and stops; it no longer holds the province's completeness back.
    place: node and slot of the writer, for a successor whose predecessor's disk was lost; empty when that is unknown.
    mover: names the process that sends, so that another one with the same writer is noticed; or SEALED.
    """

    writer: str
    expect: int
    to: int
    complete_ms: int
    bucket: int = 0
    cells: tuple[Cell, ...] = ()
    ids: bytes = b""
    watched_ms: tuple[int, ...] = ()
    audiences: tuple[Audience, ...] = ()
    closing: bool = False
    place: str = ""
    mover: str = ""


@dataclass(frozen=True, slots=True)
class Counts:
    """The sealed content of a tally, without the positions it stands for."""

    cells: tuple[Cell, ...]
    ids: bytes
    watched_ms: tuple[int, ...]
    audiences: tuple[Audience, ...]


@lru_cache(maxsize=64)
def _day_name(day: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)).strftime("%Y%m%d")


def day_of(minute: int) -> str:
    """The day in UTC+8, YYYYMMDD, of a minute since the epoch."""
    return _day_name((minute + _UTC8_MINUTES) // _DAY_MINUTES)


class Tally:
    """Adds events up until it is sealed. Of an id that comes twice, the first event counts."""

    __slots__ = ("_audiences", "_cells", "_seen", "_watched", "duplicates")

    def __init__(self) -> None:
        self._seen: set[bytes] = set()
        self._cells: dict[tuple[int, str, bytes], list[bytes]] = {}
        self._watched: dict[tuple[int, str, bytes], list[int]] = {}
        self._audiences: dict[tuple[str, bytes], set[bytes]] = {}
        self.duplicates = 0

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, event: CountedEvent) -> None:
        """Count one event."""
        event_id, kind, minute, resource, viewer, watched_ms = event
        if event_id in self._seen:
            self.duplicates += 1
            return
        self._seen.add(event_id)
        day = day_of(minute)
        key = (kind, day, resource or _NO_RESOURCE)
        cell = self._cells.get(key)
        if cell is None:
            self._cells[key] = [event_id]
        else:
            cell.append(event_id)
        if kind == Kind.WATCH:
            self._watched.setdefault(key, []).append(watched_ms)
        if resource and viewer != NO_VIEWER:
            self._audiences.setdefault((day, resource), set()).add(viewer)

    def seal(self) -> Counts:
        """What has been added up, in the form the sink sends."""
        return Counts(
            cells=tuple(Cell(kind, day, resource, len(ids)) for (kind, day, resource), ids in self._cells.items()),
            ids=b"".join([b"".join(ids) for ids in self._cells.values()]),
            watched_ms=tuple(ms for key in self._cells for ms in self._watched.get(key, ())),
            audiences=tuple(
                Audience(day, resource, b"".join(viewers)) for (day, resource), viewers in self._audiences.items()
            ),
        )

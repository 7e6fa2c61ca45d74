"""Events -> counts by (kind, minute, country, agent, resource), ready to be applied in one server-side call.

A tally keeps, besides each count, the ids it is made of: only the province's Redis knows which of them another writer
has already counted, so the subtraction happens there, in the same atomic call. Pure: records in, a `Batch` out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

from edge.counters.counting_day import DAY_MINUTES, UTC8_MINUTES, day_name
from edge.counters.event import Agent, Kind
from edge.counters.record import NO_VIEWER, Correction, CountedEvent

DEDUP_BUCKET_MS: Final = 300_000
SEALED: Final = "sealed"  # the mover of a journal to which nothing is added
_WATCH: Final = int(Kind.WATCH)  # compared to what was read: an int is compared twice as quickly as a member
_NO_RESOURCE: Final = b"*"  # not a legal resource id, so it can't be mistaken for one


class Group(NamedTuple):
    """Events of one kind, minute, country and agent.

    minute: event time in minutes since the epoch. cells: each resource (`*` for visits) with its number of events; so
    many ids of the batch, in turn, belong to it.
    """

    kind: int
    minute: int
    country: str
    agent: int
    cells: tuple[tuple[bytes, int], ...]


class Entry(NamedTuple):
    """A correction to be booked. at_ms: when it was accepted."""

    correction: Correction
    at_ms: int


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
    ids: concatenated 12-byte digests, group after group and cell after cell, each id once.
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
    groups: tuple[Group, ...] = ()
    ids: bytes = b""
    watched_ms: tuple[int, ...] = ()
    audiences: tuple[Audience, ...] = ()
    corrections: tuple[Entry, ...] = ()
    closing: bool = False
    place: str = ""
    mover: str = ""


@dataclass(frozen=True, slots=True)
class Counts:
    """The sealed content of a tally, without the positions it stands for."""

    groups: tuple[Group, ...]
    ids: bytes
    watched_ms: tuple[int, ...]
    audiences: tuple[Audience, ...]
    corrections: tuple[Entry, ...]


@lru_cache(maxsize=64)
def _day_name(day: int) -> str:
    return day_name(date(1970, 1, 1) + timedelta(days=day))


def day_of(minute: int) -> str:
    """The day in UTC+8, YYYYMMDD, of a minute since the epoch."""
    return _day_name((minute + UTC8_MINUTES) // DAY_MINUTES)


class _Cells(NamedTuple):
    """A group while it is added up: the ids of each resource, and the milliseconds of each id, where it is of watch."""

    ids: dict[bytes, list[bytes]]
    watched_ms: dict[bytes, list[int]]


class Tally:
    """Adds events up until it is sealed. Of an id that comes twice, the first event counts."""

    __slots__ = ("_audiences", "_entries", "_groups", "_seen", "duplicates")

    def __init__(self) -> None:
        self._seen: set[bytes] = set()
        self._groups: dict[tuple[str, int], dict[tuple[int, int], _Cells]] = {}
        self._audiences: dict[int, dict[bytes, set[bytes]]] = {}
        self._entries: list[Entry] = []
        self.duplicates = 0

    def __len__(self) -> int:
        return len(self._seen) + len(self._entries)

    def add(self, events: Iterable[CountedEvent], country: str, agent: Agent) -> None:
        """Count the events of one record."""
        seen, groups = self._seen, self._groups.setdefault((country, agent), {})
        for event_id, kind, minute, resource, viewer, watched_ms in events:
            if event_id in seen:
                self.duplicates += 1
                continue
            seen.add(event_id)
            cells = groups.get((kind, minute))
            if cells is None:
                cells = groups[kind, minute] = _Cells({}, {})
            name = resource or _NO_RESOURCE
            ids = cells[0].get(name)
            if ids is None:
                cells[0][name] = [event_id]
                cells[1][name] = [watched_ms]
            else:
                ids.append(event_id)
                if kind == _WATCH:
                    cells[1][name].append(watched_ms)
            if viewer != NO_VIEWER and resource and not agent:
                self._attend((minute + UTC8_MINUTES) // DAY_MINUTES, resource, viewer)

    def _attend(self, day: int, resource: bytes, viewer: bytes) -> None:
        by_resource = self._audiences.get(day)
        if by_resource is None:
            by_resource = self._audiences[day] = {}
        audience = by_resource.get(resource)
        if audience is None:
            by_resource[resource] = {viewer}
        else:
            audience.add(viewer)

    def correct(self, correction: Correction, at_ms: int) -> None:
        """Take a correction in, accepted at `at_ms`."""
        self._entries.append(Entry(correction, at_ms))

    def seal(self) -> Counts:
        """What has been added up, in the form the sink sends."""
        groups, ids, watched_ms = [], [], []
        for (country, agent), by_minute in self._groups.items():
            for (kind, minute), cells in by_minute.items():
                sizes = tuple([(resource, len(some)) for resource, some in cells.ids.items()])
                groups.append(Group(kind, minute, country, agent, sizes))
                ids += [b"".join(some) for some in cells.ids.values()]
                if kind == _WATCH:
                    watched_ms += [ms for resource in cells.ids for ms in cells.watched_ms[resource]]
        audiences = tuple(
            Audience(_day_name(day), resource, b"".join(viewers))
            for day, by_resource in self._audiences.items()
            for resource, viewers in by_resource.items()
        )
        return Counts(tuple(groups), b"".join(ids), tuple(watched_ms), audiences, tuple(self._entries))

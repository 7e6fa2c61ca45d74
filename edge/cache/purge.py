"""Purges as values: what was purged, and what that means for something stored. No clock, no I/O.

A node numbers the purges it hears of, one after the other, whatever they name. That number is its *position*. What is
stored carries the position at which the origin had not yet been asked for it (its *mark*); every purge after the mark
that names it counts. So a purge during a fill wins over that fill, and nothing need be looked for on disk or in Redis:
what was purged is found out when it is met.

The strength of a purge (`Kind`) is ordered. SOFT makes stale: the grace of stale-while-revalidate and stale-if-error
stays. VALIDATE is what is left of purges that are no longer known one by one (folded, missed, damaged): nobody can say
whom they named, so nothing older is served before the origin has confirmed it. HARD removes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Final, NamedTuple

import orjson

MAX_VALUE_CHARS: Final = 4096


class Scope(Enum):
    """What a purge names. The values are the members of the request and the labels of metrics."""

    URL = "url"  # one canonical URI: all its variants and blocks
    PREFIX = "prefix"  # every canonical URI that begins with it
    TAG = "tag"  # everything that carries the tag
    ALL = "all"  # everything


class Kind(IntEnum):
    """How strong a purge is; the stronger wins."""

    SOFT = 1  # stale from now on, grace kept
    VALIDATE = 2  # not to be used before the origin has confirmed it
    HARD = 3  # gone


@dataclass(frozen=True, slots=True)
class PurgeRecord:
    """One purge. id: unique, the same on every node. value: '' for ALL. at: when it was asked for, wall clock (s)."""

    id: str
    scope: Scope
    value: str
    kind: Kind
    at: float
    node: str


def encode(record: PurgeRecord) -> bytes:
    """The record as it travels: a JSON array."""
    return orjson.dumps(to_fields(record))


def decode(payload: bytes) -> PurgeRecord:
    """The record in `payload`. Raises ValueError when there is none."""
    return from_fields(orjson.loads(payload))


def to_fields(record: PurgeRecord) -> list[object]:
    """The record's members as JSON values."""
    return [record.id, record.scope.value, record.value, record.kind.value, record.at, record.node]


def from_fields(fields: object) -> PurgeRecord:
    """The record made of the array's members. Raises ValueError when they are not one's."""
    match fields:
        case [str(identity), str(scope), str(value), int(kind), float() | int() as at, str(node)]:
            return PurgeRecord(identity, Scope(scope), value, Kind(kind), float(at), node)
    raise ValueError("not a purge record")


class Numbered(NamedTuple):
    """A record and its position in this node's log."""

    seq: int
    record: PurgeRecord


_HARD: Final = (Kind.HARD,)
_SOFT: Final = (Kind.SOFT,)


class _Latest:
    """The last purge of each value of one scope. A soft one that a hard one followed says nothing any more."""

    __slots__ = ("hard", "last", "soft")

    def __init__(self) -> None:
        self.last = 0
        self.hard: dict[str, int] = {}
        self.soft: dict[str, int] = {}

    def note(self, value: str, kind: Kind, seq: int) -> None:
        self.last = seq
        if kind is Kind.SOFT:
            self.soft[value] = seq
        else:
            self.hard[value] = seq
            self.soft.pop(value, None)

    def verdict(self, value: str, since: int) -> tuple[Kind, ...]:
        if self.hard.get(value, 0) > since:
            return _HARD
        return _SOFT if self.soft.get(value, 0) > since else ()

    def forget(self, hard_to: int, soft_to: int) -> None:
        """Drop what is not after these positions."""
        self.hard = {value: seq for value, seq in self.hard.items() if seq > hard_to}
        self.soft = {value: seq for value, seq in self.soft.items() if seq > soft_to}

    def __len__(self) -> int:
        return len(self.hard) + len(self.soft)


class PurgeTable:
    """What one worker knows of purges.

    Of each thing purged only the last purge counts, so a table holds at most one number for each value and kind. A URI
    is compared with purged prefixes through their lengths: there are few different ones, and of those only the ones
    with a purge after the mark are looked at.
    """

    def __init__(self) -> None:
        self.position = 0
        self._urls = _Latest()
        self._tags = _Latest()
        self._prefixes = _Latest()
        self._lengths: dict[int, int] = {}  # of purged prefixes -> position of the last purge of that length
        self._all = dict.fromkeys(Kind, 0)

    def __len__(self) -> int:
        """How many numbers it holds for values."""
        return len(self._urls) + len(self._tags) + len(self._prefixes)

    def apply(self, record: PurgeRecord, seq: int) -> None:
        """Take over one purge, in the order of positions; one that is not after `position` is known already."""
        if seq <= self.position:
            return
        self.position = seq
        match record.scope:
            case Scope.ALL:
                self._apply_all(record.kind, seq)
            case Scope.URL:
                self._urls.note(record.value, record.kind, seq)
            case Scope.TAG:
                self._tags.note(record.value, record.kind, seq)
            case Scope.PREFIX:
                self._prefixes.note(record.value, record.kind, seq)
                self._lengths[len(record.value)] = seq

    def _apply_all(self, kind: Kind, seq: int) -> None:
        self._all[kind] = seq
        self._forget(seq if kind is Kind.HARD else 0, seq)

    def fold(self, *, position: int, soft: int, validate: int) -> None:
        """Purges up to these positions (of the kind SOFT, of the others) are no longer known one by one.

        position: of the log, where it is ahead of ours because everything in between was folded.
        """
        self.position = max(self.position, position)
        self._all[Kind.SOFT] = max(self._all[Kind.SOFT], soft)
        self._all[Kind.VALIDATE] = max(self._all[Kind.VALIDATE], validate)
        self._forget(validate, soft)

    def _forget(self, hard_to: int, soft_to: int) -> None:
        for latest in (self._urls, self._tags, self._prefixes):
            latest.forget(hard_to, soft_to)
        self._lengths = {}
        for known in (self._prefixes.hard, self._prefixes.soft):
            for value, seq in known.items():
                self._lengths[len(value)] = max(seq, self._lengths.get(len(value), 0))

    def verdict(self, uri: str, tags: Iterable[str], since: int) -> Kind | None:
        """What the purges after position `since` say about what is stored under `uri` with these tags."""
        if since >= self.position:
            return None
        return max(self._about(uri, tags, since), default=None)

    def _about(self, uri: str, tags: Iterable[str], since: int) -> list[Kind]:
        said = [kind for kind, seq in self._all.items() if seq > since]
        if self._urls.last > since:
            said += self._urls.verdict(uri, since)
        if self._tags.last > since:
            for tag in tags:
                said += self._tags.verdict(tag, since)
        if self._prefixes.last > since:
            for length, seq in self._lengths.items():
                if seq > since and length <= len(uri):
                    said += self._prefixes.verdict(uri[:length], since)
        return said


class Compacted(NamedTuple):
    """Records that are still known one by one, and up to where the others are folded (as in `PurgeTable.fold`)."""

    kept: list[Numbered]
    soft: int
    validate: int


def compact(records: Sequence[Numbered], keep: int) -> Compacted:
    """At most the newest `keep` of the records that a later one does not make superfluous. records: in order."""
    kept = _needed(records)
    cut = max(0, len(kept) - keep)
    folded, kept = kept[:cut], kept[cut:]
    soft = max((seq for seq, record in folded if record.kind is Kind.SOFT), default=0)
    validate = max((seq for seq, record in folded if record.kind is not Kind.SOFT), default=0)
    return Compacted(kept, soft, validate)


def _needed(records: Sequence[Numbered]) -> list[Numbered]:
    """Without those that a later one says as strongly of the same thing, or of everything."""
    strongest: dict[tuple[Scope, str], Kind] = {}
    of_all: Kind | None = None
    needed: list[Numbered] = []
    for numbered in reversed(records):
        record = numbered.record
        if of_all is not None and record.kind <= of_all:
            continue
        target = (record.scope, record.value)
        if record.kind <= strongest.get(target, 0):
            continue
        strongest[target] = record.kind
        if record.scope is Scope.ALL:
            of_all = record.kind
        needed.append(numbered)
    needed.reverse()
    return needed

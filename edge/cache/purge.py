"""Purges as values: what was purged, and what that means for something stored. No clock, no I/O.

A node numbers the purges it hears of, one after the other, whatever they name. That number is its *position*. What is
stored carries the position at which the origin had not yet been asked for it (its *mark*); every purge after the mark
that names it counts. So a purge during a fill wins over that fill, and nothing need be looked for on disk or in Redis:
what was purged is found out when it is met.

The strength of a purge (`Kind`) is ordered. SOFT makes stale: the grace of stale-while-revalidate and stale-if-error
stays. VALIDATE is what is left of purges that are no longer known one by one (folded, missed, damaged): nobody can say
whom they named, so nothing older is served before the origin has confirmed it. HARD removes.

What a soft purge names is stale from the moment it was asked for (`PurgeRecord.at`), whenever it is met: so its grace
does not begin anew on a slow tier. Of several soft purges after the mark the earliest counts (`softened_at`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum, IntEnum
from math import inf
from typing import Final, NamedTuple, TypeAlias

import orjson

MAX_VALUE_CHARS: Final = 4096
UNKNOWN: Final = -inf
"""When a soft purge was asked for of which nobody can tell."""
SOFT_RUNS: Final = 3
"""How many soft purges of one thing are told apart; the older ones all count as the first of them."""


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


class _Run(NamedTuple):
    """Soft purges of one thing, in a row. seq: of the last of them; at: when the first of them was asked for."""

    seq: int
    at: float


_Runs: TypeAlias = tuple[_Run, ...]

_HARD: Final = (Kind.HARD,)
_SOFT: Final = (Kind.SOFT,)
_NEVER: Final = (_Run(0, inf),)


def _longer(runs: _Runs, record: PurgeRecord, seq: int) -> _Runs:
    """With one more. Of too many the two oldest become one: that may end a grace too early, and never too late."""
    runs = (*runs, _Run(seq, record.at))
    if len(runs) <= SOFT_RUNS:
        return runs
    first, second, *others = runs
    return (_Run(second.seq, min(first.at, second.at)), *others)


def _earliest(runs: _Runs, since: int) -> float:
    """When the first of those after `since` was asked for. Not the first by position: a node may hear of one late."""
    return min((run.at for run in runs if run.seq > since), default=inf)


class _Latest:
    """The last purges of each value of one scope. A soft one that a hard one followed says nothing any more."""

    __slots__ = ("hard", "last", "soft")

    def __init__(self) -> None:
        self.last = 0
        self.hard: dict[str, int] = {}
        self.soft: dict[str, _Runs] = {}

    def note(self, record: PurgeRecord, seq: int) -> None:
        self.last = seq
        value = record.value
        if record.kind is Kind.SOFT:
            self.soft[value] = _longer(self.soft.get(value, ()), record, seq)
        else:
            self.hard[value] = seq
            self.soft.pop(value, None)

    def verdict(self, value: str, since: int) -> tuple[Kind, ...]:
        if self.hard.get(value, 0) > since:
            return _HARD
        return _SOFT if self.soft.get(value, _NEVER)[-1].seq > since else ()

    def softened_at(self, value: str, since: int) -> float:
        return _earliest(self.soft.get(value, ()), since)

    def forget(self, hard_to: int, soft_to: int) -> None:
        """Drop what is not after these positions."""
        self.hard = {value: seq for value, seq in self.hard.items() if seq > hard_to}
        self.soft = {value: runs for value, runs in self.soft.items() if runs[-1].seq > soft_to}

    def __len__(self) -> int:
        return len(self.hard) + len(self.soft)


class PurgeTable:
    """What one worker knows of purges.

    Of each thing purged only the last purges count, so for each value a table holds at most one position of a hard
    purge, and `SOFT_RUNS` positions and times of soft ones. A URI is compared with purged prefixes through their
    lengths: there are few different ones, and of those only the ones with a purge after the mark are looked at.
    """

    def __init__(self) -> None:
        self.position = 0
        self._urls = _Latest()
        self._tags = _Latest()
        self._prefixes = _Latest()
        self._lengths: dict[int, int] = {}  # of purged prefixes -> position of the last purge of that length
        self._all = dict.fromkeys(Kind, 0)
        self._all_soft: _Runs = ()

    def __len__(self) -> int:
        """How many values it holds something of, those with both kinds twice."""
        return len(self._urls) + len(self._tags) + len(self._prefixes)

    def apply(self, record: PurgeRecord, seq: int) -> None:
        """Take over one purge, in the order of positions; one that is not after `position` is known already."""
        if seq <= self.position:
            return
        self.position = seq
        match record.scope:
            case Scope.ALL:
                self._apply_all(record, seq)
            case Scope.URL:
                self._urls.note(record, seq)
            case Scope.TAG:
                self._tags.note(record, seq)
            case Scope.PREFIX:
                self._prefixes.note(record, seq)
                self._lengths[len(record.value)] = seq

    def _apply_all(self, record: PurgeRecord, seq: int) -> None:
        """A soft one makes no other superfluous: what an earlier one named has been stale for longer."""
        self._all[record.kind] = seq
        if record.kind is Kind.SOFT:
            self._all_soft = _longer(self._all_soft, record, seq)
        else:
            self._forget(seq if record.kind is Kind.HARD else 0, seq)

    def fold(self, *, position: int, soft: int, validate: int) -> None:
        """Purges up to these positions (of the kind SOFT, of the others) are no longer known one by one, nor when.

        position: of the log, where it is ahead of ours because everything in between was folded.
        """
        self.position = max(self.position, position)
        self._all[Kind.SOFT] = max(self._all[Kind.SOFT], soft)
        if soft:
            self._all_soft = (_Run(soft, UNKNOWN), *(run for run in self._all_soft if run.seq > soft))
        self._all[Kind.VALIDATE] = max(self._all[Kind.VALIDATE], validate)
        self._forget(validate, soft)

    def _forget(self, hard_to: int, soft_to: int) -> None:
        for latest in (self._urls, self._tags, self._prefixes):
            latest.forget(hard_to, soft_to)
        self._lengths = {}
        last_soft = {value: runs[-1].seq for value, runs in self._prefixes.soft.items()}
        for known in (self._prefixes.hard, last_soft):
            for value, seq in known.items():
                self._lengths[len(value)] = max(seq, self._lengths.get(len(value), 0))

    def verdict(self, uri: str, tags: Iterable[str], since: int) -> Kind | None:
        """What the purges after position `since` say about what is stored under `uri` with these tags."""
        if since >= self.position:
            return None
        return max(self._about(uri, tags, since), default=None)

    def softened_at(self, uri: str, tags: Iterable[str], since: int) -> float:
        """When the earliest soft purge after position `since` that names it was asked for (wall clock, s).

        UNKNOWN when nobody can tell, inf when there is none.
        """
        named = [_earliest(self._all_soft, since), self._urls.softened_at(uri, since)]
        named += [self._tags.softened_at(tag, since) for tag in tags]
        for length, seq in self._lengths.items():
            if seq > since and length <= len(uri):
                named.append(self._prefixes.softened_at(uri[:length], since))
        return min(named)

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


_Thing: TypeAlias = tuple[Scope, str]


def compact(records: Sequence[Numbered], keep: int) -> Compacted:
    """At most the newest `keep` of the records that a later one does not make superfluous. records: in order."""
    kept = _needed(records)
    cut = max(0, len(kept) - keep)
    folded, kept = kept[:cut], kept[cut:]
    soft = max((seq for seq, record in folded if record.kind is Kind.SOFT), default=0)
    validate = max((seq for seq, record in folded if record.kind is not Kind.SOFT), default=0)
    return Compacted(_dated_back(kept, folded), soft, validate)


def _thing(record: PurgeRecord) -> _Thing:
    return record.scope, record.value


def _needed(records: Sequence[Numbered]) -> list[Numbered]:
    """Without those that a later one says as strongly of the same thing, or of everything.

    A soft one does not make an earlier soft one superfluous, which tells when the grace began.
    """
    strongest: dict[_Thing, Kind] = {}
    of_all: Kind | None = None
    needed: list[Numbered] = []
    soft: dict[_Thing, list[Numbered]] = {}
    for numbered in reversed(records):
        record, thing = numbered.record, _thing(numbered.record)
        said = max(of_all or 0, strongest.get(thing, 0))
        if record.kind < said or (record.kind == said and record.kind is not Kind.SOFT):
            continue
        strongest[thing] = record.kind
        if record.scope is Scope.ALL:
            of_all = record.kind
        if record.kind is Kind.SOFT:
            soft.setdefault(thing, []).append(numbered)
        else:
            needed.append(numbered)
    for newest_first in soft.values():
        needed += newest_first[:SOFT_RUNS] + newest_first[SOFT_RUNS:][-1:]
    return sorted(needed, key=lambda numbered: numbered.seq)


def _dated_back(kept: Sequence[Numbered], folded: Sequence[Numbered]) -> list[Numbered]:
    """With the first soft one of each thing asked for no later than those of it that were folded.

    Soft ones in between may have been left out: nobody can tell any more when they were. So a grace ends too early
    rather than too late.
    """
    earliest: dict[_Thing, float] = {}
    for _, record in folded:
        if record.kind is Kind.SOFT:
            earliest[_thing(record)] = min(record.at, earliest.get(_thing(record), record.at))
    dated = []
    for seq, record in kept:
        at = earliest.pop(_thing(record), record.at) if record.kind is Kind.SOFT else record.at
        dated.append(Numbered(seq, record if at >= record.at else replace(record, at=at)))
    return dated

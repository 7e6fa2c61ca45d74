"""The lines of a node's log of purges, and what they add up to. No I/O: bytes in, values out, and back.

A line is the crc32 of the rest in hexadecimal, a space, and a JSON array:

    ["base", position, soft, validate, bus, heard, heard id, folded epoch]   first line: what came before this file
    ["purge", position, record]            one purge; positions only grow
    ["bus", bus, birth, id]                epochs are this bus's from here on; it began with `id` at epoch `birth`
    ["place", epoch, id]                   the bus has that record at this epoch, and nothing up to it is missing here
    ["skip", epoch, position]              what the bus had up to this epoch was missed; that record stands for it
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

import orjson

from edge.cache.purge import Compacted, Kind, Numbered, PurgeRecord, Scope, compact, from_fields, to_fields

LOCAL: Final = "local:"
"""What the id of a record begins with that means something to this node alone: no bus is told."""
MISSED: Final = LOCAL + "missed:"
DAMAGED: Final = LOCAL + "damaged:"

_CHECKSUM_CHARS: Final = 8


class Floor(NamedTuple):
    """The log begins here: what came before is not told one by one.

    position: all that follow have a higher one. soft, validate: up to where records of the kind SOFT, and others, are
    folded. bus, heard, heard_id: as in `Ledger`. folded: epochs up to it are not told one by one.
    """

    position: int
    soft: int = 0
    validate: int = 0
    bus: str = ""
    heard: int = 0
    heard_id: str = ""
    folded: int = 0


class Adopted(NamedTuple):
    """Epochs are of this bus from here on; nothing of it is heard but its beginning."""

    bus: str
    birth: int
    genesis: str


class Placed(NamedTuple):
    """The bus has the record of that id, at position `seq` here, at this epoch."""

    epoch: int
    seq: int
    id: str


class Skipped(NamedTuple):
    """Everything of the bus up to this epoch is stood for by the record at position `seq`."""

    epoch: int
    seq: int


News: TypeAlias = Floor | Numbered | Adopted | Placed | Skipped


def line(*members: object) -> bytes:
    """One line."""
    body = orjson.dumps(members)
    return b"%08x %b\n" % (zlib.crc32(body), body)


def purge_line(seq: int, record: PurgeRecord) -> bytes:
    """The line of one record."""
    return line("purge", seq, to_fields(record))


def _members(raw: bytes) -> object:
    """The array in a line. Raises ValueError for a damaged one."""
    body = raw[_CHECKSUM_CHARS + 1 :]
    if int(raw[:_CHECKSUM_CHARS], 16) != zlib.crc32(body):
        raise ValueError("wrong checksum")
    return orjson.loads(body)


@dataclass(slots=True)
class Ledger:
    """What the lines read so far add up to.

    bus: the bus whose epochs count, '' for none. heard: the epoch up to which nothing of it is missing, and the id of
    the record there ('' when that is not known). records: by id, in the order of positions. places: id -> epoch.
    unplaced: id -> position of the records that the bus is still to be told. damaged: lines that made no sense, and
    that no later record stands for.
    """

    remember_from: float = 0.0  # records of before this time (s, wall clock) are not told to a new bus
    position: int = 0
    floor: Floor | None = None
    bus: str = ""
    heard: int = 0
    heard_id: str = ""
    folded: int = 0
    records: dict[str, Numbered] = field(default_factory=dict)
    places: dict[str, int] = field(default_factory=dict)
    unplaced: dict[str, int] = field(default_factory=dict)
    lines: int = 0
    damaged: int = 0

    def take(self, data: bytes) -> list[News]:
        """Take over whole lines; what is new in them, in order."""
        news: list[News] = []
        for raw in data.splitlines():
            self.lines += 1
            before = self.position
            try:
                item = self._read(raw)
            except (ValueError, KeyError, TypeError):
                self.damaged += 1
                continue
            if not isinstance(item, Numbered) or item.seq > before:
                news.append(item)
        return news

    def _read(self, raw: bytes) -> News:
        match _members(raw):
            case ["purge", int(seq), fields]:
                return self._purge(Numbered(seq, from_fields(fields)))
            case ["place", int(epoch), str(identity)]:
                return self._place(Placed(epoch, self.records[identity].seq, identity))
            case ["bus", str(bus), int(birth), str(genesis)]:
                return self._adopt(Adopted(bus, birth, genesis))
            case ["skip", int(epoch), int(seq)]:
                return self._skip(Skipped(epoch, seq))
            case ["base", int(at), int(soft), int(validate), str(bus), int(heard), str(heard_id), int(folded)]:
                return self._begin(Floor(at, soft, validate, bus, heard, heard_id, folded))
        raise ValueError("no such line")

    def _begin(self, floor: Floor) -> Floor:
        self.floor, self.position = floor, max(self.position, floor.position)
        self.bus, self.heard, self.heard_id, self.folded = floor.bus, floor.heard, floor.heard_id, floor.folded
        return floor

    def _purge(self, numbered: Numbered) -> Numbered:
        identity = numbered.record.id
        self.position = max(self.position, numbered.seq)
        self.records[identity] = numbered
        if identity.startswith(DAMAGED):
            self.damaged = 0
        if self._is_to_be_told(numbered.record):
            self.unplaced[identity] = numbered.seq
        return numbered

    def _adopt(self, adopted: Adopted) -> Adopted:
        self.bus, self.heard, self.heard_id = adopted
        self.folded, self.places = 0, {}
        self.unplaced = {
            identity: seq for identity, (seq, record) in self.records.items() if self._is_to_be_told(record)
        }
        return adopted

    def _place(self, placed: Placed) -> Placed:
        if placed.epoch >= self.heard:
            self.heard, self.heard_id = placed.epoch, placed.id
        self.places[placed.id] = placed.epoch
        self.unplaced.pop(placed.id, None)
        return placed

    def _skip(self, skipped: Skipped) -> Skipped:
        if skipped.epoch > self.heard:
            self.heard, self.heard_id = skipped.epoch, ""
        self.folded = max(self.folded, skipped.epoch)
        return skipped

    def _is_to_be_told(self, record: PurgeRecord) -> bool:
        return not record.id.startswith(LOCAL) and record.at >= self.remember_from

    # Lines to write next.

    def purges(self, records: Iterable[PurgeRecord]) -> list[bytes]:
        """Lines for those of the records that are not known yet."""
        new = {record.id: record for record in records if record.id not in self.records}
        return [purge_line(seq, record) for seq, record in enumerate(new.values(), self.position + 1)]

    def hearings(self, entries: Sequence[tuple[int, PurgeRecord]]) -> list[bytes]:
        """Lines for what the bus has after `heard`, (epoch, record) in order; nothing beyond a gap."""
        heard, position, new = self.heard, self.position, set[str]()
        lines: list[bytes] = []
        for epoch, record in entries:
            if epoch <= heard:
                continue
            if epoch != heard + 1:
                break
            heard = epoch
            if record.id not in self.records and record.id not in new:
                position += 1
                new.add(record.id)
                lines.append(purge_line(position, record))
            lines.append(line("place", epoch, record.id))
        return lines

    def late_places(self, epochs: Mapping[str, int]) -> list[bytes]:
        """Lines for records (id -> epoch) that turned out to be on the bus already."""
        return [
            line("place", epoch, identity)
            for identity, epoch in epochs.items()
            if identity in self.unplaced and epoch <= self.heard
        ]

    def skip(self, epoch: int, stand_in: PurgeRecord) -> list[bytes]:
        """Lines for having missed what the bus had up to this epoch."""
        if epoch <= self.heard:
            return []
        return [purge_line(self.position + 1, stand_in), line("skip", epoch, self.position + 1)]

    def anew(self, keep: int, stand_in: PurgeRecord | None) -> list[bytes]:
        """All lines of a shorter log that says the same, with at most `keep` records told one by one.

        stand_in: is told to the bus for records that are folded before it heard of them; None where there is no bus.
        """
        compacted = compact(list(self.records.values()), keep)
        kept = list(compacted.kept)
        lost = self.unplaced.keys() - {numbered.record.id for numbered in kept}
        if stand_in is not None and any(
            self._folds(self.records[identity], compacted.soft, compacted.validate) for identity in lost
        ):
            kept.append(Numbered(self.position + 1, stand_in))
        places = sorted((self.places[record.id], record.id) for _, record in kept if record.id in self.places)
        return [
            line("base", *self._floor(compacted, kept[0].seq - 1 if kept else self.position)),
            *(purge_line(seq, record) for seq, record in kept),
            *(line("place", epoch, identity) for epoch, identity in places),
        ]

    def _floor(self, compacted: Compacted, position: int) -> Floor:
        _, soft, validate = compacted
        before = self.floor or Floor(0)
        folded = [
            self.places.get(numbered.record.id, 0)
            for numbered in self.records.values()
            if self._folds(numbered, soft, validate)
        ]
        return Floor(
            position,
            max(before.soft, soft),
            max(before.validate, validate),
            self.bus,
            self.heard,
            self.heard_id,
            max(self.folded, *folded, 0),
        )

    @staticmethod
    def _folds(numbered: Numbered, soft: int, validate: int) -> bool:
        return numbered.seq <= (soft if numbered.record.kind is Kind.SOFT else validate)


def everything(identity: str, *, at: float, node: str) -> PurgeRecord:
    """The record that stands for purges nobody can tell any more."""
    return PurgeRecord(identity, Scope.ALL, "", Kind.VALIDATE, at, node)

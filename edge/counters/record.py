"""What one accepted request leaves in the journal: its events, digested and packed.

Only what counting needs is kept. Client ids become 12-byte digests (two different ids meet by chance with probability
below 1e-10 in a year of peak days, far below that of an undetected memory error), viewers 8-byte digests, which is all
a sketch of 64-bit hashes can use; neither raw string reaches a disk.

    record      = version u8 | accepted_ms u64 | count u16 | belonging | count * event
    belonging   = province u8 | country 2 bytes | agent u8
    event       = kind u8 | at_minute u32 | watched_ms u32 | id 12 bytes | viewer 8 bytes | length u8 | resource

That is version 2. In version 1 there is no `belonging`: the events are of humans, in the province of the journal's
home. A correction is a record of its own, version 3, of one entry:

    correction  = version u8 | accepted_ms u64 | count u16 = 1 | province u8 | JSON
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Final, NamedTuple

import orjson

from edge.counters.event import Agent, Kind, Place, ViewEvent, place_in

ID_BYTES: Final = 12
VIEWER_BYTES: Final = 8
NO_VIEWER: Final = bytes(VIEWER_BYTES)

_OLD: Final = 1
_EVENTS: Final = 2
_CORRECTION: Final = 3
_HEAD: Final = struct.Struct("<BQH")
_BELONGING: Final = struct.Struct("<B2sB")
_EVENT: Final = struct.Struct(f"<BII{ID_BYTES}s{VIEWER_BYTES}sB")
_PROVINCE: Final = struct.Struct("<B")
_BODY_AT: Final = {_OLD: _HEAD.size, _EVENTS: _HEAD.size + _BELONGING.size, _CORRECTION: _HEAD.size + _PROVINCE.size}


CountedEvent = tuple[bytes, int, int, bytes, bytes, int]
"""An event as the tally needs it: id, kind, minute, resource, viewer, watched_ms. minute: event time in whole minutes
since the epoch. A bare tuple: one with names takes three times as long to make, and these are taken apart at once."""


class Correction(NamedTuple):
    """A signed entry beside the events, with a reason: what was counted stays, and this is added to it.

    id: unique in the province for ever, of the characters of a resource. country: what the counted events were booked
    under. minute: since the epoch, whose counts it changes. resource: empty for visits. amount: milliseconds for watch.
    """

    id: str
    province: str
    country: str
    kind: Kind
    minute: int
    resource: str
    amount: int
    reason: str


class Head(NamedTuple):
    """What is known of a record without reading its events."""

    accepted_ms: int
    events: int
    place: Place
    agent: Agent
    is_correction: bool


class RecordError(ValueError):
    """A record whose checksum was right has a layout this version does not know: a newer version wrote the journal."""


def encode(accepted_ms: int, events: Sequence[ViewEvent], place: Place, agent: Agent = Agent.HUMAN) -> bytes:
    """Pack the events accepted with one request at `accepted_ms` (ms since the epoch)."""
    parts = [_HEAD.pack(_EVENTS, accepted_ms, len(events)), _belonging(place, agent)]
    pack, add = _EVENT.pack, parts.append
    last, who = "", NO_VIEWER
    for event_id, kind, resource, viewer, at_ms, watched_ms in events:
        if viewer != last:  # mostly all events of a request are of one viewer
            last, who = viewer, blake2b(viewer.encode(), digest_size=VIEWER_BYTES).digest() if viewer else NO_VIEWER
        digest = blake2b(event_id.encode(), digest_size=ID_BYTES).digest()
        name = resource.encode()
        add(pack(kind, at_ms // 60_000, watched_ms, digest, who, len(name)))
        add(name)
    return b"".join(parts)


def encode_correction(accepted_ms: int, correction: Correction) -> bytes:
    """Pack a correction accepted at `accepted_ms` (ms since the epoch)."""
    entry = correction._asdict()
    province = _PROVINCE.pack(int(entry.pop("province")))
    return _HEAD.pack(_CORRECTION, accepted_ms, 1) + province + orjson.dumps(entry)


def accepted_ms(payload: bytes) -> int:
    """When the record's events were accepted, ms since the epoch."""
    version, stamp, _ = _HEAD.unpack_from(payload)
    _check(version)
    return int(stamp)


def head(payload: bytes, home: str) -> Head:
    """The record's head. home: the province of records that do not say their own. Raises RecordError."""
    version, stamp, count = _HEAD.unpack_from(payload)
    _check(version)
    if version == _EVENTS:
        place, agent = _belongs(payload[_HEAD.size : _BODY_AT[_EVENTS]])
        return Head(stamp, count, place, agent, is_correction=False)
    province = home if version == _OLD else _code(payload[_HEAD.size])
    return Head(stamp, count, place_in(province), Agent.HUMAN, version == _CORRECTION)


def province_of(payload: bytes) -> str:
    """The province that a record of this version's making belongs to."""
    return _code(payload[_HEAD.size])


def decode(payload: bytes) -> list[CountedEvent]:
    """The record's events, in the order in which they were sent; none for a correction. Raises RecordError."""
    version, _, count = _HEAD.unpack_from(payload)
    _check(version)
    events: list[CountedEvent] = []
    if version == _CORRECTION:
        return events
    offset, size = _BODY_AT[version], _EVENT.size
    unpack, add = _EVENT.unpack_from, events.append
    for _ in range(count):
        kind, minute, watched_ms, digest, viewer, length = unpack(payload, offset)
        start = offset + size
        offset = start + length
        add((digest, kind, minute, payload[start:offset], viewer, watched_ms))
    return events


def decode_correction(payload: bytes) -> Correction:
    """The correction in a record that is one. Raises RecordError."""
    try:
        entry = orjson.loads(payload[_BODY_AT[_CORRECTION] :])
        return Correction(**{**entry, "kind": Kind(entry["kind"]), "province": _code(payload[_HEAD.size])})
    except (ValueError, KeyError, TypeError) as error:
        raise RecordError(f"a correction that can't be read: {error}") from error


def _check(version: int) -> None:
    if version not in _BODY_AT:
        raise RecordError(f"journal record of version {version}, this program reads versions {_OLD} to {_CORRECTION}")


@lru_cache(maxsize=1024)
def _belonging(place: Place, agent: Agent) -> bytes:
    return _BELONGING.pack(int(place.province), place.country.encode("ascii"), agent)


@lru_cache(maxsize=1024)
def _belongs(packed: bytes) -> tuple[Place, Agent]:
    province, country, agent = _BELONGING.unpack(packed)
    try:
        return Place(_code(province), country.decode("ascii")), Agent(agent)
    except ValueError as error:
        raise RecordError(f"journal record of nobody this program knows: {error}") from error


def _code(province: int) -> str:
    return f"{province:02d}"

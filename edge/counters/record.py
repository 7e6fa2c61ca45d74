"""What one accepted request leaves in the journal: its events, digested and packed.

Only what counting needs is kept. Client ids become 12-byte digests (two different ids meet by chance with probability
below 1e-10 in a year of peak days, far below that of an undetected memory error), viewers 8-byte digests, which is all
a sketch of 64-bit hashes can use; neither raw string reaches a disk.

    record  = version u8 | accepted_ms u64 | count u16 | count * event
    event   = kind u8 | at_minute u32 | watched_ms u32 | id 12 bytes | viewer 8 bytes | length u8 | resource
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

from edge.counters.event import ViewEvent

ID_BYTES: Final = 12
VIEWER_BYTES: Final = 8
NO_VIEWER: Final = bytes(VIEWER_BYTES)

_VERSION: Final = 1
_HEAD: Final = struct.Struct("<BQH")
_EVENT: Final = struct.Struct(f"<BII{ID_BYTES}s{VIEWER_BYTES}sB")


class CountedEvent(NamedTuple):
    """An event as the tally needs it. minute: event time in whole minutes since the epoch."""

    id: bytes
    kind: int
    minute: int
    resource: bytes
    viewer: bytes
    watched_ms: int


class RecordError(ValueError):
    """A record whose checksum was right has a layout this version does not know: a newer version wrote the journal."""


def encode(accepted_ms: int, events: Sequence[ViewEvent]) -> bytes:
    """Pack the events accepted with one request at `accepted_ms` (ms since the epoch)."""
    parts = [_HEAD.pack(_VERSION, accepted_ms, len(events))]
    pack = _EVENT.pack
    for event_id, kind, resource, viewer, at_ms, watched_ms in events:
        digest = blake2b(event_id.encode(), digest_size=ID_BYTES).digest()
        who = blake2b(viewer.encode(), digest_size=VIEWER_BYTES).digest() if viewer else NO_VIEWER
        parts.append(pack(kind, at_ms // 60_000, watched_ms, digest, who, len(resource)))
        parts.append(resource.encode())
    return b"".join(parts)


def accepted_ms(payload: bytes) -> int:
    """When the record's events were accepted, ms since the epoch."""
    version, stamp, _ = _HEAD.unpack_from(payload)
    if version != _VERSION:
        raise RecordError(f"journal record of version {version}, this program reads version {_VERSION}")
    return int(stamp)


def event_count(payload: bytes) -> int:
    """How many events the record holds."""
    return int(_HEAD.unpack_from(payload)[2])


def decode(payload: bytes) -> Iterator[CountedEvent]:
    """The record's events, in the order in which they were sent."""
    accepted_ms(payload)  # refuses a version this program can't read
    offset, size = _HEAD.size, _EVENT.size
    unpack = _EVENT.unpack_from
    for _ in range(event_count(payload)):
        kind, minute, watched_ms, digest, viewer, length = unpack(payload, offset)
        start = offset + size
        offset = start + length
        yield CountedEvent(digest, kind, minute, payload[start:offset], viewer, watched_ms)

"""One stored value as bytes, for the tiers outside this process. One byte that is not as written, and it is no value.

    magic(4) sum(8) length of meta(4) length of body(8) sum of body(8) meta(JSON) body

The first sum covers all from the length of meta up to the end of meta, and with it the second sum, which covers the
body: what meta says (whose value, of which size, in which pieces) can be trusted before the body is there. The sums are
XXH3's 64 bits: on 480 kB 9 us, where zlib's crc32 takes 110 us. They are against damage, not against forgery: whoever
can write into a tier can write into the cache.

A record knows its own key, so that a value that lies under another's name is noticed. Instants do not travel (the
monotonic clock is each machine's own): what travels is the wall clock's time of birth.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from xxhash import xxh3_64_intdigest

from edge.cache import packed
from edge.cache.freshness import remaining_s
from edge.cache.model import CacheKey, Entry, Head, Layout, Stored, Varying

_MAGIC = b"SEC2"
_HEADER = struct.Struct(">4sQIQQ")
_SUMMED_FROM = 12  # offset of the first byte under the first sum
_MAX_META_BYTES = 4 * 1024 * 1024
HEADER_BYTES = _HEADER.size
VARYING_S = 30 * 86400.0
"""How long a list of variants is worth keeping: it has no lifetime of its own, and only leads to values that have."""


class DamageError(ValueError):
    """These bytes are not a whole, sound record."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """How a body is kept that is too large for one value: the first `size` bytes with the record, the rest elsewhere.

    token: names the other pieces, and no others; size: bytes of every piece but the last.
    """

    token: str
    size: int

    def beyond_first(self, body_bytes: int) -> int:
        """How many pieces lie elsewhere."""
        return max(0, -(-body_bytes // self.size) - 1)


@dataclass(frozen=True, slots=True)
class Cover:
    """The front of a record, found sound: everything but the body. mark: as its writer gave it.

    body_at: offset of the body. size: bytes of the whole record.
    """

    key: CacheKey
    mark: str
    pieces: Pieces | None
    body_at: int
    body_bytes: int
    _body_sum: int
    _meta: dict[str, Any]

    @property
    def size(self) -> int:
        return self.body_at + self.body_bytes

    def value(self, body: bytes, *, mark: int, now: float, wall: float) -> Stored:
        """The value with that body, as of `now` (monotonic) and `wall`. Raises DamageError."""
        if len(body) != self.body_bytes or xxh3_64_intdigest(body) != self._body_sum:
            raise DamageError("the body is not the one that was written")
        try:
            return self._of_kind(body, mark, now, wall)
        except (KeyError, TypeError, ValueError) as error:
            raise DamageError(f"not a value: {error!r}") from error

    def _of_kind(self, body: bytes, mark: int, now: float, wall: float) -> Stored:
        kind = self._meta["kind"]
        if kind == "varying":
            return Varying(tuple(tuple(map(str, spec)) for spec in self._meta["specs"]), mark)
        head = self._head(now, wall)
        if kind == "layout":
            return Layout(head, int(self._meta["block_bytes"]), mark)
        if kind != "entry":
            raise ValueError(kind)
        return Entry(head, body, mark)

    def _head(self, now: float, wall: float) -> Head:
        return packed.unpack(self._meta["head"], now=now, older_s=wall - float(self._meta["born"]))


def seal(
    key: CacheKey, value: Stored, *, mark: str, now: float, wall: float, pieces: Pieces | None = None
) -> tuple[bytes, bytes | memoryview]:
    """The record in two: its front, and the body as it is. Raises ValueError when its fields are absurdly large."""
    body = value.body if isinstance(value, Entry) else b""
    meta: dict[str, Any] = {"uri": key.uri, "part": key.part, "mark": mark} | _members(value, now, wall)
    if pieces is not None:
        meta |= {"token": pieces.token, "piece": pieces.size}
    packed_meta = orjson.dumps(meta)
    header = _HEADER.pack(_MAGIC, 0, len(packed_meta), len(body), xxh3_64_intdigest(body))
    if len(packed_meta) > _MAX_META_BYTES:
        raise ValueError("a response's fields are too large for a record")
    summed = header[_SUMMED_FROM:] + packed_meta
    return _MAGIC + xxh3_64_intdigest(summed).to_bytes(8, "big") + summed, body


def _members(value: Stored, now: float, wall: float) -> dict[str, Any]:
    if isinstance(value, Varying):
        return {"kind": "varying", "specs": value.specs}
    members = {"head": packed.pack(value.head, age_s=0.0), "born": wall - value.head.age_s(now)}
    if isinstance(value, Layout):
        return members | {"kind": "layout", "block_bytes": value.block_bytes}
    return members | {"kind": "entry"}


def front_bytes(data: bytes) -> int:
    """How many bytes the front of the record takes that `data` begins with. Raises DamageError."""
    if len(data) < HEADER_BYTES or not data.startswith(_MAGIC):
        raise DamageError("not a record")
    _, _, meta_bytes, _, _ = _HEADER.unpack_from(data)
    if meta_bytes > _MAX_META_BYTES:
        raise DamageError("no front is that large")
    return HEADER_BYTES + int(meta_bytes)


def cover(data: bytes) -> Cover:
    """The front of the record that `data` begins with. Raises DamageError."""
    end = front_bytes(data)
    _, checksum, _, body_bytes, body_sum = _HEADER.unpack_from(data)
    if len(data) < end or xxh3_64_intdigest(data[_SUMMED_FROM:end]) != checksum:
        raise DamageError("the front is not the one that was written")
    try:
        meta = packed.loads(data[HEADER_BYTES:end])
        pieces = Pieces(str(meta["token"]), max(1, int(meta["piece"]))) if "token" in meta else None
        key = CacheKey(str(meta["uri"]), str(meta["part"]))
        return Cover(key, str(meta["mark"]), pieces, end, body_bytes, body_sum, meta)
    except (KeyError, TypeError, ValueError) as error:
        raise DamageError(f"not a record's front: {error!r}") from error


def cut(body: bytes | memoryview, size: int) -> Sequence[memoryview]:
    """The body in pieces of `size` bytes; one, empty, for an empty body."""
    whole = memoryview(body)
    return [whole[at : at + size] for at in range(0, max(len(body), 1), size)]


def worth_keeping_s(value: Stored, now: float) -> float:
    """For how many more seconds it is good for anything but revalidation."""
    return VARYING_S if isinstance(value, Varying) else remaining_s(value.head, now)

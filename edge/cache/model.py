"""The cache's values: what is asked for, what is stored, and what became of a request. Nothing here does anything."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, TypeAlias

from origin.reader import Headers, OriginError

_ENTRY_OVERHEAD = 1024  # bytes: the objects around a body (entry, head, key, mapping slots), measured, rounded up
_LINE_OVERHEAD = 192  # bytes: one stored field line beyond its characters (a tuple and two string headers)


class CacheKey(NamedTuple):
    """What one value is stored under: a tuple, since that hashes in a quarter of a dataclass's time.

    uri: the canonical request target, percent-encoded: path, and query where that counts. part: '' for the value under
    the URI itself; `v:…` for a variant under Vary; `b:…` for a block of a large object. A purge of the URI takes all.
    """

    uri: str
    part: str = ""


@dataclass(frozen=True, slots=True)
class Freshness:
    """What a response's head says about keeping it. Seconds count from the instant its age was zero.

    storable: a shared cache may store it at all; reason: why not, in a few words. lifetime_s: fresh until then.
    stale_while_revalidate_s and stale_if_error_s: how long after that it may still be served in these two cases; zero
    when forbidden. must_revalidate: never served stale, not even to a request that would take it (max-stale).
    validate_always: every use is validated first, however young it is (no-cache).
    """

    storable: bool
    lifetime_s: float
    stale_while_revalidate_s: float = 0.0
    stale_if_error_s: float = 0.0
    must_revalidate: bool = False
    validate_always: bool = False
    reason: str = ""

    @property
    def useful_s(self) -> float:
        """From which age on it is good for nothing but revalidation."""
        return self.lifetime_s + max(self.stale_while_revalidate_s, self.stale_if_error_s)


@dataclass(frozen=True, slots=True)
class Head:
    """All of a response but its body.

    headers: the origin's end-to-end fields, never changed but by a 304; length: bytes of the body, None when unknown.
    born: the monotonic instant (s) at which the response's age was zero: age = now - born.
    vary: names of the request fields that select this response, in lower case and order, ('*',) when nothing but the
    origin can tell. tags: what a purge by tag knows it under (Surrogate-Key, Cache-Groups).
    """

    status: int
    headers: Headers
    length: int | None
    born: float
    freshness: Freshness
    etag: str | None
    last_modified: str | None
    vary: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    def age_s(self, now: float) -> float:
        """Seconds since its age was zero; never negative."""
        return max(0.0, now - self.born)

    def field(self, name: str) -> str | None:
        """The first field line of that (lower-case) name."""
        return next((value for known, value in self.headers if known == name), None)

    @property
    def strong_etag(self) -> str | None:
        """The entity tag, when ranges under it may be combined."""
        return None if self.etag is None or self.etag.startswith("W/") else self.etag


@dataclass(frozen=True, slots=True)
class Entry:
    """A complete stored response, or one block of a large one (status 206).

    body: a view where it lies in pages (`edge.cache.pages`).
    mark: the node's purge position before the origin was asked for it; a later purge that names it wins over it.
    """

    head: Head
    body: bytes | memoryview
    mark: int = 0

    @property
    def size(self) -> int:
        """Bytes of memory it takes, its own overhead included."""
        return len(self.body) + _ENTRY_OVERHEAD + head_size(self.head.headers)


@dataclass(frozen=True, slots=True)
class Varying:
    """Stands under a URI whose responses vary: where the variants are.

    specs: the sets of field names that selected responses so far, newest first, each sorted; () for "does not vary".
    """

    specs: tuple[tuple[str, ...], ...]
    mark: int = 0

    @property
    def size(self) -> int:
        """Bytes of memory it takes."""
        return _ENTRY_OVERHEAD + sum(_LINE_OVERHEAD + len(name) for spec in self.specs for name in spec)


@dataclass(frozen=True, slots=True)
class Layout:
    """Stands for a large object that is kept in blocks, each an entry of its own under the same strong validator.

    head: of the whole (status 200, its length and strong entity tag); block_bytes: of every block but the last.
    """

    head: Head
    block_bytes: int
    mark: int = 0

    @property
    def size(self) -> int:
        """Bytes of memory it takes, without the blocks."""
        return _ENTRY_OVERHEAD + head_size(self.head.headers)


Stored: TypeAlias = Entry | Varying | Layout
"""What a tier keeps under a key."""


def head_size(headers: Headers) -> int:
    """Bytes of memory that stored field lines take."""
    return sum(len(name) + len(value) + _LINE_OVERHEAD for name, value in headers)


@dataclass(frozen=True, slots=True)
class Pass:
    """Remembered for a while: this key's answer is not shared, ask the origin for each request ("hit-for-miss").

    head: of an object that is passed because it is too large, so that conditions and ranges of it can be judged.
    mark: as of an entry: a purge that names the URI ends it.
    """

    reason: str
    until: float
    head: Head | None = None
    mark: int = 0


class Tier(Enum):
    """Where the answer came from. The values appear as `detail` in Cache-Status and as metric labels."""

    MEMORY = "memory"
    DISK = "disk"
    REDIS = "redis"
    SIBLING = "sibling"
    ORIGIN = "origin"


class Forward(Enum):
    """Why a request went forward. The values are RFC 9211's `fwd` parameter."""

    MISS = "uri-miss"  # nothing is stored under the URI
    VARY = "vary-miss"  # something is, but not for these request fields
    PARTIAL = "partial"  # some blocks of it are
    STALE = "stale"  # it is too old, or was purged softly
    REQUEST = "request"  # the client's own Cache-Control demands it
    METHOD = "method"  # the method is not served from a cache
    BYPASS = "bypass"  # the response is not to be shared


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request.

    forward None is a hit. stale: served beyond its lifetime (while revalidating, or because the origin failed).
    ttl_s: remaining lifetime, negative when stale; None when nothing is stored. timings: (what, seconds) of the waits
    on the way, for Server-Timing.
    """

    tier: Tier
    forward: Forward | None = None
    forward_status: int | None = None
    stored: bool = False
    collapsed: bool = False
    stale: bool = False
    ttl_s: int | None = None
    error: OriginError | None = None
    timings: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Conditions:
    """The request fields that shape an answer from one stored response; absent ones are None."""

    if_match: str | None = None
    if_none_match: str | None = None
    if_modified_since: str | None = None
    if_unmodified_since: str | None = None
    byte_range: str | None = None
    if_range: str | None = None


UNCONDITIONAL = Conditions()

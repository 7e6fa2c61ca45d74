"""The cache's values: what is asked for, what is stored, and what became of a request. Nothing here does anything."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from origin.reader import Headers, OriginError

_ENTRY_OVERHEAD = 1024  # bytes: the objects around a body (entry, head, key, mapping slots), measured, rounded up
_LINE_OVERHEAD = 160  # bytes: one stored field line beyond its characters (a tuple and two string headers)


@dataclass(frozen=True, slots=True)
class CacheKey:
    """What one stored response is stored under. path: normalised and percent-decoded."""

    path: str


@dataclass(frozen=True, slots=True)
class Freshness:
    """What a response's head says about keeping it. Seconds count from the instant its age was zero.

    storable: a shared cache may store it at all. lifetime_s: fresh until then. stale_while_revalidate_s and
    stale_if_error_s: how long after that it may still be served in these two cases; zero when forbidden.
    """

    storable: bool
    lifetime_s: float
    stale_while_revalidate_s: float = 0.0
    stale_if_error_s: float = 0.0

    @property
    def useful_s(self) -> float:
        """From which age on it is good for nothing but revalidation."""
        return self.lifetime_s + max(self.stale_while_revalidate_s, self.stale_if_error_s)


@dataclass(frozen=True, slots=True)
class Head:
    """All of a response but its body.

    headers: the origin's end-to-end fields, never changed but by a 304; length: bytes of the body, None when unknown.
    born: the monotonic instant (s) at which the response's age was zero: age = now - born.
    """

    status: int
    headers: Headers
    length: int | None
    born: float
    freshness: Freshness
    etag: str | None
    last_modified: str | None

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
    """A complete stored response."""

    head: Head
    body: bytes

    @property
    def size(self) -> int:
        """Bytes of memory it takes, its own overhead included."""
        return len(self.body) + _ENTRY_OVERHEAD + head_size(self.head.headers)


def head_size(headers: Headers) -> int:
    """Bytes of memory that stored field lines take."""
    return sum(len(name) + len(value) + _LINE_OVERHEAD for name, value in headers)


@dataclass(frozen=True, slots=True)
class Pass:
    """Remembered for a while: this key's answer is not shared, ask the origin for each request ("hit-for-miss").

    head: of an object that is passed because it is too large, so that conditions and ranges of it can be judged.
    """

    reason: str
    until: float
    head: Head | None = None


class Tier(Enum):
    """Where the answer came from. The values appear as `detail` in Cache-Status and as metric labels."""

    MEMORY = "memory"
    REDIS = "redis"
    SIBLING = "sibling"
    ORIGIN = "origin"


class Forward(Enum):
    """Why a request went forward. The values are RFC 9211's `fwd` parameter."""

    MISS = "uri-miss"
    STALE = "stale"
    BYPASS = "bypass"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request.

    forward None is a hit. stale: served beyond its lifetime (while revalidating, or because the origin failed).
    ttl_s: remaining lifetime, negative when stale; None when nothing is stored.
    """

    tier: Tier
    forward: Forward | None = None
    forward_status: int | None = None
    stored: bool = False
    collapsed: bool = False
    stale: bool = False
    ttl_s: int | None = None
    error: OriginError | None = None


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

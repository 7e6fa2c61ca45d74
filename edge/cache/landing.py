"""What a flight brings: one of four things, each of which says how it came about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from edge.cache.fill import GrowingBody
from edge.cache.model import Entry, Forward, Head, Layout, Pass, Tier
from origin.reader import OriginError, ReadResponse

Timings: TypeAlias = tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Found:
    """A complete entry, or the layout of a large object. part: under which part of the URI it is kept.

    forward None: it was in a tier. error: the origin failed and this is the stale rest. stored: a tier keeps it.
    """

    value: Entry | Layout
    tier: Tier
    forward: Forward | None = None
    forward_status: int | None = None
    error: OriginError | None = None
    part: str = ""
    timings: Timings = ()
    stored: bool = True


@dataclass(frozen=True, slots=True)
class Growing:
    """A judged head whose body is on its way into the cache. stored: it is to stay there."""

    head: Head
    body: GrowingBody
    tier: Tier
    forward: Forward | None
    forward_status: int | None
    part: str = ""
    timings: Timings = ()
    stored: bool = True


@dataclass(frozen=True, slots=True)
class Handoff:
    """An open response that is the leader's alone. It stays open until the flight's `leader_left` is set."""

    response: ReadResponse
    head: Head


@dataclass(frozen=True, slots=True)
class Unshared:
    """Everyone has to ask for himself; the leader need not, when there is a handoff. forward: why it went forward."""

    marker: Pass
    handoff: Handoff | None = None
    forward: Forward = Forward.BYPASS
    timings: Timings = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """The origin failed, and nothing stored may stand in."""

    error: OriginError
    forward: Forward
    timings: Timings = ()


Landing: TypeAlias = Found | Growing | Unshared | Failed

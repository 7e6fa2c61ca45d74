"""What the engine answers with, and how a stored response becomes an answer."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from edge.cache.conditional import Shape, shape
from edge.cache.model import UNCONDITIONAL, CacheKey, Conditions, Head, Outcome
from edge.cache.ranges import Part
from origin.reader import OriginError


class Pieces(Protocol):
    """A body that comes bit by bit; raises OriginError where it breaks off. To be closed, begun or not."""

    def __aiter__(self) -> AsyncIterator[bytes | memoryview]: ...

    async def aclose(self) -> None: ...


Body: TypeAlias = bytes | memoryview | Pieces


@dataclass(slots=True)
class Reply:
    """What to send. `close` must be awaited once it is sent, or given up.

    head: of the stored response; status and part say what of it is sent; length: bytes of `body`, None when unknown.
    An iterated body raises OriginError where it breaks off: then the client must not be told that it is complete.
    key: of the response in memory, where it was asked for no other (`Engine.hit`).
    """

    status: int
    head: Head
    outcome: Outcome
    age_s: int
    part: Part | None = None
    length: int | None = None
    body: Body = b""
    resources: AsyncExitStack | None = field(default=None, repr=False)
    key: CacheKey | None = None

    async def close(self) -> None:
        """Give back what the body needed, whether or not it was begun."""
        if not isinstance(self.body, bytes | memoryview):
            await self.body.aclose()
        if self.resources is not None:
            await self.resources.aclose()


class Unavailable(Exception):  # noqa: N818 - a verdict on a request
    """Nothing can be served; `outcome.error` says why."""

    def __init__(self, outcome: Outcome, error: OriginError) -> None:
        super().__init__(str(error))
        self.outcome = outcome
        self.error = error


def shaped(head: Head, conditions: Conditions) -> Shape:
    """What of a stored response answers a request with these conditions."""
    return shape(head, conditions) if conditions is not UNCONDITIONAL else Shape(head.status)


def reply_of(verdict: Shape, head: Head, outcome: Outcome, now: float) -> Reply:
    """The reply without its body."""
    length = head.length
    if verdict.part is not None:
        length = verdict.part.length
    elif verdict.status != head.status:
        length = 0
    return Reply(verdict.status, head, outcome, int(head.age_s(now)), part=verdict.part, length=length)


def ttl_s(head: Head, now: float) -> int:
    """Whole seconds of freshness left; negative when it is stale."""
    return math.floor(head.freshness.lifetime_s - head.age_s(now))

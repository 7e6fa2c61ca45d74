"""The words in which cases are written: what the origin answers, what the client asks, what must then be true.

A case is a dialogue. Its steps run in order; each step's claims are judged when its answer is here. All of a case is
data; `dialogue.py` performs it.

Text may hold place holders, filled when a case runs:
    <now>, <now-100>, <now+3600>     an HTTP date so many seconds from the beginning of the case
    <rfc850-100>, <asctime-100>      the same in the two obsolete formats (RFC 9110, 5.6.7)
    <path>                           the path that belongs to this case alone
    <host>                           the edge's authority, as the client names it
    <id>                             the case's id
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from tests.conformance.client import Answer
from tests.conformance.message import Fields
from tests.conformance.message import values as values_of


class Framing(Enum):
    """How the origin tells where a body ends (RFC 9112, 6)."""

    LENGTH = "Content-Length"
    CHUNKED = "chunked"
    CLOSE = "the end of the connection"
    NONE = "nothing: no body, no framing fields"


class Hold(Enum):
    """Where the origin waits until every client of a `Together` step has the head of its answer."""

    NOWHERE = "nowhere"
    MIDDLE = "in the middle of the body"


@dataclass(frozen=True, slots=True)
class Reply:
    """One response of the origin.

    fields: field lines as text. body: None for one that names the case and the number of the answer, so that it can be
    told from all others. interim: heads of 1xx responses sent before. raw: bytes sent instead of everything else, and
    then the end of the connection. cut: end the connection after so many bytes of the body. dated: add Date unless
    `fields` has one. ranges: obey Range. conditional: answer
    304 to an If-None-Match or If-Modified-Since that matches, 412 to an If-Match that does not.
    """

    status: int = 200
    fields: tuple[str, ...] = ()
    body: bytes | None = None
    framing: Framing = Framing.LENGTH
    version: str = "HTTP/1.1"
    reason: str = "Scripted"
    interim: tuple[str, ...] = ()
    trailers: tuple[str, ...] = ()
    raw: str | None = None
    cut: int | None = None
    hold: Hold = Hold.NOWHERE
    dated: bool = True
    ranges: bool = False
    conditional: bool = False

    @property
    def bodiless(self) -> bool:
        """Its status allows no content (RFC 9110, 6.4.1)."""
        return self.status in (204, 304)

    @property
    def fails(self) -> bool:
        """It is an answer after which an edge might leave the origin alone for a while."""
        return self.status >= 500 or self.raw is not None or self.cut is not None


@dataclass(frozen=True, slots=True)
class Received:
    """One request as the origin got it."""

    method: str
    target: str
    version: str
    fields: Fields
    body: bytes = b""
    trailers: Fields = ()

    def values(self, name: str) -> tuple[str, ...]:
        """The values of every field line of that name."""
        return values_of(self.fields, name)


@dataclass(frozen=True, slots=True)
class Exchange:
    """What is known when a step is judged.

    received: the requests that reached the origin during the step. bodies, replies: of the origin's answers from the
    first on. reached: all requests of the case that the origin has got so far.
    """

    answer: Answer
    received: tuple[Received, ...]
    reached: int
    bodies: tuple[bytes, ...]
    replies: tuple[Reply, ...]
    fill: Callable[[str], str]

    @property
    def last(self) -> Received | None:
        """The latest request that reached the origin during the step."""
        return self.received[-1] if self.received else None


@dataclass(frozen=True, slots=True)
class Claim:
    """Something that must be true after a step. fault: empty when it is, else what is seen instead."""

    text: str
    fault: Callable[[Exchange], str]


@dataclass(frozen=True, slots=True)
class Ask:
    """One request of the client, and what must be true of its answer.

    at: appended to the case's path. raw: the whole request as text instead of all the rest. waits: send the body only
    after an interim response. arrives: before judging, wait until the origin has got so many requests of this case.
    again: repeat the request until its claims hold, because something happens in the background. until_closed: see
    whether the server ends the connection.
    """

    method: str = "GET"
    fields: tuple[str, ...] = ()
    at: str = ""
    body: bytes | None = None
    chunked: bool = False
    trailers: tuple[str, ...] = ()
    version: str = "HTTP/1.1"
    raw: str | None = None
    host: str = "Host: <host>"
    waits: bool = False
    arrives: int = 0
    again: bool = False
    until_closed: bool = False
    claims: tuple[Claim, ...] = ()


@dataclass(frozen=True, slots=True)
class Together:
    """Requests sent at the same time, each on a connection of its own."""

    asks: tuple[Ask, ...]


Step: TypeAlias = Ask | Together


@dataclass(frozen=True, slots=True)
class Case:
    """One requirement. section: e.g. `RFC 9111, 4.2.1`. The last of the origin's answers is repeated."""

    id: str
    section: str
    claim: str
    origin: tuple[Reply, ...]
    client: tuple[Step, ...] = field(default=())


def case(name: str, section: str, claim: str, *, origin: Sequence[Reply], client: Sequence[Step]) -> Case:
    """A case."""
    return Case(name, section, claim, tuple(origin), tuple(client))

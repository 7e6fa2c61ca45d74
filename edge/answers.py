"""Answers that are ready to be sent, and what they are made of.

An answer is the short road's own, as that sent it: its head, in which only Age and the ttl in Cache-Status (and Date,
where it is ours) move on, about once a second; its body, which is the stored one itself. It ends when the value is no
longer fresh.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, TypeAlias

from aiohttp import hdrs
from multidict import CIMultiDictProxy

from edge.cache.conditional import Shape
from edge.cache.dates import written
from edge.cache.eviction import Slot
from edge.cache.freshness import Verdict, decide
from edge.cache.model import CacheKey, Entry, Head
from edge.cache.pages import Pages
from edge.cache.ranges import Part
from edge.cache.reply import ttl_s
from edge.clock import Clock

ONE_PIECE_BYTES = 16 * 1024
"""A body up to this size is kept behind its head, ready to be sent in one piece."""
PAGED_BYTES = 64 * 1024
"""From this size on a body that is sent again and again is moved into pages, to be sent without being copied."""

_OVERHEAD = 1536  # bytes: an answer's own objects, its place in three mappings
_BLOCK_OVERHEAD = 512
_AGE = re.compile(rb"\r\nAge: (\d+)\r\n")
_CACHE_STATUS = re.compile(rb"\r\nCache-Status: ([^\r]*)\r\n")
_DATE = re.compile(rb"\r\nDate: ([^\r]*)\r\n")
_TTL = re.compile(rb"; ttl=(\d+)")


class Moving(Enum):
    """What of an answer's head changes with time."""

    AGE = 1
    TTL = 2
    DATE = 3


Pieces: TypeAlias = tuple[bytes | Moving, ...]
Name: TypeAlias = tuple[str, str, Shape | None]
"""Method, URI, and what is sent of the response; None for all of it. Whoever asks for the same gets the same answer."""


class Hit(NamedTuple):
    """What there is to say of a hit from memory.

    key: of the value in memory; head: its head; part: the bytes of its body that were sent, None for all. member: our
    own of Cache-Status, as it was sent. dated: the Date is the stored one, and not of now.
    """

    key: CacheKey
    head: Head
    part: Part | None
    bodiless: bool
    member: str
    dated: bool


class Found(NamedTuple):
    """An answer of the short road. head: as it goes on the wire. learnable: the request's bytes may be kept."""

    method: str
    route: str
    headers: CIMultiDictProxy[str]
    status: int
    head: bytes
    body: bytes | memoryview
    hit: Hit
    learnable: bool

    @property
    def name(self) -> Name:
        """What it answers."""
        whole = self.status == self.hit.head.status
        return self.method, self.hit.key.uri, None if whole else Shape(self.status, self.hit.part)


@dataclass(eq=False, slots=True)
class Block:
    """An approved header block, and what the log says of it. plain: it has no conditions."""

    raw: bytes
    plain: bool
    byte_range: str | None
    user_agent: str | None
    request_id: str | None

    @classmethod
    def of(cls, headers: CIMultiDictProxy[str], raw: bytes = b"") -> Block:
        """From the fields as the parser has read them."""
        told = (headers.get(name) for name in (hdrs.RANGE, hdrs.USER_AGENT, "X-Request-Id"))
        return cls(raw, is_plain(headers), *told)

    @property
    def size(self) -> int:
        """Bytes of memory that it takes."""
        told = (self.byte_range, self.user_agent, self.request_id)
        return _BLOCK_OVERHEAD + len(self.raw) + sum(sys.getsizeof(text) for text in told if text is not None)


Place: TypeAlias = tuple[bytes, Block | None]
"""Where an answer is known by bytes: a request line, and the block that it belongs to; None for all plain ones."""


class Answer:
    """One answer, ready to be sent until `until` (monotonic, s). count: hits since the last flush.

    name: what it answers, whoever asks; None where it is for one block alone, or for one time.
    took_s: from a request's bytes to its head, each time that was made anew; the other times it is less.
    """

    __slots__ = (
        "age_s",
        "body",
        "bytes",
        "count",
        "head",
        "key",
        "keys",
        "method",
        "name",
        "pages",
        "part_at",
        "pieces",
        "places",
        "route",
        "size",
        "slot",
        "status",
        "stored",
        "took_s",
        "ttl_s",
        "until",
        "whole",
    )

    def __init__(self, found: Found, slot: Slot, keys: tuple[CacheKey, ...], name: Name | None = None) -> None:
        hit = found.hit
        self.places: list[Place] = []
        self.name = name
        self.key = hit.key
        self.keys = keys  # of the values in memory without which it is void
        self.slot = slot
        self.stored: Head | None = hit.head
        self.until = 0.0
        self.count = 0
        self.head = b""
        self.body: bytes | memoryview = b""
        self.pages: Pages | None = None
        self.part_at = 0 if hit.part is None else hit.part.first  # in the stored body
        self.whole: bytes | None = None
        self.pieces: Pieces = ()
        self.method, self.route, self.status = found.method, found.route, found.status
        age, ttl = _AGE.search(found.head), _TTL.search(hit.member.encode())
        self.age_s = 0 if age is None else int(age[1])
        self.ttl_s = 0 if ttl is None else int(ttl[1])
        self.bytes = len(found.body)
        self.size = 0
        self.took_s = 0.0

    @classmethod
    def once(cls, found: Found, slot: Slot) -> Answer:
        """For this one time: it hangs on nothing, so it is to be given at once."""
        answer = cls(found, slot, ())
        answer.head, answer.body = found.head, found.body
        if answer.bytes <= ONE_PIECE_BYTES:
            answer.whole = found.head + found.body
        return answer

    @classmethod
    def lasting(cls, found: Found, slot: Slot, keys: tuple[CacheKey, ...], name: Name | None) -> Answer | None:
        """Made so that it can be renewed, which it has yet to be; None when that is not possible."""
        hit = found.hit
        if not isinstance(slot.value, Entry) or slot.value.head is not hit.head:
            return None
        pieces = _pieces(found.head, hit)
        if pieces is None:
            return None
        answer = cls(found, slot, keys, name)
        answer.pieces = pieces
        answer.body = b"" if hit.bodiless else _body(slot.value, hit.part)
        # Up to two heads at a time and the pieces; a small body twice if it is a part, else beside the stored one.
        copies = 0 if answer.bytes > ONE_PIECE_BYTES else 1 if hit.part is None else 2
        answer.size = _OVERHEAD + 3 * len(found.head) + copies * answer.bytes
        return answer

    def renew(self, now: float, clock: Clock) -> bool:
        """Let its head be of now; False when its value is not to be served unasked any more."""
        stored = self.stored
        if stored is None or decide(stored, now) is not Verdict.HIT:
            return False
        age_s, ttl = stored.age_s(now), ttl_s(stored, now)
        self.age_s, self.ttl_s = int(age_s), ttl
        # When Age ticks, when the ttl ticks (with its last tick the value is stale), when Date does.
        until = min(now + 1.0 - age_s % 1.0, stored.born + stored.freshness.lifetime_s - ttl)
        wall = clock.wall()
        said = {Moving.AGE: b"%d" % self.age_s, Moving.TTL: b"%d" % ttl}
        if Moving.DATE in self.pieces:
            said[Moving.DATE] = written(wall).encode()
            until = min(until, now + 1.0 - wall % 1.0)
        self.head = b"".join([said[piece] if isinstance(piece, Moving) else piece for piece in self.pieces])
        if self.bytes <= ONE_PIECE_BYTES:
            self.whole = self.head + self.body
        self.until = until
        self.took_s = clock.monotonic() - now
        return True

    def lie_in(self, pages: Pages) -> None:
        """Its body is what lies there, and goes out of there if that is worth it."""
        self.body = pages.view[self.part_at : self.part_at + self.bytes]
        self.pages = pages if self.bytes >= PAGED_BYTES else None

    def let_go(self) -> None:
        """Hold on to nothing of the stored value any more."""
        self.until = 0.0
        self.head = self.body = b""
        self.whole = self.stored = self.pages = None
        self.pieces = ()

    def buffers(self) -> tuple[bytes | memoryview, ...]:
        """What to send."""
        return (self.head, self.body) if self.whole is None else (self.whole,)


class Sent(NamedTuple):
    """An answer given to a request with that head, which came at `asked_at` (monotonic, s). block: for the log."""

    answer: Answer
    head: bytes
    asked_at: float
    block: Block | None = None


def is_plain(headers: CIMultiDictProxy[str]) -> bool:
    """Whether a request has no conditions."""
    return not (
        hdrs.RANGE in headers
        or hdrs.IF_NONE_MATCH in headers
        or hdrs.IF_MODIFIED_SINCE in headers
        or hdrs.IF_MATCH in headers
        or hdrs.IF_UNMODIFIED_SINCE in headers
        or hdrs.IF_RANGE in headers
    )


def _body(entry: Entry, part: Part | None) -> bytes | memoryview:
    if part is None:
        return entry.body
    body = memoryview(entry.body)[part.first : part.last + 1]
    return bytes(body) if len(body) <= ONE_PIECE_BYTES else body


def _pieces(sent: bytes, hit: Hit) -> Pieces | None:
    """A head, with gaps for what moves; None when these are not where they should be."""
    age, status = _AGE.findall(sent), _CACHE_STATUS.search(sent)
    if len(age) != 1 or status is None or not status[1].endswith(hit.member.encode()):
        return None
    ttl = _TTL.search(sent, status.end(1) - len(hit.member.encode()), status.end(1))
    if ttl is None:
        return None
    gaps = {Moving.AGE: _AGE.search(sent), Moving.TTL: ttl, Moving.DATE: None if hit.dated else _DATE.search(sent)}
    spans = sorted((found.start(1), found.end(1), moving.value) for moving, found in gaps.items() if found is not None)
    pieces: list[bytes | Moving] = []
    end = 0
    for first, beyond, moving in spans:
        pieces += (sent[end:first], Moving(moving))
        end = beyond
    return (*pieces, sent[end:])

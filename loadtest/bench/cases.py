"""What the benchmark asks for, and what a right answer is."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from enum import Enum

from loadtest.bench import origin

FOLDER = "/media/bench"
CACHE_CONTROL = "public, max-age=31536000, immutable"
RANGE_BYTES = 1000
HOST = "edge.test"

# Who is asked.
EDGE = "edge"
LANE_OFF = "lane off"
"""The edge without its fast lane: hits take the short road."""
HANDLER = "handler"
"""The same, asked for what no other road answers, so that a handler does."""
FOR_A_HANDLER = {"Upgrade": "none"}
OTHER_ROADS = {LANE_OFF: "without the fast lane", HANDLER: "through a handler"}
APPLICATION = "web.Application"
NGINX = "nginx static"
NGINX_CACHE = "nginx cache"
NGINX_DEFAULT = "nginx untuned"
"""nginx as a cache that is told nothing about how to send: without sendfile and without a cache of open files."""
VARNISH = "Varnish"
FLOOR = "bare uvloop"
C_FLOOR = "bare C"
OWN_HIT = "its own hit"
"""The edge again, asked for the hit that a case is compared with."""
CACHES = (NGINX_CACHE, VARNISH)

MANY = 5_000
"""Connections that ask at once where there are many."""


class WrongAnswerError(Exception):
    """A server answered otherwise than it must, or not at all: the figures would mean nothing."""


class Kind(Enum):
    """How an object is asked for."""

    HIT = "hit"
    NOT_MODIFIED = "304"
    RANGE = "range"
    MISS = "miss"
    PASS = "pass"  # noqa: S105 - no password: nobody may store it


@dataclass(frozen=True, slots=True)
class Thing:
    """A published object; size in bytes."""

    name: str
    size: int
    content_type: str
    suffix: str

    @property
    def path(self) -> str:
        """Where the edge serves it."""
        return f"{FOLDER}/{self.name}{self.suffix}"

    def cold_path(self, number: int) -> str:
        """Where one of its copies is, which is asked for once only."""
        return f"{FOLDER}/cold/{self.name}-{number:05}{self.suffix}"

    def body_at(self, _path: str) -> bytes:
        """The same bytes in every run, and in every copy."""
        noise = random.Random(self.name)
        if self.suffix != ".json":
            return noise.randbytes(self.size)
        empty = json.dumps({"id": self.name, "text": ""})
        return json.dumps(
            {"id": self.name, "text": noise.randbytes(self.size).hex()[: self.size - len(empty)]}
        ).encode()


@dataclass(frozen=True, slots=True)
class Proxied:
    """An object that the benchmark's HTTP origin makes up; size in bytes. stored: whether caches may keep it."""

    name: str
    size: int
    stored: bool = True

    @property
    def path(self) -> str:
        """Its target at the origin, and so at every cache before it."""
        return f"/{'store' if self.stored else 'pass'}/{self.size}/{self.name}"

    def cold_path(self, number: int) -> str:
        """The target of a copy that is asked for once only."""
        return f"{self.path}/{number:05}"

    def body_at(self, path: str) -> bytes:
        """What the origin says there."""
        return origin.body(path)


DOCUMENT = Thing("document", 1_000, "application/json", ".json")
PLAYLIST = Thing("playlist", 13_000, "application/vnd.apple.mpegurl", ".m3u8")
SEGMENT = Thing("segment", 480_000, "video/iso.segment", ".m4s")
LARGE = Thing("large", 1_500_000, "video/iso.segment", ".m4s")
THINGS = (DOCUMENT, PLAYLIST, SEGMENT, LARGE)


@dataclass(frozen=True, slots=True)
class Case:
    """One row of a table.

    cold: how many distinct objects are asked for in each round, 0 for a case that asks for one hot object.
    beside: the title of the edge's own hit that this is compared with. peers: who else is asked, None for all.
    connections: at once, 0 for as many as planned. part: bytes of a range. hot: objects asked for in turns.
    """

    title: str
    thing: Thing | Proxied
    kind: Kind = Kind.HIT
    cold: int = 0
    beside: str = ""
    peers: tuple[str, ...] | None = None
    connections: int = 0
    part: int = RANGE_BYTES
    hot: int = 1

    @property
    def seldom(self) -> bool:
        """Whether it takes longer to begin, or to end, than a short measurement lasts."""
        return bool(self.cold) or self.connections == MANY or self.thing.size > LARGE.size

    def hot_paths(self) -> list[str]:
        """Where what is asked for again and again is."""
        return [self.thing.path, *map(self.thing.cold_path, range(self.hot - 1))]

    @property
    def length(self) -> int:
        """Bytes in the body of a right answer."""
        return {Kind.NOT_MODIFIED: 0, Kind.RANGE: self.part}.get(self.kind, self.thing.size)

    @property
    def status(self) -> int:
        """Status of a right answer."""
        return {Kind.NOT_MODIFIED: 304, Kind.RANGE: 206}.get(self.kind, 200)

    def body(self, path: str) -> bytes:
        """The body of a right answer under that path."""
        return self.thing.body_at(path)[: self.length]

    def fields(self, etag: str) -> dict[str, str]:
        """The request's own header fields."""
        if self.kind is Kind.NOT_MODIFIED:
            return {"If-None-Match": etag}
        return {"Range": f"bytes=0-{self.part - 1}"} if self.kind is Kind.RANGE else {}


def _hits(
    document: Thing | Proxied, playlist: Thing | Proxied, segment: Thing | Proxied, large: Thing | Proxied
) -> tuple[Case, ...]:
    """The plain hits, with the same titles in every table."""
    return (
        Case("hit, 1 kB document", document),
        Case("hit, 13 kB playlist", playlist),
        Case("hit, 480 kB segment", segment),
        Case("hit, 1.5 MB segment", large),
    )


HITS = _hits(*THINGS)
DOCUMENT_HIT, SEGMENT_HIT = HITS[0].title, HITS[2].title
PUBLISHED = (
    *HITS,
    # As little is sent as for a hit of 1 kB.
    Case("304, 1 kB document", DOCUMENT, Kind.NOT_MODIFIED, beside=DOCUMENT_HIT, peers=()),
    Case("range, 1 kB of 480 kB", SEGMENT, Kind.RANGE, beside=DOCUMENT_HIT, peers=()),
    Case("miss, 1 kB document", DOCUMENT, Kind.MISS, cold=200, beside=DOCUMENT_HIT, peers=()),
    Case("miss, 480 kB segment", SEGMENT, Kind.MISS, cold=32, beside=SEGMENT_HIT, peers=()),
)
"""Published objects: the edge with object storage and Redis."""

STORED = tuple(Proxied(thing.name, thing.size) for thing in THINGS)
_DOCUMENT, _, _SEGMENT, _ = STORED
FILM = Proxied("film", 64 * 1024 * 1024)
PRIVATE_FILM = Proxied("private", 64 * 1024 * 1024, stored=False)
_ROADS = (LANE_OFF, *CACHES)
_MEANWHILE = (NGINX_CACHE, NGINX_DEFAULT, VARNISH)
PROXIED = (
    *_hits(*STORED),
    # More than a processor's cache holds, as in a lesson's hour.
    Case("hits, 200 segments of 480 kB", Proxied("lesson", 480_000), peers=_MEANWHILE, hot=200),
    Case("hits, 60 segments of 1.5 MB", Proxied("lesson", 1_500_000), peers=_MEANWHILE, hot=60),
    Case(f"hit, 1 kB, {MANY:,} connections", _DOCUMENT, beside=DOCUMENT_HIT, connections=MANY),
    Case("304, 1 kB document", _DOCUMENT, Kind.NOT_MODIFIED, beside=DOCUMENT_HIT, peers=_ROADS),
    Case("304, 480 kB segment", _SEGMENT, Kind.NOT_MODIFIED, beside=DOCUMENT_HIT, peers=_ROADS),
    Case("range, 500 bytes of 1 kB", _DOCUMENT, Kind.RANGE, beside=DOCUMENT_HIT, peers=_ROADS, part=500),
    Case("range, 1 kB of 480 kB", _SEGMENT, Kind.RANGE, beside=DOCUMENT_HIT, peers=_ROADS),
    Case("miss, 1 kB document", _DOCUMENT, Kind.MISS, cold=400, beside=DOCUMENT_HIT, peers=CACHES),
    Case("miss, 480 kB segment", _SEGMENT, Kind.MISS, cold=32, beside=SEGMENT_HIT, peers=CACHES),
    Case("hit, 64 MB", FILM, peers=CACHES, connections=4),
    Case("miss, 64 MB", FILM, Kind.MISS, cold=3, beside="hit, 64 MB", peers=CACHES, connections=3),
    Case("pass, 64 MB", PRIVATE_FILM, Kind.PASS, beside="hit, 64 MB", peers=CACHES, connections=4),
)
"""An HTTP origin behind the edge and its peers alike."""

TLS = (
    *_hits(*STORED),
    Case(f"hit, 1 kB, {MANY:,} connections", _DOCUMENT, beside=DOCUMENT_HIT, connections=MANY),
    Case("304, 1 kB document", _DOCUMENT, Kind.NOT_MODIFIED, beside=DOCUMENT_HIT),
    Case("range, 1 kB of 480 kB", _SEGMENT, Kind.RANGE, beside=DOCUMENT_HIT),
    Case("miss, 1 kB document", _DOCUMENT, Kind.MISS, cold=200, beside=DOCUMENT_HIT),
)
"""The same over TLS, as far as a peer speaks it."""


def request(path: str, fields: dict[str, str]) -> bytes:
    """A request as a player sends it, keep-alive."""
    lines = {"Host": HOST, "User-Agent": "smartedu-bench", "Accept": "*/*"} | fields
    return "\r\n".join([f"GET {path} HTTP/1.1", *(f"{k}: {v}" for k, v in lines.items()), "", ""]).encode()

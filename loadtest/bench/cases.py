"""What the benchmark asks for, and what a right answer is."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from enum import Enum

FOLDER = "/media/bench"
CACHE_CONTROL = "public, max-age=31536000, immutable"
RANGE_BYTES = 1000


class WrongAnswerError(Exception):
    """A server answered otherwise than it must, or not at all: the figures would mean nothing."""


class Kind(Enum):
    """How an object is asked for."""

    HIT = "hit"
    NOT_MODIFIED = "304"
    RANGE = "range"
    MISS = "miss"


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

    def body(self) -> bytes:
        """The same bytes in every run."""
        noise = random.Random(self.name)
        if self.suffix != ".json":
            return noise.randbytes(self.size)
        empty = json.dumps({"id": self.name, "text": ""})
        return json.dumps(
            {"id": self.name, "text": noise.randbytes(self.size).hex()[: self.size - len(empty)]}
        ).encode()


DOCUMENT = Thing("document", 1_000, "application/json", ".json")
PLAYLIST = Thing("playlist", 13_000, "application/vnd.apple.mpegurl", ".m3u8")
SEGMENT = Thing("segment", 480_000, "video/iso.segment", ".m4s")
LARGE = Thing("large", 1_500_000, "video/iso.segment", ".m4s")
THINGS = (DOCUMENT, PLAYLIST, SEGMENT, LARGE)


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table.

    cold: how many distinct objects are asked for in each round, 0 for a case that asks for one hot object.
    beside: the title of the edge's own hit that this is compared with, '' for a hit, which is compared with the peers.
    """

    title: str
    thing: Thing
    kind: Kind = Kind.HIT
    cold: int = 0
    beside: str = ""

    @property
    def length(self) -> int:
        """Bytes in the body of a right answer."""
        return {Kind.NOT_MODIFIED: 0, Kind.RANGE: RANGE_BYTES}.get(self.kind, self.thing.size)

    @property
    def status(self) -> int:
        """Status of a right answer."""
        return {Kind.NOT_MODIFIED: 304, Kind.RANGE: 206}.get(self.kind, 200)

    @property
    def cache_status(self) -> bytes:
        """What the edge's Cache-Status says in a right answer."""
        return b"; fwd=uri-miss" if self.kind is Kind.MISS else b"; hit"

    def body(self) -> bytes:
        """The body of a right answer."""
        return self.thing.body()[: self.length]

    def fields(self, etag: str) -> dict[str, str]:
        """The request's own header fields."""
        if self.kind is Kind.NOT_MODIFIED:
            return {"If-None-Match": etag}
        return {"Range": f"bytes=0-{RANGE_BYTES - 1}"} if self.kind is Kind.RANGE else {}


HITS = (
    Case("hit, 1 kB document", DOCUMENT),
    Case("hit, 13 kB playlist", PLAYLIST),
    Case("hit, 480 kB segment", SEGMENT),
    Case("hit, 1.5 MB segment", LARGE),
)
# As little is sent as for a hit of 1 kB.
SHORT = (
    Case("304, 1 kB document", DOCUMENT, Kind.NOT_MODIFIED, beside=HITS[0].title),
    Case("range, 1 kB of 480 kB", SEGMENT, Kind.RANGE, beside=HITS[0].title),
)
MISSES = (
    Case("miss, 1 kB document", DOCUMENT, Kind.MISS, cold=200, beside=HITS[0].title),
    Case("miss, 480 kB segment", SEGMENT, Kind.MISS, cold=32, beside=HITS[2].title),
)
CASES = HITS + SHORT + MISSES


def request(path: str, fields: dict[str, str]) -> bytes:
    """A request as a player sends it, keep-alive."""
    lines = {"Host": "edge.test", "User-Agent": "smartedu-bench", "Accept": "*/*"} | fields
    return "\r\n".join([f"GET {path} HTTP/1.1", *(f"{k}: {v}" for k, v in lines.items()), "", ""]).encode()

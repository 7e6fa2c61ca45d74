"""The cache's slow tiers as a test needs them, and values to put into them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from edge.cache.disk import DiskTier
from edge.cache.files import Files
from edge.cache.freshness import head_of
from edge.cache.model import Entry, Head, Stored
from edge.cache.shared import RedisTier, connect
from edge.clock import Clock
from tests.support.ticking import ManualClock

LARGEST = 3_000_000
"""Bytes of the largest body that the tiers of these tests take."""
PATIENCE_S = 30.0
"""A deadline that a busy test machine keeps; the tests of slowness set their own."""


def head(clock: Clock, control: str = "max-age=60", *, length: int = 4) -> Head:
    """The head of a response just received."""
    headers = (
        ("cache-control", control),
        ("etag", '"e"'),
        ("surrogate-key", "lesson-1 all"),
        ("x-title", "专题教育"),
        ("x-twice", "1"),
        ("x-twice", "2"),
        ("content-length", str(length)),
    )
    return head_of(200, headers, now=clock.monotonic(), wall=clock.wall())


def entry(clock: Clock, body: bytes = b"body", control: str = "max-age=60") -> Entry:
    """A response just received."""
    return Entry(head(clock, control, length=len(body)), body)


def body_of(value: Stored | None) -> bytes | None:
    """The body of an entry that was found."""
    return bytes(value.body) if isinstance(value, Entry) else None


@asynccontextmanager
async def redis_tier(url: str, clock: Clock | None = None, **settings: Any) -> AsyncIterator[RedisTier]:
    """A running Redis tier."""
    client = connect(url, deadline_s=PATIENCE_S)
    given: dict[str, Any] = {
        "namespace": "test",
        "deadline_s": PATIENCE_S,
        "write_deadline_s": PATIENCE_S,
        "max_value_bytes": LARGEST,
        "probe_s": 0.05,
    }
    tier = RedisTier(client, clock=clock or ManualClock(), **(given | settings))
    await tier.start()
    try:
        yield tier
    finally:
        await tier.close()
        await client.aclose()


def disk_files(
    directory: Path,
    clock: Clock | None = None,
    *,
    max_bytes: int = 64 * 1024 * 1024,
    namespace: str = "test",
    kind: type[Files] = Files,
) -> Files:
    """The files of a disk tier, not open yet."""
    return kind(directory, namespace=namespace, max_bytes=max_bytes, clock=clock or ManualClock())


@asynccontextmanager
async def disk_tier(files: Files, clock: Clock | None = None, **settings: Any) -> AsyncIterator[DiskTier]:
    """A running disk tier."""
    given: dict[str, Any] = {"deadline_s": PATIENCE_S, "max_object_bytes": LARGEST, "probe_s": 0.05}
    tier = DiskTier(files, clock=clock or ManualClock(), **(given | settings))
    await tier.start()
    try:
        yield tier
    finally:
        await tier.close()


def values_in(directory: Path) -> list[Path]:
    """The files of a disk tier that hold values."""
    return sorted(directory.glob("v1/??/?/*"))


def occupied(directory: Path) -> int:
    """Bytes of disk that the values and what is half written take."""
    return sum(_space(path) for path in (*directory.glob("v1/??/?/*"), *directory.glob("v1/tmp/*/*")))


def _space(path: Path) -> int:
    try:
        return path.stat().st_blocks * 512
    except FileNotFoundError:
        return 0


def damages(data: bytes) -> Iterator[tuple[str, bytes]]:
    """What can become of bytes on their way, with a name each."""
    middle = len(data) // 2
    yield "a bit flipped in the body", data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
    yield "a bit flipped in the front", data[:40] + bytes([data[40] ^ 128]) + data[41:]
    yield "cut by one byte", data[:-1]
    yield "cut to nothing", b""
    yield "zeros at the end", data[:middle] + bytes(len(data) - middle)
    yield "one byte too many", data + b"\0"
    yield "another format", b"hello" * 9

"""The memory budget is a ceiling: slow readers of a huge object hold slices of it, whatever they ask for.

The long form (4 GiB, 500 readers): `SMARTEDU_LONG=1 .venv/bin/python -m pytest tests/faults/test_memory_ceiling.py -s`
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import time
from pathlib import Path

from tests.conftest import StartEdge
from tests.support.film import FilmOrigin, film_bytes

MIB = 1024 * 1024
LONG = bool(os.environ.get("SMARTEDU_LONG"))
READERS = 500 if LONG else 120
SIZE = (4096 if LONG else 1024) * MIB
BUDGET = 512 if LONG else 256
RUN_S = 45.0 if LONG else 8.0
SLOWNESS_S = 0.4  # between two looks of a reader at its socket
TAKE_BYTES = 32 * 1024


async def slow_reader(url: str, first: int, until: float) -> int:
    """Read a little, wait a little, compare every byte; how many were read."""
    while (taken := await read_slowly(url, first, until)) is None and time.monotonic() < until:  # noqa: ASYNC110
        await asyncio.sleep(1)  # as Retry-After says: so many cold blocks at once are more than fits
    return taken or 0


async def read_slowly(url: str, first: int, until: float) -> int | None:
    """The same, once; None when the edge is too busy."""
    host, port = re.fullmatch(r"http://([^:]+):(\d+)", url).groups()  # type: ignore[union-attr]
    reader, writer = await asyncio.open_connection(host, int(port), limit=TAKE_BYTES)
    try:
        writer.write(f"GET /film.mp4 HTTP/1.1\r\nHost: edge\r\nRange: bytes={first}-\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"HTTP/1.1 503"):
            assert b"Retry-After: " in head
            return None
        assert head.startswith(b"HTTP/1.1 206"), head
        offset = first
        while time.monotonic() < until and offset < SIZE:
            piece = await reader.read(TAKE_BYTES)
            assert piece == film_bytes(offset, len(piece))
            assert piece, f"cut at {offset}"
            offset += len(piece)
            await asyncio.sleep(SLOWNESS_S)
        return offset - first
    finally:
        writer.transport.abort()


def resident_mib(pid: int, line: str = "VmHWM") -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"{line}:\s+(\d+) kB", status)[1]) / 1024  # type: ignore[index]


async def test_slow_readers_of_a_huge_object_stay_within_the_memory_budget(edge: StartEdge) -> None:
    rng = random.Random(9)
    async with FilmOrigin(SIZE) as origin:
        node = await edge(origin=origin.url, memory=f"{BUDGET}MiB", s3_endpoint=None)
        (pid,) = node.worker_pids()
        idle = resident_mib(pid)
        until = time.monotonic() + RUN_S
        # Half of them begin where everybody begins, half anywhere: the worst for a cache.
        starts = [0] * (READERS // 2) + [rng.randrange(SIZE - 64 * MIB) for _ in range(READERS // 2)]
        taken = await asyncio.gather(*(slow_reader(node.url, first, until) for first in starts))
        peak = resident_mib(pid)
        print(  # noqa: T201 - the figures of the long form
            f"\n{READERS} readers of {SIZE / MIB:.0f} MiB, budget {BUDGET} MiB: peak {peak:.0f} MiB, idle {idle:.0f} "
            f"({peak / BUDGET:.2f} of the budget), {sum(taken) / MIB:.0f} MiB read, {len(origin.asked)} origin requests"
        )
        assert min(taken) > 0
        assert peak - idle <= BUDGET
        assert peak <= BUDGET * 1.1 or not LONG  # a small budget is dwarfed by the interpreter itself

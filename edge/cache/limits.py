"""How much and how long: the bounds of one worker's fills."""

from __future__ import annotations

from dataclasses import dataclass

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """max_object_bytes: larger objects are kept in blocks, or pass unstored where that is not possible.

    block_bytes: of a block; 0 keeps no blocks. readahead: blocks that are fetched ahead of a reader. fill_bytes,
    fill_wait_s: of the fill budget, per worker. pass_s: how long "do not share" is remembered. wait_s: how long a
    request waits for what a flight brings. max_passes, pass_wait_s: responses streamed past the cache at once, each of
    which holds an origin connection and up to half a mebibyte while its client reads, and how long a request waits for
    a place among them.
    """

    max_object_bytes: int = 8 * _MIB
    block_bytes: int = _MIB
    readahead: int = 2
    fill_bytes: int = 128 * _MIB
    fill_wait_s: float = 5.0
    pass_s: float = 10.0
    wait_s: float = 60.0
    max_passes: int = 48
    pass_wait_s: float = 5.0

    @classmethod
    def within(cls, memory_bytes: int, *, max_object_bytes: int | None = None, block_bytes: int = _MIB) -> Limits:
        """For a worker that may use so much memory: an object takes an eighth of it at most, all fills a fifth.

        In a small memory an object may take half, up to 4 MiB, so that segments are still coalesced.
        """
        largest = max_object_bytes or max(min(8 * _MIB, memory_bytes // 8), min(4 * _MIB, memory_bytes // 2))
        return cls(
            max_object_bytes=largest,
            block_bytes=min(block_bytes, largest),
            fill_bytes=max(memory_bytes // 5, largest * 4 // 3),  # bodies of unknown length get three quarters
            max_passes=min(512, max(48, memory_bytes // (4 * _MIB))),
        )


def stored_bytes(memory_bytes: int) -> int:
    """What the memory tier may hold of a worker's memory: the rest is for fills, and for what clients have not read."""
    return memory_bytes * 5 // 8

"""Locks on files, between processes. The kernel frees them however their holder dies."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.cache.descriptor import Descriptor

_POLL_S = 0.001


@contextmanager
def held(descriptor: int, *, within_s: float) -> Iterator[None]:
    """While the block runs nobody else holds the lock of that file. Blocks. Raises TimeoutError, and OSError."""
    deadline = time.monotonic() + within_s
    while not _taken(descriptor):
        if time.monotonic() > deadline:
            raise TimeoutError(f"a file lock was not free within {within_s:g} s")
        time.sleep(_POLL_S)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def claim(path: Path) -> Descriptor | None:
    """The lock of that file, held as long as the result lives; None while somebody else has it. Raises OSError."""
    file = Descriptor(path)
    return file if _taken(file.number) else None


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

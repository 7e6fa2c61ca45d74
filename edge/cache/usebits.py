"""Which files of the disk tier were used since the sweep last came by: a byte each, in one small file of all workers.

A file's byte is found by its name's hash, so that a hit costs one system call without a lock. Two names may share a
byte: then a use of one spares the other once, which does no harm.
"""

from __future__ import annotations

import os
from pathlib import Path

from edge.cache.descriptor import Descriptor

SLOTS = 1 << 22
_USED = b"\1"
_UNUSED = b"\0"


class UseBits:
    """path: of the file, made when it is missing. All methods block, and raise OSError."""

    def __init__(self, path: Path) -> None:
        self._file = Descriptor(path)

    def note(self, slot: int) -> None:
        """It was used."""
        if os.pread(self._file.number, 1, slot) != _USED:
            os.pwrite(self._file.number, _USED, slot)

    def take(self, slot: int) -> bool:
        """Whether it was used since the last time that this was asked."""
        used = os.pread(self._file.number, 1, slot) == _USED
        if used:
            os.pwrite(self._file.number, _UNUSED, slot)
        return used

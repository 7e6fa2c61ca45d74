"""An open file that is closed when nobody uses it any more.

A thread that hangs in a call on a disk may come back long after the tier was closed or its directory was made anew. Had
the number of its file been given to another file meanwhile, it would go on with that one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


class Descriptor:
    """path: opened for reading and writing, made when it is missing, readable for nobody else."""

    __slots__ = ("number",)

    def __init__(self, path: Path) -> None:
        self.number = -1
        self.number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def __del__(self, close: Callable[[int], None] = os.close) -> None:  # bound: it may be called at the very end
        if self.number >= 0:
            close(self.number)

"""A directory in memory that lives as long as a node, for files that are mapped and written.

A process that writes into a mapping for whose page the file system has no room is killed (SIGBUS). So such files are
not on the disk that journals and caches fill, where that can be helped.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - for directories of our own, with names that nobody can foresee
_LOCK = "node.lock"


@contextmanager
def scratch(otherwise: Path) -> Iterator[Path]:
    """The directory; on leaving, in the process that entered, it is removed.

    What nodes that were killed have left goes, too: each holds a lock in its own for as long as any of its processes
    lives. otherwise: where it is made if shared memory cannot be had. Raises OSError.
    """
    prefix = f"smartedu-{os.getuid()}-"
    try:
        _remove_left(prefix)
        directory = Path(tempfile.mkdtemp(prefix=prefix, dir=SHARED_MEMORY))
    except OSError:
        directory = otherwise
        directory.mkdir(exist_ok=True, mode=0o700)
    lock = _locked(directory)
    owner = os.getpid()
    try:
        yield directory
    finally:
        if os.getpid() == owner:  # and not a worker that was forked meanwhile
            shutil.rmtree(directory, ignore_errors=True)
            os.close(lock)


def _locked(directory: Path) -> int:
    """The descriptor of its lock, which gets its name once it is held, so that no other node finds it free."""
    unnamed = directory / f"{_LOCK}.new"
    lock = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    unnamed.rename(directory / _LOCK)
    return lock


def _remove_left(prefix: str) -> None:
    for directory in SHARED_MEMORY.glob(f"{prefix}*"):
        with suppress(OSError):  # it has no lock yet, or it is held
            descriptor = os.open(directory / _LOCK, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(directory, ignore_errors=True)
            finally:
                os.close(descriptor)

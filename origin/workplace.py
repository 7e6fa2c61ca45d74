"""The directory one lesson is made in: held by one process, kept when that is killed, removed when all is published."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from origin.errors import PublishError, WrongInputError

# No directory can be made or written at a place like this, however often it is tried.
MISPLACED = (errno.EEXIST, errno.ENOTDIR, errno.EACCES, errno.EROFS, errno.ENAMETOOLONG)


@contextmanager
def workplace(root: Path, name: str) -> Iterator[Path]:
    """`root/name`, locked. Left well it is removed, left by an error it stays for the next run.

    Raises PublishError when another process holds it or it can't be made, WrongInputError where none can be made.
    """
    directory = root / name
    lock = root / f"{name}.lock"
    descriptor = _locked(lock, directory)
    try:
        _made(directory)
        yield directory
        shutil.rmtree(directory, ignore_errors=True)
        lock.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _locked(lock: Path, directory: Path) -> int:
    """The lock file, open and held. The kernel frees it when its holder ends, however it ends."""
    while True:
        try:
            _made(lock.parent)
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unusable(lock.parent, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise PublishError(f"another publisher is at work on this lesson in {directory}") from None
        # Its holder may have removed the file between our opening and our locking it: then it locks nothing.
        if lock.exists() and os.fstat(descriptor).st_ino == lock.stat().st_ino:
            return descriptor
        os.close(descriptor)


def _made(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(directory, error) from error


def _unusable(directory: Path, error: OSError) -> PublishError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return PublishError(f"no space left in the work directory {directory}")
    kind = WrongInputError if error.errno in MISPLACED else PublishError
    return kind(f"the work directory {directory} can't be used: {error.strerror}")

"""The directory tree in which the disk tier's files lie, and how a file comes into its place and out of it.

    ROOT/ab/c/….     a file, under its name: a hash of 32 hexadecimal digits
    ROOT/tmp/SEAT/   what the worker that holds this seat is writing
    ROOT/seats/      the seats' locks
    ROOT/ledger      what it all takes;  ROOT/used  what was used lately;  ROOT/*.lock  whose turn it is

A file is written under `tmp`, then renamed into its place: a reader sees the old one, the new one or none. Nothing is
synced; whoever reads must notice a file that was torn by a power cut.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from edge.cache.descriptor import Descriptor
from edge.cache.filelock import claim
from edge.cache.ledger import BUCKETS, SEATS, Ledger
from edge.cache.sweep import Sweep, bucket_of, place_of, space
from edge.cache.usebits import SLOTS, UseBits
from edge.clock import Clock

_COUNT_AT_ONCE = 20_000  # files: listing and looking at them takes about a tenth of a second
_SPARE_SHARE = 64
_SPARE_BYTES = 1024**3
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Tree:
    """The tree as it was found or made at one time, with this worker's seat in it. It blocks, and raises OSError.

    root: of the format version. max_bytes: what all files together may take. Making one makes what is missing, takes a
    seat, and removes what dead workers left half written.
    """

    def __init__(self, root: Path, max_bytes: int, clock: Clock) -> None:
        self.root = root
        self._max_bytes = max_bytes
        fresh = _made(root)
        _made(root / "seats")
        self.ledger = Ledger(root / "ledger")
        self.bits = UseBits(root / "used")
        self.sweep = Sweep(root, self.ledger, limit=max_bytes, used=self._used, wall=clock.wall)
        self._counted = 0
        self._counting: Descriptor | None = None
        self._written = 0
        self._clear_up()
        self._seat, self._lock = self._seated()
        self._temporary = root / "tmp" / str(self._seat)
        _made(self._temporary)
        if fresh:
            self._set_complete()
        self.make_way()

    def path(self, name: str) -> str:
        """Where the file of that name lies."""
        return place_of(self.root, name)

    def note_use(self, name: str) -> None:
        """It was used: the sweep spares it once."""
        self.bits.note(_slot(name))

    def make_way(self) -> None:
        """Take no more of the disk than others leave, and leave a part of it to them."""
        disk = os.statvfs(self.root)
        spare = min(disk.f_blocks * disk.f_frsize // _SPARE_SHARE, _SPARE_BYTES)
        free = disk.f_bavail * disk.f_frsize - spare
        self.sweep.limit = min(self._max_bytes, self.ledger.totals().bytes + free)

    def reserve(self, size: int) -> bool:
        """Make sure of room for a file."""
        for _ in range(2):
            with self.ledger.locked():
                if self.ledger.reserve(self._seat, size, self.sweep.limit):
                    return True
            if not self.sweep.make_room(size):
                return False
        return False

    def store(self, name: str, data: tuple[bytes, bytes | memoryview], until: float) -> None:
        """Write a file for which room was reserved, and put it into its place."""
        self._written += 1
        temporary = self._temporary / str(self._written)
        try:
            status = _write(temporary, data, until)
            self._move(temporary, name, status)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            with suppress(OSError), self.ledger.locked():
                self.ledger.release(self._seat)
            raise

    def discard(self, name: str, inode: int | None = None) -> None:
        """Take a file away, if it is still that one."""
        path = Path(self.path(name))
        with suppress(FileNotFoundError), self.ledger.locked():
            status = path.stat()
            if inode in (None, status.st_ino):
                path.unlink()
                self.ledger.change(bucket_of(name), size=-space(status), files=-1)

    def count_on(self) -> None:
        """Count all files, a part with each call, if nobody did since the machine was booted and nobody else does."""
        if self.ledger.counted_under(_boot_id()):
            return
        self._counting = self._counting or claim(self.root / "count.lock")
        files = 0
        while self._counting is not None and files < _COUNT_AT_ONCE:
            if self._counted == BUCKETS:
                self._counting, self._counted = None, 0
                self._set_complete()
                return
            files += len(self.sweep.count(self._counted)[0])
            self._counted += 1

    def _move(self, temporary: Path, name: str, status: os.stat_result) -> None:
        target = Path(self.path(name))
        if not target.parent.exists():
            _made(target.parent)
        with self.ledger.locked():
            old = _status(target)
            temporary.rename(target)
            self.ledger.release(self._seat)
            grown = space(status) - (space(old) if old is not None else 0)
            self.ledger.change(bucket_of(name), size=grown, files=int(old is None))

    def _set_complete(self) -> None:
        with self.ledger.locked():
            self.ledger.set_complete(_boot_id())

    def _used(self, name: str) -> bool:
        return self.bits.take(_slot(name))

    def _seated(self) -> tuple[int, Descriptor]:
        """A seat that nobody has."""
        for number in range(SEATS):
            lock = claim(self.root / "seats" / str(number))
            if lock is not None:
                self._clear_seat(number)
                return number, lock
        raise OSError(f"more than {SEATS} workers share the disk tier")

    def _clear_up(self) -> None:
        """Remove what dead workers left."""
        for directory in _inside(self.root / "tmp"):
            if directory.name.isdigit() and int(directory.name) < SEATS:
                lock = claim(self.root / "seats" / directory.name)
                if lock is not None:
                    self._clear_seat(int(directory.name))

    def _clear_seat(self, number: int) -> None:
        for leftover in _inside(self.root / "tmp" / str(number)):
            leftover.unlink(missing_ok=True)
        with self.ledger.locked():
            self.ledger.release(number)


def _inside(directory: Path) -> list[Path]:
    return list(directory.iterdir()) if directory.exists() else []


def _write(path: Path, data: tuple[bytes, bytes | memoryview], until: float) -> os.stat_result:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        rest = [memoryview(part) for part in data]
        while rest:
            written = os.writev(descriptor, rest)
            rest = _after(rest, written)
        os.utime(descriptor, (until, until))
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


def _after(parts: list[memoryview], written: int) -> list[memoryview]:
    """What is left of the parts after so many bytes."""
    left = []
    for part in parts:
        if written < len(part):
            left.append(part[written:])
        written = max(0, written - len(part))
    return left


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _made(directory: Path) -> bool:
    """Make it and its parents, for this user alone; whether it was missing."""
    if directory.is_dir():
        return False
    if not directory.parent.is_dir():
        _made(directory.parent)
    with suppress(FileExistsError):
        directory.mkdir(mode=0o700)
        return True
    return not directory.is_dir()  # a file in its place fails at the next step


def _slot(name: str) -> int:
    return int(name[-6:], 16) % SLOTS


def _boot_id() -> bytes:
    """Of the running kernel: changes with every boot."""
    return bytes.fromhex(_BOOT_ID.read_text().strip().replace("-", ""))

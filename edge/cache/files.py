"""The disk tier's files: one per value, under a hash of its key. Every method blocks; threads call them.

    DIR/v1/ab/c/….     a value: its record (see `record`). Its modification time says until when it is of use
    DIR/v1/tmp/SEAT/   what the worker that holds this seat is writing
    DIR/v1/seats/      the seats' locks
    DIR/v1/ledger      what it all takes;  DIR/v1/used  what was used lately;  *.lock  whose turn it is

A value is written under `tmp`, then renamed into its place: a reader sees the old one, the new one or none. Nothing is
synced: after a power cut a file may be torn, its sums tell, and it is a miss. There is no index but the directory, so a
restart loses nothing and waits for nothing. A tree that vanishes is made anew by the next write.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from edge.cache import record
from edge.cache.descriptor import Descriptor
from edge.cache.filelock import claim
from edge.cache.ledger import BUCKETS, SEATS, Ledger, Totals
from edge.cache.model import CacheKey, Stored
from edge.cache.record import DamageError
from edge.cache.sweep import Sweep, bucket_of, place_of, space, space_for
from edge.cache.usebits import SLOTS, UseBits
from edge.clock import Clock

_FORMAT = "v1"
_FIRST_READ = 4096  # bytes: the front of nearly every record
_SMALL = 16 * 1024  # bytes: up to here a file is read at once
_LONGEST_S = 400 * 86400.0
_COUNT_AT_ONCE = 20_000  # files: listing and looking at them takes about a tenth of a second
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Useless:
    """A file that is to be taken away: too old, or `damage` says what is wrong with it. inode: which one that was."""

    name: str
    inode: int
    damage: str = ""


class Files:
    """directory: of this node's disk tier, whoever's worker. namespace: of the origin whose objects these are.

    max_bytes: what all files together may take on the disk, by all workers; directories (at most 20 MB) and the ledger
    come on top of it.
    """

    def __init__(self, directory: Path, *, namespace: str, max_bytes: int, clock: Clock) -> None:
        self.max_bytes = max_bytes
        self._directory = directory
        self._namespace = namespace.encode()
        self._clock = clock
        self._place: _Place | None = None
        self._evicted_before = 0

    @property
    def is_open(self) -> bool:
        """Whether `open` succeeded."""
        return self._place is not None

    @property
    def evictions(self) -> int:
        """Files that this worker evicted."""
        return self._evicted_before + (self._place.sweep.evictions if self._place is not None else 0)

    def open(self) -> None:
        """Make what is missing, take a seat, and remove what dead workers left half written. Raises OSError."""
        place = _Place(self._directory / _FORMAT, self.max_bytes, self._clock)
        self._evicted_before, self._place = self.evictions, place

    def close(self) -> None:
        """Give the seat back, as soon as no thread is busy here any more."""
        self._place = None

    def read(self, key: CacheKey) -> Stored | Useless | None:
        """What is stored under the key, and note its use. Raises OSError when the disk does not do what it should."""
        place, name = self._opened(), self._name(key)
        try:
            descriptor = os.open(f"{place.root}/{name[:2]}/{name[2]}/{name[3:]}", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            status = os.fstat(descriptor)
            if status.st_mtime <= self._clock.wall():
                return Useless(name, status.st_ino)
            value = self._value(key, descriptor, status.st_size)
        except ValueError as damage:
            return Useless(name, status.st_ino, str(damage))
        finally:
            os.close(descriptor)
        with suppress(OSError):
            place.bits.note(_slot(name))
        return value

    def write(self, key: CacheKey, value: Stored) -> bool:
        """Store it in place of what was there; False when no room can be made. Raises OSError; then it is not."""
        if self._opened().ledger.lost:
            self.open()
        try:
            return self._written(key, value)
        except FileNotFoundError:  # a part of the tree has vanished
            self.open()
            return self._written(key, value)

    def remove(self, key: CacheKey) -> None:
        """Forget it. Raises OSError."""
        self._opened().discard(self._name(key))

    def discard(self, useless: Useless) -> None:
        """Take that file away, unless another one has come into its place. Raises OSError."""
        self._opened().discard(useless.name, useless.inode)

    def make_room(self) -> None:
        """The disk is full though the tier is not: give up a part of it. Raises OSError."""
        place = self._opened()
        place.sweep.make_room(0, at_least=max(1, place.ledger.totals().bytes // 64))

    def tend(self, used: Iterable[CacheKey] = ()) -> Totals:
        """A little housekeeping, about a tenth of a second; what all files take. Raises OSError.

        used: keys that were used without being read here.
        """
        if self._opened().ledger.lost:
            self.open()
        place = self._opened()
        for key in used:
            place.bits.note(_slot(self._name(key)))
        place.count_on()
        return place.ledger.totals()

    def probe(self) -> None:
        """Whether a file can be opened and read from the disk. Raises OSError."""
        place = self._opened()
        descriptor = os.open(place.root / "used", os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.posix_fadvise(descriptor, 0, _FIRST_READ, os.POSIX_FADV_DONTNEED)
            os.pread(descriptor, 1, 0)
        finally:
            os.close(descriptor)

    def _opened(self) -> _Place:
        if self._place is None:
            raise OSError("the disk tier is not open")
        return self._place

    def _name(self, key: CacheKey) -> str:
        named = b"\0".join((self._namespace, key.uri.encode("utf-8", "surrogatepass"), key.part.encode()))
        return blake2b(named, digest_size=16).hexdigest()

    def _written(self, key: CacheKey, value: Stored) -> bool:
        place = self._opened()
        now, wall = self._clock.monotonic(), self._clock.wall()
        until = wall + min(record.worth_keeping_s(value, now), _LONGEST_S)
        data = record.seal(key, value, mark=str(value.mark), now=now, wall=wall)
        if not place.ledger.complete or not place.reserve(space_for(len(data[0]) + len(data[1]))):
            return False
        place.store(self._name(key), data, until)
        return True

    def _value(self, key: CacheKey, descriptor: int, size: int) -> Stored:
        data = os.pread(descriptor, size if size <= _SMALL else _FIRST_READ, 0)
        missing = record.front_bytes(data) - len(data)
        if missing > 0:
            data += os.pread(descriptor, min(missing, size), len(data))
        cover = record.cover(data)
        if cover.size != size or cover.key != key:
            raise DamageError("another value's record, or another size than was written")
        body = data[cover.body_at :] if len(data) == size else os.pread(descriptor, cover.body_bytes, cover.body_at)
        return cover.value(body, mark=int(cover.mark), now=self._clock.monotonic(), wall=self._clock.wall())


class _Place:
    """The tree as it was found at one time, with this worker's seat in it."""

    def __init__(self, root: Path, max_bytes: int, clock: Clock) -> None:
        self.root = root
        self._max_bytes = max_bytes
        fresh = _made(root)
        _made(root / "seats")
        self.ledger = Ledger(root / "ledger")
        self.bits = UseBits(root / "used")
        self.sweep = Sweep(root, self.ledger, max_bytes=max_bytes, used=self._used, wall=clock.wall)
        self._counted = 0
        self._counting: Descriptor | None = None
        self._written = 0
        self._clear_up()
        self._seat, self._lock = self._seated()
        self._temporary = root / "tmp" / str(self._seat)
        _made(self._temporary)
        if fresh:
            self.ledger.set_complete(_boot_id())

    def reserve(self, size: int) -> bool:
        """Make sure of room for a file."""
        for _ in range(2):
            with self.ledger.locked():
                if self.ledger.reserve(self._seat, size, self._max_bytes):
                    return True
            if not self.sweep.make_room(size):
                return False
        return False

    def store(self, name: str, data: tuple[bytes, bytes], until: float) -> None:
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
        path = place_of(self.root, name)
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
                self.ledger.set_complete(_boot_id())
                return
            files += len(self.sweep.count(self._counted)[0])
            self._counted += 1

    def _move(self, temporary: Path, name: str, status: os.stat_result) -> None:
        target = place_of(self.root, name)
        if not target.parent.exists():
            _made(target.parent)
        with self.ledger.locked():
            old = _status(target)
            temporary.rename(target)
            self.ledger.release(self._seat)
            grown = space(status) - (space(old) if old is not None else 0)
            self.ledger.change(bucket_of(name), size=grown, files=int(old is None))

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


def _write(path: Path, data: tuple[bytes, bytes], until: float) -> os.stat_result:
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

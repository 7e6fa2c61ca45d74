"""What the disk tier's files take, counted once for all workers of a node: one small file, changed under its lock.

    magic(8) boot(16) complete(8) next group(8)
    256 buckets:  bytes(8) files(8) changes(8) hand(8)
    256 seats:    bytes that this worker is about to add (8)

A bucket is the part of the tree under one first-level directory. Files are put into their place, and taken out of it,
under this lock together with the change of the books, so a killed worker leaves them wrong by one file at most, and its
seat's reservation until the seat is taken again. The sweep counts every bucket that it comes by anew.

The file survives `kill -9` in the page cache. After a power cut it may be older than the files, or empty: `boot` is the
kernel's boot id at the last full count, and as long as `complete` is zero nothing was ever counted and nobody may add.

Read and written, not mapped: a mapped page that the disk cannot bring is SIGBUS, and the end of the worker.
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from edge.cache.descriptor import Descriptor
from edge.cache.filelock import held

BUCKETS = 256
SEATS = 256

_MAGIC = b"SELEDG01"
_HEAD = struct.Struct("<8s16sQQ")
_BUCKET = struct.Struct("<QQQQ")
_SEAT = struct.Struct("<Q")
_NUMBERS = struct.Struct(f"<{4 * BUCKETS + SEATS}Q")
_BUCKETS_AT = _HEAD.size
_SEATS_AT = _BUCKETS_AT + BUCKETS * _BUCKET.size
_SIZE = _SEATS_AT + SEATS * _SEAT.size
_LOCK_WITHIN_S = 5.0


class Totals(NamedTuple):
    """Of the whole tier. reserved: bytes of files that are being written."""

    bytes: int
    files: int
    reserved: int


class Bucket(NamedTuple):
    """One bucket's line. changes: counts what was added and taken out. hand: see `sweep`."""

    bytes: int
    files: int
    changes: int
    hand: int


class Ledger:
    """path: of the file, made when it is missing. All methods block, and raise OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = Descriptor(path)
        self._mutex = threading.Lock()  # a file lock does not hold between threads with the same open file
        with self.locked():
            if os.pread(self._file.number, len(_MAGIC), 0) != _MAGIC or self._size() != _SIZE:
                os.ftruncate(self._file.number, 0)
                os.pwrite(self._file.number, _HEAD.pack(_MAGIC, bytes(16), 0, 0).ljust(_SIZE, b"\0"), 0)

    @property
    def lost(self) -> bool:
        """Whether the file was removed, replaced or cut, so that it counts nothing any more."""
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return True
        return not os.path.samestat(there, os.fstat(self._file.number)) or there.st_size != _SIZE

    @contextmanager
    def locked(self) -> Iterator[None]:
        """While the block runs, no other worker or thread changes the books, nor the files they are about."""
        if not self._mutex.acquire(timeout=_LOCK_WITHIN_S):
            raise TimeoutError("the ledger is held by a call that hangs")
        try:
            with held(self._file.number, within_s=_LOCK_WITHIN_S):
                yield
        finally:
            self._mutex.release()

    def totals(self) -> Totals:
        """What all files take now, as far as was counted."""
        numbers = _NUMBERS.unpack(self._read(_NUMBERS.size, _BUCKETS_AT))
        buckets = numbers[: 4 * BUCKETS]
        return Totals(sum(buckets[0::4]), sum(buckets[1::4]), sum(numbers[4 * BUCKETS :]))

    def bucket(self, number: int) -> Bucket:
        """The line of one bucket."""
        return Bucket(*_BUCKET.unpack(self._read(_BUCKET.size, _bucket_at(number))))

    # To be called under the lock:

    def reserve(self, seat: int, size: int, limit: int) -> bool:
        """Make sure of room for a file of that size in a tier of `limit` bytes; False when there is none."""
        totals = self.totals()
        if totals.bytes + totals.reserved + size > limit:
            return False
        self._write(_SEAT.pack(size), _SEATS_AT + seat * _SEAT.size)
        return True

    def release(self, seat: int) -> None:
        """Take the reservation back."""
        self._write(_SEAT.pack(0), _SEATS_AT + seat * _SEAT.size)

    def change(self, number: int, *, size: int, files: int) -> None:
        """Add a file's bytes to a bucket, or take them out of it."""
        old = self.bucket(number)
        new = old._replace(
            bytes=max(0, old.bytes + size), files=max(0, old.files + files), changes=(old.changes + 1) & 0xFFFFFFFF
        )
        self._write(_BUCKET.pack(*new), _bucket_at(number))

    def recount(self, number: int, counted: Bucket) -> None:
        """Write down what was counted, unless the bucket changed since its `changes` were read."""
        now = self.bucket(number)
        if now.changes == counted.changes:
            self._write(_BUCKET.pack(*counted._replace(hand=now.hand)), _bucket_at(number))

    def set_hand(self, number: int, hand: int) -> None:
        """Where the sweep of a bucket's group goes on."""
        self._write(_BUCKET.pack(*self.bucket(number)._replace(hand=hand)), _bucket_at(number))

    def next_group(self, groups: int) -> int:
        """The group whose turn it is; the next call gives the one after it."""
        magic, boot, complete, group = _HEAD.unpack(self._read(_HEAD.size, 0))
        self._write(_HEAD.pack(magic, boot, complete, (group + 1) % groups), 0)
        return int(group % groups)

    def set_complete(self, boot: bytes) -> None:
        """Everything has been counted, under this boot."""
        magic, _, _, group = _HEAD.unpack(self._read(_HEAD.size, 0))
        self._write(_HEAD.pack(magic, boot, 1, group), 0)

    # Whether the books can be trusted:

    @property
    def complete(self) -> bool:
        """Whether everything was counted once."""
        return bool(_HEAD.unpack(self._read(_HEAD.size, 0))[2])

    def counted_under(self, boot: bytes) -> bool:
        """Whether everything was counted since the machine was booted."""
        return self.complete and bytes(_HEAD.unpack(self._read(_HEAD.size, 0))[1]) == boot

    def _size(self) -> int:
        return os.fstat(self._file.number).st_size

    def _read(self, size: int, at: int) -> bytes:
        data = os.pread(self._file.number, size, at)
        if len(data) != size:
            raise OSError("the ledger of the disk tier was cut short")
        return data

    def _write(self, data: bytes, at: int) -> None:
        os.pwrite(self._file.number, data, at)


def _bucket_at(number: int) -> int:
    return _BUCKETS_AT + number * _BUCKET.size

"""The disk tier's values: a file each, under a hash of its key. Every method blocks; threads call them.

A file is a value's record (see `record`); its modification time says until when the value is of use. There is no index
but the directory (see `tree`), so a restart loses nothing and waits for nothing. A file that was torn by a power cut is
told by its sums, and is a miss. A tree that vanishes is made anew by the next write.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from edge.cache import record
from edge.cache.ledger import Totals
from edge.cache.model import CacheKey, Stored
from edge.cache.record import DamageError
from edge.cache.sweep import space_for
from edge.cache.tree import Tree
from edge.clock import Clock

_FORMAT = "v1"
_FIRST_READ = 4096  # bytes: the front of nearly every record
_SMALL = 16 * 1024  # bytes: up to here a file is read at once
_LONGEST_S = 400 * 86400.0


@dataclass(frozen=True, slots=True)
class Useless:
    """A file that is to be taken away: too old, or `damage` says what is wrong with it. inode: which one that was."""

    name: str
    inode: int
    damage: str = ""


class Files:
    """directory: of this node's disk tier, whoever's worker. namespace: of the origin whose objects these are.

    max_bytes: what all files together may take on the disk, by all workers; directories (at most 20 MB) and the ledger
    come on top of it. A 64th of the disk is left free for others in any case, 1 GiB at most.
    """

    def __init__(self, directory: Path, *, namespace: str, max_bytes: int, clock: Clock) -> None:
        self.max_bytes = max_bytes
        self._directory = directory
        self._namespace = namespace.encode()
        self._clock = clock
        self._tree: Tree | None = None
        self._evicted_before = 0

    @property
    def is_open(self) -> bool:
        """Whether `open` succeeded."""
        return self._tree is not None

    @property
    def evictions(self) -> int:
        """Files that this worker evicted."""
        return self._evicted_before + (self._tree.sweep.evictions if self._tree is not None else 0)

    def open(self) -> None:
        """Make what is missing, take a seat, and remove what dead workers left half written. Raises OSError."""
        tree = Tree(self._directory / _FORMAT, self.max_bytes, self._clock)
        self._evicted_before, self._tree = self.evictions, tree

    def close(self) -> None:
        """Give the seat back, as soon as no thread is busy here any more."""
        self._tree = None

    def read(self, key: CacheKey) -> Stored | Useless | None:
        """What is stored under the key, and note its use. Raises OSError when the disk does not do what it should."""
        tree, name = self._opened(), self._name(key)
        try:
            descriptor = os.open(tree.path(name), os.O_RDONLY | os.O_CLOEXEC)
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
            tree.note_use(name)
        return value

    def lacks_any(self, keys: Iterable[CacheKey]) -> bool:
        """Whether there is no file for one of the keys. Raises OSError."""
        tree = self._opened()
        return not all(os.path.exists(tree.path(self._name(key))) for key in keys)  # noqa: PTH110 - a str

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
        tree = self._opened()
        tree.sweep.make_room(0, at_least=max(1, tree.ledger.totals().bytes // 64))

    def tend(self, used: Iterable[CacheKey] = ()) -> Totals:
        """A little housekeeping, about a tenth of a second; what all files take. Raises OSError.

        used: keys that were used without being read here.
        """
        if self._opened().ledger.lost:
            self.open()
        tree = self._opened()
        for key in used:
            tree.note_use(self._name(key))
        tree.count_on()
        tree.make_way()
        return tree.ledger.totals()

    def probe(self) -> None:
        """Whether a file can be opened and read from the disk. Raises OSError."""
        tree = self._opened()
        descriptor = os.open(tree.root / "used", os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.posix_fadvise(descriptor, 0, _FIRST_READ, os.POSIX_FADV_DONTNEED)
            os.pread(descriptor, 1, 0)
        finally:
            os.close(descriptor)

    def _opened(self) -> Tree:
        if self._tree is None:
            raise OSError("the disk tier is not open")
        return self._tree

    def _name(self, key: CacheKey) -> str:
        named = b"\0".join((self._namespace, key.uri.encode("utf-8", "surrogatepass"), key.part.encode()))
        return blake2b(named, digest_size=16).hexdigest()

    def _written(self, key: CacheKey, value: Stored) -> bool:
        tree = self._opened()
        now, wall = self._clock.monotonic(), self._clock.wall()
        until = wall + min(record.worth_keeping_s(value, now), _LONGEST_S)
        data = record.seal(key, value, mark=str(value.mark), now=now, wall=wall)
        if not tree.ledger.complete or not tree.reserve(space_for(len(data[0]) + len(data[1]))):
            return False
        tree.store(self._name(key), data, until)
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

"""The purges a node has heard of: one append-only file, shared by its workers, on disk before anybody is told.

    DATA/purges/lock    flock: whoever holds it may read to the end and write; its time: when the bus was last heard
    DATA/purges/log     lines as in `edge.cache.purge_lines`

* Only the holder of the lock reads or writes, so what follows the last line break is a dead writer's, never confirmed
  to anybody, and is cut.
* A line with a wrong checksum may have been any purge. Its position is never given out again, and a purge of
  everything, of the kind VALIDATE, takes its place.
* The first position of a new log is the time in ms. Positions of a log that was lost, which entries on a disk may still
  carry, are smaller: those entries are validated before use.
* Beyond `max_records` the file is written anew (to another one, renamed) without what later purges made superfluous
  and, if that is not enough, with the oldest folded.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from uuid import uuid4

from edge.cache.purge import PurgeRecord
from edge.cache.purge_lines import DAMAGED, MISSED, Ledger, News, everything, line, purge_line

DEFAULT_RECORDS: Final = 100_000
REMEMBER_S: Final = 86_400.0
"""How old a purge may be to be told to a bus that does not have it."""

_LOCK_POLL_S: Final = 0.002


class PurgeLogError(Exception):
    """The log cannot be read or written; nothing was recorded."""


class PurgeLog:
    """All methods block: they are for a thread, one call at a time.

    directory: made when it is missing. node: this node's name, for records that the log makes itself.
    has_bus: other nodes are to hear of what is recorded here. wall: seconds since the epoch. lock_within_s: how long a
    sibling may hold the lock.
    """

    def __init__(
        self,
        directory: Path,
        *,
        node: str,
        wall: Callable[[], float],
        has_bus: bool = True,
        max_records: int = DEFAULT_RECORDS,
        lock_within_s: float = 5.0,
    ) -> None:
        self._directory = directory
        self._path = directory / "log"
        self._node = node
        self._wall = wall
        self._has_bus = has_bus
        self._max_records = max_records
        self._lock_within_s = lock_within_s
        self._lock = -1
        self._file = -1
        self._identity: tuple[int, int] | None = None
        self._offset = 0
        self._news: list[News] = []
        self.ledger = Ledger()

    def close(self) -> None:
        """Close the files."""
        for descriptor in (self._file, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._lock = -1

    def changed(self) -> bool:
        """Whether there may be something to read. Takes no lock."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return True
        return (found.st_dev, found.st_ino) != self._identity or found.st_size != self._offset

    def read(self) -> list[News]:
        """What has come since the last call. Raises PurgeLogError, as all that follow."""
        return self._do(list)

    def add(self, records: Sequence[PurgeRecord]) -> list[News]:
        """Record purges, those not yet known; and what has come since the last call."""
        return self._do(lambda: self.ledger.purges(records))

    def adopt(self, bus: str, birth: int, genesis: str) -> list[News]:
        """The bus is another one, which began with the record `genesis` at epoch `birth`."""
        return self._do(lambda: self._adoption(bus, birth, genesis))

    def touch(self) -> None:
        """Note that everything the bus has is known. Raises OSError."""
        os.utime(self._lock, (self._wall(), self._wall()))

    def hear(self, bus: str, entries: Sequence[tuple[int, PurgeRecord]]) -> list[News]:
        """Record what this bus has, (epoch, record) in order; nothing is taken beyond a gap in the epochs."""
        return self._do(lambda: self.ledger.hearings(entries) if self.ledger.bus == bus else [])

    def skip(self, bus: str, epoch: int) -> list[News]:
        """The bus no longer has what it had up to this epoch, and we have not heard all of it."""
        return self._do(lambda: self.ledger.skip(epoch, self._stand_in(MISSED)) if self.ledger.bus == bus else [])

    def place(self, bus: str, epochs: Mapping[str, int]) -> list[News]:
        """The bus had these records (id -> epoch) before; they were not known to be the same."""
        return self._do(lambda: self.ledger.late_places(epochs) if self.ledger.bus == bus else [])

    def _adoption(self, bus: str, birth: int, genesis: str) -> list[bytes]:
        known = self.ledger
        if known.bus == bus:
            return []
        lines = [line("bus", bus, birth, genesis)]
        if known.bus and self._wall() - os.fstat(self._lock).st_mtime > REMEMBER_S:
            # What others heard of since then is too old to be told to the new bus.
            lines.append(purge_line(known.position + 1, self._stand_in(MISSED)))
        return lines

    def _do(self, plan: Callable[[], list[bytes]]) -> list[News]:
        try:
            with self._locked():
                self._refresh()
                self.ledger.remember_from = self._wall() - REMEMBER_S
                lines = plan()
                if lines:
                    self._append(lines)
                    self._refresh()
                if self._is_long():
                    self._shorten()
                # Kept until they can be handed over: what has been read once is not read again.
                news, self._news = self._news, []
                return news
        except OSError as error:
            raise PurgeLogError(f"the log of purges cannot be used: {error}") from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if self._lock < 0:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        ends = time.monotonic() + self._lock_within_s
        while not _try_lock(self._lock):
            if time.monotonic() > ends:
                raise PurgeLogError(f"a sibling has held the log of purges for {self._lock_within_s:g} s")
            time.sleep(_LOCK_POLL_S)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _refresh(self) -> None:
        """Read to the end; from the beginning when the file is another one."""
        if self._file < 0 or _identity(self._path) != self._identity or os.fstat(self._file).st_size < self._offset:
            self._open()
        self._take()
        if self.ledger.damaged or self.ledger.floor is None:
            # Whatever it was, its position may be somebody's mark: go beyond it.
            position = max(self.ledger.position + self.ledger.damaged + 1, self._now_ms())
            self._append([purge_line(position, self._stand_in(DAMAGED))])
            self._take()
        if self.ledger.floor is None:
            self._shorten()

    def _shorten(self) -> None:
        stand_in = self._stand_in("") if self._has_bus else None
        self._replace(self.ledger.anew(self._max_records * 3 // 4, stand_in))
        self._open()
        self._take()

    def _take(self) -> None:
        data = _read_from(self._file, self._offset)
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            os.ftruncate(self._file, self._offset + whole)
        self._offset += whole
        self._news += self.ledger.take(data[:whole])

    def _open(self) -> None:
        if self._file >= 0:
            descriptor, self._file = self._file, -1
            os.close(descriptor)
        if _identity(self._path) is None:
            self._replace([line("base", self._now_ms(), 0, self._now_ms(), "", 0, "", 0)])
        self._file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        self._identity = _identity(self._path)
        self._offset = 0
        # What was read before is not news again, and positions given out never are given out again.
        self.ledger = Ledger(remember_from=self._wall() - REMEMBER_S, position=self.ledger.position)

    def _append(self, lines: list[bytes]) -> None:
        """All of them on disk, or none in the file."""
        try:
            _write(self._file, b"".join(lines))
            os.fdatasync(self._file)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._file, self._offset)
            raise

    def _replace(self, lines: list[bytes]) -> None:
        """Another file in the log's place."""
        fresh = self._directory / "log.new"
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _write(descriptor, b"".join(lines))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        fresh.replace(self._path)
        _sync_directory(self._directory)

    def _is_long(self) -> bool:
        return len(self.ledger.records) > self._max_records or self.ledger.lines > 4 * self._max_records + 64

    def _stand_in(self, prefix: str) -> PurgeRecord:
        return everything(prefix + uuid4().hex, at=self._wall(), node=self._node)

    def _now_ms(self) -> int:
        return int(self._wall() * 1000)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _read_from(descriptor: int, offset: int) -> bytes:
    size = os.fstat(descriptor).st_size
    pieces = []
    while offset < size:
        piece = os.pread(descriptor, size - offset, offset)
        if not piece:
            break
        pieces.append(piece)
        offset += len(piece)
    return b"".join(pieces)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

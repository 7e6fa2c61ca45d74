"""The disk tier of a node, shared by its workers. It may be slow, full, damaged or gone: then it is a miss.

Goals: what was stored is found again at once after any restart, with its right age; wrong bytes are never returned; the
event loop never waits for the disk, and no request longer than the deadline. Non-goals: being complete, or durable.

All work is done by `files.Files` in threads: some that read, one that writes (so that what is put or removed later
wins), one that looks after the rest. Why no read without a thread (preadv2 with RWF_NOWAIT): opening a file can block
as well and has no such form in Python; the way through a thread costs 4 to 25 us, a small part of a request.

Health: errors and deadlines in a row open the breaker, and nobody asks the disk but the watch, which tries it once per
interval and closes the breaker when it works. Writing has a breaker of its own: a full or read-only disk still serves.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from edge.cache.breaker import Breaker
from edge.cache.files import Files, Useless
from edge.cache.ledger import Totals
from edge.cache.model import CacheKey, Entry, Stored
from edge.cache.record import worth_keeping_s
from edge.cache.threads import Threads
from edge.clock import Clock
from edge.tasks import begin, end

log = logging.getLogger(__name__)
T = TypeVar("T")

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_HOPELESS = _FULL | {errno.EROFS, errno.EACCES, errno.EPERM}  # to write, whichever file
_BROKEN_FILE = errno.EIO
_TOUCHED = 8192
_SETTLE_WITHIN_S = 2.0
_CARE_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True)
class DiskStats:
    """entries, bytes: of the whole node, as of the last look. The others are this worker's, counted since its start.

    evictions: files that gave way to others; corrupt: files that were not as they were written; errors: calls that the
    disk failed; skipped: values that were not written because too much was under way or there was no room.
    """

    entries: int
    bytes: int
    evictions: int
    corrupt: int
    errors: int
    skipped: int


class DiskTier:
    """max_object_bytes: larger entries are not written; by default an eighth of the tier, 64 MiB at most.

    deadline_s: of a read, its wait for a thread included. readers: threads that read. max_reads: reads waiting and
    under way; more are misses. max_writes, max_write_bytes: the same of writes. failures, probe_s: of the breaker.
    """

    def __init__(
        self,
        files: Files,
        *,
        clock: Clock,
        max_object_bytes: int | None = None,
        deadline_s: float = 0.5,
        readers: int = 4,
        max_reads: int = 256,
        max_writes: int = 256,
        max_write_bytes: int = 32 * 1024 * 1024,
        failures: int = 3,
        probe_s: float = 1.0,
    ) -> None:
        self._files = files
        self._clock = clock
        self._max_object_bytes = max_object_bytes or min(files.max_bytes // 8, 64 * 1024 * 1024)
        self._deadline_s = deadline_s
        self._max_write_bytes = max_write_bytes
        self._write_bytes = 0
        self._probe_s = probe_s
        self._reads = Threads("disk-read", threads=readers, capacity=max_reads)
        self._writes = Threads("disk-write", threads=1, capacity=max_writes)
        self._cares = Threads("disk-care", threads=1, capacity=1)
        self._breaker = Breaker(now=clock.monotonic, limit=failures, probe_after_s=probe_s)
        self._writing = Breaker(now=clock.monotonic, limit=failures, probe_after_s=probe_s)
        self._touched: set[CacheKey] = set()
        self._totals = Totals(0, 0, 0)
        self._corrupt = self._errors = self._skipped = 0
        self._told = False
        self._watch: asyncio.Task[None] | None = None

    @property
    def healthy(self) -> bool:
        """Whether the disk is being used."""
        return self._files.is_open and self._breaker.closed

    @property
    def stats(self) -> DiskStats:
        """For metrics."""
        return DiskStats(
            entries=self._totals.files,
            bytes=self._totals.bytes + self._totals.reserved,
            evictions=self._files.evictions,
            corrupt=self._corrupt,
            errors=self._errors,
            skipped=self._skipped,
        )

    async def start(self) -> None:
        """Open the files, and begin to watch the disk's health; what cannot be opened now is tried again."""
        await self._look_after()
        self._watch = begin(self._keep_looking(), "disk-tier-watch")

    async def close(self) -> None:
        """Write what is waiting, as far as the disk does it at once, and let go of the files."""
        await end([self._watch] if self._watch is not None else [])
        for threads in (self._reads, self._writes, self._cares):
            threads.close()
        try:
            async with asyncio.timeout(_SETTLE_WITHIN_S):
                await self.settled()
        except TimeoutError:
            log.warning("the disk tier was left with %d writes not done", self._writes.pending)
        self._files.close()

    async def get(self, key: CacheKey) -> Stored | None:
        """The stored value, fresh or not; None when there is none or the disk is of no use now. Never raises."""
        reading = self._reads.submit(partial(self._files.read, key)) if self.healthy else None
        if reading is None:
            return None
        try:
            async with asyncio.timeout(self._deadline_s):
                found = await reading
        except OSError as error:  # a TimeoutError is one
            self._failed_to_read(key, error)
            return None
        self._breaker.succeeded()
        if isinstance(found, Useless):
            self._take_away(key, found)
            return None
        return found

    async def lacks_any(self, keys: Sequence[CacheKey]) -> bool:
        """Whether there is no file for one of the keys; also when the disk is of no use now, or takes long. Never
        raises, and says nothing of the disk's health: it looks at many names in one go."""
        looking = self._reads.submit(partial(self._files.lacks_any, keys)) if self.healthy else None
        if looking is None:
            return True
        try:
            async with asyncio.timeout(self._deadline_s):
                return await looking
        except OSError:  # a TimeoutError is one
            return True

    def put(self, key: CacheKey, value: Stored) -> bool:
        """Begin to write it, in the background; False when it is not worth it or too much is under way."""
        size = len(value.body) if isinstance(value, Entry) else 0
        if size > self._max_object_bytes or worth_keeping_s(value, self._clock.monotonic()) < 1.0:
            return False
        if not self.healthy or self._write_bytes + size > self._max_write_bytes or not self._writing.allow():
            self._skipped += 1
            return False
        writing = self._writes.submit(partial(self._files.write, key, value))
        if writing is None:
            self._skipped += 1
            return False
        self._write_bytes += size
        writing.add_done_callback(partial(self._written, size))
        return True

    async def remove(self, key: CacheKey) -> None:
        """Forget one value, after what was put before. Never raises."""
        if not self.healthy:
            return
        removing = self._writes.submit(partial(self._files.remove, key), beyond_capacity=True)
        if removing is None:
            return
        try:
            async with asyncio.timeout(self._deadline_s):
                await asyncio.shield(removing)  # who waits no longer still wants it done
        except OSError as error:
            self._failed_to_write(error)

    def touch(self, key: CacheKey) -> None:
        """It was used though nobody read it here (memory has it): worth sparing. Costs nothing; noted once a second."""
        if len(self._touched) < _TOUCHED:
            self._touched.add(key)

    async def settled(self) -> None:
        """Wait until the writes that are under way have ended."""
        await self._writes.settled()

    # ------------------------------------------------------------------------------------------------------------------

    def _written(self, size: int, writing: asyncio.Future[bool]) -> None:
        self._write_bytes -= size
        error = writing.exception()
        if error is None:
            self._writing_again()
            self._skipped += not writing.result()
        elif isinstance(error, OSError):
            self._failed_to_write(error)
        else:
            log.error("a value could not be written to disk", exc_info=error)

    def _failed_to_read(self, key: CacheKey, error: OSError) -> None:
        self._errors += 1
        before = self._breaker.closed
        self._breaker.failed()
        if before and not self._breaker.closed:
            log.warning("the disk tier is being skipped: %s", _reason(error))
        if error.errno == _BROKEN_FILE:  # it would fail again and again, and be asked for again and again
            self._in_background(partial(self._files.remove, key))

    def _failed_to_write(self, error: OSError) -> None:
        self._errors += 1
        before = self._writing.closed
        self._writing.failed(decisive=error.errno in _HOPELESS)
        if before and not self._writing.closed:
            log.warning("nothing more is written to the disk tier for now: %s", _reason(error))
        if error.errno in _FULL:
            self._in_background(self._files.make_room)

    def _writing_again(self) -> None:
        if not self._writing.closed:
            log.info("the disk tier is written to again")
        self._writing.succeeded()

    def _take_away(self, key: CacheKey, useless: Useless) -> None:
        if useless.damage:
            self._corrupt += 1
            log.warning("a damaged file of the disk tier is dropped: %s", useless.damage, extra={"uri": key.uri})
        self._in_background(partial(self._files.discard, useless))

    def _in_background(self, work: Callable[[], None]) -> None:
        doing = self._writes.submit(work)
        if doing is not None:
            doing.add_done_callback(self._done)

    def _done(self, doing: asyncio.Future[None]) -> None:
        if isinstance(doing.exception(), OSError):
            self._errors += 1

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(self._probe_s)
            await self._look_after()

    async def _look_after(self) -> None:
        try:
            if not self._files.is_open:
                await self._cared_for(self._files.open)
                self._told = False
            if not self._breaker.closed:
                await self._cared_for(self._files.probe)
                self._breaker.succeeded()
                log.info("the disk tier is used again")
            touched, self._touched = self._touched, set()
            self._totals = await self._cared_for(partial(self._files.tend, touched))
        except OSError as error:
            self._errors += 1
            if not self._files.is_open and not self._told:
                log.warning("the disk tier cannot be opened: %s", _reason(error))
                self._told = True

    async def _cared_for(self, work: Callable[[], T]) -> T:
        working = self._cares.submit(work)
        if working is None:
            raise OSError("the disk has not answered yet")
        async with asyncio.timeout(_CARE_WITHIN_S):
            return await working


def _reason(error: OSError) -> str:
    return str(error) or "it is too slow"

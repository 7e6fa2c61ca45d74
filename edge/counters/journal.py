"""The promise behind 202: an append-only log of accepted events, on disk before anybody is told so.

A journal is a directory of segments, each named by the position of its first byte, so that a position (bytes since the
journal began) never changes its meaning: it is the unit of the watermark that the province keeps for this writer.

    frame = magic u16 | length u16 | crc32 u32 over (length, payload) | payload

* Appends of all waiting requests share one write and one fsync (group commit), done by a thread of the journal's own.
* `end` is the position up to which everything is known to be on disk; nothing is read, sent or promised beyond it.
* After any failed write the segment is abandoned: what it holds beyond `end` is undefined (after a failed fsync the
  kernel may have dropped pages it reports as clean). The next segment starts at `end`, and readers never read a
  segment beyond the start of the next one. So it is with a write of which it is not known whether it failed.
* At open, what follows the last whole frame of the last segment is a torn tail and is cut. Damage before that is not a
  torn tail: it is stepped over, reported as lost bytes, and everything after it is still read.

Only one process may have a journal open: the caller holds the slot's lock.
"""

from __future__ import annotations

import asyncio
import logging
import os
import struct
import threading
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from edge.counters.label import (
    FILE,
    Home,
    Label,
    fsync_directory,
    make_directory,
    make_label,
    read_label,
    set_aside,
    widen_label,
)
from edge.counters.record import RecordError, accepted_ms, province_of
from edge.counters.retention import Proofs

_log = logging.getLogger(__name__)

MAX_PAYLOAD_BYTES: Final = 0xFFFF
DEFAULT_SEGMENT_BYTES: Final = 8 * 1024 * 1024
_WINDOW_BYTES: Final = 256 * 1024  # one read; at least twice the longest frame
_FOLLOW_CLOCK_BACK_MS: Final = 600_000
_THREADS: Final = 2  # one writes, so that the other, which looks at files or deletes them, holds nobody up

T = TypeVar("T")

_MAGIC: Final = 0xA7E5
_MAGIC_BYTES: Final = struct.pack("<H", _MAGIC)
_FRAME: Final = struct.Struct("<HHI")
_LENGTH: Final = struct.Struct("<H")


class Refusal(Enum):
    """Why the journal could not take events; the value is the sentence the client gets."""

    FULL = "the journal of accepted events has reached its size limit"
    BUSY = "too many events are waiting for the disk"
    SLOW = "the disk did not confirm the events in time"
    FAULT = "the journal of accepted events can't be written"
    CLOSED = "this worker is stopping"
    PROVINCE = "this node takes no events of that province"


class JournalError(Exception):
    """Events were not accepted, or a journal can't be opened; `refusal` says why, `detail` is for the operator."""

    def __init__(self, refusal: Refusal, detail: str = "") -> None:
        super().__init__(f"{refusal.value}: {detail}" if detail else refusal.value)
        self.refusal = refusal
        self.detail = detail


class Frame(NamedTuple):
    """One intact record: its payload, and the position after it."""

    payload: bytes
    end: int


class Chunk(NamedTuple):
    """Consecutive frames. next: where to read on. lost: damaged or missing bytes that had to be stepped over."""

    frames: list[Frame]
    next: int
    lost: int


@dataclass(frozen=True, slots=True)
class Segment:
    """One file: the journal's bytes from `start` on. limit: the position where its valid bytes end."""

    path: Path
    start: int
    limit: int


@dataclass(frozen=True, slots=True)
class JournalState:
    """What readiness and metrics need to know. Bytes are on disk."""

    size_bytes: int
    max_bytes: int
    segments: int
    end: int
    lost_bytes: int
    groups: int
    fault: str


def frame(payload: bytes) -> bytes:
    """A payload with its header."""
    length = _LENGTH.pack(len(payload))
    return _FRAME.pack(_MAGIC, len(payload), zlib.crc32(payload, zlib.crc32(length))) + payload


def _intact(data: bytes, offset: int) -> int:
    """Where the frame at `offset` ends, 0 when there is none, -1 when `data` ends before it does."""
    if len(data) - offset < _FRAME.size:
        return -1
    magic, length, checksum = _FRAME.unpack_from(data, offset)
    if magic != _MAGIC:
        return 0
    start = offset + _FRAME.size
    if start + length > len(data):
        return -1
    payload = memoryview(data)[start : start + length]
    intact = zlib.crc32(payload, zlib.crc32(_LENGTH.pack(length))) == checksum
    return start + length if intact else 0


def _resume(data: bytes, offset: int) -> int:
    """Where the next intact frame after damage at `offset` begins; the end of `data` when there is none."""
    candidate = data.find(_MAGIC_BYTES, offset + 1)
    while candidate != -1:
        if _intact(data, candidate) > 0:
            return candidate
        candidate = data.find(_MAGIC_BYTES, candidate + 1)
    return len(data)


def scan(data: bytes, base: int, *, whole: bool = True) -> Chunk:
    """The intact frames in `data`, which begins at position `base`.

    whole: `data` reaches to the end of its segment, so that an incomplete frame is damage; otherwise it is left for
    the next read.
    """
    frames: list[Frame] = []
    offset = lost = 0
    while offset < len(data):
        end = _intact(data, offset)
        if end > 0:
            frames.append(Frame(data[offset + _FRAME.size : end], base + end))
            offset = end
            continue
        if end < 0 and not whole:
            break
        resumed = _resume(data, offset)
        beyond = resumed == len(data) and not whole
        if beyond:  # the next intact frame may begin in this window and end in the next
            resumed = max(offset + 1, len(data) - _FRAME.size - MAX_PAYLOAD_BYTES)
        lost += resumed - offset
        offset = resumed
        if beyond:
            break
    return Chunk(frames, base + offset, lost)


@dataclass(frozen=True, slots=True)
class View:
    """The journal as it was at one moment, for reading in another thread: what it holds up to `end` never changes."""

    segments: tuple[Segment, ...]
    end: int

    def read(self, position: int) -> Chunk:
        """Frames from `position` on, as far as one window reaches; none when `position` is the end. Blocks.

        Raises JournalError(FAULT) when the disk does not give back what it was given.
        """
        lost = 0
        while position < self.end:
            index = bisect_right(self.segments, position, key=lambda segment: segment.start) - 1
            if index >= 0 and position < self.segments[index].limit:
                chunk = _read_window(self.segments[index], position)
                return chunk._replace(lost=lost + chunk.lost)
            # Let go, or never written: on to what there is.
            following = self.segments[index + 1].start if index + 1 < len(self.segments) else self.end
            lost += following - position
            position = following
        return Chunk([], position, lost)


def _read_window(segment: Segment, position: int) -> Chunk:
    wanted = min(_WINDOW_BYTES, segment.limit - position)
    try:
        with segment.path.open("rb") as file:
            data = os.pread(file.fileno(), wanted, position - segment.start)
    except OSError as error:
        raise JournalError(Refusal.FAULT, str(error)) from error
    whole = position + wanted == segment.limit
    chunk = scan(data, position, whole=whole)
    if whole and chunk.next < segment.limit:  # the file is shorter than it was
        return chunk._replace(next=segment.limit, lost=chunk.lost + segment.limit - chunk.next)
    return chunk


class _Waiter(NamedTuple):
    future: asyncio.Future[None]
    data: bytes
    stamp_ms: int
    until: float  # of the loop's clock


class Journal:
    """An open journal. Made by `Journal.open`; `append` and `read` may be called until `close`."""

    def __init__(
        self,
        directory: Path,
        label: Label,
        segments: list[Segment],
        *,
        sealed: bool,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
        max_bytes: int,
        segment_bytes: int,
        append_timeout_s: float,
        last_stamp_ms: int,
        executor: ThreadPoolExecutor,
        on_group: Callable[[float, int], None],
    ) -> None:
        self.label = label
        self.sealed = sealed
        self._directory = directory
        self._wall, self._monotonic = wall, monotonic
        self._max_bytes = max_bytes
        self._segment_bytes = min(segment_bytes, max(max_bytes // 8, 4096))
        # One group is at most about one segment, so that a full journal always has whole segments to let go of.
        self._max_waiting_bytes = max(self._segment_bytes, 2 * MAX_PAYLOAD_BYTES)
        self._append_timeout_s = append_timeout_s
        self._executor = executor
        self._on_group = on_group
        self._segments = segments
        self._writing = threading.Lock()  # of the segment being written: who has it may touch these three
        self._active = -1  # its descriptor; none before the first append
        self._active_start = 0
        self._written = 0  # where it ends, or should; beyond `end` while that is not taken over
        self._turn = 0  # whose turn it is: what comes late does nothing
        self._end = segments[-1].limit if segments else 0
        self._last_stamp_ms = last_stamp_ms
        self._waiting: list[_Waiter] = []
        self._waiting_bytes = 0
        self._committing: list[_Waiter] = []
        self._committer: asyncio.Task[None] | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._closed = False
        self._groups, self._lost, self._fault = 0, 0, ""
        self._proofs = Proofs()
        self.recovered_end = self._end

    @classmethod
    async def open(
        cls,
        directory: Path,
        home: Home | None,
        *,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
        max_bytes: int,
        segment_bytes: int = DEFAULT_SEGMENT_BYTES,
        append_timeout_s: float = 5.0,
        on_group: Callable[[float, int], None] = lambda _seconds, _bytes: None,
        provinces: Iterable[str] = (),
    ) -> Journal:
        """Open or begin the journal in `directory`, cutting a torn tail. Raises JournalError(FAULT).

        home: what it is for; a journal found there that is not at home (see `edge.counters.label`) is set aside. None
        opens the one that is there, whatever it was begun for, to be delivered and not to be appended to.
        max_bytes: bound on all its segments together; beyond it, `append` refuses.
        provinces: those that events are taken for, beside that of its home.
        on_group: told of each group how long it took to be on disk, in seconds, and how many bytes it has.
        """
        executor = _started()
        loop = asyncio.get_running_loop()
        try:
            label, segments, stamp = await loop.run_in_executor(executor, _recover, directory, home, provinces)
        except (OSError, RecordError, ValueError) as error:
            executor.shutdown(wait=False)
            raise JournalError(Refusal.FAULT, str(error)) from error
        except BaseException:
            executor.shutdown(wait=False)
            raise
        return cls(
            directory,
            label,
            segments,
            sealed=home is None,
            wall=wall,
            monotonic=monotonic,
            max_bytes=max_bytes,
            segment_bytes=segment_bytes,
            append_timeout_s=append_timeout_s,
            last_stamp_ms=stamp,
            executor=executor,
            on_group=on_group,
        )

    @property
    def end(self) -> int:
        """The position up to which everything is on disk."""
        return self._end

    @property
    def begin(self) -> int:
        """The first position still kept."""
        return self._segments[0].start if self._segments else self._end

    def state(self) -> JournalState:
        return JournalState(
            self._size(),
            self._max_bytes,
            len(self._segments),
            self._end,
            self._lost,
            self._groups,
            self._fault,
        )

    def stamp_ms(self) -> int:
        """The wall clock in ms, held so that it does not go back over small steps of the clock (10 minutes).

        Records are stamped and completeness is published with it: a time that was published as complete must not be
        given to a later record.
        """
        now = int(self._wall() * 1000)
        if not now < self._last_stamp_ms <= now + _FOLLOW_CLOCK_BACK_MS:
            self._last_stamp_ms = now
        return self._last_stamp_ms

    def oldest_unsynced_ms(self) -> int | None:
        """The stamp of the first record that waits for the disk."""
        first = self._committing or self._waiting
        return first[0].stamp_ms if first else None

    async def append(self, payload: bytes, stamp_ms: int, *more: bytes) -> None:
        """Put a record on disk; returns when it is there. Raises JournalError, and then nothing was promised.

        more: further records of the same stamp that are taken with it or not at all.
        A caller that is cancelled, or refused for SLOW, may find its record counted later all the same.
        """
        await self.put(payload, stamp_ms, *more)

    def put(self, payload: bytes, stamp_ms: int, *more: bytes) -> asyncio.Future[None]:
        """The same without waiting: the future has its outcome. Raises JournalError for what is known at once."""
        if province_of(payload) not in self.label.provinces:
            # Nobody would deliver it: outlets are made for the provinces of the label.
            raise JournalError(Refusal.PROVINCE, province_of(payload))
        data = frame(payload) if not more else b"".join(map(frame, (payload, *more)))
        self._admit(len(data))
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._waiting.append(_Waiter(future, data, stamp_ms, loop.time() + self._append_timeout_s))
        self._waiting_bytes += len(data)
        if self._committer is None or self._committer.done():
            self._committer = asyncio.create_task(self._commit(), name="journal-commit")
        if self._watch is None:
            self._watch = loop.call_later(self._append_timeout_s, self._give_up)
        return future

    def view(self) -> View:
        """What can be read now."""
        return View(tuple(self._segments), self._end)

    def note_lost(self, count: int) -> None:
        """A reader had to step over so many bytes."""
        self._lost += count

    def note_gone_back(self, position: int) -> None:
        """Redis has forgotten what is beyond it: when it has that again, it has had it from then on."""
        self._proofs.take_back(position)

    async def release(
        self, durable: int, *, older_than_s: float, keep_from_ms: int | None = None, spare_fraction: float = 0.8
    ) -> int:
        """Let go of whole segments before position `durable`; returns how many bytes that freed.

        Only those go that lay before the `durable` of an earlier call, `older_than_s` ago, and of every call since (0:
        that of this call does), and that were last written before `keep_from_ms` (since the epoch). A journal that has
        filled beyond `spare_fraction` gives up what is durable now, the oldest first, until it has not. The segment
        being written stays. Raises JournalError(FAULT).
        """
        freed = 0
        self._proofs.note(durable, self._monotonic(), span_s=older_than_s)
        while len(self._segments) > 1:
            segment = self._segments[0]
            crowded = self._size() > self._max_bytes * spare_fraction
            # Asked for each: Redis may have gone back while the last one was deleted.
            before = self._proofs.latest if crowded else self._proofs.had_for(older_than_s, self._monotonic())
            if segment.limit > before:
                break
            last_s = float("inf") if crowded or keep_from_ms is None else keep_from_ms / 1000
            try:
                gone = await self._in_thread(_unlink_if, segment.path, last_s)
            except OSError as error:
                raise JournalError(Refusal.FAULT, str(error)) from error
            if not gone:
                break
            self._segments = self._segments[1:]
            freed += segment.limit - segment.start
        return freed

    async def remove(self) -> None:
        """Close the journal and delete it: for one whose writer is gone and whose counts are durable elsewhere."""
        await self.close()
        await asyncio.to_thread(_remove, self._directory)

    async def age_s(self) -> float:
        """Seconds since anything was last written."""
        path = self._segments[-1].path if self._segments else self._directory / FILE
        modified = (await self._in_thread(path.stat)).st_mtime
        return self._wall() - modified

    async def close(self) -> None:
        """Wait for what is being written, refuse the rest, release files and threads."""
        self._closed = True
        if self._committer is not None:
            await self._committer
        if self._watch is not None:
            self._watch.cancel()
        with suppress(RuntimeError):  # closed before
            await self._in_turn(self._close_active)
        self._executor.shutdown(wait=False)

    async def _in_thread(self, function: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, partial(function, *args))

    async def _in_turn(self, function: Callable[..., T], *args: object) -> T:
        """In a thread, what touches the segment being written. It is told its turn, and does nothing when that is over:
        an executor that can't start a thread raises, but has queued the work, which another thread does some time."""
        self._turn += 1
        return await self._in_thread(function, self._turn, *args)

    def _size(self) -> int:
        return self._end - self.begin

    def _admit(self, size: int) -> None:
        if self._closed:
            raise JournalError(Refusal.CLOSED)
        if self._size() + self._waiting_bytes + size > self._max_bytes:
            raise JournalError(Refusal.FULL)
        if self._waiting_bytes + size > self._max_waiting_bytes:
            raise JournalError(Refusal.BUSY)

    def _give_up(self) -> None:
        """Whoever has waited for too long is told so. One timer for all: each gets the same time, the first first."""
        self._watch = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        for waiter in (*self._committing, *self._waiting):
            if waiter.future.done():
                continue
            if waiter.until > now:
                self._watch = loop.call_at(waiter.until, self._give_up)
                return
            waiter.future.set_exception(JournalError(Refusal.SLOW))

    async def _commit(self) -> None:
        """Write what waits, group after group, until nothing waits. One such task at a time."""
        while self._waiting:
            group, self._waiting = self._waiting, []
            self._committing = group
            size = sum(len(waiter.data) for waiter in group)
            started = self._monotonic()
            outcome = await self._put_on_disk(group)
            took_s = self._monotonic() - started
            self._groups += 1
            self._committing = []
            self._waiting_bytes -= size
            _settle(group, outcome)
            self._on_group(took_s, size)

    async def _put_on_disk(self, group: list[_Waiter]) -> JournalError | None:
        """None when the group is on disk; otherwise why it may not be, with the segment given up."""
        try:
            data = b"".join([waiter.data for waiter in group])
            begun = await self._in_turn(self._write, data)
        except Exception as error:  # whatever it is: who waits is told, and what comes next has a segment of its own
            self._fault = str(error) or type(error).__name__
            with suppress(Exception):  # then the next write does it
                await self._in_turn(self._abandon)
            return JournalError(Refusal.FAULT, self._fault)
        self._fault = ""
        self._advance(begun, len(data))
        return None

    def _advance(self, begun: Segment | None, size: int) -> None:
        """On the loop: take over what the thread has written. `release` may have run since it began."""
        if begun is not None:
            self._segments = [*(kept for kept in self._segments if kept.start < begun.start), begun]
        self._end += size
        self._segments[-1] = replace(self._segments[-1], limit=self._end)

    def _write(self, turn: int, data: bytes) -> Segment | None:
        """In a thread of the journal's: write and fsync. Returns the segment it had to begin, if any. Raises OSError;
        what was written in part is for `_abandon`."""
        with self._writing:
            if turn != self._turn:
                return None  # nobody waits for it any more
            if self._active >= 0 and self._written != self._end:
                self._take_back()
            elif self._active >= 0 and self._end - self._active_start >= self._segment_bytes:
                self._close_descriptor()
            self._written = self._end + len(data)  # said before it is so: a part of it counts, too
            begun = self._begin_segment() if self._active < 0 else None
            view = memoryview(data)
            while view:
                view = view[os.write(self._active, view) :]
            os.fdatasync(self._active)
            return begun

    def _begin_segment(self) -> Segment:
        path = self._directory / f"{self._end:020d}.log"
        # A file of that name can only be one in which nothing was confirmed: hence O_TRUNC.
        self._active = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
        self._active_start = self._end
        fsync_directory(self._directory)
        return Segment(path, self._end, self._end)

    def _abandon(self, turn: int) -> None:
        """In a thread of the journal's: let the next write begin another segment."""
        with self._writing:
            if turn == self._turn and self._active >= 0:
                self._take_back()

    def _take_back(self) -> None:
        # What was written in part, so that a crash now leaves nothing undefined; should this fail too, the next
        # segment's name says the same.
        with suppress(OSError):
            os.ftruncate(self._active, self._end - self._active_start)
        self._close_descriptor()

    def _close_active(self, turn: int) -> None:
        """In a thread of the journal's: nothing more is to be written."""
        with self._writing:
            if turn == self._turn and self._active >= 0:
                self._close_descriptor()

    def _close_descriptor(self) -> None:
        descriptor, self._active = self._active, -1
        with suppress(OSError):
            os.close(descriptor)


def _started() -> ThreadPoolExecutor:
    """An executor that has its threads: one that starts them as they are needed may fail to at any time, and then does
    the work of which it has said that it can't. Raises JournalError(FAULT)."""
    executor = ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="journal")
    all_there = threading.Barrier(_THREADS)
    try:
        for _ in range(_THREADS):
            executor.submit(all_there.wait)  # one that has nothing to do would be given the next one's work
    except RuntimeError as error:
        all_there.abort()
        executor.shutdown(wait=False)
        raise JournalError(Refusal.FAULT, str(error)) from error
    return executor


def _settle(group: list[_Waiter], outcome: JournalError | None) -> None:
    for waiter in group:
        if waiter.future.done():  # the client left, or its deadline passed
            continue
        if outcome is None:
            waiter.future.set_result(None)
        else:
            waiter.future.set_exception(outcome)


def _recover(directory: Path, home: Home | None, provinces: Iterable[str]) -> tuple[Label, list[Segment], int]:
    """Label, segments with a torn tail cut, and the stamp of the last record."""
    label = _labelled(directory, home)
    if home is not None:
        label = widen_label(directory, label, provinces)
        os.utime(directory / FILE)  # so `edge.counters.leftover` sees that somebody has had it
    paths = sorted(directory.glob("*.log"))
    starts = [int(path.stem) for path in paths]
    segments: list[Segment] = []
    for index, (path, start) in enumerate(zip(paths, starts, strict=True)):
        limit = start + path.stat().st_size
        if index + 1 < len(starts):
            limit = min(limit, starts[index + 1])
        segments.append(Segment(path, start, limit))
    stamp = 0
    if segments:
        segments[-1], stamp = _cut_torn_tail(segments[-1])
    return label, segments, stamp


def _cut_torn_tail(segment: Segment) -> tuple[Segment, int]:
    with segment.path.open("r+b") as file:
        frames = scan(file.read(), segment.start).frames
        limit = frames[-1].end if frames else segment.start
        if limit < segment.limit:  # not for nothing: it would look as if it had been written just now
            file.truncate(limit - segment.start)
        os.fsync(file.fileno())  # also what a killed predecessor had written and not yet synced
    return replace(segment, limit=limit), accepted_ms(frames[-1].payload) if frames else 0


def _labelled(directory: Path, home: Home | None) -> Label:
    """The label of the journal to open, made where there is none: a directory that was wiped is another journal."""
    label = read_label(directory)
    if home is None:
        if label is None:
            raise JournalError(Refusal.FAULT, f"{directory / FILE} is missing or empty")
        return label
    if label is not None and (label.copied or label.home != home):
        aside = set_aside(directory)
        _log.warning("%s: begun for %s%s, now %s", aside, label.home, " and copied" if label.copied else "", home)
        label = None
    if label is None:
        make_directory(directory)
        if any(directory.glob("*.log")):
            # Under a new identity everything in here would be counted again.
            raise JournalError(Refusal.FAULT, f"{directory / FILE} is missing or empty, beside segments it belongs to")
        label = make_label(directory, home)
    return label


def _unlink_if(path: Path, last_s: float) -> bool:
    """Delete the file when it was written for the last time by then."""
    with suppress(FileNotFoundError):
        if path.stat().st_mtime > last_s:
            return False
        path.unlink()
    return True


def _remove(directory: Path) -> None:
    """Segments before the identity: interrupted anywhere, what is left is still a journal or an empty directory."""
    for path in sorted(directory.glob("*.log")):
        path.unlink(missing_ok=True)
    (directory / FILE).unlink(missing_ok=True)
    with suppress(OSError):
        directory.rmdir()

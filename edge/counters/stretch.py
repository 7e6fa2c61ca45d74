"""The journal, stretch by stretch, each added up once for all the provinces that have a part in it.

A node may serve many provinces, and all their events are in one journal. Every province has a reader of its own
(`edge.counters.outlet`), with a watermark of its own, but they mostly stand at the same place: the last few stretches
are kept, and who comes first adds up for the others. Whoever stands elsewhere (a province whose Redis has gone back)
reads for itself alone, up to where a stretch that is kept begins. So does one that is beyond all that is kept (somebody
else has moved its watermark), while others are on their way there; when there are none, the front is where it stands.

What is new is looked at once in an interval, by the clock: readers that wake at different moments would cut the journal
into ever smaller stretches otherwise, and each of them would be a call for each province.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from operator import attrgetter
from typing import Final, NamedTuple

from edge.counters.journal import Chunk, Journal, View
from edge.counters.record import decode, decode_correction, head
from edge.counters.tally import DEDUP_BUCKET_MS, Counts, Tally

_log = logging.getLogger(__name__)

_KEPT: Final = 8
_ALIVE_S: Final = 1.0  # a reader that asked so recently is waited for
_PARTS: Final = 10  # a stretch holds at most so many times the events of one part
_FEW: Final = 50  # events of one province: Redis does nothing else for some 2 ms, and who asks it hardly notices
_WAITING_SHARE: Final = 4  # of what waits, one stretch takes that part: few calls when much comes, short ones else
_EVENT_BYTES: Final = 50  # of the journal, about
_RECORDS: Final = 20_000  # read at most for one province alone: some 30 ms


class Part(NamedTuple):
    """One province's share of a stretch."""

    counts: Counts
    events: int
    duplicates: int


class Stretch(NamedTuple):
    """The journal from `start` to `to`, added up by province.

    bucket: the 5-minute span of acceptance that all its events belong to. last_stamp_ms: of the last record in it, 0
    when there is none. lost: bytes that could not be read back.
    """

    start: int
    to: int
    parts: Mapping[str, Part]
    bucket: int
    last_stamp_ms: int
    lost: int


class Pages:
    """Reads a journal, and remembers the frames of the last look: a look reaches further than a stretch, and what is on
    disk does not change."""

    def __init__(self) -> None:
        self._start = 0
        self._chunk = Chunk([], 0, 0)

    def read(self, view: View, position: int) -> Chunk:
        """As `View.read`. Blocks. Raises JournalError."""
        frames = self._chunk.frames
        place = bisect_right(frames, position, key=_end)
        if place < len(frames) and position == (frames[place - 1].end if place else self._start):
            return Chunk(frames[place:], self._chunk.next, 0)
        chunk = view.read(position)
        if not chunk.lost:
            self._start, self._chunk = position, chunk
        return chunk


_end: Final = attrgetter("end")


def gather(
    view: View,
    position: int,
    max_events: int,
    home: str,
    *,
    only: str | None = None,
    until: int | None = None,
    pages: Pages | None = None,
) -> Stretch:
    """Add up the journal from `position` on.

    max_events: about the most in one part. home: the province of records that do not name theirs. only: the province to
    add up for; None adds up for all. until: where a stretch begins that is known already. pages: where it is read.
    Blocks on the disk: for a thread. Ends on a record's edge, so what is counted does not depend on how much at once.
    """
    tallies: dict[str, Tally] = {}
    events: dict[str, int] = {}
    to, bucket, stamp_ms, lost, records, total = position, -1, 0, 0, 0, 0
    limit = view.end if until is None else min(until, view.end)
    full, pages = False, pages or Pages()
    while to < limit and not full:
        chunk = pages.read(view, to)
        lost += chunk.lost
        for payload, after in chunk.frames:
            record = head(payload, home)
            province = record.place.province
            if only is None or province == only:
                span = record.accepted_ms // DEDUP_BUCKET_MS
                if bucket < 0:
                    bucket = span
                if span != bucket:
                    full = True
                    break
                tally = tallies.get(province)
                if tally is None:
                    tally, events[province] = tallies.setdefault(province, Tally()), 0
                if record.is_correction:
                    tally.correct(decode_correction(payload), record.accepted_ms)
                else:
                    tally.add(decode(payload), record.place.country, record.agent)
                events[province] += record.events
                total += record.events
                full = events[province] >= max_events or total >= max_events * _PARTS
            records += 1
            to, stamp_ms = after, record.accepted_ms
            full = full or records >= _RECORDS
            if full or to >= limit:
                break
        else:
            to = chunk.next
    parts = {code: Part(tally.seal(), events[code], tally.duplicates) for code, tally in tallies.items()}
    return Stretch(position, to, parts, max(bucket, 0), stamp_ms, lost)


class Stretches:
    """A journal's stretches for the readers of its provinces. interval_s: how often is looked for what is new.

    max_events: about the most in one stretch for one province; less while little waits.
    """

    def __init__(self, journal: Journal, *, monotonic: Callable[[], float], interval_s: float, max_events: int) -> None:
        self._journal, self._monotonic = journal, monotonic
        self._interval_s, self._max_events = interval_s, max_events
        self._home = journal.label.home.province
        self._begun_s = monotonic()
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tally")
        self._turn = asyncio.Lock()
        self._pages = Pages()  # of the front: readers elsewhere have their own
        self._window: deque[Stretch] = deque(maxlen=_KEPT)
        self._looked_at = -1  # the interval in which was last looked for what is new
        self._cut_short = False
        self._readers: dict[str, tuple[int, float]] = {}
        self._examined = 0

    def rest_s(self) -> float:
        """How long until the next look. All readers wake at the same moments."""
        return self._interval_s - (self._monotonic() - self._begun_s) % self._interval_s

    async def after(self, position: int, province: str, *, at_once: bool = False) -> Stretch | None:
        """The stretch from `position` on, None when there is nothing yet, or it is not time to look again.

        at_once: look now. Raises JournalError, RecordError.
        """
        if position >= self._journal.end:
            return None
        async with self._turn:
            self._readers[province] = position, self._monotonic()
            known = next((stretch for stretch in self._window if stretch.start == position), None)
            if known is not None:
                return known
            if self._window and position != self._window[-1].to and not self._is_left_to(position):
                return await self._read(position, self._max_events, only=province, until=self._next_edge(position))
            if self._is_waited_for() or not (at_once or self._is_due()):
                return None
            return await self._extend(position)

    def leave(self, province: str) -> None:
        """The province's reader is in trouble: nobody waits for it."""
        self._readers.pop(province, None)

    def close(self) -> None:
        self._executor.shutdown(wait=False)

    def _is_due(self) -> bool:
        return self._cut_short or self._interval() > self._looked_at

    def _interval(self) -> int:
        return int((self._monotonic() - self._begun_s) // self._interval_s)

    def _is_waited_for(self) -> bool:
        """Whether a reader still has to take the oldest stretch: going on would make it read for itself."""
        if len(self._window) < _KEPT:
            return False
        oldest, since_s = self._window[0], self._monotonic() - _ALIVE_S
        return any(oldest.start <= at < oldest.to and when > since_s for at, when in self._readers.values())

    def _is_left_to(self, position: int) -> bool:
        """Whether the reader there is ahead, with nobody on the way who would bring the front to it."""
        front, since_s = self._window[-1].to, self._monotonic() - _ALIVE_S
        return position > front and not any(at <= front and when > since_s for at, when in self._readers.values())

    def _next_edge(self, position: int) -> int | None:
        edges = [stretch.start for stretch in self._window] + [self._window[-1].to]
        return next((edge for edge in edges if edge > position), None)

    async def _extend(self, position: int) -> Stretch:
        self._looked_at = self._interval()
        if self._window and self._window[-1].to != position:
            self._window.clear()
        view = self._journal.view()
        stretch = await self._read(position, self._most(view.end - position), only=None, until=None)
        self._cut_short = stretch.to < view.end
        self._window.append(stretch)
        return stretch

    def _most(self, waiting_bytes: int) -> int:
        """Events for one province in a stretch. Each stretch is a call for each province that has a part in it: the
        more had one in the last, the larger."""
        calls = max(1, len(self._window[-1].parts)) if self._window else 1
        waiting = waiting_bytes // _EVENT_BYTES
        return min(self._max_events, max(_FEW * calls, waiting // _WAITING_SHARE))

    async def _read(self, position: int, most: int, *, only: str | None, until: int | None) -> Stretch:
        pages = self._pages if only is None else None
        work = partial(gather, self._journal.view(), position, most, self._home, only=only, until=until, pages=pages)
        stretch = await asyncio.get_running_loop().run_in_executor(self._executor, work)
        if stretch.lost and stretch.to > self._examined:
            self._journal.note_lost(stretch.lost)
            _log.error("%d bytes of the journal before %d are lost", stretch.lost, stretch.to)
        self._examined = max(self._examined, stretch.to)
        return stretch

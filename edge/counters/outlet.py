"""One province's way out of a journal: its events -> its sink, batch after batch, exactly once.

An outlet always reads what it sends back from the journal: what has just been accepted, what a killed predecessor left,
and what a Redis has forgotten take the same road, so there is no second way of counting that could differ.

    cursor   where this outlet reads on in the journal
    stored   where the province's watermark stands, as far as known; a batch is applied only if it does

A batch reaches from `stored` to the end of the stretch it was made of. The cursor runs ahead where a stretch has
nothing of the province: that is told with the next batch, or when it says that it is there. It stays behind when
the journal has less than the province has counted (a disk restored from an older copy): then it is at the journal's own
end and the watermark is set from there.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from edge.counters.journal import Journal, JournalError
from edge.counters.record import RecordError
from edge.counters.sink import Applied, Sink, SinkError
from edge.counters.stretch import Part, Stretch, Stretches
from edge.counters.tally import SEALED, Batch, Counts
from edge.tasks import begin, end

_log = logging.getLogger(__name__)

_TROUBLE: Final = (SinkError, JournalError, RecordError)
_NOTHING: Final = Part(Counts((), b"", (), (), ()), 0, 0)
_AGAIN_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class FlushState:
    """What readiness and metrics need to know. Bytes are journal bytes.

    connected: the last exchange with Redis went well. complete_ms: all accepted before it is applied; 0 before the
    first exchange. in_history: events left out because history has their day. replayed_bytes: sent again because Redis
    had forgotten them. durable: position up to which Redis has everything on its disk; proving: whether it can tell.
    """

    connected: bool
    pending_bytes: int
    complete_ms: int
    batches: int
    events: int
    duplicates: int
    in_history: int
    replayed_bytes: int
    failures: int
    last_error: str
    durable: int
    proving: bool


class Outlet:
    """Sends one province's events from one journal. `start`, then `drain` once nothing more is appended.

    heard: set once the province knows of this journal.
    mover: names the process, so that another one with the same writer is noticed; or SEALED.
    """

    def __init__(
        self,
        journal: Journal,
        stretches: Stretches,
        sink: Sink,
        province: str,
        mover: str,
        *,
        monotonic: Callable[[], float],
        heartbeat_s: float,
        max_backoff_s: float,
    ) -> None:
        self._journal, self._stretches, self._sink = journal, stretches, sink
        self._province, self._mover = province, mover
        self._writer, self._place = journal.label.identity, journal.label.home.place
        self._name = f"{self._writer}, province {province}"
        self._monotonic = monotonic
        self._heartbeat_s, self._max_backoff_s = heartbeat_s, max_backoff_s
        self._cursor = self._stamp_ms = 0
        self._stored: int | None = None
        self._last_contact = float("-inf")
        self._task: asyncio.Task[None] | None = None
        self._connected, self._proving = False, True
        self._complete_ms = self._durable = 0
        self._batches = self._events = self._duplicates = self._in_history = self._replayed = self._failures = 0
        self._last_error = ""
        self._went_back = 0  # how often Redis did
        self.heard = asyncio.Event()
        self.tried = asyncio.Event()
        """It has been heard, or has failed to be."""

    def start(self) -> None:
        """Begin to send, in a task of this object's own."""
        self._task = begin(self._run(), f"counts-flush-{self._province}")

    async def stop(self) -> None:
        """End the task; what is not sent stays in the journal."""
        if self._task is not None:
            await end([self._task])
            self._task = None

    def state(self) -> FlushState:
        return FlushState(
            connected=self._connected,
            pending_bytes=max(0, self._journal.end - self._cursor),
            complete_ms=self._complete_ms,
            batches=self._batches,
            events=self._events,
            duplicates=self._duplicates,
            in_history=self._in_history,
            replayed_bytes=self._replayed,
            failures=self._failures,
            last_error=self._last_error,
            durable=self._durable,
            proving=self._proving,
        )

    async def send_rest(self) -> None:
        """Send what is left and sign off, however often that has to be tried."""
        while True:
            try:
                if await self._sign_off():
                    return
            except _TROUBLE as error:
                self._fail(error)
                await asyncio.sleep(self._heartbeat_s / 5)

    async def prove(self) -> None:
        """Learn what Redis has on its disk. Raises SinkError."""
        went_back = self._went_back
        proof = await self._sink.prove(self._writer)
        if went_back != self._went_back:
            return  # it may speak of the Redis before
        self._proving = proof.durable is not None
        if proof.durable is False:
            self._durable = min(self._durable, proof.watermark)  # lower when Redis has gone back
        else:
            # A watermark beyond the journal's end speaks of a journal that was longer once: see `_relocate`.
            self._durable = min(proof.watermark, self._cursor)

    async def _run(self) -> None:
        backoff_s = 0.05
        while True:
            try:
                more = await self._step()
            except Exception as error:
                if not isinstance(error, _TROUBLE):  # a bug: told loudly, but one that ends counts nothing any more
                    _log.critical("%s: a bug; what it was at will be tried again", self._name, exc_info=error)
                self._fail(error)
                await asyncio.sleep(backoff_s * (0.5 + random.random()))  # noqa: S311  jitter, not a secret
                backoff_s = min(backoff_s * 2, self._max_backoff_s)
                continue
            backoff_s = 0.05
            if not more:
                await asyncio.sleep(self._stretches.rest_s())

    async def _step(self) -> bool:
        """Take the next stretch, if there is one, and say that this one is there, if that is due. True when there may
        be more to be had at once."""
        more = await self._advance(at_once=False)
        if self._monotonic() - self._last_contact >= self._heartbeat_s and self._complete_after(None) is not None:
            await self._send(None, closing=False)
        return more

    async def _advance(self, *, at_once: bool) -> bool:
        if self._stored is None:
            await self._locate()
        stretch = await self._stretches.after(self._cursor, self._province, at_once=at_once)
        if stretch is None:
            return False
        if self._province in stretch.parts:
            await self._send(stretch, closing=False)
        else:
            self._cursor, self._stamp_ms = stretch.to, stretch.last_stamp_ms or self._stamp_ms
        return True

    async def _sign_off(self) -> bool:
        """Send what is left, then a last empty batch; False when Redis turned out to have gone back meanwhile."""
        if self._stored is None:
            await self._locate()
        while self._cursor < self._journal.end:
            if not await self._advance(at_once=True):
                await asyncio.sleep(_AGAIN_S)  # others are waited for
        if self._journal.sealed and self._stored is not None and self._stored > self._journal.end:
            return True  # a shorter copy of a journal in use elsewhere: that one signs off, with all that it has
        return await self._send(None, closing=True)

    async def _locate(self) -> None:
        stored = await self._sink.watermark(self._writer)
        self._stored = stored
        # Before this process has sent anything, a watermark beyond what was found on disk means that the disk lost
        # events that are already counted: everything from here on is new.
        known = min(self._journal.recovered_end, self._journal.end)
        if stored > known:
            _log.error("%s: the journal ends at %d but is counted up to %d", self._name, known, stored)
        self._cursor = min(stored, known)
        if stored == 0 and self._province != self._journal.label.home.province:
            # A province that the node has not served so far: what the journal has let go of had nothing for it. Were
            # it a Redis that has lost all, nothing more could be told to it either.
            self._cursor = self._journal.begin

    async def _send(self, stretch: Stretch | None, *, closing: bool) -> bool:
        """Offer a stretch, or the word that there is nothing, to the province. False when its watermark was not where
        the batch begins."""
        stored, part = self._stored, stretch.parts[self._province] if stretch else _NOTHING
        complete_ms = self._complete_after(stretch)
        if stored is None or complete_ms is None:
            raise RuntimeError("the watermark is located before anything is sent")
        reached = stretch.to if stretch else self._cursor
        # Where the watermark is ahead (see `_locate`), it may even go down: it is set to where the journal is read.
        to = reached if stretch else max(stored, reached)
        batch = Batch(
            self._writer,
            stored,
            to,
            complete_ms,
            stretch.bucket if stretch else 0,
            part.counts.groups,
            part.counts.ids,
            part.counts.watched_ms,
            part.counts.audiences,
            part.counts.corrections,
            closing,
            self._place,
            self._mover,
        )
        applied = await self._sink.apply(batch)
        self._connected, self._last_error = True, ""
        self._last_contact = self._monotonic()
        if not applied.moved:
            self._relocate(applied)
            return False
        self.heard.set()
        self.tried.set()
        self._stored, self._cursor = to, reached
        self._stamp_ms = stretch.last_stamp_ms if stretch else self._stamp_ms
        self._complete_ms = complete_ms
        self._batches += 1
        self._events += part.events
        self._duplicates += applied.duplicates + part.duplicates
        self._in_history += applied.in_history
        return True

    def _complete_after(self, stretch: Stretch | None) -> int | None:
        """Everything accepted before this time is applied once `stretch` is; None when that is not known yet.

        Stamps do not go back within a journal, unless its clock is set back by more than ten minutes: then this time
        goes back, too. With more on disk, or on its way to it, the last record read is the limit: what follows was
        stamped no earlier. With nothing left it is now: what comes later is stamped later.
        """
        now = self._journal.stamp_ms()
        if (stretch.to if stretch else self._cursor) < self._journal.end:
            return (stretch.last_stamp_ms if stretch else self._stamp_ms) or None
        unsynced = self._journal.oldest_unsynced_ms()
        return now if unsynced is None else min(now, unsynced)

    def _relocate(self, applied: Applied) -> None:
        """The province's watermark is elsewhere: a batch whose answer was lost had been applied after all, or Redis
        has forgotten its last seconds, or somebody else moved it."""
        found, stored = applied.watermark, self._stored or 0
        self._stored = found
        if self._is_foreign(applied):
            # What is here from the cursor on nobody but this process knows: it is still to be counted.
            _log.error(
                "%s: counted up to %d by another process: is a copy of this data directory in use under the same node "
                "name (--node)? Counts can become wrong: give one of them another name",
                *(self._name, found),
            )
            return
        if found < stored:
            _log.warning("%s: Redis has gone back from %d to %d, sending again", self._name, stored, found)
            self._replayed += max(0, self._cursor - found)
            self._durable = min(self._durable, found)
            self._went_back += 1
            self._journal.note_gone_back(found)
        if found <= self._journal.end:
            self._cursor, self._stamp_ms = found, 0
        elif self._journal.sealed:
            self._cursor = self._journal.end

    def _is_foreign(self, applied: Applied) -> bool:
        """Whether the watermark speaks of bytes that this journal does not have: moved by neither this process, nor its
        predecessor (whose last call may come late), nor one that delivers a copy that does not grow."""
        if self._journal.sealed or applied.mover in (self._mover, SEALED):
            return False
        return applied.watermark > self._journal.recovered_end

    def _fail(self, error: Exception) -> None:
        if self._connected or not self._last_error:
            _log.warning("%s: counts can't be applied for now: %s", self._name, error)
        self._connected, self._last_error = False, str(error)
        self._failures += 1
        self.tried.set()
        self._stretches.leave(self._province)

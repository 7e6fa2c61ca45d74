"""The journal -> the sink, batch after batch, exactly once.

The flusher always reads what it sends back from the journal: what has just been accepted, what a killed predecessor
left, and what a Redis has forgotten take the same road, so there is no second way of counting that could differ.

    cursor   where this flusher reads on in the journal
    stored   where the province's watermark stands, as far as known; a batch is applied only if it does

Normally they are equal. They differ when the journal has less than the province has counted (a disk restored from an
older copy): then the cursor stays at the journal's own end and the watermark is set from there.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, NamedTuple

from edge.counters.journal import Journal, JournalError, View
from edge.counters.record import RecordError, decode, decode_correction, head
from edge.counters.sink import Applied, Sink, SinkError
from edge.counters.tally import DEDUP_BUCKET_MS, SEALED, Batch, Counts, Tally
from edge.tasks import begin, end

_log = logging.getLogger(__name__)

_TROUBLE: Final = (SinkError, JournalError, RecordError)
_NOTHING: Final = Counts((), b"", (), (), ())


class _Range(NamedTuple):
    """The next stretch of the journal, added up. lost: bytes of it that could not be read back."""

    to: int
    counts: Counts
    bucket: int
    last_stamp_ms: int
    events: int
    duplicates: int
    lost: int


@dataclass(frozen=True, slots=True)
class FlushState:
    """What readiness and metrics need to know. Bytes are journal bytes.

    connected: the last exchange with Redis went well. complete_ms: all accepted before it is applied; 0 before the
    first exchange. in_history: events left out because history has their day. replayed_bytes: sent again because Redis
    had forgotten them.
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


def gather(view: View, position: int, max_events: int, home: str) -> _Range:
    """Add up the journal from `position`: at most about `max_events` events, accepted within one 5-minute bucket.

    Blocks on the disk: for a thread. Ends on a record's edge, so what is counted does not depend on how much at once.
    """
    tally = Tally()
    to, bucket, stamp, lost, events = position, -1, 0, 0, 0
    while events < max_events and to < view.end:
        chunk = view.read(to)
        lost += chunk.lost
        for payload, after in chunk.frames:
            belongs = head(payload, home)
            stamped = belongs.accepted_ms
            if bucket < 0:
                bucket = stamped // DEDUP_BUCKET_MS
            if stamped // DEDUP_BUCKET_MS != bucket or events >= max_events:
                return _Range(to, tally.seal(), bucket, stamp, events, tally.duplicates, lost)
            if belongs.is_correction:
                tally.correct(decode_correction(payload), stamped)
            else:
                tally.add(decode(payload), belongs.place.country, belongs.agent)
            events += belongs.events
            to, stamp = after, stamped
        to = chunk.next
    return _Range(to, tally.seal(), max(bucket, 0), stamp, events, tally.duplicates, lost)


class Flusher:
    """Sends one journal's events to one province. `start`, then `drain` once nothing more is appended."""

    def __init__(
        self,
        journal: Journal,
        sink: Sink,
        *,
        monotonic: Callable[[], float],
        interval_s: float = 0.2,
        heartbeat_s: float = 1.0,
        max_events: int = 2000,
        max_backoff_s: float = 2.0,
        prove_every_s: float = 5.0,
        retention_s: float = 600.0,
    ) -> None:
        """interval_s: how often what has been accepted is sent. heartbeat_s: how often an idle writer says so.
        retention_s: how long records stay in the journal after Redis has them on disk, for a fail-over to a replica
        that lags; 24 times as long where Redis can't prove that it has."""
        self._journal, self._sink = journal, sink
        self._writer, self._place = journal.label.identity, journal.label.home.place
        self._home = journal.label.home.province
        self._mover = SEALED if journal.sealed else secrets.token_hex(4)
        self._monotonic = monotonic
        self._interval_s, self._heartbeat_s = interval_s, heartbeat_s
        self._max_events, self._max_backoff_s = max_events, max_backoff_s
        self._prove_every_s, self._retention_s = prove_every_s, retention_s
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tally")
        self._cursor = 0
        self._stored: int | None = None
        self._last_contact = float("-inf")
        self._tasks: list[asyncio.Task[None]] = []
        self._connected, self._proving = False, True
        self._complete_ms = self._durable = 0
        self._batches = self._events = self._duplicates = self._in_history = self._replayed = self._failures = 0
        self._last_error = ""

    def start(self) -> None:
        """Begin to send, in tasks of this object's own."""
        for name, run in (("counts-flush", self._run), ("counts-prove", self._run_proofs)):
            self._tasks.append(begin(run(), name))

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

    async def drain(self, timeout_s: float) -> bool:
        """Stop the tasks, send what is left and sign off. False when that did not succeed in time: what is left stays
        in the journal, and whoever opens it next sends it."""
        await self._stop()
        try:
            async with asyncio.timeout(timeout_s):
                await self._send_rest()
        except TimeoutError:
            return False
        finally:
            self._executor.shutdown(wait=False)
        return True

    async def abandon(self) -> None:
        """Stop the tasks and send nothing more; everything stays in the journal for whoever opens it next."""
        await self._stop()
        self._executor.shutdown(wait=False)

    async def prove(self) -> None:
        """Learn what Redis has on its disk, and let the journal go of what is old enough.

        Raises SinkError, JournalError.
        """
        proof = await self._sink.prove(self._writer)
        self._proving = proof.durable is not None
        if proof.durable is False:
            return
        # A watermark beyond the journal's end speaks of a journal that was longer once: see `_relocate`.
        self._durable = min(proof.watermark, self._cursor)
        await self._journal.release(self._durable, older_than_s=self.retention_s)

    @property
    def retention_s(self) -> float:
        """How long applied records stay in the journal."""
        return self._retention_s if self._proving else self._retention_s * 24

    async def _run(self) -> None:
        backoff_s = 0.05
        while True:
            try:
                more = await self._step()
            except _TROUBLE as error:
                self._fail(error)
                await asyncio.sleep(backoff_s * (0.5 + random.random()))  # noqa: S311  jitter, not a secret
                backoff_s = min(backoff_s * 2, self._max_backoff_s)
                continue
            backoff_s = 0.05
            if not more:
                await asyncio.sleep(self._interval_s)

    async def _run_proofs(self) -> None:
        while True:
            await asyncio.sleep(self._prove_every_s)
            try:
                if self._journal.state().segments > 1:
                    await self.prove()
            except SinkError:
                pass  # the flush task meets the same trouble, and reports it
            except JournalError as error:
                _log.warning("%s: the journal can't let go of what is counted: %s", self._writer, error)

    async def _send_rest(self) -> None:
        while True:
            try:
                if await self._sign_off():
                    return
            except _TROUBLE as error:
                self._fail(error)
                await asyncio.sleep(self._interval_s)

    async def _sign_off(self) -> bool:
        """Send what is left, then a last empty batch; False when Redis turned out to have gone back meanwhile."""
        if self._stored is None:
            await self._locate()
        while self._cursor < self._journal.end:
            await self._send_next()
        if self._journal.sealed and self._stored is not None and self._stored > self._journal.end:
            return True  # a shorter copy of a journal in use elsewhere: that one signs off, with all that it has
        return await self._send(self._nothing(), closing=True)

    async def _step(self) -> bool:
        """One exchange with the sink, or none when there is nothing to say. True when more is waiting."""
        if self._stored is None:
            await self._locate()
        if self._cursor < self._journal.end:
            return await self._send_next()
        if self._monotonic() - self._last_contact >= self._heartbeat_s:
            return not await self._send(self._nothing(), closing=False)
        return False

    async def _send_next(self) -> bool:
        """Send the next batch. True when not all that was on disk fitted in: no reason to wait for the next tick."""
        view = self._journal.view()
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._executor, gather, view, self._cursor, self._max_events, self._home)
        moved = await self._send(found, closing=False)
        return not moved or found.to < view.end

    def _nothing(self) -> _Range:
        return _Range(self._cursor, _NOTHING, 0, 0, 0, 0, 0)

    async def _locate(self) -> None:
        stored = await self._sink.watermark(self._writer)
        self._stored = stored
        # Before this process has sent anything, a watermark beyond what was found on disk means that the disk lost
        # events that are already counted: everything from here on is new.
        known = min(self._journal.recovered_end, self._journal.end)
        if stored > known:
            _log.error("%s: the journal ends at %d but is counted up to %d", self._writer, known, stored)
        self._cursor = min(stored, known)

    async def _send(self, found: _Range, *, closing: bool) -> bool:
        """Offer a batch to the province. False when its watermark was not where the batch begins."""
        stored = self._stored
        if stored is None:
            raise RuntimeError("the watermark is located before anything is sent")
        complete_ms = self._complete_after(found)
        # Where the two differ (see `_locate`), the watermark may even go down: it is set to where the journal is read.
        to = stored if found.to == self._cursor and not found.events else found.to
        batch = Batch(
            self._writer,
            stored,
            to,
            complete_ms,
            found.bucket,
            found.counts.groups,
            found.counts.ids,
            found.counts.watched_ms,
            found.counts.audiences,
            found.counts.corrections,
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
        self._stored, self._cursor = to, found.to
        self._complete_ms = complete_ms
        self._batches += 1
        self._events += found.events
        self._duplicates += applied.duplicates + found.duplicates
        self._in_history += applied.in_history
        if found.lost:
            self._journal.note_lost(found.lost)
            _log.error("%s: %d bytes of the journal before %d are lost", self._writer, found.lost, found.to)
        return True

    def _complete_after(self, found: _Range) -> int:
        """Everything accepted before this time is applied once `found` is.

        Stamps do not go back within a journal. With more on disk, or on its way to it, the last record sent is the
        limit: what follows was stamped no earlier. With nothing left it is now: what comes later is stamped later.
        """
        now = self._journal.stamp_ms()
        if found.to < self._journal.end:
            return found.last_stamp_ms
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
                *(self._writer, found),
            )
            return
        if found < stored:
            _log.warning("%s: Redis has gone back from %d to %d, sending again", self._writer, stored, found)
            self._replayed += max(0, self._cursor - found)
            self._durable = min(self._durable, found)
        if found <= self._journal.end:
            self._cursor = found
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
            _log.warning("%s: counts can't be applied for now: %s", self._writer, error)
        self._connected, self._last_error = False, str(error)
        self._failures += 1

    async def _stop(self) -> None:
        await end(self._tasks)
        self._tasks.clear()

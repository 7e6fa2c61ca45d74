"""The journal -> the provinces it has events for, each by an outlet of its own (`edge.counters.outlet`).

The outlets share the reading (`edge.counters.stretch`) and the journal, which is let go of up to where the last of them
is durable. One whose Redis is away holds nobody up but the journal.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from edge.counters.journal import Journal, JournalError
from edge.counters.outlet import FlushState, Outlet
from edge.counters.sink import Sink, SinkError
from edge.counters.stretch import Stretches
from edge.counters.tally import SEALED
from edge.tasks import begin, end

__all__ = ["FlushState", "Flusher"]

_log = logging.getLogger(__name__)

# Each province costs a call an interval. With many, fewer calls are worth more than a quarter of a second.
_MANY: Final = 8
_INTERVAL_S: Final = 0.2
_INTERVAL_OF_MANY_S: Final = 0.5
_PROOFS_AT_ONCE: Final = 4


class Flusher:
    """Sends one journal's events to the provinces that its label names. `start`, then `drain` once nothing more is
    appended."""

    def __init__(
        self,
        journal: Journal,
        sink: Sink,
        *,
        monotonic: Callable[[], float],
        interval_s: float | None = None,
        heartbeat_s: float = 1.0,
        max_events: int = 500,
        max_backoff_s: float = 2.0,
        prove_every_s: float = 5.0,
        retention_s: float = 600.0,
        keep_from_ms: Callable[[], int | None] = lambda: None,
    ) -> None:
        """sink: of any province; those of the others are on the same Redis. interval_s: how often what has been
        accepted is sent; by default 0.2, and 0.5 to more than eight provinces. heartbeat_s: how often an idle one says
        so. max_events: about the most in one call, when much waits: Redis does nothing else meanwhile (some 20 ms).
        retention_s: how long records stay in the journal after Redis was first seen to have them on its disk, so that a
        fail-over to a replica that lags by less than that finds all that it lacks. Counted from that proof, whenever
        they were accepted; anew after Redis has gone back, and by each process that has the journal. Where Redis can't
        prove that it has anything on disk, 24 times as long after it was first seen to have them at all. Not promised
        to a journal that has filled beyond four fifths of its bound: it gives up what Redis has (on disk, where it can
        prove that), the oldest first, until it has not.
        keep_from_ms: asked for a time, in ms since the epoch: what was accepted after it stays in the journal while
        there is room, durable or not, because history does not have it yet. None: nothing has to stay for that."""
        provinces = journal.label.provinces
        if interval_s is None:
            interval_s = _INTERVAL_S if len(provinces) <= _MANY else _INTERVAL_OF_MANY_S
        self._journal = journal
        self._keep_from_ms = keep_from_ms
        self._prove_every_s, self._retention_s = prove_every_s, retention_s
        self._stretches = Stretches(journal, monotonic=monotonic, interval_s=interval_s, max_events=max_events)
        mover = SEALED if journal.sealed else secrets.token_hex(4)
        self._outlets = {
            province: Outlet(
                journal,
                self._stretches,
                sink.beside(province),
                province,
                mover,
                monotonic=monotonic,
                heartbeat_s=heartbeat_s,
                max_backoff_s=max_backoff_s,
            )
            for province in provinces
        }
        self._proofs: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to send, in tasks of this object's own."""
        for outlet in self._outlets.values():
            outlet.start()
        self._proofs = begin(self._run_proofs(), "counts-prove")

    async def heard(self, within_s: float, failing_s: float) -> bool:
        """Wait until every province knows of this journal: only then is what it publishes as complete held back for
        what is accepted here. False when that takes longer than within_s, or than failing_s while Redis fails: with
        Redis away, events are accepted all the same."""
        outlets = self._outlets.values()
        with suppress(TimeoutError):
            async with asyncio.timeout(failing_s):
                await asyncio.gather(*(outlet.heard.wait() for outlet in outlets))
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s - failing_s):
                await asyncio.gather(*(outlet.tried.wait() for outlet in outlets))
        return all(outlet.heard.is_set() for outlet in outlets)

    def state(self) -> FlushState:
        """Of all provinces together: sums, and of what can't be added up that of the province which is worst off."""
        states = list(self.by_province().values())
        return FlushState(
            connected=all(one.connected for one in states),
            pending_bytes=max(one.pending_bytes for one in states),
            complete_ms=min(one.complete_ms for one in states),
            batches=sum(one.batches for one in states),
            events=sum(one.events for one in states),
            duplicates=sum(one.duplicates for one in states),
            in_history=sum(one.in_history for one in states),
            replayed_bytes=sum(one.replayed_bytes for one in states),
            failures=sum(one.failures for one in states),
            last_error=next((one.last_error for one in states if one.last_error), ""),
            durable=min(one.durable for one in states),
            proving=all(one.proving for one in states),
        )

    def by_province(self) -> dict[str, FlushState]:
        """Of each province that the journal may have events for."""
        return {province: outlet.state() for province, outlet in self._outlets.items()}

    async def drain(self, timeout_s: float) -> bool:
        """Stop the tasks, send what is left and sign off. False when that did not succeed in time: what is left stays
        in the journal, and whoever opens it next sends it."""
        await self._stop()
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.gather(*(outlet.send_rest() for outlet in self._outlets.values()))
        except TimeoutError:
            return False
        finally:
            self._stretches.close()
        return True

    async def abandon(self) -> None:
        """Stop the tasks and send nothing more; everything stays in the journal for whoever opens it next."""
        await self._stop()
        self._stretches.close()

    async def prove(self) -> None:
        """Learn what Redis has on its disk, and let the journal go of what is old enough.

        Raises SinkError when a province could not be asked (what the others have is let go of all the same, up to where
        that one was proved before), and JournalError.
        """
        places = asyncio.Semaphore(_PROOFS_AT_ONCE)  # each holds a connection until Redis has synced

        async def one(outlet: Outlet) -> None:
            async with places:
                await outlet.prove()

        outcomes = await asyncio.gather(*map(one, self._outlets.values()), return_exceptions=True)
        durable = min(outlet.state().durable for outlet in self._outlets.values())
        await self._journal.release(durable, older_than_s=self.retention_s, keep_from_ms=self._keep_from_ms())
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    @property
    def retention_s(self) -> float:
        """How long applied records stay in the journal."""
        proving = all(outlet.state().proving for outlet in self._outlets.values())
        return self._retention_s if proving else self._retention_s * 24

    async def _run_proofs(self) -> None:
        while True:
            await asyncio.sleep(self._prove_every_s)
            try:
                if self._journal.state().segments > 1:
                    await self.prove()
            except SinkError:
                pass  # the flush task meets the same trouble, and reports it
            except JournalError as error:
                _log.warning("the journal can't let go of what is counted: %s", error)

    async def _stop(self) -> None:
        if self._proofs is not None:
            await end([self._proofs])
            self._proofs = None
        await asyncio.gather(*(outlet.stop() for outlet in self._outlets.values()))

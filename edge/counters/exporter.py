"""The task of a worker that brings its node's provinces into history, again and again.

All workers of all nodes have one, and any number of them may work on the same day; a short lease on each province only
spares them from doing everything several times. Every worker learns up to which day its provinces are closed, whoever
closed them: that is how long its journal is kept.
"""

from __future__ import annotations

import asyncio
import logging
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from edge.counters.closing import KEEP_S, Closing
from edge.counters.counting_day import end_of_day_ms
from edge.counters.history import HistoryError, ObjectStore
from edge.counters.province_day import DayChangedError, ProvinceDays
from edge.tasks import begin, end

_log = logging.getLogger(__name__)

LEASE_S: Final = 120
_AHEAD_MS: Final = 60_000
"""An event may be that far ahead of the clock by which it was accepted."""


@dataclass(frozen=True, slots=True)
class ExporterState:
    """What readiness and metrics need to know. closed: days this worker has written or found, and closed.

    through: the last closed day of each province. through_ms: when all of them are closed up to, ms since the epoch; 0
    while one has no closed day.
    """

    closed: int
    failures: int
    last_error: str
    through: dict[str, date | None]
    through_ms: int


class Exporter:
    """Closes days of several provinces. `start`, then `stop`. workplace: nobody else's; what lies there is deleted."""

    def __init__(
        self,
        provinces: Sequence[ProvinceDays],
        store: ObjectStore,
        workplace: Path,
        *,
        holder: str,
        wall: Callable[[], float],
        every_s: float = 60.0,
        keep_s: int = KEEP_S,
    ) -> None:
        """holder: names this worker in leases. every_s: how often it looks, give or take a half."""
        self._store, self._workplace, self._holder = store, workplace, holder
        self._off = self._usable = False
        self._every_s = every_s
        self._days = {one.province: one for one in provinces}
        self._closings = [Closing(one, store, workplace, wall=wall, keep_s=keep_s) for one in provinces]
        self._task: asyncio.Task[None] | None = None
        self._closed = self._failures = 0
        self._last_error = ""

    def start(self) -> None:
        """Look again and again, in a task of this object's own."""
        self._task = begin(self._run(), "counts-history")

    async def stop(self) -> None:
        """End the task; a day that is being exported is exported by whoever looks next."""
        if self._task is not None:
            await end([self._task])
            self._task = None

    def state(self) -> ExporterState:
        through = {one.province: one.through for one in self._closings}
        return ExporterState(self._closed, self._failures, self._last_error, through, self._through_ms())

    def keep_from_ms(self) -> int | None:
        """Journals keep what was accepted from then on (ms since the epoch): it may be of a day that is not closed.
        None when there is no history to wait for."""
        if self._off:
            return None
        return max(0, self._through_ms() - _AHEAD_MS)

    async def look(self) -> None:
        """One round through all provinces. What keeps one from being closed keeps no other, and is told in the state.

        So is a bug, which is tried again in the next round: nothing else would ever bring these days into history.
        """
        troubles = []
        for closing in self._closings:
            try:
                await self._catch_up(closing)
            except DayChangedError as error:
                _log.info("%s; it is read again", error)
            except HistoryError as error:
                troubles.append(str(error))
            except OSError as error:  # a full disk, for example: days are read out into files
                troubles.append(f"province {closing.province}: {error}")
            except Exception as error:
                _log.critical("province %s: a bug; it is tried again", closing.province, exc_info=error)
                troubles.append(f"province {closing.province}: a bug: {error!r}")
        self._tell("; ".join(troubles))

    def _through_ms(self) -> int:
        through = [one.through for one in self._closings]
        known = [day for day in through if day is not None]
        return end_of_day_ms(min(known)) if known and len(known) == len(through) else 0

    async def _catch_up(self, closing: Closing) -> None:
        days = self._days[closing.province]
        if not await closing.look() and not await days.pending_corrections():
            return
        if await days.take_lease(self._holder, LEASE_S):
            try:
                self._closed += len(await closing.catch_up())
            finally:
                await days.give_lease_back(self._holder)

    def _tell(self, trouble: str) -> None:
        self._failures += bool(trouble)
        if trouble and trouble != self._last_error:
            _log.error("closed days can't be exported: %s", trouble)
        self._last_error = trouble

    async def _look_for_credentials(self) -> None:
        try:
            self._usable = await self._store.usable()
        except Exception as error:
            _log.critical("credentials for the bucket can't be looked for; it is tried again", exc_info=error)
            self._tell(f"credentials for the bucket can't be looked for: {error!r}")
            return
        if not self._usable and not self._off:
            _log.info("closed days of counts are not exported: there are no credentials for the bucket")
        self._off = not self._usable  # somebody may put them there: it is looked again

    async def _run(self) -> None:
        await asyncio.to_thread(shutil.rmtree, self._workplace, ignore_errors=True)
        while True:
            if not self._usable:
                await self._look_for_credentials()
            if self._usable:
                await self.look()
            await asyncio.sleep(self._every_s * (0.5 + random.random()))  # noqa: S311  jitter, not a secret

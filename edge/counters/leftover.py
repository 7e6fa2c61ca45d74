"""Journals whose worker is gone for good: after a crash of a node that starts again with fewer workers, or a reload
that gave the new workers new slots. Any worker of the node may look after them, one at a time, under the slot's lock.

A journal is looked after until its counts are durable and old enough: until then a Redis that goes back to an earlier
state would have to be told again, and nobody else could.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.counters.flush import Flusher, writer_name
from edge.counters.journal import Journal, JournalError
from edge.counters.sink import Sink, SinkError
from edge.tasks import begin, end

_log = logging.getLogger(__name__)


class Leftovers:
    """Looks after the journals in `journals/{slot}` whose lock `locks/{slot}.lock` nobody holds."""

    def __init__(
        self,
        journals: Path,
        locks: Path,
        sink: Sink,
        node: str,
        *,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
        every_s: float = 10.0,
        drain_timeout_s: float = 10.0,
        retention_s: float = 600.0,
    ) -> None:
        self._journals, self._locks = journals, locks
        self._sink, self._node = sink, node
        self._wall, self._monotonic = wall, monotonic
        self._every_s, self._drain_timeout_s = every_s, drain_timeout_s
        self._retention_s = retention_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look again and again, in a task of this object's own."""
        self._task = begin(self._run(), "counts-leftovers")

    async def stop(self) -> None:
        """End the task; a journal that was being replayed stays where it is."""
        if self._task is not None:
            await end([self._task])
            self._task = None

    async def look_after(self) -> int:
        """Replay every journal that nobody has, once; returns how many were found."""
        found = 0
        for slot in await asyncio.to_thread(_slots, self._journals):
            with _locked(self._locks / f"{slot}.lock") as mine:
                if mine:
                    found += 1
                    await self._replay(slot)
        return found

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self.look_after()
            except (JournalError, OSError) as error:
                _log.warning("a journal left by an earlier worker can't be read: %s", error)

    async def _replay(self, slot: int) -> None:
        journal = await Journal.open(
            self._journals / str(slot),
            wall=self._wall,
            monotonic=self._monotonic,
            max_bytes=1 << 62,  # nothing is appended
        )
        try:
            flusher = Flusher(
                journal,
                self._sink,
                writer_name(self._node, slot, journal),
                monotonic=self._monotonic,
                retention_s=self._retention_s,
            )
            if await flusher.drain(self._drain_timeout_s):
                await self._let_go(journal, flusher)
        finally:
            await journal.close()

    async def _let_go(self, journal: Journal, flusher: Flusher) -> None:
        """Delete the journal once its counts are durable and old enough."""
        if await journal.age_s() < self._retention_s:
            return
        try:
            await flusher.prove()
        except SinkError:
            return  # not this time
        if flusher.state().durable >= journal.end and await journal.age_s() >= flusher.retention_s:
            await journal.remove()


def _slots(journals: Path) -> list[int]:
    if not journals.is_dir():
        return []
    return sorted(int(path.name) for path in journals.iterdir() if path.name.isdecimal() and path.is_dir())


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Hold the slot's lock if nobody else does; the lock is the kernel's, so a killed holder lets go at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)

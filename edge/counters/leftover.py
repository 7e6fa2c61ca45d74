"""Journals that nobody adds to any more: of slots without a worker (after a crash of a node that starts again with
fewer workers, or a reload that gave the new workers new slots), and those set aside because the node's name or province
has changed (`edge.counters.label`). Any worker of the node may look after them, one at a time, under the slot's lock;
what was set aside in a slot that a worker holds is for that worker.

Each is delivered as what it was begun as: under its own identity, to its own provinces, on the Redis that the node has
now. A node that gets another province and another Redis at once has to be stopped first (which sends what is left) and
its data directory emptied.

A journal is looked after until its counts are durable and old enough: until then a Redis that goes back to an earlier
state would have to be told again, and nobody else could.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Final

from edge.counters.flush import Flusher
from edge.counters.journal import Journal, JournalError
from edge.counters.label import read_label
from edge.counters.sink import Sink, SinkError
from edge.slots import Slot
from edge.tasks import begin, end

_log = logging.getLogger(__name__)

_NAME: Final = re.compile(r"(\d+)(\.[0-9a-f]+)?")


class Leftovers:
    """Looks after the journals in `journals/{slot}` whose lock `locks/{slot}.lock` nobody holds, and after all those in
    `journals/{slot}.{any}`. own_slot: the one that the caller holds."""

    def __init__(
        self,
        journals: Path,
        locks: Path,
        sink: Sink,
        own_slot: int,
        *,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
        every_s: float = 10.0,
        drain_timeout_s: float = 10.0,
        retention_s: float = 600.0,
        keep_from_ms: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._keep_from_ms = keep_from_ms
        self._journals, self._locks = journals, locks
        self._sink, self._own_slot = sink, own_slot
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
        """Replay every journal that nobody has, once; returns how many could be."""
        found = await self._look_after_own()
        for slot, paths in (await asyncio.to_thread(_left, self._journals)).items():
            if slot == self._own_slot:
                continue
            held = await asyncio.to_thread(Slot.try_claim, self._locks, slot)
            if held is not None:
                with held:
                    found += await self._replay_all(paths)
        return found

    async def _look_after_own(self) -> int:
        """The journals that were set aside in the caller's own slot."""
        left = await asyncio.to_thread(_left, self._journals)
        return await self._replay_all([path for path in left.get(self._own_slot, ()) if "." in path.name])

    async def _run(self) -> None:
        # At first only those: the locks of other slots may be just about to be claimed by workers that start, too.
        await self._tell_of_trouble(self._look_after_own)
        while True:
            await asyncio.sleep(self._every_s)
            await self._tell_of_trouble(self.look_after)

    async def _tell_of_trouble(self, look: Callable[[], Coroutine[None, None, int]]) -> None:
        try:
            await look()
        except OSError as error:
            _log.warning("journals left by earlier workers can't be looked after: %s", error)

    async def _replay_all(self, paths: list[Path]) -> int:
        """Replay what is still there; returns how many could be."""
        found = 0
        for path in paths:
            try:
                # Looked at again: whoever had it may have removed it, or set it aside, since it was listed.
                if await asyncio.to_thread(_is_journal, path):
                    await self._replay(path)
                    found += 1
            except (JournalError, ValueError, OSError) as error:
                _log.warning("%s: a journal left by an earlier worker can't be read: %s", path, error)
        return found

    async def _replay(self, path: Path) -> None:
        journal = await Journal.open(
            path,
            None,
            wall=self._wall,
            monotonic=self._monotonic,
            max_bytes=1 << 62,  # nothing is appended
        )
        try:
            flusher = Flusher(
                journal,
                self._sink,
                monotonic=self._monotonic,
                retention_s=self._retention_s,
                keep_from_ms=self._keep_from_ms,
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
        age_s, keep_from_ms = await journal.age_s(), self._keep_from_ms()
        if keep_from_ms is not None and (self._wall() - age_s) * 1000 >= keep_from_ms:
            return  # history does not have all its days yet
        if flusher.state().durable >= journal.end and age_s >= flusher.retention_s:
            await journal.remove()


def _left(journals: Path) -> dict[int, list[Path]]:
    """The directories of journals, by slot."""
    found: dict[int, list[Path]] = {}
    if journals.is_dir():
        for path in sorted(journals.iterdir()):
            if (name := _NAME.fullmatch(path.name)) and path.is_dir():
                found.setdefault(int(name[1]), []).append(path)
    return dict(sorted(found.items()))


def _is_journal(path: Path) -> bool:
    """Whether there is anything in it: one whose beginning was cut off has neither a name nor events."""
    return path.is_dir() and (read_label(path) is not None or any(path.glob("*.log")))

"""Journals that nobody adds to any more: of slots without a worker (after a crash of a node that starts again with
fewer workers, or a reload that gave the new workers new slots), and those set aside because the node's name or province
has changed (`edge.counters.label`). Any worker of the node may look after them, one at a time, under the slot's lock;
what was set aside in a slot that a worker holds is for that worker.

Each is delivered as what it was begun as: under its own identity, to its own provinces, on the Redis that the node has
now. A node that gets another province and another Redis at once has to be stopped first (which sends what is left) and
its data directory emptied.

A journal is looked after until Redis has had all of it on its disk for long enough, and history has its days: until
then a Redis that goes back to an earlier state would have to be told again, and nobody else could. How long it has had
it counts from the proof, whenever it was written, and in the worker that got the proof: anew when another worker looks
after it first, when the journal has changed, and when anybody had to send something of it again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from edge.counters.flush import Flusher
from edge.counters.journal import Journal, JournalError
from edge.counters.label import FILE, read_label
from edge.counters.sink import Sink, SinkError
from edge.slots import Slot
from edge.tasks import begin, end

_log = logging.getLogger(__name__)

_REST_S: Final = 60.0
_NAME: Final = re.compile(r"(\d+)(\.[0-9a-f]+)?")


@dataclass(slots=True)
class _Delivered:
    """A journal that was delivered, as it was then. had_since_s: when Redis was first seen to have all of it on its
    disk (or, where it can't prove that, to have it), None before."""

    at_s: float
    files: dict[str, int]
    had_since_s: float | None = None


class Leftovers:
    """Looks after the journals in `journals/{slot}` whose lock `locks/{slot}.lock` nobody holds, and after all those in
    `journals/{slot}.{any}`. own_slot: the one that the caller holds. retention_s: as for a `Flusher`."""

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
        self._delivered: dict[Path, _Delivered] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look again and again, in a task of this object's own."""
        self._task = begin(self._run(), "counts-leftovers")

    async def stop(self) -> None:
        """End the task; a journal that was being replayed stays where it is."""
        if self._task is not None:
            await end([self._task])
            self._task = None

    async def look_after(self, *, sparing: bool = False) -> int:
        """Replay every journal that nobody has, once; returns how many could be.

        sparing: leave out those that were delivered within the last minute and have not changed.
        """
        found = await self._look_after_own(sparing=sparing)
        left = await asyncio.to_thread(_left, self._journals)
        for gone in self._delivered.keys() - {path for paths in left.values() for path in paths}:
            del self._delivered[gone]
        for slot, paths in left.items():
            if slot == self._own_slot:
                continue
            held = await asyncio.to_thread(Slot.try_claim, self._locks, slot)
            if held is not None:
                with held:
                    found += await self._replay_all(paths, sparing=sparing)
        return found

    async def _look_after_own(self, *, sparing: bool = False) -> int:
        """The journals that were set aside in the caller's own slot."""
        left = await asyncio.to_thread(_left, self._journals)
        aside = [path for path in left.get(self._own_slot, ()) if "." in path.name]
        return await self._replay_all(aside, sparing=sparing)

    async def _run(self) -> None:
        # At first only those: the locks of other slots may be just about to be claimed by workers that start, too.
        await self._tell_of_trouble(self._look_after_own)
        while True:
            await asyncio.sleep(self._every_s)
            await self._tell_of_trouble(partial(self.look_after, sparing=True))

    async def _tell_of_trouble(self, look: Callable[[], Coroutine[None, None, int]]) -> None:
        try:
            await look()
        except OSError as error:
            _log.warning("journals left by earlier workers can't be looked after: %s", error)

    async def _replay_all(self, paths: list[Path], *, sparing: bool) -> int:
        """Replay what is still there; returns how many could be."""
        found = 0
        for path in paths:
            if sparing and await asyncio.to_thread(self._rests, path):
                continue
            try:
                # Looked at again: whoever had it may have removed it, or set it aside, since it was listed.
                if await asyncio.to_thread(_is_journal, path):
                    await self._replay(path)
                    found += 1
            except (JournalError, ValueError, OSError) as error:
                _log.warning("%s: a journal left by an earlier worker can't be read: %s", path, error)
        return found

    def _rests(self, path: Path) -> bool:
        """Whether it was delivered not long ago, and is as it was then. It may be here for days, until history has all
        that is in it, and reading it again has its price."""
        known = self._delivered.get(path)
        return known is not None and self._monotonic() - known.at_s < _REST_S and _files(path) == known.files

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
            drained = await flusher.drain(self._drain_timeout_s)
            if flusher.state().events:
                await asyncio.to_thread(_tell_others, path)
            if drained:
                await self._note_delivered(path)
                await self._let_go(path, journal, flusher)
            else:
                self._delivered.pop(path, None)
        finally:
            await journal.close()

    async def _note_delivered(self, path: Path) -> None:
        known, files = self._delivered.get(path), await asyncio.to_thread(_files, path)
        had_since_s = known.had_since_s if known is not None and known.files == files else None
        self._delivered[path] = _Delivered(self._monotonic(), files, had_since_s)

    async def _let_go(self, path: Path, journal: Journal, flusher: Flusher) -> None:
        """Delete the journal once Redis has had all of it for long enough, and history has its days."""
        known = self._delivered[path]
        if known.had_since_s is not None and (
            self._had_for_s(known) < self._retention_s or not await self._is_in_history(journal)
        ):
            return  # whatever Redis would say now
        try:
            await flusher.prove()
        except SinkError:
            return  # not this time
        if flusher.state().durable < journal.end:
            known.had_since_s = None
            return
        if known.had_since_s is None:
            known.had_since_s = self._monotonic()
        if self._had_for_s(known) >= flusher.retention_s and await self._is_in_history(journal):
            await journal.remove()
            del self._delivered[path]

    def _had_for_s(self, known: _Delivered) -> float:
        return self._monotonic() - known.had_since_s if known.had_since_s is not None else 0.0

    async def _is_in_history(self, journal: Journal) -> bool:
        """Whether nothing has to stay for history, by when it was written for the last time."""
        keep_from_ms = self._keep_from_ms()
        return keep_from_ms is None or (self._wall() - await journal.age_s()) * 1000 < keep_from_ms


def _left(journals: Path) -> dict[int, list[Path]]:
    """The directories of journals, by slot."""
    found: dict[int, list[Path]] = {}
    if journals.is_dir():
        for path in sorted(journals.iterdir()):
            if (name := _NAME.fullmatch(path.name)) and path.is_dir():
                found.setdefault(int(name[1]), []).append(path)
    return dict(sorted(found.items()))


def _files(path: Path) -> dict[str, int]:
    """By name: the sizes of its segments, and when the label was touched for the last time."""
    sizes = {file.name: file.stat().st_size for file in path.glob("*.log")}
    return sizes | {file.name: file.stat().st_mtime_ns for file in path.glob(FILE)}


def _tell_others(path: Path) -> None:
    """That something was sent: to other workers, who look after the same journal in turn, it is changed by that."""
    os.utime(path / FILE)


def _is_journal(path: Path) -> bool:
    """Whether there is anything in it: one whose beginning was cut off has neither a name nor events."""
    return path.is_dir() and (read_label(path) is not None or any(path.glob("*.log")))

"""Closed days for readers: a whole day of all provinces as one file, or a province's day as figures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Final

from edge.counters.closing import passing_directory
from edge.counters.counting_day import moment_of
from edge.counters.history import Figures, History, HistoryError, Manifest, NoHistoryError, NotClosedError, ObjectStore
from edge.counters.parquet import Format, Parquet, Source
from edge.counters.province_day import ProvinceDays

MOST_AT_ONCE: Final = 4
_ASKED_AT_ONCE: Final = 8
_PIECE: Final = 64 * 1024


class _Absent(Enum):
    """Why a province has no part of a day."""

    BEFORE = "nothing was counted until then"
    EMPTY = "it is closed, and nothing was counted on it"


@dataclass(frozen=True, slots=True)
class DayTable:
    """A closed day of a province. resources: views, plays, ms watched by resource; minutes: by minute of the day and
    country. A minute of None holds what was counted before minutes were told apart."""

    manifest: Manifest
    resources: Mapping[str, tuple[int, int, int]]
    minutes: Mapping[tuple[int | None, str], Figures]

    @property
    def bots(self) -> Figures:
        return self.manifest.bots

    @property
    def corrections(self) -> Collection[str]:
        """Ids of those that are included."""
        return self.manifest.corrections.keys()


class Exports:
    """Reads closed days of the provinces that a node shows. workplace: a directory for what is under way."""

    def __init__(
        self, store: ObjectStore, days: Sequence[ProvinceDays], workplace: Path, *, wall: Callable[[], float]
    ) -> None:
        self._history = History(store)
        self._days = days
        self._workplace = workplace
        self._wall = wall
        self._asking = asyncio.Semaphore(_ASKED_AT_ONCE)
        self._under_way = 0

    async def exported(self, day: date, how: Format) -> AsyncGenerator[bytes]:
        """The day of all provinces as one file, piece by piece; nothing of it is given before all of it is there.

        Whoever has the pieces closes them: until then a place and the file are taken.
        Raises NotClosedError, NoHistoryError; HistoryError when storage, or a Redis, can't be read now, or the disk of
        this node is full.
        """
        manifests = await self._manifests(day)
        pieces = self._pieces(day, manifests, how)
        with _own_disk():
            await anext(pieces)  # everything that can fail is done
        return pieces

    async def day_table(self, day: date, province: str) -> DayTable | None:
        """A province's day, None when history does not have it. Raises HistoryError."""
        found = await self._history.find(day, province)
        if found is None:
            return None
        with _own_disk():
            async with passing_directory(self._workplace) as directory:
                manifest, paths = await self._fetch(found.manifest, directory)
                return await asyncio.to_thread(_table, manifest, directory, paths)

    async def _pieces(self, day: date, manifests: Sequence[Manifest], how: Format) -> AsyncGenerator[bytes]:
        """First nothing, when the file is made; then its pieces."""
        if self._under_way >= MOST_AT_ONCE:
            raise HistoryError(f"{MOST_AT_ONCE} exports are being read already")
        self._under_way += 1
        async with AsyncExitStack() as stack:
            stack.callback(self._one_less)
            directory = await stack.enter_async_context(passing_directory(self._workplace))
            sources = []
            for wanted in manifests:
                manifest, paths = await self._fetch(wanted, directory)
                sources.append(Source(manifest.province, paths["resources"], paths["minutes"]))
            target = directory / f"export.{how.value}"
            await asyncio.to_thread(_export, directory, day, sources, target, how)
            yield b""
            file = await asyncio.to_thread(target.open, "rb")
            stack.callback(file.close)
            while piece := await asyncio.to_thread(file.read, _PIECE):
                yield piece

    async def _manifests(self, day: date) -> list[Manifest]:
        """What history has of a closed day: nothing, when nothing was counted anywhere."""
        if day >= moment_of(self._wall()).date():
            raise NotClosedError(f"{day} is not over")
        found = await asyncio.gather(*(self._manifest(day, one) for one in self._days))
        if all(part is _Absent.BEFORE for part in found):
            raise NoHistoryError(f"history has nothing of {day}, which is before everything that was counted")
        return [part for part in found if isinstance(part, Manifest)]

    async def _manifest(self, day: date, days: ProvinceDays) -> Manifest | _Absent:
        """The province's part of a day, or why there is none.

        What was counted is asked after history: a day that comes into history in between is refused for a moment, and
        never given as an empty one.
        """
        async with self._asking:
            found = await self._history.find(day, days.province)
            if found is not None:
                return found.manifest
            standing = await days.standing()
            counted = await days.was_counted(day)
        began = counted or (standing.first is not None and standing.first <= day)
        if began and (standing.through is None or standing.through < day):
            raise NotClosedError(f"{day} is not closed yet in province {days.province}")
        if counted:
            raise HistoryError(f"history does not have yet what was counted on {day} in province {days.province}")
        return _Absent.EMPTY if began else _Absent.BEFORE

    async def _fetch(self, manifest: Manifest, directory: Path) -> tuple[Manifest, dict[str, Path]]:
        """The tables of a day; of its next version, when a correction came in between and the old ones are gone."""
        try:
            return manifest, await self._history.fetch(manifest, ("resources", "minutes"), directory)
        except HistoryError:
            found = await self._history.find(manifest.day, manifest.province)
            if found is None or found.manifest == manifest:
                raise
            return found.manifest, await self._history.fetch(found.manifest, ("resources", "minutes"), directory)

    def _one_less(self) -> None:
        self._under_way -= 1


@contextmanager
def _own_disk() -> Iterator[None]:
    """What is read goes through files: a disk that takes none is a HistoryError, too."""
    try:
        yield
    except OSError as error:
        raise HistoryError(f"history can't be read on this node: {error}") from error


def _export(directory: Path, day: date, sources: Sequence[Source], target: Path, how: Format) -> None:
    with Parquet(directory) as parquet:
        parquet.export(day.isoformat(), sources, target, how)


def _table(manifest: Manifest, directory: Path, paths: Mapping[str, Path]) -> DayTable:
    with Parquet(directory) as parquet:
        return DayTable(
            manifest,
            {row[0]: row[1:] for row in parquet.resources(paths["resources"])},
            {row[:2]: Figures(*row[2:]) for row in parquet.minutes(paths["minutes"])},
        )

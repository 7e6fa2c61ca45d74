"""A province's Redis put right by history and by what the journals have brought back.

Open days are Redis's and the journals' alone: a Redis that has lost everything is told again by the journals, which are
kept until their days are closed. That happens by itself; nothing here touches watermarks or remembered ids.

While counting goes on: once `history_through` says which days are closed, every call that counts adds the same to an
open day and to the total. So what a total lacks stays the same, and may be added at any time, exactly once. What it
lacks is known only if no other day began, and no closed one was corrected, while it was compared. A lease keeps a
second one away, who would add it again. Interrupted anywhere, it can be begun again: it compares first.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Final, TypeVar

import orjson

from edge.counters.closing import KEEP_S, passing_directory, sum_of
from edge.counters.comparison import Comparison, Ground, Numbers, detail_keys, ground_of
from edge.counters.counting_day import day_name, day_named
from edge.counters.history import Figures, History, HistoryError, ObjectStore, folder_of
from edge.counters.parquet import Parquet
from edge.counters.past import Past, Progress, read_past
from edge.counters.province_day import ProvinceDays
from edge.counters.witnesses import Difference, Remedy

T = TypeVar("T")

LEASE_S: Final = 600
_AT_ONCE: Final = 1000
_SKETCHES_AT_ONCE: Final = 100
_TRIES: Final = 3
_DETAIL_DAYS: Final = KEEP_S // 86_400


class LeaseError(HistoryError):
    """Somebody else works on the province's history just now."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was compared, and what differs. complete_ms: up to when Redis is complete, ms since the epoch."""

    province: str
    closed_days: int
    through: date | None
    resources: int
    complete_ms: int | None
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class _Compared:
    """A comparison that was made, what it stands on, and what differs."""

    comparison: Comparison
    ground: Ground
    differences: tuple[Difference, ...]

    def lacks(self, day: date) -> bool:
        """Whether it is a closed day that history does not have."""
        through = self.ground.through
        return through is not None and day <= through and day not in self.ground.past.manifests

    def lost_days(self) -> set[date]:
        """Days of the rankings that history lacks, though more was counted on them than corrections that it waits for.
        The rankings have every day, also long after its details have gone."""
        counted = {day_named(one.field) for one in self.differences if one.is_of_days and one.redis > one.history}
        return {day for day in counted if self.lacks(day)}


class Rebuild:
    """Compares a province with its history, and puts it right. holder: names this process in the lease."""

    def __init__(
        self, days: ProvinceDays, store: ObjectStore, workplace: Path, *, holder: str, progress: Progress
    ) -> None:
        self._days, self._workplace = days, workplace
        self._history = History(store)
        self._holder, self._progress = holder, progress
        self._past: Past | None = None

    async def check(self) -> Report:
        """Compare everything, and change nothing. Raises HistoryError."""
        past = await self._read_past()
        compared = await self._compare(past, details=True)
        standing = await self._days.standing()
        return Report(
            self._days.province,
            len(past.manifests),
            past.through,
            len(past.resources),
            standing.complete_ms,
            compared.differences,
        )

    async def apply(self) -> Report:
        """Put right what can be, and compare again: nobody can put right what differs then.

        Raises HistoryError, LeaseError; what was put right until then stays so.
        """
        past = await self._read_past()
        async with self._lease():
            await self._trust(past)
            compared = await self._compare(past)
            await self._refuse_lost_days(compared)
            await self._adjust([one for one in compared.differences if one.remedy is Remedy.ADJUST])
            await self._set_first_day([one for one in compared.differences if one.remedy is Remedy.REPLACE])
            await self._restore_details(compared)
            if compared.differences or not await self._days.asked(self._days.client.exists(self._days.key("u"))):
                await self._merge_sketches(past)
        return await self.check()

    async def _read_past(self) -> Past:
        if self._past is None:
            self._past = await read_past(self._history, self._days.province, self._workplace, self._progress)
        return self._past

    async def _compare(self, past: Past, *, details: bool = False) -> _Compared:
        """What differs, on ground that stayed the same while numbers were read: what comes meanwhile for a day that was
        not there, or as a correction of a closed one, is in the totals and in nothing that they are compared with."""
        ground = await ground_of(self._days, past)
        for _ in range(_TRIES):
            comparison = Comparison(self._days, self._history, ground, self._workplace, self._progress)
            found = [*await comparison.sums(), *await comparison.resources()]
            if details:
                found += await comparison.details()
            before, ground = ground, await ground_of(self._days, past)
            if ground == before:
                return _Compared(comparison, ground, tuple(found))
        raise HistoryError(
            f"province {self._days.province}: days or corrections of closed days came while it was compared, "
            f"{_TRIES} times; begin again"
        )

    @asynccontextmanager
    async def _lease(self) -> AsyncIterator[None]:
        if not await self._days.take_lease(self._holder, LEASE_S):
            raise LeaseError(
                f"province {self._days.province}: somebody else works on its history; try again in a few minutes"
            )
        try:
            yield
        finally:
            await self._days.give_lease_back(self._holder)

    async def _trust(self, past: Past) -> None:
        """Nothing of a closed day is counted from here on, and no correction that history holds."""
        if past.through is None:
            return
        entries = list(past.corrections().items())
        for part in _parts(entries, _AT_ONCE) or [[]]:
            told = [text for key, entry in part for text in (key, orjson.dumps(entry), _int(entry.get("at")))]
            await self._days.call("smartedu_trust_history", day_name(past.through), *told)

    async def _refuse_lost_days(self, compared: _Compared) -> None:
        """A day that Redis calls closed, and has counts of, but history has not: to go on would lose it."""
        lost = compared.lost_days()
        # No ranking has days of nothing but bots: those of which there may be details still are all looked for.
        for day in {*await compared.comparison.days_with_details(), *_recent(compared.ground.through)}:
            if compared.lacks(day) and await self._has_events(day):
                lost.add(day)
        if lost:
            day, more = min(lost), f" ({len(lost)} such days, through {max(lost)})" if len(lost) > 1 else ""
            raise HistoryError(
                f"province {self._days.province}: {day} is closed and was counted, but history lacks it{more}: "
                f"bring back {folder_of(day, self._days.province)} first"
            )

    async def _has_events(self, day: date) -> bool:
        """Whether the details of a day hold anything but corrections."""
        look = await self._days.look(day)
        return look.bots != Figures() or look.sums not in (Figures(), sum_of(look.of_day(day)))

    async def _adjust(self, differences: Sequence[Difference]) -> None:
        by_key: dict[str, list[Difference]] = {}
        for one in differences:
            by_key.setdefault(one.key, []).append(one)
        done = 0
        for key, members in by_key.items():
            for part in _parts(members, _AT_ONCE):
                self._progress("putting totals right", done, len(differences))
                await self._adjust_key(key, part)
                done += len(part)
        self._progress("putting totals right", done, len(differences))

    async def _adjust_key(self, key: str, members: Sequence[Difference]) -> None:
        command = "ZINCRBY" if members[0].is_rank else "HINCRBY"
        amounts = [text for one in members for text in (one.field, one.history - one.redis)]
        head = (self._holder, LEASE_S, command, f":{key}", int(members[0].is_of_resource))
        if not await self._days.call("smartedu_adjust", *head, *amounts):
            raise LeaseError(f"province {self._days.province}: the lease was lost on the way; begin again")

    async def _set_first_day(self, differences: Sequence[Difference]) -> None:
        """The first day of all. An event of an earlier one may come while it is compared: then that one stays."""
        for one in differences:
            told, first = (str(day) if day else "" for day in (one.redis, one.history))
            await self._days.call("smartedu_replace_first_day", told, first)

    async def _restore_details(self, compared: _Compared) -> None:
        """The last closed days are written again where they differ; what is left of earlier ones goes. What stays will
        go in time, also of days that `_trust` has just closed."""
        comparison, ground = compared.comparison, compared.ground
        if ground.through is None:
            return
        since = min(_recent(ground.through))
        recent = [day for day in ground.past.manifests if day >= since]
        days = sorted({*recent, *await comparison.days_with_details()})
        for done, day in enumerate(days):
            self._progress("writing closed days again", done, len(days))
            if day < since:
                keys = [self._days.key(*parts) for parts in detail_keys(day)]
                await self._days.asked(self._days.client.unlink(*keys))
            elif await comparison.differs(day):
                await self._write_day(day, await comparison.expected_details(day))
            else:
                await self._days.note_exported(day, (), KEEP_S)
        self._progress("writing closed days again", len(days), len(days))

    async def _write_day(self, day: date, expected: dict[str, Numbers]) -> None:
        for parts in detail_keys(day):
            key, numbers = self._days.key(*parts), expected.get(":".join(parts), {})
            pipe = self._days.client.pipeline(transaction=True)
            pipe.unlink(key)
            for part in _parts(list(numbers.items()), _AT_ONCE):
                if parts[-1] in ("views", "plays", "watch_ms"):
                    pipe.zadd(key, dict(part))
                else:
                    pipe.hset(key, mapping=dict(part))
            if numbers:
                pipe.expire(key, KEEP_S)
            await self._days.asked(pipe.execute())

    async def _merge_sketches(self, past: Past) -> None:
        """Viewers of all time include those of the closed days. Adding a sketch twice changes nothing."""
        for done, manifest in enumerate(past.manifests.values()):
            self._progress("merging sketches of viewers", done, len(past.manifests))
            async with passing_directory(self._workplace) as directory:
                paths = await self._history.fetch(manifest, ("sketches",), directory)
                parts = _sketches(directory, paths["sketches"])
                while part := await asyncio.to_thread(next, parts, None):
                    await self._days.call("smartedu_merge_sketches", *part)
        self._progress("merging sketches of viewers", len(past.manifests), len(past.manifests))


def _recent(through: date | None) -> list[date]:
    """The last closed days, of which Redis may have details."""
    return [through - timedelta(days=i) for i in range(_DETAIL_DAYS)] if through is not None else []


def _sketches(directory: Path, table: Path) -> Iterator[list[bytes | str | int]]:
    """Keys and sketches, some at a time. The day's own is part of the sum of all time."""
    part: list[bytes | str | int] = []
    with Parquet(directory) as parquet:
        for name, sketch in parquet.sketches(table):
            part += [":u" if name is None else f":ur:{name}", sketch]
            if len(part) >= 2 * _SKETCHES_AT_ONCE:
                yield part
                part = []
    if part:
        yield part


def _parts(members: Sequence[T], size: int) -> list[Sequence[T]]:
    return [members[first : first + size] for first in range(0, len(members), size)]


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0

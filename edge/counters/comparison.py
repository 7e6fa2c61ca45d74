"""A province's Redis compared with its history.

What a number should be:

    of all time       what history has of the closed days, and what Redis has of the open ones
    of a closed day   what history has; Redis may have let go of it, but what it still has must be the same
    of an open day    what its finer parts, or the totals, say (`edge.counters.witnesses`)

Numbers that are compared are read in one transaction, so counting may go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from edge.counters.closing import passing_directory
from edge.counters.counting_day import day_from, day_name
from edge.counters.event import Kind
from edge.counters.history import METRICS, Figures, History, Manifest
from edge.counters.parquet import Parquet
from edge.counters.past import Past, Progress
from edge.counters.province_day import (
    Correction,
    ProvinceDays,
    correction_of,
    figures_of,
    sums_by_country,
)
from edge.counters.witnesses import FIRST_DAY, Difference, Keys, Remedy, compare, weigh

RANKS: Final = {"views": Kind.VIEW, "plays": Kind.PLAY, "watch_ms": Kind.WATCH}
_AT_ONCE: Final = 500

Numbers = dict[str, int]
Hash = Mapping[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Ground:
    """What a comparison stands on. late: corrections of closed days that history does not hold yet, by id."""

    past: Past
    late: Mapping[str, Correction]
    through: date | None
    open_days: tuple[date, ...]

    def late_of_resource(self, resource: str) -> Figures:
        return _sum(one for one in self.late.values() if one.resource == resource and one.kind != Kind.VISIT)

    def late_of_day(self, day: date) -> list[Correction]:
        return [one for one in self.late.values() if one.day == day]

    def sums_of(self, day: date) -> Figures:
        """What a closed day should be."""
        manifest = self.past.manifests.get(day)
        return (manifest.sums if manifest is not None else Figures()).plus(_sum(self.late_of_day(day)))


async def ground_of(days: ProvinceDays, past: Past) -> Ground:
    """What there is to compare now. Raises HistoryError."""
    standing = await days.standing()
    through = max((day for day in (past.through, standing.through) if day is not None), default=None)
    held = past.corrections()
    late = {
        key: one
        for key, one in (await days.corrections()).items()
        if key not in held and through is not None and one.day <= through
    }
    known = await _known_days(days)
    return Ground(past, late, through, tuple(sorted(day for day in known if through is None or day > through)))


class Comparison:
    """Compares one province; changes nothing. Every method raises HistoryError."""

    def __init__(
        self, days: ProvinceDays, history: History, ground: Ground, workplace: Path, progress: Progress
    ) -> None:
        self._days, self._history, self._ground = days, history, ground
        self._workplace, self._progress = workplace, progress
        self._open = [day_name(day) for day in ground.open_days]

    async def sums(self) -> list[Difference]:
        """Totals, countries, bots, and the days' sums."""
        days = self._days
        pipe = days.client.pipeline(transaction=True)
        for name in ("total", "countries", "bots", "corrections"):
            pipe.hgetall(days.key(name))
        for metric in METRICS:
            pipe.zrange(days.key("days", metric), 0, -1, withscores=True)
        for day in self._open:
            for parts in (("day", day), ("day", day, "countries"), ("day", day, "bots"), ("min", day)):
                pipe.hgetall(days.key(*parts))
        total, countries, bots, entries, *rest = await days.asked(pipe.execute())
        ranked = [{name.decode(): int(score) for name, score in one} for one in rest[:4]]
        open_days = [_OpenDay.of(*rest[i : i + 4]) for i in range(4, len(rest), 4)]
        corrections = [correction_of(entry, days.province) for entry in entries.values()]
        return [
            *self._compare_first_day(day_from(total.get(b"first_day")), open_days, corrections),
            *self._weigh_sums(figures_of(total), open_days),
            *self._weigh_countries(_by_field(sums_by_country(countries)), open_days),
            *self._compare_bots(figures_of(bots), open_days),
            *self._compare_days(ranked, open_days),
        ]

    async def resources(self) -> list[Difference]:
        """Every resource: its totals, and its open days."""
        names = sorted(await self._all_resources())
        found: list[Difference] = []
        for first in range(0, len(names), _AT_ONCE):
            self._progress("comparing resources", first, len(names))
            found += await self._compare_resources(names[first : first + _AT_ONCE])
        self._progress("comparing resources", len(names), len(names))
        return found

    async def details(self) -> list[Difference]:
        """What Redis still has of closed days."""
        found: list[Difference] = []
        closed = [day for day in await self.days_with_details() if self._ground.through is not None]
        for done, day in enumerate(closed):
            self._progress("comparing closed days", done, len(closed))
            found += await self._compare_day(day)
        self._progress("comparing closed days", len(closed), len(closed))
        return found

    async def days_with_details(self) -> list[date]:
        """Closed days of which Redis has anything still, and would be asked."""
        through = self._ground.through
        closed = sorted(day for day in await _known_days(self._days) if through is not None and day <= through)
        closed = sorted({*closed, *self._ground.past.manifests})
        pipe = self._days.client.pipeline(transaction=False)
        for day in closed:
            pipe.exists(*(self._days.key(*parts) for parts in detail_keys(day)))
        there = await self._days.asked(pipe.execute())
        return [day for day, count in zip(closed, there, strict=True) if count]

    def _compare_first_day(
        self, told: date | None, open_days: Sequence[_OpenDay], corrections: Sequence[Correction]
    ) -> list[Difference]:
        """Days begin with the first event of people: a correction of a day before that moves nothing."""
        days = {self._ground.past.first_day()}
        for day, one in zip(self._ground.open_days, open_days, strict=True):
            if one.sums != _sum(entry for entry in corrections if entry.day == day):
                days.add(day)
        first = min((day for day in days if day is not None), default=None)
        redis, history = (int(day_name(day)) if day is not None else 0 for day in (told, first))
        return [Difference("total", FIRST_DAY, redis, history, Remedy.REPLACE)] if told != first else []

    def _weigh_sums(self, total: Figures, open_days: Sequence[_OpenDay]) -> Iterator[Difference]:
        past = self._ground.past.sums().plus(_sum(self._ground.late.values()))
        keys = Keys("total", [f"day:{day}" for day in self._open], [f"min:{day}" for day in self._open])
        for metric in METRICS:
            numbers = [(getattr(one.sums, metric), getattr(one.placed, metric)) for one in open_days]
            parts, finer = [one[0] for one in numbers], [one[1] for one in numbers]
            yield from weigh(keys, metric, getattr(total, metric), getattr(past, metric), parts, finer)

    def _weigh_countries(self, total: Numbers, open_days: Sequence[_OpenDay]) -> Iterator[Difference]:
        past = self._ground.past.countries()
        for one in self._ground.late.values():
            past[one.country] = past.get(one.country, Figures()).plus(one.figures)
        closed = _by_field(past)
        keys = Keys("countries", [f"day:{day}:countries" for day in self._open], [f"min:{day}" for day in self._open])
        names = {*total, *closed}
        for day in open_days:
            names |= {*day.countries, *day.placed_countries}
        for name in sorted(names):
            parts = [one.countries.get(name, 0) for one in open_days]
            finer = [one.placed_countries.get(name, 0) for one in open_days]
            yield from weigh(keys, name, total.get(name, 0), closed.get(name, 0), parts, finer)

    def _compare_bots(self, bots: Figures, open_days: Sequence[_OpenDay]) -> list[Difference]:
        expected = _total([self._ground.past.bots(), *(one.bots for one in open_days)])
        return compare("bots", bots.document(), expected.document(), Remedy.ADJUST)

    def _compare_days(self, ranked: Sequence[Numbers], open_days: Sequence[_OpenDay]) -> Iterator[Difference]:
        """The ranking of days. Of an open day, only when its sums are undisputed: they are weighed elsewhere."""
        sums = {day_name(day): self._ground.sums_of(day) for day in self._closed_days()}
        disputed = {day for day, one in zip(self._open, open_days, strict=True) if one.sums != one.placed}
        sums |= {day: one.sums for day, one in zip(self._open, open_days, strict=True) if day not in disputed}
        for metric, found in zip(METRICS, ranked, strict=True):
            expected = {day: getattr(figures, metric) for day, figures in sums.items()}
            told = {day: amount for day, amount in found.items() if day not in disputed}
            yield from compare(f"days:{metric}", told, expected, Remedy.ADJUST)

    def _closed_days(self) -> set[date]:
        return {*self._ground.past.manifests, *(one.day for one in self._ground.late.values())}

    async def _all_resources(self) -> set[str]:
        found = set(self._ground.past.resources)
        for metric in RANKS:
            for scope in ((metric,), *(("day", day, metric) for day in self._open)):
                found |= {name async for name, _ in self._days.scan_zset(self._days.key(*scope))}
        for day in self._open:
            for hour in range(24):
                key = self._days.key("h", f"{day}{hour:02d}")
                found |= {place[2:] async for place, _ in self._days.scan_hash(key)}
        return found - {"*"}

    async def _compare_resources(self, names: list[str]) -> list[Difference]:
        days = self._days
        pipe = days.client.pipeline(transaction=True)
        for metric, kind in RANKS.items():
            pipe.zmscore(days.key(metric), names)
            for day in self._open:
                pipe.zmscore(days.key("day", day, metric), names)
                fields = [f"{kind:d} {name}" for name in names]
                for hour in range(24):
                    pipe.hmget(days.key("h", f"{day}{hour:02d}"), fields)
        answers = iter(await days.asked(pipe.execute()))
        found: list[Difference] = []
        for metric in RANKS:
            scores = next(answers)
            totals = [int(score or 0) for score in scores]
            if metric == "views":  # the one that lists every resource
                listed = zip(names, scores, strict=True)
                found += [
                    _unlisted(name) for name, score in listed if score is None and name in self._ground.past.resources
                ]
            columns = []
            for _ in self._open:
                parts = [int(score or 0) for score in next(answers)]
                hours = [next(answers) for _ in range(24)]
                columns.append((parts, [sum(int(one[i] or 0) for one in hours) for i in range(len(names))]))
            found += self._weigh_resources(metric, names, totals, columns)
        return found

    def _weigh_resources(
        self, metric: str, names: Sequence[str], totals: Sequence[int], columns: Sequence[tuple[list[int], list[int]]]
    ) -> Iterator[Difference]:
        keys = Keys(metric, [f"day:{day}:{metric}" for day in self._open], [f"h:{day}*" for day in self._open])
        for i, name in enumerate(names):
            closed = self._ground.past.resources.get(name, Figures())
            if self._ground.late:
                closed = closed.plus(self._ground.late_of_resource(name))
            parts, finer = [column[0][i] for column in columns], [column[1][i] for column in columns]
            yield from weigh(keys, name, totals[i], getattr(closed, metric), parts, finer)

    async def differs(self, day: date) -> bool:
        """Whether what Redis has of a closed day is not all that history has."""
        return bool(await self._compare_day(day))

    async def _compare_day(self, day: date) -> list[Difference]:
        expected = await self.expected_details(day)
        found = []
        for parts in detail_keys(day):
            key = ":".join(parts)
            is_rank = key in _ranks_of(day)
            scan = self._days.scan_zset if is_rank else self._days.scan_hash
            redis = {name: amount async for name, amount in scan(self._days.key(*parts))}
            found += compare(key, redis, expected.get(key, {}), Remedy.RESTORE)
        return found

    async def expected_details(self, day: date) -> dict[str, Numbers]:
        """Key (without the province) -> what it should hold, of a closed day, late corrections included."""
        manifest = self._ground.past.manifests.get(day)
        late = self._ground.late_of_day(day)
        expected: dict[str, Numbers] = {}
        if manifest is not None:
            async with passing_directory(self._workplace) as directory:
                paths = await self._history.fetch(manifest, ("resources", "minutes"), directory)
                expected = await asyncio.to_thread(_details, manifest, directory, paths)
        for one in late:
            _enter(expected, one)
        return {key: {name: n for name, n in numbers.items() if n} for key, numbers in expected.items()}


def detail_keys(day: date) -> list[tuple[str, ...]]:
    """The keys of a day that Redis may let go once history has it, as parts."""
    name = day_name(day)
    hours = [("h", f"{name}{hour:02d}") for hour in range(24)]
    return [("day", name), *(("day", name, part) for part in (*RANKS, "countries", "bots")), ("min", name), *hours]


@dataclass(frozen=True, slots=True)
class _OpenDay:
    """An open day. placed: what its minutes add up to. The countries as `CC metric` -> number."""

    sums: Figures
    bots: Figures
    placed: Figures
    countries: Numbers
    placed_countries: Numbers

    @classmethod
    def of(cls, sums: Hash, countries: Hash, bots: Hash, minutes: Hash) -> _OpenDay:
        by_country: dict[str, Figures] = {}
        for place, amount in minutes.items():
            _, kind, country = place.decode().split(" ")
            one = Figures.of({METRICS[int(kind)]: int(amount)})
            by_country[country] = by_country.get(country, Figures()).plus(one)
        told = _by_field(sums_by_country(countries))
        return cls(figures_of(sums), figures_of(bots), _total(by_country.values()), told, _by_field(by_country))


def _unlisted(name: str) -> Difference:
    """A resource that its ranking does not even list with 0."""
    return Difference("views", name, 0, 0, Remedy.ADJUST)


def _ranks_of(day: date) -> set[str]:
    return {f"day:{day_name(day)}:{metric}" for metric in RANKS}


def _details(manifest: Manifest, directory: Path, paths: Mapping[str, Path]) -> dict[str, Numbers]:
    name = day_name(manifest.day)
    found: dict[str, Numbers] = {
        f"day:{name}": manifest.sums.document(),
        f"day:{name}:bots": manifest.bots.document(),
        f"day:{name}:countries": _by_field(manifest.countries),
    }
    with Parquet(directory) as parquet:
        for resource, hour, *amounts in parquet.hours(paths["resources"]):
            for (metric, kind), amount in zip(RANKS.items(), amounts, strict=True):
                _add(found, f"day:{name}:{metric}", resource, amount)
                if hour is not None:
                    _add(found, f"h:{name}{hour:02d}", f"{kind:d} {resource}", amount)
        for minute, country, *amounts in parquet.minutes(paths["minutes"]):
            for number, amount in enumerate(amounts):
                if minute is not None:
                    _add(found, f"min:{name}", f"{minute} {number} {country}", amount)
        for hour, visits in parquet.visits(paths["minutes"]):
            if hour is not None:
                _add(found, f"h:{name}{hour:02d}", "0 *", visits)
    return found


def _enter(found: dict[str, Numbers], one: Correction) -> None:
    """A correction, where `add_corrections` in functions.lua books it."""
    name, metric = day_name(one.day), METRICS[one.kind]
    _add(found, f"day:{name}", metric, one.amount)
    _add(found, f"day:{name}:countries", f"{one.country} {metric}", one.amount)
    _add(found, f"min:{name}", f"{one.minute_of_day} {one.kind:d} {one.country}", one.amount)
    _add(found, f"h:{name}{one.minute_of_day // 60:02d}", f"{one.kind:d} {one.resource or '*'}", one.amount)
    if one.kind != Kind.VISIT:
        _add(found, f"day:{name}:{metric}", one.resource, one.amount)


def _add(found: dict[str, Numbers], key: str, field: str, amount: int) -> None:
    numbers = found.setdefault(key, {})
    numbers[field] = numbers.get(field, 0) + amount


def _sum(corrections: Iterable[Correction]) -> Figures:
    return _total(one.figures for one in corrections)


def _total(figures: Iterable[Figures]) -> Figures:
    total = Figures()
    for one in figures:
        total = total.plus(one)
    return total


def _by_field(countries: Mapping[str, Figures]) -> Numbers:
    """As in the hash: `CC metric` -> number, zeros left out."""
    return {
        f"{country} {metric}": getattr(figures, metric)
        for country, figures in countries.items()
        for metric in METRICS
        if getattr(figures, metric)
    }


async def _known_days(days: ProvinceDays) -> set[date]:
    """All days that Redis has counts of."""
    found: set[date] = set()
    for ranking in (*METRICS, "bots"):
        names = [name async for name, _ in days.scan_zset(days.key("days", ranking))]
        found |= {day for name in names if (day := day_from(name)) is not None}
    return found

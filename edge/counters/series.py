"""Time series: what was counted in each minute, hour or day of event time.

How much has to be read depends on what is asked: a province's minutes and days lie added up; one resource is a field in
each minute's or hour's table; a section or a grade needs those tables whole. What would be too much is refused before
it is read, with what is allowed instead.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np

from edge.counters.counting_day import day_name
from edge.counters.days import DayGoneError, Days
from edge.counters.event import Kind, place_in
from edge.counters.groups import Groups
from edge.counters.holdings import Held
from edge.counters.question import Metric, QuestionError, Series, Span, Step
from edge.counters.reading import Reading
from edge.counters.sheet import PLAYS, VIEWS, WATCH_MS, Ints

MAX_CELLS: Final = 500_000
"""Counts that are read for one series: about a second's work."""
MOST_PAST: Final = 100
"""Days of a province that are read from history for one series, some tenths of a second each."""
MINUTES_KEPT: Final = timedelta(hours=48)
_KINDS: Final = {
    Metric.VISITS: Kind.VISIT,
    Metric.VIEWS: Kind.VIEW,
    Metric.PLAYS: Kind.PLAY,
    Metric.WATCH_SECONDS: Kind.WATCH,
}
KEY_OF: Final = {
    Metric.VISITS: "visits",
    Metric.VIEWS: "views",
    Metric.PLAYS: "plays",
    Metric.WATCH_SECONDS: "watch_ms",
}
PLANE_OF: Final = {Metric.VIEWS: VIEWS, Metric.PLAYS: PLAYS, Metric.WATCH_SECONDS: WATCH_MS}


@dataclass(frozen=True, slots=True)
class SeriesReader:
    """Reads series of what the worker holds and of what only Redis has. wall: seconds since the epoch."""

    reading: Reading
    days: Days
    wall: Callable[[], float]

    async def read(self, asked: Series, held: Mapping[str, Held], groups: Groups) -> Ints:
        """The amount in each point, watch time in ms. held: the provinces that are meant. groups: of one catalog.

        Raises QuestionError for too much at once or too long ago, BoardError.
        """
        span, gone = asked.span, await self._let_go(asked, held)
        if span.step is Step.DAY:
            return await self._days(asked, held, gone, groups)
        if gone:
            raise DayGoneError(min(gone))
        if not asked.slice.of_resources:
            return await self._minutes(asked, held)
        if span.step is Step.MINUTE and span.begin.timestamp() < self.wall() - MINUTES_KEPT.total_seconds():
            raise QuestionError(
                f"minutes of resources are kept for {MINUTES_KEPT // timedelta(hours=1)} hours; "
                "allowed before that: step=hour or step=day"
            )
        tables = [(code, _table(span.step, start)) for start in span.starts() for code in held]
        if asked.slice.resource is not None and not asked.slice.tags:
            field = f"{int(_KINDS[asked.metric])} {asked.slice.resource}"
            _bound(len(tables), span, held)
            found = await self.reading.fields([(code, table, [field]) for code, table in tables])
            return _points([one[0] for one in found], span)
        return _points(await self._tagged(asked, tables, held, self._wanted(asked, groups)), span)

    async def _days(self, asked: Series, held: Mapping[str, Held], gone: Collection[str], groups: Groups) -> Ints:
        """gone: days of which only history knows more than the totals."""
        span, part = asked.span, asked.slice
        names = [day_name(start) for start in span.starts()]
        if len(gone) * len(held) > MOST_PAST:
            raise QuestionError(
                f"the details of {len(gone)} of these days over {len(held)} provinces are in history, too much to read "
                f"at once; allowed: {max(1, MOST_PAST // len(held))} such days, or fewer provinces"
            )
        if part.tags:
            _bound(span.points * len(held) * max(1, len(self.days.register)), span, held)
            return np.array([await self._day_of_slice(asked, name, held, groups) for name in names], np.int64)
        found = await self._days_in_redis(asked, names, held)
        for place, name in enumerate(names):
            if name in gone and part.country is not None:
                found[place] = await self._day_of_country(asked, part.country, name, held)
            elif name in gone:
                found[place] = await self._day_of_slice(asked, name, held, groups)
        return found

    async def _days_in_redis(self, asked: Series, names: Sequence[str], held: Mapping[str, Held]) -> Ints:
        span, part, key = asked.span, asked.slice, KEY_OF[asked.metric]
        _bound(span.points * len(held), span, held)
        if part.resource is not None:
            asks = [(code, f":day:{name}:{key}", [part.resource]) for name in names for code in held]
            return _points([one[0] or 0 for one in await self.reading.scores(asks)], span)
        if part.country is not None:
            fields = [(code, f":day:{name}:countries", [f"{part.country} {key}"]) for name in names for code in held]
            return _points([one[0] for one in await self.reading.fields(fields)], span)
        found = await self.reading.scores([(code, f":days:{key}", names) for code in held])
        return np.asarray(np.array([[score or 0 for score in one] for one in found], np.int64).sum(axis=0), np.int64)

    async def _day_of_slice(self, asked: Series, name: str, held: Mapping[str, Held], groups: Groups) -> int:
        found = await self.days.of(name, tuple(held))
        rows = found.sheet.together([one.place for one in held.values()])[PLANE_OF[asked.metric]]
        mask = groups.mask(asked.slice.tags)
        if asked.slice.resource is not None:
            row = self.days.register.find(asked.slice.resource)
            return int(rows[row]) if row is not None and (mask is None or mask[row]) else 0
        return int(rows.sum() if mask is None else rows[mask].sum())

    async def _day_of_country(self, asked: Series, country: str, name: str, held: Mapping[str, Held]) -> int:
        past = (await self.days.of(name, tuple(held))).countries
        field = f"{country} {KEY_OF[asked.metric]}"
        there = [(code, f":day:{name}:countries", [field]) for code in held if code not in past]
        return sum(one.get(field, 0) for one in past.values()) + sum(
            amounts[0] for amounts in await self.reading.fields(there)
        )

    async def _minutes(self, asked: Series, held: Mapping[str, Held]) -> Ints:
        """From the provinces' own minutes, day by day."""
        span, kind = asked.span, int(_KINDS[asked.metric])
        countries = {code: _countries(one, asked.slice.country) for code, one in held.items()}
        minutes = (span.end - span.begin) // timedelta(minutes=1)
        _bound(minutes * sum(len(some) for some in countries.values()), span, held)
        every: list[int] = []
        at = span.begin
        while at < span.end:
            midnight = at.replace(hour=0, minute=0)
            until = min(span.end, midnight + timedelta(days=1))
            first, last = ((moment - midnight) // timedelta(minutes=1) for moment in (at, until))
            asks = [
                (code, f":min:{day_name(at)}", [f"{minute} {kind} {country}" for minute in range(first, last)])
                for code, some in countries.items()
                for country in some
            ]
            found = np.array(await self.reading.fields(asks), np.int64).reshape(len(asks), last - first)
            every += found.sum(axis=0).tolist()
            at = until
        return _points(every, span)

    async def _tagged(
        self, asked: Series, tables: Sequence[tuple[str, str]], held: Mapping[str, Held], wanted: Collection[bytes]
    ) -> list[int]:
        """By table, the sum of the resources that are wanted."""
        _bound(len(tables), asked.span, held)
        _bound(sum(await self.reading.sizes(tables)), asked.span, held)
        prefix = b"%d " % int(_KINDS[asked.metric])
        return [
            sum(int(amount) for field, amount in table.items() if field.startswith(prefix) and field[2:] in wanted)
            for table in await self.reading.hashes(tables)
        ]

    def _wanted(self, asked: Series, groups: Groups) -> set[bytes]:
        mask, ids = groups.mask(asked.slice.tags), self.days.register.ids
        chosen = {ids[row].encode() for row in np.flatnonzero(mask)} if mask is not None else set()
        return chosen & {asked.slice.resource.encode()} if asked.slice.resource is not None else chosen

    async def _let_go(self, asked: Series, held: Mapping[str, Held]) -> set[str]:
        """The days whose details would be needed and only history has. A province's days are kept for ever."""
        if asked.span.step is Step.DAY and not asked.slice.of_resources and asked.slice.country is None:
            return set()
        last = max((one.history_through for one in held.values()), default="")
        closed = sorted({name for start in asked.span.starts() if (name := day_name(start)) <= last})
        _bound(len(closed) * len(held), asked.span, held)
        return await self._gone(closed, held)

    async def _gone(self, days: Sequence[str], held: Iterable[str]) -> set[str]:
        """The days of which something was counted whose details are there no more."""
        asks = [(code, day) for code in held for day in days]
        there = await self.reading.exist([(code, f":day:{day}") for code, day in asks])
        missing: dict[str, list[str]] = {}
        for (code, day), exists in zip(asks, there, strict=True):
            if not exists:
                missing.setdefault(code, []).append(day)
        of_days = [(code, f":days:{key}", days) for code, days in missing.items() for key in KEY_OF.values()]
        counted = await self.reading.scores(of_days)
        return {
            day
            for (_, _, days), amounts in zip(of_days, counted, strict=True)
            for day, amount in zip(days, amounts, strict=True)
            if amount is not None
        }


def _countries(held: Held, country: str | None) -> list[str]:
    """The countries that a province has counts of, or the one that is meant."""
    if country is not None:
        return [country]
    return sorted({place_in(held.code).country} | {field.partition(" ")[0] for field in held.countries})


def _table(step: Step, start: datetime) -> str:
    """What follows the province in the key of a minute's or hour's table."""
    return f":m:{int(start.timestamp()) // 60}" if step is Step.MINUTE else f":h:{day_name(start)}{start:%H}"


def _points(amounts: Sequence[int], span: Span) -> Ints:
    """Sums by point, of amounts that come point after point, as many for each."""
    return np.asarray(np.array(amounts, np.int64).reshape(span.points, -1).sum(axis=1), np.int64)


def _bound(cells: int, span: Span, held: Mapping[str, Held]) -> None:
    if cells > MAX_CELLS:
        points = max(1, span.points * MAX_CELLS // cells)
        raise QuestionError(
            f"{span.points} points by {span.step.value} over {len(held)} provinces with these filters are too much to "
            f"read at once; allowed: about {points} points, or fewer provinces, or a longer step"
        )

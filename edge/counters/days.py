"""Single days other than today, read when they are asked for.

What was read of a day is kept, a few days at most, with a mark of each province's day. The next question reads only the
provinces whose mark is another: of a day that is over, none, unless a late event or a correction came.

A day that Redis has let go is read from history, which takes corrections in some time after they are counted. Until
then they are added here, by their ids each once: Redis is asked first which ones history may lack, then history, whose
manifest names those that it holds. So what is read of a day agrees with its sums in Redis, and waits for no export.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final, Protocol

import numpy as np

from edge.counters.counting_day import day_named
from edge.counters.event import Kind
from edge.counters.history import METRICS, HistoryError
from edge.counters.province_day import Correction, correction_of
from edge.counters.question import QuestionError
from edge.counters.reading import BoardError, Day, Hash, Reading
from edge.counters.sheet import PLAYS, VIEWS, WATCH_MS, Ints, Register, Rows, Sheet, tabulated

_PLANES: Final = {Kind.VIEW: VIEWS, Kind.PLAY: PLAYS, Kind.WATCH: WATCH_MS}
_KEPT: Final = 100  # provinces' days: at most 70 MB with 28,000 resources in each


class DayGoneError(QuestionError):
    """The day's details are in history only."""

    def __init__(self, day: str) -> None:
        shown = day_named(day).isoformat()
        super().__init__(f"the details of {shown} are in history now: /v1/counts/export?day={shown}")


class _Sums(Protocol):
    @property
    def visits(self) -> int: ...
    @property
    def views(self) -> int: ...
    @property
    def plays(self) -> int: ...
    @property
    def watch_ms(self) -> int: ...


class Table(Protocol):
    """A closed day of a province: views, plays and ms watched by resource; all by minute and country.

    bots: sums of events of bots, which are in nothing else. corrections: ids of those that are included.
    """

    @property
    def resources(self) -> Mapping[str, tuple[int, int, int]]: ...
    @property
    def minutes(self) -> Mapping[tuple[int | None, str], _Sums]: ...
    @property
    def bots(self) -> _Sums: ...
    @property
    def corrections(self) -> Collection[str]: ...


Remember = Callable[[date, str], Awaitable[Table | None]]


@dataclass(frozen=True, slots=True)
class DaySheet:
    """A day of some provinces. sums: by province, of each metric.

    countries, bots: by province that only history has, the countries' counts and those of bots, as in keys.
    """

    sheet: Sheet
    sums: Mapping[str, Hash]
    countries: Mapping[str, Hash]
    bots: Mapping[str, Hash]


@dataclass(slots=True)
class _Known:
    mark: bytes = b""
    rows: Rows = field(default_factory=lambda: np.empty(0, np.intp))
    values: Ints = field(default_factory=lambda: np.empty((3, 0), np.int64))
    sums: Hash = field(default_factory=dict)
    countries: Hash | None = None
    bots: Hash | None = None


@dataclass(slots=True)
class Days:
    """places: the provinces' places in sheets. history: a day of a province as history has it, None where it has not;
    it raises BoardError."""

    reading: Reading
    register: Register
    places: Mapping[str, int]
    history: Remember | None = None
    _known: OrderedDict[tuple[str, str], _Known] = field(default_factory=OrderedDict)

    async def of(self, day: str, provinces: Sequence[str], *, bots: bool = False) -> DaySheet:
        """A day, `YYYYMMDD`. bots: look for them where there was nobody else, too. Raises DayGoneError, BoardError."""
        known = {code: self._known.get((code, day)) or _Known() for code in provinces}
        found = await self.reading.day([(code, one.mark) for code, one in known.items()], day, bots=bots)
        for code, new in zip(provinces, found, strict=True):
            known[code] = await self._renewed(code, day, known[code], new)
        sheet = Sheet(len(self.places), self.register)
        for code, one in known.items():
            if len(one.rows):
                sheet.put(self.places[code], one.rows, one.values)
        return DaySheet(
            sheet,
            {code: one.sums for code, one in known.items()},
            {code: one.countries for code, one in known.items() if one.countries is not None},
            {code: one.bots for code, one in known.items() if one.bots is not None},
        )

    async def _renewed(self, code: str, day: str, known: _Known, new: Day) -> _Known:
        if new.mark == known.mark:
            return known
        if new.waiting is not None:
            known = await self._remembered(code, day, new, new.waiting)
        else:
            rankings = [(self.register.rows(members), scores) for members, scores in new.rankings or ()]
            known = _Known(new.mark, *tabulated(rankings, len(self.register)), new.sums)
        self._keep(code, day, known)
        return known

    async def _remembered(self, code: str, day: str, new: Day, waiting: Sequence[bytes]) -> _Known:
        """The day as history has it, and what it lacks. The mark is that of the corrections that Redis had: with a
        later one it is read again, whether or not history was ahead."""
        if self.history is None:
            raise DayGoneError(day)
        table = await self.history(day_named(day), code)
        known = _from_history(new.mark, table, [_correction(entry, code) for entry in waiting], self.register)
        if table is None and any(known.sums.get(metric, 0) != amount for metric, amount in new.sums.items()):
            raise DayGoneError(day)  # there was more than these corrections, and history lacks it
        return known

    def _keep(self, code: str, day: str, known: _Known) -> None:
        self._known[code, day] = known
        self._known.move_to_end((code, day))
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)


def _correction(entry: bytes, province: str) -> Correction:
    try:
        return correction_of(entry, province)
    except HistoryError as error:
        raise BoardError(str(error)) from error


def _from_history(mark: bytes, table: Table | None, waiting: Sequence[Correction], register: Register) -> _Known:
    """table: None where history has nothing of the day yet."""
    resources: dict[str, list[int]] = {}
    sums: dict[str, int] = {}
    countries: dict[str, int] = {}
    bots: Hash | None = None
    if table is not None:
        resources = {one: list(amounts) for one, amounts in table.resources.items()}
        for (_, country), amounts in table.minutes.items():
            for metric in METRICS:
                _book(sums, countries, country, metric, getattr(amounts, metric))
        waiting = [one for one in waiting if one.id not in table.corrections]
        bots = {metric: getattr(table.bots, metric) for metric in METRICS}
    for one in waiting:
        _book(sums, countries, one.country, METRICS[one.kind], one.amount)
        if one.kind in _PLANES:
            resources.setdefault(one.resource, [0, 0, 0])[_PLANES[one.kind]] += one.amount
    values = np.array(list(resources.values()), np.int64).reshape(-1, 3).T
    return _Known(mark, register.rows([one.encode() for one in resources]), values, sums, countries, bots)


def _book(sums: dict[str, int], countries: dict[str, int], country: str, metric: str, amount: int) -> None:
    sums[metric] = sums.get(metric, 0) + amount
    field = f"{country} {metric}"
    countries[field] = countries.get(field, 0) + amount

"""Single days other than today, read when they are asked for.

What was read of a day is kept, a few days at most, with a mark of each province's day. The next question reads only the
provinces whose mark is another: of a day that is over, none, unless a late event or a correction came. A day that Redis
has let go is read from history.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final, Protocol

import numpy as np

from edge.counters.counting_day import day_named
from edge.counters.question import QuestionError
from edge.counters.reading import Day, Hash, Reading
from edge.counters.sheet import Ints, Register, Rows, Sheet, tabulated

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
    """A closed day of a province: views, plays and ms watched by resource; all by minute and country."""

    @property
    def resources(self) -> Mapping[str, tuple[int, int, int]]: ...
    @property
    def minutes(self) -> Mapping[tuple[int | None, str], _Sums]: ...


Remember = Callable[[date, str], Awaitable[Table | None]]


@dataclass(frozen=True, slots=True)
class DaySheet:
    """A day of some provinces. sums: by province, of each metric.

    countries: by province that only history has, the countries' counts, as in keys.
    """

    sheet: Sheet
    sums: Mapping[str, Hash]
    countries: Mapping[str, Hash]


@dataclass(slots=True)
class _Known:
    mark: bytes = b""
    rows: Rows = field(default_factory=lambda: np.empty(0, np.intp))
    values: Ints = field(default_factory=lambda: np.empty((3, 0), np.int64))
    sums: Hash = field(default_factory=dict)
    countries: Hash | None = None


@dataclass(slots=True)
class Days:
    """places: the provinces' places in sheets. history: a day of a province as history has it, None where it has not;
    it raises BoardError."""

    reading: Reading
    register: Register
    places: Mapping[str, int]
    history: Remember | None = None
    _known: OrderedDict[tuple[str, str], _Known] = field(default_factory=OrderedDict)

    async def of(self, day: str, provinces: Sequence[str]) -> DaySheet:
        """A day, `YYYYMMDD`. Raises DayGoneError, BoardError."""
        known = {code: self._known.get((code, day)) or _Known() for code in provinces}
        found = await self.reading.day([(code, one.mark) for code, one in known.items()], day)
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
        )

    async def _renewed(self, code: str, day: str, known: _Known, new: Day) -> _Known:
        if new.mark == known.mark:
            return known
        if new.gone:
            table = await self.history(day_named(day), code) if self.history is not None else None
            if table is None:
                raise DayGoneError(day)
            known = _from_history(new.mark, table, self.register)
        else:
            rankings = [(self.register.rows(members), scores) for members, scores in new.rankings or ()]
            known = _Known(new.mark, *tabulated(rankings, len(self.register)), new.sums)
        self._keep(code, day, known)
        return known

    def _keep(self, code: str, day: str, known: _Known) -> None:
        self._known[code, day] = known
        self._known.move_to_end((code, day))
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)


def _from_history(mark: bytes, table: Table, register: Register) -> _Known:
    resources = list(table.resources)
    values = np.array([table.resources[one] for one in resources], np.int64).reshape(-1, 3).T
    sums: dict[str, int] = {}
    countries: dict[str, int] = {}
    for (_, country), amounts in table.minutes.items():
        for metric in ("visits", "views", "plays", "watch_ms"):
            amount = getattr(amounts, metric)
            sums[metric] = sums.get(metric, 0) + amount
            countries[f"{country} {metric}"] = countries.get(f"{country} {metric}", 0) + amount
    return _Known(mark, register.rows([one.encode() for one in resources]), values, sums, countries)

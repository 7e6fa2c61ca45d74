"""Single days other than today, read when they are asked for.

What was read of a day is kept, a few days at most, with a mark of each province's day. The next question reads only the
provinces whose mark is another: of a day that is over, none, unless a late event or a correction came.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from edge.counters.question import QuestionError
from edge.counters.reading import Counted, Hash, Reading
from edge.counters.sheet import Register, Sheet

_KEPT: Final = 100  # provinces' days: at most 70 MB with 28,000 resources in each


class DayGoneError(QuestionError):
    """The day's details are in history only."""

    def __init__(self, day: str) -> None:
        shown = f"{day[:4]}-{day[4:6]}-{day[6:]}"
        super().__init__(f"the details of {shown} are in history now: /v1/counts/export?day={shown}")


@dataclass(frozen=True, slots=True)
class DaySheet:
    """A day of some provinces. sums: by province, of each metric. complete_ms: by province, as of when it was read."""

    sheet: Sheet
    sums: Mapping[str, Hash]
    complete_ms: Mapping[str, int | None]


@dataclass(slots=True)
class _Known:
    mark: bytes = b""
    counted: Counted | None = None


@dataclass(slots=True)
class Days:
    """places: the provinces' places in sheets."""

    reading: Reading
    register: Register
    places: Mapping[str, int]
    _known: OrderedDict[tuple[str, str], _Known] = field(default_factory=OrderedDict)

    async def of(self, day: str, provinces: Sequence[str]) -> DaySheet:
        """A day, `YYYYMMDD`. Raises DayGoneError, BoardError."""
        known = [self._known.get((code, day)) or _Known() for code in provinces]
        found = await self.reading.day([(code, one.mark) for code, one in zip(provinces, known, strict=True)], day)
        if any(one.gone for one in found):
            raise DayGoneError(day)
        sheet = Sheet(len(self.places), self.register)
        for code, one, new in zip(provinces, known, found, strict=True):
            if new.counted is not None:
                self._keep(code, day, _Known(new.mark, new.counted))
            counted = new.counted or one.counted
            if counted is not None and counted.resources:
                sheet.put(self.places[code], self.register.rows(counted.resources), counted.values)
        return DaySheet(
            sheet,
            {code: one.sums for code, one in zip(provinces, found, strict=True)},
            {code: one.complete_ms for code, one in zip(provinces, found, strict=True)},
        )

    def _keep(self, code: str, day: str, known: _Known) -> None:
        self._known[code, day] = known
        self._known.move_to_end((code, day))
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)

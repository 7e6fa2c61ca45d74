"""What a worker holds of the counts, and how it is kept up to date.

Theory of operation. A province is loaded once: its rankings are read whole, and then what changed since the moment
before. From there on a refresh is one call for each province, which tells what is new together with sums and the time
up to which the province is complete, all of one moment. Nothing of a province is shown before all of it has arrived,
and all of it is put in place without an await: a reader sees a province as it was at one moment.

Whatever happens to Redis is noticed by the numbers themselves. One that went back no longer knows the last batch; and
after each refresh the sums of the rankings must be the province's totals. If not, the province is loaded anew.

A province that can't be read keeps what was read last, and with it its time: it is late, never zero.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from edge.counters.counting_day import day_name, moment_of
from edge.counters.event import place_in
from edge.counters.reading import ANYTHING, BoardError, Glance, Hash, Reading, Unchanged
from edge.counters.sheet import Ints, Register, Rows, Sheet, tabulated

log = logging.getLogger(__name__)

MOST_MOVED: Final = 5000
"""Resources that are told one by one; more are read faster as whole rankings."""
_LOADED_AT_ONCE: Final = 2
_RECENT_DAYS: Final = 4  # events are at most a day old when they are accepted, and a day longer on their way
Table = tuple[Rows, Ints]
_SUMS: Final = ("views", "plays", "watch_ms")


@dataclass(slots=True)
class Held:
    """A province as it was last read. place: its place in the sheets. read_at: wall clock, s; None before the first.

    fresh_at: the same moment by the monotonic clock, which tells how long ago that is whoever sets the other one.
    views_by_day: every day, `YYYYMMDD`. complete_ms: None while no writer has reported.
    """

    code: str
    place: int
    seq: int = 0
    tag: bytes = b""
    day: str = ""
    read_at: float | None = None
    fresh_at: float = 0.0
    complete_ms: int | None = None
    total: Hash = field(default_factory=dict)
    today: Hash = field(default_factory=dict)
    countries: Hash = field(default_factory=dict)
    countries_today: Hash = field(default_factory=dict)
    bots: Hash = field(default_factory=dict)
    bots_today: Hash = field(default_factory=dict)
    views_by_day: dict[str, int] = field(default_factory=dict)
    corrections: int = 0
    history_through: str = ""
    off: list[int] = field(default_factory=lambda: [0, 0, 0])  # by how much the sums are known not to agree
    trouble: BoardError | None = None
    suspect: bool = False  # the sums did not agree, and it is loaded anew for that

    def late(self, now: float, allowed_s: float) -> bool:
        """Whether it can't be read and was not for longer than that. now: by the monotonic clock, s."""
        return self.trouble is not None and now - self.fresh_at > allowed_s

    @property
    def loaded(self) -> bool:
        return self.read_at is not None


class Holdings:
    """The counts of some provinces. wall: seconds since the epoch. monotonic: seconds, for how old they are."""

    def __init__(
        self, reading: Reading, provinces: Sequence[str], *, wall: Callable[[], float], monotonic: Callable[[], float]
    ) -> None:
        self._reading = reading
        self._wall = wall
        self._monotonic = monotonic
        self.register = Register()
        self.ever = Sheet(len(provinces), self.register)
        self.of_today = Sheet(len(provinces), self.register)
        self.day = ""  # which day `of_today` is of; empty before the first refresh
        self.provinces: Mapping[str, Held] = {code: Held(code, place) for place, code in enumerate(provinces)}

    async def refresh(self) -> None:
        """Read what is new of every province. Raises BoardError when that is possible with none."""
        now = moment_of(self._wall())
        day = day_name(now)
        held = list(self.provinces.values())
        await self._load([one for one in held if not one.loaded or one.suspect], day)
        turned = [one for one in held if one.loaded and one.day != day]
        days = dict(zip([one.code for one in turned], await self._each(turned, day), strict=True))
        ready = [one for one in held if one.loaded and not isinstance(days.get(one.code), BoardError)]
        lost = await self._look(ready, now, days, MOST_MOVED)
        await self._load(lost, day)
        self._turn(day)
        if all(one.trouble for one in held):
            raise held[0].trouble or BoardError("nothing is held")

    async def _table(self, code: str, day: str | None) -> Table:
        """Every resource of a province, since ever or on a day. Raises BoardError.

        Each ranking is some milliseconds' work, and then others have their turn.
        """
        found = []
        async for members, scores in self._reading.rankings(code, day):
            found.append((self.register.rows(members), scores))
            await asyncio.sleep(0)
        return tabulated(found, len(self.register))

    async def _each(self, held: Sequence[Held], day: str) -> list[Table | BoardError]:
        """The day's rankings of provinces for which it has just begun."""

        async def one(code: str) -> Table | BoardError:
            try:
                return await self._table(code, day)
            except BoardError as error:
                self.provinces[code].trouble = error
                return error

        return list(await asyncio.gather(*(one(province.code) for province in held)))

    async def _look(
        self, held: Sequence[Held], now: datetime, days: Mapping[str, Table | BoardError], most: int
    ) -> list[Held]:
        """Take in what is new; which provinces have to be loaded."""
        day, recent = day_name(now), _recent(now)
        asked = [(one.code, one.seq, one.tag, one.day == day and not one.suspect) for one in held]
        try:
            found = await self._reading.glances(asked, day, recent, most=most)
        except BoardError as error:
            found = [error] * len(held)
        views = [
            await self._days(one, glance, recent) if isinstance(glance, Glance) else None
            for one, glance in zip(held, found, strict=True)
        ]
        for one, glance, by_day in zip(held, found, views, strict=True):
            if self.day == day:  # otherwise all provinces turn to the new day at once
                await asyncio.sleep(0)
            if isinstance(glance, BoardError):
                one.trouble = glance
            elif isinstance(glance, Unchanged):
                one.complete_ms, one.history_through = glance.complete_ms, glance.history_through
                self._note_read(one)
            elif glance is not None and by_day is not None:
                of_day = days.get(one.code)
                self._take(one, glance, day, None, None if isinstance(of_day, BoardError) else of_day)
                one.views_by_day = by_day
        self._turn(day)
        return [one for one, glance in zip(held, found, strict=True) if glance is None or one.suspect]

    def _turn(self, day: str) -> None:
        """It is this day now. Of a province that was not read since it began nothing of it is known yet."""
        self.day = day
        for one in self.provinces.values():
            if one.day != day:
                self.of_today.clear(one.place)
                one.today = one.countries_today = one.bots_today = {}

    async def _load(self, held: Sequence[Held], day: str) -> None:
        """Read provinces whole, a few at a time; one that can't be read keeps what it had and its trouble."""
        places = asyncio.Semaphore(_LOADED_AT_ONCE)

        async def one(province: Held) -> None:
            async with places:
                try:
                    await self._load_one(province, day)
                except BoardError as error:
                    province.trouble = error

        await asyncio.gather(*map(one, held))

    async def _load_one(self, held: Held, day: str) -> None:
        again = held.suspect
        seq, tag = await self._reading.stand(held.code)
        ever = await self._table(held.code, None)
        of_day = await self._table(held.code, day)
        now = moment_of(self._wall())
        recent = _recent(now)
        [glance] = await self._reading.glances([(held.code, seq, tag, False)], day, recent, most=ANYTHING)
        if isinstance(glance, BoardError):
            raise glance
        if not isinstance(glance, Glance):
            raise BoardError("the counters' Redis went back while it was read")
        days = await self._reading.days(held.code)
        days |= {name: views for name, views in zip(recent, glance.recent, strict=True) if views is not None}
        self._take(held, glance, day, ever, of_day)
        held.views_by_day = days
        if held.suspect and again:
            log.error("province %s: resources add up to %s, totals are %s", held.code, self._counted(held), held.total)
            # Told once, and not read anew at every refresh.
            held.off = [total - n for total, n in zip(_sums(held.total), self._counted(held), strict=True)]
            held.suspect = False

    async def _days(self, held: Held, glance: Glance, recent: Sequence[str]) -> dict[str, int] | None:
        """Views by day as of the glance. All are read again only when one that is not recent has changed."""
        days = held.views_by_day | {
            name: views for name, views in zip(recent, glance.recent, strict=True) if views is not None
        }
        same = glance.corrections == held.corrections and len(days) == glance.days
        if same and sum(days.values()) == glance.total.get("views", 0):
            return days
        try:
            return await self._reading.days(held.code)
        except BoardError as error:
            held.trouble = error
            return None

    def _take(self, held: Held, glance: Glance, day: str, ever: Table | None, of_day: Table | None) -> None:
        """Put all that was read of one moment in place, at once."""
        if ever is not None:
            self.ever.clear(held.place)
            self._put(self.ever, held.place, *ever)
        if of_day is not None:
            self.of_today.clear(held.place)
            self._put(self.of_today, held.place, *of_day)
        moved = self.register.rows(glance.moved.resources)
        self._put(self.ever, held.place, moved, glance.moved.values)
        self._put(self.of_today, held.place, moved, glance.moved_today)
        held.seq, held.tag, held.day = glance.seq, glance.tag, day
        self._note_read(held)
        held.complete_ms = glance.complete_ms
        held.total, held.today = glance.total, glance.today
        held.countries = credited(held.code, glance.countries, glance.total)
        held.countries_today = credited(held.code, glance.countries_today, glance.today)
        held.bots, held.bots_today = glance.bots, glance.bots_today
        held.corrections, held.history_through = glance.corrections, glance.history_through
        off = [total - counted for total, counted in zip(_sums(held.total), self._counted(held), strict=True)]
        held.suspect = off != held.off

    def _note_read(self, held: Held) -> None:
        held.read_at, held.fresh_at, held.trouble = self._wall(), self._monotonic(), None

    def _counted(self, held: Held) -> list[int]:
        return [int(one) for one in self.ever.total(held.place)[: len(_SUMS)]]

    def _put(self, sheet: Sheet, place: int, rows: Rows, values: Ints) -> None:
        if len(rows):
            sheet.put(place, rows, values)


def _recent(now: datetime) -> list[str]:
    """Days whose counts may change without a correction. An event may be a minute ahead of midnight."""
    return [day_name(now + timedelta(days=1 - back)) for back in range(_RECENT_DAYS + 1)]


def _sums(total: Hash) -> list[int]:
    return [total.get(name, 0) for name in _SUMS]


def credited(code: str, countries: Hash, sums: Hash) -> Hash:
    """The countries' counts. What was counted before countries were is of this one, at the hub of an unknown one."""
    home = place_in(code).country
    by_metric: dict[str, int] = dict.fromkeys((*_SUMS, "visits"), 0)
    for name, amount in countries.items():
        metric = name.partition(" ")[2]
        by_metric[metric] = by_metric.get(metric, 0) + amount
    credited = dict(countries)
    for metric, counted in by_metric.items():
        left = sums.get(metric, 0) - counted
        if left > 0:
            credited[f"{home} {metric}"] = credited.get(f"{home} {metric}", 0) + left
    return credited

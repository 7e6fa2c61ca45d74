"""The read model: totals, today's figures, rankings and series, as the contract's answers.

`Holdings` has the counts, `Pulse` keeps them fresh, `Days` reads single days, `SeriesReader` series, `Estimates`
viewers; here they become answers. All figures of an answer are of what was read at one moment of each province, and
`Moment` says of when.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

import numpy as np
import orjson

from edge.counters.answer import (
    Corrections,
    Figures,
    Moment,
    Number,
    Peak,
    Points,
    Ranked,
    Ranking,
    ResourceAnswer,
    ResourceCounts,
    Row,
    Summary,
    Table,
)
from edge.counters.counting_day import day_name, day_named, moment_of
from edge.counters.days import Days, Remember
from edge.counters.event import HUB, UNKNOWN_COUNTRY, Kind
from edge.counters.groups import Groups, Look, Term
from edge.counters.holdings import Held, Holdings, credited
from edge.counters.pulse import Pulse
from edge.counters.question import (
    ADDITIVE,
    OF_RESOURCES,
    TAGGED,
    TODAY,
    Dimension,
    Metric,
    Page,
    QuestionError,
    Series,
    Slice,
    Top,
    Totals,
)
from edge.counters.reading import BoardError, Hash, Reading
from edge.counters.series import KEY_OF, PLANE_OF, SeriesReader
from edge.counters.sheet import PLAYS, SEEN, VIEWS, WATCH_MS, Ints, Mask, Sheet, grouped, highest
from edge.counters.sink import Client
from edge.counters.uniques import Estimates, Sketch

__all__ = ["Board", "BoardError", "Metric", "Summary"]

_STALE_S: Final = 30.0
_SKETCH_DAYS: Final = 2  # days before today whose viewers are still known
_KINDS: Final = (":countries", ":bots")
_KEYS: Final = tuple(KEY_OF.values())
_FROM_CATALOG: Final = frozenset(TAGGED)


class Board:
    """Reads the counts of some provinces from one Redis. provinces: two-digit codes.

    wall, monotonic: clocks, s. every_s: pause between two refreshes; 0: a refresh for every reader. catalog: the
    catalog as it is now; without one all resources are of an unknown section. history: days that Redis has let go.
    timeout_s: deadline of a round trip.
    """

    def __init__(
        self,
        client: Client,
        provinces: Sequence[str],
        *,
        wall: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
        every_s: float = 0.2,
        catalog: Look = lambda: None,
        history: Remember | None = None,
        timeout_s: float = 2.0,
    ) -> None:
        self.provinces = tuple(provinces)
        self._wall = wall
        self._monotonic = monotonic
        self._reading = Reading(client, timeout_s=timeout_s)
        self._holdings = Holdings(self._reading, provinces, wall=wall, monotonic=monotonic)
        self._pulse = Pulse(self._holdings.refresh, monotonic=monotonic, every_s=every_s, stale_s=_STALE_S)
        self._groups = Groups(self._holdings.register, catalog)
        places = {code: held.place for code, held in self._holdings.provinces.items()}
        self._days = Days(self._reading, self._holdings.register, places, history)
        self._series = SeriesReader(self._reading, self._days, wall)
        self._estimates = Estimates(self._reading, monotonic, stale_s=_STALE_S)

    def now(self) -> datetime:
        """In UTC+8."""
        return moment_of(self._wall())

    async def resources(self, ids: Sequence[str]) -> ResourceAnswer:
        """Counts of resources, zeros for those not seen yet. Raises BoardError."""
        held = await self._held(())
        moment = self._moment(held)
        rows = [self._holdings.register.find(one) for one in ids]
        ever = _columns(self._holdings.ever.together(), rows)
        today = _columns(self._holdings.of_today.together(), rows)
        day = self._holdings.day
        marks = [tuple(column) for column in np.concatenate([ever, today], axis=1).T.tolist()]
        names = [f"ur:{one}" for one in ids] + [f"udr:{day}:{one}" for one in ids]
        uniques = await self._estimates.of(self.provinces, [Sketch(*one) for one in zip(names, marks, strict=True)])
        counts = tuple(
            ResourceCounts(
                *_figures(ever[:, i]), uniques[i], one, Figures(*_figures(today[:, i]), uniques[len(ids) + i])
            )
            for i, one in enumerate(ids)
        )
        return ResourceAnswer(counts, moment)

    async def summary(self) -> Summary:
        """The headline figures of all the board's provinces together. Raises BoardError."""
        held = await self._held(())
        provinces = list(held.values())
        total, today = _sum(one.total for one in provinces), _sum(one.today for one in provinces)
        days = _sum(one.views_by_day for one in provinces)
        day = self._holdings.day
        first = min((f"{one.total['first_day']}" for one in provinces if "first_day" in one.total), default=day)
        countries = _sum(one.countries for one in provinces)
        resources = int((self._holdings.ever.together()[SEEN] > 0).sum())
        moment = self._moment(held)
        [uniques] = await self._estimates.of(self.provinces, [Sketch("u", _mark(total))])
        return Summary(
            views=total.get("views", 0),
            views_today=today.get("views", 0),
            views_daily_average=_average(total.get("views", 0), day_named(first), day_named(day)),
            views_daily_peak=_peak(days),
            plays=total.get("plays", 0),
            watch_seconds=_seconds(total.get("watch_ms", 0)),
            visits=total.get("visits", 0),
            uniques=uniques,
            resources=resources,
            provinces=len([one.code for one in provinces if one.total and one.code != HUB]),
            countries=len({field.partition(" ")[0] for field, n in countries.items() if n} - {UNKNOWN_COUNTRY}),
            moment=moment,
        )

    async def totals(self, asked: Totals) -> Table:
        """Totals by a dimension; together they are the total. Raises QuestionError, BoardError."""
        held = await self._held(asked.slice.provinces)
        if asked.metric is Metric.UNIQUES:
            return Table(await self._viewers(asked.slice, held), self._moment(held))
        view = await self._view(asked.slice, held, with_bots=asked.dimension is Dimension.AGENT)
        return Table(self._rows(asked, view), view.moment, self._catalog(asked.dimension, asked.slice))

    async def top(self, asked: Top) -> Ranking:
        """A ranking, exact. Raises QuestionError, BoardError."""
        if asked.dimension is not Dimension.RESOURCE:
            return await self._top_groups(asked)
        view = await self._view(asked.slice, await self._held(asked.slice.provinces))
        values = view.sheet.together(view.places())
        among: Mask = np.asarray(values[SEEN] > 0 if asked.slice.day is None else values[:SEEN].any(axis=0), np.bool_)
        mask = self._groups.mask(asked.slice.tags)
        if mask is not None:
            among = among & mask
        plane, register = values[PLANE_OF[asked.metric]], self._holdings.register
        rows = highest(plane, register.ranks(), among, asked.offset, asked.limit)
        ids = [register.ids[row] for row in rows]
        amounts = [_shown(asked.metric, int(plane[row])) for row in rows]
        names = self._groups.resources()
        places = tuple(Ranked(one, n, names.get(one)) for one, n in zip(ids, amounts, strict=True))
        catalog = self._catalog(asked.dimension, asked.slice)
        return Ranking(asked.metric, places, int(among.sum()), view.moment, catalog)

    async def _top_groups(self, asked: Top) -> Ranking:
        table = await self.totals(Totals(asked.dimension, asked.metric, asked.slice))
        ranked = sorted(table.rows, key=lambda row: (-row.values[asked.metric], row.id))
        part = ranked[asked.offset : asked.offset + asked.limit]
        places = tuple(Ranked(row.id, row.values[asked.metric], row.name) for row in part)
        return Ranking(asked.metric, places, len(ranked), table.moment, table.catalog)

    async def series(self, asked: Series) -> Points:
        """A metric over time, zeros included. Raises QuestionError, BoardError."""
        held = await self._held(asked.slice.provinces)
        moment = self._moment(held)
        groups = self._groups.as_of_now()
        amounts = await self._series.read(asked, held, groups)
        return Points(
            tuple(start.isoformat() for start in asked.span.starts()),
            tuple(_shown(asked.metric, amount) for amount in amounts.tolist()),
            moment,
            groups.version if asked.slice.tags else None,
        )

    async def corrections(self, asked: Page) -> Corrections:
        """Corrections that were made, the newest first. Raises BoardError."""
        held = await self._held(asked.provinces)
        moment = self._moment(held)
        length, entries = 0, []
        for code in held:
            number, found = await self._reading.corrections(code, asked.offset + asked.limit)
            length += number
            entries += [(at, one, code, text) for one, text, at in found]
        entries.sort(key=lambda entry: (-entry[0], entry[1], entry[2]))
        part = entries[asked.offset : asked.offset + asked.limit]
        return Corrections(tuple(_correction(code, text, at) for at, _, code, text in part), length, moment)

    async def close(self) -> None:
        await self._pulse.stop()
        await self._reading.close()

    async def _held(self, provinces: Sequence[str]) -> dict[str, Held]:
        """The provinces that are meant, fresh. Raises BoardError when one of them was not read for too long."""
        await self._pulse.fresh()
        held = {code: self._holdings.provinces[code] for code in provinces or self.provinces}
        now = self._monotonic()
        for one in held.values():
            if not one.loaded or one.late(now, _STALE_S):
                raise one.trouble or BoardError(f"province {one.code} was not read yet")
        return held

    async def _view(self, part: Slice, held: Mapping[str, Held], *, with_bots: bool = False) -> _View:
        """The counts of the time that is meant. with_bots: those of days with nothing else are wanted, too."""
        moment = self._moment(held)
        if part.day is None:
            sums = {code: one.total for code, one in held.items()}
            countries = {code: one.countries for code, one in held.items()}
            bots = {code: one.bots for code, one in held.items()}
            return _View(held, self._holdings.ever, sums, countries, bots, moment, len(held) == len(self.provinces))
        today = self._holdings.day
        if part.day in (TODAY, today):
            return _View(
                held,
                self._holdings.of_today,
                {code: one.today for code, one in held.items()},
                {code: one.countries_today for code, one in held.items()},
                {code: one.bots_today for code, one in held.items()},
                moment,
                every=len(held) == len(self.provinces),
            )
        found = await self._days.of(part.day, tuple(held), bots=with_bots)
        hashes = await self._reading.hashes([(code, f":day:{part.day}{kind}") for kind in _KINDS for code in held])
        numbers = [{name.decode(): int(n) for name, n in one.items()} for one in hashes]
        booked: dict[str, Hash] = dict(zip(held, numbers[: len(held)], strict=True))
        booked |= found.countries
        countries = {code: credited(code, one, found.sums[code]) for code, one in booked.items()}
        bots_of_day: dict[str, Hash] = dict(zip(held, numbers[len(held) :], strict=True))
        return _View(held, found.sheet, found.sums, countries, bots_of_day | dict(found.bots), moment)

    def _rows(self, asked: Totals, view: _View) -> tuple[Row, ...]:
        metrics = (asked.metric,) if asked.metric is not None else _metrics(asked.dimension, asked.slice)
        if asked.dimension is Dimension.PROVINCE:
            return self._by_province(asked.slice, view, metrics)
        if asked.dimension is Dimension.COUNTRY:
            fields = _sum(view.countries.values())
            names = sorted({name.partition(" ")[0] for name in fields})
            wanted = [name for name in names if asked.slice.country in (None, name)]
            return tuple(_row(name, {key: fields.get(f"{name} {key}", 0) for key in _KEYS}, metrics) for name in wanted)
        if asked.dimension is Dimension.AGENT:
            kinds = {"human": _sum(view.sums.values()), "bot": _sum(view.bots.values())}
            return tuple(_row(name, sums, metrics) for name, sums in kinds.items())
        return self._by_group(asked, view, metrics)

    def _by_province(self, part: Slice, view: _View, metrics: Sequence[Metric]) -> tuple[Row, ...]:
        if part.country is not None:
            fields = {c: {key: f.get(f"{part.country} {key}", 0) for key in _KEYS} for c, f in view.countries.items()}
            return tuple(_row(code, fields.get(code, {}), metrics) for code in view.held)
        sums = view.sheet.sums([one.place for one in view.held.values()], self._groups.mask(part.tags))
        return tuple(
            _row(code, _named(sums[place], view.sums.get(code, {})), metrics) for place, code in enumerate(view.held)
        )

    def _by_group(self, asked: Totals, view: _View, metrics: Sequence[Metric]) -> tuple[Row, ...]:
        groups = self._groups.of(asked.dimension)
        values = view.sheet.together(view.places())
        mask = self._groups.mask(asked.slice.tags)
        of_row = groups.of_row[: values.shape[1]]
        if mask is not None:
            values, of_row = values[:, mask], of_row[mask]
        sums = grouped(values, of_row, len(groups.ids))
        return tuple(
            _row(one, _named(sums[:, place], {}), metrics, groups.names.get(one))
            for place, one in enumerate(groups.ids)
            if place or sums[:, 0].any()
        )

    async def _viewers(self, part: Slice, held: Mapping[str, Held]) -> tuple[Row, ...]:
        """Estimated viewers of each province."""
        name = "u"
        if part.day is not None:
            today = day_named(self._holdings.day)
            day = today if part.day == TODAY else day_named(part.day)
            if not 0 <= (today - day).days <= _SKETCH_DAYS:
                earliest = today - timedelta(days=_SKETCH_DAYS)
                raise QuestionError(f"viewers of a day are known from {earliest} to {today}, or leave day out")
            name = f"ud:{day_name(day)}"
        found = {}
        for code, one in held.items():
            [found[code]] = await self._estimates.of((code,), [Sketch(name, _mark(one.total))])
        return tuple(Row(code, {Metric.UNIQUES: number}) for code, number in found.items())

    def _catalog(self, dimension: Dimension | None, part: Slice) -> str | None:
        return self._groups.version if part.tags or dimension in _FROM_CATALOG else None

    def _moment(self, held: Mapping[str, Held]) -> Moment:
        """Several provinces are complete up to the slowest; one that never had a writer has nothing to be late with."""
        known = [one.complete_ms for one in held.values() if one.complete_ms is not None]
        read = min(one.read_at or 0.0 for one in held.values())
        return Moment(
            _iso(read),
            _iso(min(known) / 1000) if known else None,
            {c: _iso(h.complete_ms / 1000) if h.complete_ms is not None else None for c, h in held.items()},
        )


@dataclass(frozen=True, slots=True)
class _View:
    """The counts of some time in some provinces. every: all provinces of the sheet are meant.

    sums, countries, bots: by province.
    """

    held: Mapping[str, Held]
    sheet: Sheet
    sums: Mapping[str, Hash]
    countries: Mapping[str, Hash]
    bots: Mapping[str, Hash]
    moment: Moment
    every: bool = False

    def places(self) -> list[int] | None:
        """The provinces' places in the sheet; None for all that it has."""
        return None if self.every else [one.place for one in self.held.values()]


def _metrics(dimension: Dimension, part: Slice) -> Sequence[Metric]:
    """What a row has when nothing was chosen. Visits have no resource, so no tags."""
    return OF_RESOURCES if dimension in _FROM_CATALOG or part.of_resources else ADDITIVE


def _mark(total: Hash) -> tuple[int, ...]:
    """What changes with every event that a province, or all of them, have counted."""
    return tuple(total.get(key, 0) for key in _KEYS)


def _row(name: str, sums: Hash, metrics: Sequence[Metric], term: Term | None = None) -> Row:
    return Row(name, {metric: _shown(metric, sums.get(KEY_OF[metric], 0)) for metric in metrics}, term)


def _named(planes: Ints, sums: Hash) -> dict[str, int]:
    """A sheet's sums by metric; of visits, which have no resource, those in `sums`."""
    views, plays, watch_ms = (int(planes[plane]) for plane in (VIEWS, PLAYS, WATCH_MS))
    return {"views": views, "plays": plays, "watch_ms": watch_ms, "visits": sums.get("visits", 0)}


def _columns(values: Ints, rows: Sequence[int | None]) -> Ints:
    """The columns of some resources; zeros for one that has no row."""
    found = np.zeros((values.shape[0], len(rows)), np.int64)
    known = [(place, row) for place, row in enumerate(rows) if row is not None]
    if known:
        places, columns = zip(*known, strict=True)
        found[:, places] = values[:, columns]
    return found


def _figures(column: Ints) -> tuple[int, int, Number]:
    return int(column[VIEWS]), int(column[PLAYS]), _seconds(int(column[WATCH_MS]))


def _sum(hashes: Iterable[Hash]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for one in hashes:
        for name, amount in one.items():
            sums[name] = sums.get(name, 0) + amount
    return sums


def _correction(code: str, text: bytes, accepted_ms: int) -> dict[str, object]:
    entry = orjson.loads(text)
    kind = Kind[str(entry["kind"]).upper()]
    return {
        "id": entry.get("id", ""),
        "kind": kind.name.lower(),
        "province": code,
        "country": entry.get("country") or None,
        "resource": entry.get("resource") or None,
        "minute": _iso(int(entry["minute"]) * 60),
        "amount": _seconds(int(entry["amount"])) if kind is Kind.WATCH else int(entry["amount"]),
        "reason": entry.get("reason", ""),
        "accepted_at": _iso(accepted_ms / 1000),
    }


def _average(views: int, first: date, today: date) -> Number:
    """Per day, days without a view included. An event may be a minute ahead of midnight: then `first` is tomorrow."""
    average = views / max(1, (today - first).days + 1)
    return int(average) if average.is_integer() else round(average, 2)


def _peak(days: Mapping[str, int]) -> Peak:
    """Of equal days the earliest."""
    if not days:
        return Peak(None, 0)
    best = min(days, key=lambda day: (-days[day], day))
    return Peak(day_named(best).isoformat(), days[best])


def _shown(metric: Metric, amount: int) -> Number:
    return _seconds(amount) if metric is Metric.WATCH_SECONDS else amount


def _seconds(ms: int) -> Number:
    return ms // 1000 if ms % 1000 == 0 else ms / 1000


def _iso(at: float) -> str:
    return moment_of(at).isoformat(timespec="milliseconds")

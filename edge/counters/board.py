"""The read model: totals, today's figures and rankings, as the contract's documents.

Each province is read in one transaction, so that counts and `complete_through` are of one moment. What several
provinces hold is added up here. Keys are those of `functions.lua`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from enum import Enum
from typing import Any, Final

from redis.exceptions import RedisError

from edge.counters.sink import Client, province_prefix

UTC8: Final = timezone(timedelta(hours=8))
MAX_IDS: Final = 200
MAX_TOP: Final = 1000
_HUB: Final = "00"

Number = int | float


class BoardError(Exception):
    """The counts can't be read now."""


class Metric(Enum):
    """What a ranking can be by; the value is the name in the interface."""

    VIEWS = "views"
    PLAYS = "plays"
    WATCH_SECONDS = "watch_seconds"


_KEY_OF: Final = {Metric.VIEWS: "views", Metric.PLAYS: "plays", Metric.WATCH_SECONDS: "watch_ms"}


@dataclass(frozen=True, slots=True)
class Figures:
    """The counts of one resource over some time. uniques: estimated viewers, standard error 0.81 %."""

    views: int = 0
    plays: int = 0
    watch_seconds: Number = 0
    uniques: int = 0


@dataclass(frozen=True, slots=True)
class ResourceCounts(Figures):
    """The counts of one resource: since ever, and today."""

    id: str = ""
    today: Figures = field(default_factory=Figures)


@dataclass(frozen=True, slots=True)
class Moment:
    """When an answer was made, and before when it is exact. complete_through is None while no writer has reported.

    Both as ISO 8601 in UTC+8.
    """

    as_of: str
    complete_through: str | None


@dataclass(frozen=True, slots=True)
class ResourceAnswer:
    """Some resources, in the order asked."""

    resources: tuple[ResourceCounts, ...]
    moment: Moment


@dataclass(frozen=True, slots=True)
class Peak:
    """The day with most views, as an ISO date; None before the first view."""

    date: str | None
    views: int


@dataclass(frozen=True, slots=True)
class Summary:
    """The headline figures.

    views_daily_average: over the days from the first counted one to today. resources: resources seen so far.
    provinces: provinces with counts, the hub not being one. countries: countries with counts; every province is in one.
    uniques: estimated viewers of any resource, standard error 0.81 %.
    """

    views: int
    views_today: int
    views_daily_average: Number
    views_daily_peak: Peak
    plays: int
    watch_seconds: Number
    visits: int
    uniques: int
    resources: int
    provinces: int
    countries: int
    moment: Moment


@dataclass(frozen=True, slots=True)
class Ranked:
    """One place in a ranking."""

    id: str
    value: Number


@dataclass(frozen=True, slots=True)
class Ranking:
    """The resources with most of a metric, highest first."""

    metric: Metric
    places: tuple[Ranked, ...]
    moment: Moment


@dataclass(frozen=True, slots=True)
class _Province:
    """What the summary needs of one province, as read in one transaction."""

    code: str
    total: Mapping[bytes, bytes]
    today: Mapping[bytes, bytes]
    days: Sequence[tuple[bytes, float]]
    complete_ms: int | None


class Board:
    """Reads the counts of some provinces from one Redis. provinces: two-digit codes."""

    def __init__(
        self, client: Client, provinces: Sequence[str], *, wall: Callable[[], float], timeout_s: float = 0.8
    ) -> None:
        self._client = client
        self._provinces = tuple(provinces)
        self._wall = wall
        self._timeout_s = timeout_s

    async def resources(self, ids: Sequence[str]) -> ResourceAnswer:
        """Counts of resources, zeros for those not seen yet. Raises BoardError."""
        now = self._now()
        answers = await self._each(lambda pipe, prefix: _ask_resources(pipe, prefix, ids, _day(now)))
        complete = [_complete(answer[-2:]) for _, answer in answers]
        scores = [_added([answer[row] for _, answer in answers], len(ids)) for row in range(6)]
        uniques = await self._uniques([f"ur:{one}" for one in ids] + [f"udr:{_day(now)}:{one}" for one in ids])
        counts = tuple(
            ResourceCounts(
                id=one,
                views=scores[0][i],
                plays=scores[1][i],
                watch_seconds=_seconds(scores[2][i]),
                uniques=uniques[i],
                today=Figures(scores[3][i], scores[4][i], _seconds(scores[5][i]), uniques[len(ids) + i]),
            )
            for i, one in enumerate(ids)
        )
        return ResourceAnswer(counts, _moment(now, complete))

    async def summary(self) -> Summary:
        """The headline figures of all the board's provinces together. Raises BoardError."""
        now = self._now()
        answers = await self._each(lambda pipe, prefix: _ask_summary(pipe, prefix, _day(now)))
        read = [_Province(code, answer[0], answer[1], answer[2], _complete(answer[-2:])) for code, answer in answers]
        seen = await self._seen_resources([answer[3] for _, answer in answers])
        uniques = await self._uniques(["u"])
        return _summarise(read, now, seen, uniques[0])

    async def top(self, metric: Metric, limit: int) -> Ranking:
        """The resources with most of `metric`, exactly. Raises BoardError."""
        now = self._now()
        last = limit - 1 if len(self._provinces) == 1 else -1
        answers = await self._each(lambda pipe, prefix: _ask_top(pipe, prefix, metric, last))
        sums: dict[bytes, float] = {}
        for _, answer in answers:
            for member, score in answer[0]:
                sums[member] = sums.get(member, 0) + score
        ranked = sorted(sums.items(), key=lambda item: (-item[1], item[0]))[:limit]
        shown = _seconds if metric is Metric.WATCH_SECONDS else _identity
        places = tuple(Ranked(member.decode(), shown(int(score))) for member, score in ranked)
        return Ranking(metric, places, _moment(now, [_complete(answer[-2:]) for _, answer in answers]))

    async def close(self) -> None:
        await self._client.aclose()

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._wall(), UTC8)

    async def _each(self, ask: Callable[[Any, str], None]) -> list[tuple[str, list[Any]]]:
        """Ask every province the same, each in one transaction that ends with what `_complete` needs."""

        async def one(code: str) -> tuple[str, list[Any]]:
            prefix = province_prefix(code)
            pipe = self._client.pipeline(transaction=True)
            ask(pipe, prefix)
            pipe.zrange(f"{prefix}:complete", 0, 0, withscores=True)
            pipe.get(f"{prefix}:closed")
            return code, await pipe.execute()

        return list(await self._timely(asyncio.gather(*(one(code) for code in self._provinces))))

    async def _uniques(self, names: Sequence[str]) -> list[int]:
        """Estimated sizes of the unions of the provinces' sketches."""
        pipe = self._client.pipeline(transaction=False)
        for name in names:
            pipe.pfcount(*(f"{province_prefix(code)}:{name}" for code in self._provinces))
        return list(await self._timely(pipe.execute()))

    async def _seen_resources(self, counts: list[int]) -> int:
        """How many different resources the provinces have seen, from how many each has."""
        if len(counts) == 1:
            return counts[0]
        pipe = self._client.pipeline(transaction=False)
        for code in self._provinces:
            pipe.zrange(f"{province_prefix(code)}:views", 0, -1)
        return len(set().union(*await self._timely(pipe.execute())))

    async def _timely(self, waiting: Any) -> Any:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await waiting
        except (RedisError, OSError) as error:  # TimeoutError is an OSError
            raise BoardError(f"{type(error).__name__}: {error}") from error


def document_of(counts: ResourceCounts) -> dict[str, object]:
    """One resource as the contract shows it."""
    shown = asdict(counts)
    today = shown.pop("today")
    return {"id": shown.pop("id"), **shown, "today": today}


def _ask_resources(pipe: Any, prefix: str, ids: Sequence[str], day: str) -> None:
    for scope in (prefix, f"{prefix}:day:{day}"):
        for metric in _KEY_OF.values():
            pipe.zmscore(f"{scope}:{metric}", ids)


def _ask_summary(pipe: Any, prefix: str, day: str) -> None:
    pipe.hgetall(f"{prefix}:total")
    pipe.hgetall(f"{prefix}:day:{day}")
    pipe.zrange(f"{prefix}:days:views", 0, -1, withscores=True)
    pipe.zcard(f"{prefix}:views")


def _ask_top(pipe: Any, prefix: str, metric: Metric, last: int) -> None:
    pipe.zrange(f"{prefix}:{_KEY_OF[metric]}", 0, last, desc=True, withscores=True)


def _complete(tail: Sequence[Any]) -> int | None:
    """Before when the province is exact, ms: its slowest open writer, or with none open the last that closed."""
    slowest, closed = tail
    if slowest:
        return int(slowest[0][1])
    return int(closed) if closed is not None else None


def _added(rows: Sequence[Sequence[float | None]], width: int) -> list[int]:
    return [int(sum(row[i] or 0 for row in rows)) for i in range(width)]


def _summarise(read: Sequence[_Province], now: datetime, resources: int, uniques: int) -> Summary:
    total, today = _sum([one.total for one in read]), _sum([one.today for one in read])
    counted = [one.code for one in read if one.total]
    days: dict[str, int] = {}
    for one in read:
        for day, views in one.days:
            days[day.decode()] = days.get(day.decode(), 0) + int(views)
    first = min((one.total[b"first_day"].decode() for one in read if one.total), default=_day(now))
    return Summary(
        views=total["views"],
        views_today=today["views"],
        views_daily_average=_average(total["views"], _date(first), now.date()),
        views_daily_peak=_peak(days),
        plays=total["plays"],
        watch_seconds=_seconds(total["watch_ms"]),
        visits=total["visits"],
        uniques=uniques,
        resources=resources,
        provinces=len([code for code in counted if code != _HUB]),
        countries=1 if counted else 0,
        moment=_moment(now, [one.complete_ms for one in read]),
    )


def _sum(hashes: Sequence[Mapping[bytes, bytes]]) -> dict[str, int]:
    names = ("views", "plays", "watch_ms", "visits")
    return {name: sum(int(one.get(name.encode(), 0)) for one in hashes) for name in names}


def _average(views: int, first: date, today: date) -> Number:
    """Per day, days without a view included. An event may be a minute ahead of midnight: then `first` is tomorrow."""
    average = views / max(1, (today - first).days + 1)
    return int(average) if average.is_integer() else round(average, 2)


def _peak(days: Mapping[str, int]) -> Peak:
    """Of equal days the earliest."""
    if not days:
        return Peak(None, 0)
    best = min(days, key=lambda day: (-days[day], day))
    return Peak(_date(best).isoformat(), days[best])


def _date(day: str) -> date:
    return datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC8).date()


def _seconds(ms: int) -> Number:
    return ms // 1000 if ms % 1000 == 0 else ms / 1000


def _identity(count: int) -> Number:
    return count


def _day(now: datetime) -> str:
    return now.strftime("%Y%m%d")


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC8).isoformat(timespec="milliseconds")


def _moment(now: datetime, complete: Sequence[int | None]) -> Moment:
    """Several provinces are complete up to the slowest; one that never had a writer has nothing to be late with."""
    known = [ms for ms in complete if ms is not None]
    through = datetime.fromtimestamp(min(known) / 1000, UTC) if known else None
    return Moment(_iso(now), _iso(through) if through else None)

"""What the read model answers, as values.

Amounts are whole numbers but watch time, which is in seconds with at most three decimals. Times are ISO 8601 in UTC+8.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edge.counters.groups import Term
from edge.counters.question import Metric

Number = int | float


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
    """When an answer's counts were read, and before when they are exact, as ISO 8601 in UTC+8.

    complete_through: the slowest province's; None while no writer has reported. by_province: each one's.
    """

    as_of: str
    complete_through: str | None
    by_province: Mapping[str, str | None]


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
    provinces: provinces with counts, the hub not being one. countries: known countries with counts.
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
class Row:
    """The totals of one value of a dimension, by metric. name: what the catalog calls it."""

    id: str
    values: Mapping[Metric, Number]
    name: Term | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """Totals by a dimension. catalog: the version of the catalog that groups follow from; None where none is needed."""

    rows: tuple[Row, ...]
    moment: Moment
    catalog: str | None = None


@dataclass(frozen=True, slots=True)
class Ranked:
    """One place in a ranking."""

    id: str
    value: Number
    name: Term | None = None


@dataclass(frozen=True, slots=True)
class Ranking:
    """Some places of a ranking, highest first, of equals by id. length: places of the whole ranking."""

    metric: Metric
    places: tuple[Ranked, ...]
    length: int
    moment: Moment
    catalog: str | None = None


@dataclass(frozen=True, slots=True)
class Points:
    """A series: when each point begins, and its amount."""

    starts: tuple[str, ...]
    values: tuple[Number, ...]
    moment: Moment
    catalog: str | None = None


@dataclass(frozen=True, slots=True)
class Corrections:
    """Some corrections, the newest first. length: how many there are."""

    entries: tuple[Mapping[str, object], ...]
    length: int
    moment: Moment

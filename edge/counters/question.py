"""What is asked about the counts, as values, and how it is written in a query string.

Pure: parameters in, a question out, or a `QuestionError` whose text says what is allowed. Nothing is passed over in
silence: a parameter that is not known is refused by its name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from typing import Final, TypeVar

from edge.counters.counting_day import UTC8, begin_of_day, day_name
from edge.counters.event import is_resource

TODAY: Final = "today"
UNKNOWN: Final = "unknown"
MAX_IDS: Final = 200
MAX_TOP: Final = 1000
DEFAULT_TOP: Final = 100
MAX_OFFSET: Final = 10_000_000
MAX_POINTS: Final = 3000

_TAG = re.compile(r"[A-Za-z0-9._-]{1,64}")
_COUNTRY = re.compile(r"[A-Z]{2}")
_ASKED = 60  # characters of a wrong value that are repeated in a refusal


class QuestionError(ValueError):
    """The question can't be answered; the text says why and what is allowed."""


class Metric(Enum):
    """What is counted; the value is the name in the interface."""

    VIEWS = "views"
    PLAYS = "plays"
    WATCH_SECONDS = "watch_seconds"
    VISITS = "visits"
    UNIQUES = "uniques"


class Dimension(Enum):
    """What totals and rankings can be by; the value is the name in the interface."""

    PROVINCE = "province"
    COUNTRY = "country"
    SECTION = "section"
    STAGE = "stage"
    GRADE = "grade"
    SUBJECT = "subject"
    EDITION = "edition"
    RESOURCE = "resource"
    AGENT = "agent"


class Step(Enum):
    """How finely a series is cut; the value is the name in the interface."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"

    @property
    def span(self) -> timedelta:
        return _SPANS[self]


_SPANS: Final = {Step.MINUTE: timedelta(minutes=1), Step.HOUR: timedelta(hours=1), Step.DAY: timedelta(days=1)}
TAGGED: Final = (Dimension.SECTION, Dimension.STAGE, Dimension.GRADE, Dimension.SUBJECT, Dimension.EDITION)
BY: Final = (Dimension.PROVINCE, Dimension.COUNTRY, *TAGGED, Dimension.AGENT)
RANKED: Final = (Dimension.RESOURCE, Dimension.PROVINCE, Dimension.COUNTRY, *TAGGED)
OF_RESOURCES: Final = (Metric.VIEWS, Metric.PLAYS, Metric.WATCH_SECONDS)
ADDITIVE: Final = (*OF_RESOURCES, Metric.VISITS)
FILTERS: Final = ("day", "province", "country", *(one.value for one in TAGGED))


@dataclass(frozen=True, slots=True)
class Slice:
    """Which of the counts are meant. Empty: all.

    provinces: two-digit codes. tags: pairs of dimension and id. day: `YYYYMMDD`, TODAY, or None for since ever.
    """

    provinces: tuple[str, ...] = ()
    country: str | None = None
    tags: tuple[tuple[Dimension, str], ...] = ()
    resource: str | None = None
    day: str | None = None

    @property
    def of_resources(self) -> bool:
        """Whether only events that have a resource are meant, so that visits are out of it."""
        return bool(self.tags) or self.resource is not None


@dataclass(frozen=True, slots=True)
class Totals:
    """`by/{dimension}`. metric: None for all that the dimension has."""

    dimension: Dimension
    metric: Metric | None
    slice: Slice


@dataclass(frozen=True, slots=True)
class Top:
    """A ranking: `limit` places after the first `offset`."""

    dimension: Dimension = Dimension.RESOURCE
    metric: Metric = Metric.VIEWS
    limit: int = DEFAULT_TOP
    offset: int = 0
    slice: Slice = Slice()


@dataclass(frozen=True, slots=True)
class Span:
    """A series' points: `begin` of the first one, `end` of the last one, both in UTC+8 and whole steps."""

    step: Step
    begin: datetime
    end: datetime

    @property
    def points(self) -> int:
        return (self.end - self.begin) // self.step.span

    def starts(self) -> list[datetime]:
        """When each point begins."""
        return [self.begin + n * self.step.span for n in range(self.points)]


@dataclass(frozen=True, slots=True)
class Series:
    """A metric over time, by event time."""

    metric: Metric
    span: Span
    slice: Slice


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a list."""

    limit: int
    offset: int
    provinces: tuple[str, ...] = ()


Parameters = Iterable[tuple[str, str]]
_Choice = TypeVar("_Choice", bound=Enum)


class _Given:
    """The parameters of one request, each of which is known and given once."""

    def __init__(self, parameters: Parameters, allowed: Collection[str]) -> None:
        self._values: dict[str, str] = {}
        for name, value in parameters:
            if name not in allowed:
                known = ", ".join(allowed) or "none"
                raise QuestionError(f"there is no parameter {name[:_ASKED]!r} here; allowed: {known}")
            if name in self._values:
                raise QuestionError(f"{name} is given more than once; allowed: once")
            self._values[name] = value

    def text(self, name: str) -> str | None:
        return self._values.get(name) or None

    def choice(self, name: str, kind: type[_Choice], allowed: Collection[_Choice] = ()) -> _Choice | None:
        """One of `allowed`; empty: any."""
        text = self.text(name)
        return None if text is None else chosen(name, text, kind, allowed or tuple(kind))

    def whole(self, name: str, default: int, least: int, most: int) -> int:
        text = self.text(name)
        if text is None:
            return default
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 12 else -1
        if not least <= number <= most:
            raise QuestionError(f"{name} is a whole number from {least} to {most}, not {text[:_ASKED]!r}")
        return number

    def checked(self, name: str, fits: Callable[[str], bool], allowed: str) -> str | None:
        text = self.text(name)
        if text is not None and not fits(text):
            raise QuestionError(f"{name} is not {text[:_ASKED]!r}; allowed: {allowed}")
        return text


def chosen(name: str, text: str, kind: type[_Choice], allowed: Collection[_Choice]) -> _Choice:
    """The member of `kind` with that value, if it is among the allowed ones. Raises QuestionError."""
    found = next((one for one in kind if one.value == text and one in allowed), None)
    if found is None:
        names = ", ".join(one.value for one in allowed)
        raise QuestionError(f"{name} is one of {names}, not {text[:_ASKED]!r}")
    return found


def nothing(parameters: Parameters) -> None:
    """No parameters are taken. Raises QuestionError."""
    _Given(parameters, ())


def resources(parameters: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """`ids=a,b`, which may come several times. Raises QuestionError."""
    given = list(parameters)
    _Given([(name, value) for name, value in given if name != "ids"], ("ids",))
    wanted = tuple(one for _, value in given for one in value.split(",") if one)
    if not wanted:
        raise QuestionError(f"ids names 1 to {MAX_IDS} resources, separated by commas")
    if len(wanted) > MAX_IDS:
        raise QuestionError(f"ids names {len(wanted)} resources; at most {MAX_IDS} can be asked for at once")
    for one in wanted:
        resource(one)
    return wanted


def resource(text: str) -> str:
    """A resource's id. Raises QuestionError."""
    if not is_resource(text):
        raise QuestionError(f"{text[:80]!r} is not a resource id: 1 to 64 of the characters A-Z a-z 0-9 . _ -")
    return text


def totals(dimension: str, parameters: Parameters, held: Collection[str]) -> Totals:
    """`by/{dimension}?metric=&day=&province=…`. held: the provinces that can be asked for. Raises QuestionError."""
    by = chosen("the dimension", dimension, Dimension, BY)
    given = _Given(parameters, ("metric", *FILTERS))
    metric = given.choice("metric", Metric)
    asked = Totals(by, metric, _slice(given, held))
    _check(by, metric, asked.slice)
    return asked


def top(parameters: Parameters, held: Collection[str]) -> Top:
    """`top?dimension=&metric=&limit=&offset=…`. Raises QuestionError."""
    given = _Given(parameters, ("dimension", "metric", "limit", "offset", *FILTERS))
    asked = Top(
        given.choice("dimension", Dimension, RANKED) or Dimension.RESOURCE,
        given.choice("metric", Metric) or Metric.VIEWS,
        given.whole("limit", DEFAULT_TOP, 1, MAX_TOP),
        given.whole("offset", 0, 0, MAX_OFFSET),
        _slice(given, held),
    )
    _check(asked.dimension, asked.metric, asked.slice)
    return asked


def series(parameters: Parameters, held: Collection[str], now: datetime) -> Series:
    """`series?metric=&step=&from=&to=…`; `day=` is from and to that day. Raises QuestionError."""
    given = _Given(parameters, ("metric", "step", "from", "to", "resource", *FILTERS))
    metric = given.choice("metric", Metric, ADDITIVE) or Metric.VIEWS
    asked = replace(_slice(given, held), day=None)
    if asked.country is not None and asked.of_resources:
        raise QuestionError(_NO_COUNTRY_OF_RESOURCES)
    _check_visits(metric, asked)
    return Series(metric, _span(given, now.astimezone(UTC8)), asked)


def page(parameters: Parameters, held: Collection[str]) -> Page:
    """`limit=&offset=&province=`. Raises QuestionError."""
    given = _Given(parameters, ("limit", "offset", "province"))
    return Page(
        given.whole("limit", DEFAULT_TOP, 1, MAX_TOP), given.whole("offset", 0, 0, MAX_OFFSET), _provinces(given, held)
    )


def exported(parameters: Parameters, formats: Collection[str]) -> tuple[str, date]:
    """`format=&day=`: the format and the day. Raises QuestionError."""
    given = _Given(parameters, ("format", "day"))
    names = ", ".join(formats)
    form = given.checked("format", lambda text: text in formats, names) or next(iter(formats))
    day = _date(given.text("day") or "")
    if day is None:
        raise QuestionError("day names the closed day to export, as YYYY-MM-DD; allowed: a day that is over")
    return form, day


def day_of(text: str) -> str:
    """`2026-11-29` as it is in keys: `20261129`. Raises QuestionError."""
    return day_name(_dated(text))


def _dated(text: str) -> date:
    found = _date(text)
    if found is None:
        raise QuestionError(f"day is a date such as 2026-11-29, or {TODAY}, not {text[:_ASKED]!r}")
    return found


def _slice(given: _Given, held: Collection[str]) -> Slice:
    day = given.text("day")
    return Slice(
        provinces=_provinces(given, held),
        country=given.checked(
            "country", lambda text: _COUNTRY.fullmatch(text) is not None, "two letters of ISO 3166-1, ZZ for not known"
        ),
        tags=tuple((one, tag) for one in TAGGED if (tag := _tag(given, one)) is not None),
        resource=given.checked("resource", is_resource, "1 to 64 of the characters A-Z a-z 0-9 . _ -"),
        day=day if day in (None, TODAY) else day_of(day),
    )


def _tag(given: _Given, dimension: Dimension) -> str | None:
    allowed = f"an id of the catalog, 1 to 64 of the characters A-Z a-z 0-9 . _ -, or {UNKNOWN}"
    return given.checked(dimension.value, lambda text: _TAG.fullmatch(text) is not None, allowed)


def _provinces(given: _Given, held: Collection[str]) -> tuple[str, ...]:
    text = given.text("province")
    if text is None:
        return ()
    codes = tuple(dict.fromkeys(text.split(",")))
    strange = next((code for code in codes if code not in held), None)
    if strange is not None:
        allowed = ", ".join(sorted(held))
        raise QuestionError(f"this node has no counts of province {strange[:_ASKED]!r}; allowed: {allowed}")
    return codes


_NO_COUNTRY_OF_RESOURCES: Final = (
    "countries are counted as a whole, not by resource; country goes with province and day only, "
    "and with the dimensions province and country"
)


def _check(by: Dimension, metric: Metric | None, asked: Slice) -> None:
    """Refuse what is not counted."""
    if by is Dimension.AGENT and (asked.country is not None or asked.tags):
        raise QuestionError("agents are counted by province and day only; allowed: metric, day, province")
    if by is Dimension.COUNTRY and asked.tags:
        raise QuestionError(_NO_COUNTRY_OF_RESOURCES)
    if asked.country is not None and (asked.tags or by not in (Dimension.PROVINCE, Dimension.COUNTRY)):
        raise QuestionError(_NO_COUNTRY_OF_RESOURCES)
    if metric is Metric.VISITS and (by in TAGGED or by is Dimension.RESOURCE):
        raise QuestionError(f"a visit has no resource; allowed by {by.value}: {_names(OF_RESOURCES)}")
    if metric is Metric.UNIQUES and (by is not Dimension.PROVINCE or asked.country is not None or asked.tags):
        raise QuestionError("unique viewers are estimated by province, with day and province as the only filters")
    _check_visits(metric, asked)


def _check_visits(metric: Metric | None, asked: Slice) -> None:
    if metric is Metric.VISITS and asked.of_resources:
        raise QuestionError(f"a visit has no resource; allowed with such a filter: {_names(OF_RESOURCES)}")


def _names(metrics: Iterable[Metric]) -> str:
    return ", ".join(metric.value for metric in metrics)


def _span(given: _Given, now: datetime) -> Span:
    """From and to in whole steps: `from` is in the first point, `to` ends the last; a date as `to` includes its day."""
    step = given.choice("step", Step) or Step.HOUR
    day = _day(given, now)
    until = _moment(given, "to", last=True) or (day + timedelta(days=1) if day is not None else now)
    since = _moment(given, "from", last=False) or day or _default_begin(step, until)
    begin, end = _floor(since, step), _floor(until + step.span - timedelta(microseconds=1), step)
    if end <= begin:
        raise QuestionError("from is before to")
    span = Span(step, begin, end)
    if span.points > MAX_POINTS:
        longest = MAX_POINTS * step.span
        raise QuestionError(
            f"that is {span.points} points; at most {MAX_POINTS} are given at once, which is {longest} by {step.value}"
        )
    return span


def _day(given: _Given, now: datetime) -> datetime | None:
    """When the one day begins that is asked for."""
    text = given.text("day")
    if text is None:
        return None
    if given.text("from") or given.text("to"):
        raise QuestionError("day says from and to by itself; allowed: day, or from and to")
    return begin_of_day(now.date() if text == TODAY else _dated(text))


def _default_begin(step: Step, until: datetime) -> datetime:
    """Minutes of an hour, hours of a day, days of a month."""
    return until - {Step.MINUTE: timedelta(hours=1), Step.HOUR: timedelta(days=1), Step.DAY: timedelta(days=30)}[step]


def _floor(moment: datetime, step: Step) -> datetime:
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (moment - midnight) // step.span * step.span


def _moment(given: _Given, name: str, *, last: bool) -> datetime | None:
    """An ISO 8601 time (without offset: UTC+8) or a date. In a query string, a plain `+` has become a space."""
    text = given.text(name)
    if text is None:
        return None
    day = _date(text)
    if day is not None:
        return begin_of_day(day) + (timedelta(days=1) if last else timedelta())
    try:
        found = datetime.fromisoformat(re.sub(r" (?=\d\d:?\d\d$)", "+", text))
        moment = found.replace(tzinfo=UTC8) if found.tzinfo is None else found.astimezone(UTC8)
        if not _EARLIEST <= moment <= _LATEST:
            raise ValueError("out of range")
    except (ValueError, OverflowError):
        raise QuestionError(
            f"{name} is an ISO 8601 time such as 2026-11-29T08:00:00+08:00, or a date, not {text[:_ASKED]!r}"
        ) from None
    return moment


_EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(2100, 1, 1, tzinfo=UTC)


def _date(text: str) -> date | None:
    if not re.fullmatch(r"20\d\d-\d\d-\d\d", text):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None

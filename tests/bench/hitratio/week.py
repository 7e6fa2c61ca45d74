"""A model of what this platform asks of one edge: two school weeks, each with its own lessons.

Every lesson has its place in the timetable, where half of its views begin, most of them at the bell; the other half
is spread over the week by the hours of the day. Popularity is Zipf's with alpha 0.8. Some views go to last week's
lessons and to the back catalog; every morning something reads cold lessons from end to end, once.
A view asks for the catalog's documents, the lesson's and its playlists, then for one segment after the other.
Segments are sampled by their names, so that the trace is short and the share of the footprint means the same.
"""

from __future__ import annotations

import random
import zlib
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, takewhile
from typing import NamedTuple

from tests.bench.hitratio.traces import Trace, trace

_DAY, _HOUR, _BELL = 86_400, 3600, 300
_DAYS = (1, 1, 1, 1, 1, 0.5, 0.5)
_HOURS = {
    7: 4,
    8: 13,
    9: 13,
    10: 12,
    11: 7,
    12: 3,
    13: 4,
    14: 9,
    15: 8,
    16: 6,
    17: 3,
    18: 3,
    19: 5,
    20: 5,
    21: 3,
    22: 1,
}
_LESSON_HOURS = {hour: _HOURS[hour] for hour in (8, 9, 10, 11, 14, 15, 16)}
_RENDITIONS = ((251_000, 15), (317_000, 25), (469_000, 40), (878_000, 20))  # bytes of a segment, share of views %
_SEGMENTS, _SEGMENT_S = 90, 10
_SCANNED_RENDITION = 1
_ZIPF = 0.8
_BACK = -1  # the week of the back catalog's lessons
_UNIT = 256  # bytes that sizes are rounded up to

Lesson = tuple[int, int]
"""Its week (the back catalog's is -1), and its rank in it."""


class Thing(NamedTuple):
    """What is asked for; lesson, rendition and number as far as its kind has them."""

    kind: str
    lesson: Lesson = (0, 0)
    rendition: int = 0
    number: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """views: in all weeks. lessons: of a week. back: lessons of the back catalog. one_in: segments that are kept.

    scanned: cold lessons read from end to end each day.
    """

    views: int = 70_000
    weeks: int = 2
    lessons: int = 542
    back: int = 19_508
    one_in: int = 8
    scanned: int = 120
    seed: int = 1


QUICK = Plan(views=7000, lessons=54, back=1950, one_in=6, scanned=12)


def school_weeks(plan: Plan) -> Trace:
    """The trace, the same for the same plan."""
    model = _Model(plan)
    requests = [*model.views(), *model.scans()]
    requests.sort(key=lambda request: request[0])
    return trace("school weeks", ((thing, model.size(thing)) for _, thing in requests))


class _Model:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._random = random.Random(plan.seed)
        self._popular = list(accumulate(rank**-_ZIPF for rank in range(1, plan.lessons + 1)))
        self._back = list(accumulate(rank**-_ZIPF for rank in range(1, plan.back + 1)))
        self._sizes: dict[Thing, int] = {}
        self._sampled: dict[tuple[Lesson, int], list[Thing]] = {}
        self._places = {
            (week, rank): (self._random.randrange(5), self._pick(_LESSON_HOURS))
            for week in range(plan.weeks)
            for rank in range(plan.lessons)
        }

    def views(self) -> Iterator[tuple[float, Thing]]:
        for week in range(self._plan.weeks):
            for _ in range(self._plan.views // self._plan.weeks):
                yield from self._view(week)

    def scans(self) -> Iterator[tuple[float, Thing]]:
        for day in range(7 * self._plan.weeks):
            at = day * _DAY + 9.5 * _HOUR
            for _ in range(self._plan.scanned):
                cold = (_BACK, self._random.randrange(self._plan.back // 2, self._plan.back))
                for segment in self._segments(cold, _SCANNED_RENDITION, _SEGMENTS):
                    yield at, segment
                    at += 0.5

    def size(self, thing: Thing) -> int:
        """Of one object, bytes: lognormal around what its kind has."""
        known = self._sizes.get(thing)
        if known is None:
            mean = _RENDITIONS[thing.rendition][0] if thing.kind == "segment" else _DOCUMENTS[thing.kind]
            size = mean * self._random.lognormvariate(0, 0.15)
            known = self._sizes[thing] = (int(size) // _UNIT + 1) * _UNIT
        return known

    def _view(self, week: int) -> Iterator[tuple[float, Thing]]:
        lesson, place = self._lesson(week)
        at = week * 7 * _DAY + self._start(place)
        rendition = self._random.choices(range(4), [share for _, share in _RENDITIONS])[0]
        yield at, Thing("version")
        yield at + 0.1, Thing("tree", number=self._random.choices(range(8), range(8, 0, -1))[0])
        yield at + 0.3, Thing("detail", lesson)
        yield at + 0.4, Thing("cover", lesson)
        yield at + 0.5, Thing("master", lesson)
        yield at + 0.6, Thing("playlist", lesson, rendition)
        watched = _SEGMENTS if self._random.random() < 0.45 else self._random.randint(1, 70)
        for segment in self._segments(lesson, rendition, watched):
            yield at + 1 + _SEGMENT_S * segment.number, segment

    def _lesson(self, week: int) -> tuple[Lesson, tuple[int, int] | None]:
        draw = self._random.random()
        if draw < 0.08:
            return (_BACK, self._rank(self._back)), None
        rank = self._rank(self._popular)
        if draw < 0.16 and week:
            return (week - 1, rank), None
        return (week, rank), self._places[week, rank] if self._random.random() < 0.5 else None

    def _start(self, place: tuple[int, int] | None) -> float:
        if place is None:
            day, hour = self._random.choices(range(7), _DAYS)[0], self._pick(_HOURS)
        else:
            day, hour = place
        at_the_bell = self._random.random() < 0.6
        return day * _DAY + hour * _HOUR + self._random.random() * (_BELL if at_the_bell else _HOUR)

    def _segments(self, lesson: Lesson, rendition: int, watched: int) -> Iterator[Thing]:
        sampled = self._sampled.get((lesson, rendition))
        if sampled is None:
            every = (Thing("segment", lesson, rendition, number) for number in range(_SEGMENTS))
            sampled = [one for one in every if zlib.crc32(repr(one).encode()) % self._plan.one_in == 0]
            self._sampled[lesson, rendition] = sampled
        return takewhile(lambda one: one.number < watched, sampled)

    def _rank(self, cumulated: list[float]) -> int:
        return bisect_left(cumulated, self._random.random() * cumulated[-1])

    def _pick(self, weights: dict[int, int]) -> int:
        return self._random.choices(list(weights), list(weights.values()))[0]


_DOCUMENTS = {
    "version": 1000, "tree": 200_000, "detail": 35_000, "cover": 60_000, "master": 1000, "playlist": 13_000,
}  # fmt: skip

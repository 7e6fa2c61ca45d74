"""Which of the numbers that should be equal is wrong. Pure.

A number of an open day is kept three times: in the day's sums, in finer parts (minutes, or hours), and within the total
of all time. All are written in one call. Whichever differs from what the two others say is wrong; when no two agree,
nothing is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

FIRST_DAY: Final = "first_day"
"""The first day's field among the totals. It is no sum: a difference has days as numbers, YYYYMMDD, and 0 for none."""
_RANKED: Final = ("views", "plays", "watch_ms", "visits")


class Remedy(Enum):
    """How a difference can be put right."""

    ADJUST = "what is lacking is added, while counting goes on"
    REPLACE = "it is written anew, unless it has changed meanwhile"
    RESTORE = "the day is written again from history"
    NONE = "it can't be known what is right"


@dataclass(frozen=True, slots=True)
class Difference:
    """A number in Redis that is not what it should be. key: without the province's prefix; field: or member.

    history: what it should be, by what history and the other numbers say.
    """

    key: str
    field: str
    redis: int
    history: int
    remedy: Remedy

    @property
    def is_rank(self) -> bool:
        """Whether the key is a sorted set and not a hash."""
        return self.is_of_days or self.key.rpartition(":")[2] in _RANKED

    @property
    def is_of_days(self) -> bool:
        """Whether it is the sum of a day, in the ranking of days."""
        return self.key.startswith("days:")

    @property
    def is_of_day(self) -> bool:
        """Whether the numbers are days."""
        return (self.key, self.field) == ("total", FIRST_DAY)

    @property
    def is_of_resource(self) -> bool:
        """Whether it is the total of a resource."""
        return self.key in _RANKED


class Keys(NamedTuple):
    """Where the numbers are kept. parts, finer: of each open day."""

    total: str
    parts: Sequence[str]
    finer: Sequence[str]


class Verdict(NamedTuple):
    """What the open days add up to, and each of them; None for what is not known."""

    total: int | None
    parts: tuple[int | None, ...]


def judge(total: int, parts: Sequence[int], finer: Sequence[int]) -> Verdict:
    """total: without what history has; parts: of each open day; finer: what its finer numbers add up to."""
    if list(parts) == list(finer):
        return Verdict(sum(parts), tuple(parts))
    if total == sum(finer):
        return Verdict(total, tuple(finer))
    if total == sum(parts):
        return Verdict(total, tuple(parts))
    return Verdict(None, tuple(part if part == fine else None for part, fine in zip(parts, finer, strict=True)))


def weigh(
    keys: Keys, field: str, total: int, history: int, parts: Sequence[int], finer: Sequence[int]
) -> list[Difference]:
    """What is wrong of one number. history: what of the total lies in closed days."""
    verdict = judge(total - history, parts, finer)
    found = []
    if verdict.total is None:
        found.append(Difference(keys.total, field, total, history + sum(parts), Remedy.NONE))
    elif total != history + verdict.total:
        found.append(Difference(keys.total, field, total, history + verdict.total, Remedy.ADJUST))
    for i, right in enumerate(verdict.parts):
        if right is None:
            found.append(Difference(keys.parts[i], field, parts[i], finer[i], Remedy.NONE))
            continue
        if parts[i] != right:
            found.append(Difference(keys.parts[i], field, parts[i], right, Remedy.ADJUST))
        if finer[i] != right:
            found.append(Difference(keys.finer[i], field, finer[i], right, Remedy.NONE))
    return found


def compare(key: str, redis: Mapping[str, int], history: Mapping[str, int], remedy: Remedy) -> list[Difference]:
    """The differences of a whole key; what is missing is 0."""
    names = sorted(redis.keys() | history.keys())
    return [
        Difference(key, name, redis.get(name, 0), history.get(name, 0), remedy)
        for name in names
        if redis.get(name, 0) != history.get(name, 0)
    ]

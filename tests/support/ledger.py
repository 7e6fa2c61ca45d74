"""What was counted, event by event, added up the slow way: what every answer about counts has to agree with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone

UTC8 = timezone(timedelta(hours=8))
METRICS = ("visits", "views", "plays", "watch_seconds")
KINDS = {"visit": "visits", "view": "views", "play": "plays", "watch": "watch_seconds"}


@dataclass(frozen=True, slots=True)
class Counted:
    """One event that was accepted. amount: 1, or the seconds watched."""

    metric: str
    amount: float
    at: datetime
    resource: str | None
    province: str
    country: str
    bot: bool


@dataclass(slots=True)
class Ledger:
    """tags: by resource, its tags by dimension."""

    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    entries: list[Counted] = field(default_factory=list)

    def note(self, events: Iterable[dict[str, object]], province: str, country: str, *, bot: bool = False) -> None:
        """Events as they were sent, and where they came from."""
        for one in events:
            metric = KINDS[str(one["kind"])]
            amount = float(str(one["watched_s"])) if metric == "watch_seconds" else 1
            at = datetime.fromtimestamp(int(str(one["at"])) / 1000, UTC).astimezone(UTC8)
            resource = str(one["resource"]) if "resource" in one else None
            self.entries.append(Counted(metric, amount, at, resource, province, country, bot))

    def sum(self, metric: str, *, bots: bool = False, **wanted: str | None) -> float:
        """The amount of a metric; wanted: day as YYYY-MM-DD, and any dimension. None: any."""
        return round(sum(one.amount for one in self._those(metric, bots, wanted)), 3)

    def by(self, dimension: str, metric: str, **wanted: str | None) -> dict[str, float]:
        """The amounts by value of a dimension, zeros left out."""
        sums: dict[str, float] = {}
        for one in self._those(metric, False, wanted):
            value = self.value(one, dimension)
            sums[value] = round(sums.get(value, 0) + one.amount, 3)
        return {value: amount for value, amount in sums.items() if amount}

    def over(self, metric: str, cut: Callable[[datetime], datetime], **wanted: str | None) -> dict[str, float]:
        """The amounts by what `cut` makes of the event's time, zeros left out."""
        sums: dict[str, float] = {}
        for one in self._those(metric, False, wanted):
            start = cut(one.at).isoformat()
            sums[start] = round(sums.get(start, 0) + one.amount, 3)
        return {start: amount for start, amount in sums.items() if amount}

    def value(self, one: Counted, dimension: str) -> str:
        """The value that an event has of a dimension."""
        if dimension == "day":
            return one.at.date().isoformat()
        if dimension in ("province", "country", "resource"):
            return str(getattr(one, dimension))
        return self.tags.get(one.resource or "", {}).get(dimension, "unknown")

    def _those(self, metric: str, bots: bool, wanted: dict[str, str | None]) -> Iterator[Counted]:
        for one in self.entries:
            if one.metric == metric and one.bot == bots:
                given = ((name, value) for name, value in wanted.items() if value is not None)
                if all(self.value(one, name) == value for name, value in given):
                    yield one

"""The counting day: a day of UTC+8 by the event's own time, as every key, table and answer means it."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, timezone
from typing import Final

UTC8_MINUTES: Final = 480
DAY_MINUTES: Final = 1440
UTC8: Final = timezone(timedelta(minutes=UTC8_MINUTES))


def moment_of(at: float) -> datetime:
    """A time, s since the epoch, in UTC+8."""
    return datetime.fromtimestamp(at, UTC8)


def day_name(day: date) -> str:
    """As in keys: YYYYMMDD."""
    return day.strftime("%Y%m%d")


def day_named(name: str) -> date:
    """The day of such a name. Raises ValueError."""
    return date.fromisoformat(name)


def day_from(name: str | bytes | None) -> date | None:
    """The day of a name as Redis has it, None where there is none."""
    if not name:
        return None
    return day_named(name.decode() if isinstance(name, bytes) else name)


def day_of_minute(minute: int) -> date:
    """The day of a minute since the epoch."""
    return moment_of(minute * 60).date()


def minute_of_day(minute: int) -> int:
    """Which minute of its day a minute since the epoch is."""
    return (minute + UTC8_MINUTES) % DAY_MINUTES


def begin_of_day(day: date) -> datetime:
    """Its midnight."""
    return datetime.combine(day, time(), UTC8)


def end_of_day_ms(day: date) -> int:
    """When a day is over, ms since the epoch."""
    return int(begin_of_day(day + timedelta(days=1)).timestamp() * 1000)

"""HTTP dates (RFC 9110, 5.6.7) -> seconds since the epoch.

A cache reads them without regard to case and takes no zone but GMT (RFC 9111, 4.2); else only what the grammar allows.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import formatdate

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = rf"(?P<month>{'|'.join(_MONTHS)})"
_CLOCK = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_FORMS = tuple(
    re.compile(form, re.IGNORECASE | re.ASCII)
    for form in (
        rf"(?:mon|tue|wed|thu|fri|sat|sun), (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_CLOCK} gmt",
        rf"(?:mon|tues|wednes|thurs|fri|satur|sun)day, (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_CLOCK} gmt",
        rf"(?:mon|tue|wed|thu|fri|sat|sun) {_MONTH} (?P<day>[0-9]{{2}}| [0-9]) {_CLOCK} (?P<year>[0-9]{{4}})",
    )
)
_LEAP_SECOND = 60


def http_date(text: str | None, *, wall: float) -> float | None:
    """An HTTP date in any of its three forms; None when it is none. wall: what year a two-digit one is near to."""
    stripped = (text or "").strip(" \t")
    match = next(filter(None, (form.fullmatch(stripped) for form in _FORMS)), None)
    if match is None:
        return None
    month, second = _MONTHS.index(match["month"].lower()) + 1, int(match["second"])
    day, hour, minute = int(match["day"]), int(match["hour"]), int(match["minute"])
    year = int(match["year"])
    if len(match["year"]) == 2:
        year = _full_year(year, (month, day, hour, minute, second), wall)
    try:
        instant = datetime(year, month, day, hour, minute, tzinfo=UTC)
    except ValueError:
        return None
    return instant.timestamp() + second if second <= _LEAP_SECOND else None


def written(wall: float) -> str:
    """Seconds since the epoch as the date that is sent (IMF-fixdate)."""
    return formatdate(wall, usegmt=True)


def _full_year(two_digits: int, rest: tuple[int, int, int, int, int], wall: float) -> int:
    """The latest year so written in which the date lies no more than 50 years ahead (RFC 9110, 5.6.7)."""
    today = datetime.fromtimestamp(wall, tz=UTC)
    limit = (today.year + 50, today.month, today.day, today.hour, today.minute, today.second)
    year = (today.year // 100 + 1) * 100 + two_digits
    while (year, *rest) > limit:
        year -= 100
    return year

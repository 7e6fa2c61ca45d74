"""HTTP dates (RFC 9110, 5.6.7) -> seconds since the epoch.

A cache reads them without regard to case and takes no zone but GMT (RFC 9111, 4.2); else only what the grammar allows.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import formatdate
from functools import lru_cache

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = rf"(?P<month>{'|'.join(_MONTHS)})"
_CLOCK = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_FIXDATE, _TWO_DIGITS, _ASCTIME = (
    re.compile(form, re.IGNORECASE | re.ASCII)
    for form in (
        rf"(?:mon|tue|wed|thu|fri|sat|sun), (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_CLOCK} gmt",
        rf"(?:mon|tues|wednes|thurs|fri|satur|sun)day, (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_CLOCK} gmt",
        rf"(?:mon|tue|wed|thu|fri|sat|sun) {_MONTH} (?P<day>[0-9]{{2}}| [0-9]) {_CLOCK} (?P<year>[0-9]{{4}})",
    )
)
_LONGEST = len("Wednesday, 09-Nov-94 08:49:37 GMT")
_LEAP_SECOND = 60


def http_date(text: str | None, *, wall: float) -> float | None:
    """An HTTP date in any of its three forms; None when it is none. wall: what year a two-digit one is near to."""
    if text is None:
        return None
    written_date = text.strip(" \t")
    if len(written_date) > _LONGEST:
        return None
    match = _TWO_DIGITS.fullmatch(written_date)
    return _fixed(written_date) if match is None else _instant(match, _full_year(match, wall))


def written(wall: float) -> str:
    """Seconds since the epoch as the date that is sent (IMF-fixdate)."""
    return formatdate(wall, usegmt=True)


@lru_cache(maxsize=2048)  # a site's objects share few dates of change, its responses few seconds
def _fixed(written_date: str) -> float | None:
    """A date with a full year, which means the same at all times."""
    match = _FIXDATE.fullmatch(written_date) or _ASCTIME.fullmatch(written_date)
    return _instant(match, int(match["year"])) if match is not None else None


def _instant(match: re.Match[str], year: int) -> float | None:
    month, day, hour, minute, second = _rest(match)
    try:
        instant = datetime(year, month, day, hour, minute, tzinfo=UTC)
    except ValueError:
        return None
    return instant.timestamp() + second if second <= _LEAP_SECOND else None


def _full_year(match: re.Match[str], wall: float) -> int:
    """The latest year so written in which the date lies no more than 50 years ahead (5.6.7)."""
    today = datetime.fromtimestamp(wall, tz=UTC)
    limit = (today.year + 50, today.month, today.day, today.hour, today.minute, today.second)
    year = (today.year // 100 + 1) * 100 + int(match["year"])
    while (year, *_rest(match)) > limit:
        year -= 100
    return year


def _rest(match: re.Match[str]) -> tuple[int, int, int, int, int]:
    """Month, day, hour, minute, second."""
    month = _MONTHS.index(match["month"].lower()) + 1
    return month, int(match["day"]), int(match["hour"]), int(match["minute"]), int(match["second"])

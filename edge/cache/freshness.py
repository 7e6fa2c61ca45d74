"""How long a stored response may be used, and what to do with it now (RFC 9111, section 4.2; RFC 5861).

Pure functions. Two kinds of time come in as values: instants of the monotonic clock (`now`, `born`), which lifetimes
are measured with, and the wall clock's seconds since the epoch, which only HTTP dates are compared with.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import formatdate
from enum import Enum

from edge.cache import directives
from edge.cache.model import Entry, Freshness, Head, Pass
from origin.reader import Headers

HEURISTIC_FRACTION = 0.1
"""Share of the time since Last-Modified that a response without explicit lifetime counts as fresh (4.2.2)."""
HEURISTIC_LIMIT_S = 3600.0
_HEURISTIC_STATUSES = frozenset({200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501})  # RFC 9110, 15.1
_STORABLE_STATUSES = frozenset({200, 203, 300, 301, 404, 405, 410, 414, 501, 302, 307, 308})


class Verdict(Enum):
    """What to do with a request, given what is stored."""

    HIT = "serve it"
    STALE_HIT = "serve it, and revalidate in the background"
    REVALIDATE = "ask the origin whether it is still good"
    FILL = "fetch and store"
    PASS = "fetch for this request alone"  # noqa: S105 - no password


def assess(status: int, headers: Headers, *, wall: float, negative_ttl_s: float = 0.0) -> Freshness:
    """Freshness of a response received at `wall`.

    negative_ttl_s: lifetime of a 404 or 410 that brings none of its own.
    """
    said = directives.parse(_lines(headers, "cache-control"))
    explicit = _explicit_lifetime(said, headers, wall)
    if said.no_store or said.private or status not in _STORABLE_STATUSES or _varies(headers):
        return Freshness(storable=False, lifetime_s=0.0)
    lifetime = explicit if explicit is not None else _implied_lifetime(status, headers, wall, negative_ttl_s)
    if lifetime is None:
        return Freshness(storable=False, lifetime_s=0.0)
    if said.no_cache:
        # Stored, but every use is validated first: that is a lifetime of zero without any grace.
        return Freshness(storable=_has_validator(headers), lifetime_s=0.0)
    if said.must_revalidate or said.proxy_revalidate or said.s_maxage_s is not None:
        # s-maxage means proxy-revalidate to shared caches (5.2.2.10); both forbid serving stale (4.2.4).
        return Freshness(storable=True, lifetime_s=lifetime)
    return Freshness(
        storable=True,
        lifetime_s=lifetime,
        stale_while_revalidate_s=float(said.stale_while_revalidate_s or 0),
        stale_if_error_s=float(said.stale_if_error_s or 0),
    )


def initial_age(headers: Headers, *, wall: float, response_delay_s: float) -> float:
    """corrected_initial_age of RFC 9111, 4.2.3, in seconds; `wall` is the time of receipt."""
    date = http_date(_first(headers, "date"))
    apparent = max(0.0, wall - date) if date is not None else 0.0
    age_field = (_first(headers, "age") or "").split(",")[0].strip()
    corrected = (directives.delta_seconds(age_field) or 0) + response_delay_s
    return max(apparent, corrected)


def decide(stored: Entry | Pass | None, now: float) -> Verdict:
    """What to do at `now` with a request for which this is stored."""
    if stored is None:
        return Verdict.FILL
    if isinstance(stored, Pass):
        return Verdict.PASS if now < stored.until else Verdict.FILL
    freshness = stored.head.freshness
    overdue = now - stored.head.born - freshness.lifetime_s
    if overdue < 0:
        return Verdict.HIT
    if overdue < freshness.stale_while_revalidate_s:
        return Verdict.STALE_HIT
    return Verdict.REVALIDATE


def usable_on_error(head: Head, now: float) -> bool:
    """Whether it may be served because the origin failed (RFC 5861, section 4)."""
    return head.age_s(now) < head.freshness.lifetime_s + head.freshness.stale_if_error_s


def remaining_s(head: Head, now: float) -> float:
    """Seconds until it is good for nothing but revalidation; negative when it is past that."""
    return head.freshness.useful_s - head.age_s(now)


def head_of(
    status: int,
    headers: Headers,
    *,
    now: float,
    wall: float,
    response_delay_s: float = 0.0,
    negative_ttl_s: float = 0.0,
) -> Head:
    """The head of a response received at `now` (monotonic) and `wall`, asked for `response_delay_s` earlier."""
    age = initial_age(headers, wall=wall, response_delay_s=response_delay_s)
    return described(
        status,
        headers if _first(headers, "date") is not None else (*headers, ("date", formatdate(wall, usegmt=True))),
        born=now - age,
        freshness=assess(status, headers, wall=wall, negative_ttl_s=negative_ttl_s),
    )


def described(status: int, headers: Headers, *, born: float, freshness: Freshness) -> Head:
    """A head with what is looked up often taken out of its field lines."""
    length = _first(headers, "content-length")
    return Head(
        status=status,
        headers=tuple((name, value) for name, value in headers if name not in ("content-length", "age")),
        length=directives.delta_seconds(length) if length is not None else None,
        born=born,
        freshness=freshness,
        etag=_first(headers, "etag"),
        last_modified=_first(headers, "last-modified"),
    )


def freshened(stored: Headers, received: Headers) -> Headers:
    """The stored field lines after a 304: replaced by those it brought (RFC 9111, 3.2 and 4.3.4).

    Fields that describe the stored bytes themselves stay: a 304 must not change them, and some servers send them wrong.
    """
    update = tuple((name, value) for name, value in received if name not in _OF_THE_BYTES)
    replaced = {name for name, _ in update}
    return tuple((name, value) for name, value in stored if name not in replaced and name != "age") + update


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_CLOCK = r"(?P<H>[0-9]{2}):(?P<M>[0-9]{2}):(?P<S>[0-9]{2})"
_DATES = tuple(
    re.compile(form)
    for form in (
        rf"[A-Z][a-z]{{2}}, (?P<d>[0-9]{{2}}) (?P<b>[A-Z][a-z]{{2}}) (?P<y>[0-9]{{4}}) {_CLOCK} GMT",
        rf"[A-Z][a-z]{{5,8}}, (?P<d>[0-9]{{2}})-(?P<b>[A-Z][a-z]{{2}})-(?P<y>[0-9]{{2}}) {_CLOCK} GMT",
        rf"[A-Z][a-z]{{2}} (?P<b>[A-Z][a-z]{{2}}) (?P<d>[ 0-9][0-9]) {_CLOCK} (?P<y>[0-9]{{4}})",
    )
)


def http_date(text: str | None) -> float | None:
    """An HTTP date in any of its three forms (RFC 9110, 5.6.7) as seconds since the epoch; None when it is none."""
    match = next(filter(None, (form.fullmatch((text or "").strip()) for form in _DATES)), None)
    if match is None or match["b"] not in _MONTHS:
        return None
    year = int(match["y"])
    if len(match["y"]) == 2:
        year += 1900 if year >= 70 else 2000
    try:
        month = _MONTHS.index(match["b"]) + 1
        minute = datetime(year, month, int(match["d"]), int(match["H"]), int(match["M"]), tzinfo=UTC)
    except ValueError:
        return None
    return minute.timestamp() + int(match["S"]) if int(match["S"]) <= 60 else None


_OF_THE_BYTES = frozenset({"content-length", "content-encoding", "content-type", "content-range", "repr-digest"})


def _explicit_lifetime(said: directives.Directives, headers: Headers, wall: float) -> float | None:
    """s-maxage, else max-age, else Expires - Date (4.2.1); an Expires that is no date lies in the past (5.3)."""
    if said.s_maxage_s is not None:
        return float(said.s_maxage_s)
    if said.max_age_s is not None:
        return float(said.max_age_s)
    expires = _lines(headers, "expires")
    if not expires:
        return None
    end, start = http_date(expires[0]), http_date(_first(headers, "date"))
    if end is None or len(set(expires)) > 1:
        return 0.0
    return max(0.0, end - (start if start is not None else wall))


def _implied_lifetime(status: int, headers: Headers, wall: float, negative_ttl_s: float) -> float | None:
    """The lifetime of a response that brings none: short for a missing object, heuristic otherwise, None: unknown."""
    if status in (404, 410) and negative_ttl_s > 0:
        return negative_ttl_s
    modified = http_date(_first(headers, "last-modified"))
    if status not in _HEURISTIC_STATUSES or modified is None:
        return 0.0 if _has_validator(headers) else None
    return min(max(0.0, wall - modified) * HEURISTIC_FRACTION, HEURISTIC_LIMIT_S)


def _has_validator(headers: Headers) -> bool:
    return any(name in ("etag", "last-modified") for name, _ in headers)


def _varies(headers: Headers) -> bool:
    """Whether other requests may get other bytes. We always ask for the identity encoding: that one is no reason."""
    named = {token.strip().lower() for line in _lines(headers, "vary") for token in line.split(",")}
    return bool(named - {"", "accept-encoding"})


def _lines(headers: Headers, name: str) -> list[str]:
    return [value for known, value in headers if known == name]


def _first(headers: Iterable[tuple[str, str]], name: str) -> str | None:
    return next((value for known, value in headers if known == name), None)

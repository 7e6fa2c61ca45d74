"""How long a stored response may be used, and what to do with it now (RFC 9111, section 4; RFC 5861; RFC 9213).

Pure functions. Two kinds of time come in as values: instants of the monotonic clock (`now`, `born`), which lifetimes
are measured with, and the wall clock's seconds since the epoch (`wall`), which only HTTP dates are compared with.

The way of a response: its head is judged once, when it arrives (`head_of`): which field rules it (`targeted`), whether
it may be stored (`storing`), for how long it is fresh and what is allowed after that. What comes out, a `Freshness`, is
all that `decide` looks at for each request, so that a hit compares two numbers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

from edge.cache import storing, tags, targeted, vary
from edge.cache.dates import http_date, written
from edge.cache.directives import NO_DIRECTIVES, Directives, RequestDirectives, delta_seconds
from edge.cache.fields import OWS, Lines, first, gathered
from edge.cache.model import Freshness, Head
from edge.cache.storing import Received, RequestFacts
from edge.cache.validators import confirms, describes, entity_tag, sent
from origin.reader import Headers

__all__ = [
    "RequestFacts",
    "Rules",
    "Verdict",
    "decide",
    "described",
    "for_all_who_wait",
    "freshened",
    "head_of",
    "made_stale",
    "remaining_s",
    "updated_by_head",
    "usable_on_error",
    "validated",
]

_NO_USE = "no use without asking, and no validator to ask with"
_GONE = frozenset({404, 410})
# Never in a head's fields: what is kept as a member and the reply says anew.
_MEMBERS = frozenset({"age", "content-length"})
# Nor in a stored one's: what is between one proxy and its client (3.1).
_NOT_STORED = _MEMBERS | {"proxy-authenticate", "proxy-authentication-info", "proxy-authorization"}
# A 304 or HEAD does not replace what describes the stored bytes: Content-Length by 3.2, the others for their integrity
# (some servers send those of the empty 304). Age and Date are those of the newer response, whether it has them or not.
_OF_THE_BYTES = frozenset(
    {"content-length", "content-encoding", "content-range", "content-digest", "content-md5", "repr-digest"}
)
_OF_THE_MESSAGE = frozenset({"age", "date"})


class Verdict(Enum):
    """What to do with a request for which something is stored."""

    HIT = "serve it"
    STALE_HIT = "serve it, and revalidate in the background"
    REVALIDATE = "ask the origin whether it is still good"


@dataclass(frozen=True, slots=True)
class Rules:
    """What a site adds to what its responses say.

    negative_ttl_s: lifetime of a 404 or 410 that brings none. targeted: names of the fields that rule before
    Cache-Control (RFC 9213), the most specific first. heuristic_fraction, heuristic_limit_s: of the time since
    Last-Modified, how much a response without lifetime counts as fresh (4.2.2), and at most how long. default_ttl_s:
    lifetime of one that has not even a Last-Modified. stale_while_revalidate_s, stale_if_error_s: the grace of
    responses that say nothing about it; none that forbids serving it stale gets any.
    """

    negative_ttl_s: float = 0.0
    targeted: tuple[str, ...] = ("cdn-cache-control",)
    heuristic_fraction: float = 0.1
    heuristic_limit_s: float = 3600.0
    default_ttl_s: float = 0.0
    stale_while_revalidate_s: float = 0.0
    stale_if_error_s: float = 0.0


_LENGTH = re.compile(r"[0-9]{1,18}")
NO_RULES = Rules()
A_GET = RequestFacts()


# -- a request -----------------------------------------------------------------------------------------------------


def decide(head: Head, now: float, request: RequestDirectives = NO_DIRECTIVES) -> Verdict:
    """What to do at `now` with a request for which this is stored: HIT, STALE_HIT or REVALIDATE."""
    kept = head.freshness
    overdue = now - head.born - kept.lifetime_s
    if kept.validate_always:
        return Verdict.REVALIDATE
    if request is not NO_DIRECTIVES:
        return _decide_for(request, kept, now - head.born, overdue)
    if overdue < 0:
        return Verdict.HIT
    return Verdict.STALE_HIT if overdue < kept.stale_while_revalidate_s else Verdict.REVALIDATE


def _decide_for(request: RequestDirectives, kept: Freshness, age: float, overdue: float) -> Verdict:
    """The same for a request with directives of its own (5.2.1)."""
    if request.no_cache or (request.max_age_s is not None and age > request.max_age_s):
        return Verdict.REVALIDATE
    if overdue < 0 and overdue + (request.min_fresh_s or 0) <= 0:
        return Verdict.HIT
    if request.min_fresh_s is not None:
        return Verdict.REVALIDATE
    if request.max_stale_s is not None:
        bearable = not kept.must_revalidate and overdue <= request.max_stale_s
    else:
        # With max-age alone, the client takes nothing stale (5.2.1.1), whatever the origin allows.
        bearable = request.max_age_s is None and overdue < kept.stale_while_revalidate_s
    return Verdict.STALE_HIT if bearable else Verdict.REVALIDATE


def usable_on_error(head: Head, now: float, request: RequestDirectives = NO_DIRECTIVES) -> bool:
    """Whether it may be served because the origin failed (RFC 5861, section 4; RFC 9111, 4.2.4).

    stale-if-error holds whatever else is said of freshness, so also for a client that wanted it validated. Without it,
    a client gets what it would have got anyway.
    """
    kept = head.freshness
    if kept.validate_always:
        return False
    grace: float = kept.stale_if_error_s
    if request.stale_if_error_s is not None and not kept.must_revalidate:
        grace = request.stale_if_error_s
    if grace > 0 and now - head.born < kept.lifetime_s + grace:
        return True
    return decide(head, now, request) is not Verdict.REVALIDATE


def for_all_who_wait(head: Head) -> bool:
    """Whether a response that is not stored may go to everybody who waits for it at this moment.

    Nothing but its lifetime is against it: no `private`, `no-store` or `no-cache`, no credentials, no cookie.
    """
    return head.freshness.reason in (storing.NO_LIFETIME, _NO_USE) and not head.freshness.validate_always


def remaining_s(head: Head, now: float) -> float:
    """Seconds until it is good for nothing but revalidation; negative when it is past that."""
    return head.freshness.useful_s - head.age_s(now)


# -- a response ----------------------------------------------------------------------------------------------------


def head_of(
    status: int,
    headers: Headers,
    *,
    now: float,
    wall: float,
    response_delay_s: float = 0.0,
    rules: Rules = NO_RULES,
    request: RequestFacts = A_GET,
) -> Head:
    """The head of a response received at `now` (monotonic) and `wall`, asked for `response_delay_s` earlier."""
    lines = gathered(headers)
    date = http_date(first(lines, "date"), wall=wall)
    if date is None:
        # Absent, or no date: it counts as sent when it was received (RFC 9110, 6.6.1).
        date = wall
        headers = (*(line for line in headers if line[0] != "date"), ("date", written(wall)))
    age = _initial_age(lines, date=date, wall=wall, response_delay_s=response_delay_s)
    freshness = _judged(_Arrival(status, headers, lines, date, wall), rules, request)
    return described(status, headers, born=now - age, freshness=freshness)


def described(status: int, headers: Headers, *, born: float, freshness: Freshness) -> Head:
    """A head with what is looked up often taken out of its field lines. Raises ValueError: too many tags."""
    lines = gathered(headers)
    left_out = _NOT_STORED if freshness.storable else _MEMBERS
    return Head(
        status=status,
        headers=tuple([line for line in headers if line[0] not in left_out]),
        length=_length(first(lines, "content-length")),
        born=born,
        freshness=freshness,
        etag=entity_tag(first(lines, "etag")),
        last_modified=first(lines, "last-modified"),
        vary=vary.names(headers),
        tags=tags.of(headers) if freshness.storable else (),
    )


def _initial_age(lines: Lines, *, date: float, wall: float, response_delay_s: float) -> float:
    """corrected_initial_age of 4.2.3, in seconds; date: when the response was sent, wall: when it was received."""
    # The first member of the first line counts; what is no number is as good as absent (5.1).
    stated = delta_seconds((first(lines, "age") or "").split(",")[0].strip(OWS)) or 0
    return max(0.0, wall - date, stated + response_delay_s)


@dataclass(frozen=True, slots=True)
class _Arrival:
    """A response just received; date: when it was sent, wall: when it was received."""

    status: int
    headers: Headers
    lines: Lines
    date: float
    wall: float


def _judged(got: _Arrival, rules: Rules, request: RequestFacts) -> Freshness:
    said, is_targeted = targeted.directives(got.lines, rules.targeted)
    own = _own_lifetime(said, () if is_targeted else got.lines.get("expires", ()), got)
    received = Received(
        got.status,
        said,
        lifetime_s=own,
        cookies="set-cookie" in got.lines,
        vary=vary.names(got.headers),
        tags_fit=tags.fit(got.headers),
    )
    reason = storing.refusal(received, request)
    if reason:
        return _unstored(said, reason)
    freshness = _allowed(said, own if own is not None else _implied_lifetime(got, rules), rules)
    if (freshness.useful_s == 0 or freshness.validate_always) and not _has_validator(got.lines):
        return _unstored(said, _NO_USE)
    return freshness


def _unstored(said: Directives, reason: str) -> Freshness:
    return Freshness(storable=False, lifetime_s=0.0, validate_always=said.no_cache, reason=reason)


def _allowed(said: Directives, lifetime_s: float, rules: Rules) -> Freshness:
    """What may be done with a response that is stored. s-maxage means proxy-revalidate to shared caches (5.2.2.10)."""
    if said.no_cache:
        return Freshness(storable=True, lifetime_s=lifetime_s, must_revalidate=True, validate_always=True)
    if said.must_revalidate or said.proxy_revalidate or said.s_maxage_s is not None:
        return Freshness(storable=True, lifetime_s=lifetime_s, must_revalidate=True)
    return Freshness(
        storable=True,
        lifetime_s=lifetime_s,
        stale_while_revalidate_s=_given(said.stale_while_revalidate_s, rules.stale_while_revalidate_s),
        stale_if_error_s=_given(said.stale_if_error_s, rules.stale_if_error_s),
    )


def _given(said_s: int | None, otherwise_s: float) -> float:
    return otherwise_s if said_s is None else float(said_s)


def _own_lifetime(said: Directives, expires: Sequence[str], got: _Arrival) -> float | None:
    """s-maxage, else max-age, else Expires - Date (4.2.1); an Expires that is no date lies in the past (5.3)."""
    if said.s_maxage_s is not None:
        return float(said.s_maxage_s)
    if said.max_age_s is not None:
        return float(said.max_age_s)
    if not expires:
        return None
    end = http_date(expires[0], wall=got.wall)
    return max(0.0, end - got.date) if end is not None else 0.0


def _implied_lifetime(got: _Arrival, rules: Rules) -> float:
    """The lifetime of a response that brings none: short for what does not exist, else a guess (4.2.2)."""
    if got.status in _GONE and rules.negative_ttl_s > 0:
        return rules.negative_ttl_s
    modified = http_date(first(got.lines, "last-modified"), wall=got.wall)
    if modified is None:
        return rules.default_ttl_s
    return min(max(0.0, got.date - modified) * rules.heuristic_fraction, rules.heuristic_limit_s)


def _has_validator(lines: Lines) -> bool:
    return entity_tag(first(lines, "etag")) is not None or "last-modified" in lines


def _length(field: str | None) -> int | None:
    return int(field) if field is not None and _LENGTH.fullmatch(field) else None


# -- a stored response, changed ------------------------------------------------------------------------------------


def freshened(stored: Headers, received: Headers) -> Headers:
    """The stored field lines, replaced by those that a 304 or the answer to a HEAD brought (3.2)."""
    update = tuple(line for line in received if line[0] not in _OF_THE_BYTES)
    replaced = {name for name, _ in update} | _OF_THE_MESSAGE
    return tuple(line for line in stored if line[0] not in replaced) + update


def validated(stored: Head, received: Head, *, rules: Rules = NO_RULES, request: RequestFacts = A_GET) -> Head | None:
    """The stored head after a 304, whose own head is `received` (4.3.4); None when that is about another response."""
    return _merged(stored, received, rules, request) if confirms(received, stored) else None


def updated_by_head(
    stored: Head, received: Head, *, rules: Rules = NO_RULES, request: RequestFacts = A_GET
) -> Head | None:
    """The stored head after the answer to a HEAD (4.3.5); None when that shows it to be outdated, or not to be kept.

    Only a 200 says something about a stored 200; after any other answer it is as it was. request: as for a GET, since
    what is stored is the response to one.
    """
    if received.status != 200 or stored.status != 200:
        return stored
    merged = _merged(stored, received, rules, request) if describes(received, stored) else None
    return merged if merged is not None and merged.freshness.storable else None


def _merged(stored: Head, received: Head, rules: Rules, request: RequestFacts) -> Head:
    """The stored head with the fields, and as young as, the one received."""
    headers = freshened(stored.headers, received.headers)
    date = sent(received) or 0.0  # `head_of` sees to it that there is one
    freshness = _judged(_Arrival(stored.status, headers, gathered(headers), date, date), rules, request)
    return replace(described(stored.status, headers, born=received.born, freshness=freshness), length=stored.length)


def made_stale(head: Head, now: float) -> Head:
    """After a soft purge: its lifetime ends now, and its grace begins."""
    kept = head.freshness
    return replace(head, freshness=replace(kept, lifetime_s=min(kept.lifetime_s, head.age_s(now))))

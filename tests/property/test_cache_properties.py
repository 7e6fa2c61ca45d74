"""The verdicts of the cache against the RFCs' own formulas, written down here once more and otherwise."""

from __future__ import annotations

import itertools
import math
from email.utils import formatdate

from hypothesis import assume, given
from hypothesis import strategies as st

from edge.cache.conditional import shape
from edge.cache.directives import NO_DIRECTIVES, RequestDirectives
from edge.cache.freshness import (
    RequestFacts,
    Rules,
    Verdict,
    decide,
    freshened,
    head_of,
    made_stale,
    updated_by_head,
    usable_on_error,
    validated,
)
from edge.cache.model import Conditions, Head
from edge.cache.ranges import Part, Unsatisfiable, parse_content_range, select
from origin.reader import Headers

WALL = 1_800_000_000
SECONDS = st.integers(0, 10**9)
OFFSETS = st.integers(0, 10**6)
BODIES = st.binary(max_size=200)
ETAG = ("etag", '"e"')
RANK = {Verdict.HIT: 0, Verdict.STALE_HIT: 1, Verdict.REVALIDATE: 2}

DELTAS = st.none() | st.integers(0, 2000)
REQUESTS = st.builds(
    RequestDirectives,
    max_age_s=DELTAS,
    min_fresh_s=DELTAS,
    max_stale_s=DELTAS | st.just(math.inf),
    stale_if_error_s=DELTAS,
    no_cache=st.booleans(),
    no_store=st.booleans(),
    only_if_cached=st.booleans(),
)
CONTROLS = st.lists(
    st.one_of(
        st.sampled_from(["must-revalidate", "proxy-revalidate", "no-cache", "public", "immutable"]),
        st.tuples(
            st.sampled_from(["max-age", "s-maxage", "stale-while-revalidate", "stale-if-error"]), st.integers(0, 2000)
        ).map(lambda pair: f"{pair[0]}={pair[1]}"),
    ),
    max_size=6,
).map(", ".join)
TIMES = st.floats(0, 10_000)


def date(offset: float) -> str:
    return formatdate(WALL + offset, usegmt=True)


def stored(control: str, *more: tuple[str, str]) -> Head:
    return head_of(200, (("cache-control", control), ETAG, *more), now=0.0, wall=WALL)


# -- RFC 9110, 14: ranges ------------------------------------------------------------------------------------------


@given(OFFSETS, OFFSETS, OFFSETS)
def test_a_bounded_range_is_what_slicing_gives(first: int, last: int, total: int) -> None:
    try:
        part = select(f"bytes={first}-{last}", total)
    except Unsatisfiable:
        assert first >= total
        return
    if part is None:
        assert last < first
    else:
        assert range(total)[first : last + 1] == range(part.first, part.last + 1)


@given(st.integers(0, 300), BODIES)
def test_a_suffix_range_is_the_end_of_the_body(length: int, body: bytes) -> None:
    try:
        part = select(f"bytes=-{length}", len(body))
    except Unsatisfiable:
        assert length == 0
        return
    assert (part is None) == (not body)
    assert part is None or body[part.first : part.last + 1] == body[-length:]


@given(st.binary(min_size=1, max_size=300), st.lists(st.integers(1, 299), max_size=8))
def test_parts_reassemble_to_the_body(body: bytes, cuts: list[int]) -> None:
    edges = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    again = b""
    for first, end in itertools.pairwise(edges):
        part = select(f"bytes={first}-{end - 1}", len(body))
        assert part == Part(first, end - 1)
        assert parse_content_range(part.content_range(len(body))) == (part, len(body))
        again += body[part.first : part.last + 1]
    assert again == body


@given(st.text(max_size=40) | st.text("bytes=-0123456789, ", max_size=20).map("bytes=".__add__), st.integers(0, 1000))
def test_no_range_field_ever_selects_outside_the_body(field: str, total: int) -> None:
    try:
        part = select(field, total)
    except Unsatisfiable:
        return
    assert part is None or 0 <= part.first <= part.last < total


# -- RFC 9111, 4.2.1 and 4.2.2: the lifetime -----------------------------------------------------------------------


@given(DELTAS, DELTAS, st.none() | st.integers(-999, 999), st.none() | st.integers(-999, 0), st.none() | SECONDS)
def test_the_lifetime_has_the_rfcs_precedence(
    s_maxage: int | None, max_age: int | None, expires: int | None, sent: int | None, unchanged: int | None
) -> None:
    control = [f"s-maxage={s_maxage}"] * (s_maxage is not None) + [f"max-age={max_age}"] * (max_age is not None)
    fields = [("cache-control", ", ".join(control)), ETAG]
    fields += [("date", date(sent))] if sent is not None else []
    fields += [("expires", date(expires))] if expires is not None else []
    fields += [("last-modified", date(-unchanged))] if unchanged is not None else []
    if s_maxage is not None:
        expected: float = s_maxage
    elif max_age is not None:
        expected = max_age
    elif expires is not None:
        expected = max(0, expires - (sent or 0))
    elif unchanged is not None:
        expected = min(3600, max(0, (sent or 0) + unchanged) / 10)
    else:
        expected = 0
    assert math.isclose(head_of(200, tuple(fields), now=0, wall=WALL).freshness.lifetime_s, expected)


# -- RFC 9111, 4.2.3: the age --------------------------------------------------------------------------------------


@given(st.none() | st.integers(0, 10**6), st.integers(-(10**6), 10**6), st.floats(0, 1000), st.floats(0, 10**6))
def test_the_age_is_the_rfcs_formula(said: int | None, apart: int, response_delay: float, resident: float) -> None:
    response_time, now = WALL, 1000.0
    date_value, age_value = response_time - apart, said or 0
    apparent_age = max(0, response_time - date_value)
    corrected_age_value = age_value + response_delay
    corrected_initial_age = max(apparent_age, corrected_age_value)
    fields = [("date", date(-apart))] + ([("age", str(said))] if said is not None else [])
    head = head_of(200, tuple(fields), now=now, wall=response_time, response_delay_s=response_delay)
    assert math.isclose(head.age_s(now + resident), corrected_initial_age + resident, abs_tol=1e-6)


# -- RFC 9111, 3: what may be stored -------------------------------------------------------------------------------

FLAGS = ("no-store", "private", "public", "must-understand", "must-revalidate", "s-maxage=9", "max-age=9")
HEURISTICALLY_CACHEABLE = {200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 451, 501}
OF_THE_REQUEST = {206, 304, 412, 416, 417, 428, 429, 431, 511}  # not the RFC's section 3 but their own definitions
UNREGISTERED = {299, 418, 499, 599}


@given(
    st.sampled_from(sorted({200, 204, 302, 404, 500, *HEURISTICALLY_CACHEABLE, *OF_THE_REQUEST, *UNREGISTERED})),
    st.sets(st.sampled_from(FLAGS)),
    st.sampled_from(["GET", "HEAD", "POST"]),
    st.booleans(),
    st.booleans(),
)
def test_what_is_stored_is_what_the_rfc_lists(
    status: int, said: set[str], method: str, authorized: bool, expires: bool
) -> None:
    fields: Headers = (("cache-control", ", ".join(sorted(said))), ETAG)
    fields += (("expires", date(60)),) if expires else ()
    understood = status not in UNREGISTERED
    may = (
        method == "GET"
        and 200 <= status < 600
        and status not in OF_THE_REQUEST
        and (understood or "must-understand" not in said)
        and ("no-store" not in said or ("must-understand" in said and understood))
        and "private" not in said
        and (not authorized or bool(said & {"must-revalidate", "public", "s-maxage=9"}))
        and (bool(said & {"public", "s-maxage=9", "max-age=9"}) or expires or status in HEURISTICALLY_CACHEABLE)
    )
    head = head_of(status, fields, now=0, wall=WALL, request=RequestFacts(method=method, authorized=authorized))
    assert head.freshness.storable == may


# -- RFC 9111, 4.2.4 and 5.2.1; RFC 5861: what may be used ---------------------------------------------------------


@given(SECONDS, SECONDS, SECONDS, SECONDS, st.floats(0, 4e9))
def test_the_verdict_is_the_rfcs_comparison(life: int, swr: int, sie: int, age: int, later: float) -> None:
    head = stored(f"max-age={life}, stale-while-revalidate={swr}, stale-if-error={sie}", ("age", str(age)))
    current_age = age + later
    assume(all(abs(current_age - edge) > 1e-3 for edge in (life, life + swr, life + sie)))  # floats round
    verdict = decide(head, later)
    assert (verdict is Verdict.HIT) == (life > current_age)
    assert (verdict is Verdict.STALE_HIT) == (life <= current_age < life + swr)
    assert usable_on_error(head, later) == (current_age < life + max(swr, sie))


@given(CONTROLS, REQUESTS, TIMES)
def test_a_request_is_served_what_its_directives_and_the_response_allow(
    control: str, request: RequestDirectives, now: float
) -> None:
    head = stored(control)
    age, life = now, head.freshness.lifetime_s
    staleness = age - life
    never_stale = any(word in control for word in ("must-revalidate", "proxy-revalidate", "s-maxage", "no-cache"))
    too_old = request.max_age_s is not None and age > request.max_age_s
    if "no-cache" in control or request.no_cache or too_old:
        served = False
    elif request.min_fresh_s is not None:
        served = life > age and life >= age + request.min_fresh_s
    elif life > age:
        served = True
    elif never_stale:
        served = False
    elif request.max_stale_s is not None:
        served = staleness <= request.max_stale_s
    else:
        served = request.max_age_s is None and staleness < head.freshness.stale_while_revalidate_s
    assert (decide(head, now, request) is not Verdict.REVALIDATE) == served
    assert (decide(head, now, request) is Verdict.HIT) == (served and life > age)


@given(CONTROLS, REQUESTS | st.just(NO_DIRECTIVES), TIMES, TIMES)
def test_what_is_stored_never_gets_better_with_time(
    control: str, request: RequestDirectives, one: float, other: float
) -> None:
    head, (earlier, later) = stored(control), sorted((one, other))
    assert RANK[decide(head, earlier, request)] <= RANK[decide(head, later, request)]
    assert usable_on_error(head, earlier, request) >= usable_on_error(head, later, request)


@given(CONTROLS, REQUESTS, TIMES)
def test_only_max_stale_gets_a_request_more_than_others(control: str, request: RequestDirectives, now: float) -> None:
    head = stored(control)
    assume(request.max_stale_s is None)
    assert RANK[decide(head, now, request)] >= RANK[decide(head, now)]


@given(CONTROLS, REQUESTS, TIMES)
def test_what_serves_a_request_serves_it_all_the_more_when_the_origin_fails(
    control: str, request: RequestDirectives, now: float
) -> None:
    head = stored(control)
    if decide(head, now, request) is not Verdict.REVALIDATE:
        assert usable_on_error(head, now, request)


@given(CONTROLS, TIMES, TIMES)
def test_a_soft_purge_leaves_nothing_fresh_and_gives_nothing(control: str, purged: float, later: float) -> None:
    head = stored(control)
    after = made_stale(head, purged)
    assert decide(after, purged) is not Verdict.HIT
    assert RANK[decide(after, later)] >= RANK[decide(head, later)]
    assert made_stale(after, max(purged, later)) == after


# -- RFC 9111, 3.2 and 4.3: freshening -----------------------------------------------------------------------------

LINES = st.lists(st.tuples(st.sampled_from("abc"), st.text("xyz", max_size=3)), max_size=6).map(tuple)


@given(LINES, LINES)
def test_freshening_keeps_every_field_once_from_its_newest_source(before: Headers, update: Headers) -> None:
    merged = freshened(before, update)
    for name in "abc":
        source = update if any(known == name for known, _ in update) else before
        assert [value for known, value in merged if known == name] == [
            value for known, value in source if known == name
        ]


@given(LINES, LINES)
def test_freshening_twice_is_freshening_once(before: Headers, update: Headers) -> None:
    once = freshened(before, update)
    assert freshened(once, update) == once


@given(CONTROLS, CONTROLS, LINES, st.integers(0, 1000), TIMES)
def test_a_304_makes_what_the_200_would_have_made(
    before: str, now_said: str, fields: Headers, age: int, now: float
) -> None:
    old = stored(before, ("content-length", "10"))
    answer: Headers = (("cache-control", now_said), ETAG, ("age", str(age)), ("date", date(0)), *fields)
    fresh = validated(old, head_of(304, answer, now=now, wall=WALL, response_delay_s=1))
    again = head_of(200, (*answer, ("content-length", "10")), now=now, wall=WALL, response_delay_s=1)
    assert fresh is not None
    assert (fresh.freshness, fresh.born, fresh.length) == (again.freshness, again.born, again.length)
    assert sorted(fresh.headers) == sorted(again.headers)
    updated = updated_by_head(old, head_of(200, answer, now=now, wall=WALL, response_delay_s=1))
    assert updated == (fresh if fresh.freshness.storable else None)


# -- nothing that anybody sends makes judging fail -----------------------------------------------------------------

TEXTS = st.text(st.characters(exclude_categories=()), max_size=40)  # lone surrogates, too: bytes that are no text
NAMES = st.sampled_from(
    [
        "age",
        "cache-control",
        "cache-groups",
        "cdn-cache-control",
        "content-length",
        "date",
        "etag",
        "expires",
        "last-modified",
        "set-cookie",
        "surrogate-key",
        "vary",
    ]
)
ANY_HEADERS = st.lists(st.tuples(NAMES, TEXTS), max_size=8).map(tuple)


@given(st.integers(100, 999), ANY_HEADERS, REQUESTS, TIMES)
def test_no_response_makes_judging_fail(status: int, fields: Headers, request: RequestDirectives, now: float) -> None:
    head = head_of(status, fields, now=0.0, wall=WALL, rules=Rules(negative_ttl_s=2, default_ttl_s=3))
    kept = head.freshness
    assert kept.storable == (not kept.reason)
    assert 0 <= kept.lifetime_s <= kept.useful_s < math.inf
    assert head.age_s(now) >= 0
    assert decide(head, now, request) in RANK
    assert head.field("date") is not None


@given(TEXTS, TEXTS, TEXTS, TEXTS)
def test_no_condition_makes_judging_fail(match: str, since: str, within: str, modified: str) -> None:
    head = head_of(200, (ETAG, ("content-length", "9"), ("last-modified", modified)), now=0.0, wall=WALL)
    verdict = shape(head, Conditions(match, match, since, since, within, since))
    assert verdict.status in (200, 206, 304, 412, 416)

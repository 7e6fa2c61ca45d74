"""Freshness, age and what follows from them (RFC 9111, 4.2 and 5.2; RFC 5861)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge.cache.dates import written
from edge.cache.directives import NO_DIRECTIVES, RequestDirectives, parse_request
from edge.cache.freshness import (
    Rules,
    Verdict,
    decide,
    head_of,
    made_stale,
    remaining_s,
    usable_on_error,
)
from edge.cache.model import Freshness, Head
from origin.reader import Headers

WALL = 1_800_000_000.0
HIT, STALE_HIT, REVALIDATE = Verdict.HIT, Verdict.STALE_HIT, Verdict.REVALIDATE


def assess(headers: Headers, *, status: int = 200, rules: Rules | None = None) -> Freshness:
    return head_of(status, headers, now=0, wall=WALL, rules=rules or Rules()).freshness


def control(value: str, *more: tuple[str, str]) -> Headers:
    return (("cache-control", value), ("etag", '"e"'), *more)


def stored(value: str, *more: tuple[str, str], now: float = 0.0) -> Head:
    return head_of(200, control(value, *more), now=now, wall=WALL)


# -- 4.2.1, 4.2.2: the lifetime ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "lifetime"),
    [
        ((("cache-control", "max-age=60"),), 60),
        ((("cache-control", "max-age=60, s-maxage=5"),), 5),
        ((("cache-control", "s-maxage=5"), ("cache-control", "max-age=60")), 5),
        ((("cache-control", "s-maxage=x, max-age=60"),), 0),
        ((("cache-control", "max-age=60"), ("expires", written(WALL + 5))), 60),
        ((("cache-control", "max-age=x"), ("expires", written(WALL + 5))), 0),
        ((("cache-control", "public"), ("expires", written(WALL + 5))), 5),
        ((("expires", written(WALL + 120)), ("date", written(WALL + 20))), 100),
        ((("expires", written(WALL + 120)),), 120),
        ((("expires", written(WALL + 120)), ("date", "yesterday")), 120),
        ((("expires", written(WALL - 120)),), 0),
        ((("expires", written(WALL)),), 0),
        ((("expires", "0"),), 0),
        ((("expires", "-1"),), 0),
        ((("expires", ""),), 0),
        ((("expires", f"{written(WALL + 5)}, {written(WALL + 9)}"),), 0),
        ((("expires", written(WALL + 5)), ("expires", written(WALL + 9))), 5),
        ((("expires", "Friday, 15-Jan-27 09:00:00 GMT"), ("date", written(WALL))), 3600),
        ((("expires", "Fri Jan 15 09:00:00 2027"), ("date", written(WALL))), 3600),
        ((("expires", "Fri, 15 Jan 2027 09:00:00 AEST"), ("date", written(WALL))), 0),
        ((("last-modified", written(WALL - 1000)),), 100),
        ((("last-modified", written(WALL - 1000)), ("date", written(WALL - 500))), 50),
        ((("last-modified", written(WALL - 1000)), ("cache-control", "public")), 100),
        ((("last-modified", written(WALL - 1000)), ("cache-control", "max-age=0")), 0),
        ((("last-modified", written(WALL - 1000)), ("expires", "0")), 0),
        ((("last-modified", written(WALL - 10**8)),), 3600),
        ((("last-modified", written(WALL + 1000)),), 0),
        ((("last-modified", "long ago"),), 0),
        ((("etag", '"e"'),), 0),
    ],
)
def test_lifetime_is_s_maxage_then_max_age_then_expires_then_a_guess(headers: Headers, lifetime: float) -> None:
    freshness = assess((*headers, ("etag", '"e"')))
    assert (freshness.storable, freshness.lifetime_s) == (True, lifetime)


@pytest.mark.parametrize("status", [302, 303, 307, 403, 500, 503])
def test_a_guess_is_made_only_where_the_status_or_public_allows_it(status: int) -> None:
    modified = ("last-modified", written(WALL - 1000))
    assert not assess((modified,), status=status).storable
    assert assess((modified, ("cache-control", "public")), status=status).lifetime_s == 100


def test_a_site_may_set_how_it_guesses() -> None:
    rules = Rules(heuristic_fraction=0.5, heuristic_limit_s=300, default_ttl_s=7)
    assert assess((("last-modified", written(WALL - 100)),), rules=rules).lifetime_s == 50
    assert assess((("last-modified", written(WALL - 10**6)),), rules=rules).lifetime_s == 300
    assert assess((), rules=rules).lifetime_s == 7
    assert assess((), status=302, rules=rules).storable is False


@pytest.mark.parametrize("status", [404, 410])
def test_what_does_not_exist_is_remembered_briefly_unless_it_says_otherwise(status: int) -> None:
    rules = Rules(negative_ttl_s=2, default_ttl_s=500)
    assert assess((), status=status, rules=rules).lifetime_s == 2
    assert assess((("last-modified", written(WALL - 10**6)),), status=status, rules=rules).lifetime_s == 2
    assert assess(control("max-age=9"), status=status, rules=rules).lifetime_s == 9
    assert assess((("expires", "0"), ("etag", '"e"')), status=status, rules=rules).lifetime_s == 0
    assert not assess(control("no-store"), status=status, rules=rules).storable
    assert assess((), status=status).storable is False
    assert assess((("last-modified", written(WALL - 1000)),), status=status).lifetime_s == 100


# -- 4.2.3: the age ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "delay", "age"),
    [
        ((), 0, 0),
        ((), 3, 3),
        ((("date", written(WALL - 30)),), 0, 30),
        ((("date", written(WALL - 30)), ("age", "10")), 2, 30),
        ((("date", written(WALL - 30)), ("age", "10")), 25, 35),
        ((("date", written(WALL + 99)),), 0, 0),
        ((("date", "junk"), ("age", "4")), 0, 4),
        ((("date", "Friday, 15-Jan-27 07:59:00 GMT"),), 0, 60),
        ((("age", "junk"),), 0, 0),
        ((("age", ""),), 0, 0),
        ((("age", "-7"),), 0, 0),
        ((("age", "7.5"),), 0, 0),
        ((("age", "7;x"),), 0, 0),
        ((("age", "007"),), 0, 7),
        ((("age", "7, 9"),), 0, 7),
        ((("age", "7"), ("age", "9")), 0, 7),
        ((("age", "x, 9"),), 0, 0),
        ((("age", "9" * 30),), 0, 2**31),
    ],
)
def test_age_is_the_larger_of_what_date_and_age_say(headers: Headers, delay: float, age: float) -> None:
    assert head_of(200, headers, now=500.0, wall=WALL, response_delay_s=delay).age_s(500.0) == age


def test_age_counts_against_the_lifetime() -> None:
    head = stored("max-age=60", ("age", "50"), now=1000.0)
    assert decide(head, 1009) is HIT
    assert decide(head, 1010) is REVALIDATE


@pytest.mark.parametrize("date", [(), (("date", "junk"),), (("date", "0"), ("date", written(1)))])
def test_a_response_without_a_good_date_gets_the_time_of_receipt(date: Headers) -> None:
    head = head_of(200, (*control("max-age=1"), *date), now=0, wall=WALL)
    assert [value for name, value in head.headers if name == "date"] == [written(WALL)]


def test_the_length_is_a_number_of_any_size() -> None:
    assert head_of(200, (("content-length", "5000000000"),), now=0, wall=WALL).length == 5_000_000_000
    assert head_of(200, (("content-length", "junk"),), now=0, wall=WALL).length is None
    assert head_of(200, (), now=0, wall=WALL).length is None


# -- 4.2.4, 5.2.2: stale -------------------------------------------------------------------------------------------


def test_verdicts_follow_the_age() -> None:
    head = stored("max-age=60, stale-while-revalidate=30, stale-if-error=300")
    assert [decide(head, now) for now in (0, 59.9, 60, 89.9, 90, 1e9)] == [
        HIT,
        HIT,
        STALE_HIT,
        STALE_HIT,
        REVALIDATE,
        REVALIDATE,
    ]
    assert [usable_on_error(head, now) for now in (0, 60, 359.9, 360)] == [True, True, True, False]
    assert remaining_s(head, 60) == 300


@pytest.mark.parametrize("forbidding", ["must-revalidate", "proxy-revalidate", "s-maxage=60"])
def test_directives_that_forbid_stale_forbid_every_grace(forbidding: str) -> None:
    head = head_of(
        200,
        control(f"max-age=60, stale-while-revalidate=30, stale-if-error=300, {forbidding}"),
        now=0,
        wall=WALL,
        rules=Rules(stale_while_revalidate_s=30, stale_if_error_s=300),
    )
    assert decide(head, 59) is HIT
    assert decide(head, 61) is REVALIDATE
    assert decide(head, 61, RequestDirectives(max_stale_s=1000)) is REVALIDATE
    assert not usable_on_error(head, 61)
    assert not usable_on_error(head, 61, RequestDirectives(max_stale_s=1000, stale_if_error_s=1000))


@pytest.mark.parametrize("value", ["no-cache", 'no-cache="set-cookie"'])
def test_no_cache_is_validated_every_time_and_never_served_without(value: str) -> None:
    head = stored(f"{value}, max-age=60, stale-while-revalidate=30, stale-if-error=300")
    assert head.freshness.storable
    assert decide(head, 0) is REVALIDATE
    assert decide(head, 0, RequestDirectives(max_stale_s=1000)) is REVALIDATE
    assert not usable_on_error(head, 0)
    assert not usable_on_error(head, 0, RequestDirectives(stale_if_error_s=1000))


def test_a_sites_grace_is_for_responses_that_say_nothing_of_it() -> None:
    rules = Rules(stale_while_revalidate_s=5, stale_if_error_s=50)
    assert assess(control("max-age=60"), rules=rules) == Freshness(True, 60, 5, 50)
    assert assess(control("max-age=60, stale-while-revalidate=0, stale-if-error=9"), rules=rules) == Freshness(
        True, 60, 0, 9
    )
    assert assess(control("max-age=60, stale-while-revalidate=junk"), rules=rules).stale_while_revalidate_s == 0


# -- 5.2.1: what requests ask --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "verdicts"),  # at ages 0, 30, 59, 60, 89, 90, 200
    [
        ("", (HIT, HIT, HIT, STALE_HIT, STALE_HIT, REVALIDATE, REVALIDATE)),
        ("no-store", (HIT, HIT, HIT, STALE_HIT, STALE_HIT, REVALIDATE, REVALIDATE)),
        ("only-if-cached", (HIT, HIT, HIT, STALE_HIT, STALE_HIT, REVALIDATE, REVALIDATE)),
        ("no-cache", (REVALIDATE,) * 7),
        ("max-age=0", (HIT, *(REVALIDATE,) * 6)),
        ("max-age=30", (HIT, HIT, *(REVALIDATE,) * 5)),
        ("max-age=1000", (HIT, HIT, HIT, *(REVALIDATE,) * 4)),
        ("min-fresh=1", (HIT, HIT, HIT, *(REVALIDATE,) * 4)),
        ("min-fresh=30", (HIT, HIT, *(REVALIDATE,) * 5)),
        ("min-fresh=61", (REVALIDATE,) * 7),
        ("max-stale", (HIT, HIT, HIT, STALE_HIT, STALE_HIT, STALE_HIT, STALE_HIT)),
        ("max-stale=30", (HIT, HIT, HIT, STALE_HIT, STALE_HIT, STALE_HIT, REVALIDATE)),
        ("max-stale=0", (HIT, HIT, HIT, STALE_HIT, REVALIDATE, REVALIDATE, REVALIDATE)),
        ("max-age=100, max-stale", (HIT, HIT, HIT, STALE_HIT, STALE_HIT, STALE_HIT, REVALIDATE)),
        ("max-age=60, max-stale=1000", (HIT, HIT, HIT, STALE_HIT, REVALIDATE, REVALIDATE, REVALIDATE)),
        ("min-fresh=30, max-stale", (HIT, HIT, *(REVALIDATE,) * 5)),
    ],
)
def test_a_request_gets_nothing_older_than_it_asks_for(asked: str, verdicts: tuple[Verdict, ...]) -> None:
    head = stored("max-age=60, stale-while-revalidate=30")
    request = parse_request([asked])
    assert tuple(decide(head, now, request) for now in (0, 30, 59, 60, 89, 90, 200)) == verdicts


@pytest.mark.parametrize(
    ("asked", "usable"),  # at ages 30, 100, 200
    [
        (NO_DIRECTIVES, (True, True, False)),
        (RequestDirectives(no_cache=True), (True, True, False)),
        (RequestDirectives(max_age_s=0), (True, True, False)),
        (RequestDirectives(stale_if_error_s=500), (True, True, True)),
        (RequestDirectives(stale_if_error_s=10), (True, False, False)),
        (RequestDirectives(no_cache=True, stale_if_error_s=0), (False, False, False)),
        (RequestDirectives(max_stale_s=500), (True, True, True)),
    ],
)
def test_stale_if_error_holds_whatever_the_client_says_of_freshness(
    asked: RequestDirectives, usable: tuple[bool, ...]
) -> None:
    head = stored("max-age=60, stale-if-error=100")
    assert tuple(usable_on_error(head, now, asked) for now in (30, 100, 200)) == usable


def test_without_grace_a_failing_origin_changes_nothing() -> None:
    head = stored("max-age=60")
    assert usable_on_error(head, 59)
    assert not usable_on_error(head, 60)
    assert not usable_on_error(head, 0, RequestDirectives(no_cache=True))


# -- soft purge ----------------------------------------------------------------------------------------------------


def test_a_soft_purge_ends_the_lifetime_and_begins_the_grace() -> None:
    head = made_stale(stored("max-age=60, stale-while-revalidate=30, stale-if-error=300"), 10)
    assert [decide(head, now) for now in (10, 39.9, 40)] == [STALE_HIT, STALE_HIT, REVALIDATE]
    assert [usable_on_error(head, now) for now in (309.9, 310)] == [True, False]


def test_a_soft_purge_leaves_what_is_stale_already() -> None:
    head = stored("max-age=60, stale-while-revalidate=30")
    assert made_stale(head, 70) == head
    assert made_stale(replace(head, born=100.0), 50).freshness.lifetime_s == 0

"""Freshness, age and what follows from them (RFC 9111, 4.2; RFC 5861)."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from edge.cache.freshness import (
    Verdict,
    assess,
    decide,
    freshened,
    head_of,
    http_date,
    initial_age,
    remaining_s,
    usable_on_error,
)
from edge.cache.model import Entry, Pass
from origin.reader import Headers

WALL = 1_800_000_000.0


def date(wall: float) -> str:
    return formatdate(wall, usegmt=True)


def control(value: str, *more: tuple[str, str]) -> Headers:
    return (("cache-control", value), ("etag", '"e"'), *more)


def entry(value: str, *more: tuple[str, str], now: float = 0.0) -> Entry:
    return Entry(head_of(200, control(value, *more), now=now, wall=WALL), b"body")


@pytest.mark.parametrize(
    ("headers", "lifetime"),
    [
        ((("cache-control", "max-age=60"),), 60),
        ((("cache-control", "max-age=60, s-maxage=5"),), 5),
        ((("cache-control", "max-age=60"), ("expires", date(WALL + 5))), 60),
        ((("expires", date(WALL + 120)), ("date", date(WALL + 20))), 100),
        ((("expires", date(WALL + 120)),), 120),
        ((("expires", date(WALL - 120)),), 0),
        ((("expires", "0"),), 0),
        ((("expires", date(WALL + 5)), ("expires", date(WALL + 9))), 0),
        ((("last-modified", date(WALL - 1000)),), 100),
        ((("last-modified", date(WALL - 10**8)),), 3600),
        ((("last-modified", date(WALL + 1000)),), 0),
        ((("etag", '"e"'),), 0),
    ],
)
def test_lifetime_is_s_maxage_then_max_age_then_expires_then_a_guess(headers: Headers, lifetime: float) -> None:
    freshness = assess(200, headers, wall=WALL)
    assert (freshness.storable, freshness.lifetime_s) == (True, lifetime)


@pytest.mark.parametrize("value", ["no-store", "private", "max-age=60, private", 'private="x"', "no-store, public"])
def test_a_shared_cache_stores_neither_no_store_nor_private(value: str) -> None:
    assert not assess(200, control(value), wall=WALL).storable


def test_what_has_neither_lifetime_nor_validator_is_not_stored() -> None:
    assert not assess(200, (("content-type", "text/plain"),), wall=WALL).storable


def test_other_variants_may_exist_so_it_is_not_stored() -> None:
    assert not assess(200, control("max-age=60", ("vary", "Cookie")), wall=WALL).storable
    assert assess(200, control("max-age=60", ("vary", "Accept-Encoding")), wall=WALL).storable


def test_a_missing_object_is_remembered_for_the_negative_lifetime_unless_it_says_otherwise() -> None:
    assert assess(404, (), wall=WALL, negative_ttl_s=2).lifetime_s == 2
    assert assess(404, control("max-age=9"), wall=WALL, negative_ttl_s=2).lifetime_s == 9
    assert not assess(404, (), wall=WALL).storable
    assert not assess(403, control("max-age=9"), wall=WALL, negative_ttl_s=2).storable


@pytest.mark.parametrize("forbidding", ["must-revalidate", "proxy-revalidate", "s-maxage=60"])
def test_directives_that_forbid_stale_forbid_both_kinds_of_grace(forbidding: str) -> None:
    said = f"max-age=60, stale-while-revalidate=30, stale-if-error=300, {forbidding}"
    stored = entry(said)
    assert decide(stored, 61) is Verdict.REVALIDATE
    assert not usable_on_error(stored.head, 61)


def test_verdicts_follow_the_age() -> None:
    stored = entry("max-age=60, stale-while-revalidate=30, stale-if-error=300")
    assert [decide(stored, now) for now in (0, 59.9, 60, 89.9, 90, 1e9)] == [
        Verdict.HIT,
        Verdict.HIT,
        Verdict.STALE_HIT,
        Verdict.STALE_HIT,
        Verdict.REVALIDATE,
        Verdict.REVALIDATE,
    ]
    assert [usable_on_error(stored.head, now) for now in (60, 359.9, 360)] == [True, True, False]
    assert remaining_s(stored.head, 60) == 300


def test_no_cache_is_stored_and_validated_every_time() -> None:
    stored = entry("no-cache, max-age=60, stale-while-revalidate=30, stale-if-error=300")
    assert stored.head.freshness.storable
    assert decide(stored, 0) is Verdict.REVALIDATE
    assert not usable_on_error(stored.head, 0)


def test_nothing_stored_is_filled_and_a_pass_holds_until_its_time() -> None:
    assert decide(None, 0) is Verdict.FILL
    assert decide(Pass("private", until=5), 4.9) is Verdict.PASS
    assert decide(Pass("private", until=5), 5) is Verdict.FILL


def test_age_is_the_larger_of_what_the_date_and_the_age_field_say() -> None:
    headers = (("date", date(WALL - 30)), ("age", "10"))
    assert initial_age(headers, wall=WALL, response_delay_s=2) == 30
    assert initial_age(headers, wall=WALL, response_delay_s=25) == 35
    assert initial_age((("date", date(WALL + 99)),), wall=WALL, response_delay_s=0) == 0
    assert initial_age((("age", "junk"),), wall=WALL, response_delay_s=0) == 0
    assert initial_age((("age", "7, 9"),), wall=WALL, response_delay_s=0) == 7


def test_age_counts_against_the_lifetime() -> None:
    stored = entry("max-age=60", ("age", "50"), now=1000.0)
    assert decide(stored, 1009) is Verdict.HIT
    assert decide(stored, 1010) is Verdict.REVALIDATE


def test_a_response_without_a_date_gets_the_time_of_receipt() -> None:
    assert head_of(200, control("max-age=1"), now=0, wall=WALL).field("date") == date(WALL)


def test_a_304_replaces_fields_but_not_those_of_the_bytes() -> None:
    stored = (("cache-control", "max-age=1"), ("content-type", "video/mp4"), ("x-a", "1"), ("x-a", "2"))
    update = (("cache-control", "max-age=9"), ("content-type", "text/html"), ("content-length", "0"), ("x-a", "3"))
    assert freshened(stored, update) == (("content-type", "video/mp4"), ("cache-control", "max-age=9"), ("x-a", "3"))


@pytest.mark.parametrize(
    "text", ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
)
def test_all_three_date_forms_are_understood(text: str) -> None:
    assert http_date(text) == 784111777


@pytest.mark.parametrize("text", [None, "", "0", "-1", "never", "Sun, 99 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 99999"])
def test_what_is_no_date_is_none(text: str | None) -> None:
    assert http_date(text) is None

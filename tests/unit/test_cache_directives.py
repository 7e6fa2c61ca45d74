"""Cache-Control in its legal oddity (RFC 9111, 5.2), and out of it."""

from __future__ import annotations

import math

import pytest

from edge.cache.directives import (
    MAX_DELTA_S,
    NO_DIRECTIVES,
    Directives,
    RequestDirectives,
    delta_seconds,
    parse,
    parse_request,
)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["max-age=60"], Directives(max_age_s=60)),
        (["public, MAX-AGE=60, Immutable"], Directives(max_age_s=60, public=True, immutable=True)),
        (['max-age="60"'], Directives(max_age_s=60)),
        (['max-age="6\\0"'], Directives(max_age_s=60)),
        (["max-age=0060"], Directives(max_age_s=60)),
        (["\tmax-age=60 \t,\tno-transform "], Directives(max_age_s=60)),
        (["max-age=99999999999999999999999999"], Directives(max_age_s=MAX_DELTA_S)),
        (["max-age=2147483649"], Directives(max_age_s=MAX_DELTA_S)),
        (
            ["public", "s-maxage=5, stale-while-revalidate=30"],
            Directives(s_maxage_s=5, stale_while_revalidate_s=30, public=True),
        ),
        (["max-age=60, stale-if-error=86400"], Directives(max_age_s=60, stale_if_error_s=86400)),
        (
            ["must-revalidate, proxy-revalidate, must-understand, no-store"],
            Directives(must_revalidate=True, proxy_revalidate=True, must_understand=True, no_store=True),
        ),
        (['extension="max-age=100, no-store", max-age=1'], Directives(max_age_s=1)),
        (['extension="a \\" , no-store", max-age=1'], Directives(max_age_s=1)),
        ([",, ,max-age=3,,"], Directives(max_age_s=3)),
        (["no-storage, privateer, xmax-age=5"], Directives()),
        ([], Directives()),
        ([""], Directives()),
    ],
)
def test_directives_are_read_as_the_rfc_says(lines: list[str], expected: Directives) -> None:
    assert parse(lines) == expected


@pytest.mark.parametrize("value", ['private="set-cookie, x-y"', "private=x", "private"])
def test_private_with_field_names_counts_as_private(value: str) -> None:
    assert parse([value, "max-age=5"]) == Directives(private=True, max_age_s=5)


@pytest.mark.parametrize("value", ['no-cache="set-cookie"', "no-cache=x", 'no-cache=""', "no-cache"])
def test_no_cache_with_field_names_counts_as_no_cache(value: str) -> None:
    assert parse([f"{value}, max-age=5"]) == Directives(no_cache=True, max_age_s=5)


@pytest.mark.parametrize(
    "written",
    ["=", "=-1", "=1.5", "=abc", "=0x10", "=１２", "=+7", "='60'", "", " =60", "= 60", "=60 s", '="60"x', "=60;x"],
)
def test_a_lifetime_that_is_no_number_makes_the_response_stale(written: str) -> None:
    assert parse([f"max-age{written}"]).max_age_s == 0


def test_of_a_repeated_directive_the_first_counts() -> None:
    assert parse(["max-age=60", "max-age=5"]).max_age_s == 60
    assert parse(["max-age=5, max-age=60"]).max_age_s == 5
    assert parse(["max-age=nonsense, max-age=60"]).max_age_s == 0


@pytest.mark.parametrize(
    "value", ['x="abc, no-store', 'x="a\\", no-store', '"", no-store', '"no-store", no-store', "no-store;max-age=5"]
)
def test_bad_syntax_hides_no_prohibition(value: str) -> None:
    assert parse([value]).no_store


@pytest.mark.parametrize("value", ['"no-store"', "=no-store", ";no-store", "{no-store}", 'x="no-store"', "x no-store"])
def test_what_does_not_begin_a_member_is_no_directive(value: str) -> None:
    assert parse([value]) == Directives()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", 0), ("7", 7), ("", None), ("+7", None), (" 7", None), ("7_0", None), ("9" * 5000, MAX_DELTA_S)],
)
def test_delta_seconds_are_plain_digits(text: str, expected: int | None) -> None:
    assert delta_seconds(text) == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["max-age=0"], RequestDirectives(max_age_s=0)),
        (["no-cache"], RequestDirectives(no_cache=True)),
        (["No-Store, Only-If-Cached"], RequestDirectives(no_store=True, only_if_cached=True)),
        (["max-stale"], RequestDirectives(max_stale_s=math.inf)),
        (["max-stale=5", "min-fresh=7"], RequestDirectives(max_stale_s=5, min_fresh_s=7)),
        (["stale-if-error=9"], RequestDirectives(stale_if_error_s=9)),
        (["max-age=1, max-age=9"], RequestDirectives(max_age_s=1)),
    ],
)
def test_requests_say_what_they_want(lines: list[str], expected: RequestDirectives) -> None:
    assert parse_request(lines) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("max-age=x", RequestDirectives(max_age_s=0)),
        ("max-stale=x", RequestDirectives(max_stale_s=0)),
        ("max-stale=", RequestDirectives(max_stale_s=0)),
        ("min-fresh", RequestDirectives(min_fresh_s=MAX_DELTA_S)),
    ],
)
def test_a_request_with_a_bad_number_allows_nothing(value: str, expected: RequestDirectives) -> None:
    assert parse_request([value]) == expected


@pytest.mark.parametrize("lines", [[], [""], [","], ["no-transform"], ["public, s-maxage=5"]])
def test_a_request_that_asks_for_nothing_is_known_by_identity(lines: list[str]) -> None:
    assert parse_request(lines) is NO_DIRECTIVES


def test_pragma_counts_only_where_there_is_no_cache_control() -> None:
    assert parse_request([], ["x, No-Cache"]).no_cache
    assert parse_request([], ["no-cachet"]) is NO_DIRECTIVES
    assert not parse_request(["max-age=5"], ["no-cache"]).no_cache


def test_a_field_too_long_to_be_remembered_says_the_same() -> None:
    padding = f'x="{"y" * 1000}"'
    assert parse([padding, "max-age=5"]) == Directives(max_age_s=5)
    assert parse_request([padding, "max-age=5"]) == RequestDirectives(max_age_s=5)
    assert parse_request([padding]) is NO_DIRECTIVES

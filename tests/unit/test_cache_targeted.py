"""Targeted cache control (RFC 9213), and the structured fields under it (RFC 9651)."""

from __future__ import annotations

import pytest

from edge.cache.directives import Directives
from edge.cache.freshness import Rules, head_of
from edge.cache.structured import dictionary, strings
from edge.cache.targeted import directives

CDN = ("cdn-cache-control",)
OPEN = Directives(max_age_s=9)


def said(*lines: str, targets: tuple[str, ...] = CDN) -> tuple[Directives, bool]:
    return directives({"cache-control": ["max-age=9"], "cdn-cache-control": list(lines)}, targets)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("max-age=60", Directives(max_age_s=60)),
        ("max-age=60;ext=5, no-store;why=a", Directives(max_age_s=60, no_store=True)),
        ("max-age=60; no-store", Directives(max_age_s=60)),  # a parameter, and no directive
        ("none", Directives()),
        ("max-age=60, max-age=5", Directives(max_age_s=5)),  # a Dictionary's last member of a name wins
        ("no-cache, must-revalidate, private", Directives(no_cache=True, must_revalidate=True, private=True)),
        ('no-cache="a, b", private="c"', Directives(no_cache=True, private=True)),
        ("stale-while-revalidate=5, stale-if-error=6", Directives(stale_while_revalidate_s=5, stale_if_error_s=6)),
        ("s-maxage=7, must-understand", Directives(s_maxage_s=7, must_understand=True)),
    ],
)
def test_a_valid_targeted_field_rules_instead_of_cache_control(value: str, expected: Directives) -> None:
    assert said(value) == (expected, True)


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "max-age=60,",
        "Max-Age=60",
        "max-age=60 no-store",
        "max-age =60",
        "max-age=1234567890123456",
        "a=é",
        "!",
    ],
)
def test_an_empty_or_invalid_targeted_field_is_ignored(value: str) -> None:
    assert said(value) == (OPEN, False)


@pytest.mark.parametrize(
    "value", ['max-age="60"', "max-age=60.0", "max-age=-60", "max-age", "max-age=?0", "max-age=abc"]
)
def test_a_targeted_lifetime_of_another_type_is_none(value: str) -> None:
    assert said(value) == (Directives(max_age_s=0), True)


@pytest.mark.parametrize("value", ["no-store=?0", "no-store=1", "no-store=(a)", 'no-store="yes"', "no-cache=?0"])
def test_a_targeted_flag_of_another_type_is_absent(value: str) -> None:
    assert said(value) == (Directives(), True)


def test_several_lines_are_one_dictionary() -> None:
    assert said("max-age=60", "no-store") == (Directives(max_age_s=60, no_store=True), True)


def test_the_first_valid_field_of_the_target_list_rules() -> None:
    lines = {"edge-cache-control": ["max-age=,"], "cdn-cache-control": ["max-age=2"], "cache-control": ["max-age=9"]}
    assert directives(lines, ("edge-cache-control", "cdn-cache-control")) == (Directives(max_age_s=2), True)
    lines["edge-cache-control"] = ["max-age=1"]
    assert directives(lines, ("edge-cache-control", "cdn-cache-control")) == (Directives(max_age_s=1), True)
    assert directives(lines, ()) == (OPEN, False)


def test_expires_does_not_count_beside_a_targeted_field() -> None:
    fields = (
        ("cdn-cache-control", "must-revalidate"),
        ("expires", "Fri, 15 Jan 2027 09:00:00 GMT"),
        ("date", "Fri, 15 Jan 2027 08:00:00 GMT"),
        ("etag", '"e"'),
    )
    assert head_of(200, fields, now=0, wall=1.8e9).freshness.lifetime_s == 0
    assert head_of(200, fields, now=0, wall=1.8e9, rules=Rules(targeted=())).freshness.lifetime_s == 3600


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], ()),
        (['"a", "b"'], ("a", "b")),
        (['"a";x=1', '"b"'], ("a", "b")),
        (['"a \\"quoted\\", string"'], ('a "quoted", string',)),
        (['"a", token'], ()),
        (['"a", 1'], ()),
        (['("a" "b")'], ()),
        (['"a",'], ()),
        (['"ä"'], ()),
        (["a"], ()),
    ],
)
def test_a_list_of_strings_holds_strings_or_counts_for_nothing(lines: list[str], expected: tuple[str, ...]) -> None:
    assert strings(lines) == expected


def test_a_dictionary_without_members_is_like_none() -> None:
    assert dictionary([""]) == dictionary([]) == dictionary(["'"]) == {}

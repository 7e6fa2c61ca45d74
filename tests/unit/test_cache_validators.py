"""Entity tags and dates as validators (RFC 9110, 8.8)."""

from __future__ import annotations

import pytest

from edge.cache.freshness import head_of
from edge.cache.validators import entity_tag, is_strong_date, matches, same_date, same_entity
from origin.reader import Headers


@pytest.mark.parametrize("text", ['"a"', 'W/"a"', '""', '"a,b"', '"a\\"', '"ä"', '"\udcff"', '"!#~"'])
def test_an_entity_tag_is_quoted_and_perhaps_weak(text: str) -> None:
    assert entity_tag(f" {text}\t") == text


@pytest.mark.parametrize(
    "text", [None, "", "a", '"a', 'a"', '"a" ;x', '"a", "b"', 'w/"a"', 'W "a"', "W/a", '"a b"', '"a"b"', "*", '"\x00"']
)
def test_what_is_no_entity_tag_is_none(text: str | None) -> None:
    assert entity_tag(text) is None


@pytest.mark.parametrize(
    ("one", "other", "strongly", "weakly"),
    [
        ('W/"1"', 'W/"1"', False, True),
        ('W/"1"', 'W/"2"', False, False),
        ('W/"1"', '"1"', False, True),
        ('"1"', '"1"', True, True),
        ('"1"', '"A"', False, False),
        ('"a"', '"A"', False, False),
        ('"1"', None, False, False),
        (None, None, False, False),
    ],
)
def test_comparison_is_that_of_the_rfcs_table(one: str | None, other: str | None, strongly: bool, weakly: bool) -> None:
    for left, right in ((one, other), (other, one)):
        assert same_entity(left, right, strong=True) == strongly
        assert same_entity(left, right, strong=False) == weakly


@pytest.mark.parametrize(
    ("field", "matched"),
    [
        ('"e"', True),
        (' "e" ', True),
        ('"x","e"', True),
        ('"x" , "e", ', True),
        (',, "e"', True),
        ('"a,b", "e"', True),
        ('"\\", "e"', True),
        ("*", True),
        (" * ", True),
        ("", False),
        (",", False),
        ("e", False),
        ('"x"', False),
        ('"E"', False),
        ('*, "e"', False),
        ('"e" "x"', False),
        ('"x"e"y"', False),
        ('"e"; q=1', False),
        ('"e", x', False),
        ('"e', False),
    ],
)
def test_a_list_names_a_tag_or_everything_or_has_bad_syntax(field: str, matched: bool) -> None:
    assert matches(field, '"e"', strong=True) == matches(field, '"e"', strong=False) == matched


def test_a_star_matches_what_has_no_tag() -> None:
    assert matches("*", None, strong=True)
    assert not matches('"e"', None, strong=False)


def test_a_long_list_takes_no_longer_than_it_is_long() -> None:
    # Were a bad end tried again from each member, this would outlast the test's deadline.
    assert not matches('"x", ' * 200_000 + "!", '"e"', strong=False)
    assert not matches(" ,\t" * 200_000 + "!", '"e"', strong=False)


@pytest.mark.parametrize(
    ("date", "modified", "strong"),
    [
        ("Sun, 06 Nov 1994 08:49:38 GMT", "Sun, 06 Nov 1994 08:49:37 GMT", True),
        ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT", False),
        ("Sun, 06 Nov 1994 08:49:36 GMT", "Sun, 06 Nov 1994 08:49:37 GMT", False),
        ("Sun, 06 Nov 1994 08:49:38 GMT", "junk", False),
        ("Sunday, 06-Nov-94 08:49:38 GMT", "Sun Nov  6 08:49:37 1994", True),
    ],
)
def test_a_modification_date_is_strong_when_a_second_older_than_the_response(
    date: str, modified: str, strong: bool
) -> None:
    fields: Headers = (("date", date), ("last-modified", modified))
    assert is_strong_date(head_of(200, fields, now=0, wall=784111777 + 60)) == strong


def test_dates_are_the_same_when_they_mean_the_same_second() -> None:
    assert same_date("Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT")
    assert not same_date("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:38 GMT")
    assert not same_date("junk", "junk")
    assert not same_date("Sun, 06 Nov 1994 08:49:37 GMT", None)

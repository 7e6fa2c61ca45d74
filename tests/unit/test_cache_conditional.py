"""Preconditions and ranges against one stored response (RFC 9110, 13 and 14; RFC 9111, 4.3.2)."""

from __future__ import annotations

import pytest

from edge.cache.conditional import Shape, shape
from edge.cache.freshness import head_of
from edge.cache.model import Conditions, Head
from edge.cache.ranges import Part

OLD = "Sun, 06 Nov 1994 08:49:37 GMT"
OLDER = "Sun, 06 Nov 1994 08:49:36 GMT"
NEWER = "Sun, 06 Nov 1994 08:49:38 GMT"
WHOLE, NOT_MODIFIED, FAILED, OUTSIDE = Shape(200), Shape(304), Shape(412), Shape(416)
FIRST_TWO = Shape(206, Part(0, 1))


def head(
    etag: str | None = '"e"',
    modified: str | None = OLD,
    status: int = 200,
    length: int | None = 100,
    date: str = NEWER,
) -> Head:
    fields = [("date", date), ("cache-control", "max-age=60")]
    fields += [("etag", etag)] if etag else []
    fields += [("last-modified", modified)] if modified else []
    fields += [("content-length", str(length))] if length is not None else []
    return head_of(status, tuple(fields), now=0, wall=784111777)


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (Conditions(), WHOLE),
        # 13.1.2
        (Conditions(if_none_match='"e"'), NOT_MODIFIED),
        (Conditions(if_none_match='W/"e"'), NOT_MODIFIED),
        (Conditions(if_none_match='"x", "e" , "y"'), NOT_MODIFIED),
        (Conditions(if_none_match="*"), NOT_MODIFIED),
        (Conditions(if_none_match='"x"'), WHOLE),
        (Conditions(if_none_match="e"), WHOLE),
        (Conditions(if_none_match=""), WHOLE),
        # 13.1.3: not looked at beside If-None-Match, whatever that says
        (Conditions(if_none_match='"x"', if_modified_since=OLD), WHOLE),
        (Conditions(if_none_match="bad syntax", if_modified_since=OLD), WHOLE),
        (Conditions(if_none_match='"e"', if_modified_since=OLDER), NOT_MODIFIED),
        (Conditions(if_modified_since=OLD), NOT_MODIFIED),
        (Conditions(if_modified_since=NEWER), NOT_MODIFIED),
        (Conditions(if_modified_since="Sunday, 06-Nov-94 08:49:37 GMT"), NOT_MODIFIED),
        (Conditions(if_modified_since="Sun Nov  6 08:49:37 1994"), NOT_MODIFIED),
        (Conditions(if_modified_since=OLDER), WHOLE),
        (Conditions(if_modified_since="yesterday"), WHOLE),
        # 13.1.1
        (Conditions(if_match='"e"'), WHOLE),
        (Conditions(if_match='"x", "e"'), WHOLE),
        (Conditions(if_match="*"), WHOLE),
        (Conditions(if_match='"x"'), FAILED),
        (Conditions(if_match='W/"e"'), FAILED),
        (Conditions(if_match="e"), FAILED),
        (Conditions(if_match='"x"', if_none_match='"e"'), FAILED),
        # 13.1.4: not looked at beside If-Match
        (Conditions(if_match='"e"', if_unmodified_since=OLDER), WHOLE),
        (Conditions(if_unmodified_since=OLDER), FAILED),
        (Conditions(if_unmodified_since=OLD), WHOLE),
        (Conditions(if_unmodified_since="yesterday"), WHOLE),
        # 14.2
        (Conditions(byte_range="bytes=0-1"), FIRST_TWO),
        (Conditions(byte_range="bytes=-10"), Shape(206, Part(90, 99))),
        (Conditions(byte_range="bytes=100-"), OUTSIDE),
        (Conditions(byte_range="bytes=0-1,5-6"), WHOLE),
        (Conditions(byte_range="items=0-1"), WHOLE),
        (Conditions(byte_range="bytes=0-1", if_none_match='"e"'), NOT_MODIFIED),
        (Conditions(byte_range="bytes=100-", if_none_match='"e"'), NOT_MODIFIED),
        (Conditions(byte_range="bytes=100-", if_match='"x"'), FAILED),
        # 13.1.5
        (Conditions(byte_range="bytes=0-1", if_range='"e"'), FIRST_TWO),
        (Conditions(byte_range="bytes=0-1", if_range='"x"'), WHOLE),
        (Conditions(byte_range="bytes=0-1", if_range='W/"e"'), WHOLE),
        (Conditions(byte_range="bytes=0-1", if_range='"e", "x"'), WHOLE),
        (Conditions(byte_range="bytes=0-1", if_range="*"), WHOLE),
        (Conditions(byte_range="bytes=0-1", if_range="e"), WHOLE),
        (Conditions(byte_range="bytes=0-1", if_range=OLD), FIRST_TWO),
        (Conditions(byte_range="bytes=0-1", if_range=OLDER), WHOLE),
        (Conditions(byte_range="bytes=0-1", if_range=NEWER), WHOLE),
        (Conditions(byte_range="bytes=200-", if_range='"x"'), WHOLE),
        (Conditions(byte_range="bytes=200-", if_range='"e"'), OUTSIDE),
        (Conditions(if_range='"e"'), WHOLE),
    ],
)
def test_conditions_are_judged_in_the_order_of_the_rfc(conditions: Conditions, expected: Shape) -> None:
    assert shape(head(), conditions) == expected


def test_a_weak_entity_tag_serves_validation_and_never_ranges() -> None:
    weak = head(etag='W/"e"')
    assert shape(weak, Conditions(if_none_match='"e"')) == NOT_MODIFIED
    assert shape(weak, Conditions(byte_range="bytes=0-1", if_range='W/"e"')) == WHOLE
    assert shape(weak, Conditions(byte_range="bytes=0-1", if_range='"e"')) == WHOLE
    assert shape(weak, Conditions(if_match='W/"e"')) == FAILED


@pytest.mark.parametrize("etag", ["e", 'w/"e"', '"e'])
def test_what_is_no_entity_tag_validates_nothing(etag: str) -> None:
    odd = head(etag=etag)
    assert odd.etag is None
    assert shape(odd, Conditions(if_none_match=etag)) == WHOLE
    assert shape(odd, Conditions(byte_range="bytes=0-1", if_range=etag)) == WHOLE


def test_a_last_modified_of_the_same_second_as_the_response_is_no_strong_validator() -> None:
    assert shape(head(modified=NEWER), Conditions(byte_range="bytes=0-1", if_range=NEWER)) == WHOLE


def test_the_date_stands_in_for_a_missing_last_modified() -> None:
    undated = head(modified=None, date=OLD)
    assert shape(undated, Conditions(if_modified_since=OLD)) == NOT_MODIFIED
    assert shape(undated, Conditions(if_modified_since=OLDER)) == WHOLE
    assert shape(undated, Conditions(if_unmodified_since=OLDER)) == WHOLE
    assert shape(undated, Conditions(byte_range="bytes=0-1", if_range=OLD)) == WHOLE


def test_nothing_stands_in_for_a_last_modified_that_is_no_date() -> None:
    assert shape(head(modified="junk", date=OLDER), Conditions(if_modified_since=OLD)) == WHOLE


def test_a_range_is_for_get_alone() -> None:
    conditions = Conditions(byte_range="bytes=0-1")
    assert shape(head(), conditions, "HEAD") == WHOLE
    assert shape(head(), Conditions(byte_range="bytes=500-"), "HEAD") == WHOLE
    assert shape(head(), Conditions(byte_range="bytes=0-1", if_none_match='"e"'), "HEAD") == NOT_MODIFIED


def test_a_body_of_unknown_length_is_sent_whole() -> None:
    assert shape(head(length=None), Conditions(byte_range="bytes=0-1")) == WHOLE


def test_an_empty_body_has_no_range() -> None:
    assert shape(head(length=0), Conditions(byte_range="bytes=0-")) == OUTSIDE
    assert shape(head(length=0), Conditions(byte_range="bytes=-5")) == WHOLE


@pytest.mark.parametrize("status", [300, 301, 404, 410, 500])
def test_conditions_do_not_touch_what_is_no_success(status: int) -> None:
    conditions = Conditions(if_match='"x"', if_none_match="*", byte_range="bytes=0-1")
    assert shape(head(status=status), conditions) == Shape(status)


@pytest.mark.parametrize("status", [203, 204])
def test_conditions_touch_every_success_and_ranges_only_a_200(status: int) -> None:
    assert shape(head(status=status), Conditions(if_none_match='"e"')) == NOT_MODIFIED
    assert shape(head(status=status), Conditions(byte_range="bytes=0-1")) == Shape(status)


def test_without_validators_nothing_is_known_to_be_unchanged() -> None:
    bare = head(etag=None, modified=None)
    assert shape(bare, Conditions(if_none_match='"e"')) == WHOLE
    assert shape(bare, Conditions(if_modified_since=OLD)) == WHOLE
    assert shape(bare, Conditions(if_match='"e"')) == FAILED

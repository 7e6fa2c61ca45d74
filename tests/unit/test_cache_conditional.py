"""Preconditions, validators and ranges against one stored response (RFC 9110, 13 and 14)."""

from __future__ import annotations

import pytest

from edge.cache.conditional import Shape, shape
from edge.cache.freshness import head_of
from edge.cache.model import Conditions, Head
from edge.cache.ranges import Part, parse_content_range

OLD = "Sun, 06 Nov 1994 08:49:37 GMT"
OLDER = "Sun, 06 Nov 1994 08:49:36 GMT"
NEWER = "Sun, 06 Nov 1994 08:49:38 GMT"
WHOLE, NOT_MODIFIED, FAILED, OUTSIDE = Shape(200), Shape(304), Shape(412), Shape(416)


def head(etag: str | None = '"e"', modified: str | None = OLD, status: int = 200, length: int | None = 100) -> Head:
    fields = [("date", NEWER), ("cache-control", "max-age=60")]
    fields += [("etag", etag)] if etag else []
    fields += [("last-modified", modified)] if modified else []
    fields += [("content-length", str(length))] if length is not None else []
    return head_of(status, tuple(fields), now=0, wall=0)


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (Conditions(), WHOLE),
        (Conditions(if_none_match='"e"'), NOT_MODIFIED),
        (Conditions(if_none_match='W/"e"'), NOT_MODIFIED),
        (Conditions(if_none_match='"x", "e" , "y"'), NOT_MODIFIED),
        (Conditions(if_none_match="*"), NOT_MODIFIED),
        (Conditions(if_none_match='"x"'), WHOLE),
        (Conditions(if_none_match="e"), WHOLE),
        (Conditions(if_none_match='"x"', if_modified_since=OLD), WHOLE),
        (Conditions(if_modified_since=OLD), NOT_MODIFIED),
        (Conditions(if_modified_since=OLDER), WHOLE),
        (Conditions(if_modified_since="yesterday"), WHOLE),
        (Conditions(if_match='"e"'), WHOLE),
        (Conditions(if_match="*"), WHOLE),
        (Conditions(if_match='"x"'), FAILED),
        (Conditions(if_match='W/"e"'), FAILED),
        (Conditions(if_match='"x"', if_none_match='"e"'), FAILED),
        (Conditions(if_match='"e"', if_unmodified_since=OLDER), WHOLE),
        (Conditions(if_unmodified_since=OLDER), FAILED),
        (Conditions(if_unmodified_since=OLD), WHOLE),
        (Conditions(if_unmodified_since="yesterday"), WHOLE),
        (Conditions(byte_range="bytes=0-0"), Shape(206, Part(0, 0))),
        (Conditions(byte_range="bytes=90-"), Shape(206, Part(90, 99))),
        (Conditions(byte_range="bytes=-10"), Shape(206, Part(90, 99))),
        (Conditions(byte_range="bytes=-1000"), Shape(206, Part(0, 99))),
        (Conditions(byte_range="bytes=99-1000000000000"), Shape(206, Part(99, 99))),
        (Conditions(byte_range="BYTES = 1-2"), Shape(206, Part(1, 2))),
        (Conditions(byte_range="bytes=100-"), OUTSIDE),
        (Conditions(byte_range="bytes=-0"), OUTSIDE),
        (Conditions(byte_range="bytes=0-1,5-6"), WHOLE),
        (Conditions(byte_range="bytes=5-4"), WHOLE),
        (Conditions(byte_range="bytes=-"), WHOLE),
        (Conditions(byte_range="bytes=a-b"), WHOLE),
        (Conditions(byte_range="items=0-1"), WHOLE),
        (Conditions(byte_range="bytes=0-1", if_none_match='"e"'), NOT_MODIFIED),
        (Conditions(byte_range="bytes=0-1", if_range='"e"'), Shape(206, Part(0, 1))),
        (Conditions(byte_range="bytes=0-1", if_range='"x"'), WHOLE),
        (Conditions(byte_range="bytes=0-1", if_range='W/"e"'), WHOLE),
        (Conditions(byte_range="bytes=0-1", if_range=OLD), Shape(206, Part(0, 1))),
        (Conditions(byte_range="bytes=0-1", if_range=NEWER), WHOLE),
        (Conditions(byte_range="bytes=200-", if_range='"x"'), WHOLE),
    ],
)
def test_conditions_are_judged_in_the_order_of_the_rfc(conditions: Conditions, expected: Shape) -> None:
    assert shape(head(), conditions) == expected


def test_a_weak_entity_tag_serves_validation_and_never_ranges() -> None:
    weak = head(etag='W/"e"')
    assert shape(weak, Conditions(if_none_match='"e"')) == NOT_MODIFIED
    assert shape(weak, Conditions(byte_range="bytes=0-1", if_range='W/"e"')) == WHOLE
    assert shape(weak, Conditions(if_match='W/"e"')) == FAILED


def test_a_last_modified_of_the_same_second_as_the_response_is_no_strong_validator() -> None:
    assert shape(head(modified=NEWER), Conditions(byte_range="bytes=0-1", if_range=NEWER)) == WHOLE


def test_a_body_of_unknown_length_is_sent_whole() -> None:
    assert shape(head(length=None), Conditions(byte_range="bytes=0-1")) == WHOLE


def test_an_empty_body_has_no_range() -> None:
    assert shape(head(length=0), Conditions(byte_range="bytes=0-")) == OUTSIDE
    assert shape(head(length=0), Conditions(byte_range="bytes=-5")) == OUTSIDE


def test_conditions_do_not_touch_what_is_no_200() -> None:
    assert shape(head(status=404), Conditions(if_match='"x"', byte_range="bytes=0-1")) == Shape(404)


def test_without_validators_nothing_is_known_to_be_unchanged() -> None:
    bare = head(etag=None, modified=None)
    assert shape(bare, Conditions(if_none_match='"e"')) == WHOLE
    assert shape(bare, Conditions(if_modified_since=OLD)) == WHOLE
    assert shape(bare, Conditions(if_match='"e"')) == FAILED


@pytest.mark.parametrize("field", [None, "", "bytes */5", "bytes 0-5/*", "bytes 5-4/9", "bytes 0-9/9", "items 0-1/2"])
def test_a_content_range_that_makes_no_sense_is_none(field: str | None) -> None:
    assert parse_content_range(field) is None

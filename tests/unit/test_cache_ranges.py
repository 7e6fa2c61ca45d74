"""The Range field and Content-Range (RFC 9110, 14)."""

from __future__ import annotations

import pytest

from edge.cache.ranges import Part, Unsatisfiable, parse_content_range, select

TOTAL = 100


@pytest.mark.parametrize(
    ("field", "part"),
    [
        ("bytes=0-0", Part(0, 0)),
        ("bytes=0-99", Part(0, 99)),
        ("bytes=90-", Part(90, 99)),
        ("bytes=-10", Part(90, 99)),
        ("bytes=-1000", Part(0, 99)),
        ("bytes=99-1000000000000", Part(99, 99)),
        (f"bytes=5-{'9' * 4000}", Part(5, 99)),
        (f"bytes={'0' * 4000}5-6", Part(5, 6)),
        (f"bytes=-{'9' * 4000}", Part(0, 99)),
        ("BYTES=1-2", Part(1, 2)),
        (" bytes=1-2\t", Part(1, 2)),
        ("bytes=,1-2, ,", Part(1, 2)),  # empty members of a list mean nothing (5.6.1)
        ("bytes= 1-2", Part(1, 2)),
    ],
)
def test_a_single_range_is_the_part_it_says(field: str, part: Part) -> None:
    assert select(field, TOTAL) == part


def test_a_part_knows_its_length_and_its_place() -> None:
    assert Part(3, 7).length == 5
    assert Part(3, 7).content_range(10) == "bytes 3-7/10"
    assert Part(3, 7).content_range(None) == "bytes 3-7/*"


@pytest.mark.parametrize("field", ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=-00", f"bytes={'9' * 4000}-"])
def test_a_range_outside_the_body_cannot_be_satisfied(field: str) -> None:
    with pytest.raises(Unsatisfiable):
        select(field, TOTAL)


@pytest.mark.parametrize(
    "field",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=5-4",
        "bytes=a-b",
        "bytes=1.5-2",
        "bytes=0x1-2",
        "bytes=1 - 2",
        "bytes=１-２",
        "bytes=--5",
        "bytes=5--",
        "bytes =1-2",
        "bytes:1-2",
        "items=0-1",
        "bytes=0-1,5-6",
        "bytes=0-1,1-2",
        "bytes=200-,300-",
        "bytes=0-1;5-6",
    ],
)
def test_several_ranges_other_units_and_bad_syntax_are_ignored(field: str) -> None:
    assert select(field, TOTAL) is None


def test_of_an_empty_body_there_is_no_first_byte_but_a_last_few() -> None:
    with pytest.raises(Unsatisfiable):
        select("bytes=0-", 0)
    assert select("bytes=-5", 0) is None


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("bytes 0-5/10", (Part(0, 5), 10)),
        ("Bytes  9-9/10 ", (Part(9, 9), 10)),
        (None, None),
        ("", None),
        ("bytes */5", None),
        ("bytes 0-5/*", None),
        ("bytes 5-4/9", None),
        ("bytes 0-9/9", None),
        ("bytes 0-9", None),
        ("bytes=0-5/10", None),
        ("items 0-1/2", None),
        (f"bytes 0-1/{'9' * 30}", None),
    ],
)
def test_content_range_says_which_part_of_how_much_or_nothing(
    field: str | None, expected: tuple[Part, int] | None
) -> None:
    assert parse_content_range(field) == expected

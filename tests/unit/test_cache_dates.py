"""HTTP dates (RFC 9110, 5.6.7) as a cache reads them (RFC 9111, 4.2)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from edge.cache.dates import http_date, written

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Wednesday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun Nov 06 08:49:37 1994",
        "\tSun, 06 Nov 1994 08:49:37 GMT ",
        "sUN, 06 nOV 1994 08:49:37 gmt",
        "Mon, 06 Nov 1994 08:49:37 GMT",  # the wrong day of the week harms nobody
    ],
)
def test_all_three_forms_are_read_whatever_their_case(text: str) -> None:
    assert http_date(text, wall=NOW) == 784111777


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "0",
        "-1",
        "never",
        "784111777",
        "1994-11-06T08:49:37Z",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "Sun, 06 Nov 1994 08:49:37 AEST",
        "Sun, 99 Nov 1994 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 30 Feb 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sun, 06 Nov 99999",
        "Sun,  06 Nov 1994 08:49:37 GMT",
        "Sun 06 Nov 1994 08:49:37 GMT",
        "Sun, 06-Nov-1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 8:49:37 GMT",
        "Sun, 06 Nov 1994 08.49.37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, ０６ Nov 1994 08:49:37 GMT",
        "Sunday, 31-Feb-94 08:49:37 GMT",
        "x" * 100_000,
    ],
)
def test_what_is_no_date_is_none(text: str | None) -> None:
    assert http_date(text, wall=NOW) is None


@pytest.mark.parametrize(
    ("text", "year"),
    [
        ("Monday, 15-Jun-26 12:00:00 GMT", 2026),
        ("Monday, 01-Jan-75 00:00:00 GMT", 2075),
        ("Monday, 15-Jun-76 12:00:00 GMT", 2076),  # fifty years ahead to the second: not more than fifty
        ("Monday, 15-Jun-76 12:00:01 GMT", 1976),
        ("Monday, 01-Jan-77 00:00:00 GMT", 1977),
        ("Monday, 01-Jan-99 00:00:00 GMT", 1999),
        ("Monday, 01-Jan-00 00:00:00 GMT", 2000),
    ],
)
def test_a_two_digit_year_lies_at_most_fifty_years_ahead(text: str, year: int) -> None:
    instant = http_date(text, wall=NOW)
    assert instant is not None
    assert datetime.fromtimestamp(instant, tz=UTC).year == year


def test_two_digits_mean_another_year_in_another_century() -> None:
    then = datetime(2080, 1, 1, tzinfo=UTC).timestamp()
    instant = http_date("Monday, 01-Jan-20 00:00:00 GMT", wall=then)
    assert instant == datetime(2120, 1, 1, tzinfo=UTC).timestamp()


def test_a_leap_second_is_a_second() -> None:
    assert http_date("Sat, 31 Dec 2016 23:59:60 GMT", wall=NOW) == datetime(2017, 1, 1, tzinfo=UTC).timestamp()


def test_what_is_written_is_read() -> None:
    assert written(784111777.9) == "Sun, 06 Nov 1994 08:49:37 GMT"

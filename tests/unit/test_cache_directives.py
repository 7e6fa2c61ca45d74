"""Cache-Control in its legal oddity."""

from __future__ import annotations

import pytest

from edge.cache.directives import MAX_DELTA_S, Directives, delta_seconds, parse


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["max-age=60"], Directives(max_age_s=60)),
        (["public, MAX-AGE=60, Immutable"], Directives(max_age_s=60, public=True, immutable=True)),
        (['max-age="60"'], Directives(max_age_s=60)),
        (["max-age=0060"], Directives(max_age_s=60)),
        (["max-age=99999999999999999999999999"], Directives(max_age_s=MAX_DELTA_S)),
        (
            ["public", "s-maxage=5, stale-while-revalidate=30"],
            Directives(s_maxage_s=5, stale_while_revalidate_s=30, public=True),
        ),
        (["max-age=60, stale-if-error=86400"], Directives(max_age_s=60, stale_if_error_s=86400)),
        (['private="set-cookie, x-y", no-cache="a"'], Directives(private=True, no_cache=True)),
        (['extension="max-age=100, no-store", max-age=1'], Directives(max_age_s=1)),
        ([",, ,max-age=3,,"], Directives(max_age_s=3)),
        (["no-store;max-age=5"], Directives(no_store=True)),
        ([], Directives()),
    ],
)
def test_directives_are_read_as_the_rfc_says(lines: list[str], expected: Directives) -> None:
    assert parse(lines) == expected


@pytest.mark.parametrize("argument", ["", "-1", "1.5", "abc", "0x10", "１２"])
def test_an_argument_that_is_no_number_makes_the_response_stale(argument: str) -> None:
    assert parse([f"max-age={argument}"]).max_age_s == 0


def test_a_repeated_delta_counts_as_the_smallest() -> None:
    assert parse(["max-age=60", "max-age=5"]).max_age_s == 5
    assert parse(["max-age=60, max-age=nonsense"]).max_age_s == 0


@pytest.mark.parametrize(("text", "expected"), [("0", 0), ("7", 7), ("", None), ("+7", None), (" 7", None)])
def test_delta_seconds_are_plain_digits(text: str, expected: int | None) -> None:
    assert delta_seconds(text) == expected

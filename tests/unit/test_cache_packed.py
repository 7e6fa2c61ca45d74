"""A stored response's head on its way through another process."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from edge.cache.freshness import Rules, head_of, made_stale
from edge.cache.model import Head
from edge.cache.packed import loads, pack, unpack
from origin.reader import Headers

WALL = 1_800_000_000.0


def head(*headers: tuple[str, str], status: int = 200) -> Head:
    fields = (("etag", '"e"'), ("vary", "Accept, Cookie"), ("surrogate-key", "a b"), ("content-length", "5000000000"))
    return head_of(status, (*fields, *headers), now=100.0, wall=WALL, rules=Rules(stale_if_error_s=7))


def travelled(packed: Head, *, now: float = 100.0, older_s: float = 0.0) -> Head:
    return unpack(loads(orjson.dumps(pack(packed, age_s=packed.age_s(100.0)))), now=now, older_s=older_s)


@pytest.mark.parametrize(
    "headers",
    [
        (("cache-control", "max-age=60, stale-while-revalidate=5, stale-if-error=6"), ("age", "9")),
        (("cache-control", "max-age=60, must-revalidate"),),
        (("cache-control", "no-cache, max-age=60"),),
        (("cache-control", "private"),),
        (("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),),
        (("x-title", "数学 \xe9 \udcff"),),
    ],
)
def test_what_was_stored_comes_back(headers: Headers) -> None:
    assert travelled(head(*headers)) == head(*headers)


def test_what_a_soft_purge_did_comes_back() -> None:
    purged = made_stale(head(("cache-control", "max-age=60")), 130.0)
    assert travelled(purged) == purged


def test_a_body_of_unknown_length_stays_unknown() -> None:
    unknown = replace(head(), length=None)
    assert travelled(unknown).length is None


def test_its_age_counts_on_by_the_readers_own_clock() -> None:
    arrived = travelled(head(("age", "9")), now=5000.0, older_s=30)
    assert arrived.age_s(5000.0) == 39
    assert travelled(head(), now=5000.0, older_s=-30).age_s(5000.0) == 0  # clocks differ


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("status", "x"),
        ("status", None),
        ("headers", 5),
        ("headers", [["a"]]),
        ("headers", [["a", 5]]),
        ("headers", [["a", "\u6570"]]),
        ("headers", [["surrogate-key", "k" * 5000]]),
        ("length", "x"),
        ("age", None),
        ("fresh", [True, 5, 0, 0]),
        ("fresh", None),
        ("fresh", [True, "x", 0, 0, False, False, ""]),
    ],
)
def test_what_is_no_packed_head_is_refused(member: str, value: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever it says
        unpack(pack(head(), age_s=0) | {member: value}, now=0)


@pytest.mark.parametrize("text", [b"", b"[]", b"5", b"{", b"\xff"])
def test_what_is_no_object_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever it says
        loads(text)


def test_a_missing_member_is_refused() -> None:
    with pytest.raises(ValueError, match="not a packed head"):
        unpack({}, now=0)

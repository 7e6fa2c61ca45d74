"""Which request fields select a response, and when two requests have the same (RFC 9111, 4.1)."""

from __future__ import annotations

import pytest

from edge.cache import vary
from origin.reader import Headers


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], ()),
        ([""], ()),
        (["Accept-Encoding"], ("accept-encoding",)),
        (["b, A , ,b"], ("a", "b")),
        (["b", "a"], ("a", "b")),
        (["*"], ("*",)),
        (["a, *"], ("*",)),
        (["a", "*"], ("*",)),
        (["a b"], ("*",)),
        (['"a"'], ("*",)),
        (["ä"], ("*",)),
    ],
)
def test_the_names_of_vary_are_sorted_and_what_is_no_name_is_a_star(
    values: list[str], expected: tuple[str, ...]
) -> None:
    assert vary.names(tuple(("vary", value) for value in values)) == expected


def field(name: str, *values: str) -> Headers:
    return tuple((name, value) for value in values)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (field("x", "1", "2"), field("x", "1, 2")),
        (field("x", " 1\t"), field("x", "1")),
        (field("accept-encoding", "gzip,br"), field("accept-encoding", "br", "GZIP")),
        (field("accept-encoding", "gzip , , br"), field("accept-encoding", "br,gzip")),
        (field("accept-encoding", "gzip;q=1.0"), field("accept-encoding", "gzip")),
        (field("accept-encoding", "gzip ; Q=0.50"), field("accept-encoding", "gzip;q=0.5")),
        (field("accept-encoding", "gzip, br;q=0"), field("accept-encoding", "gzip")),
        (field("accept-encoding", "gzip;q=0"), field("accept-encoding", "")),
        (field("accept-encoding", "x-gzip, x-compress"), field("accept-encoding", "compress, gzip")),
        (field("accept-language", "zh-CN , EN;q=0.80"), field("accept-language", "en;q=0.8", "zh-cn")),
        (field("accept-charset", "UTF-8"), field("accept-charset", "utf-8")),
        (
            field("accept", "Text/HTML; Level=1;q=0.5, */*;q=0.1"),
            field("accept", "*/*;q=0.1,text/html;level=1;q=0.500"),
        ),
        (field("accept", 'a/b;c="d, e" ,f/g'), field("accept", 'a/b;c="d, e",f/g')),
    ],
)
def test_requests_that_mean_the_same_select_the_same(one: Headers, other: Headers) -> None:
    name = one[0][0]
    assert vary.form(name, one) == vary.form(name, other)
    assert vary.part((name,), one) == vary.part((name,), other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((), field("x", "")),
        ((), field("accept-encoding", "")),
        (field("x", "a"), field("x", "A")),
        (field("x", "a, b"), field("x", "b, a")),
        (field("x", "a,b"), field("x", "a, b")),  # whether space counts is unknown in a field that is
        (field("user-agent", "gzip, br"), field("user-agent", "br, gzip")),
        (field("accept-encoding", "gzip"), field("accept-encoding", "gzip;q=0.5")),
        (field("accept-encoding", "gzip;q=0.8"), field("accept-encoding", "gzip;q=0.5")),
        (field("accept-encoding", "*"), field("accept-encoding", "*, gzip;q=0")),
        (field("accept-encoding", "gzip"), field("accept-encoding", "gzip, identity;q=0")),
        (field("accept-encoding", "gzip"), field("accept-encoding", "gzip, *;q=0")),
        (field("accept-encoding", "gzip;q=500"), field("accept-encoding", "gzip;q=0.5")),
        (field("accept-language", "zh, en"), field("accept-language", "en, zh")),  # some origins take the first
        (field("accept", "a/b;c=D"), field("accept", "a/b;c=d")),
        (field("accept", 'a/b;c="D"'), field("accept", 'a/b;c="d"')),
        (field("x", "\udcff"), field("x", "\udcfe")),
    ],
)
def test_requests_that_may_mean_something_else_select_something_else(one: Headers, other: Headers) -> None:
    name = other[0][0]
    assert vary.part((name,), one) != vary.part((name,), other)


def test_a_part_tells_its_fields_apart() -> None:
    headers: Headers = (("a", "1"), ("b", "2"), ("c", "1"))
    assert vary.part(("a",), headers) != vary.part(("c",), headers)
    assert vary.part(("a", "b"), headers) != vary.part(("a",), headers)
    assert vary.part(("a", "b"), (("a", "1 2"),)) != vary.part(("a", "b"), (("a", "1"), ("b", "2")))
    assert vary.part((), headers) == vary.part((), ()) != vary.part(("z",), headers)
    assert vary.part(("a",), headers).startswith("v:")

"""RFC 9111, 4.1: which stored response a request selects."""

# ruff: noqa: E501  (one case a line, as a table)
# fmt: off

from __future__ import annotations

from tests.conformance.claims import asked, asked_with, either, fetched, forwarded, has, reused, status, validated
from tests.conformance.model import Case, case
from tests.conformance.script import ask, fresh, get, head, not_modified, post, reply, spent

_SECTION = "RFC 9111, 4.1"
_FOO = "Vary: Foo"


def _same(name: str, claim: str, vary: str, first: tuple[str, ...], second: tuple[str, ...], section: str = _SECTION) -> Case:
    """Two requests select the same response."""
    return case(name, section, claim, origin=[fresh(vary)], client=[get(*first, fetched(1)), get(*second, reused(1))])


def _other(name: str, claim: str, vary: str, first: tuple[str, ...], second: tuple[str, ...], section: str = _SECTION) -> Case:
    """Two requests select different responses, and both are stored."""
    return case(
        name, section, claim, origin=[fresh(vary), fresh(vary)],
        client=[get(*first, fetched(1)), get(*second, fetched(2), forwarded("vary-miss")), get(*first, reused(1)), get(*second, reused(2))],
    )


MATCHING = [
    _same("vary-equal", "equal values match", _FOO, ("Foo: 1",), ("Foo: 1",)),
    _other("vary-different", "different values do not match", _FOO, ("Foo: 1",), ("Foo: 2",)),
    _other("vary-absent-present", "an absent field does not match a present one", _FOO, (), ("Foo: 1",)),
    _other("vary-present-absent", "a present field does not match an absent one", _FOO, ("Foo: 1",), ()),
    _other("vary-empty-absent", "an empty field does not match an absent one", _FOO, ("Foo:",), ()),
    _same("vary-both-absent", "absent matches absent", _FOO, (), ()),
    _other("vary-value-case", "values of an unknown field are compared case-sensitively", _FOO, ("Foo: a",), ("Foo: A",)),
    _same("vary-name-case-request", "request field names are compared case-insensitively", _FOO, ("Foo: 1",), ("fOO: 1",)),
    _same("vary-name-case-response", "names in Vary are compared case-insensitively", "Vary: FOO", ("Foo: 1",), ("Foo: 1",)),
    _other("vary-name-case-response-other", "a name in Vary counts however it is written", "Vary: fOO", ("Foo: 1",), ("Foo: 2",)),
    _same("vary-space-around", "white space around a value is no part of it", _FOO, ("Foo: 1",), ("Foo: \t 1 \t",)),
    _same("vary-lines-combined", "lines of one name match the same list on one line", _FOO, ("Foo: 1", "Foo: 2"), ("Foo: 1, 2",)),
    _other("vary-order", "the order of an unknown field's members means something", _FOO, ("Foo: 1, 2",), ("Foo: 2, 1",)),
    _other("vary-long-value", "long values are compared to their end", _FOO, ("Foo: " + "x" * 3000 + "1",), ("Foo: " + "x" * 3000 + "2",)),
    _same("vary-unlisted-field", "fields that Vary does not name are not compared", _FOO, ("Foo: 1", "Bar: 1"), ("Foo: 1", "Bar: 2")),
    _same("vary-field-order", "the order of different request fields means nothing", "Vary: Foo, Bar", ("Foo: 1", "Bar: 2"), ("Bar: 2", "Foo: 1")),
    _other("vary-second-name", "every name in Vary is compared", "Vary: Foo, Bar", ("Foo: 1", "Bar: 1"), ("Foo: 1", "Bar: 2")),
    _other("vary-values-swapped", "values belong to their names", "Vary: Foo, Bar", ("Foo: 1", "Bar: 2"), ("Foo: 2", "Bar: 1")),
    _other("vary-value-shifted", "a value cannot be moved from one field into the next", "Vary: Foo, Bar", ("Foo: 1", "Bar:"), ("Foo:", "Bar: 1")),
    _same("vary-empty", "an empty Vary varies nothing", "Vary:", ("Foo: 1",), ("Foo: 2",)),
    _same("vary-commas", "a Vary of empty members varies nothing", "Vary: , ,", ("Foo: 1",), ("Foo: 2",)),
    _other("vary-spaced-list", "white space and empty members in Vary mean nothing", "Vary: , Bar ,\t,Foo ,", ("Foo: 1",), ("Foo: 2",)),
    _other("vary-cookie", "Cookie may select a response", "Vary: Cookie", ("Cookie: a=1",), ("Cookie: a=2",)),
    _other("vary-origin", "Origin may select a response", "Vary: Origin", ("Origin: https://a.example",), ("Origin: https://b.example",)),
    _other("vary-user-agent", "User-Agent may select a response", "Vary: User-Agent", ("User-Agent: a",), ("User-Agent: b",)),
    _other("vary-accept", "Accept may select a response", "Vary: Accept", ("Accept: text/html",), ("Accept: image/png",)),
    _other("vary-accept-language", "Accept-Language may select a response", "Vary: Accept-Language", ("Accept-Language: zh",), ("Accept-Language: en",)),
]

_GZIP = ("Accept-Encoding: gzip",)
ENCODING = [
    _other("encoding-different", "different codings select different responses", "Vary: Accept-Encoding", _GZIP, ("Accept-Encoding: br",)),
    _other("encoding-absent", "no Accept-Encoding is not gzip", "Vary: Accept-Encoding", _GZIP, ()),
    _same("encoding-order", "the order of codings of one weight means nothing", "Vary: Accept-Encoding", ("Accept-Encoding: gzip, br",), ("Accept-Encoding: br, gzip",)),
    _same("encoding-space", "nor does white space", "Vary: Accept-Encoding", ("Accept-Encoding: gzip, br",), ("Accept-Encoding: gzip,br",)),
    _same("encoding-case", "codings are compared case-insensitively", "Vary: Accept-Encoding", _GZIP, ("Accept-Encoding: GZIP",), "RFC 9110, 8.4.1"),
    _same("encoding-weight-one", "a weight of 1 is the default", "Vary: Accept-Encoding", _GZIP, ("Accept-Encoding: gzip;q=1.0",), "RFC 9110, 12.4.2"),
    _other("encoding-refused", "a coding of weight 0 is not acceptable", "Vary: Accept-Encoding", ("Accept-Encoding: gzip, br",), ("Accept-Encoding: gzip, br;q=0",), "RFC 9110, 12.5.3"),
    _same("encoding-refused-alone", "refusing a coding is like not naming it", "Vary: Accept-Encoding", _GZIP, ("Accept-Encoding: gzip, br;q=0",), "RFC 9110, 12.5.3"),
    _same("encoding-lines", "several lines are one list", "Vary: Accept-Encoding", ("Accept-Encoding: gzip", "Accept-Encoding: br"), ("Accept-Encoding: gzip, br",)),
    _same("encoding-unvaried", "without Vary the codings select nothing", "X-None: 1", _GZIP, ("Accept-Encoding: br",)),
]

_TAG_A, _TAG_B = 'ETag: "a"', 'ETag: "b"'

STARS = [
    case(
        f"vary-star-{name}", _SECTION, claim,
        origin=[fresh(line), fresh(line)], client=[get("Foo: 1", fetched(1)), get("Foo: 1", fetched(2))],
    )
    for name, line, claim in (
        ("alone", "Vary: *", "`*` never matches"),
        ("first", "Vary: *, Foo", "a `*` before other names never matches"),
        ("last", "Vary: Foo, *", "a `*` after other names never matches"),
    )
]

BOOKKEEPING = [
    case(
        "vary-star-second-line", _SECTION, "a `*` on a second line never matches",
        origin=[fresh(_FOO, "Vary: *"), fresh()], client=[get("Foo: 1", fetched(1)), get("Foo: 1", fetched(2))],
    ),
    case(
        "vary-two-lines", "RFC 9110, 5.2", "names on several Vary lines are one list",
        origin=[fresh("Vary: Foo", "Vary: Bar"), fresh("Vary: Foo", "Vary: Bar")],
        client=[get("Foo: 1", "Bar: 1", fetched(1)), get("Foo: 1", "Bar: 2", fetched(2)), get("Foo: 1", "Bar: 1", reused(1))],
    ),
    case(
        "vary-three-variants", _SECTION, "more than two responses are kept side by side",
        origin=[fresh(_FOO), fresh(_FOO), fresh(_FOO)],
        client=[*(get(f"Foo: {n}", fetched(n)) for n in (1, 2, 3)), *(get(f"Foo: {n}", reused(n)) for n in (1, 2, 3))],
    ),
    case(
        "vary-changes", _SECTION, "a response that varies by another field is selected by that field",
        origin=[fresh(_FOO), fresh("Vary: Bar")],
        client=[get("Foo: 1", fetched(1)), get("Foo: 2", "Bar: 2", fetched(2)), get("Foo: 3", "Bar: 2", reused(2))],
    ),
    case(
        "vary-disappears", _SECTION, "when a later response does not vary, either is a right answer to the first one's request",
        origin=[fresh(_FOO, "Date: <now-20>"), fresh("Date: <now-10>")],
        client=[get("Foo: 1", fetched(1)), get("Foo: 2", fetched(2)), get("Foo: 1", either("one of the stored two", reused(1), reused(2)))],
    ),
    case(
        "vary-appears", _SECTION, "a response that varies after one that did not is used for its own requests",
        origin=[spent(), fresh(_FOO), fresh(_FOO)],
        client=[get("Foo: 1", fetched(1)), get("Foo: 1", fetched(2)), get("Foo: 2", fetched(3)), get("Foo: 1", reused(2))],
    ),
    case(
        "vary-refreshed-alone", _SECTION, "replacing one variant leaves the others alone",
        origin=[fresh(_FOO), fresh(_FOO), fresh(_FOO)],
        client=[
            get("Foo: 1", fetched(1)), get("Foo: 2", fetched(2)), get("Foo: 1", "Cache-Control: no-cache", fetched(3)),
            get("Foo: 1", reused(3)), get("Foo: 2", reused(2)),
        ],
    ),
    case(
        "vary-validated-own", "RFC 9111, 4.3.1", "a stale variant is validated with its own entity tag",
        origin=[spent(_FOO, _TAG_A), spent(_FOO, _TAG_B), not_modified(_FOO, _TAG_A)],
        client=[get("Foo: 1", fetched(1)), get("Foo: 2", fetched(2)), get("Foo: 1", asked(1), asked_with("Foo", "1"), status(200), has("ETag", '"a"'))],
    ),
    case(
        "vary-validated", "RFC 9111, 4.3.1", "validation passes on the fields that select",
        origin=[spent(_FOO, _TAG_A), not_modified(_FOO, _TAG_A)],
        client=[get("Foo: 1", fetched(1)), get("Foo: 1", validated(1, "If-None-Match", '"a"'), asked_with("Foo", "1"))],
    ),
    case(
        "vary-passed-on", "RFC 9110, 12.5.5", "Vary is passed on to the client, from the origin and from the cache",
        origin=[fresh("Vary: Foo, Bar")], client=[get(fetched(1), has("Vary", "Foo, Bar")), get(reused(1), has("Vary", "Foo, Bar"))],
    ),
    case(
        "vary-304-keeps", "RFC 9110, 15.4.5", "a 304 made from a variant carries its Vary",
        origin=[fresh(_FOO, _TAG_A)],
        client=[get("Foo: 1", fetched(1)), get("Foo: 1", 'If-None-Match: "a"', status(304), asked(0), has("Vary", "Foo"))],
    ),
    case(
        "vary-condition-wrong-variant", "RFC 9111, 4.3.2", "a condition is judged by the variant selected, not by another",
        origin=[fresh(_FOO, _TAG_A), fresh(_FOO, _TAG_B)],
        client=[get("Foo: 1", fetched(1)), get("Foo: 2", fetched(2)), get("Foo: 2", 'If-None-Match: "a"', reused(2))],
    ),
    case(
        "vary-head", _SECTION, "a HEAD selects like a GET",
        origin=[fresh(_FOO), reply(_FOO)],
        client=[get("Foo: 1", fetched(1)), head("Foo: 1", asked(0), status(200)), head("Foo: 2", asked(1), status(200))],
    ),
    case(
        "vary-range", _SECTION, "a range is cut from the variant selected",
        origin=[fresh(_FOO, body=b"0123456789"), fresh(_FOO, body=b"abcdefghij")],
        client=[get("Foo: 1", fetched(1)), get("Foo: 2", fetched(2)), get("Foo: 2", "Range: bytes=0-3", asked(0), status(206), has("Content-Range", "bytes 0-3/10"))],
    ),
    case(
        "vary-invalidated-all", "RFC 9111, 4.4", "an unsafe request invalidates every variant",
        origin=[fresh(_FOO), fresh(_FOO), reply(), fresh(_FOO), fresh(_FOO)],
        client=[get("Foo: 1", fetched(1)), get("Foo: 2", fetched(2)), post(fetched(3)), get("Foo: 1", fetched(4)), get("Foo: 2", fetched(5))],
    ),
    case(
        "vary-no-store-variant", _SECTION, "a variant that must not be stored does not spoil the others",
        origin=[fresh(_FOO), reply(_FOO, "Cache-Control: no-store"), fresh(_FOO)],
        client=[get("Foo: 1", fetched(1)), get("Foo: 2", fetched(2)), get("Foo: 1", reused(1)), get("Foo: 2", fetched(3))],
    ),
    case(
        "vary-404-variant", _SECTION, "a variant may be an error",
        origin=[fresh(_FOO), reply(_FOO, "Cache-Control: max-age=60", status=404)],
        client=[get("Foo: 1", fetched(1)), get("Foo: 2", fetched(2)), get("Foo: 1", reused(1)), get("Foo: 2", reused(2))],
    ),
    case(
        "vary-method-write-through", _SECTION, "PUT with a matching variant is still written through",
        origin=[fresh(_FOO), reply()], client=[get("Foo: 1", fetched(1)), ask("PUT", "Foo: 1", fetched(2), body=b"new")],
    ),
    case(
        "vary-many", _SECTION, "many variants of one URI never mix",
        origin=[fresh(_FOO)] * 12, client=[*(get(f"Foo: {n}", asked(1), status(200)) for n in range(12))],
    ),
]

CASES: list[Case] = [*MATCHING, *ENCODING, *STARS, *BOOKKEEPING]

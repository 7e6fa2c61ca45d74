"""RFC 9110, 13.1.5, 14, 15.3.7 and 15.5.17, with RFC 9111, 3.4: parts of responses."""

# ruff: noqa: E501  (one case a line, as a table)
# fmt: off

from __future__ import annotations

from tests.conformance.claims import (
    age,
    answered,
    asked,
    body,
    broken_off,
    cache_status,
    either,
    every,
    fetched,
    forwarded,
    has,
    hit,
    lacks,
    part,
    reused,
    status,
)
from tests.conformance.model import Case, Framing, case
from tests.conformance.script import LONG, fresh, get, head, not_modified, post, reply, spent

_TEN = b"0123456789"
_TAG = 'ETag: "a"'
_MODIFIED = "Last-Modified: <now-5000>"
_BLOCK = 1024 * 1024
_LARGE = b"".join(b"%07d " % number for number in range(4 * _BLOCK // 8))  # four blocks, no two parts alike

SLICES = [
    case(
        f"range-{name}", "RFC 9110, 14.1.2", claim,
        origin=[fresh(_TAG, body=_TEN)], client=[get(fetched(1)), get(f"Range: {asked_for}", part(1, *expected), asked(0), hit())],
    )
    for name, claim, asked_for, expected in (
        ("first", "the first byte", "bytes=0-0", (0, 0)),
        ("middle", "both ends are inclusive", "bytes=2-4", (2, 4)),
        ("last", "the last byte", "bytes=9-9", (9, 9)),
        ("whole", "a range may be the whole", "bytes=0-9", (0, 9)),
        ("open", "an open range lasts to the end", "bytes=7-", (7, 9)),
        ("open-whole", "an open range from the beginning is the whole", "bytes=0-", (0, 9)),
        ("suffix", "a suffix counts from the end", "bytes=-3", (7, 9)),
        ("suffix-longer", "a suffix longer than the body is the whole", "bytes=-100", (0, 9)),
        ("beyond", "an end beyond the body is the body's end", "bytes=5-1000", (5, 9)),
        ("huge-end", "however far beyond", "bytes=5-99999999999999999999999999", (5, 9)),
        ("unit-case", "range units are compared case-insensitively", "BYTES=2-4", (2, 4)),
        ("leading-zeros", "leading zeros mean nothing", "bytes=0002-0004", (2, 4)),
        ("space", "white space around the set is ignored", "bytes= 2-4 ", (2, 4)),
    )
]

IGNORED = [
    case(
        f"range-ignored-{name}", section, claim,
        origin=[fresh(_TAG, body=_TEN)], client=[get(fetched(1)), get(f"Range: {asked_for}", reused(1))],
    )
    for name, section, claim, asked_for in (
        ("unit", "RFC 9110, 14.2", "a range unit nobody knows is ignored", "lines=1-2"),
        ("no-unit", "RFC 9110, 14.2", "a Range without a unit is ignored", "2-4"),
        ("reversed", "RFC 9110, 14.1.1", "a range that ends before it begins is invalid and ignored", "bytes=4-2"),
        ("word", "RFC 9110, 14.1.1", "a word is no range", "bytes=a-b"),
        ("empty", "RFC 9110, 14.1.1", "an empty set is no range", "bytes="),
        ("dash", "RFC 9110, 14.1.1", "a dash alone is no range", "bytes=-"),
        ("negative", "RFC 9110, 14.1.1", "a negative position is no range", "bytes=-2-4"),
        ("decimal", "RFC 9110, 14.1.1", "a fraction is no position", "bytes=1.5-4"),
        ("plus", "RFC 9110, 14.1.1", "a sign is no part of a position", "bytes=+2-4"),
        ("inner-space", "RFC 9110, 14.1.1", "white space within a range makes it invalid", "bytes=2 - 4"),
        ("underscore", "RFC 9110, 14.1.1", "an underscore is no digit", "bytes=1_0-2_0"),
        ("several", "RFC 9110, 14.2", "several ranges may be answered with the whole", "bytes=0-1,4-5"),
        ("overlapping", "RFC 9110, 14.2", "so may overlapping ones", "bytes=0-5,3-8,0-9,1-2"),
        ("list-invalid", "RFC 9110, 14.1.1", "one invalid range spoils the set", "bytes=0-1,x"),
    )
]

UNSATISFIABLE = [
    case(
        f"range-unsatisfiable-{name}", "RFC 9110, 15.5.17", claim,
        origin=[fresh(_TAG, body=data)],
        client=[get(fetched(1)), get(f"Range: {asked_for}", status(416), has("Content-Range", f"bytes */{len(data)}"), asked(0)), get(reused(1))],
    )
    for name, claim, asked_for, data in (
        ("behind", "a range that begins behind the end gets 416 and the length", "bytes=10-", _TEN),
        ("far", "however far behind", "bytes=99999999999999999999999999-", _TEN),
        ("suffix-zero", "a suffix of no bytes cannot be satisfied", "bytes=-0", _TEN),
        ("nothing", "of nothing no range can be had", "bytes=0-0", b""),
    )
]

CONDITIONAL = [
    case(
        f"if-range-{name}", "RFC 9110, 13.1.5", claim,
        origin=[fresh(*stored, body=_TEN)],
        client=[get(fetched(1)), get("Range: bytes=2-4", f"If-Range: {condition}", part(1, 2, 4) if good else reused(1), asked(0))],
    )
    for name, claim, stored, condition, good in (
        ("tag", "a strong entity tag that matches allows the range", (_TAG,), '"a"', True),
        ("other-tag", "another entity tag gets the whole", (_TAG,), '"b"', False),
        ("weak-request", "a weak entity tag never matches: the client's is weak", (_TAG,), 'W/"a"', False),
        ("weak-stored", "a weak entity tag never matches: the stored one is weak", ('ETag: W/"a"',), '"a"', False),
        ("weak-both", "a weak entity tag never matches: both are weak", ('ETag: W/"a"',), 'W/"a"', False),
        ("tag-none-stored", "an entity tag does not match a response without one", (), '"a"', False),
        ("date", "the exact Last-Modified allows the range", (_MODIFIED, "Date: <now>"), "<now-5000>", True),
        ("date-later", "a later date is not the exact one", (_MODIFIED, "Date: <now>"), "<now-4000>", False),
        ("date-earlier", "an earlier date is not the exact one", (_MODIFIED, "Date: <now>"), "<now-6000>", False),
        ("date-none-stored", "a date does not match a response without Last-Modified", ("Date: <now-500>",), "<now-500>", False),
        ("unquoted", "a word is neither", (_TAG,), "a", False),
        ("star", "`*` is neither", (_TAG,), "*", False),
    )
] + [
    case(
        "if-range-alone", "RFC 9110, 13.1.5", "If-Range without Range is ignored",
        origin=[fresh(_TAG, body=_TEN)], client=[get(fetched(1)), get('If-Range: "a"', reused(1))],
    ),
    case(
        "if-range-unsatisfiable", "RFC 9110, 13.1.5", "an If-Range that fails makes an unsatisfiable range no error",
        origin=[fresh(_TAG, body=_TEN)], client=[get(fetched(1)), get("Range: bytes=50-", 'If-Range: "b"', reused(1))],
    ),
    case(
        "range-and-if-none-match", "RFC 9110, 13.2.2", "If-None-Match is judged before Range",
        origin=[fresh(_TAG, body=_TEN)], client=[get(fetched(1)), get("Range: bytes=2-4", 'If-None-Match: "a"', status(304), asked(0))],
    ),
    case(
        "range-and-if-none-match-other", "RFC 9110, 13.2.2", "and when it lets pass, the range is cut",
        origin=[fresh(_TAG, body=_TEN)], client=[get(fetched(1)), get("Range: bytes=2-4", 'If-None-Match: "b"', part(1, 2, 4))],
    ),
    case(
        "range-unsatisfiable-and-304", "RFC 9110, 13.2.2", "a 304 comes before a 416",
        origin=[fresh(_TAG, body=_TEN)], client=[get(fetched(1)), get("Range: bytes=50-", 'If-None-Match: "a"', status(304))],
    ),
    case(
        "range-if-modified-since", "RFC 9110, 13.2.2", "If-Modified-Since is judged before Range",
        origin=[fresh(_MODIFIED, body=_TEN)], client=[get(fetched(1)), get("Range: bytes=2-4", "If-Modified-Since: <now-4000>", status(304))],
    ),
]

FORM = [
    case(
        "range-206-fields", "RFC 9110, 15.3.7", "a 206 carries what a 200 would have carried",
        origin=[fresh(_TAG, "Expires: <now+3600>", "Content-Location: /c", "Vary: Foo", "Date: <now-5>", body=_TEN)],
        client=[
            get(fetched(1)),
            get("Range: bytes=2-4", part(1, 2, 4), has("ETag", '"a"'), has("Cache-Control", "max-age=3600"), has("Expires", "<now+3600>"),
                has("Content-Location", "/c"), has("Vary", "Foo"), has("Date", "<now-5>"), has("Content-Length", "3")),
        ],
    ),
    case(
        "range-206-age", "RFC 9111, 4", "a 206 from the cache has an Age",
        origin=[fresh("Age: 100", body=_TEN)], client=[get(fetched(1)), get("Range: bytes=2-4", part(1, 2, 4), age(100, 110))],
    ),
    case(
        "range-206-content-type", "RFC 9110, 15.3.7.1", "a single part keeps the Content-Type of the whole",
        origin=[fresh("Content-Type: video/mp4", body=_TEN)], client=[get(fetched(1)), get("Range: bytes=2-4", part(1, 2, 4), has("Content-Type", "video/mp4"))],
    ),
    case(
        "range-416-not-stored", "RFC 9110, 15.5.17", "a 416 does not replace what is stored",
        origin=[fresh(body=_TEN)], client=[get(fetched(1)), get("Range: bytes=50-", status(416)), get(reused(1)), get("Range: bytes=2-4", part(1, 2, 4))],
    ),
    case(
        "range-head", "RFC 9110, 14.2", "Range on a HEAD is ignored",
        origin=[fresh(body=_TEN)], client=[get(fetched(1)), head("Range: bytes=2-4", status(200), has("Content-Length", "10"), lacks("Content-Range"), asked(0))],
    ),
    case(
        "range-post", "RFC 9110, 14.2", "Range on a POST means nothing: the answer is passed on whole",
        origin=[reply(body=_TEN)], client=[post("Range: bytes=2-4", fetched(1))],
    ),
    case(
        "range-404", "RFC 9110, 14.2", "Range on a stored error is ignored",
        origin=[fresh(status=404, body=_TEN)], client=[get(fetched(1)), get("Range: bytes=2-4", reused(1))],
    ),
    case(
        "range-two-lines", "RFC 9110, 5.3", "two Range lines, which no client may send, confuse nobody: the whole, the first, or a refusal",
        origin=[fresh(body=_TEN)], client=[get(fetched(1)), get("Range: bytes=0-1", "Range: bytes=4-5", either("whole, first or 400", reused(1), part(1, 0, 1), status(400)))],
    ),
    case(
        "range-close-delimited", "RFC 9110, 14.2", "a range of a stored response whose length was not told",
        origin=[fresh(body=_TEN, framing=Framing.CLOSE)], client=[get(fetched(1)), get("Range: bytes=2-4", part(1, 2, 4), asked(0))],
    ),
    case(
        "range-chunked", "RFC 9110, 14.2", "a range of a stored response that came in chunks",
        origin=[fresh(body=_TEN, framing=Framing.CHUNKED)], client=[get(fetched(1)), get("Range: bytes=-4", part(1, 6, 9), asked(0))],
    ),
    case(
        "range-encoded", "RFC 9110, 14.2", "a range counts the bytes of the encoded body",
        origin=[fresh("Content-Encoding: gzip", _TAG, body=_TEN)],
        client=[get("Accept-Encoding: gzip", fetched(1)), get("Accept-Encoding: gzip", "Range: bytes=2-4", part(1, 2, 4), has("Content-Encoding", "gzip"))],
    ),
    case(
        "range-accept-ranges", "RFC 9110, 14.3", "the origin's Accept-Ranges is passed on",
        origin=[fresh("Accept-Ranges: bytes", body=_TEN)], client=[get(fetched(1), has("Accept-Ranges", "bytes"))],
    ),
    case(
        "range-no-store", "RFC 9110, 14.2", "a range of what must not be stored is got from the origin",
        origin=[reply("Cache-Control: no-store", _TAG, body=_TEN, ranges=True)],
        client=[get("Range: bytes=2-4", either("the part or the whole", part(1, 2, 4), answered(1))), get("Range: bytes=2-4", asked(1))],
    ),
    case(
        "range-only-if-cached-part", "RFC 9111, 5.2.1.7", "only-if-cached is satisfied by a slice of what is stored",
        origin=[fresh(body=_TEN)], client=[get(fetched(1)), get("Range: bytes=2-4", "Cache-Control: only-if-cached", part(1, 2, 4), asked(0))],
    ),
]

_ACCEPTS = "Accept-Ranges: bytes"

COLD = [
    case(
        "range-cold", "RFC 9111, 3.4", "a range of something not stored is answered with that range",
        origin=[fresh(_TAG, _ACCEPTS, body=_TEN, ranges=True)], client=[get("Range: bytes=2-4", part(1, 2, 4)), get("Range: bytes=2-4", part(1, 2, 4), asked(0))],
    ),
    case(
        "range-cold-ignored", "RFC 9110, 14.2", "also when the origin ignores Range: it is cut from the whole, or the whole is the answer",
        origin=[fresh(_TAG, body=_TEN)],
        client=[get("Range: bytes=2-4", either("part or whole", part(1, 2, 4), answered(1))), get(reused(1))],
    ),
    case(
        "range-cold-not-whole", "RFC 9111, 3.3", "a part that was fetched is never taken for the whole",
        origin=[fresh(_TAG, _ACCEPTS, body=_LARGE, ranges=True)], client=[get("Range: bytes=10-19", part(1, 10, 19)), get(answered(1))],
    ),
    case(
        "range-cold-unsatisfiable", "RFC 9110, 15.5.17", "a range behind the end of something not stored gets 416",
        origin=[fresh(_TAG, _ACCEPTS, body=_TEN, ranges=True)], client=[get("Range: bytes=50-60", status(416), has("Content-Range", "bytes */10"))],
    ),
    case(
        "range-cold-suffix", "RFC 9110, 14.1.2", "a suffix of something not stored",
        origin=[fresh(_TAG, _ACCEPTS, body=_LARGE, ranges=True)], client=[get("Range: bytes=-5", part(1, len(_LARGE) - 5, len(_LARGE) - 1))],
    ),
    case(
        "range-cold-404", "RFC 9110, 14.2", "a range of something that does not exist gets the origin's 404",
        origin=[reply(LONG, status=404)], client=[get("Range: bytes=0-3", fetched(1)), get(reused(1))],
    ),
    case(
        "range-cold-if-range", "RFC 9110, 13.1.5", "an If-Range that does not match what the origin has gets the whole",
        origin=[fresh(_TAG, _ACCEPTS, body=_TEN, ranges=True)], client=[get("Range: bytes=2-4", 'If-Range: "b"', answered(1))],
    ),
    case(
        "range-cold-weak-tag", "RFC 9111, 3.4", "parts under a weak entity tag are right, too",
        origin=[fresh('ETag: W/"a"', _ACCEPTS, body=_LARGE, ranges=True)],
        client=[get("Range: bytes=5-9", part(1, 5, 9)), get("Range: bytes=3000000-3000009", part(1, 3000000, 3000009))],
    ),
    case(
        "range-cold-no-validator", "RFC 9111, 3.4", "parts without a validator are never combined, and are right",
        origin=[fresh(_ACCEPTS, body=_LARGE, ranges=True), fresh(_ACCEPTS, body=_LARGE[::-1], ranges=True)],
        client=[get("Range: bytes=5-9", either("of one of the two", part(1, 5, 9), part(2, 5, 9))), get("Range: bytes=3000000-3000009", either("of one of the two", part(1, 3000000, 3000009), part(2, 3000000, 3000009)))],
    ),
    case(
        "range-blocks-reused", "RFC 9111, 3.4", "a range within what was fetched of a large body is a hit",
        origin=[fresh(_TAG, _ACCEPTS, body=_LARGE, ranges=True)],
        client=[get(f"Range: bytes=0-{_BLOCK - 1}", part(1, 0, _BLOCK - 1)), get("Range: bytes=10-19", part(1, 10, 19), asked(0), hit())],
    ),
    case(
        "range-blocks-partial", "RFC 9211, 2.2", "a range partly beyond what was fetched goes forward as partial",
        origin=[fresh(_TAG, _ACCEPTS, body=_LARGE, ranges=True)],
        client=[
            get("Range: bytes=0-99", part(1, 0, 99)),
            get(f"Range: bytes={_BLOCK - 10}-{_BLOCK + 10}", part(1, _BLOCK - 10, _BLOCK + 10), forwarded("partial")),
        ],
    ),
    case(
        "range-blocks-whole", "RFC 9111, 3.4", "the whole after parts of it is complete and right",
        origin=[fresh(_TAG, _ACCEPTS, body=_LARGE, ranges=True)],
        client=[get("Range: bytes=0-99", part(1, 0, 99)), get(f"Range: bytes={2 * _BLOCK}-{2 * _BLOCK + 9}", part(1, 2 * _BLOCK, 2 * _BLOCK + 9)), get(body(_LARGE), status(200))],
    ),
    case(
        "range-blocks-changed", "RFC 9111, 3.4", "parts under different strong entity tags are never combined",
        origin=[fresh(_TAG, _ACCEPTS, body=_LARGE, ranges=True), fresh('ETag: "b"', _ACCEPTS, body=_LARGE[::-1], ranges=True)],
        client=[
            get("Range: bytes=0-99", part(1, 0, 99)),
            get(f"Range: bytes={_BLOCK - 10}-{_BLOCK + 10}", either(
                "all of one, all of the other, or visibly cut off", part(1, _BLOCK - 10, _BLOCK + 10), part(2, _BLOCK - 10, _BLOCK + 10), broken_off(),
            )),
            get(f"Range: bytes={_BLOCK - 10}-{_BLOCK + 10}", part(2, _BLOCK - 10, _BLOCK + 10), again=True),
        ],
    ),
    case(
        "range-blocks-changed-412", "RFC 9110, 13.1.1", "an origin that says by 412 that the entity has changed is asked for the new one",
        origin=[fresh(_TAG, _ACCEPTS, body=_LARGE, ranges=True), fresh('ETag: "b"', _ACCEPTS, body=_LARGE[::-1], ranges=True, conditional=True)],
        client=[
            get("Range: bytes=0-99", part(1, 0, 99)),
            get(f"Range: bytes={2 * _BLOCK}-{2 * _BLOCK + 9}", part(2, 2 * _BLOCK, 2 * _BLOCK + 9), again=True),
            get(body(_LARGE[::-1]), status(200)),
        ],
    ),
    case(
        "range-blocks-206-fields", "RFC 9110, 15.3.7", "a part that was fetched carries the fields of the whole",
        origin=[fresh(_TAG, _ACCEPTS, "X-Test: yes", body=_LARGE, ranges=True)],
        client=[get("Range: bytes=0-9", part(1, 0, 9), has("ETag", '"a"'), has("X-Test", "yes"), has("Content-Length", "10"))],
    ),
    case(
        "range-stale-validated", "RFC 9111, 4.3.2", "a part of a stale response is cut after it was validated",
        origin=[spent(_TAG, body=_TEN), not_modified(LONG, _TAG)],
        client=[get(fetched(1)), get("Range: bytes=0-1", part(1, 0, 1), asked(1), cache_status("fwd-status", 304)), get("Range: bytes=3-4", part(1, 3, 4), hit())],
    ),
    case(
        "range-stale-replaced", "RFC 9111, 4.3.3", "a part of a stale response that has changed is a part of the new one",
        origin=[spent(_TAG, body=_TEN), fresh('ETag: "b"', _ACCEPTS, body=b"abcdefghij")],
        client=[get(fetched(1)), get("Range: bytes=0-1", part(2, 0, 1)), get(answered(2))],
    ),
    case(
        "range-206-wrong-part", "RFC 9110, 15.3.7", "an origin that sends another part than was asked for is not believed",
        origin=[fresh(_TAG, "Content-Range: bytes 5-9/10", status=206, body=b"56789")],
        client=[get("Range: bytes=0-3", either("an error, or what it said", status(502), every("as said", status(206), has("Content-Range", "bytes 5-9/10"), body(b"56789"))))],
    ),
    case(
        "range-206-short", "RFC 9110, 14.4", "a 206 whose body is shorter than its Content-Range is not believed",
        origin=[fresh(_TAG, "Content-Range: bytes 0-3/10", status=206, body=b"01"), fresh(_TAG, body=_TEN)],
        client=[get("Range: bytes=0-3", either("an error, or the right bytes", status(502), part(2, 0, 3), answered(2))), get(answered(2), again=True)],
    ),
    case(
        "range-206-bad-content-range", "RFC 9110, 14.4", "a 206 with an invalid Content-Range is not combined with anything",
        origin=[fresh(_TAG, "Content-Range: bytes 9-0/5", status=206, body=b"01"), fresh(_TAG, body=_TEN)],
        client=[get("Range: bytes=0-3"), get(answered(2), again=True)],
    ),
]

CASES: list[Case] = [*SLICES, *IGNORED, *UNSATISFIABLE, *CONDITIONAL, *FORM, *COLD]

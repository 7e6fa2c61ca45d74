"""RFC 9111, 3: what may be stored, and what of it."""

from __future__ import annotations

from tests.conformance.claims import (
    answered,
    asked,
    asked_with,
    broken_off,
    cache_status,
    either,
    every,
    fetched,
    has,
    lacks,
    listed,
    reused,
    status,
    validated,
)
from tests.conformance.model import Case, Framing, case
from tests.conformance.script import LONG, ask, empty, fresh, get, head, not_modified, post, reply, spent

_OLD = "Last-Modified: <now-864000>"
_BODILESS = (204,)
_STORABLE = (
    *(200, 203, 204, 300, 301, 302, 303, 307, 308),
    *(400, 403, 404, 405, 406, 410, 414, 418, 422, 451, 499),
    *(201, 202, 226, 299, 399, 500, 501, 503, 504, 599),
)
_HEURISTIC = (200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501)
_NOT_HEURISTIC = (201, 202, 302, 303, 307, 400, 401, 403, 409, 412, 422, 429, 500, 502, 503, 504, 299, 599)
_OTHER_METHODS = ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "REPORT", "UNHEARDOF")

EXPLICIT = [
    case(
        f"store-explicit-{code}",
        "RFC 9111, 3",
        f"a {code} with an explicit lifetime is stored and reused, whatever is known of the status",
        origin=[fresh(status=code, body=b"" if code in _BODILESS else None)],
        client=[get(fetched(1)), get(reused(1))],
    )
    for code in _STORABLE
]

HEURISTIC = [
    case(
        f"store-heuristic-{code}",
        "RFC 9111, 4.2.2",
        f"a {code} without an explicit lifetime is reused for a part of the time since its Last-Modified",
        origin=[reply(_OLD, status=code, body=b"" if code in _BODILESS else None)],
        client=[get(fetched(1)), get(reused(1))],
    )
    for code in _HEURISTIC
]

NOT_HEURISTIC = [
    case(
        f"no-heuristic-{code}",
        "RFC 9110, 15.1",
        f"a {code} is not heuristically cacheable: without an explicit lifetime it is never reused",
        origin=[reply(_OLD, status=code), reply(_OLD, status=code)],
        client=[get(fetched(1)), get(fetched(2))],
    )
    for code in _NOT_HEURISTIC
]

NEVER = [
    case(
        f"store-never-{code}",
        f"RFC 6585, {section}",
        f"a {code} must not be stored, whatever its lifetime",
        origin=[fresh(status=code), fresh(status=code)],
        client=[get(fetched(1)), get(fetched(2))],
    )
    for code, section in ((428, 3), (429, 4), (431, 5), (511, 6))
]

METHODS = [
    case(
        f"store-not-{method.lower()}",
        "RFC 9111, 3",
        f"a response to {method} is not what a later GET gets, however long it calls itself fresh",
        origin=[fresh(), fresh()],
        client=[ask(method, fetched(1)), get(fetched(2))],
    )
    for method in _OTHER_METHODS
] + [
    case(
        f"reuse-not-for-{method.lower()}",
        "RFC 9111, 4",
        f"{method} is written through to the origin although a fresh response to GET is stored",
        origin=[fresh(), fresh()],
        client=[get(fetched(1)), ask(method, fetched(2), cache_status("fwd", "method"))],
    )
    for method in _OTHER_METHODS
]

FORBIDDEN = [
    case(
        f"store-forbidden-{name}",
        "RFC 9111, 3",
        f"a response with `{line}` is not stored by a shared cache",
        origin=[reply(line), reply(line)],
        client=[get(fetched(1), cache_status("stored", None)), get(fetched(2))],
    )
    for name, line in (
        ("no-store", "Cache-Control: no-store"),
        ("no-store-max-age", "Cache-Control: no-store, max-age=3600"),
        ("max-age-no-store", "Cache-Control: max-age=3600, no-store"),
        ("private", "Cache-Control: private, max-age=3600"),
        ("private-s-maxage", "Cache-Control: private, s-maxage=3600"),
        ("public-no-store", "Cache-Control: public, no-store, max-age=3600"),
    )
]

PLAIN = [
    case(
        "store-nothing-said",
        "RFC 9111, 4.2.2",
        "a 200 that says nothing of its lifetime and has no Last-Modified is asked for again",
        origin=[reply(), reply()],
        client=[get(fetched(1)), get(fetched(2))],
    ),
    case(
        "store-public-heuristic-302",
        "RFC 9111, 5.2.2.9",
        "public makes a status that is not heuristically cacheable so",
        origin=[reply("Cache-Control: public", _OLD, status=302)],
        client=[get(fetched(1)), get(reused(1))],
    ),
    case(
        "store-public-without-lifetime",
        "RFC 9111, 5.2.2.9",
        "public alone, with nothing to guess a lifetime from, does not make a response fresh",
        origin=[reply("Cache-Control: public"), reply("Cache-Control: public")],
        client=[get(fetched(1)), get(fetched(2))],
    ),
    case(
        "store-expires-only",
        "RFC 9111, 3",
        "Expires alone is an explicit lifetime",
        origin=[reply("Expires: <now+3600>", status=302)],
        client=[get(fetched(1)), get(reused(1))],
    ),
    case(
        "store-s-maxage-only",
        "RFC 9111, 3",
        "s-maxage alone is an explicit lifetime",
        origin=[reply("Cache-Control: s-maxage=3600", status=302)],
        client=[get(fetched(1)), get(reused(1))],
    ),
    case(
        "store-206-alone",
        "RFC 9111, 3",
        "a 206 nobody asked a range for is not taken for the whole",
        origin=[fresh("Content-Range: bytes 0-3/10", status=206, body=b"0123"), fresh()],
        client=[get(), get(fetched(2))],
    ),
    case(
        "store-two-uris",
        "RFC 9111, 4",
        "a stored response is used for its own URI only",
        origin=[fresh(), fresh()],
        client=[get(fetched(1)), get(fetched(2), at="/other")],
    ),
    case(
        "store-two-queries",
        "RFC 9111, 4",
        "the query is part of the URI",
        origin=[fresh(), fresh()],
        client=[get(fetched(1), at="?a=1"), get(fetched(2), at="?a=2"), get(reused(1), at="?a=1")],
    ),
    case(
        "store-query-or-none",
        "RFC 9111, 4",
        "a URI with a query is not the one without",
        origin=[fresh(), fresh()],
        client=[get(fetched(1)), get(fetched(2), at="?a=1"), get(reused(1))],
    ),
    case(
        "store-path-case",
        "RFC 9110, 4.2.3",
        "paths are compared case-sensitively",
        origin=[fresh(), fresh()],
        client=[get(fetched(1), at="/name"), get(fetched(2), at="/Name")],
    ),
    case(
        "store-query-order",
        "RFC 9111, 2",
        "the edge sorts query parameters by name, so that their order makes no second entry",
        origin=[fresh()],
        client=[get(fetched(1), at="?b=2&a=1"), get(reused(1), at="?a=1&b=2")],
    ),
    case(
        "store-query-repeated",
        "RFC 9111, 2",
        "the order of equal parameters means something and is kept",
        origin=[fresh(), fresh()],
        client=[get(fetched(1), at="?a=1&a=2"), get(fetched(2), at="?a=2&a=1")],
    ),
    case(
        "store-percent-encoding",
        "RFC 9110, 4.2.3",
        "an unreserved character is the same, percent-encoded or not",
        origin=[fresh()],
        client=[get(fetched(1), at="/%7Ename"), get(reused(1), at="/~name")],
    ),
    case(
        "store-percent-case",
        "RFC 9110, 4.2.3",
        "the digits of a percent-encoding are compared case-insensitively",
        origin=[fresh()],
        client=[get(fetched(1), at="?a=%e4%b8"), get(reused(1), at="?a=%E4%B8")],
    ),
    case(
        "store-reserved-encoding",
        "RFC 9110, 4.2.3",
        "a reserved character is not the same when it is percent-encoded",
        origin=[fresh(), fresh()],
        client=[get(fetched(1), at="?a=1%262"), get(fetched(2), at="?a=1&2")],
    ),
    case(
        "store-head-not-for-get",
        "RFC 9111, 4",
        "a response to HEAD does not answer a GET",
        origin=[fresh(), fresh()],
        client=[head(asked(1), status(200)), get(fetched(2))],
    ),
    case(
        "store-get-for-head",
        "RFC 9110, 9.3.2",
        "a fresh response to GET answers a HEAD, with its Content-Length and without its body",
        origin=[fresh(body=b"0123456789")],
        client=[get(fetched(1)), head(asked(0), status(200), has("Content-Length", "10"), cache_status("hit", True))],
    ),
    case(
        "store-set-cookie-explicit",
        "RFC 9111, 7.3",
        "a response with Set-Cookie and an explicit lifetime is stored: Set-Cookie does not forbid it",
        origin=[fresh("Set-Cookie: a=b")],
        client=[get(fetched(1)), get(reused(1), has("Set-Cookie", "a=b"))],
    ),
    case(
        "store-set-cookie-heuristic",
        "RFC 9111, 7.3",
        "a response with Set-Cookie is not kept on a guess",
        origin=[reply(_OLD, "Set-Cookie: a=b"), reply(_OLD)],
        client=[get(fetched(1)), get(fetched(2))],
    ),
    case(
        "store-http-1.0-origin",
        "RFC 9111, 3",
        "a response of an HTTP/1.0 origin is stored like another",
        origin=[fresh(version="HTTP/1.0", framing=Framing.CLOSE)],
        client=[get(fetched(1)), get(reused(1))],
    ),
    case(
        "store-replaces",
        "RFC 9111, 4",
        "a later response replaces the earlier one under the same URI",
        origin=[fresh(), fresh(), fresh()],
        client=[get(fetched(1)), get("Cache-Control: no-cache", fetched(2)), get(reused(2))],
    ),
    case(
        "store-negative-404",
        "RFC 9111, 4.2.2",
        "a 404 without a lifetime of its own is remembered for a moment",
        origin=[reply(status=404)],
        client=[get(fetched(1)), get(reused(1))],
    ),
    case(
        "store-negative-410",
        "RFC 9111, 4.2.2",
        "a 410 without a lifetime of its own is remembered for a moment",
        origin=[reply(status=410)],
        client=[get(fetched(1)), get(reused(1))],
    ),
    case(
        "store-negative-404-no-store",
        "RFC 9111, 3",
        "a 404 that says no-store is not remembered",
        origin=[reply("Cache-Control: no-store", status=404), reply()],
        client=[get(fetched(1)), get(fetched(2))],
    ),
    case(
        "store-negative-404-max-age-0",
        "RFC 9111, 4.2.1",
        "a 404 whose own lifetime is zero is not remembered",
        origin=[reply("Cache-Control: max-age=0", status=404), reply()],
        client=[get(fetched(1)), get(fetched(2))],
    ),
]

FIELDS = [
    case(
        f"store-drops-{name.lower()}",
        "RFC 9111, 3.1",
        f"{name} belongs to a connection or a proxy and is neither passed on nor stored",
        origin=[fresh(*given, "X-Kept: yes")],
        client=[
            get(fetched(1), lacks(*gone), has("X-Kept", "yes")),
            get(reused(1), lacks(*gone), has("X-Kept", "yes")),
        ],
    )
    for name, given, gone in (
        ("Connection-named", ("Connection: X-Private, close", "X-Private: 1"), ("X-Private",)),
        ("Keep-Alive", ("Keep-Alive: timeout=5",), ("Keep-Alive",)),
        ("Proxy-Connection", ("Proxy-Connection: keep-alive",), ("Proxy-Connection",)),
        ("Proxy-Authenticate", ('Proxy-Authenticate: Basic realm="x"',), ("Proxy-Authenticate",)),
        ("Proxy-Authentication-Info", ("Proxy-Authentication-Info: x=y",), ("Proxy-Authentication-Info",)),
        ("Upgrade", ("Connection: upgrade", "Upgrade: h2c"), ("Upgrade",)),
    )
] + [
    case(
        f"store-keeps-{name.lower()}",
        "RFC 9111, 3.1",
        f"{name} is stored as received, be it known or not",
        origin=[fresh(*(f"{name}: {value}" for value in given))],
        client=[get(has(name, *given)), get(reused(1), has(name, *given))],
    )
    for name, given in (
        ("X-Unknown", ('any value; with="quotes, and commas"',)),
        ("Content-Type", ("text/x-unheard-of; charset=iso-8859-15",)),
        ("Content-Language", ("zh-CN, en",)),
        ("Content-Location", ("/elsewhere",)),
        ("Content-Disposition", ('attachment; filename="a b.txt"',)),
        ("Link", ("</a>; rel=preload", "</b>; rel=preload")),
        ("Set-Cookie", ("a=1; Path=/", "b=2; Expires=Wed, 09 Jun 2100 10:18:14 GMT")),
        ("WWW-Authenticate", ('Basic realm="x"', 'Digest realm="y", nonce="z"')),
        ("Content-Security-Policy", ("default-src 'self'",)),
        ("Warning", ('199 - "odd"',)),
        ("X-Empty", ("",)),
        ("X-Latin", ("gr\xfc\xdfe",)),
    )
]

INCOMPLETE = [
    case(
        "incomplete-length",
        "RFC 9111, 3.3",
        "a body that ends before its Content-Length is not stored as a complete response",
        origin=[fresh(body=b"x" * 1000, cut=600), fresh()],
        client=[get(broken_off()), get(answered(2), again=True)],
    ),
    case(
        "incomplete-chunked",
        "RFC 9111, 3.3",
        "a chunked body without its last chunk is not stored as a complete response",
        origin=[fresh(body=b"x" * 1000, cut=600, framing=Framing.CHUNKED), fresh()],
        client=[get(broken_off()), get(answered(2), again=True)],
    ),
    case(
        "incomplete-large",
        "RFC 9111, 3.3",
        "a large body that is cut off reaches the client cut off, and the next client gets it whole",
        origin=[fresh(body=b"x" * 3_000_000, cut=2_500_000), fresh(body=b"y" * 3_000_000)],
        client=[get(broken_off()), get(answered(2), again=True)],
    ),
    case(
        "incomplete-empty",
        "RFC 9111, 3.3",
        "a head whose body never begins is not stored",
        origin=[fresh(body=b"x" * 1000, cut=0), fresh()],
        client=[get(broken_off()), get(answered(2), again=True)],
    ),
    case(
        "complete-close",
        "RFC 9112, 6.3",
        "a body that lasts until the connection ends is complete, and may be stored",
        origin=[fresh(framing=Framing.CLOSE)],
        client=[get(fetched(1)), get(reused(1))],
    ),
    case(
        "complete-chunked",
        "RFC 9112, 7.1",
        "a chunked body is complete with its last chunk, and may be stored",
        origin=[fresh(framing=Framing.CHUNKED)],
        client=[get(fetched(1)), get(reused(1))],
    ),
    case(
        "complete-nothing",
        "RFC 9112, 6.3",
        "a body of no bytes is complete",
        origin=[fresh(body=b"")],
        client=[get(fetched(1)), get(reused(1), has("Content-Length", "0"))],
    ),
    case(
        "complete-chunked-nothing",
        "RFC 9112, 7.1",
        "a chunked body of no bytes is complete",
        origin=[fresh(body=b"", framing=Framing.CHUNKED)],
        client=[get(fetched(1)), get(reused(1))],
    ),
    case(
        "complete-large-chunked",
        "RFC 9112, 7.1",
        "a large body of unknown length is stored whole",
        origin=[fresh(body=bytes(range(256)) * 8192, framing=Framing.CHUNKED)],
        client=[get(fetched(1)), get(reused(1))],
    ),
]

_ALLOWING = ("public, max-age=3600", "s-maxage=3600", "max-age=3600, must-revalidate")
_NOT_ALLOWING = (
    "max-age=3600",
    "max-age=3600, proxy-revalidate",
    "max-age=3600, immutable",
    "max-age=3600, no-transform",
)
_AUTHORIZATION = "Authorization: Basic dTpw"

AUTHORIZATION = (
    [
        case(
            f"authorization-allowed-{value.replace(', ', '-')}",
            "RFC 9111, 3.5",
            f"`{value}` allows a shared cache to reuse a response to a request with Authorization",
            origin=[reply(f"Cache-Control: {value}")],
            client=[get(_AUTHORIZATION, fetched(1)), get(reused(1))],
        )
        for value in _ALLOWING
    ]
    + [
        case(
            f"authorization-forbidden-{value.replace(', ', '-')}",
            "RFC 9111, 3.5",
            f"`{value}` does not allow a shared cache to reuse a response to a request with Authorization",
            origin=[reply(f"Cache-Control: {value}"), fresh()],
            client=[get(_AUTHORIZATION, fetched(1)), get(fetched(2))],
        )
        for value in _NOT_ALLOWING
    ]
    + [
        case(
            "authorization-expires",
            "RFC 9111, 3.5",
            "Expires does not allow a shared cache to reuse a response to a request with Authorization",
            origin=[reply("Expires: <now+3600>"), fresh()],
            client=[get(_AUTHORIZATION, fetched(1)), get(fetched(2))],
        ),
        case(
            "authorization-other-user",
            "RFC 9111, 3.5",
            "another user's request does not get what was said to the first",
            origin=[fresh(), fresh()],
            client=[get(_AUTHORIZATION, fetched(1)), get("Authorization: Basic eDp5", fetched(2))],
        ),
        case(
            "authorization-passed-on",
            "RFC 9110, 11.6.2",
            "Authorization is for the origin and reaches it unchanged",
            origin=[fresh()],
            client=[get(_AUTHORIZATION, fetched(1), asked_with("Authorization", "Basic dTpw"))],
        ),
        case(
            "authorization-gets-shared",
            "RFC 9111, 4",
            "a response stored for everybody answers a request with Authorization, too",
            origin=[fresh()],
            client=[get(fetched(1)), get(_AUTHORIZATION, reused(1))],
        ),
        case(
            "authorization-must-revalidate-stale",
            "RFC 9111, 5.2.2.2",
            "must-revalidate allows storing under Authorization, and then every stale use is validated",
            origin=[
                reply("Cache-Control: max-age=60, must-revalidate", "Age: 100", 'ETag: "a"'),
                not_modified('ETag: "a"'),
            ],
            client=[get(_AUTHORIZATION, fetched(1)), get(_AUTHORIZATION, validated(1))],
        ),
        case(
            "authorization-failed",
            "RFC 9111, 3",
            "a 401 to a request without Authorization does not answer one with it",
            origin=[reply('WWW-Authenticate: Basic realm="x"', status=401), reply()],
            client=[get(fetched(1)), get(_AUTHORIZATION, fetched(2))],
        ),
    ]
)

ODDITIES = [
    case(
        "store-content-encoding-untouched",
        "RFC 9110, 8.4",
        "an encoded body passes and is stored as it is; the edge does not decode it",
        origin=[fresh("Content-Encoding: gzip", body=b"\x1f\x8b not really gzip")],
        client=[
            get("Accept-Encoding: gzip", fetched(1), has("Content-Encoding", "gzip")),
            get("Accept-Encoding: gzip", reused(1)),
        ],
    ),
    case(
        "store-duplicate-content-type",
        "RFC 9110, 5.3",
        "field lines of one name keep their order",
        origin=[fresh("X-Order: first", "X-Other: between", "X-Order: second")],
        client=[get(listed("X-Order", "first", "second")), get(reused(1), listed("X-Order", "first", "second"))],
    ),
    case(
        "store-date-absent",
        "RFC 9110, 6.6.1",
        "a response without Date gets one when it is received, and is stored",
        origin=[fresh(dated=False)],
        client=[get(fetched(1)), get(reused(1))],
    ),
    case(
        "store-date-kept",
        "RFC 9110, 6.6.1",
        "the origin's Date is not replaced",
        origin=[fresh("Date: <now-100>")],
        client=[get(fetched(1), has("Date", "<now-100>")), get(reused(1), has("Date", "<now-100>"))],
    ),
    case(
        "store-head-unstored-keeps-get",
        "RFC 9110, 9.3.2",
        "a HEAD with nothing stored is forwarded as HEAD",
        origin=[fresh(body=b"0123456789")],
        client=[head(status(200), asked(1), has("Content-Length", "10"))],
    ),
    case(
        "store-empty-post",
        "RFC 9110, 9.3.3",
        "a POST with an explicit lifetime is not stored by this edge: the same POST is forwarded again",
        origin=[fresh("Content-Location: <path>"), fresh("Content-Location: <path>")],
        client=[post(fetched(1)), post(fetched(2))],
    ),
    case(
        "store-spent-is-told",
        "RFC 9211, 2.5",
        "a response that nobody may reuse unvalidated is fetched for each request",
        origin=[spent(), spent()],
        client=[get(fetched(1)), get(fetched(2))],
    ),
    case(
        "store-204-no-length",
        "RFC 9110, 6.4.1",
        "a stored 204 has neither body nor Content-Length",
        origin=[empty(204, LONG)],
        client=[get(fetched(1)), get(reused(1), lacks("Content-Length", "Transfer-Encoding"))],
    ),
    case(
        "store-304-unasked",
        "RFC 9111, 3",
        "a 304 that the edge did not ask for is not stored and does not reach a client that sent no condition as 200",
        origin=[not_modified(LONG, 'ETag: "a"'), fresh()],
        client=[
            get(either("an error or the bare 304", status(502), every("304", status(304)))),
            get(answered(2)),
        ],
    ),
]

CASES: list[Case] = [
    *EXPLICIT,
    *HEURISTIC,
    *NOT_HEURISTIC,
    *NEVER,
    *METHODS,
    *FORBIDDEN,
    *PLAIN,
    *FIELDS,
    *INCOMPLETE,
    *AUTHORIZATION,
    *ODDITIES,
]

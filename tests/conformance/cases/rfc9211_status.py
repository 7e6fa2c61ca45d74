"""RFC 9211 and 9209: what the edge tells about what it did; and requests at the same time (RFC 9111, 4)."""

# ruff: noqa: E501  (one case a line, as a table)
# fmt: off

from __future__ import annotations

from tests.conformance.claims import (
    answered,
    asked,
    cache_status,
    either,
    fetched,
    forwarded,
    has,
    hit,
    lacks,
    listed_matching,
    matches,
    problem,
    reused,
    status,
    ttl,
    validated,
)
from tests.conformance.model import Case, Framing, case
from tests.conformance.script import (
    LONG,
    ask,
    fresh,
    get,
    head,
    held,
    lines,
    not_modified,
    post,
    raw,
    reply,
    send,
    spent,
    together,
)

_TAG = 'ETag: "a"'
_FIELD = "RFC 9211, 2"
_FWD = "RFC 9211, 2.2"
_STATUS = "RFC 9211, 2.3"
_TTL = "RFC 9211, 2.4"
_STORED = "RFC 9211, 2.5"
_COLLAPSED = "RFC 9211, 2.6"
_AT_ONCE = b"x" * 100_000 + b"y" * 100_000

FORWARDED = [
    case(
        "status-uri-miss", _FWD, "nothing is stored under the URI: uri-miss",
        origin=[fresh()], client=[get(fetched(1), forwarded("uri-miss"))],
    ),
    case(
        "status-uri-miss-again", _FWD, "what could not be stored is a miss each time, or known not to be shared",
        origin=[reply("Cache-Control: no-store")], client=[get(forwarded("uri-miss")), get(either("uri-miss or bypass", forwarded("uri-miss"), forwarded("bypass")))],
    ),
    case(
        "status-vary-miss", _FWD, "something is stored, but not for these fields: vary-miss",
        origin=[fresh("Vary: Foo"), fresh("Vary: Foo")], client=[get("Foo: 1", fetched(1)), get("Foo: 2", fetched(2), forwarded("vary-miss"))],
    ),
    case(
        "status-stale", _FWD, "what is stored is stale: stale",
        origin=[spent(_TAG), spent(_TAG)], client=[get(fetched(1)), get(fetched(2), forwarded("stale"))],
    ),
    case(
        "status-stale-no-cache", _FWD, "what must be validated each time is stale each time",
        origin=[reply("Cache-Control: no-cache", _TAG), not_modified(_TAG)], client=[get(fetched(1)), get(asked(1), answered(1), forwarded("stale"))],
    ),
    case(
        "status-request", _FWD, "the client would not have what is fresh: request",
        origin=[fresh(), fresh()], client=[get(fetched(1)), get("Cache-Control: no-cache", fetched(2), forwarded("request"))],
    ),
    case(
        "status-request-max-age", _FWD, "also by max-age",
        origin=[fresh("Age: 100"), fresh()], client=[get(fetched(1)), get("Cache-Control: max-age=10", fetched(2), forwarded("request"))],
    ),
    *(
        case(
            f"status-method-{method.lower()}", _FWD, f"{method} is forwarded because of what it means: method",
            origin=[reply()], client=[ask(method, fetched(1), forwarded("method"))],
        )
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS")
    ),
    case(
        "status-head-miss", _FWD, "a HEAD for what is not stored is a miss",
        origin=[fresh()], client=[head(asked(1), forwarded("uri-miss"))],
    ),
    case(
        "status-invalidated", _FWD, "what was invalidated is a miss, or stale",
        origin=[fresh(), reply(), fresh()], client=[get(fetched(1)), post(fetched(2)), get(fetched(3), either("uri-miss or stale", forwarded("uri-miss"), forwarded("stale")))],
    ),
]

PARAMETERS = [
    case(
        "status-fwd-status", _STATUS, "fwd-status, where it is given, is what the origin answered",
        origin=[fresh(status=404)], client=[get(fetched(1), either("404 or left out", cache_status("fwd-status", 404), cache_status("fwd-status", None)))],
    ),
    case(
        "status-fwd-status-304", _STATUS, "fwd-status differs from the status after a validation",
        origin=[spent(_TAG), not_modified(LONG, _TAG)], client=[get(fetched(1)), get(validated(1), status(200), cache_status("fwd-status", 304))],
    ),
    case(
        "status-stored", _STORED, "what was stored is said to be",
        origin=[fresh()], client=[get(fetched(1), cache_status("stored", True))],
    ),
    case(
        "status-not-stored", _STORED, "what was not stored is not",
        origin=[reply("Cache-Control: no-store")], client=[get(fetched(1), cache_status("stored", None))],
    ),
    case(
        "status-not-stored-post", _STORED, "an answer to a POST was not stored",
        origin=[fresh()], client=[post(fetched(1), cache_status("stored", None))],
    ),
    case(
        "status-not-stored-head", _STORED, "an answer to a HEAD was not stored",
        origin=[fresh()], client=[head(cache_status("stored", None))],
    ),
    case(
        "status-ttl-fresh", _TTL, "ttl of a hit is what is left of the lifetime",
        origin=[reply("Cache-Control: max-age=1000", "Age: 100")], client=[get(fetched(1)), get(reused(1), ttl(890, 900))],
    ),
    case(
        "status-ttl-stale", _TTL, "ttl of a stale hit is negative",
        origin=[reply("Cache-Control: max-age=60, stale-while-revalidate=600", "Age: 160")], client=[get(fetched(1)), get(answered(1), hit(), ttl(-110, -100), arrives=2)],
    ),
    case(
        "status-ttl-expires", _TTL, "ttl counts from Expires as well",
        origin=[reply("Expires: <now+500>", "Date: <now>")], client=[get(fetched(1)), get(reused(1), ttl(480, 500))],
    ),
    case(
        "status-ttl-s-maxage", _TTL, "ttl counts from s-maxage where that rules",
        origin=[reply("Cache-Control: max-age=10, s-maxage=500")], client=[get(fetched(1)), get(reused(1), ttl(480, 500))],
    ),
    case(
        "status-not-collapsed", _COLLAPSED, "a request that was alone was not collapsed",
        origin=[fresh()], client=[get(fetched(1), cache_status("collapsed", None))],
    ),
    case(
        "status-hit-304", _FIELD, "a 304 made from what is stored is a hit",
        origin=[fresh(_TAG)], client=[get(fetched(1)), get('If-None-Match: "a"', status(304), hit())],
    ),
    case(
        "status-hit-206", _FIELD, "a 206 made from what is stored is a hit",
        origin=[fresh()], client=[get(fetched(1)), get("Range: bytes=0-1", status(206), hit())],
    ),
    case(
        "status-hit-416", _FIELD, "a 416 made from what is stored is a hit, or says nothing",
        origin=[fresh()], client=[get(fetched(1)), get("Range: bytes=5000-", status(416), asked(0), cache_status("fwd", None))],
    ),
    case(
        "status-hit-head", _FIELD, "a HEAD answered from what is stored is a hit",
        origin=[fresh()], client=[get(fetched(1)), head(status(200), hit())],
    ),
    case(
        "status-appended", _FIELD, "the edge's member comes after those of the caches behind it",
        origin=[fresh("Cache-Status: Origin; hit; ttl=5")], client=[get(fetched(1), listed_matching("Cache-Status", "Origin; hit; ttl=5", "test; fwd=uri-miss.*"))],
    ),
    case(
        "status-appended-hit", _FIELD, "also on a hit",
        origin=[fresh("Cache-Status: Origin; fwd=uri-miss")], client=[get(fetched(1)), get(reused(1), listed_matching("Cache-Status", "Origin; fwd=uri-miss", "test; hit.*"))],
    ),
    case(
        "status-appended-broken", _FIELD, "a field of the origin's that does not parse does not spoil the edge's own",
        origin=[fresh("X-Cache-Status: ((")], client=[get(fetched(1), cache_status("fwd", "uri-miss"))],
    ),
    case(
        "status-request-field", _FIELD, "a Cache-Status in a request means nothing",
        origin=[fresh()], client=[get("Cache-Status: evil; hit", fetched(1), listed_matching("Cache-Status", "test; fwd=uri-miss.*"))],
    ),
    case(
        "status-none-on-400", _FIELD, "an answer to a malformed request has nothing to do with the cache",
        origin=[reply()], client=[send(lines("GET <path> HTTP/1.1"), status(400), lacks("Cache-Status"))],
    ),
]

ERRORS = [
    case(
        f"proxy-status-{name}", "RFC 9209, 2.3", claim,
        origin=[raw(text)], client=[get(problem(502, error))],
    )
    for name, claim, text, error in (
        ("closed", "an origin that ends the connection without a response", "", "connection_terminated"),
        ("half-head", "an origin that ends the connection within a head", "HTTP/1.1 200 OK\r\nX-Od", "http_response_incomplete"),
        ("garbage", "an origin that does not speak HTTP", "SSH-2.0-OpenSSH_9.6\r\n\r\n", "http_protocol_error"),
        ("bad-length", "an origin whose length is no number", lines("HTTP/1.1 200 OK", "Content-Length: x"), "http_protocol_error"),
    )
] + [
    case(
        "status-none-on-502", _FIELD, "an answer that the edge made itself has no member of the edge's",
        origin=[raw("")], client=[get(problem(502), lacks("Cache-Status"))],
    ),
    case(
        "proxy-status-400", "RFC 9209, 2.3.25", "a malformed request is told to be one, under the edge's name",
        origin=[reply()], client=[send(lines("GET <path> HTTP/1.1"), problem(400, "http_request_error"))],
    ),
    case(
        "proxy-status-504", "RFC 9209, 2", "what only the cache could have answered is an error of the edge's own",
        origin=[reply()], client=[get("Cache-Control: only-if-cached", problem(504), has("Cache-Control", "no-store"))],
    ),
    case(
        "proxy-status-not-on-origin-error", "RFC 9209, 2", "an origin's own error is not the edge's",
        origin=[reply(status=502)], client=[get(fetched(1), lacks("Proxy-Status"))],
    ),
    case(
        "proxy-status-not-on-good", "RFC 9209, 2", "a good answer names no error",
        origin=[reply()], client=[get(fetched(1), lacks("Proxy-Status"))],
    ),
    case(
        "proxy-status-of-origin", "RFC 9209, 2", "an origin's Proxy-Status is passed on",
        origin=[reply("Proxy-Status: inner; error=dns_error", status=502)], client=[get(fetched(1), has("Proxy-Status", "inner; error=dns_error"))],
    ),
    case(
        "problem-not-cacheable", "RFC 9457, 3", "a problem document of the edge's own is for this request alone",
        origin=[raw("")], client=[get(problem(502), has("Cache-Control", "no-store"), lacks("Age"))],
    ),
    case(
        "problem-head", "RFC 9110, 9.3.2", "an error to a HEAD has no body",
        origin=[raw("")], client=[head(status(502), matches("Content-Type", r"application/problem\+json.*"))],
    ),
    case(
        "problem-post", "RFC 9457, 3", "a POST whose origin fails gets a problem document, too",
        origin=[raw("")], client=[post(problem(502))],
    ),
    case(
        "problem-no-secrets", "RFC 9457, 5", "a problem document tells nothing of the edge's inside",
        origin=[raw("garbage\r\n\r\n")], client=[get(problem(502), lacks("Server-Timing", "X-Powered-By"))],
    ),
]

TOGETHER = [
    case(
        "together-collapsed", "RFC 9111, 4", "identical requests at the same time are one request to the origin, streamed to all",
        origin=[held(LONG, body=_AT_ONCE)],
        client=[together(*(get(answered(1), asked(1)) for _ in range(5))), get(reused(1))],
    ),
    case(
        "together-collapsed-chunked", "RFC 9111, 4", "also when nobody knows how long the body is",
        origin=[held(LONG, body=_AT_ONCE, framing=Framing.CHUNKED)],
        client=[together(*(get(answered(1), asked(1)) for _ in range(3))), get(reused(1))],
    ),
    case(
        "together-head-and-get", "RFC 9111, 4", "a range among them gets its part of the same body",
        origin=[held(LONG, _TAG, body=_AT_ONCE)],
        client=[together(get(answered(1)), get(answered(1)), get("X-Client: other", answered(1), asked(1)))],
    ),
    case(
        "together-different-uris", "RFC 9111, 4", "requests for different URIs are not collapsed",
        origin=[held(LONG, body=_AT_ONCE)] * 2, client=[together(get(asked(2), status(200), at="/a"), get(asked(2), status(200), at="/b"))],
    ),
    case(
        "together-different-queries", "RFC 9111, 4", "nor for different queries",
        origin=[held(LONG, body=_AT_ONCE)] * 2, client=[together(get(asked(2), status(200), at="?a=1"), get(asked(2), status(200), at="?a=2"))],
    ),
    case(
        "together-post", "RFC 9111, 4", "POSTs are never collapsed",
        origin=[held(LONG, body=_AT_ONCE)] * 2, client=[together(post(asked(2), status(200)), post(asked(2), status(200)))],
    ),
    case(
        "together-known-uncacheable", "RFC 9111, 4", "requests for what is known not to be shared do not wait for one another",
        origin=[reply("Cache-Control: no-store"), held("Cache-Control: no-store", body=_AT_ONCE), held("Cache-Control: no-store", body=_AT_ONCE)],
        client=[get(fetched(1)), together(get(asked(2), status(200)), get(asked(2), status(200)))],
    ),
    case(
        "together-variants", "RFC 9111, 4", "requests that select different variants each get their own",
        origin=[fresh("Vary: Foo"), held(LONG, "Vary: Foo", body=_AT_ONCE), held(LONG, "Vary: Foo", body=_AT_ONCE)],
        client=[get("Foo: 0", fetched(1)), together(get("Foo: 1", asked(2), status(200)), get("Foo: 2", asked(2), status(200)))],
    ),
    case(
        "together-swr", "RFC 5861, 3", "stale hits at the same time make one background request",
        origin=[reply("Cache-Control: max-age=60, stale-while-revalidate=600", "Age: 100"), held(LONG, body=_AT_ONCE)],
        client=[
            get(fetched(1)),
            together(*(get(answered(1), hit(), asked(1), arrives=2) for _ in range(4))),
            get(answered(2), hit(), asked(0), again=True),
        ],
    ),
    case(
        "together-stale", "RFC 9111, 4", "validations at the same time are one",
        origin=[spent(_TAG), held(LONG, 'ETag: "b"', body=_AT_ONCE)],
        client=[get(fetched(1)), together(*(get(answered(2), asked(1)) for _ in range(3))), get(reused(2))],
    ),
    case(
        "together-authorization", "RFC 9111, 3.5", "requests of different users are not collapsed into one user's private answer",
        origin=[held("Cache-Control: private", body=_AT_ONCE)] * 2,
        client=[together(get("Authorization: Basic dTpw", status(200), asked(2)), get("Authorization: Basic eDp5", status(200), asked(2)))],
    ),
]

CASES: list[Case] = [*FORWARDED, *PARAMETERS, *ERRORS, *TOGETHER]

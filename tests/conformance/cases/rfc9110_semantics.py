"""RFC 9110, but for conditions and ranges: what an intermediary passes on, and what it keeps to itself."""

# ruff: noqa: E501  (one case a line, as a table)
# fmt: off

from __future__ import annotations

from tests.conformance.claims import (
    answered,
    asked,
    asked_for,
    asked_listing,
    asked_matching,
    asked_sending,
    asked_with,
    asked_without,
    body,
    broken_off,
    cache_status,
    either,
    every,
    fetched,
    forwarded,
    has,
    hit,
    interim,
    interim_with,
    lacks,
    listed_matching,
    matches,
    problem,
    reused,
    status,
    trailers,
)
from tests.conformance.model import Case, Framing, case
from tests.conformance.script import ask, empty, fresh, get, head, lines, post, raw, reply, send

_TAG = 'ETag: "a"'
_TEN = b"0123456789"

# --- connections

HOPS_IN = [
    case(
        f"hop-request-{name}", "RFC 9110, 7.6.1", claim,
        origin=[reply()], client=[get(*fields, "X-Kept: yes", fetched(1), asked_without(*gone), asked_with("X-Kept", "yes"))],
    )
    for name, claim, fields, gone in (
        ("connection-named", "fields that Connection names are for the edge only", ("Connection: X-Private", "X-Private: 1"), ("X-Private",)),
        ("connection-named-case", "names in Connection are compared case-insensitively", ("Connection: x-pRIVATE", "X-Private: 1"), ("X-Private",)),
        ("connection-two-names", "Connection may name several fields", ("Connection: X-One, X-Two", "X-One: 1", "X-Two: 2"), ("X-One", "X-Two")),
        ("connection-two-lines", "Connection may come on several lines", ("Connection: X-One", "Connection: X-Two", "X-One: 1", "X-Two: 2"), ("X-One", "X-Two")),
        ("connection-empty-members", "empty members of Connection mean nothing", ("Connection: , ,X-Private, ", "X-Private: 1"), ("X-Private",)),
        ("keep-alive", "Keep-Alive is not passed on", ("Connection: keep-alive", "Keep-Alive: timeout=5"), ("Keep-Alive",)),
        ("keep-alive-unnamed", "nor when Connection does not name it", ("Keep-Alive: timeout=5",), ("Keep-Alive",)),
        ("proxy-connection", "Proxy-Connection is not passed on", ("Proxy-Connection: keep-alive",), ("Proxy-Connection",)),
                ("upgrade", "Upgrade is not passed on", ("Connection: upgrade", "Upgrade: h2c"), ("Upgrade",)),
        ("proxy-authorization", "Proxy-Authorization is for the edge only", ("Proxy-Authorization: Basic dTpw",), ("Proxy-Authorization",)),
        ("http2-settings", "HTTP2-Settings goes with the Upgrade it belongs to", ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"), ("HTTP2-Settings", "Upgrade")),
    )
]

HOPS_OUT = [
    case(
        f"hop-response-{name}", "RFC 9110, 7.6.1", claim,
        origin=[reply(*fields, "X-Kept: yes")], client=[get(fetched(1), lacks(*gone), has("X-Kept", "yes"))],
    )
    for name, claim, fields, gone in (
        ("connection-named", "fields that Connection names are for the edge only", ("Connection: X-Private", "X-Private: 1"), ("X-Private",)),
        ("connection-two-lines", "Connection may come on several lines", ("Connection: X-One", "Connection: X-Two", "X-One: 1", "X-Two: 2"), ("X-One", "X-Two")),
        ("keep-alive", "Keep-Alive is not passed on", ("Keep-Alive: timeout=5, max=100",), ("Keep-Alive",)),
        ("proxy-connection", "Proxy-Connection is not passed on", ("Proxy-Connection: keep-alive",), ("Proxy-Connection",)),
        ("upgrade", "Upgrade is not passed on", ("Connection: upgrade", "Upgrade: h2c, websocket"), ("Upgrade",)),
        ("proxy-authenticate", "Proxy-Authenticate is for the edge only", ('Proxy-Authenticate: Basic realm="x"',), ("Proxy-Authenticate",)),
        ("close", "an origin that ends its connection does not end the client's", ("Connection: close",), ()),
    )
] + [
    case(
        "hop-close-then-again", "RFC 9112, 9.6", "a client's connection outlives the origin's",
        origin=[reply("Connection: close", framing=Framing.CLOSE), reply()], client=[get(fetched(1)), get(fetched(2))],
    ),
    case(
        "hop-end-to-end", "RFC 9110, 7.6.1", "fields that are end to end are passed on, known or not, in order",
        origin=[reply()],
        client=[get("X-One: 1", "User-Agent: me", "X-Two: 2", "Referer: http://a.example/", "X-One: 3",
                    fetched(1), asked_with("User-Agent", "me"), asked_with("Referer", "http://a.example/"), asked_listing("X-One", "1", "3"), asked_with("X-Two", "2"))],
    ),
    case(
        "hop-cookie", "RFC 9110, 7.6.1", "Cookie reaches the origin unchanged",
        origin=[reply()], client=[get("Cookie: a=1; b=\"2\"", fetched(1), asked_with("Cookie", 'a=1; b="2"'))],
    ),
    case(
        "hop-odd-values", "RFC 9110, 5.5", "values with tabs, quotes and bytes above ASCII are passed on unchanged",
        origin=[reply("X-Odd: a\tb \"c\" \xe9")], client=[get("X-Odd: x\ty \"z\" \xe8", fetched(1), asked_with("X-Odd", "x\ty \"z\" \xe8"), has("X-Odd", "a\tb \"c\" \xe9"))],
    ),
    case(
        "hop-empty-value", "RFC 9110, 5.5", "an empty value is passed on",
        origin=[reply("X-Odd:")], client=[get("X-Odd:", fetched(1), asked_with("X-Odd", ""), has("X-Odd", ""))],
    ),
    case(
        "hop-many-fields", "RFC 9110, 5.4", "ninety fields are passed on",
        origin=[reply(*(f"X-Out-{n}: {n}" for n in range(90)))],
        client=[get(*(f"X-In-{n}: {n}" for n in range(90)), fetched(1), asked_with("X-In-89", "89"), has("X-Out-89", "89"))],
    ),
    case(
        "hop-te-trailers", "RFC 9110, 6.5.1", "the edge tells the origin itself whether it takes trailers; a client's other codings are not passed on",
        origin=[reply()], client=[get("Connection: TE", "TE: trailers, gzip;q=0.5", fetched(1), asked_matching("TE", "(trailers)?"))],
    ),
]

# --- who passed it on

VIA = [
    case(
        "via-request", "RFC 9110, 7.6.3", "the edge adds itself to a request's Via, with the version it was sent in",
        origin=[reply()], client=[get(fetched(1), asked_matching("Via", r"1\.1 \S+.*"))],
    ),
    case(
        "via-request-appended", "RFC 9110, 7.6.3", "after those who passed it on before",
        origin=[reply()], client=[get("Via: 1.0 fred, 1.1 p.example", fetched(1), asked_matching("Via", r"1\.0 fred, ?1\.1 p\.example, ?1\.1 \S+.*"))],
    ),
    case(
        "via-request-1.0", "RFC 9110, 7.6.3", "a request in HTTP/1.0 is passed on as received in 1.0",
        origin=[reply()], client=[get(fetched(1), asked_matching("Via", r"1\.0 \S+.*"), version="HTTP/1.0")],
    ),
    case(
        "via-response", "RFC 9110, 7.6.3", "the edge adds itself to a response's Via",
        origin=[reply()], client=[get(fetched(1), matches("Via", r"1\.1 \S+.*"))],
    ),
    case(
        "via-response-appended", "RFC 9110, 7.6.3", "after those who passed it on before",
        origin=[reply("Via: 1.1 backend")], client=[get(fetched(1), listed_matching("Via", r"1\.1 backend", r"1\.1 \S+.*"))],
    ),
    case(
        "via-response-1.0", "RFC 9110, 7.6.3", "a response of an HTTP/1.0 origin was received in 1.0",
        origin=[reply(version="HTTP/1.0", framing=Framing.CLOSE)], client=[get(fetched(1), matches("Via", r"1\.0 \S+.*"))],
    ),
    case(
        "forwarded-for", "RFC 7239, 5.2", "the origin is told the client's address",
        origin=[reply()], client=[get(fetched(1), asked_with("X-Forwarded-For", "127.0.0.1"), asked_matching("Forwarded", r'(?i).*for="?127\.0\.0\.1.*'))],
    ),
    case(
        "forwarded-proto", "RFC 7239, 5.4", "and by which scheme the request came",
        origin=[reply()], client=[get(fetched(1), asked_matching("Forwarded", r"(?i).*proto=http\b.*"))],
    ),
    case(
        "forwarded-not-in-key", "RFC 9111, 4", "what the edge adds does not select the stored response",
        origin=[fresh()], client=[get("X-Forwarded-For: 192.0.2.1", fetched(1)), get("X-Forwarded-For: 192.0.2.2", reused(1))],
    ),
]

# --- methods

METHODS = [
    case(
        f"method-{method.lower()}", "RFC 9110, 9.1", f"{method} is passed on with its body, and so is the answer",
        origin=[reply("X-Test: yes", status=code)], client=[ask(method, fetched(1), asked_for(method), asked_sending(b"sent"), forwarded("method"), has("X-Test", "yes"), body=b"sent")],
    )
    for method, code in (("POST", 201), ("PUT", 201), ("PATCH", 200), ("DELETE", 200), ("OPTIONS", 200), ("PROPFIND", 207), ("QUERY", 200), ("UNHEARDOF", 200), ("x-lower", 200))
] + [
    case(
        "method-case", "RFC 9110, 9.1", "methods are case-sensitive: get is not GET, and is not served from the cache",
        origin=[fresh(), reply()], client=[get(fetched(1)), ask("get", either("passed on or refused", fetched(2), status(400, 405, 501)))],
    ),
    case(
        "method-post-chunked", "RFC 9112, 7.1", "a chunked request body reaches the origin whole",
        origin=[reply()], client=[post(fetched(1), asked_sending(_TEN * 1000), body=_TEN * 1000, chunked=True)],
    ),
    case(
        "method-post-empty-chunked", "RFC 9112, 7.1", "a chunked body of no bytes is a body of no bytes",
        origin=[reply()], client=[post(fetched(1), asked_sending(b""), body=b"", chunked=True)],
    ),
    case(
        "method-post-empty", "RFC 9110, 8.6", "a POST without a body says so to the origin",
        origin=[reply()], client=[post(fetched(1), asked_sending(b""), body=b"")],
    ),
    case(
        "method-post-large", "RFC 9110, 9.3.3", "a large request body is passed on whole",
        origin=[reply()], client=[post(fetched(1), asked_sending(bytes(range(256)) * 12_000), body=bytes(range(256)) * 12_000)],
    ),
    case(
        "method-post-content-type", "RFC 9110, 8.3", "the fields that describe a request body are passed on",
        origin=[reply()],
        client=[post("Content-Type: a/b; c=d", "Content-Encoding: gzip", "Content-Language: zh", fetched(1),
                     asked_with("Content-Type", "a/b; c=d"), asked_with("Content-Encoding", "gzip"), asked_with("Content-Language", "zh"))],
    ),
    case(
        "method-get-body", "RFC 9110, 9.3.1", "a GET with a body is passed on or refused, and never confuses the next request",
        origin=[reply(), reply()],
        client=[get(either("passed on or refused", fetched(1), status(400, 413)), body=b"GET /evil HTTP/1.1\r\n\r\n"), get(status(200), at="/next")],
    ),
    case(
        "method-delete-without-body", "RFC 9110, 9.3.5", "a DELETE without a body is passed on without one",
        origin=[reply(status=204, body=b"")], client=[ask("DELETE", fetched(1), asked_sending(b""))],
    ),
    case(
        "method-options-star", "RFC 9110, 9.3.7", "OPTIONS * asks the edge or the origin about itself",
        origin=[reply()], client=[send(lines("OPTIONS * HTTP/1.1", "Host: <host>"), status(200, 204, 400, 404, 405, 501), until_closed=False)],
    ),
    case(
        "method-connect", "RFC 9110, 9.3.6", "CONNECT opens no tunnel",
        origin=[reply()], client=[send(lines("CONNECT a.example:443 HTTP/1.1", "Host: a.example:443"), status(400, 403, 404, 405, 501), asked(0), until_closed=False)],
    ),
    case(
        "method-max-forwards-options", "RFC 9110, 7.6.2", "an OPTIONS whose Max-Forwards is used up goes no further",
        origin=[reply()], client=[ask("OPTIONS", "Max-Forwards: 0", asked(0), status(200, 204))],
    ),
    case(
        "method-max-forwards-counts", "RFC 9110, 7.6.2", "the edge counts Max-Forwards of an OPTIONS down",
        origin=[reply()], client=[ask("OPTIONS", "Max-Forwards: 5", fetched(1), asked_with("Max-Forwards", "4"))],
    ),
    case(
        "method-max-forwards-get", "RFC 9110, 7.6.2", "Max-Forwards of another method is ignored",
        origin=[reply()], client=[get("Max-Forwards: 0", fetched(1))],
    ),
    case(
        "method-trace-no-secrets", "RFC 9110, 9.3.8", "a TRACE is refused, or never tells what the client keeps secret",
        origin=[reply()], client=[ask("TRACE", status(200, 403, 405, 501))],
    ),
    case(
        "method-not-retried", "RFC 9110, 9.2.2", "a POST whose connection breaks is not sent again",
        origin=[raw("")], client=[post(problem(502), asked(1))],
    ),
    case(
        "method-post-error-passes", "RFC 9110, 9.3.3", "an origin's error to a POST is passed on with its own body",
        origin=[reply(status=500)], client=[post(fetched(1))],
    ),
]

# --- HEAD

HEADS = [
    case(
        "head-cold", "RFC 9110, 9.3.2", "a HEAD with nothing stored is asked as HEAD, and has the fields of a GET",
        origin=[fresh("X-Test: yes", body=_TEN)], client=[head(status(200), asked_for("HEAD"), has("Content-Length", "10"), has("X-Test", "yes"))],
    ),
    case(
        "head-cold-chunked", "RFC 9110, 9.3.2", "also when the length is not known",
        origin=[fresh(framing=Framing.CHUNKED)], client=[head(status(200), asked(1)), get(status(200), asked(1))],
    ),
    case(
        "head-from-stored", "RFC 9110, 9.3.2", "a HEAD from the cache has the stored fields and an Age",
        origin=[fresh(_TAG, "X-Test: yes", body=_TEN)],
        client=[get(fetched(1)), head(status(200), asked(0), hit(), has("ETag", '"a"'), has("X-Test", "yes"), has("Content-Length", "10"), matches("Age", r"\d+"))],
    ),
    case(
        "head-from-stored-chunked", "RFC 9110, 9.3.2", "also when it came in chunks",
        origin=[fresh(framing=Framing.CHUNKED)], client=[get(fetched(1)), head(status(200), asked(0), hit())],
    ),
    case(
        "head-404", "RFC 9110, 9.3.2", "a HEAD may get an error",
        origin=[reply("Cache-Control: max-age=60", status=404)], client=[head(status(404), asked(1))],
    ),
    case(
        "head-keeps-connection", "RFC 9112, 6.3", "nothing follows the head of an answer to HEAD",
        origin=[fresh(body=_TEN), reply()], client=[head(status(200)), get(status(200), asked(1), at="/next")],
    ),
    case(
        "head-with-body-from-origin", "RFC 9112, 6.3", "an origin that sends a body to a HEAD confuses nobody",
        origin=[raw(lines("HTTP/1.1 200 OK", "Content-Length: 5", "Date: <now>") + "evil!"), reply()],
        client=[head(either("the head or an error", status(200), status(502))), get(status(200), answered(2))],
    ),
    case(
        "head-condition", "RFC 9110, 13.1.2", "a HEAD with a condition is judged on the stored response",
        origin=[fresh(_TAG)], client=[get(fetched(1)), head('If-None-Match: "b"', status(200), asked(0))],
    ),
]

# --- statuses

STATUSES = [
    case(
        f"status-{code}", "RFC 9110, 15", f"a {code} is passed on as it is",
        origin=[reply("X-Test: yes", *fields, status=code, body=b"" if code in (204, 304) else None, reason=reason)],
        client=[get(fetched(1), has("X-Test", "yes"), cache_status("fwd", "uri-miss"))],
    )
    for code, reason, fields in (
        (203, "Non-Authoritative Information", ()), (205, "Reset Content", ()), (207, "Multi-Status", ()), (218, "This is fine", ()),
        (303, "See Other", ("Location: /x",)), (306, "Unused", ()), (307, "Temporary Redirect", ("Location: /x",)), (308, "Permanent Redirect", ("Location: http://a.example/x",)),
        (401, "Unauthorized", ('WWW-Authenticate: Basic realm="x"',)), (402, "Payment Required", ()), (407, "Proxy Authentication Required", ()), (411, "Length Required", ()), (415, "Unsupported", ()), (418, "I'm a teapot", ()), (421, "Misdirected", ()), (428, "", ()), (451, "Unavailable For Legal Reasons", ()), (499, "Odd", ()),
        (500, "Internal Server Error", ()), (501, "Not Implemented", ()), (502, "Bad Gateway", ()), (503, "Service Unavailable", ("Retry-After: 5",)), (505, "Version", ()), (511, "Network", ()), (599, "Odd", ()),
    )
] + [
    case(
        "status-reason-empty", "RFC 9112, 4", "an empty reason phrase is fine",
        origin=[reply(reason="")], client=[get(fetched(1))],
    ),
    case(
        "status-reason-odd", "RFC 9112, 4", "a reason phrase is no information",
        origin=[reply(reason="404 Not\tFound \xe9")], client=[get(fetched(1))],
    ),
    case(
        "status-503-retry-after", "RFC 9110, 10.2.3", "Retry-After reaches the client",
        origin=[reply("Retry-After: 120", status=503)], client=[get(fetched(1), has("Retry-After", "120"))],
    ),
    case(
        "status-300-body", "RFC 9110, 15.4.1", "a choice is passed on with its body",
        origin=[reply("Location: /a", status=300)], client=[get(fetched(1), has("Location", "/a"))],
    ),
    case(
        "status-redirect-not-followed", "RFC 9110, 15.4", "the edge follows no redirection itself",
        origin=[reply("Location: http://<host><path>/there", status=302)], client=[get(fetched(1), has("Location", "http://<host><path>/there"))],
    ),
]

# --- interim responses

_HINTS = lines("HTTP/1.1 103 Early Hints", "Link: </a.css>; rel=preload")
_PROCESSING = lines("HTTP/1.1 102 Processing")

INTERIM = [
    case(
        "interim-103", "RFC 9110, 15.2", "a 103 is passed on before the final response, with its fields",
        origin=[reply(interim=(_HINTS,))], client=[get(fetched(1), interim(103), interim_with("Link", "</a.css>; rel=preload"))],
    ),
    case(
        "interim-102", "RFC 9110, 15.2", "a 102 is passed on",
        origin=[reply(interim=(_PROCESSING,))], client=[get(fetched(1), interim(102))],
    ),
    case(
        "interim-unknown", "RFC 9110, 15.2", "an interim response nobody knows is passed on",
        origin=[reply(interim=(lines("HTTP/1.1 199 Odd", "X-Odd: 1"),))], client=[get(fetched(1), interim(199), interim_with("X-Odd", "1"))],
    ),
    case(
        "interim-several", "RFC 9110, 15.2", "several interim responses are passed on in order",
        origin=[reply(interim=(_PROCESSING, _HINTS, _HINTS))], client=[get(fetched(1), interim(102, 103, 103))],
    ),
    case(
        "interim-100-unasked", "RFC 9110, 15.2.1", "a 100 that the client did not ask for does not hide the response",
        origin=[reply(interim=(lines("HTTP/1.1 100 Continue"),))], client=[get(fetched(1))],
    ),
    case(
        "interim-not-stored", "RFC 9111, 3", "an interim response is not stored: the hit comes without it",
        origin=[fresh(interim=(_HINTS,))], client=[get(fetched(1), interim(103)), get(reused(1), interim())],
    ),
    case(
        "interim-1.0-client", "RFC 9110, 15.2", "an HTTP/1.0 client gets no interim response",
        origin=[reply(interim=(_HINTS,))], client=[get(fetched(1), interim(), version="HTTP/1.0")],
    ),
    case(
        "interim-hop-fields", "RFC 9110, 7.6.1", "fields of a connection do not pass in an interim response either",
        origin=[reply(interim=(lines("HTTP/1.1 103 Early Hints", "Connection: X-Private", "X-Private: 1", "Link: </a>"),))],
        client=[get(fetched(1), interim(103), interim_with("Link", "</a>"))],
    ),
    case(
        "interim-101-unasked", "RFC 9110, 15.2.2", "a 101 that nobody asked for is an error of the origin's",
        origin=[raw(lines("HTTP/1.1 101 Switching Protocols", "Upgrade: x", "Connection: upgrade") + "evil")], client=[get(problem(502))],
    ),
    case(
        "interim-post", "RFC 9110, 15.2", "interim responses to other methods are passed on, too",
        origin=[reply(interim=(_PROCESSING,))], client=[post(fetched(1), interim(102))],
    ),
    case(
        "expect-continue", "RFC 9110, 10.1.1", "a client that waits for 100 gets it and sends its body",
        origin=[reply()], client=[post("Expect: 100-continue", fetched(1), interim(100), asked_sending(b"posted"), waits=True)],
    ),
    case(
        "expect-continue-not-waiting", "RFC 9110, 10.1.1", "a client need not wait",
        origin=[reply()], client=[post("Expect: 100-continue", fetched(1), asked_sending(b"posted"))],
    ),
    case(
        "expect-unknown", "RFC 9110, 10.1.1", "an expectation nobody knows is refused with 417 or passed on",
        origin=[reply(status=417)], client=[post("Expect: the-impossible", status(417))],
    ),
    case(
        "expect-1.0", "RFC 9110, 10.1.1", "an HTTP/1.0 client's Expect is ignored: no 100",
        origin=[reply()], client=[post("Expect: 100-continue", fetched(1), interim(), version="HTTP/1.0")],
    ),
]

# --- content and trailers

CONTENT = [
    case(
        "content-range-of-bytes", "RFC 9110, 6.4", "a body may hold any bytes",
        origin=[fresh(body=bytes(range(256)) * 8)], client=[get(fetched(1)), get(reused(1))],
    ),
    case(
        "content-looks-like-http", "RFC 9112, 6.3", "a body that looks like a response is a body",
        origin=[fresh(body=b"HTTP/1.1 500 Evil\r\nContent-Length: 0\r\n\r\n")], client=[get(fetched(1)), get(reused(1))],
    ),
    case(
        "content-not-decoded", "RFC 9110, 8.4", "an encoding the edge does not know passes untouched",
        origin=[fresh("Content-Encoding: x-odd", body=_TEN)], client=[get("Accept-Encoding: x-odd", fetched(1), has("Content-Encoding", "x-odd"))],
    ),
    case(
        "content-accept-encoding", "RFC 9110, 12.5.3", "the codings a client accepts are what the origin is told, in the client's words or in the edge's normal form",
        origin=[fresh("Vary: Accept-Encoding")],
        client=[get("Accept-Encoding: br;q=0.8, gzip", fetched(1), either("either form", asked_listing("Accept-Encoding", "br", "gzip"), asked_with("Accept-Encoding", "br;q=0.8, gzip")))],
    ),
    case(
        "content-accept-encoding-none", "RFC 9110, 12.5.3", "the edge accepts no coding for a client that named none",
        origin=[fresh()], client=[get(fetched(1), asked_matching("Accept-Encoding", "|identity"))],
    ),
    case(
        "content-trailers-dropped-or-kept", "RFC 9110, 6.5.1", "trailers are passed on as trailers or dropped, never merged into the fields",
        origin=[reply("Trailer: X-Sum", framing=Framing.CHUNKED, trailers=("X-Sum: 42",))],
        client=[get("TE: trailers", "Connection: TE", fetched(1), lacks("X-Sum"), either("kept or dropped", trailers(), trailers(("X-Sum", "42"))))],
    ),
    case(
        "content-trailers-forbidden", "RFC 9110, 6.5.1", "a trailer cannot change caching",
        origin=[reply("Cache-Control: no-store", framing=Framing.CHUNKED, trailers=("Cache-Control: max-age=3600",))],
        client=[get(answered(1), has("Cache-Control", "no-store")), get(answered(1), asked(1))],
    ),
    case(
        "content-trailers-framing", "RFC 9110, 6.5.1", "a trailer cannot change framing: it is ignored, or the response is broken",
        origin=[reply(framing=Framing.CHUNKED, trailers=("Content-Length: 3", "Transfer-Encoding: gzip"))],
        client=[get(either("ignored or cut off", answered(1), broken_off()))],
    ),
    case(
        "content-no-transform", "RFC 9110, 7.7", "a body marked no-transform is passed on byte for byte",
        origin=[reply("Cache-Control: no-transform, max-age=3600", "Content-Type: text/html", body=b"<p> a  b </p>\r\n\r\n")], client=[get("Accept-Encoding: gzip", fetched(1)), get("Accept-Encoding: gzip", reused(1))],
    ),
    case(
        "content-204", "RFC 9110, 15.3.5", "a 204 has no body, and the connection goes on",
        origin=[empty(204), reply()], client=[get(status(204), body(b"")), get(fetched(2), at="/next")],
    ),
    case(
        "content-204-with-body", "RFC 9112, 6.3", "bytes after a 204 are not its body",
        origin=[raw(lines("HTTP/1.1 204 No Content", "Content-Length: 5", "Date: <now>") + "evil!"), reply()],
        client=[get(either("the 204 or an error", every("204", status(204), body(b"")), status(502))), get(status(200))],
    ),
    case(
        "content-date-added", "RFC 9110, 6.6.1", "a response without Date gets one",
        origin=[reply(dated=False)], client=[get(fetched(1), matches("Date", r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT"))],
    ),
    case(
        "content-server", "RFC 9110, 10.2.4", "the origin's Server is not replaced",
        origin=[reply("Server: odd/1.0")], client=[get(fetched(1), has("Server", "odd/1.0"))],
    ),
    case(
        "content-location-kept", "RFC 9110, 8.7", "Content-Location is passed on unchanged",
        origin=[reply("Content-Location: ../a?b")], client=[get(fetched(1), has("Content-Location", "../a?b"))],
    ),
]

# --- preconditions for the origin

PRECONDITIONS = [
    case(
        f"precondition-{name}", f"RFC 9110, {section}", claim,
        origin=[reply(status=code)], client=[ask(method, line, fetched(1), asked_with(*line.split(": ", 1)), body=b"x")],
    )
    for name, section, claim, method, line, code in (
        ("put-if-match", "13.1.1", "If-Match on a PUT is the origin's to judge: it fails", "PUT", 'If-Match: "a"', 412),
        ("put-if-match-good", "13.1.1", "If-Match on a PUT is the origin's to judge: it holds", "PUT", 'If-Match: "a"', 201),
        ("put-if-none-match", "13.1.2", "If-None-Match on a PUT is the origin's to judge", "PUT", "If-None-Match: *", 412),
        ("put-if-unmodified", "13.1.4", "If-Unmodified-Since on a PUT is the origin's to judge", "PUT", "If-Unmodified-Since: <now-100>", 412),
        ("post-if-match", "13.1.1", "If-Match on a POST is the origin's to judge", "POST", 'If-Match: "x", "y"', 412),
        ("patch-if-match", "13.1.1", "If-Match on a PATCH is the origin's to judge", "PATCH", 'If-Match: W/"a"', 412),
        ("delete-if-match", "13.1.1", "If-Match on a DELETE is the origin's to judge", "DELETE", "If-Match: *", 412),
    )
] + [
    case(
        "precondition-get-if-match", "RFC 9111, 4.3.2", "If-Match on a GET of what is stored: the stored response, or what the origin says",
        origin=[fresh(_TAG), reply(status=412)],
        client=[get(fetched(1)), get('If-Match: "b"', either("stored, refused or the origin's", reused(1), status(412)))],
    ),
    case(
        "precondition-get-if-match-good", "RFC 9110, 13.1.1", "an If-Match that holds does not keep the stored response from the client",
        origin=[fresh(_TAG), reply()], client=[get(fetched(1)), get('If-Match: "a"', status(200))],
    ),
    case(
        "precondition-get-if-unmodified-good", "RFC 9110, 13.1.4", "nor does an If-Unmodified-Since that holds",
        origin=[fresh("Last-Modified: <now-5000>"), reply()], client=[get(fetched(1)), get("If-Unmodified-Since: <now-100>", status(200))],
    ),
    case(
        "precondition-412-keeps", "RFC 9111, 4.4", "a 412 to a PUT leaves what is stored alone",
        origin=[fresh(_TAG), reply(status=412)], client=[get(fetched(1)), ask("PUT", 'If-Match: "b"', fetched(2), body=b"x"), get(reused(1))],
    ),
]

# --- targets

TARGETS = [
    case(
        f"target-{name}", section, claim,
        origin=[reply()], client=[get(fetched(1), asked_for("GET", f"<path>{expected}"), at=given)],
    )
    for name, section, claim, given, expected in (
        ("query", "RFC 9110, 4.2.1", "the query reaches the origin", "?a=b", "?a=b"),
        ("query-order", "RFC 9111, 2", "parameters reach the origin in the edge's order", "?b=2&a=1", "?a=1&b=2"),
        ("query-repeated", "RFC 9111, 2", "equal parameters keep their order", "?a=2&b=0&a=1", "?a=2&a=1&b=0"),
        ("query-encoded", "RFC 3986, 2.1", "reserved characters stay encoded", "?a=%26%3D%2B", "?a=%26%3D%2B"),
        ("query-plus", "RFC 3986, 2.2", "a plus stays a plus", "?a=b+c", "?a=b+c"),
        ("query-slash", "RFC 3986, 3.4", "slashes and question marks in a query are data", "?a=/b?c", "?a=/b?c"),
        ("path-encoded-slash", "RFC 3986, 2.2", "an encoded slash stays encoded", "/a%2Fb", "/a%2Fb"),
        ("path-encoded-percent", "RFC 3986, 2.4", "an encoded percent sign is not decoded twice", "/a%2541", "/a%2541"),
        ("path-double-slash", "RFC 3986, 3.3", "an empty path segment is kept", "/a//b", "/a//b"),
        ("path-trailing-slash", "RFC 3986, 3.3", "a slash at the end is kept", "/a/", "/a/"),
        ("path-sub-delims", "RFC 3986, 3.3", "sub-delimiters are kept", "/a;b=c,d!$&'()*+@:", "/a;b=c,d!$&'()*+@:"),
        ("path-utf8", "RFC 3986, 2.5", "encoded characters of other scripts are kept", "/%E8%AF%BE", "/%E8%AF%BE"),
        ("path-long", "RFC 9112, 3", "a long target is passed on", "/" + "x" * 4000, "/" + "x" * 4000),
    )
] + [
    case(
        "target-absolute-form", "RFC 9112, 3.2.2", "a target in absolute form is the same resource",
        origin=[fresh()],
        client=[get(fetched(1)), send(lines("GET http://<host><path> HTTP/1.1", "Host: <host>"), answered(1), asked(0), until_closed=False)],
    ),
    case(
        "target-absolute-form-wins", "RFC 9112, 3.2.2", "in absolute form the target's authority counts, not Host",
        origin=[fresh()],
        client=[send(lines("GET http://<host><path> HTTP/1.1", "Host: other.example"), either("served or refused", answered(1), status(400, 421)), until_closed=False)],
    ),
    case(
        "target-host-header", "RFC 9110, 7.2", "the origin gets exactly one Host",
        origin=[reply()], client=[get(fetched(1), asked_matching("Host", r"[^, ]+"))],
    ),
]

CASES: list[Case] = [
    *HOPS_IN, *HOPS_OUT, *VIA, *METHODS, *HEADS, *STATUSES, *INTERIM, *CONTENT, *PRECONDITIONS, *TARGETS,
]

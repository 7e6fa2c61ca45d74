"""RFC 9111, 4.3: asking the origin whether a stored response is still good, and taking over what it says."""

# ruff: noqa: E501  (one case a line, as a table)
# fmt: off

from __future__ import annotations

from tests.conformance.claims import (
    age,
    answered,
    asked,
    asked_for,
    asked_matching,
    asked_with,
    asked_without,
    cache_status,
    either,
    fetched,
    forwarded,
    has,
    hit,
    lacks,
    reused,
    status,
    ttl,
    validated,
)
from tests.conformance.model import Case, Framing, case
from tests.conformance.script import LONG, fresh, get, head, lines, not_modified, raw, reply, spent

_SENT = "RFC 9111, 4.3.1"
_RECEIVED = "RFC 9111, 4.3.2"
_RESPONSE = "RFC 9111, 4.3.3"
_FRESHEN = "RFC 9111, 4.3.4"
_UPDATE = "RFC 9111, 3.2"
_TAG = 'ETag: "a"'
_MODIFIED = "Last-Modified: <now-5000>"

SENDING = [
    case(
        f"validate-{name}", _SENT, claim,
        origin=[spent(*stored), not_modified(*stored)], client=[get(fetched(1)), get(validated(1, *expected))],
    )
    for name, claim, stored, expected in (
        ("strong-tag", "a stale response is validated by its entity tag", (_TAG,), ("If-None-Match", '"a"')),
        ("weak-tag", "a weak entity tag validates, too, and stays weak", ('ETag: W/"a"',), ("If-None-Match", 'W/"a"')),
        ("last-modified", "without an entity tag Last-Modified is used", (_MODIFIED,), ("If-Modified-Since", "<now-5000>")),
        ("both-tag", "with both validators the entity tag is sent", (_TAG, _MODIFIED), ("If-None-Match", '"a"')),
        ("both-modified", "with both validators Last-Modified is sent as well", (_TAG, _MODIFIED), ("If-Modified-Since", "<now-5000>")),
        ("empty-tag", "an empty entity tag is one", ('ETag: ""',), ("If-None-Match", '""')),
        ("comma-tag", "a comma may be part of an entity tag", ('ETag: "a,b"',), ("If-None-Match", '"a,b"')),
        ("latin-tag", "bytes above ASCII may be part of an entity tag", ('ETag: "\xfc"',), ("If-None-Match", '"\xfc"')),
        ("old-date-format", "Last-Modified is sent back as it was received", ("Last-Modified: <rfc850-5000>",), ("If-Modified-Since", "<rfc850-5000>")),
    )
] + [
    case(
        "validate-no-validator", _SENT, "without a validator the response is asked for unconditionally",
        origin=[spent(), spent()],
        client=[get(fetched(1)), get(fetched(2), asked_without("If-None-Match", "If-Modified-Since", "If-Match"))],
    ),
    case(
        "validate-fresh-not", _SENT, "a fresh response is not validated",
        origin=[fresh(_TAG)], client=[get(fetched(1)), get(reused(1))],
    ),
    case(
        "validate-cold-unconditional", _SENT, "with nothing stored nothing is validated",
        origin=[fresh(_TAG)], client=[get(fetched(1), asked_without("If-None-Match", "If-Modified-Since"))],
    ),
    case(
        "validate-404", _SENT, "an error response is validated or asked for again, never reused when stale",
        origin=[spent(_TAG, status=404), reply(LONG)], client=[get(fetched(1)), get(fetched(2))],
    ),
    case(
        "validate-head-stale", _SENT, "a HEAD for a stale response goes to the origin",
        origin=[spent(_TAG), spent(_TAG)], client=[get(fetched(1)), head(asked(1), status(200))],
    ),
]

RESPONSES = [
    case(
        "validated-again", _RESPONSE, "a response stays stale after a 304 that gives no new lifetime, and is validated each time",
        origin=[spent(_TAG), not_modified("Age: 100", _TAG), not_modified("Age: 100", _TAG)],
        client=[get(fetched(1)), get(validated(1)), get(validated(1))],
    ),
    case(
        "validated-fresh-again", _FRESHEN, "a 304 with a new lifetime makes the response fresh",
        origin=[spent(_TAG), not_modified(LONG, _TAG)], client=[get(fetched(1)), get(validated(1)), get(reused(1))],
    ),
    case(
        "validated-age-zero", "RFC 9111, 4.2.3", "a 304 without Age makes the response young",
        origin=[reply("Cache-Control: max-age=3600", "Age: 5000", _TAG), not_modified(_TAG)],
        client=[get(fetched(1)), get(validated(1)), get(reused(1), age(0, 10))],
    ),
    case(
        "validated-expires", _FRESHEN, "a new Expires on a 304 replaces the old one",
        origin=[reply("Expires: <now-10>", _TAG), not_modified("Expires: <now+3600>", _TAG)],
        client=[get(fetched(1)), get(validated(1)), get(reused(1), has("Expires", "<now+3600>"))],
    ),
    case(
        "validated-no-store", _FRESHEN, "a 304 that says no-store ends the reuse",
        origin=[spent(_TAG), not_modified("Cache-Control: no-store", _TAG), reply(LONG)],
        client=[get(fetched(1)), get(answered(1)), get(fetched(3))],
    ),
    case(
        "validated-replaced", _RESPONSE, "a full response to a validation is used and stored instead",
        origin=[spent(_TAG), fresh('ETag: "b"')],
        client=[get(fetched(1)), get(fetched(2), forwarded("stale"), has("ETag", '"b"')), get(reused(2), has("ETag", '"b"'))],
    ),
    case(
        "validated-same-tag-200", _RESPONSE, "a full response is used although its entity tag has not changed",
        origin=[spent(_TAG), fresh(_TAG)], client=[get(fetched(1)), get(fetched(2)), get(reused(2))],
    ),
    case(
        "validated-replaced-no-store", _RESPONSE, "a full response that must not be stored is passed on, and the old one is not used again",
        origin=[spent(_TAG), reply("Cache-Control: no-store"), reply(LONG)],
        client=[get(fetched(1)), get(fetched(2)), get(fetched(3))],
    ),
    case(
        "validated-other-strong-tag", _FRESHEN, "a 304 with another strong entity tag updates nothing; the response is asked for in full",
        origin=[spent(_TAG), not_modified(LONG, 'ETag: "b"'), fresh('ETag: "b"')],
        client=[get(fetched(1)), get(answered(3), asked(2))],
    ),
    case(
        "validated-weak-for-strong", _FRESHEN, "a 304 whose weak entity tag corresponds to the stored one updates it",
        origin=[spent('ETag: W/"a"'), not_modified(LONG, 'ETag: W/"a"')], client=[get(fetched(1)), get(validated(1)), get(reused(1))],
    ),
    case(
        "validated-no-tag", _FRESHEN, "a 304 without validators to a validation by entity tag means that response",
        origin=[spent(_TAG), not_modified(LONG)], client=[get(fetched(1)), get(validated(1)), get(reused(1))],
    ),
    case(
        "validated-404", _RESPONSE, "a 404 to a validation is passed on and replaces the stored response",
        origin=[spent(_TAG), reply("Cache-Control: max-age=60", status=404)], client=[get(fetched(1)), get(fetched(2)), get(reused(2))],
    ),
    case(
        "validated-410", _RESPONSE, "a 410 to a validation is passed on",
        origin=[spent(_TAG), reply(status=410)], client=[get(fetched(1)), get(fetched(2))],
    ),
    case(
        "validated-302", _RESPONSE, "a redirection to a validation is passed on",
        origin=[spent(_TAG), reply("Location: /elsewhere", status=302)], client=[get(fetched(1)), get(fetched(2), has("Location", "/elsewhere"))],
    ),
    *(
        case(
            f"validated-{code}", _RESPONSE, f"a {code} to a validation is passed on when nothing allows to serve stale, and what is stored is kept",
            origin=[spent(_TAG), reply(status=code), not_modified(LONG, _TAG)],
            client=[get(fetched(1)), get(fetched(2)), get(answered(1), again=True)],
        )
        for code in (500, 503)
    ),
    case(
        "validated-broken", _RESPONSE, "a connection that breaks during a validation is a 502",
        origin=[spent(_TAG), raw("HTTP/1.1 304 Not Mod")],
        client=[get(fetched(1)), get(status(502), cache_status("hit", None))],
    ),
    case(
        "validated-fwd-status-200", "RFC 9211, 2.3", "fwd-status tells that a validation was answered in full",
        origin=[spent(_TAG), fresh(_TAG)], client=[get(fetched(1)), get(fetched(2), forwarded("stale"), cache_status("fwd-status", 200))],
    ),
    case(
        "validated-ttl", "RFC 9211, 2.4", "ttl after a validation is the new lifetime's",
        origin=[spent(_TAG), not_modified("Cache-Control: max-age=500", _TAG)], client=[get(fetched(1)), get(validated(1), ttl(490, 500))],
    ),
    case(
        "validated-no-body-on-304", "RFC 9110, 15.4.5", "bytes after a 304 are not taken for its body",
        origin=[spent(_TAG, body=b"whole"), raw(lines("HTTP/1.1 304 Not Modified", LONG, _TAG, "Content-Length: 5", "Date: <now>") + "evil!")],
        client=[get(fetched(1)), get(answered(1)), get(reused(1))],
    ),
    case(
        "validated-304-content-length", _UPDATE, "the Content-Length of a 304 is not the stored body's",
        origin=[spent(_TAG, body=b"whole"), raw(lines("HTTP/1.1 304 Not Modified", LONG, _TAG, "Content-Length: 999", "Date: <now>"))],
        client=[get(fetched(1)), get(answered(1), has("Content-Length", "5")), get(reused(1), has("Content-Length", "5"))],
    ),
]

UPDATING = [
    case(
        f"update-{name}", _UPDATE, claim,
        origin=[spent(_TAG, *stored), not_modified(LONG, _TAG, *received)],
        client=[get(fetched(1)), get(validated(1), has(field, *expected)), get(reused(1), has(field, *expected))],
    )
    for name, claim, stored, received, field, expected in (
        ("replaces", "a field of the 304 replaces the stored one", ("X-Test: old",), ("X-Test: new",), "X-Test", ("new",)),
        ("adds", "a field that only the 304 has is added", (), ("X-Test: new",), "X-Test", ("new",)),
        ("keeps", "a field that the 304 has not is kept", ("X-Test: old",), (), "X-Test", ("old",)),
        ("replaces-all", "all lines of a name are replaced", ("X-Test: old1", "X-Test: old2"), ("X-Test: new",), "X-Test", ("new",)),
        ("replaces-by-several", "by all lines of the 304", ("X-Test: old",), ("X-Test: new1", "X-Test: new2"), "X-Test", ("new1", "new2")),
        ("name-case", "names are matched case-insensitively", ("X-Test: old",), ("x-tEST: new",), "X-Test", ("new",)),
        ("content-type", "Content-Type may be updated", ("Content-Type: text/plain",), ("Content-Type: text/html",), "Content-Type", ("text/html",)),
        ("content-language", "Content-Language is updated", ("Content-Language: en",), ("Content-Language: zh",), "Content-Language", ("zh",)),
        ("content-location", "Content-Location is updated", ("Content-Location: /a",), ("Content-Location: /b",), "Content-Location", ("/b",)),
        ("set-cookie", "Set-Cookie is updated", ("Set-Cookie: a=1",), ("Set-Cookie: a=2",), "Set-Cookie", ("a=2",)),
        ("cache-control", "Cache-Control is updated", (), (), "Cache-Control", ("max-age=3600",)),
        ("last-modified", "Last-Modified is updated", (_MODIFIED,), ("Last-Modified: <now-4000>",), "Last-Modified", ("<now-4000>",)),
        ("csp", "Content-Security-Policy is updated", ("Content-Security-Policy: default-src 'none'",), ("Content-Security-Policy: default-src 'self'",), "Content-Security-Policy", ("default-src 'self'",)),
        ("date", "Date is updated", ("Date: <now-200>",), ("Date: <now-10>",), "Date", ("<now-10>",)),
        ("connection-named", "a field that Connection names is not taken over", ("X-Hop: old",), ("Connection: X-Hop", "X-Hop: new"), "X-Hop", ("old",)),
    )
] + [
    case(
        "update-keeps-etag", _UPDATE, "the entity tag stays the stored body's",
        origin=[spent(_TAG), not_modified(LONG, _TAG)], client=[get(fetched(1)), get(validated(1)), get(reused(1), has("ETag", '"a"'))],
    ),
    case(
        "update-not-transfer-encoding", _UPDATE, "a 304 cannot change how the body is framed",
        origin=[spent(_TAG, body=b"whole"), not_modified(LONG, _TAG, "Transfer-Encoding: chunked")],
        client=[get(fetched(1)), get(answered(1)), get(reused(1), lacks("Transfer-Encoding"))],
    ),
    case(
        "update-not-proxy-authenticate", "RFC 9111, 3.1", "fields for a proxy are not taken over from a 304",
        origin=[spent(_TAG), not_modified(LONG, _TAG, 'Proxy-Authenticate: Basic realm="x"')],
        client=[get(fetched(1)), get(validated(1), lacks("Proxy-Authenticate")), get(reused(1), lacks("Proxy-Authenticate"))],
    ),
    case(
        "update-private", _FRESHEN, "a 304 that makes the response private ends its reuse",
        origin=[spent(_TAG), not_modified("Cache-Control: private, max-age=3600", _TAG), fresh()],
        client=[get(fetched(1)), get(answered(1)), get(fetched(3))],
    ),
    case(
        "update-shorter", _FRESHEN, "a 304 may shorten the lifetime",
        origin=[reply("Cache-Control: max-age=3600, no-cache", _TAG), not_modified("Cache-Control: max-age=0", _TAG), fresh()],
        client=[get(fetched(1)), get(answered(1), asked(1)), get(fetched(3))],
    ),
]

_CONDITIONAL = fresh(_TAG, _MODIFIED, conditional=True)

RECEIVED = [
    case(
        f"received-{name}", _RECEIVED, claim,
        origin=[fresh(*stored)],
        client=[get(fetched(1)), get(*condition, asked(0), hit(), status(304), lacks("Content-Length"))],
    )
    for name, claim, stored, condition in (
        ("tag", "a matching entity tag gets a 304 from the cache", (_TAG,), ('If-None-Match: "a"',)),
        ("tag-list", "one matching entity tag of several is enough", (_TAG,), ('If-None-Match: "x", "a", "y"',)),
        ("tag-lines", "the entity tags may come on several lines", (_TAG,), ('If-None-Match: "x"', 'If-None-Match: "a"')),
        ("tag-weak-request", "If-None-Match compares weakly: the client's is weak", (_TAG,), ('If-None-Match: W/"a"',)),
        ("tag-weak-stored", "If-None-Match compares weakly: the stored one is weak", ('ETag: W/"a"',), ('If-None-Match: "a"',)),
        ("star", "`*` matches whatever is stored", (_TAG,), ("If-None-Match: *",)),
        ("star-no-tag", "`*` matches a response without an entity tag", (), ("If-None-Match: *",)),
        ("tag-comma", "a comma within an entity tag does not split it", ('ETag: "a,b"',), ('If-None-Match: "x", "a,b"',)),
        ("since-equal", "not modified since exactly then", (_MODIFIED,), ("If-Modified-Since: <now-5000>",)),
        ("since-later", "not modified since a later time", (_MODIFIED,), ("If-Modified-Since: <now-4000>",)),
        ("since-rfc850", "the condition's date may be in the RFC 850 format", (_MODIFIED,), ("If-Modified-Since: <rfc850-4000>",)),
        ("since-asctime", "the condition's date may be in the asctime format", (_MODIFIED,), ("If-Modified-Since: <asctime-4000>",)),
        ("since-date", "without Last-Modified the Date counts", ("Date: <now-500>",), ("If-Modified-Since: <now-400>",)),
        ("tag-outranks-since", "If-None-Match outranks If-Modified-Since: it matches", (_TAG, _MODIFIED), ('If-None-Match: "a"', "If-Modified-Since: <now-9000>")),
    )
] + [
    case(
        f"received-not-{name}", _RECEIVED, claim,
        origin=[fresh(*stored)], client=[get(fetched(1)), get(*condition, reused(1))],
    )
    for name, claim, stored, condition in (
        ("tag", "another entity tag gets the whole response from the cache", (_TAG,), ('If-None-Match: "b"',)),
        ("tag-none-stored", "an entity tag does not match a response without one", (), ('If-None-Match: "a"',)),
        ("tag-part", "a part of an entity tag does not match", ('ETag: "abc"',), ('If-None-Match: "ab"',)),
        ("tag-case", "entity tags are compared case-sensitively", (_TAG,), ('If-None-Match: "A"',)),
        ("tag-unquoted", "an unquoted word is no entity tag", (_TAG,), ("If-None-Match: a",)),
        ("since-earlier", "modified since an earlier time", (_MODIFIED,), ("If-Modified-Since: <now-6000>",)),
        ("since-invalid", "an invalid date is no condition", (_MODIFIED,), ("If-Modified-Since: some day",)),
        ("tag-outranks-since", "If-None-Match outranks If-Modified-Since: it does not match", (_TAG, _MODIFIED), ('If-None-Match: "b"', "If-Modified-Since: <now-4000>")),
    )
] + [
    case(
        "received-304-fields", "RFC 9110, 15.4.5", "a 304 carries the fields that a cache needs",
        origin=[fresh(_TAG, "Content-Location: /c", "Expires: <now+3600>", "Vary: Foo", "Date: <now-5>")],
        client=[
            get(fetched(1)),
            get('If-None-Match: "a"', status(304), has("ETag", '"a"'), has("Cache-Control", "max-age=3600"), has("Content-Location", "/c"),
                has("Expires", "<now+3600>"), has("Vary", "Foo"), has("Date", "<now-5>")),
        ],
    ),
    case(
        "received-cold-match", _RECEIVED, "a condition that matches what the origin has gets a 304 though nothing is stored",
        origin=[_CONDITIONAL], client=[get('If-None-Match: "a"', status(304), asked(1))],
    ),
    case(
        "received-cold-since", _RECEIVED, "the same for If-Modified-Since",
        origin=[_CONDITIONAL], client=[get("If-Modified-Since: <now-5000>", status(304), asked(1))],
    ),
    case(
        "received-cold-no-match", _RECEIVED, "a condition that does not match gets the whole response",
        origin=[_CONDITIONAL], client=[get('If-None-Match: "b"', fetched(1))],
    ),
    case(
        "received-cold-304-not-stored", "RFC 9111, 3", "a 304 to a client's own condition never becomes somebody else's response",
        origin=[_CONDITIONAL], client=[get('If-None-Match: "a"', status(304)), get(status(200), answered(1))],
    ),
    case(
        "received-stale-match", _RECEIVED, "a stale response is validated, and the client's own condition then judged",
        origin=[spent(_TAG), not_modified(LONG, _TAG)],
        client=[get(fetched(1)), get('If-None-Match: "a"', status(304), asked(1), forwarded("stale")), get(reused(1))],
    ),
    case(
        "received-stale-other-tag", _RECEIVED, "when the 304 is for the edge's entity tag and not for the client's, the client gets the body",
        origin=[spent(_TAG), not_modified(LONG, _TAG)],
        client=[get(fetched(1)), get('If-None-Match: "b"', answered(1), asked(1)), get(reused(1))],
    ),
    case(
        "received-stale-changed", _RECEIVED, "when the origin's new response matches the client's condition, a 304 or the whole is right",
        origin=[spent(_TAG), fresh('ETag: "b"', conditional=True)],
        client=[get(fetched(1)), get('If-None-Match: "b"', either("304 or the new body", status(304), answered(2)), asked(1))],
    ),
    case(
        "received-head", _RECEIVED, "a HEAD with a matching condition gets a 304",
        origin=[fresh(_TAG)], client=[get(fetched(1)), head('If-None-Match: "a"', status(304), asked(0))],
    ),
    case(
        "received-not-on-404", "RFC 9110, 13.2.1", "conditions are not judged on a stored error",
        origin=[fresh(_TAG, status=404)], client=[get(fetched(1)), get('If-None-Match: "a"', reused(1))],
    ),
    case(
        "received-not-on-redirect", "RFC 9110, 13.2.1", "conditions are not judged on a stored redirection",
        origin=[fresh(_TAG, "Location: /x", status=301)], client=[get(fetched(1)), get('If-None-Match: "a"', reused(1))],
    ),
    case(
        "received-no-cache", _RECEIVED, "a client that wants the origin's word gets it, condition or not",
        origin=[fresh(_TAG), not_modified(_TAG)],
        client=[get(fetched(1)), get("Cache-Control: no-cache", 'If-None-Match: "a"', status(304), asked(1))],
    ),
]

_LENGTH_10 = b"0123456789"

BY_HEAD = [
    case(
        "head-updates", "RFC 9111, 4.3.5", "a HEAD with the same validators and length updates the stored response",
        origin=[spent(_TAG, "X-Test: old", body=_LENGTH_10), fresh(_TAG, "X-Test: new", body=_LENGTH_10)],
        client=[get(fetched(1)), head(asked(1), has("X-Test", "new")), get(reused(1), has("X-Test", "new"))],
    ),
    case(
        "head-other-tag", "RFC 9111, 4.3.5", "a HEAD with another entity tag makes the stored response stale",
        origin=[fresh(_TAG, body=_LENGTH_10), fresh('ETag: "b"', body=_LENGTH_10), fresh('ETag: "b"', body=_LENGTH_10[::-1])],
        client=[get(fetched(1)), head("Cache-Control: no-cache", asked(1)), get(fetched(3))],
    ),
    case(
        "head-other-length", "RFC 9111, 4.3.5", "a HEAD with another Content-Length makes the stored response stale",
        origin=[fresh(body=_LENGTH_10), fresh(body=b"shorter"), fresh(body=b"shorter")],
        client=[get(fetched(1)), head("Cache-Control: no-cache", asked(1)), get(fetched(3))],
    ),
    case(
        "head-other-modified", "RFC 9111, 4.3.5", "a HEAD with another Last-Modified makes the stored response stale",
        origin=[fresh(_MODIFIED, body=_LENGTH_10), fresh("Last-Modified: <now-100>", body=_LENGTH_10), fresh("Last-Modified: <now-100>", body=_LENGTH_10)],
        client=[get(fetched(1)), head("Cache-Control: no-cache", asked(1)), get(fetched(3))],
    ),
    case(
        "head-404-keeps", "RFC 9111, 4.3.5", "only a 200 to a HEAD says something of the stored response",
        origin=[fresh(_TAG), reply(status=500), fresh()],
        client=[get(fetched(1)), head("Cache-Control: no-cache", asked(1), status(500)), get(reused(1))],
    ),
    case(
        "head-keeps-body", "RFC 9111, 4.3.5", "an update by HEAD does not lose the body",
        origin=[fresh(_TAG, body=_LENGTH_10), fresh(_TAG, "X-Test: new", body=_LENGTH_10)],
        client=[get(fetched(1)), head("Cache-Control: no-cache", asked(1)), get(reused(1), has("X-Test", "new"))],
    ),
]

IDENTITY = [
    case(
        "validate-passes-fields-on", _SENT, "a validation for a client's request passes its other fields on",
        origin=[spent(_TAG), not_modified(LONG, _TAG)],
        client=[get(fetched(1)), get("X-Client: yes", validated(1), asked_with("X-Client", "yes"), asked_for("GET"))],
    ),
    case(
        "validate-range-whole", _SENT, "a range of a stale whole response is cut from it after the validation",
        origin=[spent(_TAG, body=_LENGTH_10), not_modified(LONG, _TAG)],
        client=[get(fetched(1)), get("Range: bytes=2-4", status(206), asked(1), has("Content-Range", "bytes 2-4/10")), get(reused(1))],
    ),
    case(
        "validate-close-delimited", _SENT, "a response of unknown length is validated like another",
        origin=[spent(_TAG, framing=Framing.CLOSE), not_modified(LONG, _TAG)], client=[get(fetched(1)), get(validated(1)), get(reused(1))],
    ),
    case(
        "validate-via", "RFC 9110, 7.6.3", "a validation names the edge in Via like every request",
        origin=[spent(_TAG), not_modified(LONG, _TAG)], client=[get(fetched(1)), get(validated(1), asked_matching("Via", r"1\.1 \S+.*"))],
    ),
    case(
        "validate-large", _SENT, "a large stale response is validated without its body crossing again",
        origin=[spent(_TAG, body=b"x" * 2_500_000), not_modified(LONG, _TAG)], client=[get(fetched(1)), get(validated(1)), get(reused(1))],
    ),
    case(
        "validate-no-transform", "RFC 9110, 7.7", "the stored body is never altered",
        origin=[spent(_TAG, "Cache-Control: no-transform", body=bytes(range(256))), not_modified(LONG, _TAG)],
        client=[get(fetched(1)), get(validated(1)), get(reused(1))],
    ),
]

CASES: list[Case] = [*SENDING, *RESPONSES, *UPDATING, *RECEIVED, *BY_HEAD, *IDENTITY]

"""RFC 9111, 5.2, with RFC 5861, 8246 and 9213: what clients and origins ask of the cache."""

# ruff: noqa: E501  (one case a line, as a table)
# fmt: off

from __future__ import annotations

from tests.conformance.claims import (
    age,
    answered,
    asked,
    asked_with,
    asked_without,
    cache_status,
    fetched,
    forwarded,
    has,
    hit,
    listed,
    problem,
    reached,
    reused,
    status,
    ttl,
    validated,
)
from tests.conformance.model import Case, case
from tests.conformance.script import LONG, fresh, get, head, not_modified, post, raw, reply, spent

_TAG = 'ETag: "a"'
_OLD = "Last-Modified: <now-864000>"

# --- request directives


def _allowed(name: str, section: str, claim: str, stored: tuple[str, ...], *asked_so: str) -> Case:
    """The stored response satisfies the request."""
    return case(name, f"RFC 9111, {section}", claim, origin=[reply(*stored)], client=[get(fetched(1)), get(*asked_so, reused(1))])


def _demands(name: str, section: str, claim: str, stored: tuple[str, ...], *asked_so: str, reason: str = "request") -> Case:
    """The stored response does not satisfy the request."""
    return case(
        name, f"RFC 9111, {section}", claim,
        origin=[reply(*stored), reply(*stored)], client=[get(fetched(1)), get(*asked_so, fetched(2), forwarded(reason))],
    )


_AGED = (LONG, "Age: 100")
_STALE_40 = ("Cache-Control: max-age=60", "Age: 100")  # stale for 40 s

REQUESTS = [
    _demands("request-max-age-below", "5.2.1.1", "a response older than the client's max-age is not what it wants", _AGED, "Cache-Control: max-age=50"),
    _allowed("request-max-age-above", "5.2.1.1", "a response younger than the client's max-age satisfies it", _AGED, "Cache-Control: max-age=150"),
    _demands("request-max-age-zero", "5.2.1.1", "max-age=0 wants the origin's word", _AGED, "Cache-Control: max-age=0"),
    _demands("request-max-age-stale", "5.2.1.1", "max-age is no permission for stale responses", _STALE_40, "Cache-Control: max-age=3600", reason="stale"),
    _allowed("request-max-age-and-max-stale", "5.2.1.1", "with max-stale it may be stale, too", _STALE_40, "Cache-Control: max-age=3600, max-stale=100"),
    _allowed("request-max-age-quoted", "5.2.1.1", "a quoted max-age is understood", _AGED, 'Cache-Control: max-age="150"'),
    _demands("request-max-age-quoted-below", "5.2.1.1", "a quoted max-age is obeyed", _AGED, 'Cache-Control: max-age="50"'),
    _allowed("request-max-age-huge", "1.2.2", "a huge max-age is no demand", _AGED, f"Cache-Control: max-age={'9' * 30}"),
    _allowed("request-max-stale-bare", "5.2.1.2", "max-stale without a value takes any age", _STALE_40, "Cache-Control: max-stale"),
    _allowed("request-max-stale-enough", "5.2.1.2", "max-stale takes what is stale for less than that", _STALE_40, "Cache-Control: max-stale=60"),
    _demands("request-max-stale-short", "5.2.1.2", "max-stale does not take what is stale for longer", _STALE_40, "Cache-Control: max-stale=20", reason="stale"),
    _allowed("request-max-stale-fresh", "5.2.1.2", "max-stale takes a fresh response", _AGED, "Cache-Control: max-stale=10"),
    _demands("request-max-stale-must-revalidate", "5.2.2.2", "max-stale cannot overrule must-revalidate", ("Cache-Control: max-age=60, must-revalidate", "Age: 100"), "Cache-Control: max-stale", reason="stale"),
    _demands("request-max-stale-proxy-revalidate", "5.2.2.8", "max-stale cannot overrule proxy-revalidate", ("Cache-Control: max-age=60, proxy-revalidate", "Age: 100"), "Cache-Control: max-stale", reason="stale"),
    _demands("request-max-stale-s-maxage", "5.2.2.10", "max-stale cannot overrule s-maxage", ("Cache-Control: s-maxage=60", "Age: 100"), "Cache-Control: max-stale", reason="stale"),
    _allowed("request-min-fresh-enough", "5.2.1.3", "min-fresh takes what stays fresh for long enough", _AGED, "Cache-Control: min-fresh=1000"),
    _demands("request-min-fresh-short", "5.2.1.3", "min-fresh does not take what is soon stale", ("Cache-Control: max-age=200", "Age: 100"), "Cache-Control: min-fresh=150"),
    _demands("request-max-stale-invalid", "5.2.1.2", "an invalid max-stale allows nothing", _STALE_40, "Cache-Control: max-stale=long", reason="stale"),
    _demands("request-no-cache", "5.2.1.4", "no-cache wants the origin's word", _AGED, "Cache-Control: no-cache"),
    _demands("request-no-cache-upper", "5.2.1.4", "NO-CACHE is no-cache", _AGED, "Cache-Control: NO-CACHE"),
    _demands("request-no-cache-second-line", "5.2.1.4", "no-cache on a second line counts", _AGED, "Cache-Control: max-stale", "Cache-Control: no-cache"),
    _allowed("request-no-cache-quoted", "5.2", "no-cache within quotes is no directive", _AGED, 'Cache-Control: x="no-cache"'),
    _allowed("request-no-transform", "5.2.1.6", "no-transform is satisfied by what is stored, for the edge transforms nothing", _AGED, "Cache-Control: no-transform"),
    _allowed("request-unknown", "5.2.3", "an unknown directive asks for nothing", _AGED, "Cache-Control: hurry=1, please"),
    _allowed("request-only-if-cached", "5.2.1.7", "only-if-cached is satisfied by what is stored", _AGED, "Cache-Control: only-if-cached"),
    _allowed("request-only-if-cached-stale-ok", "5.2.1.7", "only-if-cached with max-stale takes a stale response", _STALE_40, "Cache-Control: only-if-cached, max-stale"),
    _demands("request-pragma", "5.4", "Pragma: no-cache without Cache-Control is no-cache", _AGED, "Pragma: no-cache"),
    _allowed("request-pragma-with-cache-control", "5.4", "Pragma is ignored beside Cache-Control", _AGED, "Pragma: no-cache", "Cache-Control: max-age=3600"),
    _allowed("request-pragma-other", "5.4", "another Pragma asks for nothing", _AGED, "Pragma: hurry"),
]

REQUEST_DIALOGUES = [
    case(
        "request-no-cache-validates", "RFC 9111, 5.2.1.4", "no-cache validates what is stored, and the result is reused",
        origin=[fresh(_TAG), not_modified(LONG, _TAG)],
        client=[
            get(fetched(1)),
            get("Cache-Control: no-cache", asked(1), asked_with("If-None-Match", '"a"'), answered(1), forwarded("request"), cache_status("fwd-status", 304)),
            get(reused(1)),
        ],
    ),
    case(
        "request-max-age-validates", "RFC 9111, 5.2.1.1", "max-age=0 validates what is stored",
        origin=[fresh(_TAG), not_modified(LONG, _TAG)],
        client=[get(fetched(1)), get("Cache-Control: max-age=0", asked(1), asked_with("If-None-Match", '"a"'), answered(1)), get(reused(1))],
    ),
    case(
        "request-no-store", "RFC 9111, 5.2.1.5", "the response to a request with no-store is not stored",
        origin=[fresh(), fresh()], client=[get("Cache-Control: no-store", fetched(1)), get(fetched(2)), get(reused(2))],
    ),
    case(
        "request-no-store-keeps", "RFC 9111, 5.2.1.5", "no-store says nothing of what is already stored",
        origin=[fresh(), fresh()], client=[get(fetched(1)), get("Cache-Control: no-store", status(200)), get(answered(1), hit())],
    ),
    case(
        "request-only-if-cached-cold", "RFC 9111, 5.2.1.7", "only-if-cached with nothing stored is a 504 and goes nowhere",
        origin=[fresh()], client=[get("Cache-Control: only-if-cached", problem(504), asked(0)), get(fetched(1))],
    ),
    case(
        "request-only-if-cached-stale", "RFC 9111, 5.2.1.7", "only-if-cached with only a stale response is a 504",
        origin=[spent()], client=[get(fetched(1)), get("Cache-Control: only-if-cached", problem(504), asked(0))],
    ),
    case(
        "request-only-if-cached-no-cache", "RFC 9111, 5.2.1.7", "only-if-cached and no-cache cannot both be met: 504",
        origin=[fresh()], client=[get(fetched(1)), get("Cache-Control: only-if-cached, no-cache", problem(504), asked(0))],
    ),
    case(
        "request-only-if-cached-variant", "RFC 9111, 5.2.1.7", "only-if-cached for a variant that is not stored is a 504",
        origin=[fresh("Vary: Foo")], client=[get("Foo: 1", fetched(1)), get("Foo: 2", "Cache-Control: only-if-cached", problem(504), asked(0))],
    ),
    case(
        "request-only-if-cached-head", "RFC 9111, 5.2.1.7", "only-if-cached on a HEAD is satisfied by a stored GET",
        origin=[fresh()], client=[get(fetched(1)), head("Cache-Control: only-if-cached", asked(0), status(200))],
    ),
    case(
        "request-directives-passed-on", "RFC 9111, 5.2", "a client's directives are passed on to the next cache",
        origin=[fresh()], client=[get("Cache-Control: max-age=7, hurry", fetched(1), asked_with("Cache-Control", "max-age=7, hurry"))],
    ),
    case(
        "request-pragma-passed-on", "RFC 9111, 5.4", "Pragma is passed on",
        origin=[fresh()], client=[get("Pragma: no-cache", fetched(1), asked_with("Pragma", "no-cache"))],
    ),
    case(
        "request-max-stale-ttl", "RFC 9211, 2.4", "a stale hit has a negative ttl",
        origin=[spent()], client=[get(fetched(1)), get("Cache-Control: max-stale", reused(1), ttl(-50, -40), age(100, 110))],
    ),
    case(
        "request-no-cache-head", "RFC 9111, 5.2.1.4", "no-cache on a HEAD goes to the origin",
        origin=[fresh(), fresh()], client=[get(fetched(1)), head("Cache-Control: no-cache", asked(1), status(200))],
    ),
    case(
        "request-no-cache-cold", "RFC 9211, 2.2", "no-cache with nothing stored is an ordinary miss",
        origin=[fresh()], client=[get("Cache-Control: no-cache", fetched(1), forwarded("uri-miss")), get(reused(1))],
    ),
]

# --- response directives

RESPONSES = [
    case(
        f"no-cache-{name}", "RFC 9111, 5.2.2.4", claim,
        origin=[reply(*fields, _TAG), not_modified(*fields, _TAG), not_modified(*fields, _TAG)],
        client=[get(fetched(1)), get(asked(1), answered(1), asked_with("If-None-Match", '"a"')), get(asked(1), answered(1))],
    )
    for name, claim, fields in (
        ("alone", "every use of a response with no-cache is validated", ("Cache-Control: no-cache",)),
        ("max-age", "a lifetime does not change that", ("Cache-Control: no-cache, max-age=3600",)),
        ("after", "nor does the order", ("Cache-Control: max-age=3600, no-cache",)),
        ("second-line", "nor where it stands", (LONG, "Cache-Control: no-cache")),
        ("expires", "nor Expires", ("Expires: <now+3600>", "Cache-Control: no-cache")),
        ("qualified", "the qualified form is taken for the unqualified one", ('Cache-Control: no-cache="set-cookie", max-age=3600',)),
        ("qualified-token", "also when its argument is not quoted", ("Cache-Control: no-cache=set-cookie, max-age=3600",)),
        ("s-maxage", "s-maxage does not change that", ("Cache-Control: no-cache, s-maxage=3600",)),
    )
] + [
    case(
        "no-cache-upper", "RFC 9111, 5.2", "No-Cache is no-cache",
        origin=[reply("Cache-Control: No-Cache, max-age=3600"), reply()], client=[get(fetched(1)), get(fetched(2))],
    ),
    case(
        "no-cache-no-validator", "RFC 9111, 5.2.2.4", "without a validator it is asked for again in full",
        origin=[reply("Cache-Control: no-cache, max-age=3600"), reply()], client=[get(fetched(1)), get(fetched(2))],
    ),
    case(
        "no-cache-max-stale", "RFC 9111, 5.2.2.4", "a client's max-stale does not change that",
        origin=[reply("Cache-Control: no-cache, max-age=3600"), reply()], client=[get(fetched(1)), get("Cache-Control: max-stale", fetched(2))],
    ),
    case(
        "no-cache-origin-gone", "RFC 9111, 5.2.2.4", "a response with no-cache is not used when the origin is gone",
        origin=[reply("Cache-Control: no-cache, max-age=3600", _TAG), raw("")], client=[get(fetched(1)), get(problem(502))],
    ),
    case(
        "private-qualified", "RFC 9111, 5.2.2.7", "the qualified private is taken for the unqualified one: not stored",
        origin=[reply('Cache-Control: private="set-cookie", max-age=3600'), reply()], client=[get(fetched(1)), get(fetched(2))],
    ),
    case(
        "private-two-names", "RFC 9111, 5.2.2.7", "also with several names",
        origin=[reply('Cache-Control: private="a, b", max-age=3600'), reply()], client=[get(fetched(1)), get(fetched(2))],
    ),
    *(
        case(
            f"{directive}-fresh", f"RFC 9111, {section}", f"{directive} says nothing while the response is fresh",
            origin=[reply(f"Cache-Control: max-age=3600, {directive}")], client=[get(fetched(1)), get(reused(1))],
        )
        for directive, section in (("must-revalidate", "5.2.2.2"), ("proxy-revalidate", "5.2.2.8"), ("no-transform", "5.2.2.6"), ("public", "5.2.2.9"))
    ),
    *(
        case(
            f"{directive}-stale", f"RFC 9111, {section}", f"{directive} wants a stale response validated",
            origin=[reply(f"Cache-Control: max-age=60, {directive}", "Age: 100", _TAG), not_modified(LONG, _TAG)],
            client=[get(fetched(1)), get(validated(1)), get(reused(1))],
        )
        for directive, section in (("must-revalidate", "5.2.2.2"), ("proxy-revalidate", "5.2.2.8"))
    ),
    *(
        case(
            f"must-understand-{code}", "RFC 9111, 5.2.2.3", f"must-understand makes no-store void for a status the edge understands: {code}",
            origin=[reply("Cache-Control: must-understand, no-store, max-age=3600", status=code)], client=[get(fetched(1)), get(reused(1))],
        )
        for code in (200, 301, 404, 410)
    ),
    *(
        case(
            f"must-understand-{code}-unknown", "RFC 9111, 5.2.2.3", f"must-understand forbids to store a status the edge does not understand: {code}",
            origin=[reply("Cache-Control: must-understand, max-age=3600", status=code), reply()], client=[get(fetched(1)), get(fetched(2))],
        )
        for code in (299, 499, 599)
    ),
    case(
        "must-understand-alone", "RFC 9111, 5.2.2.3", "must-understand without no-store changes nothing for a known status",
        origin=[reply("Cache-Control: must-understand, max-age=3600")], client=[get(fetched(1)), get(reused(1))],
    ),
    case(
        "must-understand-private", "RFC 9111, 5.2.2.3", "must-understand does not make private void",
        origin=[reply("Cache-Control: must-understand, private, max-age=3600"), reply()], client=[get(fetched(1)), get(fetched(2))],
    ),
    case(
        "directives-reach-client", "RFC 9111, 5.2", "the origin's directives are passed on unchanged, known or not",
        origin=[reply("Cache-Control: max-age=3600,  community=\"x\", s-maxage=10")],
        client=[get(has("Cache-Control", "max-age=3600,  community=\"x\", s-maxage=10")), get(reused(1), has("Cache-Control", "max-age=3600,  community=\"x\", s-maxage=10"))],
    ),
    case(
        "directives-lines-reach-client", "RFC 9110, 5.3", "directives on several lines are passed on in order",
        origin=[reply(LONG, "Cache-Control: public")], client=[get(listed("Cache-Control", "max-age=3600", "public")), get(reused(1), listed("Cache-Control", "max-age=3600", "public"))],
    ),
    case(
        "pragma-reaches-client", "RFC 9111, 5.4", "the origin's Pragma is passed on",
        origin=[fresh("Pragma: no-cache")], client=[get(has("Pragma", "no-cache")), get(reused(1), has("Pragma", "no-cache"))],
    ),
    case(
        "expires-reaches-client", "RFC 9111, 5.3", "the origin's Expires is passed on, even an invalid one",
        origin=[fresh("Expires: 0")], client=[get(has("Expires", "0")), get(reused(1), has("Expires", "0"))],
    ),
]

# --- immutable

IMMUTABLE = [
    case(
        "immutable-passed-on", "RFC 8246, 2", "immutable reaches the client",
        origin=[reply("Cache-Control: max-age=3600, immutable")],
        client=[get(has("Cache-Control", "max-age=3600, immutable")), get(reused(1), has("Cache-Control", "max-age=3600, immutable"))],
    ),
    case(
        "immutable-stale", "RFC 8246, 2", "immutable holds for the lifetime only: a stale response is validated",
        origin=[reply("Cache-Control: max-age=60, immutable", "Age: 100", _TAG), not_modified(LONG, _TAG)],
        client=[get(fetched(1)), get(validated(1))],
    ),
    case(
        "immutable-alone", "RFC 8246, 2", "immutable is no lifetime",
        origin=[reply("Cache-Control: immutable"), reply()], client=[get(fetched(1)), get(fetched(2))],
    ),
    case(
        "immutable-argument", "RFC 8246, 2", "an argument of immutable is ignored",
        origin=[reply("Cache-Control: max-age=3600, immutable=no")], client=[get(fetched(1)), get(reused(1))],
    ),
]

# --- stale-while-revalidate, stale-if-error


def _swr(*more: str) -> str:
    return ", ".join(("Cache-Control: max-age=60", "stale-while-revalidate=600", *more))


_STALE_HIT = (answered(1), hit(), ttl(-50, -40), age(100, 111))

WHILE_REVALIDATING = [
    case(
        "swr-serves-then-replaces", "RFC 5861, 3", "a stale response is served at once and replaced in the background",
        origin=[reply(_swr(), "Age: 100"), fresh()],
        client=[get(fetched(1)), get(*_STALE_HIT, reached(2), arrives=2), get(answered(2), hit(), again=True)],
    ),
    case(
        "swr-serves-then-validates", "RFC 5861, 3", "the background request is conditional when it can be",
        origin=[reply(_swr(), "Age: 100", _TAG), not_modified(LONG, _TAG)],
        client=[
            get(fetched(1)), get(*_STALE_HIT, asked(1), asked_with("If-None-Match", '"a"'), arrives=2),
            get(answered(1), hit(), ttl(3500, 3600), again=True),
        ],
    ),
    case(
        "swr-beyond", "RFC 5861, 3", "after its window a stale response is not served",
        origin=[reply("Cache-Control: max-age=60, stale-while-revalidate=20", "Age: 100"), fresh()],
        client=[get(fetched(1)), get(fetched(2), forwarded("stale"))],
    ),
    case(
        "swr-zero", "RFC 5861, 3", "a window of zero allows nothing",
        origin=[reply("Cache-Control: max-age=60, stale-while-revalidate=0", "Age: 100"), fresh()], client=[get(fetched(1)), get(fetched(2))],
    ),
    case(
        "swr-invalid", "RFC 5861, 3", "a window that is no number allows nothing",
        origin=[reply("Cache-Control: max-age=60, stale-while-revalidate=long", "Age: 100"), fresh()], client=[get(fetched(1)), get(fetched(2))],
    ),
    *(
        case(
            f"swr-not-with-{directive.replace('=60', '')}", "RFC 9111, 4.2.4", f"{directive} forbids stale-while-revalidate",
            origin=[reply(_swr(directive), "Age: 100"), fresh()], client=[get(fetched(1)), get(fetched(2))],
        )
        for directive in ("must-revalidate", "proxy-revalidate", "no-cache")
    ),
    case(
        "swr-fresh", "RFC 5861, 3", "a fresh response is not revalidated",
        origin=[reply("Cache-Control: max-age=3600, stale-while-revalidate=600", "Age: 100")], client=[get(fetched(1)), get(reused(1)), get(reused(1))],
    ),
    case(
        "swr-request-no-cache", "RFC 9111, 5.2.1.4", "a client that says no-cache does not get the stale response",
        origin=[reply(_swr(), "Age: 100"), fresh()], client=[get(fetched(1)), get("Cache-Control: no-cache", fetched(2))],
    ),
    case(
        "swr-request-max-age", "RFC 9111, 5.2.1.1", "nor does one that says max-age",
        origin=[reply(_swr(), "Age: 100"), fresh()], client=[get(fetched(1)), get("Cache-Control: max-age=3600", fetched(2))],
    ),
    case(
        "swr-head", "RFC 5861, 3", "a HEAD is answered from the stale response, too",
        origin=[reply(_swr(), "Age: 100"), fresh()], client=[get(fetched(1)), head(status(200), hit(), age(100, 111), arrives=2)],
    ),
    case(
        "swr-condition", "RFC 5861, 3", "a client's condition is judged on the stale response",
        origin=[reply(_swr(), "Age: 100", _TAG), not_modified(LONG, _TAG)],
        client=[get(fetched(1)), get('If-None-Match: "a"', status(304), hit(), arrives=2)],
    ),
    case(
        "swr-background-fails", "RFC 5861, 3", "a background request that fails leaves the stale response in place",
        origin=[reply(_swr(), "Age: 100"), reply(status=500)],
        client=[get(fetched(1)), get(*_STALE_HIT, arrives=2), get(answered(1), hit())],
    ),
    case(
        "swr-background-range", "RFC 5861, 3", "a range is cut from the stale response, and the whole revalidated",
        origin=[reply(_swr(), "Age: 100", body=b"0123456789"), fresh(body=b"abcdefghij")],
        client=[get(fetched(1)), get("Range: bytes=0-3", status(206), hit(), arrives=2), get(answered(2), hit(), again=True)],
    ),
    case(
        "swr-plain-background", "RFC 5861, 3", "the background request carries no condition of the client's and asks for the whole",
        origin=[reply(_swr(), "Age: 100", body=b"0123456789"), fresh()],
        client=[get(fetched(1)), get("Range: bytes=0-3", "If-None-Match: \"x\"", asked(1), asked_without("Range", "If-None-Match"), arrives=2)],
    ),
]


def _sie(*more: str) -> str:
    return ", ".join(("Cache-Control: max-age=60", "stale-if-error=600", *more))


IF_ERROR = [
    case(
        f"sie-{code}", "RFC 5861, 4", f"a {code} from the origin is covered by the stale response",
        origin=[reply(_sie(), "Age: 100"), reply(status=code)], client=[get(fetched(1)), get(answered(1), asked(1), age(100, 111))],
    )
    for code in (500, 502, 503, 504)
] + [
    case(
        f"sie-not-{code}", "RFC 5861, 4", f"a {code} is the origin's answer and no error to be covered",
        origin=[reply(_sie(), "Age: 100"), reply(status=code)], client=[get(fetched(1)), get(fetched(2))],
    )
    for code in (400, 403, 404, 410, 501)
] + [
    case(
        "sie-closed", "RFC 5861, 4", "an origin that ends the connection without a response is covered",
        origin=[reply(_sie(), "Age: 100"), raw("")], client=[get(fetched(1)), get(answered(1), age(100, 111))],
    ),
    case(
        "sie-garbage", "RFC 5861, 4", "an origin that does not speak HTTP is covered",
        origin=[reply(_sie(), "Age: 100"), raw("SSH-2.0-OpenSSH_9.6\r\n\r\n")], client=[get(fetched(1)), get(answered(1), age(100, 111))],
    ),
    case(
        "sie-validation", "RFC 5861, 4", "a failed validation is covered as well",
        origin=[reply(_sie(), "Age: 100", _TAG), reply(status=503)], client=[get(fetched(1)), get(answered(1), asked(1), asked_with("If-None-Match"))],
    ),
    case(
        "sie-beyond", "RFC 5861, 4", "after its window nothing is covered",
        origin=[reply("Cache-Control: max-age=60, stale-if-error=20", "Age: 100"), reply(status=500)], client=[get(fetched(1)), get(fetched(2))],
    ),
    case(
        "sie-zero", "RFC 5861, 4", "a window of zero covers nothing",
        origin=[reply("Cache-Control: max-age=60, stale-if-error=0", "Age: 100"), reply(status=500)], client=[get(fetched(1)), get(fetched(2))],
    ),
    case(
        "sie-none", "RFC 5861, 4", "without the directive nothing is covered",
        origin=[spent(), reply(status=500)], client=[get(fetched(1)), get(fetched(2))],
    ),
    *(
        case(
            f"sie-not-with-{directive}", "RFC 9111, 4.2.4", f"{directive} forbids stale-if-error",
            origin=[reply(_sie(directive), "Age: 100"), reply(status=500)], client=[get(fetched(1)), get(fetched(2))],
        )
        for directive in ("must-revalidate", "proxy-revalidate", "no-cache")
    ),
    case(
        "sie-recovers", "RFC 5861, 4", "when the origin has recovered its answer replaces the stale one",
        origin=[reply(_sie(), "Age: 100"), reply(status=500), fresh()],
        client=[get(fetched(1)), get(answered(1)), get(answered(3), again=True), get(reused(3))],
    ),
    case(
        "sie-asks-first", "RFC 5861, 4", "the stale response is for errors only: the origin is asked first",
        origin=[reply(_sie(), "Age: 100"), fresh()], client=[get(fetched(1)), get(fetched(2))],
    ),
    case(
        "sie-cold", "RFC 5861, 4", "with nothing stored an error is an error",
        origin=[reply(_sie(), status=500)], client=[get(fetched(1))],
    ),
    case(
        "sie-post", "RFC 5861, 4", "an error to a POST is not covered",
        origin=[reply(_sie(), "Age: 100"), reply(status=500)], client=[get(fetched(1)), post(fetched(2))],
    ),
]

# --- targeted fields

_CDN = "CDN-Cache-Control: "
_NO = "Cache-Control: no-store"


def _targeted(name: str, claim: str, *fields: str, good: bool) -> Case:
    """The response is reused or not."""
    last = get(reused(1)) if good else get(fetched(2))
    return case(name, "RFC 9213, 2", claim, origin=[reply(*fields), reply()], client=[get(fetched(1)), last])


TARGETED = [
    _targeted("targeted-over-no-store", "a targeted lifetime overrides no-store", _NO, _CDN + "max-age=3600", good=True),
    _targeted("targeted-over-private", "a targeted lifetime overrides private", "Cache-Control: private", _CDN + "max-age=3600", good=True),
    _targeted("targeted-no-store", "a targeted no-store overrides a lifetime", LONG, _CDN + "no-store", good=False),
    _targeted("targeted-private", "a targeted private overrides a lifetime", LONG, _CDN + "private", good=False),
    _targeted("targeted-no-cache", "a targeted no-cache overrides a lifetime", LONG, _CDN + "no-cache, max-age=3600", good=False),
    _targeted("targeted-zero", "a targeted lifetime of zero overrides Cache-Control", LONG, _CDN + "max-age=0", good=False),
    _targeted("targeted-over-s-maxage", "s-maxage in Cache-Control does not count beside a targeted field", "Cache-Control: s-maxage=3600", _CDN + "max-age=0", good=False),
    _targeted("targeted-s-maxage", "a targeted s-maxage is understood", _NO, _CDN + "s-maxage=3600", good=True),
    _targeted("targeted-over-expires", "Expires does not count beside a targeted field", "Expires: <now+3600>", _CDN + "max-age=0", good=False),
    _targeted("targeted-over-past-expires", "nor does a past one", "Expires: 0", _CDN + "max-age=3600", good=True),
    _targeted("targeted-empty", "an empty targeted field is ignored", LONG, "CDN-Cache-Control:", good=True),
    _targeted("targeted-empty-no-store", "and no-store counts then", _NO, "CDN-Cache-Control:", good=False),
    _targeted("targeted-malformed", "a targeted field that does not parse is ignored", LONG, _CDN + "max-age=0, &", good=True),
    _targeted("targeted-malformed-no-store", "and no-store counts then", _NO, _CDN + "max-age=3600 public", good=False),
    _targeted("targeted-upper-case", "keys of a structured field are lower case: Max-Age does not parse", LONG, _CDN + "Max-Age=0", good=True),
    _targeted("targeted-trailing-comma", "a trailing comma does not parse", LONG, _CDN + "max-age=0,", good=True),
    _targeted("targeted-parameters", "parameters are ignored", _NO, _CDN + "max-age=3600;x=y", good=True),
    _targeted("targeted-string", "a lifetime that is a string is none", LONG, _CDN + 'max-age="3600"', good=False),
    _targeted("targeted-decimal", "a lifetime that is a fraction is none", LONG, _CDN + "max-age=3600.0", good=False),
    _targeted("targeted-twice", "of one key the last counts", _NO, _CDN + "max-age=0, max-age=3600", good=True),
    _targeted("targeted-lines", "several lines are one dictionary", _NO, _CDN + "public", _CDN + "max-age=3600", good=True),
    _targeted("targeted-false", "a directive that is false does not apply", LONG, _CDN + "no-store=?0, max-age=3600", good=True),
    _targeted("targeted-unknown-only", "a valid targeted field hides Cache-Control even without a lifetime", _NO, _CDN + "none", _OLD, good=True),
    _targeted("targeted-unknown-only-hides", "so that Cache-Control's lifetime does not count", LONG, _CDN + "none", good=False),
    _targeted("targeted-other-name", "a field that is not on the target list changes nothing", LONG, "Other-Cache-Control: no-store", good=True),
    _targeted("targeted-age", "the age counts against a targeted lifetime", LONG, _CDN + "max-age=60", "Age: 100", good=False),
]

TARGETED_DIALOGUES = [
    case(
        "targeted-must-revalidate", "RFC 9213, 2.2", "a targeted must-revalidate is obeyed",
        origin=[reply(LONG, _CDN + "max-age=60, must-revalidate", "Age: 100"), raw("")],
        client=[get(fetched(1)), get("Cache-Control: max-stale", status(502, 504))],
    ),
    case(
        "targeted-swr", "RFC 9213, 2.2", "a targeted stale-while-revalidate is obeyed",
        origin=[reply(_NO, _CDN + "max-age=60, stale-while-revalidate=600", "Age: 100"), fresh()],
        client=[get(fetched(1)), get(*_STALE_HIT, arrives=2)],
    ),
    case(
        "targeted-other-passed-on", "RFC 9213, 2.2", "targeted fields of others are passed on",
        origin=[fresh("Other-Cache-Control: max-age=1")], client=[get(has("Other-Cache-Control", "max-age=1")), get(reused(1), has("Other-Cache-Control", "max-age=1"))],
    ),
    case(
        "targeted-cache-control-passed-on", "RFC 9213, 2.2", "Cache-Control still reaches the client",
        origin=[reply(_NO, _CDN + "max-age=3600")], client=[get(has("Cache-Control", "no-store")), get(reused(1), has("Cache-Control", "no-store"))],
    ),
    case(
        "targeted-304", "RFC 9213, 2.2", "a targeted field on a 304 gives the new lifetime",
        origin=[reply(_NO, _CDN + "max-age=60", "Age: 100", _TAG), not_modified(_NO, _CDN + "max-age=3600", _TAG)],
        client=[get(fetched(1)), get(validated(1)), get(reused(1))],
    ),
]

CASES: list[Case] = [
    *REQUESTS, *REQUEST_DIALOGUES, *RESPONSES, *IMMUTABLE, *WHILE_REVALIDATING, *IF_ERROR, *TARGETED, *TARGETED_DIALOGUES,
]

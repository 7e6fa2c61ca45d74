"""RFC 9111, 4.4 and RFC 9875: what unsafe requests do to what is stored, by URI and by group."""

# ruff: noqa: E501  (one case a line, as a table)
# fmt: off

from __future__ import annotations

from tests.conformance.claims import fetched, has, reused
from tests.conformance.model import Case, case
from tests.conformance.script import ask, fresh, get, head, post, reply

_URI = "RFC 9111, 4.4"
_GROUP = "RFC 9875, 3"
_GROUPS = "RFC 9875, 2"
_UNSAFE = ("POST", "PUT", "DELETE", "PATCH", "UNHEARDOF", "MKCOL", "LOCK")

METHODS = [
    case(
        f"invalidate-{method.lower()}", _URI, f"a successful {method} invalidates what is stored under its URI",
        origin=[fresh(), reply(), fresh()], client=[get(fetched(1)), ask(method, fetched(2), body=b"x"), get(fetched(3)), get(reused(3))],
    )
    for method in _UNSAFE
] + [
    case(
        "invalidate-not-options", "RFC 9110, 9.2.1", "an OPTIONS is safe and invalidates nothing",
        origin=[fresh(), reply()], client=[get(fetched(1)), ask("OPTIONS", fetched(2)), get(reused(1))],
    ),
    case(
        "invalidate-not-head", "RFC 9110, 9.2.1", "a HEAD is safe and invalidates nothing",
        origin=[fresh()], client=[get(fetched(1)), head(), get(reused(1))],
    ),
]

STATUSES = [
    case(
        f"invalidate-post-{code}", _URI, f"a POST answered with {code} is not an error: it invalidates",
        origin=[fresh(), reply(*fields, status=code, body=b"" if code == 204 else None), fresh()],
        client=[get(fetched(1)), post(fetched(2)), get(fetched(3))],
    )
    for code, fields in ((201, ("Location: <path>/new",)), (202, ()), (204, ()), (303, ("Location: <path>/seen",)), (307, ("Location: <path>/moved",)), (299, ()))
] + [
    case(
        f"invalidate-not-post-{code}", _URI, f"a POST answered with {code} is an error: it invalidates nothing",
        origin=[fresh(), reply(status=code)], client=[get(fetched(1)), post(fetched(2)), get(reused(1))],
    )
    for code in (400, 403, 404, 405, 409, 429, 500, 503)
]

OTHERS = [
    case(
        f"invalidate-{name}", _URI, claim,
        origin=[fresh(), reply(*fields, status=code), fresh()],
        client=[get(fetched(1), at="/other?a=1"), post(fetched(2), at="/posted"), get(fetched(3), at="/other?a=1")],
    )
    for name, claim, code, fields in (
        ("location-path", "the URI in Location is invalidated: a path", 201, ("Location: <path>/other?a=1",)),
        ("location-absolute", "the URI in Location is invalidated: absolute", 201, ("Location: http://<host><path>/other?a=1",)),
        ("location-relative", "the URI in Location is invalidated: relative", 201, ("Location: other?a=1",)),
        ("location-303", "the URI in Location of a redirection is invalidated", 303, ("Location: <path>/other?a=1",)),
        ("content-location-path", "the URI in Content-Location is invalidated: a path", 200, ("Content-Location: <path>/other?a=1",)),
        ("content-location-absolute", "the URI in Content-Location is invalidated: absolute", 200, ("Content-Location: http://<host><path>/other?a=1",)),
        ("content-location-relative", "the URI in Content-Location is invalidated: relative", 200, ("Content-Location: ./x/../other?a=1",)),
    )
] + [
    case(
        f"invalidate-not-{name}", _URI, claim,
        origin=[fresh(), reply(*fields, status=code)],
        client=[get(fetched(1), at="/other"), ask(method, fetched(2), at="/posted"), get(reused(1), at="/other")],
    )
    for name, claim, method, code, fields in (
        ("location-other-host", "a Location on another host invalidates nothing", "POST", 201, ("Location: http://other.example<path>/other",)),
        ("content-location-other-host", "a Content-Location on another host invalidates nothing", "POST", 200, ("Content-Location: http://other.example<path>/other",)),
        ("location-other-scheme", "a Location of another scheme invalidates nothing", "POST", 201, ("Location: https://<host><path>/other",)),
        ("location-other-port", "a Location on another port invalidates nothing", "POST", 201, ("Location: http://127.0.0.1:1<path>/other",)),
        ("location-on-error", "the Location of an error invalidates nothing", "POST", 409, ("Location: <path>/other",)),
        ("location-on-get", "the Location of a GET's response invalidates nothing", "GET", 302, ("Location: <path>/other",)),
        ("content-location-on-get", "the Content-Location of a GET's response invalidates nothing", "GET", 200, ("Content-Location: <path>/other",)),
        ("other-uri", "other URIs are left alone", "POST", 200, ()),
        ("location-nonsense", "a Location that is no URI invalidates nothing and harms nothing", "POST", 201, ("Location: http://[oops",)),
    )
]

DETAILS = [
    case(
        "invalidate-query-kept-apart", _URI, "only the URI with the request's own query is invalidated",
        origin=[fresh(), fresh(), reply(), fresh()],
        client=[get(fetched(1), at="?a=1"), get(fetched(2), at="?a=2"), post(fetched(3), at="?a=1"), get(reused(2), at="?a=2"), get(fetched(4), at="?a=1")],
    ),
    case(
        "invalidate-path-below", _URI, "a URI below the one posted to is left alone",
        origin=[fresh(), reply()], client=[get(fetched(1), at="/a/b"), post(fetched(2), at="/a"), get(reused(1), at="/a/b")],
    ),
    case(
        "invalidate-normalised", _URI, "the URI is matched in its normal form",
        origin=[fresh(), reply(), fresh()], client=[get(fetched(1), at="/~a?b=1&a=2"), post(fetched(2), at="/%7Ea?a=2&b=1"), get(fetched(3), at="/~a?b=1&a=2")],
    ),
    case(
        "invalidate-404-stored", _URI, "a stored error is invalidated, too",
        origin=[reply("Cache-Control: max-age=3600", status=404), reply(status=201), fresh()],
        client=[get(fetched(1)), ask("PUT", fetched(2), body=b"x"), get(fetched(3))],
    ),
    case(
        "invalidate-cold", _URI, "an unsafe request with nothing stored changes nothing",
        origin=[reply(), fresh()], client=[post(fetched(1)), get(fetched(2)), get(reused(2))],
    ),
    case(
        "invalidate-twice", _URI, "each unsafe request invalidates anew",
        origin=[fresh(), reply(), fresh(), reply(), fresh()],
        client=[get(fetched(1)), post(fetched(2)), get(fetched(3)), post(fetched(4)), get(fetched(5))],
    ),
]



def _group(*names: str) -> str:
    """Groups of this case alone, since groups span all URIs of an origin."""
    return ", ".join(f'"{name}-<id>"' for name in names)


def _ends(name: str, claim: str, stored: tuple[str, ...], ending: tuple[str, ...], *, method: str = "POST", code: int = 200) -> Case:
    """The stored response is invalidated by a response to another URI."""
    return case(
        name, _GROUP, claim, origin=[fresh(*stored), reply(*ending, status=code), fresh()],
        client=[get(fetched(1), at="/member"), ask(method, fetched(2), at="/posted"), get(fetched(3), at="/member")],
    )


def _stays(name: str, claim: str, stored: tuple[str, ...], ending: tuple[str, ...], *, method: str = "POST") -> Case:
    """The stored response is left alone by a response to another URI."""
    return case(
        name, _GROUP, claim, origin=[fresh(*stored), reply(*ending)],
        client=[get(fetched(1), at="/member"), ask(method, fetched(2), at="/posted"), get(reused(1), at="/member")],
    )


_IN_ONE = (f"Cache-Groups: {_group('one')}",)
_END_ONE = (f"Cache-Group-Invalidation: {_group('one')}",)
_32_NAMES = [f"{number:x<16}" for number in range(32)]  # with the case's id more than 32 characters each

GROUPS = [
    _ends("groups-one", "a response of the group is invalidated", _IN_ONE, _END_ONE),
    _ends("groups-second-member", "a group is found in any position of Cache-Groups", (f"Cache-Groups: {_group('zero', 'one')}",), _END_ONE),
    _ends("groups-second-ended", "every listed group is invalidated", _IN_ONE, (f"Cache-Group-Invalidation: {_group('zero', 'one')}",)),
    _ends("groups-second-line", "Cache-Groups may come on several lines", (f"Cache-Groups: {_group('zero')}", *_IN_ONE), _END_ONE),
    _ends("groups-second-line-ended", "Cache-Group-Invalidation may come on several lines", _IN_ONE, (f"Cache-Group-Invalidation: {_group('zero')}", *_END_ONE)),
    _ends("groups-parameters", "unknown parameters are ignored", (f"Cache-Groups: {_group('one')};x=1",), (f"Cache-Group-Invalidation: {_group('one')};y",)),
    _ends("groups-escapes", "groups are compared after their escapes are undone", (r'Cache-Groups: "a\\b-<id>"',), (r'Cache-Group-Invalidation: "a\\b-<id>"',)),
    _ends("groups-space", "a group's name may hold spaces and commas", ('Cache-Groups: "a, b <id>"',), ('Cache-Group-Invalidation: "a, b <id>"',)),
    _ends("groups-put", "PUT is unsafe as well as POST", _IN_ONE, _END_ONE, method="PUT"),
    _ends("groups-delete", "DELETE is unsafe as well as POST", _IN_ONE, _END_ONE, method="DELETE"),
    _ends("groups-unknown-method", "an unknown method may be unsafe", _IN_ONE, _END_ONE, method="UNHEARDOF"),
    _ends("groups-on-201", "a 201 invalidates groups", _IN_ONE, _END_ONE, code=201),
    _ends("groups-on-303", "a redirection invalidates groups", _IN_ONE, (*_END_ONE, "Location: <path>/x"), code=303),
    _ends("groups-32-stored", "a response may be in 32 groups of 32 characters", (f"Cache-Groups: {_group(*_32_NAMES)}",), (f"Cache-Group-Invalidation: {_group(_32_NAMES[31])}",)),
    _ends("groups-32-ended", "32 groups of 32 characters may be invalidated", (f"Cache-Groups: {_group(_32_NAMES[31])}",), (f"Cache-Group-Invalidation: {_group(*_32_NAMES)}",)),
    _stays("groups-other", "a response of another group is left alone", (f"Cache-Groups: {_group('two')}",), _END_ONE),
    _stays("groups-none", "a response without a group is left alone", (), _END_ONE),
    _stays("groups-case", "groups are compared case-sensitively", (f"Cache-Groups: {_group('ONE')}",), _END_ONE),
    _stays("groups-prefix", "groups are compared as a whole", (f"Cache-Groups: {_group('one-more')}",), _END_ONE),
    _stays("groups-get", "Cache-Group-Invalidation on a GET's response is ignored", _IN_ONE, _END_ONE, method="GET"),
    _stays("groups-options", "Cache-Group-Invalidation on an OPTIONS' response is ignored", _IN_ONE, _END_ONE, method="OPTIONS"),
    _stays("groups-malformed-ended", "a Cache-Group-Invalidation that does not parse is ignored", _IN_ONE, ('Cache-Group-Invalidation: "one-<id>',)),
    _stays("groups-malformed-stored", "a Cache-Groups that does not parse is ignored", ('Cache-Groups: "one-<id>" "two"',), _END_ONE),
    case(
        "groups-members", _GROUPS, "all members of a group are invalidated, and only they",
        origin=[fresh(*_IN_ONE), fresh(*_IN_ONE), fresh(f"Cache-Groups: {_group('two')}"), reply(*_END_ONE), fresh(), fresh()],
        client=[
            get(fetched(1), at="/a"), get(fetched(2), at="/b"), get(fetched(3), at="/c"), post(fetched(4), at="/posted"),
            get(fetched(5), at="/a"), get(fetched(6), at="/b"), get(reused(3), at="/c"),
        ],
    ),
    case(
        "groups-no-cascade", _GROUPS, "invalidating a group does not invalidate the other groups of its members",
        origin=[fresh(f"Cache-Groups: {_group('one', 'two')}"), fresh(f"Cache-Groups: {_group('two')}"), reply(*_END_ONE), fresh()],
        client=[get(fetched(1), at="/a"), get(fetched(2), at="/b"), post(fetched(3), at="/posted"), get(reused(2), at="/b"), get(fetched(4), at="/a")],
    ),
    case(
        "groups-stored-again", _GROUPS, "a member fetched after the invalidation is stored again",
        origin=[fresh(*_IN_ONE), reply(*_END_ONE), fresh(*_IN_ONE)],
        client=[get(fetched(1), at="/a"), post(fetched(2), at="/posted"), get(fetched(3), at="/a"), get(reused(3), at="/a")],
    ),
    case(
        "groups-left", _GROUPS, "a response that has left the group by being replaced is left alone",
        origin=[fresh(*_IN_ONE), fresh(), reply(*_END_ONE)],
        client=[get(fetched(1), at="/a"), get("Cache-Control: no-cache", fetched(2), at="/a"), post(fetched(3), at="/posted"), get(reused(2), at="/a")],
    ),
    case(
        "groups-variants", _GROUPS, "variants of one URI may be in different groups",
        origin=[fresh("Vary: Foo", *_IN_ONE), fresh("Vary: Foo"), reply(*_END_ONE), fresh("Vary: Foo")],
        client=[
            get("Foo: 1", fetched(1), at="/a"), get("Foo: 2", fetched(2), at="/a"), post(fetched(3), at="/posted"),
            get("Foo: 2", reused(2), at="/a"), get("Foo: 1", fetched(4), at="/a"),
        ],
    ),
    case(
        "groups-passed-on", _GROUPS, "Cache-Groups reaches the client, for its own cache",
        origin=[fresh(*_IN_ONE)], client=[get(fetched(1), has("Cache-Groups", _group("one"))), get(reused(1), has("Cache-Groups", _group("one")))],
    ),
    case(
        "groups-invalidation-passed-on", _GROUP, "Cache-Group-Invalidation reaches the client, for its own cache",
        origin=[reply(*_END_ONE)], client=[post(fetched(1), has("Cache-Group-Invalidation", _group("one")))],
    ),
]

CASES: list[Case] = [*METHODS, *STATUSES, *OTHERS, *DETAILS, *GROUPS]

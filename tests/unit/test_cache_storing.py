"""What a shared cache may store (RFC 9111, 3), and why not."""

from __future__ import annotations

import pytest

from edge.cache.freshness import RequestFacts, Rules, head_of
from edge.cache.storing import HEURISTIC_STATUSES
from origin.reader import Headers

GET = RequestFacts()
ETAG: Headers = (("etag", '"e"'),)
FRESH: Headers = (("cache-control", "max-age=60"),)
WALL = 1_800_000_000.0

# Answers to something in their own request, and those that RFC 6585 forbids to store.
NEVER = frozenset({206, 304, 412, 416, 417, 428, 429, 431, 511})


def reason(
    status: int = 200, *headers: tuple[str, str], request: RequestFacts = GET, rules: Rules | None = None
) -> str:
    """Why the response may not be stored; '' when it may."""
    freshness = head_of(status, headers, now=0, wall=WALL, rules=rules or Rules(), request=request).freshness
    assert freshness.storable == (not freshness.reason)
    return freshness.reason


def control(value: str, *more: tuple[str, str], status: int = 200, request: RequestFacts = GET) -> str:
    return reason(status, ("cache-control", value), *ETAG, *more, request=request)


@pytest.mark.parametrize("status", [status for status in range(200, 600) if status not in NEVER])
def test_any_final_status_with_a_lifetime_of_its_own_is_stored(status: int) -> None:
    assert reason(status, *FRESH) == ""
    assert reason(status, ("expires", "Fri, 15 Jan 2027 09:00:00 GMT")) == ""
    assert reason(status, ("cache-control", "s-maxage=60")) == ""
    assert control("public", status=status) == ""


@pytest.mark.parametrize("status", sorted(NEVER))
def test_answers_to_one_request_alone_are_never_stored(status: int) -> None:
    assert reason(status, *FRESH, *ETAG)


@pytest.mark.parametrize("status", [100, 101, 102, 103, 199, 600, 999])
def test_what_is_no_final_status_is_never_stored(status: int) -> None:
    assert reason(status, *FRESH) == "not a final status"


def test_a_206_is_stored_where_a_block_was_asked_for() -> None:
    assert reason(206, *FRESH, request=RequestFacts(partial=True)) == ""


def test_without_a_lifetime_only_some_statuses_are_stored() -> None:
    stored = {status for status in range(200, 600) if reason(status, *ETAG) == ""}
    assert stored == HEURISTIC_STATUSES - NEVER
    assert reason(302, *ETAG) == "it has no lifetime"


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "QUERY", "get", "UNKNOWN"])
def test_only_responses_to_get_are_stored(method: str) -> None:
    assert reason(200, *FRESH, request=RequestFacts(method=method)) == "only responses to GET are stored"


@pytest.mark.parametrize("value", ["no-store", "max-age=60, no-store", "public, NO-STORE", "no-store=x"])
def test_no_store_is_not_stored(value: str) -> None:
    assert control(value) == "no-store"


@pytest.mark.parametrize("value", ["private", "max-age=60, private", 'private="x", s-maxage=60, public'])
def test_private_is_not_stored(value: str) -> None:
    assert control(value) == "private"


def test_what_the_client_does_not_want_stored_is_not() -> None:
    assert reason(200, *FRESH, request=RequestFacts(no_store=True)) == "the client forbids storing it"


@pytest.mark.parametrize(
    ("status", "value", "expected"),
    [
        (200, "must-understand, no-store, max-age=60", ""),
        (404, "no-store, must-understand, max-age=60", ""),
        (299, "must-understand, max-age=60", "must-understand"),
        (499, "must-understand, no-store, max-age=60", "must-understand"),
        (599, "must-understand, max-age=60", "must-understand"),
        (200, "must-understand, private, max-age=60", "private"),
        (304, "must-understand, max-age=60", "its status answers this request alone"),
    ],
)
def test_must_understand_lifts_no_store_where_the_status_is_understood(status: int, value: str, expected: str) -> None:
    assert control(value, status=status) == expected


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("max-age=60", False),
        ("max-age=60, immutable", False),
        ("proxy-revalidate, max-age=60", False),
        ("public", True),
        ("max-age=60, public", True),
        ("s-maxage=60", True),
        ("s-maxage=0", True),
        ("max-age=60, must-revalidate", True),
        ("max-age=60, public, no-store", False),
        ("max-age=60, public, private", False),
    ],
)
def test_the_answer_to_credentials_needs_leave_to_be_shared(value: str, stored: bool) -> None:
    assert (control(value, request=RequestFacts(authorized=True)) == "") == stored


def test_leave_to_share_may_come_from_a_targeted_field() -> None:
    authorized = RequestFacts(authorized=True)
    assert control("no-store", ("cdn-cache-control", "public, max-age=5"), request=authorized) == ""
    assert control("public", ("cdn-cache-control", "max-age=5"), request=authorized) == "the request was authorized"


def test_vary_star_is_not_stored() -> None:
    assert control("max-age=60", ("vary", "Accept, *")) == "Vary: *"
    assert control("max-age=60", ("vary", "Accept, Cookie")) == ""


@pytest.mark.parametrize(
    ("more", "stored"),
    [
        ((), False),
        ((("cache-control", "public"),), False),
        ((("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),), False),
        (FRESH, True),
        ((("cache-control", "max-age=0"),), False),
        ((("cache-control", "public, s-maxage=0"),), False),
        ((("expires", "0"),), False),
        ((("cache-control", "no-cache, max-age=60"),), False),
        ((("cache-control", "max-age=1"),), True),
        ((("expires", "Fri, 15 Jan 2027 09:00:00 GMT"),), True),
        ((("cdn-cache-control", "max-age=60"),), True),
    ],
)
def test_a_cookie_is_stored_only_with_a_lifetime_that_somebody_gave(more: Headers, stored: bool) -> None:
    assert (reason(200, ("set-cookie", "a=b"), *ETAG, *more) == "") == stored


def test_a_guessed_or_configured_lifetime_does_not_let_a_cookie_in() -> None:
    assert reason(404, ("set-cookie", "a=b"), rules=Rules(negative_ttl_s=5, default_ttl_s=5))


USELESS = "no use without asking, and no validator to ask with"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ((), USELESS),
        ((("cache-control", "max-age=0"),), USELESS),
        ((("cache-control", "no-cache, max-age=60"),), USELESS),
        ((("cache-control", "max-age=0"), ("etag", "unquoted")), USELESS),
        ((("cache-control", "max-age=0, stale-while-revalidate=5"),), ""),
        ((("cache-control", "max-age=0, stale-if-error=5"),), ""),
        ((("cache-control", "no-cache"), ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")), ""),
        ((("cache-control", "max-age=0"), *ETAG), ""),
    ],
)
def test_what_could_only_be_fetched_again_is_not_stored(headers: Headers, expected: str) -> None:
    assert reason(200, *headers) == expected


def test_what_lies_between_a_proxy_and_its_client_is_not_stored_but_passes() -> None:
    fields = (("proxy-authenticate", "Basic"), ("proxy-authentication-info", "x"), ("x", "1"))
    stored = head_of(200, (*FRESH, *fields), now=0, wall=WALL)
    assert [name for name, _ in stored.headers] == ["cache-control", "x", "date"]
    passed = head_of(407, fields, now=0, wall=WALL)
    assert passed.field("proxy-authenticate") == "Basic"

"""What a 304, and the answer to a HEAD, do to a stored response (RFC 9111, 3.2, 4.3.4 and 4.3.5)."""

from __future__ import annotations

import pytest

from edge.cache.dates import written
from edge.cache.freshness import Rules, freshened, head_of, updated_by_head, validated
from edge.cache.model import Head
from origin.reader import Headers

WALL = 1_800_000_000.0
LAST = ("last-modified", written(WALL - 5000))
LATER = ("last-modified", written(WALL - 4000))


def stored(*headers: tuple[str, str], control: str = "max-age=60") -> Head:
    fields = (("cache-control", control), ("content-length", "10"), ("content-type", "video/mp4"), *headers)
    return head_of(200, (*fields, ("date", written(WALL - 100)), ("age", "100")), now=0.0, wall=WALL)


def received(status: int, *headers: tuple[str, str]) -> Head:
    return head_of(status, headers, now=50.0, wall=WALL + 50, response_delay_s=1)


# -- 3.2: the fields -----------------------------------------------------------------------------------------------


def test_new_fields_are_added_and_known_ones_replaced_whole() -> None:
    before: Headers = (("cache-control", "max-age=1"), ("x", "1"), ("y", "1"), ("x", "2"))
    update: Headers = (("cache-control", "max-age=9"), ("x", "3"), ("z", "1"))
    assert freshened(before, update) == (("y", "1"), ("cache-control", "max-age=9"), ("x", "3"), ("z", "1"))


@pytest.mark.parametrize(
    "name", ["content-length", "content-encoding", "content-range", "content-digest", "repr-digest"]
)
def test_what_describes_the_stored_bytes_stays(name: str) -> None:
    assert freshened(((name, "old"),), ((name, "new"),)) == ((name, "old"),)
    assert freshened((), ((name, "new"),)) == ()


@pytest.mark.parametrize(
    "name", ["content-type", "content-language", "content-location", "etag", "set-cookie", "expires"]
)
def test_every_other_field_is_replaced(name: str) -> None:
    assert freshened(((name, "old"),), ((name, "new"),)) == ((name, "new"),)


def test_age_and_date_are_those_of_the_newer_response_even_when_it_has_none() -> None:
    before: Headers = (("age", "100"), ("date", "old"), ("x", "1"))
    assert freshened(before, ()) == (("x", "1"),)
    assert freshened(before, (("date", "new"),)) == (("x", "1"), ("date", "new"))


# -- 4.3.4: the 304 ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "names", "confirmed"),
    [
        ([("etag", '"a"')], [("etag", '"a"')], True),
        ([("etag", '"a"')], [("etag", '"b"')], False),
        ([("etag", '"a"')], [("etag", 'W/"a"')], True),
        ([("etag", 'W/"a"')], [("etag", 'W/"a"')], True),
        ([("etag", 'W/"a"')], [("etag", '"a"')], False),
        ([LAST], [("etag", '"a"')], False),
        ([("etag", '"a"'), LAST], [("etag", '"a"'), LATER], True),
        ([LAST], [LAST], True),
        ([LAST], [LATER], False),
        ([("etag", '"a"')], [LAST], False),
        ([("etag", '"a"')], [], True),
        ([LAST], [], True),
        ([], [], True),
        ([], [("etag", '"a"')], False),
    ],
)
def test_a_304_must_be_about_the_stored_response(
    known: list[tuple[str, str]], names: list[tuple[str, str]], confirmed: bool
) -> None:
    assert (validated(stored(*known), received(304, *names)) is not None) == confirmed


def test_a_304_makes_it_fresh_again_by_its_own_age_and_what_is_then_said() -> None:
    old = stored(("etag", '"a"'), ("x", "1"), control="max-age=60, stale-if-error=5")
    new = validated(old, received(304, ("etag", '"a"'), ("x", "2"), ("content-length", "0")))
    assert new is not None
    assert (new.status, new.length, new.field("x"), new.field("content-type")) == (200, 10, "2", "video/mp4")
    assert new.field("date") == written(WALL + 50)
    assert (new.age_s(50.0), new.freshness.lifetime_s, new.freshness.stale_if_error_s) == (1, 60, 5)


def test_a_304_may_change_what_is_allowed() -> None:
    old = stored(("etag", '"a"'))
    longer = validated(
        old, received(304, ("cache-control", "max-age=600"), ("vary", "Accept"), ("cache-groups", '"g"'))
    )
    assert longer is not None
    assert (longer.freshness.lifetime_s, longer.vary, longer.tags) == (600, ("accept",), ("g",))
    forbidden = validated(old, received(304, ("cache-control", "no-store")))
    assert forbidden is not None
    assert forbidden.freshness.reason == "no-store"


def test_a_lifetime_by_expires_begins_with_the_304() -> None:
    old = head_of(200, (("expires", written(WALL + 60)), ("etag", '"a"')), now=0, wall=WALL)
    new = validated(old, received(304, ("etag", '"a"'), ("expires", written(WALL + 80))))
    assert new is not None
    assert new.freshness.lifetime_s == 30


def test_a_304_is_judged_by_the_sites_rules() -> None:
    gone = head_of(404, (("etag", '"a"'),), now=0, wall=WALL, rules=Rules(negative_ttl_s=2))
    new = validated(gone, received(304, ("etag", '"a"')), rules=Rules(negative_ttl_s=7))
    assert new is not None
    assert (new.status, new.freshness.lifetime_s) == (404, 7)


def test_freshening_twice_is_freshening_once() -> None:
    old, answer = stored(("etag", '"a"'), ("x", "1")), received(304, ("etag", '"a"'), ("x", "2"))
    once = validated(old, answer)
    assert once is not None
    assert validated(once, answer) == once


# -- 4.3.5: the HEAD -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "answer", "matches"),
    [
        ([("etag", '"a"')], [("etag", '"a"')], True),
        ([("etag", '"a"')], [("etag", 'W/"a"')], False),
        ([("etag", '"a"')], [("etag", '"b"')], False),
        ([("etag", '"a"'), LAST], [("etag", '"a"'), LATER], False),
        ([LAST], [LAST], True),
        ([LAST], [LATER], False),
        ([], [("etag", '"a"')], False),
        ([("etag", '"a"')], [("etag", '"a"'), ("content-length", "10")], True),
        ([("etag", '"a"')], [("etag", '"a"'), ("content-length", "11")], False),
        ([], [("content-length", "10")], True),
        ([], [], True),
    ],
)
def test_a_head_updates_what_it_describes_and_nothing_else(
    known: list[tuple[str, str]], answer: list[tuple[str, str]], matches: bool
) -> None:
    updated = updated_by_head(stored(*known), received(200, ("x", "2"), *answer))
    assert (updated is not None) == matches
    if updated is not None:
        assert (updated.field("x"), updated.length, updated.field("content-type")) == ("2", 10, "video/mp4")
        assert updated.age_s(50.0) == 1


@pytest.mark.parametrize("status", [204, 301, 304, 404, 500])
def test_a_head_without_200_says_nothing_of_a_stored_200(status: int) -> None:
    old = stored(("etag", '"a"'))
    assert updated_by_head(old, received(status, ("etag", '"b"'))) is old


def test_a_head_that_forbids_storing_ends_what_is_stored() -> None:
    assert updated_by_head(stored(("etag", '"a"')), received(200, ("cache-control", "no-store"))) is None


def test_a_head_that_was_asked_for_as_such_updates_the_response_to_a_get() -> None:
    assert updated_by_head(stored(("etag", '"a"')), received(200, ("cache-control", "max-age=9"))) is not None

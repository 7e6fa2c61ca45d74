"""What is taken as a view event, and what is refused with which reason."""

from __future__ import annotations

import sys

import orjson
import pytest

from edge.counters.event import MAX_EVENTS, BodyError, BodyReason, Kind, Reason, ViewEvent, parse

NOW = 1_764_000_000_000
DAY = 24 * 3600 * 1000
GOOD: dict[str, object] = {"id": "0193", "kind": "view", "resource": "lesson-000123", "at": NOW}


def verdict(**members: object) -> ViewEvent | Reason:
    """What becomes of the good event with some members changed; `...` takes a member out."""
    document = {name: value for name, value in (GOOD | members).items() if value is not ...}
    parsed = parse(orjson.dumps(document), NOW)
    return parsed.events[0] if parsed.events else parsed.rejected[0].reason


def test_the_contracts_example_is_taken() -> None:
    body = (
        b'{"id": "0193", "kind": "view", "resource": "lesson-000123", "viewer": "opaque", "at": 1764000000000,'
        b' "watched_s": 0}'
    )
    parsed = parse(body, NOW)
    assert parsed.events == [ViewEvent("0193", Kind.VIEW, "lesson-000123", "opaque", NOW, 0)]
    assert parsed.rejected == []


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"id": ...}, Reason.ID),
        ({"id": ""}, Reason.ID),
        ({"id": "x" * 65}, Reason.ID),
        ({"id": 7}, Reason.ID),
        ({"kind": ...}, Reason.KIND),
        ({"kind": "VIEW"}, Reason.KIND),
        ({"kind": ["view"]}, Reason.KIND),
        ({"resource": ...}, Reason.RESOURCE),
        ({"resource": None}, Reason.RESOURCE),
        ({"resource": ""}, Reason.RESOURCE),
        ({"resource": "a/b"}, Reason.RESOURCE),
        ({"resource": "x" * 65}, Reason.RESOURCE),
        ({"resource": "lesson\n"}, Reason.RESOURCE),
        ({"resource": "课"}, Reason.RESOURCE),
        ({"kind": "visit"}, Reason.RESOURCE_ON_VISIT),
        ({"viewer": ""}, Reason.VIEWER),
        ({"viewer": "x" * 65}, Reason.VIEWER),
        ({"viewer": 1}, Reason.VIEWER),
        ({"at": ...}, Reason.AT),
        ({"at": "now"}, Reason.AT),
        ({"at": float(NOW)}, Reason.AT),
        ({"at": True}, Reason.AT),
        ({"at": NOW - DAY - 1}, Reason.AT_TOO_OLD),
        ({"at": -(2**63)}, Reason.AT_TOO_OLD),
        ({"at": NOW + 60_001}, Reason.AT_AHEAD),
        ({"at": 2**64 - 1}, Reason.AT_AHEAD),
        ({"kind": "watch"}, Reason.WATCHED),
        ({"kind": "watch", "watched_s": 120.5}, Reason.WATCHED),
        ({"kind": "watch", "watched_s": -1}, Reason.WATCHED),
        ({"kind": "watch", "watched_s": True}, Reason.WATCHED),
        ({"kind": "watch", "watched_s": "30"}, Reason.WATCHED),
        ({"watched_s": 121}, Reason.WATCHED),
    ],
)
def test_a_bad_member_is_refused_with_its_reason(members: dict[str, object], reason: Reason) -> None:
    assert verdict(**members) is reason


@pytest.mark.parametrize(
    "members",
    [
        {"id": "x" * 64},
        {"id": "标识" * 32},
        {"kind": "play"},
        {"kind": "visit", "resource": ...},
        {"kind": "visit", "resource": None},
        {"kind": "watch", "watched_s": 120},
        {"viewer": None},
        {"viewer": "x" * 64},
        {"resource": "."},
        {"at": NOW - DAY},
        {"at": NOW + 60_000},
        {"more": {"than": "asked"}},
    ],
)
def test_what_the_contract_allows_is_taken(members: dict[str, object]) -> None:
    assert isinstance(verdict(**members), ViewEvent)


def test_fractions_of_a_second_add_up_in_milliseconds_and_only_for_watch() -> None:
    watched, viewed = verdict(kind="watch", watched_s=29.97), verdict(watched_s=29.97)
    assert isinstance(watched, ViewEvent)
    assert isinstance(viewed, ViewEvent)
    assert (watched.watched_ms, viewed.watched_ms) == (29_970, 0)


def test_each_event_of_a_batch_is_taken_or_refused_by_itself() -> None:
    items: list[object] = [GOOD, GOOD | {"kind": "?"}, 7, None, GOOD | {"id": "2"}, []]
    parsed = parse(orjson.dumps({"events": items}), NOW)
    assert [one.id for one in parsed.events] == ["0193", "2"]
    assert parsed.rejected == [
        (1, Reason.KIND),
        (2, Reason.NOT_AN_OBJECT),
        (3, Reason.NOT_AN_OBJECT),
        (5, Reason.NOT_AN_OBJECT),
    ]


def test_a_catalog_refuses_what_it_does_not_hold() -> None:
    body = orjson.dumps({"events": [GOOD, GOOD | {"resource": "other"}, {"id": "v", "kind": "visit", "at": NOW}]})
    parsed = parse(body, NOW, {"lesson-000123"}.__contains__)
    assert len(parsed.events) == 2
    assert parsed.rejected == [(1, Reason.RESOURCE_UNKNOWN)]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", BodyReason.NOT_JSON),
        (b"{", BodyReason.NOT_JSON),
        (b"id=1&kind=view", BodyReason.NOT_JSON),
        (b'{"id": "\xff"}', BodyReason.NOT_JSON),
        (b'{"at": NaN}', BodyReason.NOT_JSON),
        (b"[" * 200_000, BodyReason.NOT_JSON),
        (b"null", BodyReason.NOT_EVENTS),
        (b"[]", BodyReason.NOT_EVENTS),
        (b'"view"', BodyReason.NOT_EVENTS),
        (b'{"events": {}}', BodyReason.NOT_EVENTS),
        (orjson.dumps({"events": [GOOD] * (MAX_EVENTS + 1)}), BodyReason.TOO_MANY),
    ],
)
def test_a_body_that_is_no_events_is_refused_as_a_whole(body: bytes, reason: BodyReason) -> None:
    with pytest.raises(BodyError) as refused:
        parse(body, NOW)
    assert refused.value.reason is reason


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"id": "1",}', "trailing comma is not allowed"),
        (b'{"id": "\xff"}', "str is not valid UTF-8"),
        (b'{"at": NaN}', "unexpected character"),
        (b'{"at": 1e999, "watched_s": -Infinity}', "-Infinity is not a JSON value"),
        (b"[" * 100_000 + b"]" * 100_000, "nested more than 3,000 deep"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused_with_what_is_wrong(body: bytes, said: str) -> None:
    with pytest.raises(BodyError) as refused:
        parse(body, NOW)
    assert refused.value.reason is BodyReason.NOT_JSON
    assert str(refused.value).startswith(f"the body is not JSON: {said}")


def test_a_pair_of_surrogates_is_a_character_beside_an_odd_event() -> None:
    good = b'{"id": "\\ud83d\\ude00", "kind": "visit", "at": %d}' % NOW
    parsed = parse(b'{"events": [%b, %b]}' % (good.replace(rb"\ude00", b""), good), NOW)
    assert [one.id for one in parsed.events] == ["😀"]
    assert parsed.rejected == [(0, Reason.ID)]


def test_what_an_event_has_beside_its_members_may_be_nested_deeply() -> None:
    limit = sys.getrecursionlimit()
    body = b'{"id": "1", "kind": "visit", "at": %d, "more": %b}' % (NOW, b"[" * 2900 + b"]" * 2900)
    assert len(parse(body, NOW).events) == 1
    assert sys.getrecursionlimit() == limit


def test_every_reason_is_one_sentence_of_its_own() -> None:
    sentences = [reason.value for reason in Reason]
    assert len(set(sentences)) == len(Reason)
    assert all(sentence and not sentence.endswith(".") for sentence in sentences)

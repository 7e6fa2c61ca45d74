"""Whatever arrives, each event is taken or refused, and what is taken is what the contract allows."""

from __future__ import annotations

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.counters.event import BodyError, Kind, is_resource, parse

NOW = 1_764_000_000_000
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=70),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
nearly = st.fixed_dictionaries(
    {},
    optional={
        "id": st.text(max_size=66) | anything,
        "kind": st.sampled_from(["visit", "view", "play", "watch", "Watch"]) | anything,
        "resource": st.from_regex(r"[A-Za-z0-9._-]{0,66}", fullmatch=True) | anything,
        "viewer": st.text(max_size=66) | anything,
        "at": st.integers(NOW - 90_000_000, NOW + 70_000) | anything,
        "watched_s": st.floats(-1, 121) | st.integers(-1, 121) | anything,
    },
)


@settings(max_examples=300, deadline=None)
@given(st.lists(nearly | anything, max_size=8))
def test_every_event_of_a_body_is_taken_or_refused(items: list[object]) -> None:
    parsed = parse(orjson.dumps({"events": items}), NOW)
    assert len(parsed.events) + len(parsed.rejected) == len(items)
    for one in parsed.events:
        assert 1 <= len(one.id) <= 64
        assert is_resource(one.resource) or (one.kind is Kind.VISIT and one.resource == "")
        assert len(one.viewer) <= 64
        assert NOW - 86_400_000 <= one.at_ms <= NOW + 60_000
        assert 0 <= one.watched_ms <= 120_000


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | anything.map(orjson.dumps))
def test_no_body_does_more_than_be_refused(body: bytes) -> None:
    try:
        parsed = parse(body, NOW)
    except BodyError:
        return
    assert parsed.events or parsed.rejected or b"events" in body

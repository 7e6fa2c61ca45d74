"""Whatever arrives, each event is taken or refused, and what is taken is what the contract allows."""

from __future__ import annotations

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.counters.event import BodyError, Kind, Place, is_resource, parse
from edge.counters.record import encode

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


# Members that are JSON, and that no event can have: as they are written, for no library writes them.
ODD = [
    ("id", r'"\ud800"'),
    ("id", r'"a\udc00\ud800"'),
    ("viewer", r'"\udfff"'),
    ("kind", r'"\ud800"'),
    ("resource", r'"\ud800"'),
    ("at", "1e999"),
    ("at", "-1e999"),
    ("at", "9" * 401),
    ("at", "9" * 5000),
    ("watched_s", "1e999"),
    ("watched_s", "9" * 401),
    ("id", "[" * 1500 + "]" * 1500),
    ("at", '{"a":' * 1500 + "1" + "}" * 1500),
]
good = st.fixed_dictionaries(
    {"id": st.text(min_size=1, max_size=64), "kind": st.just("view"), "resource": st.just("a"), "at": st.just(NOW)},
    optional={"viewer": st.text(min_size=1, max_size=64)},
)


def odd(event: dict[str, object], member: tuple[str, str]) -> str:
    name, text = member
    rest = orjson.dumps({key: value for key, value in event.items() if key != name}).decode()
    return f'{rest[:-1]},"{name}":{text}}}'


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(good, st.none() | st.sampled_from(ODD)), max_size=8))
def test_an_odd_event_costs_no_good_one_beside_it(
    events: list[tuple[dict[str, object], tuple[str, str] | None]],
) -> None:
    texts = [orjson.dumps(one).decode() if member is None else odd(one, member) for one, member in events]
    parsed = parse(f'{{"events":[{",".join(texts)}]}}'.encode(), NOW)
    assert [one.id for one in parsed.events] == [one["id"] for one, member in events if member is None]
    assert [place for place, _ in parsed.rejected] == [n for n, (_, member) in enumerate(events) if member is not None]
    assert encode(NOW, parsed.events, Place("44", "CN"))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | anything.map(orjson.dumps))
def test_no_body_does_more_than_be_refused(body: bytes) -> None:
    try:
        parsed = parse(body, NOW)
    except BodyError:
        return
    assert parsed.events or parsed.rejected or b"events" in body

"""The memory tier against a model: whatever is done to it, all that it tells agrees with what it holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from edge.cache.memory import MemoryStore
from edge.cache.model import CacheKey, Entry, Freshness, Head, Layout, Stored, Varying

T = TypeVar("T")
LIMIT = 40_000
HOUR = Freshness(storable=True, lifetime_s=3600.0)
TAGS = ("lesson-1", "lesson-2", "maths")

uris = st.sampled_from(["/a", "/a/1", "/a/2", "/b/1", "/b/1?x=1"])
keys = st.builds(CacheKey, uris, st.sampled_from(["", "v:1", "v:2", "b:1:0", "b:1:1"]))
heads = st.builds(
    lambda tags: Head(200, (), None, 0.0, HOUR, None, None, tags=tags),
    st.lists(st.sampled_from(TAGS), max_size=4).map(tuple),  # a tag may well be named twice
)
values: st.SearchStrategy[Stored] = st.one_of(
    st.builds(lambda head, length: Entry(head, bytes(length)), heads, st.integers(0, LIMIT // 6)),
    st.builds(Layout, heads, st.just(1000)),
    st.just(Varying((("accept-encoding",),))),
)


class Told:
    """What the watchers were told is there."""

    def __init__(self) -> None:
        self.values: dict[CacheKey, Stored] = {}

    def stored(self, key: CacheKey, value: Stored) -> None:
        assert key not in self.values
        self.values[key] = value

    def dropped(self, key: CacheKey, value: Stored) -> None:
        assert self.values.pop(key) is value


class AnyUse(RuleBasedStateMachine):
    """Every operation in any order, with values that make the store overflow now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.told = Told()
        self.store = MemoryStore(max_bytes=LIMIT, watchers=[self.told])

    @rule(key=keys, value=values)
    def put(self, key: CacheKey, value: Stored) -> None:
        was, evictions = self.told.values.copy(), self.store.evictions
        stored = self.store.put(key, value)
        assert self.store.peek(key) is (value if stored else None)
        missing = was.keys() - self.told.values.keys() - {key}
        assert len(missing) <= self.store.evictions - evictions

    @rule(key=keys, times=st.integers(1, 9))
    def get(self, key: CacheKey, times: int) -> None:
        for _ in range(times):
            assert self.store.get(key) is self.told.values.get(key)

    @rule(key=keys)
    def remove(self, key: CacheKey) -> None:
        there = key in self.told.values
        assert self.store.remove(key) is there
        assert self.store.peek(key) is None

    @rule(uri=uris)
    def remove_uri(self, uri: str) -> None:
        there = len(self.store.keys_of(uri))
        assert self.store.remove_uri(uri) == there
        assert not self.store.keys_of(uri)

    @rule(tag=st.sampled_from(TAGS))
    def remove_tagged(self, tag: str) -> None:
        for key in self.store.tagged(tag):
            assert self.store.remove(key)
        assert not self.store.tagged(tag)

    @rule()
    def clear(self) -> None:
        self.store.clear()
        assert not self.told.values

    @invariant()
    def what_it_holds_is_what_it_told(self) -> None:
        held = self.told.values
        assert len(self.store) == len(held)
        assert all(self.store.peek(key) is value for key, value in held.items())

    @invariant()
    def its_bytes_are_those_of_its_values_and_within_the_bound(self) -> None:
        assert sum(value.size for value in self.told.values.values()) <= self.store.used_bytes <= LIMIT
        assert bool(self.store.used_bytes) is bool(self.told.values)

    @invariant()
    def its_indexes_are_what_one_makes_from_scratch(self) -> None:
        held = self.told.values
        for tag in TAGS:
            carrying = [key for key, value in held.items() if not isinstance(value, Varying) and tag in value.head.tags]
            assert once(self.store.tagged(tag)) == set(carrying)
        for uri in {key.uri for key in held}:
            assert once(self.store.keys_of(uri)) == {key for key in held if key.uri == uri}
        for prefix in ("", "/a", "/b/1"):
            assert once(self.store.uris_under(prefix)) == {key.uri for key in held if key.uri.startswith(prefix)}


def once(found: Iterable[T]) -> set[T]:
    """As a set, when nothing is in it twice."""
    listed = list(found)
    assert len(set(listed)) == len(listed)
    return set(listed)


TestAnyUse = AnyUse.TestCase
TestAnyUse.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)

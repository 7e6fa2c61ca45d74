"""What is particular to the memory tier: its bound, its order, and who is told."""

from __future__ import annotations

from edge.cache.memory import MemoryStore
from edge.cache.model import CacheKey, Entry, Freshness, Head, Layout, Stored, Varying

HOUR = Freshness(storable=True, lifetime_s=3600.0)
URI = "/media/lesson/720p.m4s"


def head(length: int, *tags: str) -> Head:
    return Head(200, (), length, 0.0, HOUR, '"1"', None, tags=tags)


def entry(length: int = 100, *tags: str) -> Entry:
    return Entry(head(length, *tags), bytes(length))


class Beside:
    """A watcher that keeps beside the store what an index would: all that is in it."""

    def __init__(self) -> None:
        self.values: dict[CacheKey, Stored] = {}

    def stored(self, key: CacheKey, value: Stored) -> None:
        assert key not in self.values
        self.values[key] = value

    def dropped(self, key: CacheKey, value: Stored) -> None:
        assert self.values.pop(key) is value


def test_bodies_and_their_overhead_stay_within_the_bound() -> None:
    one = entry(1000)
    store = MemoryStore(max_bytes=10 * one.size)
    for number in range(100):
        assert store.put(CacheKey(f"/media/{number}"), one)
        assert store.used_bytes == min(number + 1, 10) * one.size
    assert (len(store), store.evictions) == (10, 90)


def test_what_is_used_outlives_what_is_not() -> None:
    one = entry(1000)
    store = MemoryStore(max_bytes=10 * one.size)
    hot = CacheKey("/media/hot")
    store.put(hot, one)
    for number in range(100):
        assert store.get(hot) is one
        store.put(CacheKey(f"/media/{number}"), one)


def test_a_value_of_more_than_an_eighth_of_the_store_is_refused_and_what_it_replaces_is_gone() -> None:
    store = MemoryStore(max_bytes=80_000)
    key = CacheKey(URI)
    assert store.put(key, entry(1000))
    assert not store.put(key, entry(10_000))
    assert store.get(key) is None
    assert (len(store), store.used_bytes) == (0, 0)


def test_how_large_a_value_may_be_can_be_said() -> None:
    store = MemoryStore(max_bytes=80_000, largest_bytes=80_000)
    assert store.put(CacheKey(URI), entry(70_000))


def test_watchers_see_eviction_overwriting_removal_and_clear() -> None:
    beside = Beside()
    store = MemoryStore(max_bytes=40_000, watchers=[beside])
    for number in range(400):
        store.put(CacheKey(f"/media/{number % 40}"), entry(100 * (number % 23)))
        if number % 7 == 0:
            store.remove(CacheKey(f"/media/{number % 11}"))
        assert len(beside.values) == len(store)
    assert store.evictions > 0
    assert all(store.get(key) is kept for key, kept in list(beside.values.items()))
    store.clear()
    assert not beside.values
    assert (len(store), store.used_bytes) == (0, 0)


def test_a_uri_is_removed_with_its_variants_and_blocks() -> None:
    store = MemoryStore(max_bytes=100_000)
    primary, variant, block = CacheKey(URI), CacheKey(URI, "v:1"), CacheKey(URI, "b:1:0")
    other = CacheKey("/media/lesson/480p.m4s", "v:1")
    store.put(primary, Varying((("accept-encoding",),)))
    store.put(variant, entry())
    store.put(block, Layout(head(5000), 1000))
    store.put(other, entry())
    assert store.keys_of(URI) == (primary, variant, block)
    assert store.remove_uri(URI) == 3
    assert store.keys_of(URI) == ()
    assert store.peek(other) is not None
    assert store.remove_uri(URI) == 0


def test_every_uri_under_a_prefix_is_named_once() -> None:
    store = MemoryStore(max_bytes=100_000)
    for uri, part in [("/a/1", ""), ("/a/1", "v:1"), ("/a/2", "b:1:0"), ("/b/1", ""), ("/a", "")]:
        store.put(CacheKey(uri, part), entry())
    assert sorted(store.uris_under("/a/")) == ["/a/1", "/a/2"]
    assert len(list(store.uris_under(""))) == 4


def test_a_tag_names_the_keys_that_carry_it_now() -> None:
    store = MemoryStore(max_bytes=100_000)
    first, second = CacheKey(URI), CacheKey(URI, "v:1")
    store.put(first, entry(10, "lesson-1", "maths"))
    store.put(second, entry(10, "lesson-1"))
    assert set(store.tagged("lesson-1")) == {first, second}
    store.put(first, entry(10, "maths"))
    assert store.tagged("lesson-1") == (second,)
    store.remove(second)
    assert store.tagged("lesson-1") == ()
    store.clear()
    assert store.tagged("maths") == ()

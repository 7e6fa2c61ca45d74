"""What is particular to the memory tier: its bound, its order, and who is told."""

from __future__ import annotations

from edge.cache.freshness import head_of
from edge.cache.memory import MemoryStore
from edge.cache.model import CacheKey, Entry


def entry(body: bytes) -> Entry:
    return Entry(head_of(200, (("cache-control", "max-age=60"),), now=0.0, wall=0.0), body)


class Index:
    """A watcher that keeps beside the store what a tag index would: the keys that are in it."""

    def __init__(self) -> None:
        self.entries: dict[CacheKey, Entry] = {}

    def stored(self, key: CacheKey, entry: Entry) -> None:
        assert key not in self.entries
        self.entries[key] = entry

    def dropped(self, key: CacheKey, entry: Entry) -> None:
        assert self.entries.pop(key) is entry


def test_bodies_and_their_overhead_stay_within_the_bound_and_the_longest_unused_goes_first() -> None:
    one = entry(bytes(1000))
    store = MemoryStore(max_bytes=3 * one.size)
    keys = [CacheKey(f"/media/{number}") for number in range(4)]
    for key in keys[:3]:
        assert store.put(key, one)
    store.get(keys[0])
    store.put(keys[3], one)
    assert [store.get(key) is not None for key in keys] == [True, False, True, True]
    assert store.used_bytes == store.max_bytes
    assert store.evictions == 1


def test_an_entry_that_is_too_large_is_refused_and_what_it_replaces_is_gone() -> None:
    store = MemoryStore(max_bytes=10_000)
    key = CacheKey("/media/a")
    store.put(key, entry(b"old"))
    assert not store.put(key, entry(bytes(10_000)))
    assert store.get(key) is None
    assert store.used_bytes == 0


def test_watchers_see_eviction_overwriting_removal_and_clear() -> None:
    index = Index()
    store = MemoryStore(max_bytes=20_000, watchers=[index])
    for number in range(200):
        store.put(CacheKey(f"/media/{number % 40}"), entry(bytes(100 * (number % 23))))
        if number % 7 == 0:
            store.remove(CacheKey(f"/media/{number % 11}"))
        assert len(index.entries) == len(store)
    assert store.evictions > 0
    assert all(store.get(key) is kept for key, kept in list(index.entries.items()))
    store.clear()
    assert not index.entries
    assert (len(store), store.used_bytes) == (0, 0)

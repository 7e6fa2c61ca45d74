"""What is particular to the memory tier: its bound, its order, and who is told."""

from __future__ import annotations

import weakref
from dataclasses import replace

import pytest

from edge.cache import memory
from edge.cache.memory import MemoryStore
from edge.cache.model import CacheKey, Entry, Freshness, Head, Layout, Stored, Varying

HOUR = Freshness(storable=True, lifetime_s=3600.0)
URI = "/media/lesson/720p.m4s"


def head(length: int, *tags: str) -> Head:
    return Head(200, (), length, 0.0, HOUR, '"1"', None, tags=tags)


def entry(length: int = 100, *tags: str) -> Entry:
    return Entry(head(length, *tags), bytes(length))


class Watched(Entry):
    """An entry that can be watched for its end."""

    __slots__ = ("__weakref__",)


class Beside:
    """A watcher that keeps beside the store what an index would: all that is in it."""

    def __init__(self) -> None:
        self.values: dict[CacheKey, Stored] = {}

    def stored(self, key: CacheKey, value: Stored) -> None:
        assert key not in self.values
        self.values[key] = value

    def dropped(self, key: CacheKey, value: Stored) -> None:
        assert self.values.pop(key) is value


def filled(count: int, value: Entry) -> MemoryStore:
    """A store with room for so many values under keys like /media/07, and full of them."""
    one = MemoryStore(max_bytes=10**9)
    one.put(CacheKey("/media/00"), value)
    store = MemoryStore(max_bytes=count * one.used_bytes, largest_bytes=10**9)
    for number in range(count):
        assert store.put(CacheKey(f"/media/{number:02}"), value)
    assert (len(store), store.used_bytes, store.evictions) == (count, store.max_bytes, 0)
    return store


def test_bodies_keys_and_their_overhead_stay_within_the_bound() -> None:
    store = filled(10, entry(1000))
    for number in range(10, 100):
        assert store.put(CacheKey(f"/media/{number}"), entry(1000))
        assert store.used_bytes == store.max_bytes
    assert (len(store), store.evictions) == (10, 90)


def test_what_is_used_outlives_what_is_not() -> None:
    store = filled(10, entry(1000))
    hot = CacheKey("/media/03")
    for number in range(10, 100):
        assert store.get(hot) is not None
        store.put(CacheKey(f"/media/{number}"), entry(1000))
    assert store.peek(hot) is not None


def test_a_peek_is_no_use() -> None:
    peeked, plain = filled(10, entry(1000)), filled(10, entry(1000))
    for number in range(10, 50):
        for _ in range(5):
            peeked.peek(CacheKey("/media/03"))
        for store in (peeked, plain):
            store.put(CacheKey(f"/media/{number}"), entry(1000))
    assert set(peeked.uris_under("")) == set(plain.uris_under(""))


def test_what_is_replaced_in_place_leaves_no_sooner_and_no_later() -> None:
    replaced, plain = filled(50, entry(1000)), filled(50, entry(1000))
    for number in range(50, 99):
        for store in (replaced, plain):
            store.get(CacheKey(f"/media/{number % 7:02}"))
            store.put(CacheKey(f"/media/{number}"), entry(1000))
        for uri in list(replaced.uris_under("")):
            assert replaced.put(CacheKey(uri), entry(1000))
        assert set(replaced.uris_under("")) == set(plain.uris_under(""))


def test_a_larger_replacement_makes_room_and_says_so_when_it_was_the_one_to_go() -> None:
    store = filled(10, entry(1000))
    assert store.put(CacheKey("/media/09"), entry(1500))
    assert (len(store), store.evictions) == (9, 1)
    alone = MemoryStore(max_bytes=5000, largest_bytes=5000)
    assert alone.put(CacheKey("/a"), entry(100))
    assert alone.put(CacheKey("/b"), entry(100))
    assert not alone.put(CacheKey("/a"), entry(3500))
    assert alone.peek(CacheKey("/a")) is None
    assert alone.peek(CacheKey("/b")) is not None


def test_tags_and_parts_are_paid_for() -> None:
    store = MemoryStore(max_bytes=100_000)
    store.put(CacheKey("/a"), entry(100))
    plain = store.used_bytes
    store.put(CacheKey("/a"), entry(100, "lesson-1", "maths"))
    assert store.used_bytes > plain + 2 * 300
    store.clear()
    store.put(CacheKey("/a", "v:1"), entry(100))
    assert store.used_bytes > plain + 200


def test_a_removed_value_is_let_go_at_once() -> None:
    store = MemoryStore(max_bytes=100_000)
    key = CacheKey(URI)
    watched = Watched(head(0), b"")
    gone = weakref.ref(watched)
    store.put(key, watched)
    del watched
    store.remove(key)
    assert gone() is None


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


def test_bodies_in_pages_are_bounded_and_go_with_their_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MOST_IN_PAGES", 2)
    store = MemoryStore(max_bytes=1_000_000, largest_bytes=200_000)
    for number in range(4):
        store.put(CacheKey(f"/{number}"), Entry(head(100_000), bytes([number]) * 100_000))
    used = store.used_bytes
    kept = []
    for number in range(4):
        slot = store.slot(CacheKey(f"/{number}"))
        assert slot is not None
        pages = store.in_pages(slot)
        assert (pages is not None) is (number < 2)
        value = store.peek(CacheKey(f"/{number}"))
        assert isinstance(value, Entry)
        assert bytes(value.body) == bytes([number]) * 100_000
        if pages is not None:
            kept.append(weakref.ref(pages))
        del pages, value, slot
    assert store.used_bytes == used
    store.put(CacheKey("/0"), entry())
    assert [one() is None for one in kept] == [True, False]
    store.remove(CacheKey("/1"))
    assert [one() is None for one in kept] == [True, True]
    again = store.slot(CacheKey("/2"))
    assert again is not None
    pages = store.in_pages(again)
    assert pages is not None
    assert store.in_pages(again) is pages
    last = weakref.ref(pages)
    store.clear()
    del again, pages
    assert last() is None


def test_what_stands_nowhere_any_more_is_not_moved_into_pages() -> None:
    store = MemoryStore(max_bytes=1_000_000)
    store.put(CacheKey(URI), entry(1000))
    slot = store.slot(CacheKey(URI))
    assert slot is not None
    store.remove(CacheKey(URI))
    assert store.in_pages(slot) is None


def test_a_body_stays_where_it_lies_when_only_its_head_is_replaced() -> None:
    store = MemoryStore(max_bytes=1_000_000, largest_bytes=200_000)
    key = CacheKey(URI)
    store.put(key, Entry(head(100_000), b"a" * 100_000))
    slot = store.slot(key)
    assert slot is not None
    pages = store.in_pages(slot)
    value = store.peek(key)
    assert isinstance(value, Entry)
    store.put(key, replace(value, head=head(100_000)))
    assert store.in_pages(slot) is pages is not None
    store.put(key, Entry(head(100_000), b"b" * 100_000))
    other = store.in_pages(slot)
    assert other is not None
    assert other is not pages
    assert bytes(other.view[:1]) == b"b"

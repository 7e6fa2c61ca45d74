"""The memory tier of one worker: a bound in bytes that always holds, a hit that costs a look-up and an increment.

Values leave it by four ways (eviction, overwriting, removal, clear), and whoever keeps something beside a value (tags,
the fast lane's table) must see all four: that is what watchers are for. Which value is evicted is the policy's affair.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from edge.cache.eviction import Policy, Slot
from edge.cache.model import CacheKey, Entry, Stored
from edge.cache.pages import Pages
from edge.cache.tag_index import TagIndex, tags_of

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

MOST_IN_PAGES = 16_384
"""Bodies that may lie in pages at once: each is a mapping, of which a process may have 65,530 (vm.max_map_count)."""
LARGE_BYTES = 256 * 1024
"""From here on it is known by whom a body is held (`edge.lent`)."""
_LARGEST = 8  # a value may take this part of the store, no more: one must not drive out everything else
# Bytes beyond what a value counts for itself, measured by `python -m tests.bench.storecost`, for the worst case each:
_SLOT_OVERHEAD = 128  # its slot and place in a queue, and two ghosts, beyond what a value's overhead has room for
_PART_OVERHEAD = 256  # the mapping of a URI's parts, which may have this one only
_TAG_OVERHEAD = 352  # the tag's text beyond its characters, and its place in the index, where it may be the only one


class Watcher(Protocol):
    """Told about every value that comes and goes, in order, each exactly once. Must not raise, nor call the store."""

    def stored(self, key: CacheKey, value: Stored) -> None: ...

    def dropped(self, key: CacheKey, value: Stored) -> None: ...


class MemoryStore:
    """max_bytes: bodies and all that is kept with them. largest_bytes: of one value; an eighth of that by default."""

    def __init__(
        self,
        *,
        max_bytes: int,
        largest_bytes: int | None = None,
        watchers: Sequence[Watcher] = (),
    ) -> None:
        self.max_bytes = max_bytes
        self.largest_bytes = max_bytes // _LARGEST if largest_bytes is None else min(largest_bytes, max_bytes)
        self.used_bytes = 0
        self.evictions = 0
        # Strings keep their hash, keys do not: two mappings by strings cost a fourth of one by keys, and are the index
        # by URI besides.
        self._primary: dict[str, Slot] = {}
        self._parts: dict[str, dict[str, Slot]] = {}
        self._count = 0
        self._in_pages = 0
        self._owners: Counter[int] = Counter()  # of large bodies, by identity: values may share one
        self._policy = Policy(max_bytes)
        self._tags = TagIndex()
        self._watchers: tuple[Watcher, ...] = (self._tags, *watchers)

    def watch(self, watcher: Watcher) -> None:
        """Tell one more, of what comes and goes from now on."""
        self._watchers += (watcher,)

    def get(self, key: CacheKey) -> Stored | None:
        """The value, fresh or not, and count the use."""
        slot = self._find(key) if key.part else self._primary.get(key.uri)
        if slot is None:
            return None
        slot.hits += 1
        return slot.value

    def peek(self, key: CacheKey) -> Stored | None:
        """The value, without counting a use."""
        slot = self._find(key)
        return None if slot is None else slot.value

    def slot(self, key: CacheKey) -> Slot | None:
        """Where the value stands, for who counts its uses himself."""
        return self._find(key)

    def in_pages(self, slot: Slot) -> Pages | None:
        """Where the body of the slot's value lies, which is moved into pages if need be; None when it cannot be."""
        if slot.pages is not None or slot.queue is None:
            return slot.pages
        value = slot.value
        if not isinstance(value, Entry) or not value.body or self._in_pages >= MOST_IN_PAGES:
            return None
        try:
            pages = Pages(value.body)
        except OSError:  # no memory for it
            return None
        self._disown(value)
        slot.value, slot.pages = replace(value, body=pages.view), pages
        self._own(slot.value)
        self._in_pages += 1
        return pages

    def keeps(self, owner: ReadableBuffer) -> bool:
        """Whether the bytes of this owner (`owner_of`) are those of a large body that is stored."""
        return id(owner) in self._owners

    def put(self, key: CacheKey, value: Stored) -> bool:
        """Store it in place of what was there; when False, nothing is there any more.

        What replaces a value inherits its standing: freshening or a soft purge makes nothing more or less likely to go.
        """
        size = _cost(key, value)
        slot = self._find(key)
        if size > self.largest_bytes:
            self.remove(key)
            return False
        if slot is not None:
            return self._replace(slot, value, size)
        self._make_room(size)
        slot = Slot(key, value, size)
        if key.part:
            self._parts.setdefault(key.uri, {})[key.part] = slot
        else:
            self._primary[key.uri] = slot
        self._policy.add(slot)
        self._count += 1
        self.used_bytes += size
        self._tell_stored(slot)
        return True

    def remove(self, key: CacheKey) -> bool:
        """Forget one value; whether there was one."""
        slot = self._find(key)
        if slot is None:
            return False
        self._policy.leave(slot)
        self._drop(slot)
        return True

    def remove_uri(self, uri: str) -> int:
        """Forget all that is kept under a URI, variants and blocks too; how many values that were."""
        keys = self.keys_of(uri)
        for key in keys:
            self.remove(key)
        return len(keys)

    def clear(self) -> None:
        """Forget everything."""
        gone = [*self._primary.values(), *(slot for parts in self._parts.values() for slot in parts.values())]
        self._primary.clear()
        self._parts.clear()
        self._policy.clear()
        self._count = self.used_bytes = 0
        for slot in gone:
            self._tell_dropped(slot)
            self._leave_pages(slot)
            slot.queue = None  # slot and queue hold each other: all of it would wait for the garbage collector
            del slot.value

    def keys_of(self, uri: str) -> tuple[CacheKey, ...]:
        """The keys of all values kept under a URI, the primary one first."""
        primary = self._primary.get(uri)
        parts = tuple(slot.key for slot in self._parts.get(uri, {}).values())
        return parts if primary is None else (primary.key, *parts)

    def tagged(self, tag: str) -> tuple[CacheKey, ...]:
        """The keys of all values that carry a tag."""
        return self._tags.tagged(tag)

    def uris_under(self, prefix: str) -> Iterator[str]:
        """Every URI that begins with it and has a value, each once. It looks at all of them: for purges only."""
        found = {uri for uri in self._primary if uri.startswith(prefix)}
        found.update(uri for uri in self._parts if uri.startswith(prefix))
        return iter(found)

    def __len__(self) -> int:
        return self._count

    def _find(self, key: CacheKey) -> Slot | None:
        if not key.part:
            return self._primary.get(key.uri)
        parts = self._parts.get(key.uri)
        return None if parts is None else parts.get(key.part)

    def _replace(self, slot: Slot, value: Stored, size: int) -> bool:
        self._tell_dropped(slot)
        self.used_bytes += size - slot.size
        self._policy.resize(slot, size)
        if slot.pages is not None and not (isinstance(value, Entry) and value.body is slot.pages.view):
            self._leave_pages(slot)
        slot.value = value
        self._tell_stored(slot)
        self._make_room(0)
        return slot.queue is not None  # it may have been the one to go

    def _make_room(self, size: int) -> None:
        while self.used_bytes + size > self.max_bytes:
            slot = self._policy.victim()
            if slot is None:
                return
            self.evictions += 1
            self._drop(slot)

    def _drop(self, slot: Slot) -> None:
        key = slot.key
        if key.part:
            parts = self._parts[key.uri]
            del parts[key.part]
            if not parts:
                del self._parts[key.uri]
        else:
            del self._primary[key.uri]
        self._count -= 1
        self.used_bytes -= slot.size
        self._tell_dropped(slot)
        self._leave_pages(slot)
        del slot.value  # the slot itself may stand in its queue for a while, marked as gone

    def _leave_pages(self, slot: Slot) -> None:
        if slot.pages is not None:
            slot.pages = None
            self._in_pages -= 1

    def _own(self, value: Stored) -> None:
        if isinstance(value, Entry) and len(value.body) >= LARGE_BYTES:
            self._owners[id(owner_of(value.body))] += 1

    def _disown(self, value: Stored) -> None:
        if isinstance(value, Entry) and len(value.body) >= LARGE_BYTES:
            owner = id(owner_of(value.body))
            self._owners[owner] -= 1
            if not self._owners[owner]:
                del self._owners[owner]

    def _tell_stored(self, slot: Slot) -> None:
        self._own(slot.value)
        for watcher in self._watchers:
            watcher.stored(slot.key, slot.value)

    def _tell_dropped(self, slot: Slot) -> None:
        self._disown(slot.value)
        for watcher in self._watchers:
            watcher.dropped(slot.key, slot.value)


def owner_of(body: bytes | memoryview) -> ReadableBuffer:
    """What holds a body's bytes: while there is any view of it, all of it stays in memory."""
    return body.obj if isinstance(body, memoryview) else body


def _cost(key: CacheKey, value: Stored) -> int:
    """Bytes of memory that it takes to keep the value under the key, findable by its tags."""
    size = value.size + _SLOT_OVERHEAD + len(key.uri)
    if key.part:
        size += len(key.part) + _PART_OVERHEAD
    return size + sum(len(tag) + _TAG_OVERHEAD for tag in tags_of(value))

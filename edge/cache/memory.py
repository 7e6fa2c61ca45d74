"""The memory tier of one worker: bounded by bytes, least recently used out first.

cachetools gives the mapping and the order. Entries leave it by four ways (eviction, overwriting, removal, clear), and
whoever keeps something beside an entry (tags, the fast lane's table) must see all four: that is what watchers are for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from cachetools import LRUCache

from edge.cache.model import CacheKey, Entry


class Watcher(Protocol):
    """Told about every entry that comes and goes, in order, each exactly once. Must not raise."""

    def stored(self, key: CacheKey, entry: Entry) -> None: ...

    def dropped(self, key: CacheKey, entry: Entry) -> None: ...


class MemoryStore:
    """max_bytes: bodies and all that is kept with them; an entry that alone is larger is not stored."""

    def __init__(self, *, max_bytes: int, watchers: Sequence[Watcher] = ()) -> None:
        self._entries = _Recency(max_bytes, self)
        self._watchers = tuple(watchers)
        self.evictions = 0

    def get(self, key: CacheKey) -> Entry | None:
        """The entry, fresh or not, and mark it as used."""
        try:
            return self._entries[key]
        except KeyError:
            return None

    def put(self, key: CacheKey, entry: Entry) -> bool:
        """Store it in place of what was there; False when it is too large (then nothing is there any more)."""
        self.remove(key)
        if entry.size > self._entries.maxsize:
            return False
        self._entries[key] = entry
        for watcher in self._watchers:
            watcher.stored(key, entry)
        return True

    def remove(self, key: CacheKey) -> bool:
        """Forget one entry; whether there was one."""
        if key not in self._entries:
            return False
        entry = self._entries.pop(key)
        self._tell_dropped(key, entry)
        return True

    def clear(self) -> None:
        """Forget everything."""
        gone = list(self._entries.items())
        self._entries.clear()
        for key, entry in gone:
            self._tell_dropped(key, entry)

    def evicted(self, key: CacheKey, entry: Entry) -> None:
        """Called by the mapping when it made room."""
        self.evictions += 1
        self._tell_dropped(key, entry)

    @property
    def used_bytes(self) -> int:
        """Bytes taken now."""
        return int(self._entries.currsize)

    @property
    def max_bytes(self) -> int:
        """Bytes it may take."""
        return int(self._entries.maxsize)

    def __len__(self) -> int:
        return len(self._entries)

    def _tell_dropped(self, key: CacheKey, entry: Entry) -> None:
        for watcher in self._watchers:
            watcher.dropped(key, entry)


class _Recency(LRUCache[CacheKey, Entry]):
    """cachetools' LRU that says what it evicts: eviction is the one path on which it calls popitem itself."""

    def __init__(self, max_bytes: int, store: MemoryStore) -> None:
        super().__init__(max_bytes, getsizeof=_size)
        self._store = store

    def popitem(self) -> tuple[CacheKey, Entry]:
        key, entry = super().popitem()
        self._store.evicted(key, entry)
        return key, entry


def _size(entry: Entry) -> int:
    return entry.size

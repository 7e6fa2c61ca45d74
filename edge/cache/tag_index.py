"""Which keys carry a tag: what a purge by tag asks. It watches the memory tier and holds only what that holds."""

from __future__ import annotations

import sys

from edge.cache.model import CacheKey, Stored, Varying

_SPARSE = 512  # bytes of a set's table per key, beyond which it is made anew


class TagIndex:
    """Bounded by the store: each tag of each value is accounted for in that value's size."""

    def __init__(self) -> None:
        self._keys: dict[str, set[CacheKey]] = {}

    def stored(self, key: CacheKey, value: Stored) -> None:
        """Enter a value under each of its tags."""
        for tag in tags_of(value):
            keys = self._keys.get(tag)
            if keys is None:
                self._keys[tag] = {key}
            else:
                keys.add(key)

    def dropped(self, key: CacheKey, value: Stored) -> None:
        """Strike it out again."""
        for tag in dict.fromkeys(tags_of(value)):
            keys = self._keys[tag]
            keys.discard(key)
            if not keys:
                del self._keys[tag]
            elif sys.getsizeof(keys) > _SPARSE * (len(keys) + 1):  # a set never shrinks by itself
                self._keys[tag] = set(keys)

    def tagged(self, tag: str) -> tuple[CacheKey, ...]:
        """The keys of all values that carry it now, in no order."""
        return tuple(self._keys.get(tag, ()))

    def __len__(self) -> int:
        return len(self._keys)


def tags_of(value: Stored) -> tuple[str, ...]:
    """A value's tags; where variants are is no response and has none."""
    return () if isinstance(value, Varying) else value.head.tags

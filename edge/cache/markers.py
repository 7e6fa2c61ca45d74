"""What is remembered of keys whose responses are not shared, so that nobody waits for another's ("hit-for-miss")."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b

from cachetools import LRUCache

from edge.cache.ask import Ask
from edge.cache.model import Pass, head_size

MOST_BYTES = 4 * 1024 * 1024
"""Of memory. One that is forgotten costs one look at a head."""
_OVERHEAD = 512  # bytes: a marker's own objects, its digest, its place


class Markers:
    """Those of one worker. Keys are remembered by a digest: clients choose how long they are. now: monotonic, s."""

    def __init__(self, now: Callable[[], float], *, max_bytes: int = MOST_BYTES) -> None:
        self._now = now
        self._known: LRUCache[bytes, Pass] = LRUCache(max_bytes, getsizeof=_size)

    def __len__(self) -> int:
        return len(self._known)

    @property
    def used_bytes(self) -> int:
        """Of memory, about."""
        return int(self._known.currsize)

    def get(self, ask: Ask) -> Pass | None:
        """What is remembered, as long as it holds."""
        marker = self._known.get(_key(ask))
        if marker is not None and self._now() >= marker.until:
            self.forget(ask)
            return None
        return marker

    def put(self, ask: Ask, marker: Pass) -> None:
        """Remember it in place of what was."""
        key = _key(ask)
        self._known.pop(key, None)
        if _size(marker) <= self._known.maxsize:
            self._known[key] = marker

    def forget(self, ask: Ask) -> None:
        """Responses to this request may be shared again."""
        self._known.pop(_key(ask), None)


def _key(ask: Ask) -> bytes:
    """Who comes with credentials has answers, and so markers, of his own."""
    asked = f"{'a' if ask.authorized else '-'}{ask.uri}"
    return blake2b(asked.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _size(marker: Pass) -> int:
    return _OVERHEAD + len(marker.reason) + (0 if marker.head is None else head_size(marker.head.headers))

"""Viewers and clients that send more views a minute than people can: bots that do not say so.

Views are counted by the minute in which they happened, not in which they came: what a phone has kept while it was
offline comes at once and is nobody's excess. Whoever has exceeded a limit is a bot for the next minutes with all that
it sends; what it sent before stays counted as it was. Events that were not accepted are taken back, so that a client
that has to send the same again and again is no outlier for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from cachetools import TTLCache

from edge.counters.event import Kind, ViewEvent

MARKED_S: Final = 600.0
"""How long whoever exceeded a limit is a bot, counted from the last excess."""
MAX_MARKED: Final = 65_536
MAX_COUNTED: Final = 65_536
"""Pairs of a viewer and a minute that are surely remembered."""

_Key = tuple[str, int]
_NOBODY: Final[frozenset[str]] = frozenset()


class _Recent:
    """Counts of what was seen lately: between `size` and twice as many keys, the older half forgotten at once.

    A cache that forgets key by key costs six times as much for each event.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._young: dict[_Key, int] = {}
        self._old: dict[_Key, int] = {}

    def add(self, key: _Key, amount: int) -> int:
        """The count after adding."""
        young = self._young
        count = young.get(key)
        if count is None:
            count = self._old.get(key, 0)
            if len(young) >= self._size:
                self._old, self._young = young, {}
                young = self._young
        count += amount
        young[key] = count
        return count


class Outliers:
    """Those among one worker's. Limits are views a minute, 0 for any number; now: monotonic clock, seconds."""

    def __init__(
        self,
        *,
        per_viewer: int,
        per_client: int,
        now: Callable[[], float],
        max_counted: int = MAX_COUNTED,
        max_marked: int = MAX_MARKED,
    ) -> None:
        self._per_viewer, self._per_client = per_viewer, per_client
        self._viewers, self._clients = _Recent(max_counted), _Recent(max_counted)
        self._marked_viewers: TTLCache[str, None] = TTLCache(max_marked, MARKED_S, timer=now)
        self._marked_clients: TTLCache[str, None] = TTLCache(max_marked, MARKED_S, timer=now)
        self._any_viewer = self._any_client = False  # may be marked: nearly always nobody is

    def holds(self, client: str, events: Sequence[ViewEvent]) -> bool:
        """Enter the views among these events; whether the client is an outlier."""
        if not self._per_client or not client:
            return False
        if self._enter(client, events, 1) > self._per_client:
            self._marked_clients[client] = None
        elif not self._any_client:
            return False
        self._any_client = bool(self._marked_clients)  # which looks for those whose time is over
        return client in self._marked_clients

    def among(self, events: Sequence[ViewEvent]) -> frozenset[str]:
        """Enter the views among these events; the viewers of them that are outliers."""
        limit = self._per_viewer
        if not limit:
            return _NOBODY
        add, view, found = self._viewers.add, Kind.VIEW, self._any_viewer
        for _, kind, _, viewer, at_ms, _ in events:
            if kind is view and viewer and add((viewer, at_ms // 60_000), 1) > limit:
                self._marked_viewers[viewer] = None
                found = True
        if not found:
            return _NOBODY
        self._any_viewer = bool(self._marked_viewers)
        return frozenset(one.viewer for one in events if one.viewer in self._marked_viewers)

    def take_back(self, client: str, events: Sequence[ViewEvent], *, viewers: bool) -> None:
        """These events were entered and then not accepted. viewers: as theirs, too, and not only as the client's."""
        if self._per_client and client:
            self._enter(client, events, -1)
        if self._per_viewer and viewers:
            for one in events:
                if one.kind is Kind.VIEW and one.viewer:
                    self._viewers.add((one.viewer, one.at_ms // 60_000), -1)

    def _enter(self, client: str, events: Sequence[ViewEvent], sign: int) -> int:
        """The highest count of any minute."""
        if len(events) == 1:
            only = events[0]
            return self._clients.add((client, only.at_ms // 60_000), sign) if only.kind is Kind.VIEW else 0
        minutes: dict[int, int] = {}
        for _, kind, _, _, at_ms, _ in events:
            if kind is Kind.VIEW:
                minute = at_ms // 60_000
                minutes[minute] = minutes.get(minute, 0) + sign
        return max((self._clients.add((client, minute), views) for minute, views in minutes.items()), default=0)

"""Which value leaves the memory tier when room is needed.

S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023), by bytes. A newcomer waits in a
small queue; only if it is asked for again there does it move to the main one, so that a scan of things asked for once
passes through a tenth of the memory. Of what left the small queue only a hash is remembered (the ghosts); a newcomer
that is among them goes to the main queue at once. A hit costs one increment, no queue is touched.
"""

from __future__ import annotations

from collections import deque

from edge.cache.model import CacheKey, Stored

_SMALL = 0.1  # share of the memory for values on probation
_MOST = 3  # hits that count: after so many turns of the main queue without another one it leaves
_SWEEP = 64  # values gone from the middle of a queue that are not worth sweeping out


class Slot:
    """Where one value stands. hits: uses since it last passed the end of a queue; whoever serves it adds one."""

    __slots__ = ("hits", "key", "queue", "size", "value")

    def __init__(self, key: CacheKey, value: Stored, size: int) -> None:
        self.key = key
        self.value = value
        self.size = size
        self.hits = 0
        self.queue: Queue | None = None


class Queue:
    """First in, first out. A slot that leaves from the middle is only marked; marked ones are swept out in time."""

    def __init__(self) -> None:
        self.bytes = 0
        self._slots: deque[Slot] = deque()
        self._gone = 0

    def push(self, slot: Slot) -> None:
        """Behind all others."""
        slot.queue = self
        self._slots.append(slot)
        self.bytes += slot.size

    def pop(self) -> Slot | None:
        """The one that is in it longest."""
        while self._slots:
            slot = self._slots.popleft()
            if slot.queue is self:
                slot.queue = None
                self.bytes -= slot.size
                return slot
            self._gone -= 1
        return None

    def leave(self, slot: Slot) -> None:
        """From wherever it stands. It must not be pushed again."""
        slot.queue = None
        self.bytes -= slot.size
        self._gone += 1
        if self._gone > _SWEEP and self._gone * 2 > len(self._slots):
            self._slots = deque(slot for slot in self._slots if slot.queue is self)
            self._gone = 0


class Policy:
    """max_bytes: of the store; only the shares of the queues follow from it, the bound is the store's to keep."""

    def __init__(self, max_bytes: int) -> None:
        self._small_bytes = int(max_bytes * _SMALL)
        self.clear()

    def clear(self) -> None:
        """As new."""
        self._small = Queue()
        self._main = Queue()
        self._ghosts: dict[int, None] = {}
        self._count = 0

    def add(self, slot: Slot) -> None:
        """A newcomer."""
        self._count += 1
        ghost = hash(slot.key)
        if ghost in self._ghosts:
            del self._ghosts[ghost]
            self._main.push(slot)
        else:
            self._small.push(slot)

    def resize(self, slot: Slot, size: int) -> None:
        """Its value was replaced; its standing is unchanged."""
        if slot.queue is not None:
            slot.queue.bytes += size - slot.size
        slot.size = size

    def leave(self, slot: Slot) -> None:
        """It was removed."""
        if slot.queue is not None:
            slot.queue.leave(slot)
            self._count -= 1

    def victim(self) -> Slot | None:
        """Take out the one to part with; None when there is none."""
        victim = None
        if self._small.bytes > self._small_bytes:
            victim = self._from_small()
        victim = victim or self._from_main() or self._from_small()
        if victim is not None:
            self._count -= 1
        return victim

    def _from_small(self) -> Slot | None:
        while (slot := self._small.pop()) is not None:
            if not slot.hits:
                self._remember(slot)
                return slot
            slot.hits = 0
            self._main.push(slot)
        return None

    def _from_main(self) -> Slot | None:
        while (slot := self._main.pop()) is not None:
            if not slot.hits:
                return slot
            slot.hits = min(slot.hits, _MOST) - 1
            self._main.push(slot)
        return None

    def _remember(self, slot: Slot) -> None:
        self._ghosts[hash(slot.key)] = None
        if len(self._ghosts) > self._count:
            self._ghosts.pop(next(iter(self._ghosts)))

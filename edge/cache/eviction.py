"""Which value leaves the memory tier when room is needed.

S3-FIFO (Yang et al., "FIFO Queues are All You Need for Cache Eviction", SOSP 2023), counted in bytes. A newcomer waits
in a small queue. Only when it has been used there does it go on to the main one, so that what is asked for once passes
through a fifth of the memory and leaves the rest alone. Of what leaves the small queue a hash is remembered for a
while, the ghost; a newcomer with a ghost goes to the main queue at once. There, each use is worth one more turn.
A hit is one increment; no queue is touched.

Ours beyond the paper, each for its measured worth (docs/eviction.md): values smaller than the mean need one use instead
of two, and have turns to spare, since sixteen small ones kept cost no more than a large one; and no eviction looks
further than a few dozen values, however often all of them were used, so that its cost does not grow with the store.
"""

from __future__ import annotations

from collections import deque

from edge.cache.model import CacheKey, Stored
from edge.cache.pages import Pages

_SMALL = 0.22  # share of the memory for newcomers
_USES = 2  # that take a newcomer to the main queue; a value smaller than half the mean needs one less
_MOST_HITS = 7  # that count: after so many turns of the main queue without another use it leaves
_MOST_SPARE = 4  # turns to spare of a value of at most a sixteenth of the mean size
_PATIENCE = 64  # values that one eviction moves on before it takes the next one as it is
_FEW = 64  # ghosts, and marked slots, that are too few to care


class Slot:
    """Where one value stands. hits: its uses since it last came to a queue's end; whoever serves it adds one.

    spare: turns of the main queue that it has left without any use. queue: None once it is in neither. pages: where the
    value's body lies, if it lies in pages.
    """

    __slots__ = ("hits", "key", "pages", "queue", "size", "spare", "value")

    def __init__(self, key: CacheKey, value: Stored, size: int) -> None:
        self.key = key
        self.value = value
        self.size = size
        self.hits = 0
        self.spare = 0
        self.queue: Queue | None = None
        self.pages: Pages | None = None


class Queue:
    """First in, first out. A slot that leaves from the middle is only marked; the marked ones are swept out in time."""

    def __init__(self) -> None:
        self.bytes = 0
        self._slots: deque[Slot] = deque()
        self._marked = 0

    def push(self, slot: Slot) -> None:
        """Behind all others."""
        slot.queue = self
        self._slots.append(slot)
        self.bytes += slot.size

    def pop(self) -> Slot | None:
        """The one that has been in it longest; None when it is empty."""
        while self._slots:
            slot = self._slots.popleft()
            if slot.queue is self:
                slot.queue = None
                self.bytes -= slot.size
                return slot
            self._marked -= 1
        return None

    def leave(self, slot: Slot) -> None:
        """Take it out from where it stands, for good: while it is marked it must not be pushed again."""
        slot.queue = None
        self.bytes -= slot.size
        self._marked += 1
        if self._marked > _FEW and self._marked * 2 > len(self._slots):
            self._slots = deque(slot for slot in self._slots if slot.queue is self)
            self._marked = 0

    def __len__(self) -> int:
        return len(self._slots) - self._marked


class Ghosts:
    """Hashes of what left lately, in two generations: the older is forgotten when the younger is full.

    Strings hash differently in each process, so nobody outside can make keys collide. max_bytes: of the values that a
    generation stands for. There are never many more in one than there are values in the store.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._young: set[int] = set()
        self._old: set[int] = set()
        self._bytes = 0

    def add(self, slot: Slot, room: int) -> None:
        """Remember it. room: how many a generation may hold."""
        self._young.add(_identity(slot.key))
        self._bytes += slot.size
        if self._bytes > self._max_bytes or len(self._young) > room:
            self._old, self._young, self._bytes = self._young, set(), 0

    def take(self, key: CacheKey) -> bool:
        """Whether the key is remembered; it is not any more."""
        identity = _identity(key)
        for generation in (self._young, self._old):
            if identity in generation:
                generation.remove(identity)
                return True
        return False

    def __len__(self) -> int:
        return len(self._young) + len(self._old)


class Policy:
    """max_bytes: of the store. Only the queues' shares follow from it; the bound itself is the store's to keep."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.clear()

    def clear(self) -> None:
        """As new."""
        self.ghosts = Ghosts(self._max_bytes)
        self._small = Queue()
        self._main = Queue()
        self._filling = True

    def add(self, slot: Slot) -> None:
        """A newcomer. While the store has never been full, everything is welcome in the main queue."""
        small_is_full = self._small.bytes >= self._max_bytes * _SMALL
        if self.ghosts.take(slot.key) or (self._filling and small_is_full):
            self._settle(slot)
        else:
            self._small.push(slot)

    def resize(self, slot: Slot, size: int) -> None:
        """Its value was replaced by one of another size; its standing is unchanged."""
        if slot.queue is not None:
            slot.queue.bytes += size - slot.size
        slot.size = size

    def leave(self, slot: Slot) -> None:
        """It is not to be kept any more, for reasons that are not ours."""
        if slot.queue is not None:
            slot.queue.leave(slot)

    def victim(self) -> Slot | None:
        """Take out the one to part with; None when there is none."""
        self._filling = False
        victim = self._from_small() if self._small.bytes > self._max_bytes * _SMALL else None
        # The small queue may have gone over into the main one entirely: look there last.
        return victim or self._from_main() or self._from_small() or self._from_main()

    def _from_small(self) -> Slot | None:
        for _ in range(_PATIENCE):
            slot = self._small.pop()
            if slot is None:
                break
            if slot.hits < _USES - (self._spare(slot.size) > 0):
                self.ghosts.add(slot, room=_FEW + len(self._small) + len(self._main))
                return slot
            slot.hits = 0
            self._settle(slot)
        return None

    def _from_main(self) -> Slot | None:
        for _ in range(_PATIENCE):
            slot = self._main.pop()
            if slot is None or not (slot.hits or slot.spare):
                return slot
            if slot.hits:
                slot.hits = min(slot.hits, _MOST_HITS) - 1
                self._settle(slot)
            else:
                slot.spare -= 1
                self._main.push(slot)
        return self._main.pop()

    def _settle(self, slot: Slot) -> None:
        slot.spare = self._spare(slot.size)
        self._main.push(slot)

    def _spare(self, size: int) -> int:
        """How many times the mean size can be halved before it is no larger than this."""
        count = len(self._small) + len(self._main)
        if not count:
            return 0
        mean = (self._small.bytes + self._main.bytes) // count
        return min(max(mean // size, 1).bit_length() - 1, _MOST_SPARE)


def _identity(key: CacheKey) -> int:
    return hash((key.uri, key.part))

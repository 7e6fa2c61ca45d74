"""Who leaves first: the two queues, the ghosts, and what bounds them."""

from __future__ import annotations

import pytest

from edge.cache.eviction import Ghosts, Policy, Queue, Slot
from edge.cache.model import CacheKey, Varying

VALUE = Varying(())


def slot(name: object, size: int = 100) -> Slot:
    return Slot(CacheKey(f"/{name}"), VALUE, size)


class Room:
    """A store's bound with slots alone: room is made before one is added."""

    def __init__(self, max_bytes: int) -> None:
        self.policy = Policy(max_bytes)
        self.slots: dict[str, Slot] = {}
        self.free = max_bytes

    def use(self, name: object, size: int = 100) -> bool:
        """Ask for it and add it when it is not there; whether it was."""
        found = self.slots.get(f"/{name}")
        if found is not None:
            found.hits += 1
            return True
        while self.free < size:
            self.evict()
        added = slot(name, size)
        self.slots[added.key.uri] = added
        self.policy.add(added)
        self.free -= size
        return False

    def evict(self) -> Slot:
        victim = self.policy.victim()
        assert victim is not None
        assert victim.queue is None
        self.free += victim.size
        return self.slots.pop(victim.key.uri)

    def holds(self, name: object) -> bool:
        return f"/{name}" in self.slots


def test_a_scan_of_a_hundred_times_the_store_leaves_what_was_used_in_it() -> None:
    room = Room(100 * 100)
    hot = [f"hot-{number}" for number in range(60)]
    for _ in range(3):
        for name in hot:
            room.use(name)
    for number in range(100 * 100):
        room.use(f"cold-{number}")
    assert sum(room.holds(name) for name in hot) == 60


@pytest.mark.parametrize("size", [100, 20, 5])
def test_what_is_used_now_and_then_survives_a_scan_of_values_however_small(size: int) -> None:
    room = Room(100 * 100)
    hot = [f"hot-{number}" for number in range(50)]
    for name in hot * 3:
        room.use(name)
    misses = 0
    for number in range(10_000):
        room.use(f"cold-{number}", size)
        misses += not room.use(hot[number // 10 % 50])
    assert misses < 10  # one in a thousand, while the scan begins


def test_what_comes_back_soon_after_it_left_is_no_newcomer() -> None:
    room = Room(100 * 100)
    for number in range(110):
        room.use(number)
    back = next(number for number in range(110) if not room.holds(number))
    room.use(back)
    for number in range(200, 250):  # more than the small queue takes
        room.use(number)
    assert room.holds(back)


def test_newcomers_leave_in_the_order_in_which_they_came() -> None:
    room = Room(100 * 100)
    for number in range(115):  # the first 22 wait in the small queue, the next 78 fill the store
        room.use(number)
    assert [number for number in range(22) if not room.holds(number)] == list(range(14))


def test_a_small_value_stays_in_the_main_queue_for_some_turns_without_a_use() -> None:
    policy = Policy(10_000)
    large = [slot(f"large-{number}", 900) for number in range(10)]
    small = slot("small", 50)
    for one in [small, *large]:
        one.hits = 2
        policy.add(one)
    order = []
    while (victim := policy.victim()) is not None:
        order.append(victim)
    assert order[-1] is small


@pytest.mark.parametrize("hits", [1, 5, 10**6])
def test_an_eviction_looks_at_a_bounded_number_of_values_however_often_they_were_used(hits: int) -> None:
    room = Room(10_000 * 100)
    for number in range(10_000):
        room.use(number)
    for one in room.slots.values():
        one.hits = hits
    before = {name: (one.hits, one.spare, one.queue) for name, one in room.slots.items()}
    room.evict()
    moved = [name for name, one in room.slots.items() if before[name] != (one.hits, one.spare, one.queue)]
    assert len(moved) <= 128


def test_everything_leaves_in_the_end_even_when_all_of_it_was_used() -> None:
    policy = Policy(100_000)
    slots = [slot(number) for number in range(200)]
    for one in slots:
        policy.add(one)
        one.hits = 3
    gone = [policy.victim() for _ in slots]
    assert {id(one) for one in gone} == {id(one) for one in slots}
    assert policy.victim() is None


def test_what_was_removed_is_never_the_victim() -> None:
    policy = Policy(10_000)
    slots = [slot(number) for number in range(10)]
    for one in slots:
        policy.add(one)
    for one in slots[:9]:
        policy.leave(one)
    assert policy.victim() is slots[9]
    assert policy.victim() is None


def test_a_queue_does_not_grow_with_what_leaves_from_its_middle() -> None:
    queue = Queue()
    kept = slot("kept")
    queue.push(kept)
    for number in range(10_000):
        passing = slot(number)
        queue.push(passing)
        queue.leave(passing)
        assert len(queue._slots) < 200
    assert (len(queue), queue.bytes) == (1, kept.size)
    assert queue.pop() is kept


def test_ghosts_stand_for_so_many_bytes_at_most() -> None:
    ghosts = Ghosts(max_bytes=10_000)
    for number in range(1000):
        ghosts.add(slot(number), room=1000)
        assert len(ghosts) <= 2 * 100 + 1
    assert not ghosts.take(CacheKey("/0"))
    assert ghosts.take(CacheKey("/999"))
    assert not ghosts.take(CacheKey("/999"))


def test_there_are_at_most_twice_as_many_ghosts_as_there_is_room_for() -> None:
    ghosts = Ghosts(max_bytes=10**9)
    for number in range(1000):
        ghosts.add(slot(number), room=50)
        assert len(ghosts) <= 2 * 50 + 1


def test_a_store_of_a_hundred_values_remembers_at_most_some_hundreds_of_others() -> None:
    room = Room(100 * 100)
    for number in range(20_000):
        room.use(number, size=100)
    assert len(room.policy.ghosts) <= 2 * (100 + 64 + 1)


def test_variants_of_one_uri_have_ghosts_of_their_own() -> None:
    ghosts = Ghosts(max_bytes=10_000)
    ghosts.add(Slot(CacheKey("/a", "v:1"), VALUE, 100), room=10)
    assert not ghosts.take(CacheKey("/a"))
    assert not ghosts.take(CacheKey("/a", "v:2"))
    assert ghosts.take(CacheKey("/a", "v:1"))

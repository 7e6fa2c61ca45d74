"""The order in which the disk tier gives up files, against SIEVE as its authors wrote it down."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.cache.sweep import Resident, choose


class Sieve:
    """A queue, a hand, a mark per object (NSDI 2024, algorithm 1); the queue's end is its oldest object."""

    def __init__(self) -> None:
        self.queue: list[str] = []
        self.marked: set[str] = set()
        self._hand: str | None = None

    def evict(self) -> str:
        at = self.queue.index(self._hand) if self._hand is not None else len(self.queue) - 1
        while self.queue[at] in self.marked:
            self.marked.discard(self.queue[at])
            at = at - 1 if at > 0 else len(self.queue) - 1
        self._hand = self.queue[at - 1] if at > 0 else None
        return self.queue.pop(at)


@given(st.lists(st.integers(0, 30), max_size=200), st.integers(1, 8))
def test_the_same_goes_as_in_sieve(accesses: list[int], capacity: int) -> None:
    reference = Sieve()
    residents: list[Resident] = []
    marked: set[str] = set()
    hand = 0

    def used(name: str) -> bool:
        was = name in marked
        marked.discard(name)
        return was

    for time, number in enumerate(accesses, start=1):
        name = str(number)
        if any(one.name == name for one in residents):
            marked.add(name)
            reference.marked.add(name)
            continue
        if len(residents) == capacity:
            (leaving,), hand = choose(residents, hand, 1, used)
            residents.remove(leaving)
            assert leaving.name == reference.evict()
        residents.append(Resident(name, inode=time, stored_ns=time, until_s=0.0, space=4096))
        reference.queue.insert(0, name)
    assert marked == reference.marked


@given(
    st.lists(st.integers(1, 100), max_size=40), st.integers(0, 5000), st.integers(0, 50), st.sets(st.integers(0, 40))
)
def test_as_much_goes_as_is_needed_and_nothing_twice(
    spaces: list[int], quota: int, hand: int, used_ones: set[int]
) -> None:
    residents = [
        Resident(str(at), inode=at, stored_ns=at + 1, until_s=0.0, space=space) for at, space in enumerate(spaces)
    ]
    marked = {str(at) for at in used_ones}

    def used(name: str) -> bool:
        was = name in marked
        marked.discard(name)
        return was

    leaving, _ = choose(residents, hand, quota, used)
    freed = sum(one.space for one in leaving)
    assert len({one.name for one in leaving}) == len(leaving)
    assert freed >= min(quota, sum(spaces))
    assert freed - (leaving[-1].space if leaving else 0) < max(quota, 1)

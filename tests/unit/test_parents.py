"""Which parent a key belongs to, and what the loss of one moves."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from origin.http import HttpReader
from origin.parents import Parents
from origin.retries import RetryBudget
from tests.support.ticking import ManualClock

KEYS = [f"/media/lesson-{number // 40:06}/{number % 40}.m4s" for number in range(10_000)]


def parents_of(names: list[str]) -> Parents:
    readers = {name: HttpReader("http://127.0.0.1:9") for name in names}
    return Parents(readers, budget=RetryBudget(now=ManualClock().monotonic))


@pytest.mark.parametrize("lost", range(10))
async def test_losing_one_of_ten_parents_moves_its_own_keys_only_and_at_most_12_percent(lost: int) -> None:
    names = [f"http://hub-{number}.example:8080" for number in range(10)]
    before, after = parents_of(names), parents_of([name for name in names if name != names[lost]])
    moved = 0
    for key in KEYS:
        ranks = before.rank(key)
        now = after.rank(key)[0]
        assert now == (ranks[0] if ranks[0] != names[lost] else ranks[1])
        moved += ranks[0] == names[lost]
    assert 0 < moved <= 0.12 * len(KEYS)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=20), min_size=2, max_size=12, unique=True), st.randoms())
def test_ranks_depend_on_the_names_and_not_on_their_order(names: list[str], random: object) -> None:
    shuffled = list(names)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = parents_of(names), parents_of(shuffled)
    for key in KEYS[:50]:
        assert one.rank(key) == other.rank(key)
        assert sorted(one.rank(key)) == sorted(names)


async def test_keys_of_a_lost_parent_are_spread_over_all_others() -> None:
    names = [f"http://hub-{number}.example" for number in range(10)]
    parents = parents_of(names)
    heirs = [ranks[1] for ranks in map(parents.rank, KEYS) if ranks[0] == names[0]]
    counts = [heirs.count(name) for name in names[1:]]
    assert min(counts) > len(heirs) / 9 / 2
    assert max(counts) < len(heirs) / 9 * 2

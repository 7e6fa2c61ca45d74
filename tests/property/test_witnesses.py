"""Which of the numbers that should be equal is wrong."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.counters.witnesses import Difference, Keys, Remedy, compare, judge, weigh

_amount = st.integers(0, 10**12)
_parts = st.lists(_amount, min_size=1, max_size=4)


def keys(count: int) -> Keys:
    return Keys("total", [f"day:{i}" for i in range(count)], [f"min:{i}" for i in range(count)])


@given(_parts, _amount)
def test_numbers_that_agree_are_not_told_of(parts: list[int], history: int) -> None:
    assert weigh(keys(len(parts)), "views", history + sum(parts), history, parts, parts) == []


@given(_parts, _amount, st.integers(1, 99))
def test_a_wrong_total_is_adjusted_to_history_and_open_days(parts: list[int], history: int, off: int) -> None:
    right = history + sum(parts)
    found = weigh(keys(len(parts)), "views", right + off, history, parts, parts)
    assert found == [Difference("total", "views", right + off, right, Remedy.ADJUST)]


@given(_parts, _amount, st.integers(1, 99), st.data())
def test_a_wrong_day_is_adjusted_when_total_and_finer_numbers_agree(
    parts: list[int], history: int, off: int, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(parts) - 1))
    told = [part + off * (i == at) for i, part in enumerate(parts)]
    found = weigh(keys(len(parts)), "views", history + sum(parts), history, told, parts)
    assert found == [Difference(f"day:{at}", "views", told[at], parts[at], Remedy.ADJUST)]


@given(_parts, _amount, st.integers(1, 99), st.data())
def test_a_wrong_finer_number_is_told_of_and_left(
    parts: list[int], history: int, off: int, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(parts) - 1))
    finer = [part + off * (i == at) for i, part in enumerate(parts)]
    found = weigh(keys(len(parts)), "views", history + sum(parts), history, parts, finer)
    assert found == [Difference(f"min:{at}", "views", finer[at], parts[at], Remedy.NONE)]


def test_when_no_two_agree_nothing_is_adjusted() -> None:
    found = weigh(keys(1), "views", 100, 10, [50], [60])
    assert {one.remedy for one in found} == {Remedy.NONE}
    assert {one.key for one in found} == {"total", "day:0"}


@given(_amount, _parts, _parts)
def test_a_verdict_adds_up(total: int, parts: list[int], finer: list[int]) -> None:
    verdict = judge(total, parts, finer[: len(parts)] + parts[len(finer) :])
    if verdict.total is not None:
        assert sum(part for part in verdict.parts if part is not None) == verdict.total


def test_what_is_missing_on_either_side_is_zero() -> None:
    assert compare("bots", {"views": 1, "plays": 0}, {"visits": 2, "watch_ms": 0}, Remedy.RESTORE) == [
        Difference("bots", "views", 1, 0, Remedy.RESTORE),
        Difference("bots", "visits", 0, 2, Remedy.RESTORE),
    ]

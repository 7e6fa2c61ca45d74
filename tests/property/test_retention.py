"""What may go is what Redis has had for as long as was asked, without a break, and it does go."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from edge.counters.retention import Proofs

SPAN_S = 64.0  # a step is a second


class Told(NamedTuple):
    """After so long: Redis has everything before the position; or it has only that, of what it had."""

    after_s: float
    position: int
    gone_back: bool


pauses = st.sampled_from([0.0, 0.25, 1.0, 5.0, 30.0, 65.0, 200.0])
scripts = st.lists(st.builds(Told, pauses, st.integers(0, 20), st.booleans()), max_size=60)


def play(script: list[Told], proofs: Proofs) -> float:
    """Returns the time at the end of the script."""
    now_s = 0.0
    for told in script:
        now_s += told.after_s
        if told.gone_back:
            proofs.take_back(told.position)
        else:
            proofs.note(told.position, now_s, span_s=SPAN_S)
    return now_s


def held(script: list[Told], now_s: float) -> int:
    """The same, the long way: the highest of what was told so long ago and was never less since."""
    at_s, best = 0.0, 0
    for index, told in enumerate(script):
        at_s += told.after_s
        if not told.gone_back and now_s - at_s >= SPAN_S:
            best = max(best, min([told.position, *(later.position for later in script[index:])]))
    return best


@given(scripts)
def test_nothing_goes_that_redis_has_not_had_all_the_time(script: list[Told]) -> None:
    proofs = Proofs()
    now_s = play(script, proofs)
    assert proofs.had_for(SPAN_S, now_s) <= held(script, now_s)
    assert proofs.had_for(0.0, now_s) == proofs.latest


@given(scripts, st.integers(1, 30))
def test_what_redis_has_had_for_that_long_goes_at_most_a_step_later(script: list[Told], position: int) -> None:
    proofs = Proofs()
    since_s = play(script, proofs)
    for second in range(int(SPAN_S) + 2):
        proofs.note(position + second, since_s + second, span_s=SPAN_S)
    assert proofs.had_for(SPAN_S, since_s + SPAN_S + 1) >= position


@given(st.lists(st.tuples(st.floats(0.001, 3.0), st.sampled_from([SPAN_S, 24 * SPAN_S])), min_size=200, max_size=600))
def test_however_often_redis_is_asked_few_proofs_are_remembered(asked: list[tuple[float, float]]) -> None:
    proofs, now_s = Proofs(), 0.0
    for number, (after_s, span_s) in enumerate(asked):
        now_s += after_s
        proofs.note(number, now_s, span_s=span_s)
        assert len(proofs._proofs) <= 2 * 64 + 3

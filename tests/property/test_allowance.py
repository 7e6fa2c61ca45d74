"""What a client may send: its rate in the long run, a minute of it at once, and never less."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from edge.counters.allowance import BURST_S, Allowances

MOST = 500  # events of one body
steps = st.lists(st.tuples(st.floats(0, 120), st.integers(0, MOST)), max_size=200)
rates = st.floats(0.1, 2000)


@dataclass
class Now:
    """A clock that goes on when told."""

    at: float = 1000.0

    def __call__(self) -> float:
        return self.at


@given(rates, steps)
def test_no_stretch_of_time_holds_more_than_the_rate_the_burst_and_one_body(
    rate: float, sent: list[tuple[float, int]]
) -> None:
    now = Now()
    allowances = Allowances(rate, now=now)
    taken: list[tuple[float, int]] = []
    for pause, events in sent:
        now.at += pause
        if not allowances.wait_s("client"):
            allowances.charge("client", events)
            taken.append((now.at, events))
    for first in range(len(taken)):
        within = sum(events for _, events in taken[first:])
        elapsed = taken[-1][0] - taken[first][0]
        assert within <= rate * (elapsed + BURST_S) + MOST + 1e-6


@given(rates, steps)
def test_who_waits_as_long_as_told_is_taken_then(rate: float, sent: list[tuple[float, int]]) -> None:
    now = Now()
    allowances = Allowances(rate, now=now)
    for pause, events in sent:
        now.at += pause
        now.at += (waits := allowances.wait_s("client")) + (1e-6 if waits else 0)
        assert allowances.wait_s("client") == 0
        allowances.charge("client", events)


@given(st.floats(1, 2000), st.integers(1, 200))
def test_who_keeps_to_the_rate_is_never_refused(rate: float, bodies: int) -> None:
    now = Now()
    allowances = Allowances(rate, now=now)
    for _ in range(bodies):
        assert allowances.wait_s("client") == 0
        allowances.charge("client", 1)
        now.at += 1 / rate


def test_clients_do_not_pay_for_each_other_and_a_rate_of_zero_is_none() -> None:
    now = Now()
    allowances = Allowances(1.0, now=now)
    for _ in range(100):
        allowances.charge("one", MOST)
    assert allowances.wait_s("one") > 0
    assert allowances.wait_s("other") == 0
    unlimited = Allowances(0.0, now=now)
    for _ in range(100):
        unlimited.charge("one", MOST)
    assert unlimited.wait_s("one") == 0


def test_a_body_without_events_costs_as_much_as_one() -> None:
    now = Now()
    allowances = Allowances(1.0, now=now)
    for _ in range(int(BURST_S)):
        assert allowances.wait_s("client") == 0
        allowances.charge("client", 0)
    assert allowances.wait_s("client") > 0


def test_the_table_of_clients_is_bounded_and_forgets_who_was_away_longest() -> None:
    now = Now()
    allowances = Allowances(1.0, now=now, max_clients=2)
    for client in ("a", "b", "c"):
        allowances.charge(client, 1000)
    assert [allowances.wait_s(client) > 0 for client in ("a", "b", "c")] == [False, True, True]

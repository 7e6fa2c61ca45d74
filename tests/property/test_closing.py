"""Which days are closed, and when."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from edge.counters.closing import days_to_close, last_closed
from edge.counters.counting_day import day_from, day_name, day_of_minute, end_of_day_ms
from edge.counters.event import MAX_AGE_MS
from edge.counters.history import METRICS, Figures
from edge.counters.province_day import SLACK_MS, Standing, final_ms, lacking

DAY = timedelta(days=1)
_days = st.dates(date(2026, 1, 1), date(2030, 12, 31))
_ms = st.integers(end_of_day_ms(date(2026, 1, 1)), end_of_day_ms(date(2030, 12, 31)))
_figures = st.builds(Figures, *[st.integers(0, 10**9)] * len(METRICS))
_countries = st.dictionaries(st.sampled_from(["CN", "FR", "ZZ", "US"]), _figures)


@given(_ms)
def test_no_event_that_is_accepted_from_now_on_can_be_of_a_closed_day(complete_ms: int) -> None:
    last = last_closed(complete_ms)
    assert last is not None
    oldest_ms = complete_ms - SLACK_MS - MAX_AGE_MS
    assert end_of_day_ms(last) <= oldest_ms < end_of_day_ms(last + DAY)
    assert final_ms(last) <= complete_ms < final_ms(last + DAY)


@given(_ms, _days, st.one_of(st.none(), _days))
def test_days_are_closed_in_order_without_a_gap(complete_ms: int, first: date, through: date | None) -> None:
    days = days_to_close(Standing(through, first, complete_ms), complete_ms)
    last = last_closed(complete_ms)
    assert days == sorted(days)
    assert all(after - before == DAY for before, after in pairwise(days))
    if days:
        assert days[-1] == last
        assert days[0] == (through + DAY if through is not None else min(first, days[-1]))
    else:
        assert through is not None
        assert last is None or through >= last


def test_without_a_writer_nothing_is_closed() -> None:
    assert days_to_close(Standing(None, date(2026, 1, 1), None), end_of_day_ms(date(2030, 1, 1))) == []


@given(_ms, _ms, _days, st.one_of(st.none(), _days))
def test_no_writer_whose_clock_runs_ahead_makes_a_day_be_closed_that_is_not_over(
    complete_ms: int, now_ms: int, first: date, through: date | None
) -> None:
    days = days_to_close(Standing(through, first, complete_ms), now_ms)
    assert all(final_ms(day) <= min(now_ms, complete_ms) for day in days)
    if complete_ms >= now_ms:
        assert days == days_to_close(Standing(through, first, now_ms), now_ms)


@given(_days)
def test_a_day_has_one_name_and_one_end(day: date) -> None:
    assert day_from(day_name(day)) == day
    last_minute = end_of_day_ms(day) // 60_000 - 1
    assert day_of_minute(last_minute) == day
    assert day_of_minute(last_minute + 1) == day + DAY


@given(_figures, _countries, _countries)
def test_what_minutes_lack_makes_them_add_up_to_the_day(
    sums: Figures, countries: dict[str, Figures], placed: dict[str, Figures]
) -> None:
    total = Figures()
    for figures in [*placed.values(), *lacking(sums, countries, placed, "CN").values()]:
        total = total.plus(figures)
    assert total == sums

"""The memory tier has what is asked for about as often as the best published algorithms; its benchmarks run."""

from __future__ import annotations

import pytest

from tests.bench import storecost
from tests.bench.hitratio.comparison import SIZES, Comparison, compare
from tests.bench.hitratio.replay import Ratio
from tests.bench.hitratio.traces import Trace, trace
from tests.bench.hitratio.week import QUICK, school_weeks


@pytest.fixture(scope="module")
def weeks() -> Trace:
    return school_weeks(QUICK)


def test_on_the_platforms_model_it_is_within_a_point_of_the_best_and_never_under_lru(weeks: Trace) -> None:
    pytest.importorskip("libcachesim")
    missed = [comparison.share for comparison in compare(weeks, SIZES) if not comparison.kept]
    assert not missed


def test_the_model_is_the_same_each_time_and_its_sizes_are_those_of_its_objects(weeks: Trace) -> None:
    again = school_weeks(QUICK)
    assert (again.objects, again.sizes) == (weeks.objects, weeks.sizes)
    assert len(set(zip(weeks.objects, weeks.sizes, strict=True))) == weeks.count
    assert weeks.unit == 256


def test_a_trace_is_numbered_in_the_order_of_first_use_and_keeps_first_sizes() -> None:
    made = trace("made", [("b", 10), ("a", 20), ("b", 30)])
    assert (list(made.objects), list(made.sizes)) == ([0, 1, 0], [10, 20, 10])
    assert (made.footprint, made.count, made.unit) == (30, 2, 10)


@pytest.mark.parametrize(
    ("objects", "size", "kept"),
    [(0.50, 0.40, True), (0.49, 0.39, True), (0.48, 0.40, False), (0.50, 0.38, False), (0.60, 0.30, False)],
)
def test_a_point_under_the_best_of_each_figure_is_the_limit(objects: float, size: float, kept: bool) -> None:
    yardsticks = {"S3-FIFO": Ratio(0.4999, 0.2), "SIEVE": Ratio(0.3, 0.3999), "W-TinyLFU": Ratio(0.1, 0.1)}
    measured = Comparison(trace("", [("a", 1)]), 0.1, Ratio(objects, size), yardsticks | {"LRU": Ratio(0.2, 0.2)})
    assert measured.kept is kept


def test_what_lru_has_more_often_is_a_miss() -> None:
    yardsticks = dict.fromkeys(("S3-FIFO", "SIEVE", "W-TinyLFU"), Ratio(0.5, 0.5))
    measured = Comparison(trace("", [("a", 1)]), 0.1, Ratio(0.5, 0.5), yardsticks | {"LRU": Ratio(0.5001, 0.5)})
    assert not measured.kept


@pytest.mark.parametrize("kind", storecost.KINDS)
def test_an_entry_takes_at_most_a_tenth_more_memory_than_is_accounted_for(kind: str) -> None:
    resident, accounted = storecost.memory(kind)
    assert resident <= 1.1 * accounted


def test_a_purge_of_a_tag_or_prefix_reaches_everything() -> None:
    assert min(storecost.purge_seconds(1000)) >= 0


def test_a_full_store_is_timed_at_a_steady_number_of_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storecost, "LOOKUPS", 500)
    assert storecost.times(1000).turnover > 0

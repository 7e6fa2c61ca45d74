"""The table of metrics: documented line by line, bounded, and as exact as the library's own counting."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY, CollectorRegistry, Histogram, generate_latest

from edge import instruments, metrics
from edge.cache.model import Forward, Outcome, Tier
from edge.cache.purge import Kind, PurgeRecord, Scope
from edge.cache.recorder import FillEnd, Unrecorded, filling
from edge.instruments import Batched, Level, Row, Spread

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"
BOUNDS = (0.1, 1.0, 10.0)

COUNTS = Batched("try_counts_total", "things", "Things.", ["kind"])
PLAIN = Batched("try_plain_total", "things", "Things.")
SPREAD = Spread("try_seconds", "seconds", "Times.", ["kind"], bounds=BOUNDS)
LEVEL = Level("try_level", "things", "Things.", ["kind"], across="livesum")


@pytest.fixture(autouse=True)
def _nothing_pending() -> None:
    """What other tests of this process have left to be handed over would be counted as a test's own."""
    metrics.flush()


def value(name: str, **labels: str) -> float:
    """What the library has, 0 before the first flush."""
    samples = (sample for family in REGISTRY.restricted_registry([name]).collect() for sample in family.samples)
    return next((sample.value for sample in samples if sample.labels == labels), 0.0)


def documented(heading: str) -> list[str]:
    """The lines of the table under a heading, without its two head lines."""
    section = DOCUMENT.read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("|")][2:]


def line_of(row: Row) -> str:
    labels = ", ".join(f"`{label}`" for label in row.labels)
    return f"| `{row.name}` | {row.kind} | {row.unit} | {labels} | {row.meaning} |"


def test_every_metric_is_documented_and_every_documented_one_exists() -> None:
    assert documented("All metrics") == [line_of(row) for row in metrics.rows()]


def test_every_label_is_documented_with_its_values_and_every_documented_one_is_used() -> None:
    assert documented("Labels") == [f"| `{label}` | {values} |" for label, values in metrics.LABELS.items()]
    assert set(metrics.LABELS) == {label for row in metrics.rows() for label in row.labels}


def test_what_the_library_knows_of_is_what_the_table_says() -> None:
    known = {family.name: family for family in REGISTRY.collect() if family.name.startswith("smartedu_")}
    table = {row.name.removesuffix("_total"): row for row in metrics.rows()}
    assert set(known) == set(table)
    assert {name: (family.type, family.documentation) for name, family in known.items()} == {
        name: (row.kind, row.meaning) for name, row in table.items()
    }


@pytest.mark.parametrize("row", metrics.rows(), ids=lambda row: row.name)
def test_a_metric_is_named_after_its_unit_and_described_in_a_sentence(row: Row) -> None:
    assert row.name.startswith("smartedu_")
    assert row.name.endswith("_total") == (row.kind == "counter")
    if row.unit in ("seconds", "bytes"):
        assert row.name.removesuffix("_total").endswith(f"_{row.unit}")
    assert row.meaning.endswith(".")
    assert "|" not in row.meaning


def test_increments_arrive_with_the_flush_and_once() -> None:
    before = value("try_counts_total", kind="a")
    COUNTS.inc("a")
    COUNTS.inc("a", by=4)
    assert value("try_counts_total", kind="a") == before
    COUNTS.flush()
    COUNTS.flush()
    assert value("try_counts_total", kind="a") == before + 5


def test_a_total_that_somebody_else_counts_is_added_up_by_its_growth() -> None:
    before = value("try_plain_total")
    for total in (3, 3, 10, 2, 4):  # 2: whoever counted began anew
        PLAIN.rise_to(total)
    PLAIN.flush()
    assert value("try_plain_total") - before == 3 + 7 + 2


@given(st.lists(st.sampled_from([0.0, 0.05, 0.1, 0.2, 1.0, 9.9, 10.0, 10.1, 99.0]), max_size=30))
def test_a_batched_histogram_has_what_the_library_would_have(observed: list[float]) -> None:
    registry = CollectorRegistry()
    library = Histogram("try_seconds", "Times.", ["kind"], buckets=BOUNDS, registry=registry).labels("x")
    names = [("try_seconds_bucket", {"le": le}) for le in ("0.1", "1.0", "10.0", "+Inf")]
    names += [("try_seconds_sum", {}), ("try_seconds_count", {})]
    before = [value(name, kind="x", **labels) for name, labels in names]
    for seconds in observed:
        library.observe(seconds)
        SPREAD.observe(seconds, "x")
    SPREAD.flush()
    grown = [value(name, kind="x", **labels) - had for (name, labels), had in zip(names, before, strict=True)]
    theirs = [registry.get_sample_value(name, {"kind": "x"} | labels) for name, labels in names]
    assert grown == pytest.approx(theirs, abs=1e-6)


def test_label_values_that_clients_make_up_do_not_grow_a_metric_without_bound() -> None:
    made_up = Batched("try_made_up_total", "things", "Things.", ["a", "b"])
    for number in range(instruments.MAX_SERIES + 7):
        made_up.inc(str(number), "x")
    made_up.flush()
    made_up.inc("1", "x")
    made_up.flush()
    (family,) = (family for family in REGISTRY.collect() if family.name == "try_made_up")
    samples = {(s.labels["a"], s.labels["b"]): s.value for s in family.samples if s.name.endswith("_total")}
    assert len(samples) == instruments.MAX_SERIES + 1
    assert samples["1", "x"] == 2
    assert samples["other", "other"] == 7


def test_a_served_request_counts_once_in_each_sum() -> None:
    outcome = Outcome(Tier.ORIGIN, Forward.MISS, 200, stored=True, collapsed=True)
    names = [
        ("smartedu_cache_outcomes_total", {"route": "/t", "outcome": "uri-miss", "tier": "origin"}),
        ("smartedu_body_bytes_total", {"route": "/t", "tier": "origin"}),
        ("smartedu_time_to_first_byte_seconds_count", {"route": "/t", "outcome": "uri-miss"}),
        ("smartedu_collapsed_requests_total", {}),
    ]
    before = [value(name, **labels) for name, labels in names]
    metrics.served("/t", outcome, 1500, 0.02)
    metrics.flush()
    grown = [value(name, **labels) - had for (name, labels), had in zip(names, before, strict=True)]
    assert grown == [1, 1500, 1, 1]


def test_a_request_cut_before_its_answer_is_counted_and_has_no_first_byte() -> None:
    before = value("smartedu_cache_outcomes_total", route="/c", outcome="cut", tier="none")
    metrics.served("/c", None, 0, None)
    metrics.flush()
    assert value("smartedu_cache_outcomes_total", route="/c", outcome="cut", tier="none") == before + 1
    assert value("smartedu_time_to_first_byte_seconds_count", route="/c", outcome="cut") == 0


def test_a_purge_counts_by_what_it_names_and_how_late_it_was() -> None:
    names = [
        ("smartedu_purges_applied_total", {"scope": "tag", "mode": "soft"}),
        ("smartedu_purge_lag_seconds_sum", {}),
    ]
    before = [value(name, **labels) for name, labels in names]
    metrics.purged(PurgeRecord("1", Scope.TAG, "t", Kind.SOFT, 0.0, "edge-1"), 0.25)
    metrics.flush()
    assert [value(name, **labels) - had for (name, labels), had in zip(names, before, strict=True)] == [1, 0.25]


@pytest.mark.parametrize(
    ("raised", "end"),
    [(None, FillEnd.STORED), (ValueError, FillEnd.FAILED), (GeneratorExit, FillEnd.CANCELLED)],
)
def test_a_fill_that_began_ends_once_however_it_ends(raised: type[BaseException] | None, end: FillEnd) -> None:
    told: list[FillEnd] = []

    class Recorded(Unrecorded):
        def fill_ended(self, result: FillEnd) -> None:
            told.append(result)

    def fill() -> None:
        with filling(Recorded()) as under_way:
            under_way.result = FillEnd.STORED
            if raised is not None:
                raise raised

    if raised is None:
        fill()
    else:
        with pytest.raises(raised):
            fill()
    assert told == [end]


def test_levels_are_handed_over_by_the_flush() -> None:
    LEVEL.set(3, "a")
    LEVEL.set(7, "a")
    LEVEL.flush()
    assert value("try_level", kind="a") == 7
    assert b'try_level{kind="a"} 7.0' in generate_latest(REGISTRY)


# -- the files of a node's workers ---------------------------------------------------------------------------------

WORKER = """
import os, sys
from edge.instruments import Batched, Level, Spread, exposition, work_as, worker_ended
count = Batched("one_total", "things", "Things.")
spread = Spread("two_seconds", "seconds", "Times.", bounds=(1.0,))
level = Level("three", "things", "Things.", across="livesum")
def work(slot):
    work_as(slot)
    count.inc()
    spread.observe(0.5)
    level.set(5)
    for metric in (count, spread, level):
        metric.flush()
def in_a_child(slot):
    pid = os.fork()
    if not pid:
        work(slot)
        os._exit(0)  # as after kill -9: nothing is tidied up
    os.waitpid(pid, 0)
    return pid
"""


def run(directory: Path, script: str) -> str:
    """The script after WORKER, in a process whose metrics lie in that directory."""
    done = subprocess.run(
        [sys.executable, "-c", WORKER + script],
        env=os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(directory)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_a_successor_counts_on_in_its_predecessors_files(tmp_path: Path) -> None:
    text = run(tmp_path, "for _ in range(20): in_a_child(0)\nin_a_child(1)\nprint(exposition().decode())")
    assert "one_total 21.0" in text
    assert 'two_seconds_bucket{le="1.0"} 21.0' in text
    owners = {file.stem.rpartition("_")[2] for file in tmp_path.glob("*.db")}
    assert owners == {"parent", "slot0", "slot1"}


def test_the_gauges_of_a_dead_worker_go_and_its_successors_stay(tmp_path: Path) -> None:
    script = "first = in_a_child(0); second = in_a_child(1)\nworker_ended(first)\nprint(exposition().decode())"
    assert "three 5.0" in run(tmp_path, script)
    script = "first = in_a_child(2); second = in_a_child(2)\nworker_ended(first)\nprint(exposition().decode())"
    assert "three 10.0" in run(tmp_path, script)


def test_the_parent_that_only_makes_the_gauges_is_in_no_lowest_value(tmp_path: Path) -> None:
    script = """
lowest = Level("four", "things", "Things.", across="livemin")
for slot in (0, 1):
    if not (pid := os.fork()):
        work_as(slot)
        lowest.set(5 + slot)
        lowest.flush()
        os._exit(0)
    os.waitpid(pid, 0)
print(exposition().decode())
"""
    assert "four 5.0" in run(tmp_path, script)

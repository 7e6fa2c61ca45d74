"""However a journal is cut into batches, the same is counted."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from edge.counters.event import Kind, ViewEvent, place_in
from edge.counters.journal import Segment, View, frame
from edge.counters.record import encode
from edge.counters.stretch import Pages, gather
from edge.counters.tally import DEDUP_BUCKET_MS, Counts

START = 1_764_000_000_000
HERE = place_in("44")
events = st.builds(
    ViewEvent,
    st.uuids().map(str),
    st.sampled_from([Kind.VIEW, Kind.PLAY, Kind.WATCH]),
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(["", "x", "y"]),
    st.integers(START - 86_400_000, START + 60_000),
    st.integers(0, 120_000),
)
records = st.lists(
    st.tuples(st.integers(0, DEDUP_BUCKET_MS // 2), st.lists(events, min_size=1, max_size=5)), min_size=1, max_size=10
)


def added(counts: Counts) -> Counter[tuple[int, int, bytes, str]]:
    """Events and milliseconds by cell."""
    sums: Counter[tuple[int, int, bytes, str]] = Counter()
    watched = iter(counts.watched_ms)
    for group in counts.groups:
        for resource, number in group.cells:
            sums[group.kind, group.minute, resource, "events"] += number
            if group.kind == Kind.WATCH:
                sums[group.kind, group.minute, resource, "ms"] += sum(next(watched) for _ in range(number))
    return sums


def replay(
    view: View, max_events: int, pages: Pages | None = None
) -> tuple[Counter[tuple[int, int, bytes, str]], list[bytes]]:
    """Totals and ids of the whole journal in batches of about `max_events`."""
    position, sums, ids = 0, Counter[tuple[int, int, bytes, str]](), list[bytes]()
    while position < view.end:
        found = gather(view, position, max_events, HERE.province, pages=pages)
        assert found.to > position
        position = found.to
        counts = found.parts[HERE.province].counts
        sums += added(counts)
        ids += [counts.ids[i : i + 12] for i in range(0, len(counts.ids), 12)]
    return sums, ids


def journal_of(directory: Path, steps: list[tuple[int, list[ViewEvent]]]) -> View:
    stamp, data = START, b""
    for wait_ms, some in steps:
        stamp += wait_ms
        data += frame(encode(stamp, some, HERE))
    path = directory / "journal.log"
    path.write_bytes(data)
    return View((Segment(path, 0, len(data)),), len(data))


@settings(max_examples=60, deadline=None)
@given(records, st.integers(1, 9))
def test_totals_do_not_depend_on_the_batches(steps: list[tuple[int, list[ViewEvent]]], size: int) -> None:
    with TemporaryDirectory() as directory:
        view = journal_of(Path(directory), steps)
        sums, ids = replay(view, size)
        whole_sums, whole_ids = replay(view, 1_000_000)
        assert replay(view, size, pages := Pages()) == (sums, ids)
        assert replay(view, size, pages) == (sums, ids), "from the beginning again"
    assert sums == whole_sums
    assert sorted(ids) == sorted(whole_ids)
    assert len(ids) == sum(len(some) for _, some in steps)


def test_a_look_at_the_disk_serves_many_batches(tmp_path: Path) -> None:
    """Otherwise each batch of a long backlog would read, check and take apart what a dozen batches need."""
    some = [ViewEvent(f"id-{n}", Kind.VIEW, "a", "", START, 0) for n in range(40)]
    view, pages = journal_of(tmp_path, [(0, [one]) for one in some]), Pages()
    first = gather(view, 0, 10, HERE.province, pages=pages)
    view.segments[0].path.unlink()
    position, events = first.to, 10
    while position < view.end:
        found = gather(view, position, 10, HERE.province, pages=pages)
        position, events = found.to, events + found.parts[HERE.province].events
    assert events == 40


@settings(max_examples=60, deadline=None)
@given(records, st.integers(1, 9))
def test_a_batch_holds_events_of_one_span_of_acceptance(steps: list[tuple[int, list[ViewEvent]]], size: int) -> None:
    with TemporaryDirectory() as directory:
        view, position = journal_of(Path(directory), steps), 0
        stamps = [START + sum(wait for wait, _ in steps[: index + 1]) for index in range(len(steps))]
        buckets = []
        while position < view.end:
            found = gather(view, position, size, HERE.province)
            position = found.to
            buckets.append(found.bucket)
            assert found.last_stamp_ms // DEDUP_BUCKET_MS == found.bucket
    assert set(buckets) == {stamp // DEDUP_BUCKET_MS for stamp in stamps}
    assert buckets == sorted(buckets)

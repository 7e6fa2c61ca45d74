"""What purges mean for something stored, and what is left of them when there are too many."""

from __future__ import annotations

import sys

import pytest

from edge.cache.purge import (
    SOFT_RUNS,
    UNKNOWN,
    Kind,
    Numbered,
    PurgeRecord,
    PurgeTable,
    Scope,
    compact,
    decode,
    encode,
)

INF = float("inf")


def purge(
    scope: Scope, value: str = "", kind: Kind = Kind.HARD, identity: str = "x", at: float = 1_764_000_000.25
) -> PurgeRecord:
    return PurgeRecord(identity, scope, value, kind, at, "edge-1")


def soft(at: float, scope: Scope = Scope.URL, value: str = "/a") -> PurgeRecord:
    return purge(scope, value, Kind.SOFT, at=at)


def table(*records: PurgeRecord) -> PurgeTable:
    made = PurgeTable()
    for seq, record in enumerate(records, 1):
        made.apply(record, seq)
    return made


def test_a_purge_counts_for_what_was_asked_for_before_it_and_not_for_what_came_after() -> None:
    known = table(purge(Scope.URL, "/other"), purge(Scope.URL, "/a"))
    assert known.verdict("/a", (), 1) is Kind.HARD
    assert known.verdict("/a", (), 2) is None


@pytest.mark.parametrize(
    ("record", "named", "not_named"),
    [
        (purge(Scope.URL, "/a?x=1"), ("/a?x=1", ()), ("/a", ())),
        (purge(Scope.PREFIX, "/media/l-1/"), ("/media/l-1/seg/1.m4s", ()), ("/media/l-10/seg", ())),
        (purge(Scope.PREFIX, "/media/l-1/"), ("/media/l-1/", ()), ("/media/l-1", ())),
        (purge(Scope.TAG, "lesson-1"), ("/a", ("grade-3", "lesson-1")), ("/lesson-1", ("lesson-10",))),
    ],
)
def test_a_purge_names_what_it_says_and_nothing_else(
    record: PurgeRecord, named: tuple[str, tuple[str, ...]], not_named: tuple[str, tuple[str, ...]]
) -> None:
    known = table(record)
    assert known.verdict(*named, 0) is Kind.HARD
    assert known.verdict(*not_named, 0) is None


def test_everything_is_named_by_a_purge_of_all() -> None:
    assert table(purge(Scope.ALL)).verdict("/whatever", (), 0) is Kind.HARD


def test_of_several_purges_the_strongest_counts() -> None:
    known = table(purge(Scope.URL, "/a"), purge(Scope.URL, "/a", Kind.SOFT), purge(Scope.TAG, "t", Kind.SOFT))
    assert known.verdict("/a", ("t",), 0) is Kind.HARD
    assert known.verdict("/a", ("t",), 1) is Kind.SOFT
    assert known.verdict("/b", ("t",), 0) is Kind.SOFT


def test_a_purge_heard_twice_changes_nothing() -> None:
    known = table(purge(Scope.URL, "/a"), purge(Scope.URL, "/b"))
    known.apply(purge(Scope.URL, "/c"), 2)
    assert known.position == 2
    assert known.verdict("/c", (), 0) is None


def test_what_is_folded_is_not_forgotten_but_no_longer_told_apart() -> None:
    known = table(purge(Scope.URL, "/a"), purge(Scope.URL, "/b", Kind.SOFT), purge(Scope.URL, "/c"))
    known.fold(position=3, soft=2, validate=1)
    assert known.verdict("/unknown", (), 0) is Kind.VALIDATE
    assert known.verdict("/unknown", (), 1) is Kind.SOFT
    assert known.verdict("/unknown", (), 2) is None
    assert known.verdict("/c", (), 0) is Kind.HARD
    assert len(known) == 1


@pytest.mark.parametrize(
    ("records", "since", "at"),
    [
        ([soft(10)], 0, 10),
        ([soft(10)], 1, INF),
        ([soft(10, value="/b")], 0, INF),
        ([soft(10), soft(20)], 0, 10),
        ([soft(10), soft(20)], 1, 20),
        ([soft(10), soft(20, Scope.TAG, "t"), soft(30, Scope.PREFIX, "/"), soft(40, Scope.ALL, "")], 0, 10),
        ([soft(10), soft(20, Scope.TAG, "t"), soft(30, Scope.PREFIX, "/"), soft(40, Scope.ALL, "")], 1, 20),
        ([soft(10), soft(20, Scope.TAG, "t"), soft(30, Scope.PREFIX, "/"), soft(40, Scope.ALL, "")], 2, 30),
        ([soft(10), soft(20, Scope.TAG, "t"), soft(30, Scope.PREFIX, "/"), soft(40, Scope.ALL, "")], 3, 40),
        ([soft(20), soft(10, Scope.TAG, "t")], 0, 10),  # heard of late
        ([soft(10), purge(Scope.URL, "/a"), soft(30)], 2, 30),
        ([soft(10), purge(Scope.ALL), soft(30)], 2, 30),
    ],
)
def test_the_earliest_soft_purge_after_the_mark_tells_when_the_grace_began(
    records: list[PurgeRecord], since: int, at: float
) -> None:
    assert table(*records).softened_at("/a", ("t",), since) == at


def test_of_many_soft_purges_of_one_thing_the_newest_are_told_apart_and_the_others_count_as_the_first() -> None:
    known = table(*(soft(float(number)) for number in range(1, 101)))
    assert known.softened_at("/a", (), 0) == 1
    assert known.softened_at("/a", (), 50) == 1, "too early, but never too late"
    assert [known.softened_at("/a", (), 100 - back) for back in range(1, SOFT_RUNS)] == [100, 99][: SOFT_RUNS - 1]


def test_of_soft_purges_that_were_folded_nobody_can_tell_when_they_were() -> None:
    known = table(*(soft(float(number)) for number in range(1, 5)))
    known.fold(position=4, soft=3, validate=0)
    assert [known.softened_at("/a", (), since) for since in range(5)] == [UNKNOWN, UNKNOWN, UNKNOWN, 4, INF]
    assert known.softened_at("/b", (), 2) == UNKNOWN


def test_the_first_soft_purge_of_a_thing_is_kept_for_its_time_and_those_in_between_are_left_out() -> None:
    records = [Numbered(seq, soft(float(seq))) for seq in range(1, 11)]
    kept, folded_soft, _ = compact(records, 10)
    assert [seq for seq, _ in kept] == [1, *range(11 - SOFT_RUNS, 11)]
    assert folded_soft == 0
    again = compact([*kept, Numbered(11, soft(11.0))], 10).kept
    assert [seq for seq, _ in again] == [1, *range(12 - SOFT_RUNS, 12)]


def test_where_the_first_soft_purge_is_folded_the_next_that_is_left_tells_its_time() -> None:
    records = [Numbered(seq, soft(float(seq))) for seq in range(1, 11)]
    kept, folded_soft, _ = compact(records, SOFT_RUNS)
    assert [seq for seq, _ in kept] == [*range(11 - SOFT_RUNS, 11)]
    assert folded_soft == 1, "what other things were purged meanwhile keeps its times"
    assert [record.at for _, record in kept] == [1.0, *(float(seq) for seq in range(12 - SOFT_RUNS, 11))]


def test_a_table_holds_one_number_for_each_thing_however_often_it_is_purged() -> None:
    known = PurgeTable()
    for seq in range(1, 10_001):
        known.apply(purge(Scope.URL, f"/{seq % 7}", Kind.SOFT if seq % 3 else Kind.HARD), seq)
    assert len(known) <= 14


def test_a_question_costs_the_same_whatever_was_purged() -> None:
    """Counted in calls, not in time: among 100,000 purges a look-up makes as many as among a hundred."""
    few, many = PurgeTable(), PurgeTable()
    for known, count in ((few, 100), (many, 100_000)):
        for seq in range(1, count + 1):
            known.apply(purge(list(Scope)[seq % 3], f"/media/lesson-{seq % count:06}/"), seq)
    assert _calls(few) == _calls(many)


def _calls(known: PurgeTable) -> int:
    count = 0

    def profile(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        known.verdict("/media/lesson-999999/a.m4s", ("t",), 1)
    finally:
        sys.setprofile(None)
    return count


def test_what_a_later_purge_says_as_strongly_is_left_out() -> None:
    records = [
        Numbered(1, purge(Scope.URL, "/a")),
        Numbered(2, purge(Scope.URL, "/a", Kind.SOFT)),
        Numbered(3, purge(Scope.URL, "/a")),
        Numbered(4, purge(Scope.URL, "/b")),
        Numbered(5, purge(Scope.ALL, kind=Kind.SOFT)),
        Numbered(6, purge(Scope.TAG, "t", Kind.SOFT)),
    ]
    kept, soft, validate = compact(records, 10)
    assert [seq for seq, _ in kept] == [3, 4, 5, 6]
    assert (soft, validate) == (0, 0)
    kept, soft, validate = compact(records, 1)
    assert [seq for seq, _ in kept] == [6]
    assert (soft, validate) == (5, 4)


def test_a_record_travels_unchanged_and_what_is_none_is_refused() -> None:
    record = purge(Scope.TAG, "语文 \n\x00", Kind.SOFT)
    assert decode(encode(record)) == record
    assert b"\n" not in encode(record)
    for wrong in (b"", b"{}", b"[]", b'["a","url","/",9,0,"n"]', b'["a","URL","/",1,0,"n"]', b'["a","url",1,1,0,"n"]'):
        with pytest.raises(ValueError, match=r".*"):
            decode(wrong)

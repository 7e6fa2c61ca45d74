"""The node's log of purges: shared by workers, cut, damaged, lost, folded, on a full disk."""

from __future__ import annotations

import fcntl
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge.cache.purge import Kind, Numbered, PurgeRecord, PurgeTable, Scope
from edge.cache.purge_lines import DAMAGED, Adopted, Floor, News, Placed, Skipped
from edge.cache.purge_log import PurgeLog, PurgeLogError

NOW_S = 1_764_000_000.0


def record(number: int, kind: Kind = Kind.HARD, at: float = NOW_S) -> PurgeRecord:
    return PurgeRecord(f"id-{number}", Scope.URL, f"/{number}", kind, at, "edge-1")


@contextmanager
def opened(
    directory: Path, max_records: int = 1000, lock_within_s: float = 5.0, has_bus: bool = False
) -> Iterator[PurgeLog]:
    log = PurgeLog(
        directory,
        node="edge-1",
        wall=lambda: NOW_S,
        has_bus=has_bus,
        max_records=max_records,
        lock_within_s=lock_within_s,
    )
    try:
        yield log
    finally:
        log.close()


def urls(news: list[News]) -> list[str]:
    return [item.record.value for item in news if isinstance(item, Numbered)]


def table_of(news: list[News]) -> PurgeTable:
    table = PurgeTable()
    for item in news:
        if isinstance(item, Floor):
            table.fold(position=item.position, soft=item.soft, validate=item.validate)
        elif isinstance(item, Numbered):
            table.apply(item.record, item.seq)
    return table


def test_what_one_worker_writes_the_others_read_once_in_the_same_order(tmp_path: Path) -> None:
    with opened(tmp_path) as one, opened(tmp_path) as two:
        one.read(), two.read()
        assert urls(one.add([record(1), record(2)])) == ["/1", "/2"]
        assert two.changed()
        assert urls(two.add([record(3), record(1)])) == ["/1", "/2", "/3"], "what is known is not written again"
        assert not two.changed()
        assert two.read() == []
        assert urls(one.read()) == ["/3"]
        assert one.ledger.position == two.ledger.position


def test_positions_survive_a_restart_and_begin_beyond_those_of_a_log_that_was_lost(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        log.add([record(1)])
        position = log.ledger.position
    with opened(tmp_path) as log:
        assert urls(log.read()) == ["/1"]
        assert log.ledger.position == position
    assert position == int(NOW_S * 1000) + 1
    (tmp_path / "log").unlink()
    with PurgeLog_later(tmp_path) as log:
        table = table_of(log.read())
        assert log.ledger.position > position
        assert table.verdict("/anything", (), position) is Kind.VALIDATE
        assert table.verdict("/anything", (), log.ledger.position) is None


@contextmanager
def PurgeLog_later(directory: Path) -> Iterator[PurgeLog]:  # noqa: N802
    log = PurgeLog(directory, node="edge-1", wall=lambda: NOW_S + 60)
    try:
        yield log
    finally:
        log.close()


def test_a_log_deleted_under_running_workers_is_begun_again_beyond_its_positions(tmp_path: Path) -> None:
    with opened(tmp_path) as one, opened(tmp_path) as two:
        one.add([record(1)])
        two.read()
        (tmp_path / "log").unlink()
        one.add([record(2)])
        assert urls(two.read()) == ["/2"]
        assert one.ledger.position == two.ledger.position == int(NOW_S * 1000) + 2


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_torn_tail_is_cut_and_its_position_given_out_again(tmp_path: Path, cut: int) -> None:
    with opened(tmp_path) as log:
        log.add([record(1)])
        size, position = (tmp_path / "log").stat().st_size, log.ledger.position
        log.add([record(2)])
    os.truncate(tmp_path / "log", max(size + 1, (tmp_path / "log").stat().st_size - cut))
    with opened(tmp_path) as log:
        assert urls(log.read()) == ["/1"]
        assert (tmp_path / "log").stat().st_size == size
        assert urls(log.add([record(3)])) == ["/3"]
        assert log.ledger.position == position + 1


@pytest.mark.parametrize("line", [1, 2])
def test_a_damaged_line_may_have_been_any_purge_so_everything_older_is_validated(tmp_path: Path, line: int) -> None:
    with opened(tmp_path) as log:
        log.add([record(1), record(2)])
        lost = log.ledger.position
    data = bytearray((tmp_path / "log").read_bytes())
    start = sum(len(piece) + 1 for piece in data.split(b"\n")[:line])
    data[start + 20] ^= 1
    (tmp_path / "log").write_bytes(data)
    with opened(tmp_path) as log:
        table = table_of(log.read())
        assert log.ledger.position > lost
        assert table.verdict("/unknown", (), lost) is Kind.VALIDATE
        assert table.verdict("/unknown", (), log.ledger.position) is None
        size = (tmp_path / "log").stat().st_size
    with opened(tmp_path) as log:
        log.read()
        assert (tmp_path / "log").stat().st_size == size, "it is stood for once"
        assert sum(identity.startswith(DAMAGED) for identity in log.ledger.records) == 1


@pytest.mark.parametrize("content", [b"", b"\n\n", b"garbage", os.urandom(999), b"00000000 []\n"])
def test_a_log_that_is_none_is_begun_again_and_everything_older_is_validated(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "log").write_bytes(content)
    with opened(tmp_path) as log:
        table = table_of(log.read())
        assert table.verdict("/", (), int(NOW_S * 1000) - 1) is Kind.VALIDATE
        assert table.verdict("/", (), log.ledger.position) is None
        assert urls(log.add([record(1)])) == ["/1"]
        position = log.ledger.position
    with opened(tmp_path) as log:
        assert table_of(log.read()).position == position


def test_a_log_that_grew_too_long_is_folded_and_says_no_less(tmp_path: Path) -> None:
    with opened(tmp_path, max_records=8) as one, opened(tmp_path, max_records=8) as two:
        seen = two.read()
        for number in range(30):
            one.add([record(number, Kind.SOFT if number % 2 else Kind.HARD)])
            if number == 2:
                seen += two.read()
        position = one.ledger.position
        assert len(one.ledger.records) <= 8
        news = two.read()
        assert table_of(seen).position < position
        running = table_of(seen + news)
    with opened(tmp_path, max_records=8) as log:
        fresh = table_of(log.read())
    for table in (running, fresh):
        assert table.position == position
        assert table.verdict("/29", (), position - 1) is Kind.SOFT
        assert table.verdict("/28", (), position - 2) is Kind.HARD
        assert table.verdict("/0", (), 0) is Kind.VALIDATE
        assert table.verdict("/29", (), position) is None


def test_who_is_to_be_told_of_purges_that_were_folded_before_is_told_to_validate_everything(tmp_path: Path) -> None:
    with opened(tmp_path, max_records=8, has_bus=True) as log:
        log.add([record(number) for number in range(9)])
        told = [log.ledger.records[identity].record for identity in log.ledger.unplaced]
        assert [(one.scope, one.kind) for one in told[-2:]] == [(Scope.URL, Kind.HARD), (Scope.ALL, Kind.VALIDATE)]
        assert len(told) == 7


def test_a_purge_of_everything_makes_the_earlier_ones_superfluous(tmp_path: Path) -> None:
    with opened(tmp_path, max_records=8) as log:
        log.add([record(number) for number in range(8)])
        log.add([PurgeRecord("all", Scope.ALL, "", Kind.HARD, NOW_S, "edge-1")])
        assert list(log.ledger.records) == ["all"]
        floor = log.ledger.floor
        assert floor is not None
        assert (floor.soft, floor.validate) == (0, int(NOW_S * 1000)), "nothing had to be folded"


def test_what_the_bus_has_is_taken_in_its_order_and_nothing_beyond_a_gap(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        log.add([record(1)])
        log.adopt("bus-1", 7, "bus-1")
        assert list(log.ledger.unplaced) == ["id-1"]
        news = log.hear("bus-1", [(7, record(9)), (8, record(2)), (9, record(1)), (11, record(3))])
        assert urls(news) == ["/2"]
        assert [item[:2] for item in news if isinstance(item, Placed)] == [
            (8, log.ledger.position),
            (9, log.ledger.position - 1),
        ]
        assert (log.ledger.heard, log.ledger.heard_id) == (9, "id-1")
        assert not log.ledger.unplaced
        assert log.hear("another", [(10, record(3))]) == []
        assert log.hear("bus-1", [(10, record(2))]) == [Placed(10, log.ledger.position, "id-2")], "an echo moves us on"


def test_another_bus_is_told_what_was_purged_in_the_last_day_whoever_made_it(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        log.adopt("bus-1", 1, "bus-1")
        log.hear("bus-1", [(2, record(1, at=NOW_S - 90_000)), (3, record(2, at=NOW_S - 80_000))])
        log.skip("bus-1", 5)
        assert not log.ledger.unplaced
        assert log.adopt("bus-2", 6, "bus-2") == [Adopted("bus-2", 6, "bus-2")]
        assert list(log.ledger.unplaced) == ["id-2"]
        assert log.adopt("bus-2", 6, "bus-2") == []
    with opened(tmp_path) as log:
        log.read()
        assert (log.ledger.bus, log.ledger.heard, log.ledger.heard_id) == ("bus-2", 6, "bus-2")
        assert list(log.ledger.unplaced) == ["id-2"]


def test_a_node_that_was_away_for_longer_than_others_remember_validates_everything(tmp_path: Path) -> None:
    now = NOW_S
    log = PurgeLog(tmp_path, node="edge-1", wall=lambda: now)
    log.adopt("bus-1", 1, "bus-1")
    log.touch()
    now += 86_000
    log.adopt("bus-2", 2, "bus-2")
    assert not log.ledger.records
    log.touch()
    now += 87_000
    position = log.ledger.position
    assert table_of(log.adopt("bus-3", 3, "bus-3")).verdict("/", (), position) is Kind.VALIDATE
    assert not log.ledger.unplaced, "the others need not"
    log.close()


def test_what_was_missed_is_stood_for_by_one_purge_of_everything(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        log.adopt("bus-1", 1, "bus-1")
        before = log.ledger.position
        news = log.skip("bus-1", 40)
        assert Skipped(40, before + 1) in news
        assert table_of(news).verdict("/x", (), before) is Kind.VALIDATE
        assert log.ledger.heard == 40
        assert log.skip("bus-1", 40) == []
        assert urls(log.hear("bus-1", [(41, record(1))])) == ["/1"]


def test_a_full_disk_refuses_a_purge_whole_and_takes_it_when_there_is_room(tmp_path: Path) -> None:
    """The limit on a file's size stands for the disk; a child process bears it."""
    code = f"""
import resource, signal, sys
from pathlib import Path
from tests.unit.test_purge_log import opened, record, urls
from edge.cache.purge_log import PurgeLogError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
directory = Path({str(tmp_path)!r})
with opened(directory) as log, opened(directory) as sibling:
    log.add([record(1)])
    size = (directory / "log").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 50, resource.RLIM_INFINITY))
    sibling.read()
    for _ in range(2):
        try:
            log.add([record(2)])
            sys.exit("taken")
        except PurgeLogError:
            pass
    assert (directory / "log").stat().st_size == size
    assert sibling.read() == []
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert urls(log.add([record(2)])) == ["/2"]
    assert urls(sibling.read()) == ["/2"]
"""
    assert resource.RLIM_INFINITY in resource.getrlimit(resource.RLIMIT_FSIZE)
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_was_read_before_a_failed_write_is_handed_over_by_the_next_call(tmp_path: Path) -> None:
    with opened(tmp_path) as one, opened(tmp_path) as two:
        two.read()
        one.add([record(1)])
        two._append = _refuse  # type: ignore[method-assign,assignment]
        with pytest.raises(PurgeLogError):
            two.add([record(2)])
        del two._append
        assert urls(two.read()) == ["/1"]


def _refuse(_lines: list[bytes]) -> None:
    raise OSError(28, "No space left on device")


def test_a_sibling_that_holds_the_lock_for_too_long_is_an_error_and_not_a_wait_for_ever(tmp_path: Path) -> None:
    with opened(tmp_path, lock_within_s=0.05) as log:
        log.add([record(1)])
        with (tmp_path / "lock").open() as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            with pytest.raises(PurgeLogError, match="sibling"):
                log.read()
        assert log.read() == []


def test_many_processes_write_at_once_and_all_agree_on_every_position(tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from tests.unit.test_purge_log import opened, record
with opened(Path({str(tmp_path)!r}), max_records=60) as log:
    for number in range(30):
        log.add([record(int(sys.argv[1]) * 1000 + number)])
"""
    writers = [subprocess.Popen([sys.executable, "-c", code, str(number)]) for number in range(4)]
    assert [writer.wait() for writer in writers] == [0] * 4
    with opened(tmp_path, max_records=60) as log:
        log.read()
        assert log.ledger.damaged == 0
        assert log.ledger.position == int(NOW_S * 1000) + 120
        kept = [(seq, known.id) for seq, known in log.ledger.records.values()]
        assert len({seq for seq, _ in kept}) == len({identity for _, identity in kept}) == len(kept) >= 45

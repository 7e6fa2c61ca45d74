"""The access log: whole lines of JSON with everything but secrets, never in the way of whoever answers."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.access_log import AccessLog, End, Line, _encoded
from edge.cache.model import Forward, Outcome, Tier
from origin.reader import OriginError, OriginFailure
from tests.support.waiting import eventually_now

HIT = Outcome(Tier.MEMORY, ttl_s=57)
MISS = Outcome(Tier.ORIGIN, Forward.MISS, 200, stored=True, collapsed=True, ttl_s=60)


def line(uri: str = "/media/a/b.m4s", **given: Any) -> Line:
    members: dict[str, Any] = {
        "client": "10.0.0.1",
        "method": "GET",
        "status": 200,
        "bytes": 1500,
        "end": End.WHOLE,
        "duration_s": 0.0123456789,
        "first_byte_s": 0.001,
        "route": "/media/{path}",
        "outcome": HIT,
    }
    return Line(uri=uri, **(members | given))


@contextmanager
def logging_to(path: Path | str, **given: Any) -> Iterator[AccessLog]:
    log = AccessLog(str(path), node="edge-1", slot=3, **given)
    log.start()
    try:
        yield log
    finally:
        log.close()


def written(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(text) for text in path.read_bytes().splitlines()]


def logged(path: Path, one: Line, **given: Any) -> dict[str, Any]:
    with logging_to(path, **given) as log:
        log.request(one)
    return written(path)[-1]


def test_a_line_says_everything_of_a_request(tmp_path: Path) -> None:
    said = logged(
        tmp_path / "log",
        line(
            outcome=MISS,
            age_s=0,
            byte_range="bytes=0-9",
            user_agent="player/1",
            request_id="abc",
        ),
        wall=lambda: 1764000000.25,
    )
    assert said == {
        "time": "2025-11-24T16:00:00.250000+00:00",
        "node": "edge-1",
        "slot": 3,
        "request_id": "abc",
        "client": "10.0.0.1",
        "method": "GET",
        "uri": "/media/a/b.m4s",
        "status": 200,
        "bytes": 1500,
        "end": "whole",
        "duration_s": 0.012346,
        "first_byte_s": 0.001,
        "route": "/media/{path}",
        "outcome": "uri-miss",
        "tier": "origin",
        "fwd": "uri-miss",
        "fwd_status": 200,
        "stored": True,
        "collapsed": True,
        "age_s": 0,
        "ttl_s": 60,
        "error": None,
        "range": "bytes=0-9",
        "user_agent": "player/1",
        "sample": 1.0,
    }
    assert datetime.fromisoformat(said["time"]).timestamp() == 1764000000.25


def test_a_request_cut_before_its_answer_has_a_line_with_the_same_members(tmp_path: Path) -> None:
    cut = logged(tmp_path / "log", line(outcome=None, status=None, first_byte_s=None, end=End.CUT, bytes=0))
    assert set(cut) == set(logged(tmp_path / "log", line()))
    assert (cut["outcome"], cut["tier"], cut["end"]) == ("cut", None, "cut")


def test_an_error_is_named(tmp_path: Path) -> None:
    refused = OriginError(OriginFailure.CONNECT, "nobody listens")
    said = logged(tmp_path / "log", line(status=502, outcome=Outcome(Tier.ORIGIN, Forward.MISS, error=refused)))
    assert (said["outcome"], said["error"]) == ("error", "connection_refused")


def test_every_line_without_an_id_of_the_clients_gets_one_of_its_own(tmp_path: Path) -> None:
    with logging_to(tmp_path / "log") as log:
        for _ in range(3):
            log.request(line())
    assert len({one["request_id"] for one in written(tmp_path / "log")}) == 3


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("/a?token=SECRET&v=2&x", "/a?token=*&v=2&*"),
        ("/a?SECRET", "/a?*"),
        ("/a?v=1&v=2&&", "/a?v=1&v=2&&"),
        ("/a?V=SECRET", "/a?V=*"),
        ("/a?v%3DSECRET", "/a?*"),
        ("http://user:SECRET@host/a?b=SECRET", "/a?b=*"),
        ("*", "*"),
    ],
)
def test_of_the_query_only_listed_values_are_told(tmp_path: Path, target: str, told: str) -> None:
    assert logged(tmp_path / "log", line(target), shown=["v"])["uri"] == told


@given(st.text(max_size=40).map(lambda text: "SECRET" + text.replace("&", "").replace("#", "")))
def test_no_value_of_a_query_reaches_the_log(value: str) -> None:
    log = AccessLog(os.devnull, node="e", slot=0)
    assert "SECRET" not in log._told(f"/a?k={value}")
    log.close()


@pytest.mark.parametrize("target", ["/keys/abc", "/keys", "//keys/abc", "/KEYS/abc", "http://h/keys/abc"])
def test_nothing_is_said_of_content_keys(tmp_path: Path, target: str) -> None:
    with logging_to(tmp_path / "log") as log:
        log.request(line(target))
        log.request(line("/keysmith"))
    assert [one["uri"] for one in written(tmp_path / "log")] == ["/keysmith"]


@given(st.text(st.characters(), max_size=20), st.binary(max_size=20))
def test_whatever_a_client_sends_stays_one_line_of_json(text: str, raw: bytes) -> None:
    data = _encoded({"user_agent": text, "uri": raw.decode("utf-8", "surrogateescape")})
    assert data.count(b"\n") == 1
    assert set(orjson.loads(data)) == {"user_agent", "uri"}


def test_long_fields_are_cut(tmp_path: Path) -> None:
    said = logged(tmp_path / "log", line("/" + "a" * 9000, user_agent="b" * 9000, byte_range="c" * 9000))
    assert max(len(value) for value in said.values() if isinstance(value, str)) <= 2048


def test_a_sampled_line_says_what_share_it_stands_for_and_failures_are_never_left_out(tmp_path: Path) -> None:
    chances = iter([0.05, 0.5])
    with logging_to(tmp_path / "log", sample=0.1, chance=lambda: next(chances)) as log:
        assert log.share(failed=False) == 0.1
        assert log.share(failed=False) == 0.0
        assert log.share(failed=True) == 1.0
    with logging_to(tmp_path / "log", sample=0.0, chance=lambda: 0.0) as log:
        assert log.share(failed=False) == 0.0


def test_the_log_follows_a_file_that_was_renamed_away(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with logging_to(path) as log:
        log.request(line("/first"))
        eventually_now(lambda: log.written == 1)
        path.rename(tmp_path / "log.1")
        log.request(line("/second"))
    assert [one["uri"] for one in written(tmp_path / "log.1")] == ["/first"]
    assert [one["uri"] for one in written(path)] == ["/second"]


def test_a_reader_that_does_not_read_costs_lines_and_no_time(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with logging_to(fifo, max_bytes=20_000) as log:
            for _ in range(1000):
                log.request(line())
            assert log.dropped > 0
            os.set_blocking(reader, True)
            received = b""
            while received.count(b"\n") < 1000 - log.dropped:
                received += os.read(reader, 65536)
        assert log.written + log.dropped == 1000
        assert len([orjson.loads(one) for one in received.splitlines()]) == log.written
    finally:
        os.close(reader)


def test_a_full_disk_costs_lines_and_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    with logging_to("/dev/full") as log:
        log.request(line())
        eventually_now(lambda: log.dropped == 1)
        log.request(line())
    assert (log.written, log.dropped) == (0, 2)
    assert len([record for record in caplog.records if "lines are dropped" in record.message]) == 1


def test_a_file_that_cannot_be_opened_is_an_error_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        AccessLog(str(tmp_path / "nowhere" / "log"), node="e", slot=0)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="fifo"):
        AccessLog(str(tmp_path / "fifo"), node="e", slot=0)


def test_workers_append_whole_lines_to_one_file(tmp_path: Path) -> None:
    path = tmp_path / "log"
    script = (
        "import sys\n"
        "from tests.unit.test_access_log import line, logging_to\n"
        "with logging_to(sys.argv[1]) as log:\n"
        "    for number in range(2000):\n"
        "        log.request(line('/' + 'a' * (number % 300)))\n"
    )
    workers = [subprocess.Popen([sys.executable, "-c", script, str(path)]) for _ in range(3)]
    assert [worker.wait(60) for worker in workers] == [0, 0, 0]
    assert len(written(path)) == 6000


def test_others_may_not_read_the_log(tmp_path: Path) -> None:
    logged(tmp_path / "log", line())
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) & 0o007 == 0


def test_standard_output_is_a_log_too() -> None:
    script = (
        "from tests.unit.test_access_log import line, logging_to\n"
        "with logging_to('-') as log:\n"
        "    log.request(line('/a'))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert orjson.loads(done.stdout)["uri"] == "/a"

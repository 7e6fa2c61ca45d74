"""The benchmark's client judges every answer; its figures are what the samples say."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice, repeat

import pytest

from loadtest.bench import growth, origin, peers
from loadtest.bench.cases import PROXIED, PUBLISHED, THINGS, Kind, Proxied, Thing, WrongAnswerError, request
from loadtest.bench.client import Address, Crowd, Judge, fetch
from loadtest.bench.floor import response
from loadtest.bench.nginx import _quoted
from loadtest.bench.replica import Reply
from loadtest.bench.report import count
from loadtest.bench.rounds import Plan, Results, Sample, paths

BODY = b"x" * 200_000
ANSWER = response(Reply("/a", "text/plain", (("Cache-Status", "edge; hit"),)), BODY)
REQUEST = request("/a", {})


@contextmanager
def server(*pieces: bytes) -> Iterator[Address]:
    """Answers each request of each connection with these pieces, each sent on its own; then closes after the last."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve_one(connection: socket.socket) -> None:
            # A client that has seen enough hangs up on us.
            with connection, suppress(OSError):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while connection.recv(65536):
                    for piece in pieces:
                        connection.sendall(piece)

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=serve_one, args=(connection,), daemon=True).start()

        accepting = threading.Thread(target=serve, daemon=True)
        accepting.start()
        yield listener.getsockname()
        listener.shutdown(socket.SHUT_RDWR)
    accepting.join(5)


def ask(address: Address, judge: Judge, requests: int = 3) -> int:
    with Crowd(address, 2) as crowd:
        return crowd.ask(islice(repeat(REQUEST), requests), judge, 30).answers


def test_every_request_is_answered_once() -> None:
    with server(ANSWER) as address:
        assert ask(address, Judge(200, len(BODY), b"; hit"), 7) == 7
        assert fetch(address, "/a").body == BODY


@pytest.mark.parametrize("size", [1, 3, 50])
def test_a_head_may_come_in_pieces(size: int) -> None:
    pieces = [ANSWER[at : at + size] for at in range(0, 150, size)]
    rest = ANSWER[sum(map(len, pieces)) :]
    with server(*pieces, rest) as address:
        assert ask(address, Judge(200, len(BODY))) == 3


@pytest.mark.parametrize(
    ("answer", "judge"),
    [
        (ANSWER, Judge(206, len(BODY))),
        (ANSWER, Judge(200, len(BODY) - 1)),
        (ANSWER, Judge(200, len(BODY), b"; fwd=uri-miss")),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc", Judge(200, 2)),
        (b"HTTP/1.1 200 OK\r\n\r\n", Judge(200, 0)),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", Judge(200, 0)),
        (b"x" * 20_000, Judge(200, 2)),
    ],
    ids=["status", "length", "cache status", "too many bytes", "no length", "closing", "endless head"],
)
def test_a_wrong_answer_fails_the_benchmark(answer: bytes, judge: Judge) -> None:
    with server(answer) as address, pytest.raises(WrongAnswerError):
        ask(address, judge)


def test_a_not_modified_answer_has_no_body() -> None:
    with server(b"HTTP/1.1 304 Not Modified\r\n\r\n") as address:
        assert ask(address, Judge(304, 0)) == 3


def test_each_cold_object_is_stored_and_is_asked_for_once() -> None:
    plan = Plan(rounds=3, seconds=1, connections=1)
    found = [path for path, _ in paths(plan)]
    assert len(found) == len(set(found))
    assert len(found) == len(THINGS) + 3 * sum(case.cold for case in PUBLISHED)


@pytest.mark.parametrize("thing", THINGS, ids=lambda thing: thing.name)
def test_objects_are_as_large_as_they_say(thing: Thing) -> None:
    assert len(thing.body_at(thing.path)) == thing.size


def test_every_case_that_is_no_hit_is_compared_with_a_hit() -> None:
    for rows in (PUBLISHED, PROXIED):
        hits = {case.title for case in rows if case.kind is Kind.HIT}
        assert all((case.beside in hits) == (case.kind is not Kind.HIT) for case in rows)


def test_a_ratio_is_taken_between_samples_of_the_same_round() -> None:
    results = Results()
    for ours, theirs in ((2.0, 1.0), (4.0, 1.0)):
        results.add("a", "edge", Sample(answers=100, wall_s=1, cpu_s=ours, bytes=0))
        results.add("a", "peer", Sample(answers=100, wall_s=1, cpu_s=theirs, bytes=0))
    assert results.ratios(("a", "edge"), ("a", "peer")) == [0.5, 0.25]
    assert results.median("a", "edge", lambda sample: sample.per_cpu_s) == 37.5
    assert results.median("a", "nobody", lambda sample: sample.per_cpu_s) is None


@pytest.mark.parametrize(
    ("value", "shown"), [(8.1, "8.1"), (812.4, "812"), (8_124, "8.12 K"), (81_240, "81.2 K"), (149_300, "149 K")]
)
def test_figures_have_three_digits(value: float, shown: str) -> None:
    assert count(value) == shown


def test_nginx_reads_header_values_as_they_are() -> None:
    assert _quoted('a "b" \\ c') == '"a \\"b\\" \\\\ c"'


def parsed(reply: list[bytes | memoryview]) -> tuple[bytes, dict[bytes, bytes], bytes]:
    head, _, body = b"".join(reply).partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    return status, dict(line.split(b": ", 1) for line in lines), body


@pytest.mark.parametrize("size", [0, 5, 1_000, 200_000])
def test_the_origin_says_the_same_under_a_path_every_time_and_something_else_under_another(size: int) -> None:
    first, second = (f"/store/{size}/{name}" for name in ("first", "second"))
    status, fields, body = parsed(origin.answer(request(first, {})))
    assert (status, fields[b"Content-Length"]) == (b"HTTP/1.1 200 OK", b"%d" % size)
    assert body == origin.body(first) == Proxied("first", size).body_at(first)
    assert len(body) == size
    assert (body == origin.body(second)) == (size < 20)


@pytest.mark.parametrize(
    ("asked", "first", "beyond"), [("0-9", 0, 10), ("10-29", 10, 30), ("990-", 990, 1000), ("900-9999", 900, 1000)]
)
def test_the_origin_serves_ranges_of_what_may_be_stored(asked: str, first: int, beyond: int) -> None:
    path = "/store/1000/a"
    status, fields, body = parsed(origin.answer(request(path, {"range": f"bytes={asked}"})))
    assert status.startswith(b"HTTP/1.1 206 ")
    assert fields[b"Content-Range"] == b"bytes %d-%d/1000" % (first, beyond - 1)
    assert body == origin.body(path)[first:beyond]


def test_the_origin_tells_what_nobody_may_store() -> None:
    _, fields, body = parsed(origin.answer(request("/pass/100/a", {"Range": "bytes=0-9"})))
    assert b"no-store" in fields[b"Cache-Control"]
    assert len(body) == 100


def test_a_growing_cache_is_asked_for_objects_it_was_filled_with() -> None:
    asked = growth._any_of(10)
    filled = {request(growth.THING.cold_path(number), {}) for number in range(10)}
    assert {next(asked) for _ in range(200)} == filled


def test_peers_that_are_missing_are_named_and_the_benchmark_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")  # so that there is no apt-get
    peers.provide(["nginx", "varnish"])
    assert "apt install nginx varnish" in capsys.readouterr().err
    peers.provide([])
    assert capsys.readouterr().err == ""

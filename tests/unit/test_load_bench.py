"""The benchmark's client judges every answer; its figures are what the samples say."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice, repeat

import pytest

from loadtest.bench.cases import CASES, THINGS, Kind, Thing, WrongAnswerError, request
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
    assert len(found) == len(THINGS) + 3 * sum(case.cold for case in CASES)


@pytest.mark.parametrize("thing", THINGS, ids=lambda thing: thing.name)
def test_objects_are_as_large_as_they_say(thing: Thing) -> None:
    assert len(thing.body()) == thing.size


def test_every_case_that_is_no_hit_is_compared_with_a_hit() -> None:
    hits = {case.title for case in CASES if case.kind is Kind.HIT}
    assert all((case.beside in hits) == (case.kind is not Kind.HIT) for case in CASES)


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

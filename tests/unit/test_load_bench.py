"""The benchmark's client judges every answer; its figures are what the samples say."""

from __future__ import annotations

import io
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from itertools import islice, repeat
from pathlib import Path

import pytest
from rich.console import Console

from loadtest.bench import growth, idle, native, nginx, origin, peers, replica, servers, tls
from loadtest.bench.cases import (
    C_FLOOR,
    EDGE,
    HANDLER,
    LANE_OFF,
    MANY,
    OWN_HIT,
    PROXIED,
    PUBLISHED,
    THINGS,
    TLS,
    Case,
    Kind,
    Proxied,
    Thing,
    WrongAnswerError,
    request,
)
from loadtest.bench.client import Address, Crowd, Judge, connect, fetch
from loadtest.bench.floor import response
from loadtest.bench.nginx import _quoted
from loadtest.bench.replica import Reply
from loadtest.bench.report import Compared, count
from loadtest.bench.rounds import SELDOM, Plan, Results, Sample, paths, subjects, turns
from loadtest.bench.servers import Server

BODY = b"x" * 200_000
ANSWER = response(Reply("/a", "text/plain", (("Cache-Status", "edge; hit"),)), BODY)
REQUEST = request("/a", {})


def encrypted(accepted: socket.socket, secure: ssl.SSLContext | None) -> socket.socket:
    return secure.wrap_socket(accepted, server_side=True) if secure else accepted


@contextmanager
def server(*pieces: bytes, secure: ssl.SSLContext | None = None) -> Iterator[Address]:
    """Answers each request of each connection with these pieces, each sent on its own; then closes after the last."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve_one(accepted: socket.socket) -> None:
            # A client that has seen enough hangs up on us.
            with (
                suppress(OSError),
                secure.wrap_socket(accepted, server_side=True) if secure else accepted as connection,
            ):
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


def ask(address: Address, judge: Judge, requests: int = 3, secure: ssl.SSLContext | None = None) -> int:
    with Crowd(address, 2, secure) as crowd:
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


def test_a_connection_may_ask_by_itself() -> None:
    with server(ANSWER[:100], ANSWER[100:]) as address, closing(connect(address)) as connection:
        for _ in range(2):
            connection.settle(REQUEST, Judge(200, len(BODY)))


def test_each_connection_of_a_crowd_is_greeted_before_the_next_is_made() -> None:
    judge = Judge(200, len(BODY))
    with (
        server(ANSWER) as address,
        Crowd(address, 3, greet=lambda connection: connection.settle(REQUEST, judge)) as crowd,
    ):
        assert crowd.ask(islice(repeat(REQUEST), 7), judge, 30).answers == 7


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> tls.Identity:
    return tls.issue(tmp_path_factory.mktemp("tls"), "127.0.0.1")


@pytest.fixture(scope="module")
def secure(identity: tls.Identity) -> ssl.SSLContext:
    """For the server's side."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(identity.certificate, identity.key)
    return context


@pytest.mark.parametrize(
    "first", [1, 100, 20_000], ids=["the status in pieces", "the head in pieces", "one record more"]
)
def test_the_load_speaks_tls(identity: tls.Identity, secure: ssl.SSLContext, first: int) -> None:
    with server(ANSWER[:first], ANSWER[first:], secure=secure) as address:
        assert ask(address, Judge(200, len(BODY), b"; hit"), 5, identity.client) == 5
        assert fetch(address, "/a", tls=identity.client).body == BODY
        with closing(connect(address, identity.client)) as connection:
            connection.settle(REQUEST, Judge(200, len(BODY)))


def test_a_wrong_answer_over_tls_fails_the_benchmark(identity: tls.Identity, secure: ssl.SSLContext) -> None:
    with server(ANSWER, secure=secure) as address, pytest.raises(WrongAnswerError):
        ask(address, Judge(200, len(BODY) - 1), secure=identity.client)


def test_it_is_known_what_a_server_encrypts_with(identity: tls.Identity, secure: ssl.SSLContext) -> None:
    with server(ANSWER, secure=secure) as address:
        assert tls.agreed(address, identity.client).startswith("TLSv1.3, TLS_")


def test_nginx_is_given_the_certificate_of_the_run(identity: tls.Identity, tmp_path: Path) -> None:
    told = nginx.configure_cache(tmp_path, 1, 2, identity).read_text()
    assert "listen 127.0.0.1:1 ssl backlog" in told
    assert f"ssl_certificate_key {identity.key};" in told
    assert "ssl" not in nginx.configure_cache(tmp_path, 1, 2).read_text()


FLOOR_REPLIES = [Reply("/a", "text/plain", (("ETag", '"1"'),)), Reply("/a/large", "text/plain", ())]
FLOOR_BODIES = [b"x" * 1000, bytes(range(256)) * 20_000]


@pytest.fixture(scope="module")
def c_floor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    compiler = native.compiler()
    if compiler is None:
        pytest.skip("there is no C compiler")
    directory = tmp_path_factory.mktemp("floor")
    # Not as in a run, where no name contains another: as a directory, "/a" could not be a file, too.
    for reply, body in zip(FLOOR_REPLIES, FLOOR_BODIES, strict=True):
        (directory / reply.path.replace("/", "_")).write_bytes(response(reply, body))
    program = native.build(compiler, directory)
    argv = [str(program)]
    for reply in FLOOR_REPLIES:
        argv += [reply.path, str(directory / reply.path.replace("/", "_"))]
    with servers._telling_peer(C_FLOOR, argv, directory / "log") as server:
        yield server


@pytest.mark.parametrize(("reply", "body"), list(zip(FLOOR_REPLIES, FLOOR_BODIES, strict=True)), ids=["small", "large"])
def test_the_floor_in_c_answers_what_it_was_told(c_floor: Server, reply: Reply, body: bytes) -> None:
    answer = fetch(c_floor.address(reply.path), reply.path)
    assert (answer.status, answer.body) == (200, body)
    assert fetch(c_floor.address(reply.path), reply.path + "x").status == 404
    with Crowd(c_floor.address(reply.path), 4) as crowd:
        asked = islice(repeat(request(reply.path, {})), 20)
        assert crowd.ask(asked, Judge(200, len(body)), 30).answers == 20


def test_the_floor_in_c_takes_requests_in_pieces_and_several_at_once(c_floor: Server) -> None:
    whole = [response(reply, body) for reply, body in zip(FLOOR_REPLIES, FLOOR_BODIES, strict=True)]
    asked = request("/a", {}) + request("/a/large", {}) + request("/a", {})
    with socket.create_connection(c_floor.address("/a"), 10) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(asked), 7):
            client.sendall(asked[at : at + 7])
        wanted = whole[0] + whole[1] + whole[0]
        received = bytearray()
        while len(received) < len(wanted):
            received += client.recv(65_536)
        assert received == wanted


def test_the_floor_in_c_is_given_whole_answers(tmp_path: Path) -> None:
    reply = Reply("/store/a", "text/plain", (("ETag", '"1"'),))
    replica.write(tmp_path, [reply], [BODY])
    program, path, file = native.arguments(Path("floor"), tmp_path)
    assert (program, path) == ("floor", "/store/a")
    assert Path(file).read_bytes() == response(reply, BODY)


@pytest.mark.parametrize(("descriptors", "connections"), [(1 << 30, 10_000), (5_024, 4_000), (10, 1)])
def test_no_more_connections_are_opened_than_files_may_be(descriptors: int, connections: int) -> None:
    assert idle.allowed(10_000, descriptors) == connections


def test_each_cold_object_is_stored_and_is_asked_for_once() -> None:
    plan = Plan(rounds=2 * SELDOM + 1, seconds=1, connections=1)
    found = [path for path, _ in paths(plan)]
    assert len(found) == len(set(found))
    assert len(found) == len(THINGS) + 3 * sum(case.cold for case in PUBLISHED)


@pytest.mark.parametrize("thing", THINGS, ids=lambda thing: thing.name)
def test_objects_are_as_large_as_they_say(thing: Thing) -> None:
    assert len(thing.body_at(thing.path)) == thing.size


@pytest.mark.parametrize("rows", [PUBLISHED, PROXIED, TLS], ids=["published", "proxied", "tls"])
def test_every_case_that_is_no_plain_hit_is_compared_with_one(rows: tuple[Case, ...]) -> None:
    hits = {case.title for case in rows if case.kind is Kind.HIT and not case.beside}
    beside = {case.title: case.beside for case in rows if case.title not in hits}
    assert set(beside.values()) <= hits
    assert len({case.title for case in rows}) == len(rows)
    assert all(case.beside for case in rows if case.kind is not Kind.HIT or case.connections == MANY)


def test_servers_get_ports_that_no_client_is_given() -> None:
    found = servers.free_ports(20)
    first_of_clients = int(servers.CLIENT_PORTS.read_text().split()[0])
    assert len(set(found)) == 20
    assert max(found) < first_of_clients


def test_a_case_is_asked_of_the_edge_and_of_its_peers_alone() -> None:
    here = [Server(name, 1, {}) for name in (EDGE, HANDLER, C_FLOOR)]
    thing = THINGS[0]
    assert subjects(Case("a", thing), here) == here
    assert subjects(Case("a", thing, peers=()), here) == here[:1]
    assert subjects(Case("a", thing, peers=(C_FLOOR, "not here")), here) == [here[0], here[2]]


def test_the_hit_that_a_case_is_compared_with_is_the_edges_next_measurement() -> None:
    hit = Case("hit", THINGS[0])
    rows = (hit, Case("many", THINGS[0], beside="hit", connections=MANY))
    peer, edge = Server(C_FLOOR, 1, {}), Server(EDGE, 2, {})
    assert turns(rows[1], rows, [peer, edge]) == [
        (C_FLOOR, rows[1], peer),
        (EDGE, rows[1], edge),
        (OWN_HIT, hit, edge),
    ]
    assert [name for name, _, _ in turns(hit, rows, [peer, edge])] == [C_FLOOR, EDGE]


def test_what_takes_long_to_begin_is_measured_seldom_and_for_as_long_in_all() -> None:
    plan = Plan(rounds=5 * SELDOM, seconds=1, connections=8)
    often, seldom = Case("a", THINGS[0]), Case("a", THINGS[0], connections=MANY)
    assert len(plan.visits(seldom)) == 5
    assert len(plan.visits(often)) * plan.lasting_s(often) == len(plan.visits(seldom)) * plan.lasting_s(seldom)


def test_a_quick_run_opens_no_more_connections_than_it_says() -> None:
    case = Case("a", THINGS[0], connections=MANY)
    assert Plan(rounds=1, seconds=1, connections=8).at_once(case) == MANY
    assert Plan(rounds=1, seconds=1, connections=8, most=100).at_once(case) == 100


def test_a_range_has_the_length_of_its_case() -> None:
    case = Case("a", Proxied("a", 1000), Kind.RANGE, part=500)
    assert case.fields("") == {"Range": "bytes=0-499"}
    assert len(case.body("/store/1000/a")) == case.length == 500


def printed(compared: Compared) -> list[str]:
    paper = io.StringIO()
    for table in compared.tables():
        Console(width=160, file=paper).print(table)
    return paper.getvalue().splitlines()


def test_a_table_has_a_row_for_each_road_and_nothing_where_a_peer_took_no_part() -> None:
    rows = (Case("small", Proxied("small", 1000)), Case("large", Proxied("large", 200_000), beside="small"))
    results = Results()
    for case, who, cpu_s in (
        (*("small", EDGE), 1.0),
        (*("small", HANDLER), 4.0),
        (*("small", LANE_OFF), 2.0),
        (*("small", C_FLOOR), 0.5),
        (*("large", EDGE), 2.0),
        (*("large", OWN_HIT), 1.0),
    ):
        results.add(case, who, Sample(answers=100, wall_s=1, cpu_s=cpu_s, bytes=100_000))
    lines = [
        [cell.strip() for cell in line.split("│")[1:-1]]
        for line in printed(Compared("here", rows, results))
        if line.startswith("│")
    ]
    assert lines[:4] == [
        ["small", "100", "100%", "0.50 (0.50-0.50)", ""],
        ["without the fast lane", "50", "200%", "0.25 (0.25-0.25)", "0.50 (0.50-0.50)"],
        ["through a handler", "25", "400%", "0.12 (0.12-0.12)", "0.25 (0.25-0.25)"],
        ["large", "50", "200%", "", "0.50 (0.50-0.50)"],
    ]
    per_gb = lines[8:]
    assert [line[0] for line in per_gb] == ["large"]


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
    filled = {growth.THING.cold_path(number).encode() for number in range(10)}
    assert {next(asked).split(b" ")[1] for _ in range(200)} == filled


def test_peers_that_are_missing_are_named_and_the_benchmark_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")  # so that there is no apt-get
    peers.provide(["nginx", "varnish"])
    assert "apt install nginx varnish" in capsys.readouterr().err
    peers.provide([])
    assert capsys.readouterr().err == ""


def test_as_root_it_measures_on_a_loopback_of_its_own_that_sends_when_it_may() -> None:
    script = (
        "import os, socket; from loadtest.bench import loopback; before = os.stat('/proc/self/ns/net').st_ino\n"
        "print(loopback.claim(), os.stat('/proc/self/ns/net').st_ino != before, sep='\\n')\n"
        "server = socket.create_server(('127.0.0.1', 0)); client = socket.create_connection(server.getsockname())\n"
        "print(client.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b'\\0').decode())"
    )
    said, is_new, control = subprocess.check_output([sys.executable, "-c", script], text=True).splitlines()
    if is_new == "True":
        assert said == f"a loopback of its own with TCP {control}"
        assert control in ("cubic", "reno")
    else:
        assert said == f"the machine's loopback with TCP {control}"

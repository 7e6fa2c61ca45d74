"""HTTP/1.1 from the client's side, without a connection: every response whole and byte by byte."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from origin.reader import OriginError, OriginFailure
from origin.wire import MAX_FIELD_LINES, MAX_HEAD_BYTES, MAX_INTERIMS, Incoming, chunk, request_head


def pieces_of(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def read(data: bytes, method: str = "GET", size: int = 1, *, eof: bool = True) -> tuple[Incoming, bytes]:
    """What becomes of a response that arrives in pieces of that size, and its body."""
    incoming = Incoming(method)
    for piece in pieces_of(data, size):
        incoming.feed(piece)
    if eof:
        incoming.feed_eof(clean=True)
    body = b""
    while (taken := incoming.take()) is not None:
        body += taken
    return incoming, body


BOTH_WAYS = pytest.mark.parametrize("size", [1, 2**30], ids=["byte by byte", "whole"])


@BOTH_WAYS
def test_a_response_of_known_length_leaves_the_connection_usable(size: int) -> None:
    incoming, body = read(b"HTTP/1.1 200 Fine\r\nContent-Length: 3\r\nX: a \t\r\nX: \r\n\r\nabc", size=size, eof=False)
    assert incoming.head is not None
    assert (incoming.head.status, incoming.head.reason, incoming.head.version) == (200, "Fine", "1.1")
    assert incoming.head.fields == ((b"content-length", b"3"), (b"x", b"a"), (b"x", b""))
    assert (body, incoming.ended, incoming.reusable) == (b"abc", True, True)


@BOTH_WAYS
def test_chunks_are_taken_out_and_trailers_dropped(size: int) -> None:
    coded = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n"
    incoming, body = read(coded, size=size, eof=False)
    assert (body, incoming.ended, incoming.reusable) == (b"abcde", True, True)
    assert incoming.head is not None
    assert incoming.head.fields == ((b"transfer-encoding", b"Chunked"),)


@BOTH_WAYS
def test_a_body_without_a_mark_ends_with_the_connection(size: int) -> None:
    incoming, body = read(b"HTTP/1.1 200 OK\r\n\r\nabc", size=size)
    assert (body, incoming.ended, incoming.reusable) == (b"abc", True, False)


def test_a_body_without_a_mark_is_not_complete_when_the_connection_is_reset() -> None:
    incoming = Incoming("GET")
    incoming.feed(b"HTTP/1.1 200 OK\r\n\r\nabc")
    with pytest.raises(OriginError) as caught:
        incoming.feed_eof(clean=False)
    assert caught.value.failure is OriginFailure.INCOMPLETE


@BOTH_WAYS
@pytest.mark.parametrize(
    ("method", "response"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ],
)
def test_what_has_no_body_ends_with_its_head(method: str, response: bytes, size: int) -> None:
    incoming, body = read(response, method, size, eof=False)
    assert (body, incoming.ended, incoming.reusable) == (b"", True, True)


@BOTH_WAYS
@pytest.mark.parametrize(
    ("method", "response"),
    [
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\nabc"),
        ("GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nabc"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
    ],
)
def test_a_body_that_must_not_be_is_not_looked_at_and_spoils_the_connection(
    method: str, response: bytes, size: int
) -> None:
    incoming, body = read(response, method, size)
    assert (body, incoming.ended, incoming.reusable) == (b"", True, False)


@BOTH_WAYS
@pytest.mark.parametrize("more", [b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"x"])
def test_what_follows_a_response_spoils_the_connection(more: bytes, size: int) -> None:
    incoming, body = read(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc" + more, size=size)
    assert (body, incoming.ended, incoming.reusable) == (b"abc", True, False)


@pytest.mark.parametrize(
    ("response", "reusable"),
    [
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", False),
    ],
)
def test_the_connection_goes_on_only_when_both_sides_know(response: bytes, reusable: bool) -> None:
    assert read(response)[0].reusable is reusable


@BOTH_WAYS
def test_interim_responses_come_apart_from_the_final_one(size: int) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    incoming, body = read(early + b"HTTP/1.1 299 Odd\r\nContent-Length: 1\r\n\r\na", size=size)
    assert [(head.status, head.fields) for head in incoming.interims] == [(103, ((b"link", b"<a>"),)), (100, ())]
    assert incoming.head is not None
    assert (incoming.head.status, incoming.head.reason, body) == (299, "Odd", b"a")


@pytest.mark.parametrize("status", ["799", "999", "299"])
def test_unknown_statuses_are_read(status: str) -> None:
    incoming, _ = read(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
    assert incoming.head is not None
    assert (incoming.head.status, incoming.head.reason) == (int(status), "")


CHUNKS = b"Transfer-Encoding: chunked\r\n"
REFUSED = {
    "length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n" + CHUNKS + b"\r\n3\r\nabc\r\n0\r\n\r\n",
    "chunks and length": b"HTTP/1.1 200 OK\r\n" + CHUNKS + b"Content-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "one length twice": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "list of lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\nabc",
    "signed length": b"HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\nabc",
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\nabc",
    "no length": b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nabc",
    "length beyond 64 bits": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\nabc",
    "line feed alone": b"HTTP/1.1 200 OK\r\nA: b\nContent-Length: 3\r\n\r\nabc",
    "line feeds alone": b"HTTP/1.1 200 OK\nContent-Length: 3\n\nabc",
    "carriage return alone": b"HTTP/1.1 200 OK\r\nA: b\rSet-Cookie: c\r\nContent-Length: 3\r\n\r\nabc",
    "NUL": b"HTTP/1.1 200 OK\r\nA: b\0c\r\nContent-Length: 3\r\n\r\nabc",
    "control character": b"HTTP/1.1 200 OK\r\nA: b\x01c\r\nContent-Length: 3\r\n\r\nabc",
    "folded line": b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 3\r\n\r\nabc",
    "space before the colon": b"HTTP/1.1 200 OK\r\nContent-Length : 3\r\n\r\nabc",
    "no colon": b"HTTP/1.1 200 OK\r\nGarbage\r\nContent-Length: 3\r\n\r\nabc",
    "no name": b"HTTP/1.1 200 OK\r\n: b\r\nContent-Length: 3\r\n\r\nabc",
    "no field name": b"HTTP/1.1 200 OK\r\nA(b): c\r\nContent-Length: 3\r\n\r\nabc",
    "space before the first field": b"HTTP/1.1 200 OK\r\n A: b\r\nContent-Length: 3\r\n\r\nabc",
    "two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 3\r\n\r\nabc",
    "four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 3\r\n\r\nabc",
    "status 000": b"HTTP/1.1 000 OK\r\nContent-Length: 3\r\n\r\nabc",
    "status 099": b"HTTP/1.1 099 OK\r\nContent-Length: 3\r\n\r\nabc",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    "HTTP/0.9": b"HTTP/0.9 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "TLS": b"\x15\x03\x01\x00\x02\x02\x50\r\n\r\n",
    "another protocol by 101": b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nabc",
    "chunk size with a prefix": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n",
    "negative chunk size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n",
    "chunk size beyond 64 bits": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc",
    "chunk longer than its size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
    "chunk lines with line feeds": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n",
}


@BOTH_WAYS
@pytest.mark.parametrize("name", REFUSED)
def test_what_could_be_read_in_two_ways_is_refused(name: str, size: int) -> None:
    with pytest.raises(OriginError) as caught:
        read(REFUSED[name], size=size)
    assert caught.value.failure is OriginFailure.PROTOCOL


@BOTH_WAYS
@pytest.mark.parametrize(
    "line",
    [
        "gzip",
        "gzip, chunked",
        "chunked, gzip",
        "chunked, chunked",
        "xchunked",
        "identity",
        "chunked\r\nTransfer-Encoding: chunked",
    ],
)
def test_no_transfer_coding_but_one_chunked_is_taken(line: str, size: int) -> None:
    with pytest.raises(OriginError) as caught:
        read(f"HTTP/1.1 200 OK\r\nTransfer-Encoding: {line}\r\n\r\n3\r\nabc\r\n0\r\n\r\n".encode(), size=size)
    assert caught.value.failure is OriginFailure.CODING


def test_chunks_of_an_http_1_0_origin_are_refused() -> None:
    with pytest.raises(OriginError) as caught:
        read(b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    assert caught.value.failure is OriginFailure.CODING


@pytest.mark.parametrize(
    ("response", "failure"),
    [
        (b"", OriginFailure.TERMINATED),
        (b"HTTP/1.1 200 OK\r\nContent-Le", OriginFailure.INCOMPLETE),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc", OriginFailure.INCOMPLETE),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", OriginFailure.INCOMPLETE),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n", OriginFailure.INCOMPLETE),
        (b"HTTP/1.1 100 Continue\r\n\r\n", OriginFailure.INCOMPLETE),
    ],
)
def test_an_early_end_is_no_end(response: bytes, failure: OriginFailure) -> None:
    with pytest.raises(OriginError) as caught:
        read(response)
    assert caught.value.failure is failure


@pytest.mark.parametrize(
    "beginning",
    [b"HTTP/1.1 200 ", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nA: ", b"HTTP/1.1 200 OK\r\nA: b\r\nC: "],
)
def test_a_head_is_bounded_in_bytes_wherever_they_are(beginning: bytes) -> None:
    with pytest.raises(OriginError) as caught:
        read(beginning + b"a" * 2 * MAX_HEAD_BYTES, size=MAX_HEAD_BYTES // 2)
    assert caught.value.failure is OriginFailure.HEADERS


def test_a_head_is_bounded_when_it_comes_in_one_piece() -> None:
    for lines in (b"A: " + b"b" * MAX_HEAD_BYTES + b"\r\n", b"A: b\r\n" * (MAX_FIELD_LINES + 1)):
        with pytest.raises(OriginError) as caught:
            read(b"HTTP/1.1 200 OK\r\n" + lines + b"Content-Length: 0\r\n\r\n", size=2**30)
        assert caught.value.failure is OriginFailure.HEADERS


def test_trailers_are_bounded() -> None:
    coded = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"A: bbbbbbbbbb\r\n" * MAX_HEAD_BYTES
    with pytest.raises(OriginError) as caught:
        read(coded, size=4096)
    assert caught.value.failure is OriginFailure.HEADERS


def test_interim_responses_are_bounded() -> None:
    with pytest.raises(OriginError) as caught:
        read(b"HTTP/1.1 102 Processing\r\n\r\n" * (MAX_INTERIMS + 1), size=2**30)
    assert caught.value.failure is OriginFailure.PROTOCOL


def test_a_request_is_written_as_it_was_meant() -> None:
    head = request_head("PURGE", "/a%20b?c=d", [("host", "h"), ("x", "caf\udce9"), ("y", "课")])
    assert head == b"PURGE /a%20b?c=d HTTP/1.1\r\nhost: h\r\nx: caf\xe9\r\ny: " + "课".encode() + b"\r\n\r\n"
    assert (chunk(b"0123456789abcdef"), chunk(b"")) == (b"10\r\n0123456789abcdef\r\n", b"0\r\n\r\n")


@pytest.mark.parametrize(
    ("method", "target", "name", "value"),
    [
        ("GET /x", "/", "a", "b"),
        ("", "/", "a", "b"),
        ("GET", "/a b", "a", "b"),
        ("GET", "/a\r\nX: y", "a", "b"),
        ("GET", "", "a", "b"),
        ("GET", "/课", "a", "b"),
        ("GET", "/", "a", "b\r\nX: y"),
        ("GET", "/", "a", "b\nX: y"),
        ("GET", "/", "a", "b\0"),
        ("GET", "/", "a\r\nX", "b"),
        ("GET", "/", "a:", "b"),
        ("GET", "/", "", "b"),
        ("GET", "/", "a", "\ud800"),
    ],
)
def test_nothing_smuggles_a_line_into_a_request(method: str, target: str, name: str, value: str) -> None:
    with pytest.raises(OriginError) as caught:
        request_head(method, target, [(name, value)])
    assert caught.value.failure is OriginFailure.REQUEST

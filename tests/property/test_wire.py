"""Responses however mangled: how they are cut makes no difference, and who else can read them reads the same."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import h11
from hypothesis import given, settings
from hypothesis import strategies as st

from origin.reader import OriginError, OriginFailure
from origin.wire import Head, Incoming

WORDS = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.0 200 OK\r\n",
        b"HTTP/1.1 204 No Content\r\n",
        b"HTTP/1.1 304 Not Modified\r\n",
        b"HTTP/1.1 103 Early Hints\r\n",
        b"HTTP/1.1 599\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: 0\r\n",
        b"content-length:5 \r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: CHUNKED\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Connection: close\r\n",
        b"X: a\tb\xff\r\n",
        b"X:\r\n",
        b" folded\r\n",
        b"X : a\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b"hello",
        b"5\r\nhello\r\n",
        b"5;a=b\r\nhello\r\n",
        b"05\r\nhello\r\n",
        b"0\r\n\r\n",
        b"0\r\nX-Trailer: 1\r\n\r\n",
    ]
)
MANGLED = st.lists(WORDS, max_size=12).map(b"".join)
HEADS = st.tuples(
    st.sampled_from([b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 304 X\r\n"]), MANGLED
).map(b"".join)
METHODS = st.sampled_from(["GET", "HEAD"])


@dataclass(frozen=True, slots=True)
class Read:
    """What became of a response: a failure, or head and body."""

    failure: OriginFailure | None
    interims: tuple[Head, ...]
    head: Head | None
    body: bytes


def ours(data: bytes, method: str, cuts: list[int]) -> Read:
    incoming = Incoming(method)
    failure = None
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    try:
        for start, end in pairwise(edges):
            if start < end:
                incoming.feed(data[start:end])
        incoming.feed_eof(clean=True)
    except OriginError as error:
        failure = error.failure
    body = b""
    while (piece := incoming.take()) is not None:
        body += piece
    return Read(failure, tuple(incoming.interims), incoming.head, body)


def theirs(data: bytes, method: str) -> tuple[int, bytes] | None:
    """Status and body as h11 reads them; None when it does not."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=2**20)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "h")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    connection.receive_data(b"")
    status, body = 0, b""
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return status, body
            elif not isinstance(event, h11.InformationalResponse):
                return None
    except h11.RemoteProtocolError:
        return None


@settings(max_examples=400, deadline=None)
@given(data=st.one_of(HEADS, MANGLED), method=METHODS, cuts=st.lists(st.integers(0, 300), max_size=12))
def test_how_a_response_is_cut_makes_no_difference(data: bytes, method: str, cuts: list[int]) -> None:
    whole, cut, single = ours(data, method, []), ours(data, method, cuts), ours(data, method, list(range(len(data))))
    for other in (cut, single):
        assert (other.failure, other.head, other.interims) == (whole.failure, whole.head, whole.interims)
        if whole.failure is None:
            assert other.body == whole.body


@settings(max_examples=400, deadline=None)
@given(data=HEADS, method=METHODS)
def test_what_we_take_another_parser_takes_for_the_same_or_refuses(data: bytes, method: str) -> None:
    read = ours(data, method, [])
    other = theirs(data, method)
    if read.failure is None and read.head is not None and other is not None:
        assert other == (read.head.status, read.body)

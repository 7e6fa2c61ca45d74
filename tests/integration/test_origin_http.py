"""An HTTP origin on a real socket, right and wrong in every way, as its reader sees it."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import tracemalloc
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from origin.http import Deadlines, HttpReader, tls_context
from origin.reader import Headers, OriginError, OriginFailure, ReadRequest, ReadResponse
from tests.support.loopguard import nothing_blocks_the_loop  # noqa: F401
from tests.support.raw_origin import End, Raw, RawOrigin, response
from tests.support.waiting import eventually

QUICK = Deadlines(queue_s=5, connect_s=5, first_byte_s=0.4, idle_s=0.4, total_s=30)
PATIENT = Deadlines(queue_s=5, connect_s=5, first_byte_s=30, idle_s=30, total_s=60)
OK = response(b"hello")
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
PLAIN = ReadRequest("/a")

MakeReader = Callable[..., HttpReader]


@pytest.fixture
async def reader_of() -> AsyncIterator[MakeReader]:
    """Readers that are closed after the test."""
    made: list[HttpReader] = []

    def make(origin: RawOrigin, deadlines: Deadlines = PATIENT, max_concurrent: int = 8) -> HttpReader:
        made.append(HttpReader(origin.url, deadlines=deadlines, max_concurrent=max_concurrent))
        return made[-1]

    yield make
    for reader in made:
        await reader.close()


async def whole(answer: ReadResponse) -> bytes:
    return b"".join([piece async for piece in answer.chunks])


async def read(reader: HttpReader, request: ReadRequest = PLAIN) -> tuple[ReadResponse, bytes]:
    async with reader.open(request) as answer:
        return answer, await whole(answer)


async def failure(reader: HttpReader, request: ReadRequest = PLAIN) -> OriginError:
    """The error of an exchange that must not succeed."""
    with pytest.raises(OriginError) as caught:
        await read(reader, request)
    return caught.value


async def given(*pieces: bytes | asyncio.Event) -> AsyncIterator[bytes]:
    """A client's body."""
    for piece in pieces:
        if isinstance(piece, asyncio.Event):
            await piece.wait()
        else:
            yield piece


# -- requests --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE", "PROPFIND", "TRACE", "X-Anything"])
async def test_every_method_and_target_arrives_as_it_is(reader_of: MakeReader, method: str) -> None:
    async with RawOrigin(Raw([response()])) as origin:
        await read(reader_of(origin), ReadRequest("/a%2Fb//c;d?q=%e4&&r", method=method))
        assert origin.asked[0].request_line == f"{method} /a%2Fb//c;d?q=%e4&&r HTTP/1.1"
        assert origin.asked[0].lines("host") == [origin.url.removeprefix("http://").encode()]
        assert origin.asked[0].lines("content-length") == []


async def test_a_tunnel_is_refused(reader_of: MakeReader) -> None:
    async with RawOrigin(Raw([response()])) as origin:
        assert (await failure(reader_of(origin), ReadRequest("/a", method="CONNECT"))).status == 405
        assert origin.asked == []


async def test_the_clients_fields_go_on_and_ours_only_where_it_sent_none(reader_of: MakeReader) -> None:
    passed: Headers = (
        ("host", "evil.example"),
        ("connection", "close, x-hop"),
        ("transfer-encoding", "chunked"),
        ("content-length", "99"),
        ("te", "trailers"),
        ("upgrade", "h2c"),
        ("expect", "100-continue"),
        ("x-bytes", "caf\udce9"),
        ("cookie", "a=1"),
        ("cookie", "b=2"),
    )
    async with RawOrigin(Raw([OK])) as origin:
        await read(reader_of(origin), ReadRequest("/a", headers=passed))
        await read(reader_of(origin), ReadRequest("/a", headers=(("user-agent", "curl"),)))
        await read(reader_of(origin), ReadRequest("/a"))
        first, second, own = origin.asked
        assert first.head.split(b"\r\n")[2:] == [
            b"x-bytes: caf\xe9",
            b"cookie: a=1",
            b"cookie: b=2",
            b"user-agent: smartedu-edge",
        ]
        assert second.head.split(b"\r\n")[2:] == [b"user-agent: curl"]
        assert own.lines("accept-encoding") == [b"identity"]
        assert own.lines("user-agent") == [b"smartedu-edge"]


async def test_our_own_conditions_replace_all_of_the_clients(reader_of: MakeReader) -> None:
    client: Headers = (
        ("if-none-match", '"theirs"'),
        ("if-modified-since", "x"),
        ("if-range", '"theirs"'),
        ("range", "bytes=0-0"),
        ("accept", "a/b"),
    )
    async with RawOrigin(Raw([OK])) as origin:
        await read(reader_of(origin), ReadRequest("/a", headers=client))
        await read(reader_of(origin), ReadRequest("/a", headers=client, if_match='"ours"', byte_range=(5, 9)))
        passed, own = origin.asked
        assert passed.lines("range") == [b"bytes=0-0"]
        assert passed.lines("if-range") == [b'"theirs"']
        assert own.lines("range") == [b"bytes=5-9"]
        assert own.lines("if-match") == [b'"ours"']
        assert own.lines("accept") == [b"a/b"]
        assert own.lines("if-range") + own.lines("if-none-match") + own.lines("if-modified-since") == []


async def test_a_field_that_would_split_the_request_never_leaves(reader_of: MakeReader) -> None:
    async with RawOrigin(Raw([OK])) as origin:
        reader = reader_of(origin)
        request = ReadRequest("/a", headers=(("x", "a\r\nGET /b HTTP/1.1"),))
        assert (await failure(reader, request)).failure is OriginFailure.REQUEST
        assert origin.connections == 0


@pytest.mark.parametrize("length", [11, None], ids=["known length", "unknown length"])
async def test_a_body_is_streamed_with_its_length_or_in_chunks(reader_of: MakeReader, length: int | None) -> None:
    async with RawOrigin(Raw([OK])) as origin:
        request = ReadRequest("/a", method="POST", body=given(b"hello ", b"", b"world"), body_length=length)
        _, body = await read(reader_of(origin), request)
        asked = origin.asked[0]
        assert (body, asked.body) == (b"hello", b"hello world")
        assert asked.lines("content-length") == ([] if length is None else [b"11"])
        assert asked.lines("transfer-encoding") == ([b"chunked"] if length is None else [])


async def test_a_method_that_means_content_says_when_there_is_none(reader_of: MakeReader) -> None:
    async with RawOrigin(Raw([OK])) as origin:
        await read(reader_of(origin), ReadRequest("/a", method="POST"))
        assert origin.asked[0].lines("content-length") == [b"0"]


async def test_a_slow_origin_slows_the_clients_body_down(reader_of: MakeReader) -> None:
    """The origin does not read: what is taken from the client is bounded by the buffers on the way."""
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 64 * 1024
            yield bytes(64 * 1024)

    async with RawOrigin(Raw([], End.STALL, early=True)) as origin:
        reader = reader_of(origin, Deadlines(connect_s=5, first_byte_s=30, idle_s=0.3))
        error = await failure(reader, ReadRequest("/a", method="POST", body=endless()))
        assert error.failure is OriginFailure.WRITE_TIMEOUT
        assert taken < 64 * 1024**2


async def test_an_answer_before_the_body_is_sent_is_the_answer(reader_of: MakeReader) -> None:
    never = asyncio.Event()
    refusal = response(b"too much", "413 Content Too Large")
    async with RawOrigin(Raw([refusal], End.STALL, early=True), Raw([OK])) as origin:
        reader = reader_of(origin)
        answer, body = await read(reader, ReadRequest("/a", method="POST", body=given(b"x", never), body_length=9))
        assert (answer.status, body) == (413, b"too much")
        await read(reader)
        assert origin.connections == 2, "the rest of the body would have been read as the next request"


@pytest.mark.parametrize(("pieces", "length"), [((b"abc",), 4), ((b"abc", b"de"), 4)], ids=["short", "long"])
async def test_a_body_that_is_not_what_it_was_announced_as_ends_the_exchange(
    reader_of: MakeReader, pieces: tuple[bytes, ...], length: int
) -> None:
    async with RawOrigin(Raw([OK])) as origin:
        error = await failure(
            reader_of(origin), ReadRequest("/a", method="POST", body=given(*pieces), body_length=length)
        )
        assert (error.failure, error.status) == (OriginFailure.REQUEST, 400)


async def test_a_client_that_leaves_in_the_middle_of_its_body_is_not_the_origins_fault(reader_of: MakeReader) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"abc"
        raise ConnectionResetError

    async with RawOrigin(Raw([OK])) as origin:
        error = await failure(reader_of(origin), ReadRequest("/a", method="PUT", body=broken()))
        assert error.failure is OriginFailure.REQUEST
        assert not error.failure.blames_origin


async def test_a_client_that_stalls_in_the_middle_of_its_body_does_not_hold_the_origin(reader_of: MakeReader) -> None:
    async with RawOrigin(Raw([OK])) as origin:
        request = ReadRequest("/a", method="POST", body=given(b"abc", asyncio.Event()))
        assert (await failure(reader_of(origin, QUICK), request)).failure is OriginFailure.REQUEST


async def test_a_body_waits_for_the_go_ahead_that_the_client_asked_for(reader_of: MakeReader) -> None:
    interim: list[int] = []
    expecting: Headers = (("expect", "100-continue"),)
    proceed = b"HTTP/1.1 100 Continue\r\n\r\n"
    async with RawOrigin(
        Raw([proceed], early=True), Raw([response(b"", "401 Unauthorized")], early=True, end=End.STALL)
    ) as origin:
        origin.answers[0] = Raw([proceed, OK], early=True)
        request = ReadRequest("/a", method="POST", headers=expecting, body=given(b"abc"), body_length=3)
        answer, _ = await read(reader_of(origin), request_with(request, lambda status, _: interim.append(status)))
        assert answer.status == 200
        assert interim == [100]
        refused = ReadRequest("/a", method="POST", headers=expecting, body=given(b"abc"), body_length=3)
        answer, _ = await read(reader_of(origin), refused)
        assert answer.status == 401
        assert origin.asked[1].body == b"", "the body was not wanted"


def request_with(request: ReadRequest, on_interim: Callable[[int, Headers], None]) -> ReadRequest:
    return replace(request, on_interim=on_interim)


async def test_no_chunks_are_sent_to_an_origin_that_speaks_http_1_0(reader_of: MakeReader) -> None:
    old = b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"
    async with RawOrigin(Raw([old], End.CLOSE)) as origin:
        reader = reader_of(origin)
        await read(reader)
        error = await failure(reader, ReadRequest("/a", method="POST", body=given(b"abc")))
        assert (error.failure, error.status) == (OriginFailure.REQUEST, 411)
        answer, _ = await read(reader, ReadRequest("/a", method="POST", body=given(b"abc"), body_length=3))
        assert (answer.status, origin.asked[-1].body) == (200, b"abc")


# -- responses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "end"),
    [
        (OK, End.KEEP),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\nX-T: 1\r\n\r\n", End.KEEP),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", End.CLOSE),
        (b"HTTP/1.0 200 OK\r\nServer: old\r\n\r\nhello", End.CLOSE),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello", End.KEEP),
    ],
    ids=["length", "chunks", "end of connection", "HTTP/1.0", "HTTP/1.0 kept"],
)
async def test_a_body_arrives_however_its_end_is_marked(reader_of: MakeReader, raw: bytes, end: End) -> None:
    async with RawOrigin(Raw([raw], end)) as origin:
        reader = reader_of(origin)
        for _ in range(2):
            answer, body = await read(reader)
            assert body == b"hello"
            assert not {"transfer-encoding", "connection", "x-t"} & {name for name, _ in answer.headers}
        assert origin.connections == (1 if end is End.KEEP else 2)


async def test_status_reason_and_version_are_passed_whatever_they_are(reader_of: MakeReader) -> None:
    async with RawOrigin(Raw([b"HTTP/1.0 799 Very Odd\r\nContent-Length: 0\r\n\r\n"], End.CLOSE)) as origin:
        answer, _ = await read(reader_of(origin))
        assert (answer.status, answer.reason, answer.version) == (799, "Very Odd", "1.0")


async def test_nothing_is_decoded_followed_or_remembered(reader_of: MakeReader) -> None:
    moved = response(
        b"\x1f\x8bnot really gzip", "302 Found", "Location: /b", "Content-Encoding: gzip", "Set-Cookie: a=b"
    )
    async with RawOrigin(Raw([moved])) as origin:
        reader = reader_of(origin)
        for _ in range(2):
            answer, body = await read(reader)
            assert (answer.status, body) == (302, b"\x1f\x8bnot really gzip")
        assert len(origin.asked) == 2
        assert origin.asked[1].lines("cookie") == []


async def test_interim_responses_are_told_with_their_end_to_end_fields(reader_of: MakeReader) -> None:
    seen: list[tuple[int, Headers]] = []
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nConnection: x\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
    async with RawOrigin(Raw([hints, OK])) as origin:
        reader = reader_of(origin)
        answer, body = await read(
            reader, request_with(ReadRequest("/a"), lambda status, headers: seen.append((status, headers)))
        )
        assert (answer.status, body) == (200, b"hello")
        assert seen == [(103, (("link", "</a.css>"),)), (102, ())]
        await read(reader)


async def test_an_interim_response_is_told_before_the_final_one_comes(reader_of: MakeReader) -> None:
    gate, told = asyncio.Event(), asyncio.Event()
    async with RawOrigin(Raw([b"HTTP/1.1 103 Early Hints\r\n\r\n", gate, OK])) as origin:
        request = request_with(ReadRequest("/a"), lambda *_: told.set())
        reading = asyncio.create_task(read(reader_of(origin), request))
        await asyncio.wait_for(told.wait(), 10)
        gate.set()
        assert (await reading)[1] == b"hello"


async def test_a_head_is_handed_on_before_its_body_comes(reader_of: MakeReader) -> None:
    gate = asyncio.Event()
    parts = Raw([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe", gate, b"llo"])
    async with RawOrigin(parts) as origin, reader_of(origin).open(PLAIN) as answer:
        assert await anext(answer.chunks) == b"he"
        gate.set()
        assert await whole(answer) == b"llo"


async def test_a_slow_reader_slows_the_origin_down_and_is_not_cut_for_it(reader_of: MakeReader) -> None:
    size, piece = 64 * 1024**2, bytes(64 * 1024)
    large = Raw([f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode(), *[piece] * (size // len(piece))])
    async with RawOrigin(large) as origin, reader_of(origin, QUICK).open(PLAIN) as answer:
        received = len(await anext(answer.chunks))
        assert await settled(lambda: origin.sent_bytes) < size / 4, "the origin could send more than the buffers hold"
        await asyncio.sleep(2 * QUICK.idle_s)  # the reader's own slowness, longer than the origin may be silent
        async for chunk in answer.chunks:
            received += len(chunk)
        assert received == size


async def settled(value: Callable[[], int]) -> int:
    """A value that has stopped growing."""
    last = -1

    def same() -> bool:
        nonlocal last
        before, last = last, value()
        return before == last

    await eventually(same)
    return last


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_a_body_that_must_not_be_is_ignored_and_never_the_next_response(
    reader_of: MakeReader, status: str
) -> None:
    poison = response(b"poison")
    bad = f"HTTP/1.1 {status}\r\nContent-Length: {len(poison)}\r\n\r\n".encode() + poison
    async with RawOrigin(Raw([bad]), Raw([OK])) as origin:
        reader = reader_of(origin)
        assert (await read(reader))[1] == b""
        assert (await read(reader))[1] == b"hello"
        assert origin.connections == 2


# -- connections -----------------------------------------------------------------------------------------------------


async def test_a_connection_is_used_again_also_when_nobody_read_the_short_body(reader_of: MakeReader) -> None:
    async with RawOrigin(Raw([OK])) as origin:
        reader = reader_of(origin)
        for method in ("GET", "HEAD", "POST"):
            origin.answers = [Raw([OK if method != "HEAD" else b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"])]
            await read(reader, ReadRequest("/a", method=method))
        async with reader.open(ReadRequest("/a")):
            pass
        await read(reader)
        assert origin.connections == 1


async def test_a_connection_with_an_unread_rest_is_closed(reader_of: MakeReader) -> None:
    gate = asyncio.Event()
    async with RawOrigin(Raw([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe", gate, b"llo"]), Raw([OK])) as origin:
        reader = reader_of(origin)
        async with reader.open(ReadRequest("/a")):
            pass
        assert (await read(reader))[1] == b"hello"
        assert origin.connections == 2


async def test_a_word_out_of_turn_ends_a_kept_connection(reader_of: MakeReader) -> None:
    gate = asyncio.Event()
    async with RawOrigin(Raw([OK, gate, response(b"poison")]), Raw([OK])) as origin:
        reader = reader_of(origin)
        await read(reader)
        gate.set()
        await eventually(lambda: origin.sent_bytes > len(OK))
        await eventually(lambda: not kept(reader))
        assert (await read(reader))[1] == b"hello"
        assert origin.connections == 2


def kept(reader: HttpReader) -> int:
    """How many connections wait for their next exchange."""
    return len(reader._client._pool._waiting)


class DyingOrigin(RawOrigin):
    """Closes each connection that carries a second request, without a word."""

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> bool:
        if any(asked.connection == number for asked in self.asked):
            await reader.readuntil(b"\r\n\r\n")
            return False
        return await super()._exchange(reader, writer, number)


async def test_a_kept_connection_that_turns_out_dead_costs_an_idempotent_request_nothing(
    reader_of: MakeReader,
) -> None:
    async with DyingOrigin(Raw([OK])) as origin:
        reader = reader_of(origin)
        for _ in range(3):
            assert (await read(reader))[1] == b"hello"
        assert origin.connections == 3


async def test_what_may_not_be_repeated_is_not(reader_of: MakeReader) -> None:
    async with DyingOrigin(Raw([OK])) as origin:
        reader = reader_of(origin)
        await read(reader)
        error = await failure(reader, ReadRequest("/a", method="POST"))
        assert error.failure is OriginFailure.TERMINATED
        await read(reader)
        error = await failure(reader, ReadRequest("/a", method="PUT", body=given(b"abc"), body_length=3))
        assert error.failure is OriginFailure.TERMINATED


async def test_a_fresh_connection_that_dies_is_not_asked_again(reader_of: MakeReader) -> None:
    async with RawOrigin(Raw([], End.CLOSE)) as origin:
        assert (await failure(reader_of(origin))).failure is OriginFailure.TERMINATED
        assert len(origin.asked) == 1


async def test_at_most_so_many_requests_wait_for_an_answer_at_once(reader_of: MakeReader) -> None:
    gate = asyncio.Event()
    async with RawOrigin(Raw([gate, OK])) as origin:
        reader = reader_of(origin, Deadlines(queue_s=0.1, connect_s=5, first_byte_s=30), max_concurrent=2)
        waiting = [asyncio.create_task(read(reader)) for _ in range(2)]
        await eventually(lambda: len(origin.asked) == 2)
        error = await failure(reader)
        assert (error.failure, error.status, error.retry_after_s) == (OriginFailure.OVERLOADED, 503, 1.0)
        gate.set()
        await asyncio.gather(*waiting)
        await read(reader)


async def test_bodies_on_their_way_do_not_keep_others_from_asking(reader_of: MakeReader) -> None:
    gate = asyncio.Event()
    async with RawOrigin(Raw([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe", gate, b"llo"])) as origin:
        reader = reader_of(origin, max_concurrent=2)
        reading = [asyncio.create_task(read(reader)) for _ in range(6)]
        await eventually(lambda: len(origin.asked) == 6)
        gate.set()
        assert [body for _, body in await asyncio.gather(*reading)] == [b"hello"] * 6


@pytest.mark.parametrize("sending", [False, True], ids=["while waiting", "while sending"])
async def test_a_cancelled_exchange_leaves_nothing_behind(reader_of: MakeReader, *, sending: bool) -> None:
    gate = asyncio.Event()
    async with RawOrigin(Raw([gate, OK], early=True)) as origin:
        reader = reader_of(origin, max_concurrent=1)
        body = given(b"abc", asyncio.Event()) if sending else None
        reading = asyncio.create_task(read(reader, ReadRequest("/a", method="POST", body=body)))
        await eventually(lambda: len(origin.asked) == 1)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        gate.set()
        assert (await read(reader))[1] == b"hello"
        assert origin.connections == 2


# -- faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Raw([], End.STALL), OriginFailure.READ_TIMEOUT),
        (Raw([b"HTTP/1.1 200 OK\r\nX: "], End.STALL), OriginFailure.READ_TIMEOUT),
        (Raw([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe"], End.STALL), OriginFailure.READ_TIMEOUT),
        (Raw([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe"], End.CLOSE), OriginFailure.INCOMPLETE),
        (Raw([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe"], End.RESET), OriginFailure.INCOMPLETE),
        (Raw([b"HTTP/1.1 200 OK\r\n\r\nhe"], End.RESET), OriginFailure.INCOMPLETE),
        (Raw([CHUNKED + b"2\r\nhe\r\n"], End.CLOSE), OriginFailure.INCOMPLETE),
        (Raw([CHUNKED + b"2\r\nhello"]), OriginFailure.PROTOCOL),
        (Raw([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhe"]), OriginFailure.PROTOCOL),
        (Raw([b"HTTP/1.1 200 OK\r\nGarbage\r\n\r\n"]), OriginFailure.PROTOCOL),
        (Raw([b"hello\r\n\r\n"]), OriginFailure.PROTOCOL),
        (Raw([b"HTTP/1.1 200 OK\r\nContent-Le"], End.CLOSE), OriginFailure.INCOMPLETE),
    ],
    ids=[
        "no head", "half a head", "half a body", "closed in the body", "reset in the body", "reset in an unmarked body",
        "closed between chunks", "no chunk", "two lengths", "no field", "no status line", "closed in the head",
    ],
)  # fmt: skip
async def test_each_fault_has_its_name_and_the_next_request_is_well(
    reader_of: MakeReader, answer: Raw, expected: OriginFailure
) -> None:
    async with RawOrigin(answer, Raw([OK])) as origin:
        reader = reader_of(origin, QUICK)
        assert (await failure(reader)).failure is expected
        assert (await read(reader))[1] == b"hello"


async def test_more_than_was_announced_is_cut_off_and_never_the_next_response(reader_of: MakeReader) -> None:
    async with RawOrigin(Raw([OK + response(b"poison")]), Raw([OK])) as origin:
        reader = reader_of(origin)
        for _ in range(2):
            assert (await read(reader))[1] == b"hello"
        assert origin.connections == 2


async def test_a_head_without_end_is_given_up_soon_and_in_bounded_memory(reader_of: MakeReader) -> None:
    flood = Raw([b"HTTP/1.1 200 OK\r\nX: ", *[b"a" * 65536] * 160])
    async with RawOrigin(flood) as origin:
        reader = reader_of(origin)
        gc.collect()
        tracemalloc.start()
        try:
            error = await failure(reader)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert error.failure is OriginFailure.HEADERS
        assert peak < 4 * 1024**2


async def test_a_whole_exchange_has_its_deadline_however_lively_it_is(reader_of: MakeReader) -> None:
    async def drips() -> AsyncIterator[bytes]:
        while True:
            yield b"x"
            await asyncio.sleep(0.01)

    async with RawOrigin(Raw([OK])) as origin:
        reader = reader_of(origin, Deadlines(connect_s=5, first_byte_s=5, idle_s=5, total_s=0.2))
        error = await failure(reader, ReadRequest("/a", method="POST", body=drips()))
        assert (error.failure, error.status) == (OriginFailure.EXCHANGE_TIMEOUT, 504)


async def test_nobody_listening_is_told_at_once(reader_of: MakeReader) -> None:
    async with RawOrigin(Raw([OK])) as origin:
        reader = reader_of(origin)
    error = await failure(reader)
    assert (error.failure, error.failure.unsent) == (OriginFailure.CONNECT, True)


async def test_a_host_without_an_address_is_a_dns_error() -> None:
    reader = HttpReader("http://nothing.invalid", deadlines=PATIENT)
    assert (await failure(reader)).failure is OriginFailure.DNS


async def test_an_origin_that_accepts_no_connection_is_given_up_in_time() -> None:
    """The queue of a listening socket that accepts nothing is full after a few connections; the next get no answer."""
    loop = asyncio.get_running_loop()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            loop.create_task(loop.sock_connect(filler, listening.getsockname()))  # noqa: RUF006 - cancelled with the loop
        await asyncio.sleep(0)
        reader = HttpReader(
            f"http://127.0.0.1:{listening.getsockname()[1]}", deadlines=Deadlines(connect_s=0.2, first_byte_s=0.2)
        )
        error = await failure(reader)
        assert error.status == 504
        await reader.close()
        for filler in fillers:
            filler.close()


async def test_closing_a_reader_in_the_middle_of_a_body_never_makes_it_look_complete(reader_of: MakeReader) -> None:
    async with RawOrigin(Raw([b"HTTP/1.1 200 OK\r\n\r\nhe"], End.STALL)) as origin:
        reader = reader_of(origin)
        async with reader.open(ReadRequest("/a")) as answer:
            assert await anext(answer.chunks) == b"he"
            await reader.close()
            with pytest.raises(OriginError) as caught:
                await whole(answer)
        assert caught.value.failure is OriginFailure.INCOMPLETE


# -- TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, Path]:
    """A certificate authority of our own, and the file that names it."""
    made = trustme.CA()
    file = tmp_path_factory.mktemp("ca") / "ca.pem"
    made.cert_pem.write_to_path(str(file))
    return made, file


async def test_an_encrypted_origin_is_verified_against_the_authority_given(authority: tuple[trustme.CA, Path]) -> None:
    ca, file = authority
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    trusting = await asyncio.to_thread(tls_context, file)
    async with RawOrigin(Raw([OK]), tls=context) as origin:
        reader = HttpReader(origin.url, tls=trusting)
        for _ in range(2):
            assert (await read(reader))[1] == b"hello"
        assert origin.connections == 1
        await reader.close()
        wary = HttpReader(origin.url)
        assert (await failure(wary)).failure is OriginFailure.CERTIFICATE
        await wary.close()


async def test_a_certificate_for_another_name_is_refused(authority: tuple[trustme.CA, Path]) -> None:
    ca, file = authority
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("other.example").configure_cert(context)
    async with RawOrigin(Raw([OK]), tls=context) as origin:
        reader = HttpReader(origin.url, tls=await asyncio.to_thread(tls_context, file))
        assert (await failure(reader)).failure is OriginFailure.CERTIFICATE
        await reader.close()


async def test_an_origin_that_speaks_no_tls_is_told_apart() -> None:
    async def answer_plainly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(response(b"", "400 Bad Request"))
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer_plainly, "127.0.0.1", 0)
    reader = HttpReader(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}", deadlines=PATIENT)
    error = await failure(reader)
    assert (error.failure, error.failure.unsent) == (OriginFailure.TLS, True)
    await reader.close()
    server.close()

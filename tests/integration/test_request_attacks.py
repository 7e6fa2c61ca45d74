"""Requests that mean harm: refused, and nothing behind them is ever taken for a request.

Over raw sockets, against the real connection protocol with a trivial application behind it. Each attack is sent in one
piece and byte by byte: how bytes are cut into packets must not matter.
"""

from __future__ import annotations

import asyncio
import gzip

import pytest

from edge.framing import MAX_FIELDS, MAX_HEAD_BYTES, MAX_LINE_BYTES, Refusal
from tests.support.loopguard import nothing_blocks_the_loop
from tests.support.waiting import eventually
from tests.support.witness import LOOPBACK, exchange, statuses, witnessing

__all__ = ["nothing_blocks_the_loop"]

GET = b"GET / HTTP/1.1\r\nHost: edge\r\n"
POST = b"POST / HTTP/1.1\r\nHost: edge\r\n"
CHUNKS = POST + b"Transfer-Encoding: chunked\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: edge\r\n\r\n"

FRAMING = {
    "length and chunked": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two equal lengths": POST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
    "two lengths": POST + b"Content-Length: 1\r\nContent-Length: 40\r\n\r\nx",
    "a list of lengths": POST + b"Content-Length: 1, 1\r\n\r\nx",
    "a plus sign": POST + b"Content-Length: +1\r\n\r\nx",
    "a minus sign": POST + b"Content-Length: -1\r\n\r\nx",
    "no digits": POST + b"Content-Length:\r\n\r\n",
    "a space between digits": POST + b"Content-Length: 1 1\r\n\r\nx",
    "hexadecimal digits": POST + b"Content-Length: 0x1\r\n\r\nx",
    "an underscore between digits": POST + b"Content-Length: 1_0\r\n\r\n0123456789",
    "digits of another script": POST + "Content-Length: ١\r\n\r\nx".encode(),
    "2**63": POST + b"Content-Length: 9223372036854775808\r\n\r\n",
    "2**64 - 1": POST + b"Content-Length: 18446744073709551615\r\n\r\n",
    "2**64": POST + b"Content-Length: 18446744073709551616\r\n\r\n",
    "very many digits": POST + b"Content-Length: " + b"0" * 5000 + b"1\r\n\r\nx",
    "a carriage return behind the length": POST + b"Content-Length: 1\r\r\n\r\nx",
    "a space before the colon of the length": POST + b"Content-Length : 1\r\n\r\nx",
    "gzip": POST + b"Transfer-Encoding: gzip\r\n\r\n",
    "identity": POST + b"Transfer-Encoding: identity\r\n\r\n",
    "chunked twice": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "chunked before gzip": POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "two transfer codings": POST + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two equal transfer codings": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a coding that ends like chunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a coding that begins like chunked": POST + b"Transfer-Encoding: chunkedx\r\n\r\n0\r\n\r\n",
    "chunked with a parameter": POST + b"Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
    "chunked in quotes": POST + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "chunked behind a vertical tab": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "an empty coding": POST + b"Transfer-Encoding:\r\n\r\n",
    "a coding in HTTP/1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
}
LINES = {
    "line feeds": b"GET / HTTP/1.1\nHost: edge\n\n",
    "a line feed after the request line": b"GET / HTTP/1.1\nHost: edge\r\n\r\n",
    "a line feed after a field": GET + b"X: a\nY: b\r\n\r\n",
    "a line feed as the end": GET + b"X: a\r\n\n",
    "a carriage return in a value": GET + b"X: a\rY: b\r\n\r\n",
    "two carriage returns": GET + b"X: a\r\r\n\r\n",
    "a folded line": GET + b"X: a\r\n b\r\n\r\n",
    "a line folded with a tab": GET + b"X: a\r\n\tb\r\n\r\n",
    "a folded first line": b"GET / HTTP/1.1\r\n Host: edge\r\n\r\n",
    "a space before the colon": GET + b"X : a\r\n\r\n",
    "a tab before the colon": GET + b"X\t: a\r\n\r\n",
    "no name": GET + b": a\r\n\r\n",
    "no colon": GET + b"abc\r\n\r\n",
    "NUL in a value": GET + b"X: a\x00b\r\n\r\n",
    "NUL in a name": GET + b"X\x00: a\r\n\r\n",
    "a control character in a value": GET + b"X: a\x01b\r\n\r\n",
    "a bracket in a name": GET + b"X(: a\r\n\r\n",
    "a byte beyond ASCII in a name": GET + b"X\xff: a\r\n\r\n",
    "two empty lines before": b"\r\n\r\n" + GET + b"\r\n",
    "a line feed before": b"\n" + GET + b"\r\n",
    "a carriage return before": b"\r" + GET + b"\r\n",
    "a space before": b" " + GET + b"\r\n",
    "two spaces before the target": b"GET  / HTTP/1.1\r\nHost: edge\r\n\r\n",
    "two spaces after the target": b"GET /  HTTP/1.1\r\nHost: edge\r\n\r\n",
    "tabs for spaces": b"GET\t/\tHTTP/1.1\r\nHost: edge\r\n\r\n",
    "a space after the version": b"GET / HTTP/1.1 \r\nHost: edge\r\n\r\n",
    "a space in the target": b"GET /a b HTTP/1.1\r\nHost: edge\r\n\r\n",
    "NUL in the target": b"GET /\x00 HTTP/1.1\r\nHost: edge\r\n\r\n",
    "a control character in the target": b"GET /\x0c HTTP/1.1\r\nHost: edge\r\n\r\n",
    "a byte beyond ASCII in the target": b"GET /\xff HTTP/1.1\r\nHost: edge\r\n\r\n",
    "a fragment": b"GET /a#b HTTP/1.1\r\nHost: edge\r\n\r\n",
    "a fragment behind a query": b"GET /?a#b HTTP/1.1\r\nHost: edge\r\n\r\n",
    "no slash": b"GET abc HTTP/1.1\r\nHost: edge\r\n\r\n",
    "an asterisk": b"GET * HTTP/1.1\r\nHost: edge\r\n\r\n",
    "another scheme": b"GET ftp://edge/ HTTP/1.1\r\nHost: edge\r\n\r\n",
    "a URL without a host": b"GET http:///a HTTP/1.1\r\nHost: edge\r\n\r\n",
    "a URL with a user": b"GET http://me@edge/ HTTP/1.1\r\nHost: me@edge\r\n\r\n",
    "a very long method": b"G" * 65 + b" / HTTP/1.1\r\nHost: edge\r\n\r\n",
    "a method without an end": b"G" * 900,
    "no method": b" / HTTP/1.1\r\nHost: edge\r\n\r\n",
    "a method that is no token": b"G:ET / HTTP/1.1\r\nHost: edge\r\n\r\n",
    "another protocol": b"GET / RTSP/1.0\r\nHost: edge\r\n\r\n",
    "yet another protocol": b"SOURCE / ICE/1.0\r\nHost: edge\r\n\r\n",
    "a lower-case protocol": b"GET / http/1.1\r\nHost: edge\r\n\r\n",
    "a version of two digits": b"GET / HTTP/1.10\r\nHost: edge\r\n\r\n",
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 not TLS here\r\n\r\n",
}
HOSTS = {
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: edge\r\nHost: other\r\n\r\n",
    "two equal hosts": b"GET / HTTP/1.1\r\nHost: edge\r\nHost: edge\r\n\r\n",
    "a URL and no host": b"GET http://edge/ HTTP/1.1\r\n\r\n",
    "a URL and another host": b"GET http://edge/ HTTP/1.1\r\nHost: other\r\n\r\n",
    **{
        f"host {value!r}": b"GET / HTTP/1.1\r\nHost: " + value + b"\r\n\r\n"
        for value in (
            b"a/b",
            b"a@b",
            b"a, b",
            b"a b",
            b"a?b",
            b"a#b",
            b"a\\b",
            b"\xff",
            b"a:b",
            b"a:123456",
            b"[::1",
            b"[x]",
        )
    },
}
UNSUPPORTED = {
    "CONNECT": (b"CONNECT edge:443 HTTP/1.1\r\nHost: edge:443\r\n\r\n", 501),
    "CONNECT with a path": (b"CONNECT /a HTTP/1.1\r\nHost: edge\r\n\r\n", 501),
    "TRACE": (b"TRACE / HTTP/1.1\r\nHost: edge\r\n\r\n", 501),
    "a coding before chunked": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    "HTTP/0.9": (b"GET / HTTP/0.9\r\nHost: edge\r\n\r\n", 505),
    "HTTP/2.0": (b"GET / HTTP/2.0\r\nHost: edge\r\n\r\n", 505),
    "no version": (b"GET /\r\n\r\n", 505),
}
TOO_LARGE = {
    "a long target": (b"GET /" + b"a" * MAX_LINE_BYTES + b" HTTP/1.1\r\nHost: edge\r\n\r\n", 414),
    "a very long target": (b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\nHost: edge\r\n\r\n", 414),
    "a target without an end": (b"GET /" + b"a" * 100_000, 414),
    "a long value": (GET + b"X: " + b"a" * (MAX_LINE_BYTES + 1) + b"\r\n\r\n", 431),
    "a long name": (GET + b"X" * (MAX_LINE_BYTES + 1) + b": a\r\n\r\n", 431),
    "a value without an end": (GET + b"X: " + b"a" * 100_000, 431),
    "spaces without an end": (GET + b"X: " + b" " * 300_000, 431),
    "too many fields": (GET + b"X: a\r\n" * MAX_FIELDS + b"\r\n", 431),
    "too many bytes": (GET + (b"X: " + b"a" * 8000 + b"\r\n") * (MAX_HEAD_BYTES // 8000 + 1) + b"\r\n", 431),
}
BAD_CHUNKS = {
    "a plus sign": b"+3\r\nabc\r\n0\r\n\r\n",
    "a minus sign": b"-3\r\nabc\r\n0\r\n\r\n",
    "a prefix": b"0x3\r\nabc\r\n0\r\n\r\n",
    "a space before the size": b" 3\r\nabc\r\n0\r\n\r\n",
    "a space after the size": b"3 \r\nabc\r\n0\r\n\r\n",
    "a tab after the size": b"3\t\r\nabc\r\n0\r\n\r\n",
    "no size": b"\r\nabc\r\n0\r\n\r\n",
    "only an extension": b";a\r\nabc\r\n0\r\n\r\n",
    "no digit": b"g\r\nabc\r\n0\r\n\r\n",
    "a size beyond 64 bits": b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    "a size that wraps around": b"10000000000000003\r\nabc\r\n0\r\n\r\n",
    "line feeds": b"3\nabc\n0\n\n",
    "a line feed in an extension": b"3;a\nabc\r\n0\r\n\r\n",
    "a carriage return in an extension": b"3;a\rb\r\nabc\r\n0\r\n\r\n",
    "NUL in an extension": b"3;a\x00b\r\nabc\r\n0\r\n\r\n",
    "a line feed after the data": b"3\r\nabc\n0\r\n\r\n",
    "nothing after the data": b"3\r\nabc0\r\n\r\n",
    "more data than said": b"3\r\nabcd\r\n0\r\n\r\n",
    "less data than said": b"4\r\nabc\r\n0\r\n\r\n",
    "a length as a trailer": b"3\r\nabc\r\n0\r\nContent-Length: 5\r\n\r\n",
    "a coding as a trailer": b"3\r\nabc\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "a folded trailer": b"3\r\nabc\r\n0\r\nX: a\r\n b\r\n\r\n",
    "a trailer without a colon": b"3\r\nabc\r\n0\r\nabc\r\n\r\n",
    "a request for trailers": b"3\r\nabc\r\n0\r\n" + SMUGGLED,
    "a last line feed": b"3\r\nabc\r\n0\r\n\n",
}


def cases(table: dict[str, bytes]) -> list[pytest.ParameterSet]:
    return [pytest.param(sent, id=name) for name, sent in table.items()]


def cases_with_status(table: dict[str, tuple[bytes, int]]) -> list[pytest.ParameterSet]:
    return [pytest.param(sent, status, id=name) for name, (sent, status) in table.items()]


async def assert_refused(sent: bytes, status: int, *, byte_by_byte: bool = False) -> None:
    """One answer, of that status, then the end; and no handler was asked anything."""
    async with witnessing() as witness:
        answer = await exchange(witness.port, sent, byte_by_byte=byte_by_byte)
        assert statuses(answer) == [status]
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b"Content-Type: application/problem+json" in head
        assert b"Connection: close" in head
        assert b"Proxy-Status: edge-1; error=" in head
        assert b"bytearray" not in body
        assert b"smuggled" not in body
        assert witness.asked == []
        assert len(witness.refused) == 1


@pytest.mark.parametrize("sent", [*cases(FRAMING), *cases(LINES), *cases(HOSTS)])
async def test_what_two_readers_could_read_in_two_ways_is_refused(sent: bytes) -> None:
    await assert_refused(sent + SMUGGLED, 400)
    if len(sent) < 1000:
        await assert_refused(sent + SMUGGLED, 400, byte_by_byte=True)


@pytest.mark.parametrize(("sent", "status"), [*cases_with_status(UNSUPPORTED), *cases_with_status(TOO_LARGE)])
async def test_what_is_not_spoken_here_or_too_large_is_refused_with_its_own_status(sent: bytes, status: int) -> None:
    await assert_refused(sent, status)
    if len(sent) < 1000:
        await assert_refused(sent + SMUGGLED, status, byte_by_byte=True)


@pytest.mark.parametrize("chunks", cases(BAD_CHUNKS))
@pytest.mark.parametrize("byte_by_byte", [False, True], ids=["whole", "byte by byte"])
async def test_a_body_that_is_not_well_chunked_breaks_off_and_nothing_follows_it(
    chunks: bytes, byte_by_byte: bool
) -> None:
    async with witnessing() as witness:
        answer = await exchange(witness.port, CHUNKS + chunks + SMUGGLED, byte_by_byte=byte_by_byte)
        assert statuses(answer) == [400]
        assert [asked.body for asked in witness.asked] == [None]
        assert witness.refused == [Refusal.MALFORMED]


async def test_a_reader_learns_that_the_body_broke_with_the_very_piece_that_woke_it() -> None:
    async with witnessing() as witness:
        reader, writer = await asyncio.open_connection(LOOPBACK, witness.port)
        writer.write(CHUNKS + b"1\r\na")
        await eventually(lambda: witness.connections and witness.connections[0]._body.total_bytes == 1)
        await eventually(lambda: witness.connections[0]._body._waiter is not None)
        writer.write(b"\r\nand then nonsense")
        async with asyncio.timeout(10):
            assert statuses(await reader.read()) == [400]
        writer.close()
        assert [asked.body for asked in witness.asked] == [None]


async def test_a_chunked_body_is_the_last_thing_on_its_connection() -> None:
    body = b"3;x=y\r\nabc\r\n003\r\ndef\r\n0\r\nX-Trailer: of the first request\r\n\r\n"
    for byte_by_byte in (False, True):
        async with witnessing() as witness:
            answer = await exchange(witness.port, CHUNKS + body + SMUGGLED, byte_by_byte=byte_by_byte)
            assert statuses(answer) == [200]
            assert b"Connection: close" in answer
            assert [asked.body for asked in witness.asked] == [b"abcdef"]
            assert b"X-Trailer" not in dict(witness.asked[0].fields)


@pytest.mark.parametrize(
    "overhead",
    [b"3;" + b"x" * 100_000 + b"\r\nabc\r\n", b"0" * 100_000 + b"3\r\nabc\r\n", b"1;xxxxxxxxxxxx\r\na\r\n" * 9000],
)
async def test_a_body_may_not_be_mostly_chunk_extensions(overhead: bytes) -> None:
    async with witnessing() as witness:
        assert statuses(await exchange(witness.port, CHUNKS + overhead)) == [413]
        assert [asked.body for asked in witness.asked] == [None]
        assert witness.refused == [Refusal.TOO_LARGE]


async def test_a_body_of_one_byte_chunks_is_a_body() -> None:
    async with witnessing() as witness:
        assert statuses(await exchange(witness.port, CHUNKS + b"1\r\na\r\n" * 20_000 + b"0\r\n\r\n")) == [200]
        assert witness.asked[0].body == b"a" * 20_000


async def test_a_request_within_a_body_is_a_part_of_the_body() -> None:
    sent = POST + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED + GET + b"Connection: close\r\n\r\n"
    for byte_by_byte in (False, True):
        async with witnessing() as witness:
            assert statuses(await exchange(witness.port, sent, byte_by_byte=byte_by_byte)) == [200, 200]
            assert [asked.body for asked in witness.asked] == [SMUGGLED, b""]


@pytest.mark.parametrize("last", [GET + b"Connection: close\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n"])
async def test_nothing_is_taken_after_the_last_request_of_a_connection(last: bytes) -> None:
    async with witnessing() as witness:
        assert statuses(await exchange(witness.port, last + SMUGGLED)) == [200]
        await exchange(witness.port, last + SMUGGLED, byte_by_byte=True)  # it may be cut off before it reads its answer
        assert witness.targets == ["/", "/"]


async def test_requests_before_a_broken_one_are_answered_first() -> None:
    for byte_by_byte in (False, True):
        async with witnessing() as witness:
            sent = GET + b"\r\n" + GET + b"X : a\r\n\r\n" + SMUGGLED
            assert statuses(await exchange(witness.port, sent, byte_by_byte=byte_by_byte)) == [200, 400]
            assert witness.targets == ["/"]


@pytest.mark.parametrize("method", ["FETCH", "get", "X-Y_z!", "PRI", "DESCRIBE", "POSTS", "P"])
async def test_a_method_that_nobody_has_registered_is_a_method(method: str) -> None:
    sent = f"{method} /a HTTP/1.1\r\nHost: edge\r\nContent-Length: 3\r\n\r\nabc".encode()
    again = f"{method} /b HTTP/1.1\r\nHost: edge\r\n\r\n".encode()
    for byte_by_byte in (False, True):
        async with witnessing() as witness:
            answer = await exchange(witness.port, sent + again * 2, byte_by_byte=byte_by_byte, ends=True)
            assert statuses(answer) == [200, 200, 200]
            assert [asked.method for asked in witness.asked] == [method] * 3
            assert [asked.body for asked in witness.asked] == [b"abc", b"", b""]


@pytest.mark.parametrize("upgrade", [b"websocket", b"h2c", b"TLS/1.0"])
async def test_a_wish_for_another_protocol_is_passed_over_and_loses_no_request(upgrade: bytes) -> None:
    wish = b"Connection: Upgrade\r\nUpgrade: " + upgrade + b"\r\n"
    sent = GET + wish + b"\r\n" + POST + wish + b"Content-Length: 3\r\n\r\nabc" + GET + b"Connection: close\r\n\r\n"
    for byte_by_byte in (False, True):
        async with witnessing() as witness:
            assert statuses(await exchange(witness.port, sent, byte_by_byte=byte_by_byte)) == [200, 200, 200]
            assert [asked.body for asked in witness.asked] == [b"", b"abc", b""]


async def test_an_encoded_line_end_is_no_line_end() -> None:
    async with witnessing() as witness:
        sent = b"GET /a%0d%0aX-Evil:%20b HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n"
        answer = await exchange(witness.port, sent)
        assert statuses(answer) == [200]
        assert b"X-Evil" not in answer
        assert witness.targets == ["/a%0d%0aX-Evil:%20b"]
        assert b"X-Evil" not in dict(witness.asked[0].fields)


@pytest.mark.parametrize(
    ("target", "seen"),
    [("http://edge", "/"), ("http://edge/a?b", "/a?b"), ("HTTP://EDGE?b", "/?b"), ("/a//b", "/a//b")],
)
async def test_a_handler_gets_the_path_of_a_whole_url(target: str, seen: str) -> None:
    async with witnessing() as witness:
        sent = f"GET {target} HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n".encode()
        assert statuses(await exchange(witness.port, sent)) == [200]
        assert witness.targets == [seen]


async def test_a_compressed_body_is_taken_as_it_is() -> None:
    bomb = gzip.compress(b"\0" * 1_000_000)
    async with witnessing() as witness:
        head = POST + b"Content-Encoding: gzip\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(bomb)
        assert statuses(await exchange(witness.port, head + bomb)) == [200]
        assert witness.asked[0].body == bomb


@pytest.mark.parametrize("head", [CHUNKS + b"3\r\nab", POST + b"Content-Length: 3\r\n\r\nab"])
async def test_a_body_that_ends_before_its_time_is_told_so_and_keeps_nobody_waiting(head: bytes) -> None:
    async with witnessing() as witness:
        assert statuses(await exchange(witness.port, head, ends=True)) == [400]
        assert [asked.body for asked in witness.asked] == [None]


async def test_requests_sent_ahead_wait_in_the_network_and_not_in_memory() -> None:
    async with witnessing() as witness:
        reader, writer = await asyncio.open_connection(LOOPBACK, witness.port)
        ahead = 200_000
        writer.write(b"GET /gate HTTP/1.1\r\nHost: edge\r\n\r\n" + (GET + b"\r\n") * ahead)
        await eventually(lambda: witness.waiting == 1)
        connection = witness.connections[0]
        await eventually(lambda: connection._buffer_paused)
        assert len(connection._messages) <= 32
        assert len(connection._pending) <= 2**18  # what one read brought
        assert writer.transport.get_write_buffer_size() > 0
        writer.transport.abort()
        del reader


async def test_many_requests_sent_ahead_are_answered_in_order() -> None:
    async with witnessing() as witness:
        ahead = [b"GET /%d HTTP/1.1\r\nHost: edge\r\n\r\n" % number for number in range(500)]
        answer = await exchange(witness.port, b"".join(ahead) + GET + b"Connection: close\r\n\r\n")
        assert statuses(answer) == [200] * 501
        assert witness.targets == [*(f"/{number}" for number in range(500)), "/"]


async def test_a_large_body_behind_a_slow_handler_waits_in_the_network_and_arrives_whole() -> None:
    body = bytes(range(256)) * 4000  # below the application's limit of 1 MiB
    for head, wire in (
        (POST + b"Content-Length: %d\r\n\r\n" % len(body), body),
        (CHUNKS, b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)),
    ):
        async with witnessing() as witness:
            reader, writer = await asyncio.open_connection(LOOPBACK, witness.port)
            writer.write((head + wire).replace(b"POST / ", b"POST /gate ") + GET + b"Connection: close\r\n\r\n")
            await eventually(lambda witness=witness: witness.waiting == 1)  # type: ignore[misc]
            await eventually(lambda witness=witness: witness.connections[0]._reading_paused)  # type: ignore[misc]
            witness.gate.set()
            async with asyncio.timeout(10):
                answer = await reader.read()
            writer.close()
            expected = [200, 200] if head != CHUNKS else [200]
            assert statuses(answer) == expected
            assert witness.asked[0].body == body
            assert [asked.body for asked in witness.asked[1:]] == [b""] * (len(expected) - 1)

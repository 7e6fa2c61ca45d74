"""What a node says to clients that speak oddly: over raw sockets, as they would."""

from __future__ import annotations

import asyncio
import gzip
from urllib.parse import urlsplit

import orjson
import pytest

from tests.conftest import StartEdge


async def exchange(url: str, sent: bytes, *, half_close: bool = False) -> bytes:
    """Send bytes; everything that comes back until the node closes."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        writer.write(sent)
        if half_close:
            writer.write_eof()
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()


def request(line: str, *fields: str, body: bytes = b"") -> bytes:
    return "\r\n".join([line, "Host: edge", "Connection: close", *fields, "", ""]).encode() + body


async def test_a_client_that_has_sent_all_and_closed_its_side_still_gets_its_answer(edge: StartEdge) -> None:
    node = await edge()
    sent = b"GET /healthz HTTP/1.1\r\nHost: edge\r\n\r\n"
    answer = await exchange(node.url, sent, half_close=True)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"}\n")
    two = await exchange(node.url, sent * 2, half_close=True)
    assert two.count(b"HTTP/1.1 200 OK\r\n") == 2


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (request("GET /" + "a" * 10_000 + " HTTP/1.1"), 414),
        (request("GET / HTTP/1.1", "X: " + "a" * 100_000), 431),
        (request("GET / HTTP/1.1", "Bad Header"), 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 not TLS here\r\n\r\n", 400),
        (request("GET / HTTP/1.1", "Content-Length: 1", "Transfer-Encoding: chunked"), 400),
        (request("GET /healthz HTTP/2.0"), 505),
        (request("GET /healthz HTTP/1.1", "Expect: gold"), 417),
        (request("DELETE /healthz HTTP/1.1"), 405),
        (request("GET /nothing HTTP/1.1"), 404),
    ],
)
async def test_what_cannot_be_answered_is_a_problem_document_without_internals(
    edge: StartEdge, sent: bytes, status: int
) -> None:
    node = await edge()
    head, _, body = (await exchange(node.url, sent)).partition(b"\r\n\r\n")
    assert int(head.split()[1]) == status
    assert b"application/problem+json" in head
    assert b"Python" not in head
    problem = orjson.loads(body)
    assert problem["status"] == status
    assert "bytearray" not in problem["detail"]
    assert "Traceback" not in node.logs()


async def test_a_client_that_asks_first_is_told_to_go_on(edge: StartEdge) -> None:
    node = await edge()
    sent = request("POST /v1/views HTTP/1.1", "Expect: 100-continue", "Content-Length: 2", body=b"{}")
    assert (await exchange(node.url, sent)).startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 ")


async def test_a_compressed_body_is_refused_and_fills_no_log(edge: StartEdge, counters_url: str) -> None:
    node = await edge(counters_redis=counters_url)
    for body in (gzip.compress(b"{}"), b"not gzip at all"):
        fields = ("Content-Type: application/json", "Content-Encoding: gzip", f"Content-Length: {len(body)}")
        answer = await exchange(node.url, request("POST /v1/views HTTP/1.1", *fields, body=body))
        assert answer.startswith(b"HTTP/1.1 415 ")
    assert "Traceback" not in node.logs()

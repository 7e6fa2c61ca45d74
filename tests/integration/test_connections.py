"""What a node says to clients that speak oddly: over raw sockets, as they would."""

from __future__ import annotations

import asyncio
import gzip
import resource
from urllib.parse import urlsplit

import orjson
import pytest

from tests.conftest import StartEdge
from tests.support.origin import Script, ScriptedOrigin
from tests.support.witness import statuses


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


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: edge\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: edge\r\n"


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED, [400]),
        (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + SMUGGLED, [501]),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n0x\r\n" + SMUGGLED, [400]),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED, [200]),
        (POST + b"Content-Length: 18446744073709551615\r\n\r\n" + SMUGGLED, [400]),
        (b"GET  /smuggled HTTP/1.1\r\nHost: edge\r\n\r\n", [400]),
        (b"GET http://other/smuggled HTTP/1.1\r\nHost: edge\r\n\r\n", [400]),
        (b"CONNECT smuggled:80 HTTP/1.1\r\nHost: smuggled:80\r\n\r\n", [501]),
        (b"GET /a%0d%0aX-Smuggled:%20b HTTP/1.1\r\nHost: edge\r\n\r\n", [404]),
    ],
)
async def test_what_is_smuggled_reaches_no_origin(edge: StartEdge, sent: bytes, answered: list[int]) -> None:
    async with ScriptedOrigin() as origin:
        # An origin may answer before the body has come, and then that is the answer: here it waits for what is refused.
        origin.objects["/a"] = Script(b"hello", hold=None if answered == [200] else asyncio.Event())
        node = await edge(origin=origin.url, s3_endpoint=None)
        assert statuses(await exchange(node.url, sent, half_close=True)) == answered
        assert origin.count("/smuggled") == 0
        assert not any("smuggled" in name for seen in origin.seen for name in seen.headers)


async def test_a_node_holds_slow_clients_to_its_settings(edge: StartEdge) -> None:
    node = await edge(header_timeout_s=0.3, max_connections=2)
    assert statuses(await exchange(node.url, b"GET / HTTP/1.1\r\nHost: ")) == [408]
    slow = [await asyncio.open_connection(urlsplit(node.url).hostname, urlsplit(node.url).port) for _ in range(4)]
    assert statuses(await exchange(node.url, request("GET /healthz HTTP/1.1"))) == [200]
    for reader, writer in slow:
        assert await reader.read() == b""
        writer.close()


async def test_a_worker_may_open_as_many_files_as_the_system_allows(edge: StartEdge) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 1000), hard))
    try:
        node = await edge()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    for worker in node.worker_pids():
        assert resource.prlimit(worker, resource.RLIMIT_NOFILE)[0] == hard


async def test_an_answer_to_http_1_0_is_told_in_our_version_and_ends_with_the_connection(edge: StartEdge) -> None:
    node = await edge()
    answer = await exchange(node.url, b"GET /healthz HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nConnection: close\r\n" in answer


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

"""What a running edge tells of itself: metrics, access log, Cache-Status, Server-Timing, and that they agree."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import http_sf
import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from deploy.local.ports import free_port
from edge import metrics
from edge.scratch import SHARED_MEMORY
from tests.conftest import StartEdge
from tests.support.edges import Edge
from tests.support.origin import Gate, Script, ScriptedOrigin
from tests.support.waiting import eventually

KEPT = {"Cache-Control": "public, max-age=60"}
PASSED = {"Cache-Control": "private, no-store"}


@pytest.fixture
async def origin() -> AsyncIterator[ScriptedOrigin]:
    async with ScriptedOrigin() as origin:
        origin.objects["/small"] = Script(b"s" * 1_000, headers=KEPT, etag='"1"')
        origin.objects["/large"] = Script(b"l" * 3_000_000, headers=KEPT, etag='"2"')
        origin.objects["/private"] = Script(b"p" * 700, headers=PASSED)
        origin.objects["/sealed"] = Script(b"x" * 10, headers=KEPT)
        yield origin


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(force_close=True)  # so that both workers get some
    async with aiohttp.ClientSession(auto_decompress=False, connector=connector) as session:
        yield session


async def samples(node: Edge, session: aiohttp.ClientSession) -> list[Sample]:
    """All samples, once what has happened is written: the other worker's are up to half a second old."""
    async with session.get(f"{node.admin_url}/metrics") as response:
        text = await response.text()
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


async def scraped(node: Edge, session: aiohttp.ClientSession, name: str, *by: str) -> dict[tuple[str, ...], float]:
    """One metric's values by these labels, zeros left out."""
    found: defaultdict[tuple[str, ...], float] = defaultdict(float)
    for sample in await samples(node, session):
        if sample.name == name and sample.value:
            found[tuple(sample.labels[label] for label in by)] += sample.value
    return dict(found)


def lines(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(text) for text in path.read_bytes().splitlines()] if path.exists() else []


def cache_status(response: aiohttp.ClientResponse) -> list[tuple[str, dict[str, Any]]]:
    found: Any = http_sf.parse(", ".join(response.headers.getall("Cache-Status")).encode(), tltype="list")
    return [(str(name), dict(parameters)) for name, parameters in found]


async def ask(session: aiohttp.ClientSession, method: str, url: str, **headers: str) -> int:
    """Send a request and take its whole answer; how many bytes of body came."""
    async with session.request(method, url, headers=headers) as response:
        return len(await response.read())


async def leave_in_the_middle(session: aiohttp.ClientSession, origin: ScriptedOrigin, node: Edge) -> None:
    """A client that goes after the first bytes of a large body."""
    gate = Gate()
    origin.objects["/slow"] = Script(b"b" * 2_000_000, headers=KEPT, gate=gate)
    gate.open(100_000)
    async with session.get(f"{node.url}/slow") as response:
        await response.content.readany()
    gate.open()


async def leave_before_the_answer(origin: ScriptedOrigin, node: Edge) -> None:
    """A client that goes while the origin is still thinking; rudely, since who only ends his sending may yet read."""
    origin.objects["/late"] = Script(b"b", headers=PASSED, hold=asyncio.Event())
    host, _, port = node.url.removeprefix("http://").partition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /late HTTP/1.1\r\nHost: edge\r\n\r\n")
    await eventually(lambda: origin.count("/late") == 1)
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def all_kinds(session: aiohttp.ClientSession, origin: ScriptedOrigin, node: Edge) -> int:
    """Requests that end in every way; how many there were."""
    asked = 0
    for method, path, headers in (
        *[("GET", "/small", {})] * 6,
        ("GET", "/large", {}),
        ("GET", "/large", {"Range": "bytes=5-1000004"}),
        ("GET", "/small", {"If-None-Match": '"1"'}),
        ("HEAD", "/small", {}),
        ("HEAD", "/private", {}),
        *[("GET", "/private", {})] * 3,
        ("GET", "/missing", {}),
        ("POST", "/small", {}),
        ("GET", "/small", {"Cache-Control": "no-cache"}),
        ("GET", "/never", {"Cache-Control": "only-if-cached"}),
    ):
        await ask(session, method, node.url + path, **headers)
        asked += 1
    await leave_in_the_middle(session, origin, node)
    await leave_before_the_answer(origin, node)
    await eventually(partial(cut_twice, session, node))
    await origin.stop()
    await ask(session, "GET", f"{node.url}/unseen")
    return asked + 3


async def cut_twice(session: aiohttp.ClientSession, node: Edge) -> bool:
    """Whether the edge has noticed that both clients have gone."""
    requests = await scraped(node, session, "smartedu_requests_total", "status")
    outcomes = await scraped(node, session, "smartedu_cache_outcomes_total", "outcome")
    return requests.get(("cut",)) == 2 and outcomes.get(("cut",)) == 1


async def test_the_sums_of_the_metrics_are_the_sums_of_the_access_log(
    edge: StartEdge, origin: ScriptedOrigin, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    log = tmp_path / "access.log"
    node = await edge(origin=origin.url, workers=2, access_log=log)
    asked = await all_kinds(client, origin, node)
    await eventually(lambda: len(lines(log)) == asked)
    said = lines(log)

    outcomes = Counter((one["route"], one["outcome"], one["tier"] or "none") for one in said)
    body_bytes: Counter[tuple[str, ...]] = Counter()
    for one in said:
        body_bytes[one["route"], one["tier"] or "none"] += one["bytes"]
    first_bytes = Counter((one["route"], one["outcome"]) for one in said if one["first_byte_s"] is not None)

    async def agree() -> bool:
        assert await scraped(node, client, "smartedu_cache_outcomes_total", "route", "outcome", "tier") == outcomes
        assert await scraped(node, client, "smartedu_body_bytes_total", "route", "tier") == +body_bytes
        name = "smartedu_time_to_first_byte_seconds_count"
        assert await scraped(node, client, name, "route", "outcome") == first_bytes
        written = {("written",): asked}
        assert await scraped(node, client, "smartedu_access_log_lines_total", "result") == written
        return True

    await eventually(agree)
    assert {one["outcome"] for one in said} >= {"hit", "uri-miss", "method", "error", "cut"}


async def test_the_bytes_of_the_access_log_are_those_that_clients_get(
    edge: StartEdge, origin: ScriptedOrigin, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    log = tmp_path / "access.log"
    node = await edge(origin=origin.url, access_log=log)
    received = []
    for method, path, headers in (
        ("GET", "/small", {}),
        ("GET", "/small", {}),
        ("HEAD", "/small", {}),
        ("GET", "/small", {"If-None-Match": '"1"'}),
        ("GET", "/small", {"Range": "bytes=0-9"}),
        ("GET", "/large", {}),
        ("GET", "/large", {}),
        ("GET", "/large", {"Range": "bytes=100-2000099"}),
        ("GET", "/private", {}),
        ("HEAD", "/private", {}),
    ):
        received.append(await ask(client, method, node.url + path, **headers))
    await eventually(lambda: len(lines(log)) == len(received))
    assert [one["bytes"] for one in lines(log)] == received
    assert {one["end"] for one in lines(log)} == {"whole"}


async def test_what_the_origin_was_asked_for_and_sent_is_what_the_metrics_say(
    edge: StartEdge, origin: ScriptedOrigin, client: aiohttp.ClientSession
) -> None:
    node = await edge(origin=origin.url, workers=2)
    for path in ("/small", "/small", "/large", "/private", "/missing"):
        await ask(client, "GET", node.url + path)

    async def agree() -> bool:
        requests = await scraped(node, client, "smartedu_origin_requests_total", "result")
        assert sum(requests.values()) == len(origin.seen)
        assert requests["4xx",] == 1
        assert await scraped(node, client, "smartedu_origin_bytes_total") == {(): origin.sent_bytes}
        heads = await scraped(node, client, "smartedu_origin_time_to_head_seconds_count")
        assert heads == {(): len(origin.seen)}
        started = await scraped(node, client, "smartedu_fills_started_total")
        ended = await scraped(node, client, "smartedu_fills_ended_total", "result")
        assert sum(started.values()) == sum(ended.values())
        assert ended["passed",] == 1
        return True

    await eventually(agree)


async def test_what_a_second_parent_was_asked_for_after_a_failure_is_counted(
    edge: StartEdge, origin: ScriptedOrigin, client: aiohttp.ClientSession
) -> None:
    gone = f"http://127.0.0.1:{free_port()}"
    node = await edge(origin=(gone, origin.url))
    paths = [f"/{number}" for number in range(20)]
    for path in paths:
        await ask(client, "GET", node.url + path)

    async def agree() -> bool:
        requests = await scraped(node, client, "smartedu_origin_requests_total", "origin", "result")
        retries = await scraped(node, client, "smartedu_origin_retries_total", "origin")
        assert set(retries) == {(origin.url,)}
        assert set(requests) == {(gone, "connection_refused"), (origin.url, "4xx")}
        assert requests[gone, "connection_refused"] >= retries[origin.url,]  # the rest are probes
        assert requests[origin.url, "4xx"] == len(paths)
        assert (await scraped(node, client, "smartedu_origin_breaker_open", "origin")) == {(gone,): 1}
        return True

    await eventually(agree)


async def test_everything_that_metrics_say_is_in_the_table(
    edge: StartEdge, origin: ScriptedOrigin, client: aiohttp.ClientSession, redis_url: str, tmp_path: Path
) -> None:
    node = await edge(
        origin=origin.url, workers=2, redis=redis_url, disk=tmp_path / "disk", access_log=tmp_path / "access.log"
    )
    await all_kinds(client, origin, node)
    suffixes = {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
    table = {row.name + suffix: row for row in metrics.rows() for suffix in suffixes[row.kind]}
    found = await samples(node, client)
    for sample in found:
        assert set(sample.labels) - {"le"} == set(table[sample.name].labels), sample
    assert {row.name for row in metrics.rows() if not row.labels and row.kind != "histogram"} <= {
        sample.name for sample in found
    }


def metrics_of(node: Edge) -> Path:
    """Where a node keeps the files of its metrics: it holds a lock there."""
    opened = (one.readlink() for one in Path(f"/proc/{node.pid}/fd").iterdir())
    return next(one.parent for one in opened if one.name == "node.lock" and one.parent != node.data_dir)


@pytest.mark.skipif(not os.access(SHARED_MEMORY, os.W_OK), reason="no shared memory here: it is on the disk then")
async def test_what_is_mapped_and_written_lies_in_memory_and_goes_with_the_node(edge: StartEdge) -> None:
    node, killed = await edge(), await edge()
    mine, left = metrics_of(node), metrics_of(killed)
    assert {mine.parent, left.parent} == {SHARED_MEMORY}
    assert list(mine.glob("*.db"))
    await killed.kill()
    await node.stop()
    assert not mine.exists()
    await (await edge()).stop()
    assert not left.exists(), "the next node removes what a killed one has left"


async def test_counting_goes_on_when_workers_are_replaced_and_the_files_do_not_grow(
    edge: StartEdge, origin: ScriptedOrigin, client: aiohttp.ClientSession
) -> None:
    node = await edge(origin=origin.url, workers=2)

    def owners() -> set[str]:
        files = metrics_of(node).glob("*.db")
        return {file.stem.rpartition("_")[2] for file in files}

    async def counts(requests: int) -> bool:
        return await scraped(node, client, "smartedu_cache_outcomes_total") == {(): requests}

    async def renewed() -> None:
        before = set(node.worker_pids())
        os.kill(node.pid, signal.SIGHUP)

        def replaced() -> bool:
            now = set(node.worker_pids())
            return len(now) == 2 and not now & before

        await eventually(replaced, 20)

    for counted in range(1, 5):
        await ask(client, "GET", f"{node.url}/small")
        await eventually(partial(counts, counted))
        await renewed()
    # The old workers hold their slots while the new ones start, so there are two pairs, and no more.
    assert owners() <= {"parent", "slot0", "slot1", "slot2", "slot3"}


async def test_secrets_are_nowhere_in_the_log(
    edge: StartEdge, origin: ScriptedOrigin, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    log = tmp_path / "access.log"
    node = await edge(origin=origin.url, access_log=log)
    headers = {"Authorization": "Bearer SECRET", "Cookie": "session=SECRET"}
    for path in ("/small?token=SECRET", "/missing?SECRET", "/private?a=1&sig=SECRET"):
        await ask(client, "GET", node.url + path, **headers)
    await origin.stop()
    await ask(client, "GET", f"{node.url}/unseen?token=SECRET", **headers)
    await eventually(lambda: len(lines(log)) == 4)
    assert "SECRET" not in log.read_text()
    assert "SECRET" not in node.logs()
    assert lines(log)[0]["uri"] == "/small?token=*"


async def test_without_sampled_requests_failures_are_logged_all_the_same(
    edge: StartEdge, origin: ScriptedOrigin, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    log = tmp_path / "access.log"
    node = await edge(origin=origin.url, access_log=log, access_log_sample=0)
    for _ in range(3):
        await ask(client, "GET", f"{node.url}/small")
    await origin.stop()
    await ask(client, "GET", f"{node.url}/unseen")
    await eventually(lambda: lines(log))
    (one,) = lines(log)
    assert (one["uri"], one["status"], one["outcome"], one["sample"]) == ("/unseen", 502, "error", 1.0)


async def test_each_tier_appends_its_member_to_cache_status(
    edge: StartEdge, origin: ScriptedOrigin, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    origin.objects["/told"] = Script(b"t", headers=KEPT | {"Cache-Status": "store; hit"})
    origin.objects["/mistold"] = Script(b"t", headers=KEPT | {"Cache-Status": "HIT from a b"})
    parent = await edge(origin=origin.url, node="parent", data_dir=tmp_path / "parent")
    child = await edge(origin=parent.url, node="child", data_dir=tmp_path / "child")
    for expected in ("fwd", "hit"):
        async with client.get(f"{child.url}/told") as response:
            await response.read()
            found = cache_status(response)
        assert [name for name, _ in found] == ["store", "parent", "child"]
        assert expected in found[-1][1]
        assert str(found[1][1]["fwd"]) == "uri-miss"
        assert not [name for name, said in found if {"hit", "fwd"} <= set(said)]
    async with client.get(f"{child.url}/mistold") as response:
        await response.read()
        assert [name for name, _ in cache_status(response)] == ["parent", "child"]


async def test_key_and_times_are_told_when_asked_for(
    edge: StartEdge, origin: ScriptedOrigin, client: aiohttp.ClientSession
) -> None:
    node = await edge(origin=origin.url, cache_status_key=True, server_timing=True)
    said = []
    for _ in range(40):
        async with client.get(f"{node.url}/small?b=2&a=1") as response:
            await response.read()
            ((_, found),) = cache_status(response)
            parts = (part.partition(";dur=") for part in response.headers["Server-Timing"].split(", "))
            said.append({name: float(milliseconds) for name, _, milliseconds in parts})
    assert found["key"] == "/small?a=1&b=2"
    assert "origin" in said[0]
    assert all(list(times) == ["total"] for times in said[1:])
    assert len({times["total"] for times in said[5:]}) > 1  # each was taken for itself
    quiet = await edge(origin=origin.url, data_dir=node.data_dir.parent / "quiet")
    async with client.get(f"{quiet.url}/small") as response:
        assert "Server-Timing" not in response.headers
        assert "key" not in cache_status(response)[0][1]


async def test_values_of_query_parameters_that_name_objects_are_logged(
    edge: StartEdge, origin: ScriptedOrigin, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    log = tmp_path / "access.log"
    node = await edge(origin=origin.url, access_log=log, query_keys="v")
    await ask(client, "GET", f"{node.url}/small?v=2&token=SECRET")
    await eventually(lambda: lines(log))
    assert lines(log)[0]["uri"] == "/small?v=2"

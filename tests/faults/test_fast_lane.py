"""Clients that are slow, leave, or are met by a drain on the fast lane: none harms another or is miscounted."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import ssl
import struct
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson
import pytest

from edge.connections import Limits
from tests.conftest import StartEdge
from tests.support.edges import Edge
from tests.support.lanes import Identity, Running, running
from tests.support.origin import Script, ScriptedOrigin
from tests.support.visitor import Visitor, visiting
from tests.support.waiting import eventually, eventually_now
from tests.support.wire import LOOPBACK, Wire

KEPT = {"Cache-Control": "public, max-age=3600"}
LARGE = os.urandom(6_000_000)  # more than a kernel takes for a client that does not read
MIDDLE = os.urandom(12_000)  # head and body go out in one piece
SMALL = b"small" * 100
FEW = 8192


@pytest.fixture(params=["plain", "encrypted"])
def identity(request: pytest.FixtureRequest) -> Identity | None:
    return Identity() if request.param == "encrypted" else None


def get(path: str, *fields: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: edge", *fields, "", ""]).encode()


def objects() -> dict[str, Script]:
    return {
        "/large": Script(LARGE, headers=KEPT, etag='"large"'),
        "/middle": Script(MIDDLE, headers=KEPT, etag='"middle"'),
        "/small": Script(SMALL, headers=KEPT, etag='"small"'),
        "/other": Script(b"other", headers=KEPT),
    }


def warmed(here: Running) -> int:
    """How often the lane has served once it knows the objects."""
    here.warm(get("/large"), get("/small"))
    return here.on_the_lane()


def taking(here: Running) -> int:
    """How many requests are in flight, which are the bodies being taken."""
    return here.call(lambda: here.edge.in_flight.count)


def reset(wire: Wire) -> None:
    """Leave without a word."""
    wire._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire._socket.close()


def is_at_rest(here: Running) -> bool:
    """Whether nothing is left of those who were served."""
    lane, guests = here.edge.lane, here.edge.server.guests
    assert lane is not None
    return taking(here) == 0 and lane._unsent_bytes == 0 and lane.has_room and len(guests.takes) == 0


# -- slow readers ------------------------------------------------------------------------------------------------------


def test_bodies_that_are_taken_slowly_are_bounded_in_flight_and_whole_in_the_end(identity: Identity | None) -> None:
    with running(objects(), identity=identity, unsent_bytes=14_000_000) as here:
        before = warmed(here)
        slow = [here.wire(receive_bytes=FEW) for _ in range(6)]
        for number, wire in enumerate(slow, 1):
            wire.send(get("/large"))
            eventually_now(lambda number=number: taking(here) == number)  # type: ignore[misc]
        lane = here.edge.lane
        assert lane is not None
        assert not lane.has_room
        assert lane._unsent_bytes == 3 * len(LARGE)  # the one that fills it up is the last; the others go the full road
        with here.wire() as quick:
            for _ in range(3):
                assert quick.ask(get("/small")).body == SMALL
                assert quick.ask(get("/large")).body == LARGE
        for wire in slow:
            with wire:
                answer = wire.answer()
                assert answer.whole
                assert answer.body == LARGE
                assert wire.ask(get("/small")).body == SMALL
        eventually_now(lambda: is_at_rest(here))
        assert here.on_the_lane() - before == 3 + 3 + 6
        assert here.edge.told.cut_times == 0


def test_a_client_that_takes_nothing_is_cut_and_one_that_takes_a_little_is_not(identity: Identity | None) -> None:
    with running(objects(), identity=identity, limits=Limits(stall_s=1.5)) as here:
        before = warmed(here)
        with here.wire(receive_bytes=FEW) as still, here.wire(receive_bytes=FEW) as slow:
            for wire in (still, slow):
                wire.send(get("/large"))
            eventually_now(lambda: taking(here) == 2)
            came = b""

            def still_is_cut() -> bool:
                nonlocal came
                came += slow._socket.recv(65_536)
                return here.edge.told.cut_times == 1

            eventually_now(still_is_cut)
            slow._came = came
            assert slow.answer().body == LARGE
            answer = still.answer()
            assert not answer.whole
            assert LARGE.startswith(answer.body)
        eventually_now(lambda: is_at_rest(here))
        assert here.on_the_lane() - before == 1
        assert here.edge.told.cut_times == 1


def test_a_client_that_goes_on_asking_while_it_takes_a_body_gets_all_in_order(identity: Identity | None) -> None:
    with running(objects(), identity=identity, limits=Limits(stall_s=5.0)) as here:
        warmed(here)
        with here.wire(receive_bytes=FEW) as wire:
            wire.send(get("/large"))
            eventually_now(lambda: taking(here) == 1)
            for path in ("/large", "/small", "/other", "/small"):
                wire.send(get(path))
            for expected in (LARGE, LARGE, SMALL, b"other", SMALL):
                assert wire.answer().body == expected
            assert wire.ask(get("/small")).body == SMALL
        eventually_now(lambda: is_at_rest(here))
        assert here.edge.told.cut_times == 0


def test_small_answers_to_a_client_that_does_not_read_yet_come_whole_and_in_order(identity: Identity | None) -> None:
    with running(objects(), identity=identity) as here:
        here.warm(get("/middle"), get("/small"))
        before = here.on_the_lane()
        asked: list[bytes] = []
        with here.wire(receive_bytes=FEW) as wire:
            while taking(here) == 0:  # some of them wait in the transport, of one a part
                asked.append(MIDDLE if len(asked) % 3 else SMALL)
                wire.send(get("/middle" if asked[-1] is MIDDLE else "/small"))
                eventually_now(lambda: taking(here) > 0 or here.on_the_lane() - before == len(asked))
            assert len(asked) > 10
            for body in asked:
                assert wire.answer().body == body
            assert wire.ask(get("/small")).body == SMALL
        eventually_now(lambda: is_at_rest(here))
        assert here.on_the_lane() - before == len(asked) + 1
        assert here.edge.told.cut_times == 0


def test_a_connection_is_not_idle_while_its_client_takes_a_body(identity: Identity | None) -> None:
    with running(objects(), identity=identity, keepalive_s=1.5) as here:
        warmed(here)
        with here.wire(receive_bytes=FEW) as slow:
            slow.send(get("/large"))
            eventually_now(lambda: taking(here) == 1)
            with here.wire() as idle:
                for _ in range(3):
                    assert idle.ask(get("/small")).body == SMALL
                assert idle.ends()  # so that the time of an idle connection has passed
            assert slow.answer().body == LARGE
            assert slow.ask(get("/small")).body == SMALL
        assert here.edge.told.cut_times == 0


def test_who_takes_a_body_keeps_his_place(identity: Identity | None) -> None:
    with running(objects(), identity=identity, limits=Limits(connections=2)) as here:
        warmed(here)
        eventually_now(lambda: len(here.edge.server.guests) == 0)
        with here.wire(receive_bytes=FEW) as slow, here.wire() as idle:
            slow.send(get("/large"))
            eventually_now(lambda: taking(here) == 1)
            assert idle.ask(get("/small")).body == SMALL
            with here.wire(receive_bytes=FEW) as newcomer:
                newcomer.send(get("/large"))
                eventually_now(lambda: taking(here) == 2)
                assert idle.ends()
                with here.wire() as too_many:
                    assert too_many.answer().status == 503
                for wire in (slow, newcomer):
                    assert wire.answer().body == LARGE
        eventually_now(lambda: is_at_rest(here))
        assert here.edge.told.cut_times == 0


def test_who_has_all_but_a_little_of_a_body_keeps_his_place_and_is_cut_when_he_stops(identity: Identity | None) -> None:
    with running(objects(), identity=identity, limits=Limits(connections=1, stall_s=3.0)) as here:
        warmed(here)
        with begun_but_for_a_little(here, identity) as slow:
            with here.wire() as too_many:
                assert too_many.answer().status == 503
            eventually_now(lambda: len(here.edge.server.guests) == 0)
            assert not slow.answer().whole
        eventually_now(lambda: is_at_rest(here))


@contextmanager
def begun_but_for_a_little(here: Running, identity: Identity | None) -> Iterator[Wire]:
    """A client that reads nothing of a body, of which all but some tens of kilobytes are in the kernel."""
    little, size = 48_000, 2_000_000
    while size < len(LARGE):
        wire = here.wire(receive_bytes=FEW)
        wire.send(get("/large", f"Range: bytes=0-{size - 1}"))
        assert wire.begins()
        unsent = here.call(
            lambda: [one.transport.get_write_buffer_size() for one in here.edge.server.connections if one.transport]
        )
        if any(unsent):
            assert identity is not None or max(unsent) <= little, "or the kernel takes less than it did a moment ago"
            with wire:
                yield wire
            return
        reset(wire)
        eventually_now(lambda: len(here.edge.server.guests) == 0)
        size += little
    pytest.fail("the kernel takes bodies of any size")


# -- clients that leave ------------------------------------------------------------------------------------------------


def test_a_client_that_resets_in_a_body_is_counted_as_cut(identity: Identity | None) -> None:
    with running(objects(), identity=identity, logs=True) as here:
        before = warmed(here)
        wire = here.wire(receive_bytes=FEW)
        wire.send(get("/large", "User-Agent: leaver"))
        eventually_now(lambda: taking(here) == 1)
        reset(wire)
        eventually_now(lambda: is_at_rest(here))
        assert here.edge.told.cut_times == 1
        assert here.on_the_lane() == before
        _, block, whole = here.edge.told.lines[-1]
        assert (block.user_agent, whole) == ("leaver", False)
        eventually_now(lambda: len(here.edge.server.guests) == 0)


def test_of_a_batch_that_is_cut_what_was_sent_counts_as_sent(identity: Identity | None) -> None:
    with running(objects(), identity=identity) as here:
        before = warmed(here)
        wire = here.wire(receive_bytes=FEW)
        wire.send(get("/small") * 3 + get("/large"))
        eventually_now(lambda: taking(here) == 1)
        assert [wire.answer().body for _ in range(3)] == [SMALL] * 3
        reset(wire)
        eventually_now(lambda: is_at_rest(here))
        assert (here.on_the_lane() - before, here.edge.told.cut_times) == (3, 1)


def test_a_client_that_has_closed_its_side_gets_the_whole_body() -> None:
    with running(objects()) as here:
        before = warmed(here)
        with here.wire(receive_bytes=FEW) as wire:
            wire.send(get("/large"))
            wire.end()
            assert wire.answer().body == LARGE
            assert wire.ends()
        with here.wire(receive_bytes=FEW) as wire:
            wire.send(get("/large"))
            eventually_now(lambda: taking(here) == 1)
            wire.end()
            assert wire.answer().body == LARGE
            assert wire.ends()
        eventually_now(lambda: is_at_rest(here))
        assert (here.on_the_lane() - before, here.edge.told.cut_times) == (2, 0)


def test_an_encrypted_client_that_has_closed_its_side_is_counted_by_what_it_gets() -> None:
    with running(objects(), identity=Identity()) as here:
        before = warmed(here)
        served = cut = 0
        for path, body in (("/small", SMALL), ("/large", LARGE)):
            for at_once in (True, False):
                with here.wire(receive_bytes=FEW) as wire:
                    wire.send(get(path))
                    if not at_once:  # it takes the body, or has it
                        eventually_now(lambda path=path: path == "/small" or taking(here) == 1)  # type: ignore[misc]
                    wire.end()  # TLS has no half-closed connections: what has not left by now does not
                    answer = wire.answer()
                    assert wire.ends()
                assert body.startswith(answer.body)
                served, cut = served + answer.whole, cut + (not answer.whole)
                eventually_now(lambda: is_at_rest(here))
                assert (here.on_the_lane() - before, here.edge.told.cut_times) == (served, cut)
        assert (served, cut) == (2, 2)
        eventually_now(lambda: len(here.edge.server.guests) == 0)


def test_clients_that_ask_for_much_at_once_and_take_it_slowly_get_their_own_and_go_on(
    identity: Identity | None,
) -> None:
    with running(objects(), identity=identity) as here:
        before = warmed(here)
        wires = [here.wire(receive_bytes=FEW) for _ in range(4)]
        for number, wire in enumerate(wires, 1):
            first, last = number * 10_007, 5_000_000 + number
            wire.send(get("/large", f"Range: bytes={first}-{last}") + get("/small") + get("/large"))
        reset(wires.pop())
        for number, wire in enumerate(wires, 1):
            with wire:
                assert wire.answer().body == LARGE[number * 10_007 : 5_000_001 + number]
                assert wire.answer().body == SMALL
                assert wire.answer().body == LARGE
                for _ in range(3):
                    assert wire.ask(get("/small")).body == SMALL
        eventually_now(lambda: is_at_rest(here))
        assert here.on_the_lane() - before >= 3 * 3
        eventually_now(lambda: len(here.edge.server.guests) == 0)


def test_who_takes_a_body_when_the_worker_ends_is_counted_as_cut(identity: Identity | None) -> None:
    with running(objects(), identity=identity) as here:
        before = warmed(here)
        with here.wire(receive_bytes=FEW) as wire:
            wire.send(get("/large"))
            eventually_now(lambda: taking(here) == 1)
            here.run(here.edge.runner.cleanup())
            assert (here.on_the_lane() - before, here.edge.told.cut_times) == (0, 1)
            answer = wire.answer()
            assert not answer.whole
            assert LARGE.startswith(answer.body)


# -- a real node -------------------------------------------------------------------------------------------------------


@pytest.fixture
async def origin() -> AsyncIterator[ScriptedOrigin]:
    async with ScriptedOrigin() as origin:
        origin.objects.update(objects())
        yield origin


def port_of(node: Edge) -> int:
    return urlsplit(node.url).port or 0


ASKED = (
    ("GET", get("/small"), 200, len(SMALL)),
    ("GET", get("/small", "Range: bytes=0-9"), 206, 10),
    ("GET", get("/small", 'If-None-Match: "small"'), 304, 0),
    ("HEAD", get("/small", method="HEAD"), 200, 0),
    ("GET", get("/large", "Range: bytes=0-99999"), 206, 100_000),
    ("GET", get("/other", "User-Agent: 测试"), 200, 5),
    ("GET", get("/missing"), 404, 16),
)


def ask_often(port: int, times: int) -> None:
    """Each of them so often, one after the other and all at once, on one connection."""
    with Wire(port) as wire:
        for _ in range(times):
            for method, request, status, size in ASKED:
                answer = wire.ask(request, method)
                assert (answer.status, len(answer.body)) == (status, size)
            wire.send(b"".join(request for _, request, _, _ in ASKED))
            for method, _, status, size in ASKED:
                answer = wire.answer(method)
                assert (answer.status, len(answer.body)) == (status, size)


async def counted(visitor: Visitor, node: Edge, name: str, *labels: str) -> Counter[tuple[str, ...]]:
    """A metric's values by these labels, zeros left out."""
    async with visitor.session.get(f"{node.admin_url}/metrics") as response:
        text = await response.text()
    found: Counter[tuple[str, ...]] = Counter()
    for line in text.splitlines():
        if line.startswith(f"{name}{{"):
            said = dict(re.findall(r'(\w+)="([^"]*)"', line))
            found[tuple(said[label] for label in labels)] += int(float(line.split()[-1]))
    return +found


def written(log: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in log.read_bytes().splitlines()] if log.exists() else []


@pytest.mark.parametrize("flags", [{}, {"no_fast_lane": True}], ids=["lane", "no lane"])
@pytest.mark.parametrize("logged", [True, False], ids=["log", "no log"])
async def test_all_counters_agree_with_what_was_asked_also_after_the_workers_end(
    edge: StartEdge, origin: ScriptedOrigin, tmp_path: Path, flags: dict[str, object], *, logged: bool
) -> None:
    log = tmp_path / "access.log"
    node = await edge(origin=origin.url, access_log=log if logged else None, negative_ttl_s=100, **flags)
    times = 30
    await asyncio.to_thread(ask_often, port_of(node), times)
    workers = set(node.worker_pids())
    os.kill(node.pid, signal.SIGHUP)  # what was counted last is told by the worker's last breath
    await eventually(lambda: node.worker_pids() and not workers & set(node.worker_pids()), 20)
    requests = Counter[tuple[str, ...]]()
    for method, _, status, _ in ASKED:
        requests[method, str(status)] += 2 * times
    total = sum(requests.values())
    sent_bytes = 2 * times * sum(size for *_, size in ASKED)
    async with visiting(node.url) as visitor:

        async def agree() -> bool:
            assert await counted(visitor, node, "smartedu_requests_total", "method", "status") == requests
            outcomes = await counted(visitor, node, "smartedu_cache_outcomes_total", "outcome")
            assert sum(outcomes.values()) == total
            assert outcomes["hit",] >= total - 3 * len(ASKED)
            assert sum((await counted(visitor, node, "smartedu_body_bytes_total", "tier")).values()) == sent_bytes
            waits = await counted(visitor, node, "smartedu_time_to_first_byte_seconds_count", "outcome")
            assert sum(waits.values()) == total
            return True

        await eventually(agree)
    if logged:
        lines = written(log)
        assert Counter((one["method"], str(one["status"])) for one in lines) == requests
        assert sum(one["bytes"] for one in lines) == sent_bytes
        assert {one["end"] for one in lines} == {"whole"}
        assert sum(one["range"] == "bytes=0-9" for one in lines) == 2 * times
        assert sum(one["user_agent"] is not None for one in lines) == 2 * times


async def test_a_drain_waits_for_who_takes_a_body_and_it_arrives_whole(
    edge: StartEdge, origin: ScriptedOrigin, tmp_path: Path, identity: Identity | None
) -> None:
    log = tmp_path / "access.log"
    trust = identity.client if identity is not None else None
    node = await edge(origin=origin.url, drain_s=30, access_log=log, **(identity.flags(tmp_path) if identity else {}))

    def begin() -> Wire:
        ask_large(port_of(node), trust)
        wire = Wire(port_of(node), receive_bytes=FEW, trust=trust)
        wire.send(get("/large"))
        return wire

    wire = await asyncio.to_thread(begin)
    async with visiting(node.url) as visitor:
        await eventually(lambda: is_taking(visitor, node))
    os.kill(node.pid, signal.SIGTERM)
    await eventually(lambda: "worker drains" in node.logs())
    with wire:
        answer = await asyncio.to_thread(wire.answer)
    assert answer.whole
    assert answer.body == LARGE
    await node.stop()
    lines = written(log)
    assert [(one["bytes"], one["end"]) for one in lines] == [(len(LARGE), "whole")] * 5


async def test_clients_that_reset_while_a_body_is_written_are_counted_as_cut(
    edge: StartEdge, origin: ScriptedOrigin, tmp_path: Path, identity: Identity | None
) -> None:
    log = tmp_path / "access.log"
    trust = identity.client if identity is not None else None
    node = await edge(origin=origin.url, access_log=log, **(identity.flags(tmp_path) if identity else {}))

    def leave_often() -> None:
        ask_large(port_of(node), trust)
        for _ in range(20):
            wire = Wire(port_of(node), receive_bytes=FEW, trust=trust)
            wire.send(get("/large"))
            wire._socket.recv(1000)
            reset(wire)

    await asyncio.to_thread(leave_often)
    async with visiting(node.url) as visitor:
        await eventually(lambda: is_idle(visitor, node))
    await node.stop()
    assert [one["end"] for one in written(log)] == ["whole"] * 4 + ["cut"] * 20


async def test_an_answer_after_which_we_close_reaches_a_client_that_goes_on_sending(
    edge: StartEdge, origin: ScriptedOrigin, tmp_path: Path, identity: Identity | None
) -> None:
    trust = identity.client if identity is not None else None
    node = await edge(origin=origin.url, **(identity.flags(tmp_path) if identity else {}))

    def ask_and_go_on() -> None:
        ask_large(port_of(node), trust)
        wires = [Wire(port_of(node), receive_bytes=FEW, trust=trust) for _ in range(8)]
        for wire in wires:
            wire.send(get("/large", "Connection: close", "Range: bytes=0-999999"))
            assert wire.begins()
        for wire in wires:
            wire.send(get("/small"))
        for wire in wires:
            with wire:
                assert wire.answer().body == LARGE[:1_000_000]
                assert wire.ends()

    await asyncio.to_thread(ask_and_go_on)
    await node.stop()


@pytest.mark.parametrize("road", ["lane", "short", "full"])
async def test_a_drain_cuts_no_body_however_little_of_it_is_unsent(
    edge: StartEdge, origin: ScriptedOrigin, tmp_path: Path, identity: Identity | None, road: str
) -> None:
    trust = identity.client if identity is not None else None
    flags = identity.flags(tmp_path) if identity else {}
    node = await edge(origin=origin.url, drain_s=30, fast_lane=road == "lane", **flags)
    for_a_handler = ["Upgrade: none"] if road == "full" else []
    taken = taken_by_the_kernel()
    sizes = range(taken - 700_000, taken + 200_000, 50_000)

    def begin() -> list[Wire]:
        ask_large(port_of(node), trust)
        wires = [Wire(port_of(node), receive_bytes=FEW, trust=trust) for _ in sizes]
        for wire, size in zip(wires, sizes, strict=True):
            wire.send(get("/large", f"Range: bytes=0-{size - 1}", *for_a_handler))
        assert all(wire.begins() for wire in wires)
        return wires

    wires = await asyncio.to_thread(begin)
    os.kill(node.pid, signal.SIGTERM)
    await eventually(lambda: "have yet to take" in node.logs())
    for wire, size in zip(wires, sizes, strict=True):
        with wire:
            answer = await asyncio.to_thread(wire.answer)
            assert answer.body == LARGE[:size]
    await node.stop()


def taken_by_the_kernel() -> int:
    """Bytes that it takes at once for a client that does not read."""
    with socket.create_server((LOOPBACK, 0)) as listener, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, FEW)
        client.connect(listener.getsockname())
        server, _ = listener.accept()
        with server:
            server.setblocking(False)
            return server.send(LARGE)


async def test_who_has_not_taken_all_at_the_end_of_a_drain_is_logged_as_cut(
    edge: StartEdge, origin: ScriptedOrigin, tmp_path: Path, identity: Identity | None
) -> None:
    log = tmp_path / "access.log"
    trust = identity.client if identity is not None else None
    node = await edge(origin=origin.url, drain_s=0.5, access_log=log, **(identity.flags(tmp_path) if identity else {}))
    await asyncio.to_thread(ask_large, port_of(node), trust)
    with Wire(port_of(node), receive_bytes=FEW, trust=trust) as wire:
        wire.send(get("/large"))
        async with visiting(node.url) as visitor:
            await eventually(lambda: is_taking(visitor, node))
        await node.stop()
        answer = await asyncio.to_thread(wire.answer)
    assert not answer.whole
    assert [one["end"] for one in written(log)] == ["whole"] * 4 + ["cut"]


def ask_large(port: int, trust: ssl.SSLContext | None) -> None:
    with Wire(port, trust=trust) as wire:
        for _ in range(4):
            assert wire.ask(get("/large")).body == LARGE


async def is_idle(visitor: Visitor, node: Edge) -> bool:
    """Whether no request is in flight, as the node itself says."""
    return await visitor.metric(node.admin_url, "smartedu_in_flight_requests") == 0


async def is_taking(visitor: Visitor, node: Edge) -> bool:
    """Whether one request is in flight, as the node itself says."""
    try:
        return await visitor.metric(node.admin_url, "smartedu_in_flight_requests") == 1
    except aiohttp.ClientError:
        return False

"""The short road of view events: nobody can tell it from the full one, whatever comes meanwhile or goes wrong."""

from __future__ import annotations

import asyncio
import itertools
import random
import socket
import struct
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest

from edge.framing import Refusal
from edge.overload import Overload
from edge.postroad import cut
from tests.support.counting import event
from tests.support.loopguard import nothing_blocks_the_loop  # noqa: F401
from tests.support.posting import Desk, desk
from tests.support.waiting import eventually

UNKNOWN = b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n"


def post(body: bytes = b"", **fields: str) -> bytes:
    """A whole request; one valid event unless said otherwise."""
    body = body or orjson.dumps(event())
    named = {"Host": "a", "Content-Type": "application/json", "Content-Length": str(len(body))}
    named |= {name.replace("_", "-"): value for name, value in fields.items()}
    lines = ["POST /v1/views HTTP/1.1", *map(": ".join, named.items()), "", ""]
    return "\r\n".join(lines).encode() + body


class Talk:
    """A connection, byte for byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """The next one: status, fields, body."""
        async with asyncio.timeout(20):
            first, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
            fields = dict(line.split(": ", 1) for line in lines)
            length = int(fields.get("Content-Length", 0))
            return int(first.split(" ")[1]), fields, await self._reader.readexactly(length)

    async def ended(self) -> bool:
        """Whether nothing more comes."""
        async with asyncio.timeout(20):
            return await self._reader.read() == b""


@asynccontextmanager
async def talk(here: Desk) -> AsyncIterator[Talk]:
    reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
    try:
        yield Talk(reader, writer)
    finally:
        writer.close()


@asynccontextmanager
async def silent_disk(here: Desk) -> AsyncIterator[threading.Event]:
    """A disk that does not answer until the event is set, or this is left."""
    disk = threading.Event()
    for _ in range(2):  # the journal's threads
        here.journal._executor.submit(disk.wait)
    try:
        yield disk
    finally:
        disk.set()


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk(tmp_path) as made:
        yield made


@pytest.mark.parametrize("origin", [{}, {"Origin": "https://school.example"}])
@pytest.mark.parametrize("body", [b"", b'{"events":[{},7]}', b'{"events":[]}', b"{", b"[]"])
async def test_both_roads_give_the_same_answer(tmp_path: Path, origin: dict[str, str], body: bytes) -> None:
    answers = []
    for road in (True, False):
        async with desk(tmp_path / str(road), short=road) as here, talk(here) as client:
            for _ in range(3):  # the first one makes the head known
                client.writer.write(post(body, **origin))
                status, fields, text = await client.answer()
                answers.append((status, [(n, v) for n, v in fields.items() if n != "Date"], text))
    assert all(answer == answers[0] for answer in answers)


@pytest.mark.parametrize("short", [True, False])
async def test_an_origin_that_no_browser_sends_is_not_repeated(tmp_path: Path, short: bool) -> None:
    async with desk(tmp_path, short=short) as here, talk(here) as client:
        for _ in range(2):
            client.writer.write(post(Origin="https://school.example").replace(b"school", b"\xff\xfe"))
            status, fields, _ = await client.answer()
            assert (status, fields["Access-Control-Allow-Origin"]) == (202, "*")
            assert "Access-Control-Allow-Credentials" not in fields


async def test_a_known_head_with_a_body_of_another_length_is_known_too(here: Desk) -> None:
    async with talk(here) as client:
        for number in (1, 2, 200, 3):
            body = orjson.dumps({"events": [event() for _ in range(number)]})
            client.writer.write(post(body))
            status, _, text = await client.answer()
            assert (status, orjson.loads(text)["accepted"]) == (202, number)
    assert here.total() == 206


async def test_answers_have_the_order_of_their_requests_however_they_come(here: Desk) -> None:
    stream = (post() + UNKNOWN + post(b"{") + post()) * 3
    wanted = [202, 404, 400, 202] * 3
    for size in (len(stream), 7, 100, len(post())):
        async with talk(here) as client:
            for start in range(0, len(stream), size):
                client.writer.write(stream[start : start + size])
                await asyncio.sleep(0)
            assert [(await client.answer())[0] for _ in wanted] == wanted


async def test_what_comes_while_events_wait_for_the_disk_is_answered_after_them(here: Desk) -> None:
    async with talk(here) as client:
        client.writer.write(post())
        await client.answer()
        async with silent_disk(here) as disk:
            client.writer.write(post())
            await eventually(lambda: here.in_flight.count == 1)
            behind = UNKNOWN + post() + UNKNOWN
            client.writer.write(behind)
            await eventually(lambda: [one._pending for one in here.connections] == [behind])
            assert here.in_flight.count == 1
            disk.set()
            assert [(await client.answer())[0] for _ in range(4)] == [202, 404, 202, 404]
    await eventually(lambda: here.in_flight.count == 0)


async def test_a_client_that_leaves_has_been_counted_and_is_in_flight_no_more(here: Desk) -> None:
    async with silent_disk(here) as disk:
        async with talk(here) as client:
            client.writer.write(post())
            await eventually(lambda: here.in_flight.count == 1)
            at_once = struct.pack("ii", 1, 0)  # a mere end could mean that it only sends no more
            client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        await eventually(lambda: not here.connections)
        disk.set()
        await eventually(lambda: here.in_flight.count == 0)
    assert here.total() == 1


async def test_a_client_that_says_no_more_hears_the_answer(here: Desk) -> None:
    async with silent_disk(here) as disk, talk(here) as client:
        client.writer.write(post())
        await eventually(lambda: here.in_flight.count == 1)
        client.writer.write_eof()
        await eventually(lambda: [one._half_closed for one in here.connections] == [True])
        disk.set()
        assert (await client.answer())[0] == 202
        assert await client.ended()


@pytest.mark.parametrize("known", [False, True])
async def test_a_disk_that_does_not_answer_is_told_of_and_one_that_comes_back_is_asked_again(
    tmp_path: Path, known: bool
) -> None:
    async with desk(tmp_path, append_timeout_s=1.5) as here, talk(here) as client:
        if known:
            client.writer.write(post())
            await client.answer()
        async with silent_disk(here) as disk:
            client.writer.write(post() + UNKNOWN)
            assert [(await client.answer())[0] for _ in range(2)] == [504, 404]
            client.writer.write(post())
            await eventually(lambda: here.in_flight.count == 1)
            await eventually(lambda: not any(one._posting for one in here.connections))  # the short road has given up
            disk.set()
            assert (await client.answer())[0] == 202
        await eventually(lambda: here.in_flight.count == 0)


async def test_a_connection_whose_events_wait_for_the_disk_does_not_idle(tmp_path: Path) -> None:
    async with desk(tmp_path, keepalive_s=0.2) as here, talk(here) as client:
        client.writer.write(post())
        await client.answer()
        async with silent_disk(here) as disk:
            client.writer.write(post())
            await eventually(lambda: here.in_flight.count == 1)
            (connection,) = here.connections
            times: set[float] = set()

            def is_looked_after() -> bool:
                times.add(connection._next_keepalive_close_time)
                return len(times) > 3 or connection.transport is None

            await eventually(is_looked_after)
            disk.set()
            assert (await client.answer())[0] == 202


class Counting(Overload):
    """Counts how often it is asked for a place."""

    asked = 0
    verdict: Refusal | None = None

    def full(self) -> Refusal | None:
        self.asked += 1
        return self.verdict


@pytest.mark.parametrize("verdict", [None, Refusal.OVERLOAD])
@pytest.mark.parametrize("body", [b"", b"{"], ids=["taken", "for a handler"])
async def test_each_post_asks_once_whether_there_is_room(tmp_path: Path, verdict: Refusal | None, body: bytes) -> None:
    load = Counting(max_in_flight=100, loop=asyncio.get_running_loop())
    async with desk(tmp_path, overload=load) as here, talk(here) as client:
        for _ in range(2):
            client.writer.write(post())
            assert (await client.answer())[0] == 202
        before, load.verdict = load.asked, verdict
        client.writer.write(post(body))
        assert (await client.answer())[0] == (503 if verdict else 202 if not body else 400)
        assert load.asked == before + 1
    load.stop()


async def test_a_post_that_the_disk_did_not_confirm_is_not_turned_away_afterwards(tmp_path: Path) -> None:
    load = Counting(max_in_flight=100, loop=asyncio.get_running_loop())
    async with desk(tmp_path, append_timeout_s=1.5, overload=load) as here, talk(here) as client:
        for _ in range(2):
            client.writer.write(post())
            await client.answer()
        async with silent_disk(here):
            client.writer.write(post())
            await eventually(lambda: here.in_flight.count == 1)
            load.verdict = Refusal.OVERLOAD
            assert (await client.answer())[0] == 504
    load.stop()


async def test_in_a_drain_the_answer_is_the_last_on_its_connection(here: Desk) -> None:
    async with silent_disk(here) as disk, talk(here) as client, talk(here) as other:
        client.writer.write(post())
        await eventually(lambda: here.in_flight.count == 1)
        here.in_flight.draining = True
        disk.set()
        status, fields, _ = await client.answer()
        assert (status, fields["Connection"]) == (202, "close")
        assert await client.ended()
        other.writer.write(post())
        status, fields, _ = await other.answer()
        assert (status, fields["Connection"]) == (202, "close")


async def test_a_client_that_goes_on_sending_in_a_drain_gets_its_last_answer_and_no_reset(here: Desk) -> None:
    async with silent_disk(here) as disk, talk(here) as client:
        client.writer.write(post())
        await eventually(lambda: here.in_flight.count == 1)
        client.writer.write(post() * 100)
        await client.writer.drain()
        here.in_flight.draining = True
        drained = asyncio.create_task(here.in_flight.wait_empty(20))
        await asyncio.sleep(0)  # it waits
        disk.set()
        status, fields, _ = await client.answer()
        assert (status, fields["Connection"]) == (202, "close")
        assert not drained.done(), "the connection is still being ended"
        assert await client.ended()
        client.writer.close()
        assert await drained
    assert here.total() == 1


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: \r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 007\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1234567\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: +7\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 7, 7\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: ７\r\n\r\n".encode(),
        b"POST / HTTP/1.1\r\nContent-Length: ",
        b"",
    ],
)
def test_only_a_length_that_is_written_plainly_is_cut_out_of_a_head(head: bytes) -> None:
    assert cut(head) == (b"", 0)


def test_heads_that_differ_in_their_length_only_have_one_frame() -> None:
    one, other = (f"POST / HTTP/1.1\r\nContent-Length: {n}\r\nHost: a\r\n\r\n".encode() for n in (7, 99_999))
    assert cut(one).frame == cut(other).frame != b""
    assert (cut(one).length, cut(other).length) == (7, 99_999)
    assert cut(one.replace(b"Host: a", b"Host: b")).frame != cut(one).frame


def odd_body(chance: random.Random) -> bytes:
    """A body that may be right, nearly right, or nothing at all."""
    events: list[object] = [
        event(chance.choice(["lesson-1", "", "课", "x" * 65]), chance.choice(["view", "visit", "watch", "?"]))
        for _ in range(chance.choice([0, 1, 1, 1, 3, 501]))
    ]
    whole = chance.choice(
        [orjson.dumps({"events": events}), *map(orjson.dumps, events), b"[]", b"null", b"{}", b"[" * 99]
    )
    match chance.randrange(4):
        case 0:
            place = chance.randrange(len(whole) + 1)
            return whole[:place] + chance.randbytes(chance.randrange(3)) + whole[place + chance.randrange(3) :]
        case 1:
            return whole + b" " * chance.choice([0, 10, 66_000, 263_000])
        case _:
            return whole


def odd_fields(chance: random.Random) -> dict[str, str]:
    """Fields that may matter."""
    every = {
        "Content-Type": ["application/json", "text/plain;charset=UTF-8", "text/html", "Application/JSON ; a=b"],
        "Content-Encoding": ["gzip"],
        "Origin": ["https://school.example", "null"],
        "Expect": ["100-continue"],
        "User-Agent": ["Baiduspider/2.0", "Mozilla/5.0"],
        "Connection": ["close", "keep-alive"],
        "X-Forwarded-For": ["198.51.100.1"],
    }
    return {name: chance.choice(values) for name, values in every.items() if chance.random() < 0.12}


async def test_whatever_comes_both_roads_answer_alike_and_write_the_same_events(tmp_path: Path) -> None:
    chance = random.Random(5)
    async with desk(tmp_path / "short") as short, desk(tmp_path / "full", short=False) as full:
        for _ in range(1000):
            request = post(odd_body(chance) or b" ", **odd_fields(chance))
            cuts = sorted(chance.choices(range(len(request)), k=chance.choice([0, 0, 1, 3])))
            answers = []
            for here in (short, full):
                async with talk(here) as client:
                    for start, end in itertools.pairwise([0, *cuts, len(request)]):
                        client.writer.write(request[start:end])
                        await client.writer.drain()
                    status, fields, text = await client.answer()
                    if status == 100:
                        status, fields, text = await client.answer()
                    fields.pop("Date")
                    answers.append((status, fields, text))
            assert answers[0] == answers[1], request[:300]
        assert short.written() == full.written()
        assert short.total() > 50

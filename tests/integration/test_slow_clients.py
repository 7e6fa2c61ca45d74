"""Clients that take their time, by fate or by intent: they are bounded in time and number, and harm nobody else."""

from __future__ import annotations

import asyncio
import resource
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import pytest
import trustme

from edge.connections import Limits
from edge.framing import Refusal
from tests.support.loopguard import nothing_blocks_the_loop
from tests.support.waiting import eventually
from tests.support.witness import LOOPBACK, Witness, exchange, statuses, witnessing

__all__ = ["nothing_blocks_the_loop"]

GET = b"GET / HTTP/1.1\r\nHost: edge\r\n\r\n"
GATE = b"GET /gate HTTP/1.1\r\nHost: edge\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: edge\r\nContent-Length: 100000\r\n\r\n"
SOON = Limits(header_s=0.2, body_idle_s=0.2)
SLOW_CLIENTS = 10_000


# Opens connections that begin a request and never end it, says so, and holds them until its input ends.
BESIEGER = """
import resource, socket, sys
port, count = int(sys.argv[1]), int(sys.argv[2])
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
opened = []
for _ in range(count):
    opened.append(socket.create_connection(("127.0.0.1", port)))
    opened[-1].send(b"GET / HTTP/1.1\\r\\nHost: edge\\r\\nX-Slow: ")
print("all", flush=True)
sys.stdin.read()
print(sum(slow.recv(65536).startswith(b"HTTP/1.1 408 ") for slow in opened if len(sys.argv) > 3))
"""


class Client:
    """One connection whose bytes we send as we like."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def rest(self) -> bytes:
        """All that comes until the server closes, or cuts off what it does not listen to any more."""
        received = b""
        async with asyncio.timeout(10):
            with suppress(ConnectionResetError):
                while piece := await self.reader.read(65536):
                    received += piece
        return received

    async def one(self) -> bytes:
        """One answer of a witness."""
        async with asyncio.timeout(10):
            return await self.reader.readuntil(b"seen")


Connect = Callable[..., Awaitable[Client]]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """`client = await connect(witness, b"GET ")`; closed after the test."""
    clients: list[Client] = []

    async def connect(witness: Witness, sent: bytes = b"") -> Client:
        client = Client(*await asyncio.open_connection(LOOPBACK, witness.port))
        client.writer.write(sent)
        clients.append(client)
        return client

    yield connect
    for client in clients:
        client.writer.close()
        with suppress(ConnectionError):
            await client.writer.wait_closed()


@asynccontextmanager
async def besieged(witness: Witness, count: int, *flags: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """So many clients that begin a request and never end it, in a process of their own."""
    with all_descriptors():
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            BESIEGER,
            str(witness.port),
            str(count),
            *flags,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        try:
            assert await process.stdout.readline() == b"all\n"
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            await eventually(lambda: len(witness.server.guests) == 0, within_s=30)


@contextmanager
def all_descriptors() -> Iterator[None]:
    """Let this process open as many files as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    "partial", [b"G", b"GET / HTTP/1.1\r\nHost: edge\r\n", b"GET / HTTP/1.1\r\nHost: edge\r\nX: " + b"a" * 5000]
)
async def test_a_head_that_does_not_arrive_in_time_is_answered_408(connect: Connect, partial: bytes) -> None:
    async with witnessing(limits=SOON) as witness:
        answer = await (await connect(witness, partial)).rest()
        assert statuses(answer) == [408]
        assert b"Connection: close" in answer
        assert b"application/problem+json" in answer
        assert witness.asked == []
        assert witness.refused == [Refusal.SLOW]


async def test_a_connection_on_which_nothing_was_asked_is_closed_without_a_word(connect: Connect) -> None:
    async with witnessing(limits=SOON) as witness:
        assert await (await connect(witness)).rest() == b""
        assert await (await connect(witness, b"\r\n")).rest() == b""
        assert witness.refused == []


async def test_sending_a_little_now_and_then_gives_no_more_time(connect: Connect) -> None:
    async with witnessing(limits=SOON) as witness:
        client = await connect(witness, b"GET / HTTP/1.1\r\n")
        ended = asyncio.create_task(client.rest())
        while not ended.done():
            client.writer.write(b"X: a\r\n")
            await asyncio.wait([ended], timeout=0.02)
        assert statuses(await ended) in ([408], [])  # one who keeps sending may be cut off before reading it
        assert witness.refused == [Refusal.SLOW]


async def test_the_second_head_of_a_connection_has_its_time_too_and_idling_has_more(connect: Connect) -> None:
    async with witnessing(limits=SOON) as witness:
        client = await connect(witness, GET)
        await client.one()
        silent = await connect(witness)
        assert await silent.rest() == b""  # as long as a head may take has passed meanwhile
        client.writer.write(GET)
        await client.one()
        client.writer.write(GET[:20])
        assert statuses(await client.rest()) == [408]


async def test_a_late_second_head_is_answered_after_the_first_request(connect: Connect) -> None:
    async with witnessing(limits=SOON) as witness:
        client = await connect(witness, GATE + GET[:20])
        await eventually(lambda: witness.refused == [Refusal.SLOW])
        witness.gate.set()
        assert statuses(await client.rest()) == [200, 408]


@pytest.mark.parametrize(
    "head", [POST, b"POST / HTTP/1.1\r\nHost: edge\r\nTransfer-Encoding: chunked\r\n\r\n"], ids=["length", "chunks"]
)
async def test_a_body_that_stops_arriving_is_answered_408(connect: Connect, head: bytes) -> None:
    async with witnessing(limits=SOON) as witness:
        assert statuses(await (await connect(witness, head + b"3\r\nab")).rest()) == [408]
        assert [asked.body for asked in witness.asked] == [None]
        assert witness.refused == [Refusal.SLOW]


async def test_a_body_that_trickles_is_given_up_and_one_that_makes_progress_is_not(connect: Connect) -> None:
    async with witnessing(limits=Limits(body_idle_s=0.3, body_portion=1000)) as witness:
        trickling, flowing = await connect(witness, POST), await connect(witness, POST)
        ended = asyncio.create_task(trickling.rest())
        while not ended.done():
            trickling.writer.write(b"a")
            flowing.writer.write(b"a" * 1000)
            await asyncio.wait([ended], timeout=0.05)
        assert statuses(await ended) == [408]
        assert [asked.body for asked in witness.asked] == [None, None]  # the other one's handler still reads
        flowing.writer.write(b"a" * 100_000)
        assert statuses(await flowing.one()) == [200]


async def test_a_client_that_we_keep_waiting_is_not_late(connect: Connect) -> None:
    async with witnessing(limits=SOON) as witness:
        body = b"a" * 1_000_000
        head = b"POST /gate HTTP/1.1\r\nHost: edge\r\nContent-Length: %d\r\n\r\n" % len(body)
        patient = await connect(witness, head + body)
        await eventually(lambda: witness.waiting == 1)
        for _ in range(3):
            assert await (await connect(witness)).rest() == b""  # the time of a body has passed, too
        witness.gate.set()
        assert statuses(await patient.one()) == [200]
        assert witness.asked[0].body == body


async def test_an_encrypted_connection_that_does_not_begin_in_time_is_closed(connect: Connect) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority = trustme.CA()
    authority.issue_cert("edge").configure_cert(tls)
    async with witnessing(limits=SOON, tls=tls) as witness:
        for begun in (b"", b"\x16\x03\x01\x02\x00"):
            assert await (await connect(witness, begun)).rest() == b""
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)
        reader, writer = await asyncio.open_connection(LOOPBACK, witness.port, ssl=trusting, server_hostname="edge")
        writer.write(LAST)
        assert statuses(await reader.read()) == [200]
        writer.close()


async def test_the_longest_idle_connection_makes_room_for_a_new_one(connect: Connect) -> None:
    async with witnessing(limits=Limits(connections=3)) as witness:
        clients = [await connect(witness, GET) for _ in range(3)]
        for client in clients:
            await client.one()
        clients[0].writer.write(GET)
        await clients[0].one()  # so the second one is idle longest
        newcomer = await connect(witness, GET)
        await newcomer.one()
        assert await clients[1].rest() == b""
        for client in (clients[0], clients[2], newcomer):
            client.writer.write(GET)
            await client.one()
        assert len(witness.server.guests) == 3
        assert witness.refused == []


async def test_a_connection_that_never_asked_makes_room_too(connect: Connect) -> None:
    async with witnessing(limits=Limits(connections=2)) as witness:
        slow, busy = await connect(witness, GET[:10]), await connect(witness, GATE)
        await eventually(lambda: witness.waiting == 1)
        newcomer = await connect(witness, GET)
        await newcomer.one()
        assert await slow.rest() == b""
        witness.gate.set()
        await busy.one()


async def test_a_newcomer_is_refused_when_all_connections_are_being_served(connect: Connect) -> None:
    async with witnessing(limits=Limits(connections=2)) as witness:
        busy = [await connect(witness, GATE) for _ in range(2)]
        await eventually(lambda: witness.waiting == 2)
        answer = await exchange(witness.port, b"")
        assert statuses(answer) == [503]
        assert b"Retry-After: " in answer
        assert b"Connection: close" in answer
        assert witness.refused == [Refusal.CONNECTIONS]
        witness.gate.set()
        for client in busy:
            await client.one()
        newcomer = await connect(witness, LAST)
        assert statuses(await newcomer.rest()) == [200]
        await eventually(lambda: len(witness.server.guests) == 1)


async def test_nothing_is_remembered_of_connections_that_are_gone(connect: Connect) -> None:
    async with witnessing() as witness:
        for sent in (b"", GET[:10], GET, POST, POST + b"a", GET + GET[:3], b"\n\n"):
            client = await connect(witness, sent)
            await eventually(lambda: len(witness.server.guests) == 1)
            client.writer.transport.abort()
            await eventually(lambda: len(witness.server.guests) == 0)
        assert len(witness.server.guests.heads) == len(witness.server.guests.bodies) == 0
        assert not witness.server.guests._idle


async def test_ten_thousand_slow_clients_keep_nobody_from_being_served() -> None:
    places = SLOW_CLIENTS - 100
    async with witnessing(limits=Limits(header_s=60.0, connections=places)) as witness:
        async with besieged(witness, SLOW_CLIENTS):
            await eventually(lambda: len(witness.server.guests) == places, within_s=30)
            for _ in range(20):
                assert statuses(await exchange(witness.port, LAST)) == [200]
        assert witness.targets == ["/"] * 20
        assert witness.refused == []


async def test_slow_clients_that_are_all_late_at_once_keep_nobody_from_being_served() -> None:
    async with witnessing(limits=Limits(header_s=1.0)) as witness, besieged(witness, 500, "count") as besieging:
        while len(witness.refused) < 500:
            assert statuses(await exchange(witness.port, LAST)) == [200]
        assert set(witness.refused) == {Refusal.SLOW}
        told, _ = await besieging.communicate(b"")
        assert told == b"500\n"

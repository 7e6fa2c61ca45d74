"""The edge's reading of requests beside another reader's: whenever a handler is asked, h11 must have read the same.

Bytes are made from the grammar of good requests and then spoiled. They go into the real connection protocol of the real
server, through a transport in memory, in one piece, byte by byte, and cut anywhere. Nothing of the three may differ:
what handlers were asked, what was refused, the statuses of the answers. What the edge takes, h11 (a strict parser that
shares no line with llhttp) must take in the same way: method, target, fields, body, and where the next request begins.
Refusing more than h11 does is the edge's right, except for what was made without a fault.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import h11
import pytest
from aiohttp import web
from hypothesis import HealthCheck, example, given, note, settings
from hypothesis import strategies as st

from edge.framing import Refusal
from edge.listening import EdgeRunner
from tests.support.witness import statuses

EXAMPLES = 350  # of the hardest property: about five seconds


@dataclass(slots=True)
class Asked:
    """One request as a reader has understood it; body None where it turned out to be broken or never ended."""

    method: str
    target: str
    fields: list[tuple[bytes, bytes]]
    body: bytes | None


@dataclass(slots=True)
class Reading:
    """What came of some bytes."""

    asked: list[Asked] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)


class MemoryTransport(asyncio.Transport):
    """A connection whose other side is this test."""

    def __init__(self, protocol: asyncio.Protocol, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._protocol = protocol
        self._loop = loop
        self._closing = False
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """The server says its last word; the client hears it and closes, too."""
        self._loop.call_soon(self._protocol.eof_received)

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self._protocol.connection_lost, None)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def is_reading(self) -> bool:
        return True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Edge:
    """The real server, asked without a network."""

    def __init__(self, runner: EdgeRunner, refused: list[Refusal]) -> None:
        self._runner = runner
        self._refused = refused
        self.asked: list[Asked] = []

    async def handle(self, request: web.Request) -> web.Response:
        """What every handler does: note, and read the body."""
        asked = Asked(request.method, request.raw_path, [*request.raw_headers], None)
        self.asked.append(asked)
        asked.body = await request.read()
        return web.Response(text="seen")

    async def read(self, pieces: list[bytes]) -> Reading:
        """Let the pieces arrive one after the other, then the end."""
        self.asked.clear()
        self._refused.clear()
        assert self._runner.server is not None
        protocol = self._runner.server()
        transport = MemoryTransport(protocol, asyncio.get_running_loop())
        protocol.connection_made(transport)
        for piece in pieces:
            if transport.is_closing():
                break
            protocol.data_received(piece)
            await settle(4)
        await settle(20)
        if not transport.is_closing() and not end(protocol):
            transport.close()
        await settle(20)
        transport.close()
        await settle(4)
        return Reading([*self.asked], [*self._refused], statuses(transport.written))


async def pass_over(_request: web.Request) -> None:
    """What is made of an Expect field: nothing."""


def end(protocol: asyncio.Protocol) -> bool:
    """The client's side has ended; whether the connection stays open for answers."""
    return bool(protocol.eof_received())


async def settle(turns: int) -> None:
    """Give whoever is ready so many turns of the event loop."""
    for _ in range(turns):
        await asyncio.sleep(0)


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def edge(loop: asyncio.Runner) -> Iterator[Edge]:
    application = web.Application()
    refused: list[Refusal] = []
    runner = EdgeRunner(application, on_refused=refused.append, access_log=None, handler_cancellation=True)
    found = Edge(runner, refused)
    application.router.add_route("*", "/{path:(?s:.*)}", found.handle, expect_handler=pass_over)
    loop.run(runner.setup())
    yield found
    loop.run(runner.cleanup())


def by_h11(sent: bytes) -> list[Asked]:
    """The same bytes as h11 reads them, up to the first that it refuses."""
    found: list[Asked] = []
    rest: bytes | None = sent
    while rest:
        # h11 takes no empty line before a request; a server should take one (RFC 9112, 2.2).
        asked, rest = one_by_h11(rest.removeprefix(b"\r\n"))
        found += asked
    return found


def one_by_h11(sent: bytes) -> tuple[list[Asked], bytes | None]:
    """The first request, if it is one, and what follows it; None where nothing may."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=128 * 1024)
    connection.receive_data(sent)
    connection.receive_data(b"")
    found: list[Asked] = []
    body = b""
    try:
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Request):
                fields = [(bytes(name), bytes(value)) for name, value in event.headers]
                found.append(Asked(event.method.decode(), event.target.decode(), fields, None))
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            else:
                return found, None
    except h11.RemoteProtocolError:
        return found, None
    found[0].body = body
    connection.send(h11.Response(status_code=404, headers=[(b"content-length", b"0")]))
    connection.send(h11.EndOfMessage())
    return found, connection.trailing_data[0] if connection.our_state is h11.DONE else None


# -- the grammar of good requests ------------------------------------------------------------------------------------

TOKEN = st.text("abcXYZ019-_!~", min_size=1, max_size=8).map(str.encode)
VALUE = st.text('abc XYZ,;="()/09\t', max_size=12).map(lambda text: text.strip().encode())
TARGET = st.one_of(
    st.text("/ab.%2F?=&-_~:@", max_size=20).map(lambda text: b"/" + text.encode()),
    st.sampled_from([b"/", b"//", b"/a?b=c&d", b"/%0d%0aX:%20y"]),
)
METHOD = st.sampled_from([b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH"])
RESERVED = {b"content-length", b"transfer-encoding", b"host", b"connection", b"upgrade", b"expect"}
FIELD = st.tuples(st.one_of(TOKEN, st.sampled_from([b"Accept", b"X-Forwarded-For", b"TE"])), VALUE).filter(
    lambda line: line[0].lower() not in RESERVED
)
EXTENSION = st.sampled_from([b"", b"", b";a", b";a=b", b';a="b;c"'])


@st.composite
def chunked(draw: st.DrawFn) -> bytes:
    """A chunked body."""
    parts = draw(st.lists(st.binary(min_size=1, max_size=20), max_size=3))
    wire = b"".join(b"%x%b\r\n%b\r\n" % (len(part), draw(EXTENSION), part) for part in parts)
    trailers = b"".join(b"%b: %b\r\n" % line for line in draw(st.lists(FIELD, max_size=1)))
    return wire + b"0" + draw(EXTENSION) + b"\r\n" + trailers + b"\r\n"


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """One good request."""
    lines = [
        b"Host: edge",
        *(b"%b:%b%b" % (name, draw(OWS), value) for name, value in draw(st.lists(FIELD, max_size=3))),
    ]
    kind = draw(st.sampled_from(["none", "none", "length", "chunks"]))
    body = b""
    if kind == "length":
        body = draw(st.binary(max_size=30))
        lines.append(b"Content-Length: %d" % len(body))
    elif kind == "chunks":
        body = draw(chunked())
        lines.append(draw(st.sampled_from([b"Transfer-Encoding: chunked", b"transfer-encoding:Chunked"])))
    lines = draw(st.permutations(lines))
    if draw(st.integers(0, 9)) == 0:
        lines.append(b"Connection: close")
    return b"%b %b HTTP/1.1\r\n" % (draw(METHOD), draw(TARGET)) + b"\r\n".join([*lines, b"", b""]) + body


OWS = st.sampled_from([b"", b" ", b" \t "])
STREAMS = st.lists(requests(), min_size=1, max_size=3).map(b"".join)

# -- and how to spoil them -------------------------------------------------------------------------------------------

SIGNS = b'\r \n \t \0 \x0b \x7f \x80 : , ; 0 1 f + - _ # \\ " * @ ( 0x'.split(b" ")
WORDS = (
    b"HTTP/1.0|HTTP/1.1| HTTP/1.1|RTSP/1.0|http://edge|http://x/|chunked|gzip|CONNECT| |\r\n|\r\n\r\n|0\r\n\r\n".split(
        b"|"
    )
)
LINES = [
    b"\r\nTransfer-Encoding: chunked",
    b"\r\nContent-Length: 3",
    b"\r\nHost: x",
    b"\r\n X",
    b"\r\nConnection: close",
    b"\r\nUpgrade: h2c",
    b"\r\nConnection: upgrade\r\nUpgrade: websocket",
    b"\r\nExpect: 100-continue",
    b"GET /smuggled HTTP/1.1\r\nHost: edge\r\n\r\n",
]
SPOIL = st.sampled_from([*SIGNS, *WORDS, *LINES])


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    """Good requests with up to three faults."""
    wire = draw(STREAMS)
    for _ in range(draw(st.integers(1, 3))):
        at, until = sorted((draw(st.integers(0, len(wire))), draw(st.integers(0, len(wire)))))
        match draw(st.sampled_from(["insert", "insert", "replace", "drop", "cut", "again"])):
            case "insert":
                wire = wire[:at] + draw(SPOIL) + wire[at:]
            case "replace":
                wire = wire[:at] + draw(SPOIL) + wire[at + 1 :]
            case "drop":
                wire = wire[:at] + wire[at + 1 :]
            case "cut":
                wire = wire[:at] + wire[min(until, at + 20) :]
            case "again":
                wire = wire[:until] + wire[at:until] + wire[until:]
    return wire


def cut(data: st.DataObject, wire: bytes) -> list[bytes]:
    places = sorted(data.draw(st.sets(st.integers(0, len(wire)), max_size=6)))
    return [wire[start:end] for start, end in zip([0, *places], [*places, len(wire)], strict=True) if end > start]


def normal(fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """h11 tells names in lower case, and `chunked` likewise."""
    return [(name.lower(), value.lower() if name.lower() == b"transfer-encoding" else value) for name, value in fields]


def path_of(target: str) -> str:
    """To a gateway `http://edge/a` is `/a`."""
    lower = target.lower()
    if not lower.startswith(("http://", "https://")):
        return target
    rest = target[target.index("//") + 2 :]
    cut_at = min((place for place in (rest.find("/"), rest.find("?")) if place >= 0), default=len(rest))
    rest = rest[cut_at:]
    return rest if rest.startswith("/") else "/" + rest


def assert_h11_agrees(reading: Reading, sent: bytes) -> None:
    """Every request that a handler was asked is the one that h11 has at that place."""
    reference = by_h11(sent)
    note(f"edge: {reading}")
    note(f"h11: {reference}")
    assert len(reading.asked) <= len(reference)
    for ours, theirs in zip(reading.asked, reference, strict=False):
        assert (ours.method, ours.target) == (theirs.method, path_of(theirs.target))
        assert normal(ours.fields) == normal(theirs.fields)
        if ours.body is not None:
            assert ours.body == theirs.body
        else:
            assert ours is reading.asked[-1]


QUICK = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])


POST = b"POST / HTTP/1.1\r\nHost: edge\r\nTransfer-Encoding: "


@settings(QUICK, max_examples=EXAMPLES)
@given(wire=spoiled(), data=st.data())
@example(wire=b"GET  / HTTP/1.1\r\nHost: edge\r\n\r\n", data=None)
@example(wire=b"GET / RTSP/1.0\r\nHost: edge\r\n\r\n", data=None)
@example(wire=POST + b"gzip, chunked\r\n\r\n0\r\n\r\n", data=None)
@example(wire=POST + b"chunked\r\n\r\n0\r\nX: y\r\n\r\nGET / HTTP/1.1\r\nHost: edge\r\n\r\n", data=None)
def test_what_handlers_are_asked_is_what_h11_reads_however_it_was_cut(
    edge: Edge, loop: asyncio.Runner, wire: bytes, data: Any
) -> None:
    whole = loop.run(edge.read([wire]))
    assert_h11_agrees(whole, wire)
    bytewise = loop.run(edge.read([wire[at : at + 1] for at in range(len(wire))]))
    assert bytewise == whole
    if data is not None:
        assert loop.run(edge.read(cut(data, wire))) == whole


@settings(QUICK, max_examples=150)
@given(
    fields=st.lists(FIELD, max_size=3),
    line=st.one_of(TARGET.map(lambda target: b"GET %b HTTP/1.1" % target), st.lists(SPOIL, max_size=4).map(b"".join)),
    spoil=st.one_of(st.just(b""), SPOIL),
)
@example(fields=[], line=b"HEAD / HTTP/1.0", spoil=b"")
@example(fields=[], line=b"CONNECT edge:443 HTTP/1.1", spoil=b"")
@example(fields=[], line=b"GET http://other/ HTTP/1.1", spoil=b"")
@example(fields=[], line=b"", spoil=b"")
def test_a_header_section_known_from_the_last_request_is_read_like_any_other(
    edge: Edge, loop: asyncio.Runner, fields: list[tuple[bytes, bytes]], line: bytes, spoil: bytes
) -> None:
    known = b"\r\n" + b"".join(b"%b: %b\r\n" % field for field in [(b"Host", b"edge"), *fields]) + b"\r\n"
    first, second = b"GET / HTTP/1.1" + known, line + spoil + known
    reading = loop.run(edge.read([first, second, first]))
    assert_h11_agrees(reading, first + second + first)
    assert reading == loop.run(edge.read([first + second + first]))


@settings(QUICK, max_examples=100)
@given(wire=STREAMS)
def test_what_is_made_without_a_fault_is_taken(edge: Edge, loop: asyncio.Runner, wire: bytes) -> None:
    reading = loop.run(edge.read([wire]))
    assert_h11_agrees(reading, wire)
    assert reading.refused == []
    assert set(reading.answered) == {200}
    # A chunked request is the last one that the edge takes from a connection.
    expected = by_h11(wire)
    chunks = [number for number, asked in enumerate(expected) if b"transfer-encoding" in dict(asked.fields)]
    assert len(reading.asked) == (chunks[0] + 1 if chunks else len(expected))


@settings(QUICK, max_examples=150)
@given(wire=st.one_of(st.binary(max_size=200), st.lists(SPOIL, max_size=12).map(b"".join)), data=st.data())
def test_noise_is_never_taken_for_more_than_h11_takes_it_for(
    edge: Edge, loop: asyncio.Runner, wire: bytes, data: st.DataObject
) -> None:
    whole = loop.run(edge.read([wire]))
    assert_h11_agrees(whole, wire)
    assert loop.run(edge.read(cut(data, wire))) == whole

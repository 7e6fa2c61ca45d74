"""An origin that is slow, dies, lies or talks nonsense, before a real node: what clients see, and what stays.

Each time: the right status or a body that is visibly cut, nothing wrong stored, bounded memory; and the next request
to an origin that is well again gets the right bytes, from the same processes.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import count

import pytest
import pytest_asyncio

from tests.support.edges import Edge, start_edge
from tests.support.processes import most_resident_mib
from tests.support.raw_origin import End, Raw, RawOrigin, response
from tests.support.visitor import Answer, Visitor, visiting

pytestmark = pytest.mark.asyncio(loop_scope="module")

BODY = hashlib.shake_256(b"origin faults").digest(300_000)
OTHER = BODY[::-1]
MAY_GROW_MIB = 32
"""What a worker may hold more at any moment than after its start: a few bodies, but no flood."""
FRESH = "Cache-Control: max-age=600"
STALE = ("Cache-Control: max-age=10, stale-if-error=6000", "Age: 50")
CHUNKED = f"HTTP/1.1 200 OK\r\n{FRESH}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
MIB = b"a" * 1024 * 1024
TOO_LARGE = "http_response_header_section_size"


def digest_of(body: bytes) -> str:
    return f"Repr-Digest: sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"


def head(*lines: str, status: str = "200 OK") -> bytes:
    return "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", FRESH, *lines, "")).encode()


def announced(length: int, *lines: str) -> bytes:
    return head(f"Content-Length: {length}", *lines)


def chunk(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)


GOOD = Raw([response(BODY, "200 OK", FRESH)])


@dataclass
class Scene:
    """One node, the origin before it, and a client."""

    node: Edge
    origin: RawOrigin
    visitor: Visitor
    idle_mib: float
    numbers: count[int]

    def says(self, *answers: Raw) -> None:
        """From now on the origin answers so, the last one again and again."""
        self.origin.answers[:] = answers
        self.origin.asked.clear()

    def fresh_path(self) -> str:
        return f"/{next(self.numbers)}"

    async def ask(self, path: str) -> Answer:
        return await self.visitor.ask(path)

    def grown_mib(self) -> float:
        (pid,) = self.node.worker_pids()
        return most_resident_mib(pid) - self.idle_mib

    async def recovers(self, path: str) -> None:
        """The origin is well again: its bytes arrive, are kept, and nothing else was."""
        self.says(GOOD)
        for _ in range(2):
            answer = await self.ask(path)
            assert (answer.status, answer.whole, answer.digest) == (200, True, hashlib.sha256(BODY).hexdigest())
        assert len(self.origin.asked) == 1
        assert self.grown_mib() < MAY_GROW_MIB


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with RawOrigin(GOOD) as origin:
        flags = {
            "origin": origin.url,
            "origin_first_byte_s": 0.5,
            "origin_idle_s": 0.5,
            "memory": "32MiB",
        }
        node = await start_edge(tmp_path_factory.mktemp("node"), flags, {})
        try:
            async with visiting(node.url) as visitor:
                for path in range(20):
                    assert (await visitor.ask(f"/warm/{path}")).body == BODY
                yield Scene(node, origin, visitor, most_resident_mib(node.worker_pids()[0]), count())
        finally:
            await node.stop()


# -- heads -----------------------------------------------------------------------------------------------------------

HEAD_FAULTS = {
    "says nothing": (Raw([], End.STALL), 504, "connection_read_timeout"),
    "half a head, then nothing": (Raw([head("X: y")[:-4]], End.STALL), 504, "connection_read_timeout"),
    "closes": (Raw([], End.CLOSE), 502, "connection_terminated"),
    "resets": (Raw([], End.RESET), 502, "connection_terminated"),
    "half a head, then closes": (Raw([head("X: y")[:-4]], End.CLOSE), 502, "http_response_incomplete"),
    "no status line": (Raw([b"220 mail.example ESMTP\r\n\r\n"]), 502, "http_protocol_error"),
    "binary": (Raw([bytes(range(256)) * 40 + b"\r\n\r\n"], End.CLOSE), 502, "http_protocol_error"),
    "a line without a colon": (Raw([head("Garbage", "Content-Length: 2") + b"ok"]), 502, "http_protocol_error"),
    "a zero byte in a value": (Raw([head("X: a\0b", "Content-Length: 2") + b"ok"]), 502, "http_protocol_error"),
    "a space in a name": (Raw([head("X y: z", "Content-Length: 2") + b"ok"]), 502, "http_protocol_error"),
    "no number for a length": (Raw([head("Content-Length: many") + b"ok"]), 502, "http_protocol_error"),
    "a negative length": (Raw([head("Content-Length: -2") + b"ok"]), 502, "http_protocol_error"),
    "two lengths": (Raw([head("Content-Length: 2", "Content-Length: 3") + b"ok!"]), 502, "http_protocol_error"),
    "a field of 10 MB": (Raw([head("X: y")[:-4], *[MIB] * 10]), 502, TOO_LARGE),
    "10 MB of fields": (Raw([head("X: y")[:-2], *[b"X: y\r\n" * 150_000] * 11]), 502, TOO_LARGE),
    "interim answers without end": (Raw([b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n" * 100_000]), 502, "http_"),
    "304 that nobody asked for": (Raw([b'HTTP/1.1 304 Not Modified\r\nETag: "7"\r\n\r\n']), 502, "http_protocol_error"),
    "206 that nobody asked for": (
        Raw([head("Content-Range: bytes 0-1/9", "Content-Length: 2", status="206 Partial Content") + b"ok"]),
        502,
        "http_protocol_error",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", HEAD_FAULTS)
async def test_a_head_that_is_late_or_wrong_is_a_clean_error_with_its_name_and_nothing_is_kept(
    scene: Scene, fault: str
) -> None:
    path = scene.fresh_path()
    answer, status, named = HEAD_FAULTS[fault]
    scene.says(answer)
    for said in await scene.visitor.ask_often(3, path):
        assert (said.status, said.whole, said.headers["Content-Type"]) == (status, True, "application/problem+json")
        assert f"error={named}" in said.headers["Proxy-Status"]
    assert len(scene.origin.asked) <= 6
    await scene.recovers(path)


async def test_whatever_is_wrong_with_the_head_a_stale_response_in_its_window_stands_in_with_its_age(
    scene: Scene,
) -> None:
    for answer, _, _ in HEAD_FAULTS.values():
        path = scene.fresh_path()  # failures in a row would have it left alone, and hide the fault
        scene.says(Raw([response(BODY, "200 OK", *STALE, 'ETag: "1"')]))
        assert (await scene.ask(path)).body == BODY
        scene.says(answer)
        said = await scene.ask(path)
        assert scene.origin.asked
        assert (said.status, said.whole, said.body) == (200, True, BODY)
        assert 50 <= said.age_s < 110
        scene.says(Raw([response(OTHER, "200 OK", FRESH)]))
        assert (await scene.ask(path)).body == OTHER


async def test_304_for_another_validator_than_the_stored_ones_is_not_believed_and_the_whole_is_asked_for(
    scene: Scene,
) -> None:
    path = scene.fresh_path()
    scene.says(Raw([response(BODY, "200 OK", *STALE, 'ETag: "1"')]))
    await scene.ask(path)
    scene.says(
        Raw([b'HTTP/1.1 304 Not Modified\r\nETag: "2"\r\n\r\n']), Raw([response(OTHER, "200 OK", FRESH, 'ETag: "2"')])
    )
    said = await scene.ask(path)
    assert (said.status, said.whole, said.body, said.headers["ETag"]) == (200, True, OTHER, '"2"')
    assert [asked.lines("if-none-match") for asked in scene.origin.asked] == [[b'"1"'], []]
    assert (await scene.ask(path)).body == OTHER
    assert len(scene.origin.asked) == 2


# -- bodies ----------------------------------------------------------------------------------------------------------

HALF = BODY[:150_000]
BODY_FAULTS = {
    "closed in the body": Raw([announced(len(BODY)) + HALF], End.CLOSE),
    "reset in the body": Raw([announced(len(BODY)) + HALF], End.RESET),
    "stopped in the body": Raw([announced(len(BODY)) + HALF], End.STALL),
    "one byte short": Raw([announced(len(BODY)) + BODY[:-1]], End.CLOSE),
    "chunks closed in a chunk": Raw([CHUNKED + chunk(HALF) + b"ffff\r\n" + BODY[150_000:160_000]], End.CLOSE),
    "chunks closed between two": Raw([CHUNKED + chunk(HALF)], End.CLOSE),
    "chunks closed before the last line": Raw([CHUNKED + chunk(BODY) + b"0\r\n"], End.CLOSE),
    "chunks that stop": Raw([CHUNKED + chunk(HALF)], End.STALL),
    "a chunk without its size": Raw([CHUNKED + chunk(HALF) + b"size\r\n" + BODY[150_000:] + b"\r\n0\r\n\r\n"]),
    "a chunk larger than its size": Raw([CHUNKED + b"10\r\n" + BODY]),
    "no length, reset": Raw([head() + HALF], End.RESET),
    "fewer bytes announced than its digest is of": Raw([announced(len(HALF), digest_of(BODY)) + HALF]),
    "another body than its digest is of": Raw([announced(len(BODY), digest_of(OTHER)) + BODY]),
    "chunks of another body than its digest is of": Raw(
        [head("Transfer-Encoding: chunked", digest_of(OTHER)) + chunk(BODY) + b"0\r\n\r\n"]
    ),
}


@pytest.mark.parametrize("fault", BODY_FAULTS)
async def test_a_body_that_goes_wrong_is_cut_for_everyone_and_never_whole_nor_kept(scene: Scene, fault: str) -> None:
    path = scene.fresh_path()
    scene.says(BODY_FAULTS[fault])
    for said in await scene.visitor.ask_often(5, path):
        assert (said.status, said.whole) == (200, False)
        assert BODY.startswith(said.body)
    asked = len(scene.origin.asked)
    assert (await scene.ask(path)).whole is False
    assert len(scene.origin.asked) > asked, "what broke off was kept"
    await scene.recovers(path)


@pytest.mark.parametrize("fault", [name for name in BODY_FAULTS if "digest" not in name])
async def test_a_body_past_the_cache_that_goes_wrong_is_cut_as_well(scene: Scene, fault: str) -> None:
    path = scene.fresh_path()
    pieces = [piece for piece in BODY_FAULTS[fault].pieces if isinstance(piece, bytes)]
    unshared = [piece.replace(FRESH.encode(), b"Cache-Control: no-store") for piece in pieces]
    scene.says(Raw(unshared, BODY_FAULTS[fault].end))
    for _ in range(2):  # as the leader of a flight, then past all flights
        for said in await scene.visitor.ask_often(3, path):
            assert (said.status, said.whole) == (200, False)
            assert BODY.startswith(said.body)
    scene.says(GOOD)
    assert (await scene.ask(path)).body == BODY


async def test_what_comes_beyond_the_announced_length_is_in_nobodys_response(scene: Scene) -> None:
    first, second = scene.fresh_path(), scene.fresh_path()
    scene.says(Raw([announced(len(HALF)) + HALF + response(b"poison", "200 OK", FRESH)]), GOOD)
    said = await scene.ask(first)
    assert (said.status, said.whole, said.body) == (200, True, HALF)
    assert (await scene.ask(second)).body == BODY
    assert scene.origin.asked[0].connection != scene.origin.asked[1].connection


async def test_a_body_that_trickles_reaches_its_clients_byte_by_byte_and_is_kept_when_it_is_whole(
    scene: Scene,
) -> None:
    path, body = scene.fresh_path(), BODY[:40]
    steps = [asyncio.Event() for _ in body]
    trickle = [piece for step, byte in zip(steps, body, strict=True) for piece in (step, bytes([byte]))]
    scene.says(Raw([announced(len(body)), *trickle]))
    get, url = scene.visitor.session.get, scene.node.url + path
    async with get(url) as one, get(url) as other:
        for step, byte in zip(steps, body, strict=True):
            step.set()
            assert await one.content.readexactly(1) == await other.content.readexactly(1) == bytes([byte])
        assert await one.read() == await other.read() == b""
    assert (await scene.ask(path)).body == body
    assert len(scene.origin.asked) == 1


async def test_a_new_version_that_breaks_off_leaves_the_stale_one_to_stand_in(scene: Scene) -> None:
    path = scene.fresh_path()
    scene.says(Raw([response(BODY, "200 OK", *STALE, 'ETag: "1"')]))
    await scene.ask(path)
    scene.says(Raw([announced(len(OTHER), 'ETag: "2"') + OTHER[:1000]], End.CLOSE))
    said = await scene.ask(path)
    assert (said.status, said.whole) == (200, False)
    assert OTHER.startswith(said.body)
    scene.says(Raw([], End.CLOSE))
    said = await scene.ask(path)
    assert (said.status, said.whole, said.body, said.headers["ETag"]) == (200, True, BODY, '"1"')
    assert said.age_s >= 50
    scene.says(Raw([response(OTHER, "200 OK", FRESH, 'ETag: "2"')]))
    for _ in range(2):
        assert (await scene.ask(path)).body == OTHER
    assert len(scene.origin.asked) == 1

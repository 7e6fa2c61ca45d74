"""Bodies in pages: the same bytes by every road, given back when their value goes, and never changed under a client."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from edge.answers import ONE_PIECE_BYTES, PAGED_BYTES
from edge.cache.model import CacheKey
from edge.cache.pages import Pages
from edge.cache.purge import Kind, PurgeRecord, Scope
from edge.listening import Transport
from tests.support.lanes import Identity, Running, running
from tests.support.origin import Script
from tests.support.waiting import eventually_now
from tests.support.wire import Wire

KEPT = {"Cache-Control": "public, max-age=3600"}
SEGMENT = random.Random(1).randbytes(480_000)
LARGE = random.Random(2).randbytes(6_000_000)
FEW = 4096
WAYS: dict[str, dict[str, Any]] = {
    "uvloop": {"transport": Transport.UVLOOP},
    "aiofastnet": {"transport": Transport.AIOFASTNET},
    "encrypted": {"identity": Identity()},
}


def get(path: str, *fields: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: edge", *fields, "", ""]).encode()


def script(body: bytes) -> Script:
    return Script(body, headers=KEPT, etag='"1"')


def in_pages(here: Running, path: str) -> Pages | None:
    slot = here.edge.memory.slot(CacheKey(path))
    return None if slot is None else slot.pages


def made_hot(here: Running, request: bytes) -> None:
    """Asked for until its body has been moved into pages, and once more."""
    path = request.split(b" ")[1].decode()
    with here.wire() as wire:

        def moved() -> bool:
            for _ in range(3):
                wire.ask(request)
            here.on_the_lane()
            return in_pages(here, path) is not None

        eventually_now(moved)
        wire.ask(request)


@pytest.mark.parametrize("way", WAYS)
def test_what_is_sent_out_of_pages_is_what_was_stored(way: str) -> None:
    with running({"/a": script(SEGMENT)}, **WAYS[way]) as here, here.wire() as wire:
        made_hot(here, get("/a"))
        before = here.on_the_lane()
        for _ in range(3):
            assert wire.ask(get("/a")).body == SEGMENT
        assert here.on_the_lane() == before + 3
        for first, last in ((0, 99_999), (1, 400_000), (123_456, 479_999), (70_000, 70_009)):
            for _ in range(4):
                answer = wire.ask(get("/a", f"Range: bytes={first}-{last}"))
                assert (answer.status, answer.body) == (206, SEGMENT[first : last + 1])
                here.on_the_lane()
        assert wire.ask(get("/a", method="HEAD"), "HEAD").field("content-length") == b"480000"
        wire.send(get("/a") * 3)
        assert [wire.answer().body for _ in range(3)] == [SEGMENT] * 3
        assert here.origin.count("/a") == 1


def test_the_other_roads_read_pages_too() -> None:
    with running({"/a": script(SEGMENT)}) as here, Wire(here.port) as wire:
        made_hot(here, get("/a"))
        full_road = get("/a", "Cache-Control: max-stale=1", "Content-Length: 0")
        assert wire.ask(full_road).body == SEGMENT
        answer = wire.ask(get("/a", "Range: bytes=5-300004", 'If-Range: "1"', "Content-Length: 0"))
        assert answer.body == SEGMENT[5:300_005]
        assert wire.ask(get("/a", "Cache-Control: no-cache")).body == SEGMENT  # a 304, and the body as it was


def test_a_body_and_its_parts_lie_in_the_same_pages_and_nowhere_else() -> None:
    parts = ((0, 99_999), (1, 400_000), (50_000, 79_999), (7, 8))
    with running({"/a": script(SEGMENT)}) as here, Wire(here.port) as wire:
        for first, last in parts:  # so often that they are kept
            for _ in range(3):
                wire.ask(get("/a", f"Range: bytes={first}-{last}"))
        here.warm(get("/a"))
        made_hot(here, get("/a"))
        wire.ask(get("/a", "Range: bytes=100-70099"))
        wire.ask(get("/a", "Range: bytes=100-70099"))

        def bodies() -> set[int]:
            assert here.edge.lane is not None
            large = [answer for answer in here.edge.lane._answers if answer.bytes > ONE_PIECE_BYTES]
            assert len(large) == 5
            assert all((answer.pages is not None) == (answer.bytes >= PAGED_BYTES) for answer in large)
            return {id(memoryview(answer.body).obj) for answer in large}

        pages = in_pages(here, "/a")
        assert pages is not None
        assert here.call(bodies) == {id(pages.view.obj)}
        for first, last in (*parts, (100, 70_099)):
            assert wire.ask(get("/a", f"Range: bytes={first}-{last}")).body == SEGMENT[first : last + 1]
        assert wire.ask(get("/a")).body == SEGMENT


@pytest.mark.parametrize("way", WAYS)
def test_a_body_that_goes_while_a_client_takes_it_arrives_whole(way: str) -> None:
    with running({"/a": script(LARGE), "/b": script(LARGE[::-1])}, **WAYS[way]) as here:
        made_hot(here, get("/a"))
        with here.wire(receive_bytes=FEW) as slow:
            slow.send(get("/a"))
            eventually_now(lambda: here.edge.in_flight.count == 1)
            here.run(here.edge.engine.purge(PurgeRecord("id", Scope.ALL, "", Kind.HARD, time.time(), "edge-1")))
            assert in_pages(here, "/a") is None
            made_hot(here, get("/b"))  # whatever is free is used again
            answer = slow.answer()
            assert answer.whole
            assert answer.body == LARGE
            assert slow.ask(get("/b")).body == LARGE[::-1]


@pytest.mark.parametrize("way", WAYS)
def test_a_client_that_takes_little_does_not_hold_up_others_and_gets_all_in_order(way: str) -> None:
    with running({"/a": script(SEGMENT)}, **WAYS[way]) as here, here.wire(receive_bytes=FEW) as slow:
        made_hot(here, get("/a"))
        for _ in range(8):
            slow.send(get("/a"))
        with here.wire() as quick:
            for _ in range(3):
                assert quick.ask(get("/a")).body == SEGMENT
        assert [slow.answer().body for _ in range(8)] == [SEGMENT] * 8


def test_what_replaces_a_body_in_pages_is_sent_in_its_place() -> None:
    with running({"/a": script(SEGMENT)}) as here, Wire(here.port) as wire:
        made_hot(here, get("/a"))
        here.origin.objects["/a"] = Script(SEGMENT[::-1], headers=KEPT, etag='"2"')
        assert wire.ask(get("/a", "Cache-Control: no-cache")).body == SEGMENT[::-1]
        assert in_pages(here, "/a") is None
        made_hot(here, get("/a"))
        assert wire.ask(get("/a")).body == SEGMENT[::-1]

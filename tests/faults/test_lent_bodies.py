"""What slow clients hold of bodies that memory has let go is bounded; nobody is cut off for what memory has anyway."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from edge.cache.model import CacheKey
from tests.support.lanes import Running, running
from tests.support.origin import Script
from tests.support.waiting import eventually_now

BODIES = [random.Random(number).randbytes(6_000_000) for number in range(20)]
SLOW = (0, 1, 2)
FEW = 4096


def get(number: int) -> bytes:
    return f"GET /{number} HTTP/1.1\r\nHost: edge\r\n\r\n".encode()


@pytest.fixture
def here() -> Iterator[Running]:
    """A worker that answers everything by the full road, whose memory has room for ten of the bodies."""
    kept = {"Cache-Control": "public, max-age=3600"}
    objects = {f"/{number}": Script(body, headers=kept) for number, body in enumerate(BODIES)}
    with running(objects, fast_lane=False, lent_bytes=7_000_000) as made:
        yield made


def test_those_who_have_read_longest_what_memory_has_let_go_are_cut_off(here: Running) -> None:
    with here.wire() as quick, here.wire(receive_bytes=FEW) as a, here.wire(receive_bytes=FEW) as b:
        last = here.wire(receive_bytes=FEW)
        slow = (a, b, last)
        for number, wire in zip(SLOW, slow, strict=True):
            assert quick.ask(get(number)).body == BODIES[number]
            wire.send(get(number))
            eventually_now(lambda number=number: len(here.edge.lent) == number + 1)  # type: ignore[misc]

        def gone() -> bool:
            return all(here.edge.memory.peek(CacheKey(f"/{number}")) is None for number in SLOW)

        number = 2
        while not here.call(gone):
            number = number + 1 if number < len(BODIES) - 1 else 3
            assert quick.ask(get(number)).body == BODIES[number]

        def cut() -> bool:
            assert quick.ask(get(number)).body == BODIES[number]
            return len(here.edge.lent) == 1

        eventually_now(cut)
        with last:
            assert last.answer().body == BODIES[SLOW[-1]]
        for wire in slow[:-1]:
            assert not wire.answer().whole
    eventually_now(lambda: len(here.edge.lent) == here.edge.in_flight.count == 0)


def test_nobody_is_cut_off_while_memory_has_the_body_however_many_read_it(here: Running) -> None:
    with here.wire() as quick:
        for number in SLOW:
            quick.ask(get(number))
    slow = [(number, here.wire(receive_bytes=FEW)) for number in SLOW * 3]
    for number, wire in slow:
        wire.send(get(number))
    eventually_now(lambda: len(here.edge.lent) == len(slow))
    for number, wire in slow:
        with wire:
            assert wire.answer().body == BODIES[number]

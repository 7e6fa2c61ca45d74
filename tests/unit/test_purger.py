"""Which failures of asking a sibling mean that there is none, and which that it has not confirmed."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pytest

from edge.cache.purge import Scope
from edge.cache.purge_follower import PurgeFollower
from edge.cache.purge_log import PurgeLog
from edge.cache.purge_receipt import Receipt
from edge.cache.purger import Order, Purger
from edge.clock import SystemClock
from origin.http import Deadlines, HttpReader
from origin.reader import Chunks, ObjectReader, OriginError, OriginFailure, ReadRequest, ReadResponse

REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
NO_FILE = FileNotFoundError(errno.ENOENT, "No such file or directory")
NO_DESCRIPTOR = OSError(errno.EMFILE, "Too many open files")
FULL_QUEUE = BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")


@dataclass(slots=True)
class Sibling:
    """A worker that can't be connected to, `failures` one after the other, and then confirms everything."""

    failures: list[OriginError]
    asked: int = 0

    @asynccontextmanager
    async def open(self, _request: ReadRequest) -> AsyncIterator[ReadResponse]:
        self.asked += 1
        if self.failures:
            raise self.failures.pop(0)
        yield ReadResponse(200, (), _said())

    async def close(self) -> None:
        """Nothing is open."""


async def _said() -> Chunks:
    yield orjson.dumps({"position": 2**60, "removed": 1})


@dataclass(slots=True)
class Colleagues:
    sibling: Sibling
    slots: list[int] = field(default_factory=lambda: [1])

    async def present(self) -> list[int]:
        return self.slots

    def reader(self, _slot: int) -> ObjectReader:
        return self.sibling


def failed(cause: Exception | None, failure: OriginFailure = OriginFailure.CONNECT) -> OriginError:
    error = OriginError(failure, "no connection")
    error.__cause__ = cause
    return error


async def receipt_of(directory: Path, failures: Sequence[OriginError], deadline_s: float) -> tuple[Receipt, Sibling]:
    clock, sibling = SystemClock(), Sibling(list(failures))
    follower = PurgeFollower(
        PurgeLog(directory, node="edge-1", wall=clock.wall, has_bus=False), None, node="edge-1", clock=clock
    )
    await follower.start()
    try:
        purger = Purger(follower, None, Colleagues(sibling), node="edge-1", slot=0, clock=clock, deadline_s=deadline_s)
        return await purger.purge(Order(Scope.URL, ("/a",))), sibling
    finally:
        await follower.stop()


def slots(receipt: Receipt) -> list[tuple[int, bool]]:
    (node,) = receipt.nodes
    return [(worker.slot, worker.confirmed) for worker in node.workers]


@pytest.mark.parametrize("cause", [REFUSED, NO_FILE])
async def test_a_sibling_that_nobody_listens_for_is_left_out(tmp_path: Path, cause: OSError) -> None:
    receipt, sibling = await receipt_of(tmp_path, [failed(cause)], 30.0)
    assert (receipt.complete, slots(receipt), sibling.asked) == (True, [(0, True)], 1)


@pytest.mark.parametrize(
    "error",
    [
        failed(NO_DESCRIPTOR),
        failed(NO_DESCRIPTOR, OriginFailure.OVERLOADED),
        failed(FULL_QUEUE),
        failed(PermissionError(errno.EACCES, "Permission denied")),
        failed(RuntimeError("unable to perform operation")),
        failed(None),
    ],
)
async def test_a_sibling_that_cannot_be_connected_to_has_not_confirmed(tmp_path: Path, error: OriginError) -> None:
    receipt, _ = await receipt_of(tmp_path, [error] * 10_000, 0.1)
    assert (receipt.complete, slots(receipt)) == (False, [(0, True), (1, False)])


@pytest.mark.parametrize("cause", [NO_DESCRIPTOR, FULL_QUEUE])
async def test_a_sibling_that_can_be_connected_to_again_in_time_confirms(tmp_path: Path, cause: OSError) -> None:
    receipt, sibling = await receipt_of(tmp_path, [failed(cause), failed(cause)], 30.0)
    assert (receipt.complete, slots(receipt), sibling.asked) == (True, [(0, True), (1, True)], 3)
    assert receipt.removed == 1


async def test_a_sibling_that_may_have_seen_the_question_is_not_asked_again(tmp_path: Path) -> None:
    receipt, sibling = await receipt_of(tmp_path, [failed(None, OriginFailure.TERMINATED)], 30.0)
    assert (receipt.complete, slots(receipt), sibling.asked) == (False, [(0, True), (1, False)], 1)


# -- the connection itself ---------------------------------------------------------------------------------------------


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Nothing can be opened while the block runs."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_having_no_descriptor_left_is_not_taken_for_nobody_listening(tmp_path: Path) -> None:
    deadlines = Deadlines(queue_s=5, connect_s=5, first_byte_s=5, idle_s=5)
    reader = HttpReader("http://sibling", unix_socket=tmp_path / "worker-1.sock", deadlines=deadlines)
    failures = []
    for _ in range(2):
        with pytest.raises(OriginError) as caught, no_descriptor_left():
            async with reader.open(ReadRequest("/")):
                pass
        failures.append((caught.value.failure, caught.value.failure.blames_origin, caught.value.failure.unsent))
    await reader.close()
    assert failures == [(OriginFailure.OVERLOADED, False, True)] * 2

"""What is counted of an origin: each exchange once, by what became of it, and every byte of a body."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from prometheus_client import REGISTRY

from edge import metrics
from edge.metered import MeteredReader
from origin.reader import Chunks, OriginError, OriginFailure, ReadRequest, ReadResponse
from tests.support.ticking import ManualClock

REQUEST = ReadRequest("/a")


class Scripted:
    """A reader that answers with these pieces after a while, or fails before or within them."""

    def __init__(self, *pieces: bytes | OriginError, status: int = 200, head_error: OriginError | None = None) -> None:
        self.clock = ManualClock()
        self.asked = asyncio.Event()
        self.gate: asyncio.Event | None = None
        self._pieces = pieces
        self._status = status
        self._head_error = head_error

    @asynccontextmanager
    async def open(self, _request: ReadRequest) -> AsyncIterator[ReadResponse]:
        self.asked.set()
        if self.gate is not None:
            await self.gate.wait()
        self.clock.advance(0.3)
        if self._head_error is not None:
            raise self._head_error
        yield ReadResponse(self._status, (), self._chunks())

    async def _chunks(self) -> Chunks:
        for piece in self._pieces:
            if isinstance(piece, OriginError):
                raise piece
            yield piece

    async def close(self) -> None:
        """Nothing is open."""


class Counted:
    """What the metrics of a new origin say."""

    def __init__(self, name: str) -> None:
        self.name = name

    def results(self) -> dict[str, float]:
        metrics.flush()
        samples = (sample for family in REGISTRY.collect() for sample in family.samples)
        return {
            sample.labels["result"]: sample.value
            for sample in samples
            if sample.name == "smartedu_origin_requests_total" and sample.labels["origin"] == self.name
        }

    def value(self, name: str) -> float:
        return REGISTRY.get_sample_value(name, {"origin": self.name}) or 0.0


@pytest.fixture
def counted(request: pytest.FixtureRequest) -> Counted:
    return Counted(request.node.name)


def metered(reader: Scripted, counted: Counted) -> MeteredReader:
    return MeteredReader(reader, counted.name, reader.clock.monotonic)


async def read(reader: MeteredReader) -> bytes:
    async with reader.open(REQUEST) as response:
        return b"".join([chunk async for chunk in response.chunks])


async def test_an_answer_counts_by_its_class_with_all_its_bytes_and_the_time_to_its_head(counted: Counted) -> None:
    assert await read(metered(Scripted(b"abc", b"de"), counted)) == b"abcde"
    await read(metered(Scripted(status=304), counted))
    assert counted.results() == {"2xx": 1, "3xx": 1}
    assert counted.value("smartedu_origin_bytes_total") == 5
    assert counted.value("smartedu_origin_time_to_head_seconds_count") == 2
    assert counted.value("smartedu_origin_time_to_head_seconds_sum") == pytest.approx(0.6)


async def test_no_answer_counts_as_its_failure(counted: Counted) -> None:
    refused = OriginError(OriginFailure.CONNECT, "nobody listens")
    with pytest.raises(OriginError):
        await read(metered(Scripted(head_error=refused), counted))
    assert counted.results() == {"connection_refused": 1}
    assert counted.value("smartedu_origin_time_to_head_seconds_count") == 0


async def test_a_body_that_breaks_off_counts_as_that_failure_and_not_as_an_answer(counted: Counted) -> None:
    broken = OriginError(OriginFailure.INCOMPLETE, "3 of 9 bytes")
    with pytest.raises(OriginError):
        await read(metered(Scripted(b"abc", broken), counted))
    assert counted.results() == {"http_response_incomplete": 1}
    assert counted.value("smartedu_origin_bytes_total") == 3


async def test_what_the_reader_of_a_body_throws_is_no_failure_of_the_origin(counted: Counted) -> None:
    async def give_up() -> None:
        async with metered(Scripted(b"abc"), counted).open(REQUEST):
            raise OriginError(OriginFailure.OVERLOADED, "no room for it")

    with pytest.raises(OriginError):
        await give_up()
    assert counted.results() == {"2xx": 1}


async def test_who_leaves_before_the_head_is_counted_too(counted: Counted) -> None:
    reader = Scripted(b"abc")
    reader.gate = asyncio.Event()
    asking = asyncio.create_task(read(metered(reader, counted)))
    await reader.asked.wait()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert counted.results() == {"cancelled": 1}

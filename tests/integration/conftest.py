"""A clock that stands, a scripted origin under it and a reader of that: each module may put its own in their place."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest

from origin.http import Deadlines, HttpReader
from tests.support.origin import ScriptedOrigin
from tests.support.ticking import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def origin(clock: ManualClock) -> AsyncIterator[ScriptedOrigin]:
    async with ScriptedOrigin(clock.wall) as running:
        yield running


@pytest.fixture
async def reader(origin: ScriptedOrigin) -> AsyncIterator[HttpReader]:
    reader = HttpReader(origin.url, deadlines=Deadlines(queue_s=2, connect_s=1, first_byte_s=5, idle_s=5))
    yield reader
    await reader.close()


@pytest.fixture(autouse=True)
def _within_a_day() -> None:
    """Days of counts end at midnight in UTC+8: what was entered today would be yesterday's in the middle of a test."""
    left_s = 86_400 - (time.time() + 8 * 3600) % 86_400
    if left_s < 30:
        time.sleep(left_s)

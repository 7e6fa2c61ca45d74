"""Limited places and the queue for them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from origin.places import MOMENT_S, STANDING_S, NoPlaceError, Places
from tests.support.waiting import eventually

AGES_S = 3600.0


class Now:
    """A clock that stands until it is set on."""

    def __init__(self) -> None:
        self.s = 1000.0

    def __call__(self) -> float:
        return self.s


async def queued(places: Places, count: int) -> list[asyncio.Task[None]]:
    """So many who wait for a place."""
    before = places.queued
    tasks = [asyncio.create_task(places.take()) for _ in range(count)]
    await eventually(lambda: places.queued == before + count)
    return tasks


async def standing(count: int, *, per_s: float, length: int) -> tuple[Places, list[asyncio.Task[None]]]:
    """Places, all taken, with a queue of `length` that has stood for two seconds and moves at that rate."""
    now = Now()
    places = Places(count, wait_s=AGES_S, now=now)
    for _ in range(count):
        await places.take()
    handed = int(2 * STANDING_S * per_s)
    waiting = await queued(places, length + handed)
    for _ in range(handed):
        now.s += 1 / per_s
        places.give_back()
    return places, waiting


async def end(waiting: list[asyncio.Task[None]]) -> None:
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_whoever_has_waited_longest_is_next() -> None:
    places = Places(1, wait_s=AGES_S)
    await places.take()
    order: list[int] = []
    tasks = []
    for number in range(3):
        (task,) = await queued(places, 1)
        task.add_done_callback(lambda _, number=number: order.append(number))  # type: ignore[misc]
        tasks.append(task)
    for _ in range(3):
        places.give_back()
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2]
    assert places.queued == 0


async def test_nobody_waits_longer_than_allowed() -> None:
    places = Places(1, wait_s=0.01)
    await places.take()
    with pytest.raises(NoPlaceError):
        await places.take()
    assert places.queued == 0


async def test_a_burst_may_queue() -> None:
    places = Places(1, wait_s=AGES_S, now=Now())
    await places.take()
    await end(await queued(places, 500))


async def test_a_standing_queue_refuses_at_once_whoever_would_wait_for_longer_than_a_moment() -> None:
    places, waiting = await standing(4, per_s=100.0, length=int(100 * MOMENT_S) + 5)
    with pytest.raises(NoPlaceError):
        await places.take()
    await end(waiting)


async def test_a_standing_queue_that_moves_fast_refuses_nobody() -> None:
    places, waiting = await standing(4, per_s=1000.0, length=int(1000 * MOMENT_S) - 5)
    await end([*waiting, *(await queued(places, 1))])


async def test_a_queue_as_long_as_there_are_places_is_never_too_long() -> None:
    places, waiting = await standing(50, per_s=1.0, length=49)
    waiting += await queued(places, 1)
    with pytest.raises(NoPlaceError):
        await places.take()
    await end(waiting)


async def test_a_queue_that_was_empty_begins_anew() -> None:
    now = Now()
    places = Places(1, wait_s=AGES_S, now=now)
    await places.take()
    (first,) = await queued(places, 1)
    now.s += 10 * STANDING_S
    places.give_back()
    await first
    await end(await queued(places, 500))


@pytest.mark.parametrize("handed_over", [False, True], ids=["while-waiting", "just-when-it-got-its-place"])
async def test_a_place_is_not_lost_with_who_gives_up(handed_over: bool) -> None:
    places = Places(1, wait_s=AGES_S)
    await places.take()
    (task,) = await queued(places, 1)
    if handed_over:
        places.give_back()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert places.queued == 0
    if not handed_over:
        places.give_back()
    await within_no_time(places.take)


async def within_no_time(take: Callable[[], Awaitable[None]]) -> None:
    async with asyncio.timeout(5):
        await take()

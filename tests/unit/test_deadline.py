"""Deadlines that an event brings nearer."""

from __future__ import annotations

import asyncio

import pytest

from edge.deadline import deadline

LONG_S = 60.0


async def test_what_ends_in_time_is_not_cut_off_whatever_is_heard() -> None:
    nearer = asyncio.Event()
    async with deadline(LONG_S, nearer, LONG_S):
        nearer.set()
        await asyncio.sleep(0)
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]


async def cut_off(within_s: float | None, nearer: asyncio.Event, then_s: float) -> None:
    """Claims that who waits for ever does not, by the deadline's doing."""
    async with asyncio.timeout(LONG_S / 2) as mine:
        with pytest.raises(TimeoutError):
            await waiting(within_s, nearer, then_s)
    assert not mine.expired()


async def waiting(within_s: float | None, nearer: asyncio.Event, then_s: float) -> None:
    async with deadline(within_s, nearer, then_s):
        nearer.set()
        await asyncio.Event().wait()


async def test_what_takes_too_long_is_cut_off() -> None:
    await cut_off(0.01, asyncio.Event(), LONG_S)


@pytest.mark.parametrize("within_s", [None, LONG_S])
@pytest.mark.parametrize("early", [True, False])
async def test_the_event_cuts_off_what_would_have_gone_on(within_s: float | None, early: bool) -> None:
    nearer = asyncio.Event()
    if early:
        nearer.set()
    await cut_off(within_s, nearer, 0.01)


async def test_the_event_makes_no_deadline_later() -> None:
    nearer = asyncio.Event()
    nearer.set()
    await cut_off(0.01, nearer, 2 * LONG_S)


async def test_whoever_is_cancelled_is_cancelled_and_not_late() -> None:
    async def wait() -> None:
        async with deadline(LONG_S, asyncio.Event(), LONG_S):
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not [one for one in asyncio.all_tasks() if one.get_name() == "deadline"]

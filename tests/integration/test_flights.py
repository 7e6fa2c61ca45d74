"""Who may share a body that is still on its way: those who waited for it, and who comes later only as from a store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from edge.cache.fetch import Site
from edge.cache.limits import Limits
from edge.cache.model import CacheKey
from origin.http import HttpReader
from tests.support.loopguard import nothing_blocks_the_loop  # noqa: F401
from tests.support.origin import Gate, Script, ScriptedOrigin
from tests.support.ticking import ManualClock
from tests.support.waiting import eventually
from tests.support.workers import Worker, worker

PATH = "/page"
OLD, NEW = b"old" * 10_000, b"new" * 10_000
LIMITS = Limits(max_object_bytes=1_000_000, fill_bytes=8_000_000)
PROXY = Site(forwards=True, via="edge-1")
WHILE_IT_COMES_S = 30.0

TOO_LATE = [
    ("max-age=1, must-revalidate", {}),
    ("max-age=1", {}),
    ("no-cache", {}),
    ("max-age=0", {}),
    ("max-age=600", {"cache_control": "no-cache"}),
    ("max-age=600", {"pragma": "no-cache"}),
    ("max-age=600", {"cache_control": "max-age=29"}),
    ("max-age=600", {"cache_control": "min-fresh=571"}),
    ("max-age=1, stale-while-revalidate=28", {}),
]
IN_TIME = [
    ("max-age=600", {}),
    ("max-age=600", {"cache_control": "max-age=31"}),
    ("max-age=1, stale-while-revalidate=60", {}),
    ("max-age=1", {"cache_control": "max-stale=60"}),
]


@pytest.fixture
async def edge(reader: HttpReader, clock: ManualClock) -> AsyncIterator[Worker]:
    async with worker(reader, clock=clock, limits=LIMITS, site=PROXY) as running:
        yield running


@pytest.fixture
async def siblings(reader: HttpReader, clock: ManualClock, tmp_path: Path) -> AsyncIterator[tuple[Worker, Worker]]:
    """The worker that owns the path, and another one."""
    async with AsyncExitStack() as stack:
        both = [
            await stack.enter_async_context(
                worker(reader, clock=clock, limits=LIMITS, site=PROXY, run_dir=tmp_path, slot=slot)
            )
            for slot in range(2)
        ]
        seen = [one.siblings for one in both if one.siblings is not None]
        await eventually(lambda: all(len(one.live) == 2 for one in seen))
        owner = 0 if seen[0].owner(CacheKey(PATH)) is None else 1
        yield both[owner], both[1 - owner]


def page(body: bytes, control: str, gate: Gate | None = None, hold: asyncio.Event | None = None) -> Script:
    return Script(body, etag=f'"{body[:3].decode()}"', headers={"Cache-Control": control}, gate=gate, hold=hold)


# -- one worker --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("control", "late"), TOO_LATE)
async def test_who_comes_when_a_body_on_its_way_is_too_old_for_him_gets_another_one(
    edge: Worker, origin: ScriptedOrigin, clock: ManualClock, control: str, late: dict[str, str]
) -> None:
    gate = Gate()
    origin.objects[PATH] = page(OLD, control, gate)
    async with edge.get(PATH) as first:
        clock.advance(WHILE_IT_COMES_S)
        origin.objects[PATH] = page(NEW, control)
        assert await edge.body(PATH, **late) == NEW
        gate.open()
        assert await first.read() == OLD, "who has begun to read goes on"
    assert origin.count(PATH) == 2


@pytest.mark.parametrize(("control", "late"), IN_TIME)
async def test_who_comes_while_a_body_on_its_way_is_good_enough_for_him_shares_it(
    edge: Worker, origin: ScriptedOrigin, clock: ManualClock, control: str, late: dict[str, str]
) -> None:
    gate = Gate()
    origin.objects[PATH] = page(OLD, control, gate)
    async with edge.get(PATH) as first:
        clock.advance(WHILE_IT_COMES_S)
        async with edge.get(PATH, **late) as second:
            assert origin.count(PATH) == 1
            gate.open()
            assert await second.read() == await first.read() == OLD


@pytest.mark.parametrize(("control", "others"), TOO_LATE)
async def test_those_who_waited_for_a_head_share_what_it_brought_whatever_its_lifetime(
    edge: Worker, origin: ScriptedOrigin, control: str, others: dict[str, str]
) -> None:
    hold = asyncio.Event()
    origin.objects[PATH] = page(OLD, control, hold=hold)
    waiting = [asyncio.create_task(edge.body(PATH, **others)) for _ in range(5)]
    await origin.seen_at_least(1)
    hold.set()
    assert await asyncio.gather(*waiting) == [OLD] * 5


@pytest.mark.parametrize(("control", "late"), [TOO_LATE[0], TOO_LATE[2], TOO_LATE[4]])
async def test_many_who_come_too_late_for_a_body_on_its_way_make_one_more_request(
    edge: Worker, origin: ScriptedOrigin, clock: ManualClock, control: str, late: dict[str, str]
) -> None:
    gate, hold = Gate(), asyncio.Event()
    origin.objects[PATH] = page(OLD, control, gate)
    async with edge.get(PATH) as first:
        clock.advance(WHILE_IT_COMES_S)
        origin.objects[PATH] = page(NEW, control, hold=hold)
        second = asyncio.create_task(edge.body(PATH, **late))
        await origin.seen_at_least(2)
        others = [asyncio.create_task(edge.body(PATH, **late)) for _ in range(20)]
        heads = [asyncio.create_task(edge.body("/other")) for _ in range(2)]
        await asyncio.gather(*heads, return_exceptions=True)  # asked after them, so they have been asked, too
        hold.set()
        assert await asyncio.gather(second, *others) == [NEW] * 21
        gate.open()
        assert await first.read() == OLD
    assert origin.count(PATH) == 2


@pytest.mark.parametrize(("control", "late"), [("no-cache", {}), ("max-age=600", {"cache_control": "no-cache"})])
async def test_however_many_come_too_late_one_after_the_other_two_bodies_are_on_their_way_at_most(
    edge: Worker, origin: ScriptedOrigin, clock: ManualClock, control: str, late: dict[str, str]
) -> None:
    gate = Gate()
    origin.objects[PATH] = page(OLD, control, gate)
    async with AsyncExitStack() as stack:
        reading = []
        for _ in range(10):
            reading.append(await stack.enter_async_context(edge.get(PATH, **late)))
            clock.advance(WHILE_IT_COMES_S)
        assert origin.count(PATH) == 2
        gate.open()
        assert [await one.read() for one in reading] == [OLD] * 10
    assert await edge.body(PATH, **late) == OLD
    assert origin.count(PATH) == 3, "when they have come, it is asked for again"


async def test_a_body_that_took_long_is_not_stored_over_a_younger_one(
    edge: Worker, origin: ScriptedOrigin, clock: ManualClock
) -> None:
    gate = Gate()
    origin.objects[PATH] = page(OLD, "max-age=600", gate)
    async with edge.get(PATH) as first:
        clock.advance(WHILE_IT_COMES_S)
        origin.objects[PATH] = page(NEW, "max-age=600")
        assert await edge.body(PATH, cache_control="no-cache") == NEW
        gate.open()
        assert await first.read() == OLD
    assert await edge.body(PATH) == NEW
    assert origin.count(PATH) == 2


# -- siblings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first_asks", ["owner", "other"])
@pytest.mark.parametrize("late_asks", ["owner", "other"])
@pytest.mark.parametrize(("control", "late"), [TOO_LATE[0], TOO_LATE[2], TOO_LATE[4]])
async def test_a_body_on_its_way_to_a_sibling_is_as_old_as_anywhere(
    siblings: tuple[Worker, Worker],
    origin: ScriptedOrigin,
    clock: ManualClock,
    first_asks: str,
    late_asks: str,
    control: str,
    late: dict[str, str],
) -> None:
    workers = dict(zip(("owner", "other"), siblings, strict=True))
    gate = Gate()
    gate.open(to=1000)
    origin.objects[PATH] = page(OLD, control, gate)
    async with workers[first_asks].get(PATH) as first:
        await first.content.readexactly(1000)
        clock.advance(WHILE_IT_COMES_S)
        origin.objects[PATH] = page(NEW, control)
        assert await workers[late_asks].body(PATH, **late) == NEW
        gate.open()
        assert await first.read() == OLD[1000:]
    assert origin.count(PATH) == 2


async def test_a_sibling_shares_a_body_on_its_way_that_is_fresh(
    siblings: tuple[Worker, Worker], origin: ScriptedOrigin, clock: ManualClock
) -> None:
    gate = Gate()
    origin.objects[PATH] = page(OLD, "max-age=600", gate)
    owner, other = siblings
    async with owner.get(PATH) as first:
        clock.advance(WHILE_IT_COMES_S)
        async with other.get(PATH) as second:
            gate.open()
            assert await second.read() == await first.read() == OLD
    assert origin.count(PATH) == 1

"""The grace that a soft purge leaves is the same wherever the value is met, in memory or on a disk, and whenever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from edge.cache.disk import DiskTier
from edge.cache.fetch import Site
from edge.cache.purge import Kind, PurgeRecord, PurgeTable, Scope
from edge.cache.tiers import CLOCKS_AGREE_S
from origin.http import HttpReader
from tests.support.loopguard import nothing_blocks_the_loop  # noqa: F401
from tests.support.origin import Script, ScriptedOrigin
from tests.support.ticking import ManualClock
from tests.support.tiers import disk_files, disk_tier
from tests.support.workers import Worker, worker

PATH = "/page"
OLD, NEW = b"old", b"new"
GRACE_S = 30.0
SIX_HOURS_S = 6 * 3600.0
ERROR_GRACE = {"Cache-Control": f"max-age=86400, stale-if-error={GRACE_S:g}", "Surrogate-Key": "pages"}
QUIET_GRACE = {"Cache-Control": f"max-age=86400, stale-while-revalidate={GRACE_S:g}"}
DOWN = Script(b"down", status=503, headers={})


@dataclass(slots=True)
class Node:
    """A worker with a disk, and a way to purge it."""

    edge: Worker
    table: PurgeTable
    disk: DiskTier
    clock: ManualClock

    async def purge(self, record: PurgeRecord | None = None) -> None:
        """As the follower does it; by default softly, this URL, now."""
        record = record or PurgeRecord("1", Scope.URL, PATH, Kind.SOFT, self.clock.wall(), "edge-1")
        self.table.apply(record, self.table.position + 1)
        await self.edge.engine.purge(record)

    async def asked(self) -> tuple[int, bytes]:
        async with self.edge.get(PATH) as response:
            return response.status, await response.read()

    async def filled(self) -> None:
        """The response is in memory and on disk."""
        assert await self.asked() == (200, OLD)
        await self.disk.settled()

    def forget(self, place: str) -> None:
        """Leave the value in this place only, as after a restart."""
        if place == "disk":
            self.edge.memory.clear()


@pytest.fixture
async def node(reader: HttpReader, clock: ManualClock, tmp_path: Path) -> AsyncIterator[Node]:
    table = PurgeTable()
    async with (
        disk_tier(disk_files(tmp_path / "disk", clock), clock) as disk,
        worker(reader, clock=clock, site=Site(forwards=True, via="edge-1"), purges=table, shared=disk) as edge,
    ):
        yield Node(edge, table, disk, clock)


@pytest.mark.parametrize("place", ["memory", "disk"])
@pytest.mark.parametrize(
    ("later_s", "answer"),
    [(0.0, (200, OLD)), (GRACE_S - 1, (200, OLD)), (GRACE_S, (503, b"down")), (SIX_HOURS_S, (503, b"down"))],
)
async def test_the_grace_for_a_failing_origin_counts_from_the_purge(
    node: Node, origin: ScriptedOrigin, place: str, later_s: float, answer: tuple[int, bytes]
) -> None:
    origin.objects[PATH] = Script(OLD, headers=ERROR_GRACE)
    await node.filled()
    node.clock.advance(100)
    await node.purge()
    node.forget(place)
    node.clock.advance(later_s)
    origin.objects[PATH] = DOWN
    assert await node.asked() == answer


@pytest.mark.parametrize("place", ["memory", "disk"])
async def test_what_was_taken_from_the_disk_has_the_grace_that_was_left_and_no_more(
    node: Node, origin: ScriptedOrigin, place: str
) -> None:
    origin.objects[PATH] = Script(OLD, headers=ERROR_GRACE)
    await node.filled()
    await node.purge()
    node.forget(place)
    origin.objects[PATH] = DOWN
    node.clock.advance(GRACE_S / 2)
    assert await node.asked() == (200, OLD)
    node.clock.advance(GRACE_S / 2)
    assert await node.asked() == (503, b"down")


@pytest.mark.parametrize("place", ["memory", "disk"])
@pytest.mark.parametrize(("later_s", "first"), [(GRACE_S - 1, OLD), (GRACE_S, NEW), (SIX_HOURS_S, NEW)])
async def test_the_grace_while_revalidating_counts_from_the_purge(
    node: Node, origin: ScriptedOrigin, place: str, later_s: float, first: bytes
) -> None:
    origin.objects[PATH] = Script(OLD, headers=QUIET_GRACE)
    await node.filled()
    await node.purge()
    node.forget(place)
    node.clock.advance(later_s / 2)
    origin.objects[PATH] = DOWN
    await node.asked()  # what was on disk is in memory again
    node.clock.advance(later_s / 2)
    origin.objects[PATH] = Script(NEW, headers=QUIET_GRACE)
    assert await node.asked() == (200, first)


@pytest.mark.parametrize("place", ["memory", "disk"])
@pytest.mark.parametrize("at", [0.0, -1.0, 1e12])
async def test_a_purge_of_no_time_or_of_the_future_leaves_no_grace(
    node: Node, origin: ScriptedOrigin, place: str, at: float
) -> None:
    origin.objects[PATH] = Script(OLD, headers=ERROR_GRACE)
    await node.filled()
    await node.purge(PurgeRecord("1", Scope.URL, PATH, Kind.SOFT, at, "edge-1"))
    node.forget(place)
    origin.objects[PATH] = DOWN
    assert await node.asked() == (503, b"down")


@pytest.mark.parametrize("place", ["memory", "disk"])
@pytest.mark.parametrize(("ahead_s", "answer"), [(CLOCKS_AGREE_S, (200, OLD)), (CLOCKS_AGREE_S + 1, (503, b"down"))])
async def test_a_purge_by_a_clock_that_is_as_far_ahead_as_clocks_may_be_counts_as_made_now(
    node: Node, origin: ScriptedOrigin, place: str, ahead_s: float, answer: tuple[int, bytes]
) -> None:
    origin.objects[PATH] = Script(OLD, headers=ERROR_GRACE)
    await node.filled()
    await node.purge(PurgeRecord("1", Scope.URL, PATH, Kind.SOFT, node.clock.wall() + ahead_s, "edge-2"))
    node.forget(place)
    origin.objects[PATH] = DOWN
    assert await node.asked() == answer


@pytest.mark.parametrize("place", ["memory", "disk"])
async def test_a_purge_that_was_heard_late_has_used_up_its_grace(
    node: Node, origin: ScriptedOrigin, place: str
) -> None:
    """As on a node that was cut off from the bus."""
    origin.objects[PATH] = Script(OLD, headers=ERROR_GRACE)
    await node.filled()
    record = PurgeRecord("1", Scope.URL, PATH, Kind.SOFT, node.clock.wall(), "edge-2")
    node.clock.advance(SIX_HOURS_S)
    await node.purge(record)
    node.forget(place)
    origin.objects[PATH] = DOWN
    assert await node.asked() == (503, b"down")


@pytest.mark.parametrize("place", ["memory", "disk"])
async def test_a_second_purge_gives_no_grace_back(node: Node, origin: ScriptedOrigin, place: str) -> None:
    origin.objects[PATH] = Script(OLD, headers=ERROR_GRACE)
    await node.filled()
    await node.purge()
    node.clock.advance(SIX_HOURS_S)
    for number, (scope, value) in enumerate([(Scope.URL, PATH), (Scope.TAG, "pages"), (Scope.ALL, "")]):
        await node.purge(PurgeRecord(f"again-{number}", scope, value, Kind.SOFT, node.clock.wall(), "edge-1"))
    node.forget(place)
    origin.objects[PATH] = DOWN
    assert await node.asked() == (503, b"down")


@pytest.mark.parametrize("place", ["memory", "disk"])
async def test_what_is_purged_while_it_is_on_its_way_is_stored_with_the_grace_of_that_purge(
    node: Node, origin: ScriptedOrigin, place: str
) -> None:
    hold = asyncio.Event()
    origin.objects[PATH] = Script(OLD, headers=ERROR_GRACE, hold=hold)
    waiting = asyncio.create_task(node.filled())
    await origin.seen_at_least(1)
    await node.purge()
    hold.set()
    await waiting
    node.forget(place)
    origin.objects[PATH] = DOWN
    node.clock.advance(GRACE_S - 1)
    assert await node.asked() == (200, OLD)
    node.clock.advance(1)
    assert await node.asked() == (503, b"down")


@pytest.mark.parametrize("place", ["memory", "disk"])
async def test_where_a_soft_and_a_hard_purge_meet_nothing_is_left(
    node: Node, origin: ScriptedOrigin, place: str
) -> None:
    origin.objects[PATH] = Script(OLD, headers=ERROR_GRACE)
    await node.filled()
    soft = PurgeRecord("soft", Scope.TAG, "pages", Kind.SOFT, node.clock.wall(), "edge-1")
    await node.purge(soft)
    await node.purge(replace(soft, id="hard", scope=Scope.PREFIX, value="/", kind=Kind.HARD))
    await node.purge(replace(soft, id="soft again"))
    node.forget(place)
    origin.objects[PATH] = DOWN
    assert await node.asked() == (503, b"down")

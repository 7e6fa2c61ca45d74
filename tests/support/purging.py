"""Workers' parts in purging, in the test's own process: real logs, a real Redis, real sockets between siblings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from edge.cache.purge import PurgeRecord, Scope
from edge.cache.purge_bus import PurgeBus, connect
from edge.cache.purge_follower import PurgeFollower
from edge.cache.purge_log import PurgeLog
from edge.cache.purge_receipt import Receipt
from edge.cache.purger import Order, Purger
from edge.cache.siblings import Siblings
from edge.clock import Clock, SystemClock
from edge.handlers.purge import FOLLOWER, add_sibling_routes
from tests.support.workers import sibling_reader


@dataclass(slots=True)
class Purging:
    """One worker's part. seen: what was applied to its memory, in order; lags: seconds from asked for to applied."""

    follower: PurgeFollower
    purger: Purger
    seen: list[PurgeRecord] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)

    async def url(self, *urls: str, soft: bool = False) -> Receipt:
        """Purge URLs."""
        return await self.purger.purge(Order(Scope.URL, urls, soft))

    def values(self) -> list[str]:
        """What was purged, in the order in which it was applied to memory."""
        return [record.value for record in self.seen]

    def is_purged(self, uri: str, since: int = 0) -> bool:
        """Whether something stored under `uri` at that position counts as purged one by one."""
        return self.follower.table.verdict(uri, (), max(since, self.floor)) is not None

    @property
    def floor(self) -> int:
        """Where positions of this node begin."""
        return self._floor

    _floor: int = 0


@asynccontextmanager
async def purging(
    directory: Path,
    *,
    node: str = "edge-1",
    slot: int = 0,
    redis: str | None = None,
    namespace: str = "test",
    run_dir: Path | None = None,
    clock: Clock | None = None,
    max_records: int = 100_000,
    bus_records: int = 100_000,
    gone_s: float = 35.0,
    deadline_s: float = 5.0,
    removed: int = 0,
) -> AsyncIterator[Purging]:
    """One running worker's part. directory: of the node's log. removed: what memory says of each purge."""
    clock = clock or SystemClock()
    log = PurgeLog(directory, node=node, wall=clock.wall, has_bus=redis is not None, max_records=max_records)
    bus = None
    if redis is not None:
        bus = PurgeBus(
            connect(redis, deadline_s=2.0),
            namespace=namespace,
            node=node,
            slot=slot,
            deadline_s=2.0,
            block_s=0.5,
            max_records=bus_records,
            gone_s=gone_s,
        )
    seen: list[PurgeRecord] = []
    lags: list[float] = []

    async def apply(record: PurgeRecord) -> int:
        await asyncio.sleep(0)
        seen.append(record)
        return removed

    follower = PurgeFollower(
        log, bus, node=node, clock=clock, apply=apply, observe=lambda _record, lag_s: lags.append(lag_s)
    )
    siblings = None
    if run_dir is not None:
        siblings = Siblings(run_dir=run_dir, own_slot=slot, connect=sibling_reader, clock=clock)
        await siblings.start()
    purger = Purger(follower, bus, siblings, node=node, slot=slot, clock=clock, deadline_s=deadline_s)
    runner = await _socket(follower, run_dir / f"worker-{slot}.sock") if run_dir is not None else None
    try:
        await follower.start((lambda: siblings.slots) if siblings is not None else tuple)
        yield Purging(follower, purger, seen, lags, log.ledger.floor.position if log.ledger.floor else 0)
    finally:
        if runner is not None:
            await runner.cleanup()
        if siblings is not None:
            await siblings.close()
        await follower.stop()


async def _socket(follower: PurgeFollower, path: Path) -> web.AppRunner:
    application = web.Application()
    application[FOLLOWER] = follower
    add_sibling_routes(application)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.UnixSite(runner, str(path)).start()
    return runner

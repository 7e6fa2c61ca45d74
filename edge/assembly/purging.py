"""Purging on one worker: the node's log, the bus where there is a Redis, and who applies what is heard."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack
from typing import Final
from uuid import uuid4

from config.settings import EdgeSettings
from edge import metrics
from edge.cache.engine import Engine
from edge.cache.purge import Kind, PurgeRecord, Scope
from edge.cache.purge_bus import PurgeBus, connect
from edge.cache.purge_follower import PurgeFollower
from edge.cache.purge_log import PurgeLog, PurgeLogError
from edge.cache.purger import Purger
from edge.cache.siblings import Siblings
from edge.clock import Clock
from edge.handlers import health

log = logging.getLogger(__name__)

DIRECTORY: Final = "purges"
"""Of the node's log, below its data directory."""


class Purging:
    """follower: hears and applies. purger: makes purges, once memory is there to be purged (`begin`)."""

    def __init__(self, settings: EdgeSettings, slot: int, clock: Clock) -> None:
        self._node, self._slot, self._clock = settings.node, slot, clock
        self._engine: Engine | None = None
        self._bus = _bus(settings, slot)
        self.follower = PurgeFollower(
            PurgeLog(settings.data_dir / DIRECTORY, node=settings.node, has_bus=self._bus is not None, wall=clock.wall),
            self._bus,
            node=settings.node,
            clock=clock,
            apply=self._apply,
            observe=metrics.purged,
        )

    @property
    def position(self) -> int:
        """Of the last purge that is applied here."""
        return self.follower.position

    def verdict(self, uri: str, tags: tuple[str, ...], since: int) -> Kind | None:
        """What the purges after `since` say of a response."""
        return self.follower.table.verdict(uri, tags, since)

    def softened_at(self, uri: str, tags: tuple[str, ...], since: int) -> float:
        """When the earliest soft one of them was asked for, wall clock (s)."""
        return self.follower.table.softened_at(uri, tags, since)

    async def begin(self, engine: Engine, siblings: Siblings, stack: AsyncExitStack) -> None:
        """Apply what was missed, and follow from then on; to be called before anybody is served."""
        self._engine = engine
        self.purger = Purger(self.follower, self._bus, siblings, node=self._node, slot=self._slot, clock=self._clock)
        await self.follower.start(lambda: siblings.slots)
        stack.push_async_callback(self.follower.stop)

    async def invalidate(self, uris: tuple[str, ...], groups: tuple[str, ...]) -> None:
        """After an unsafe request: on this node before the client is answered, elsewhere as soon as the bus tells."""
        named = [*((Scope.URL, uri) for uri in uris), *((Scope.TAG, group) for group in groups)]
        at = self._clock.wall()
        records = [PurgeRecord(uuid4().hex, scope, value, Kind.HARD, at, self._node) for scope, value in named]
        try:
            await self.purger.spread(records)
        except PurgeLogError as error:
            log.warning("what an unsafe request changed was dropped from this worker's memory only: %s", error)
            for record in records:
                await self._apply(record)

    def check(self) -> health.Check:
        """Whether purges made elsewhere are heard of."""
        state = self.follower.state()
        detail = f"purges are applied up to position {state.position}"
        if state.unplaced:
            detail += f", {state.unplaced} are still to be told to the other nodes"
        return health.Check(state.attached, f"{detail}: {state.error}" if state.error else detail)

    async def _apply(self, record: PurgeRecord) -> int:
        return await self._engine.purge(record) if self._engine is not None else 0


def _bus(settings: EdgeSettings, slot: int) -> PurgeBus | None:
    if settings.redis is None:
        return None
    client = connect(settings.redis.get_secret_value())
    return PurgeBus(client, namespace=settings.origin_name, node=settings.node, slot=slot)

"""History of counts in the origin's bucket, put together from the settings."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import date
from functools import partial

from config.settings import Bucket, EdgeSettings
from edge.assembly.bucket import BucketStore
from edge.clock import Clock
from edge.counters.exported import DayTable, Exports
from edge.counters.exporter import Exporter
from edge.counters.history import HistoryError
from edge.counters.province_day import ProvinceDays
from edge.counters.reading import BoardError
from edge.counters.sink import open_client
from edge.handlers import health
from origin.credentials import find
from origin.store import Location, Store, client_for


@dataclass(frozen=True, slots=True)
class Keeping:
    """exporter: brings the node's provinces into history. exports: reads those that the node shows."""

    exporter: Exporter
    exports: Exports

    async def day_table(self, day: date, province: str) -> DayTable | None:
        """A day that Redis has let go, for the board. Raises BoardError."""
        try:
            return await self.exports.day_table(day, province)
        except HistoryError as error:
            raise BoardError(str(error)) from error

    def check(self) -> health.Check:
        """Whether days that are over reach history; until they do, journal and Redis keep them."""
        state = self.exporter.state()
        days = ", ".join(f"{code}: {day or 'none'}" for code, day in state.through.items())
        return health.Check(not state.last_error, state.last_error or f"last closed day, {days}")


def history(
    settings: EdgeSettings, slot: int, url: str, served: Sequence[str], clock: Clock, stack: AsyncExitStack
) -> Keeping | None:
    """The task that exports closed days, started, and their reader; None on a node without a bucket for them.

    served: the provinces whose events the node counts.
    """
    if settings.counts_history == "off" or settings.bucket is None:
        return None
    store = BucketStore(partial(open_store, settings, settings.bucket), lambda: find() is not None)
    stack.push_async_callback(store.close)
    client = open_client(url, repeats=1)
    stack.push_async_callback(client.aclose)
    workplace = settings.data_dir / "history" / str(slot)
    exporter = Exporter(
        [ProvinceDays(client, code) for code in served],
        store,
        workplace / "closing",
        holder=f"{settings.node}/{slot}",
        wall=clock.wall,
    )
    exporter.start()
    stack.push_async_callback(exporter.stop)
    shown = [ProvinceDays(client, code) for code in settings.counted_provinces]
    return Keeping(exporter, Exports(store, shown, workplace / "reading", wall=clock.wall))


def open_store(settings: EdgeSettings, bucket: Bucket) -> Store:
    """The bucket, for writing. Blocks: boto3 reads its files."""
    location = Location(bucket.name, bucket.prefix, settings.s3_endpoint)
    return Store(location, client_for(location, settings.origin_ca, settings.s3_region))

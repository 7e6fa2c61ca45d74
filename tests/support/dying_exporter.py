"""`python -m tests.support.dying_exporter`: an exporter that kills itself with -9 after so many steps of storage.

One argument: JSON with url, endpoint, bucket, prefix, access_key, secret_key, workplace, now_s, steps.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from edge.assembly.bucket import BucketStore
from edge.counters.closing import Closing
from edge.counters.province_day import ProvinceDays
from edge.counters.sink import open_client
from origin.store import Location, Store
from tests.support.counting import PROVINCE

T = TypeVar("T")


class DyingStore(BucketStore):
    """Does what it is told `steps` times, and then nobody hears of it any more."""

    def __init__(self, connect: Callable[[], Store], steps: int) -> None:
        super().__init__(connect)
        self._steps = steps

    async def _do(self, work: Callable[[Store], T]) -> T:
        done = await super()._do(work)
        self._steps -= 1
        if self._steps == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return done


async def run(said: dict[str, str], now_s: float, steps: int) -> None:
    client = open_client(said["url"])
    location = Location(said["bucket"], said["prefix"], said["endpoint"], said["access_key"], said["secret_key"])
    store = DyingStore(lambda: Store(location), steps)
    days = ProvinceDays(client, PROVINCE)
    await Closing(days, store, Path(said["workplace"]), wall=lambda: now_s).catch_up()
    await client.aclose()
    await store.close()


if __name__ == "__main__":
    told = json.loads(sys.argv[1])
    asyncio.run(run(told, float(told["now_s"]), int(told["steps"])))

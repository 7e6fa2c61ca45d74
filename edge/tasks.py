"""Tasks with an owner: begun under a name, missed when they die, surely ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable

log = logging.getLogger(__name__)

_AGAIN_S = 0.1


def begin(work: Coroutine[object, object, None], name: str) -> asyncio.Task[None]:
    """Run `work`, which is not meant to end before its owner ends it: if a bug ends it, the log says so."""
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_tell_of_death)
    return task


def _tell_of_death(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.critical("task %s died", task.get_name(), exc_info=error)


async def end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel the tasks and wait until they have ended, whatever they end with.

    One cancellation is not enough: `asyncio.wait_for` before Python 3.12 forgets one that arrives in the moment in
    which the awaited thing completes (CPython issue 86296), and redis-py sends its commands through it. A loop around a
    Redis command would go on as if nothing had been said.
    """
    owned = list(tasks)
    pending = set(owned)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_AGAIN_S)
    await asyncio.gather(*owned, return_exceptions=True)

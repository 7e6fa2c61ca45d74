"""The garbage collector, kept from stopping the world while it looks at a full cache.

A full collection looks at every object there is: half a second with 400,000 entries in memory. CPython starts one
whenever a quarter more objects have come. What dies here dies by its reference count; only rare cycles need the
collector, and young ones are found by the small collections. So full ones are left to quiet moments.

A collection also writes to every object that it looks at. What a parent has loaded is shared with its workers only for
as long as nobody writes to it: so none is made while the program is loaded, and none looks at it afterwards.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

FULL_EVERY_S = 3600.0
QUIET_WITHIN_S = 3600.0
"""How long a quiet moment is waited for."""
LOOK_S = 1.0
_YOUNG, _MIDDLE, _NEVER = 20_000, 20, 1_000_000


@contextmanager
def kept_still() -> Iterator[None]:
    """Around the loading of what stays, before there are workers.

    No collection of this process or of a later child ever looks at it. What comes afterwards is collected as usual.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def settle() -> None:
    """Called when all is loaded: what is there now stays, and full collections do not come by themselves any more."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _NEVER)


async def keep_collecting(is_quiet: Callable[[], bool]) -> NoReturn:
    """A full collection once in a while, when nobody is waiting; after `QUIET_WITHIN_S` all the same."""
    while True:
        await asyncio.sleep(FULL_EVERY_S)
        waited_s = 0.0
        while not is_quiet() and waited_s < QUIET_WITHIN_S:
            await asyncio.sleep(LOOK_S)
            waited_s += LOOK_S
        gc.collect()

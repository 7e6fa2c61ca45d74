"""Doing the same blocking thing to many items, a bounded number at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def each(
    work: Callable[[Item], Result], items: Iterable[Item], done: Callable[[Item, Result], None], *, threads: int
) -> None:
    """Calls `work` on every item in `threads` threads and `done` in this one, in the order of finishing.

    The first exception ends it: what has begun is finished, nothing more is begun, the exception is raised here.
    Items are taken as threads get free, so `items` may be long, and is never held whole.
    """
    waiting = iter(items)
    with ThreadPoolExecutor(threads, thread_name_prefix="each") as pool:
        running: dict[Future[Result], Item] = {}
        try:
            while True:
                while len(running) < threads * 2 and (item := next(waiting, None)) is not None:
                    running[pool.submit(work, item)] = item
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    done(running.pop(future), future.result())
        finally:
            for future in running:
                future.cancel()

"""Waiting for a condition with a deadline, so that no test sleeps."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, overload

T = TypeVar("T")
POLL_S = 0.02


@overload
async def eventually(check: Callable[[], Coroutine[Any, Any, T]], within_s: float = 30.0) -> T: ...


@overload
async def eventually(check: Callable[[], T], within_s: float = 30.0) -> T: ...


async def eventually(check: Callable[[], Any], within_s: float = 30.0) -> Any:
    """Ask `check` until its answer is true, and return that answer. An AssertionError in it counts as "not yet".

    Raises AssertionError with the last answer when the time is over.
    """
    deadline = time.monotonic() + within_s
    while True:
        try:
            answer = check()
            if inspect.isawaitable(answer):
                answer = await answer
        except AssertionError as error:
            answer = error
        if answer and not isinstance(answer, AssertionError):
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not true within {within_s:g} s; last answer: {answer!r}")
        await asyncio.sleep(POLL_S)


def eventually_now(check: Callable[[], T], within_s: float = 30.0) -> T:
    """`eventually` for tests that are not asynchronous."""
    return asyncio.run(eventually(check, within_s))

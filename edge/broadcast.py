"""One message a second for everybody who listens: it is made once, however many they are.

A listener that has not taken the last message yet gets the newest one next; nothing is queued, so that a slow client
costs no memory. Whoever takes none for too long is given up by the handler that writes to it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final

from edge.tasks import begin, end

_log = logging.getLogger(__name__)

MOST_LISTENERS: Final = 1000
_LOOK_S: Final = 0.25  # how soon an end is noticed


class Broadcast:
    """make: the next message; where it raises there is none. every_s: pause between two. ending: whether all are to be
    sent away."""

    def __init__(
        self,
        make: Callable[[], Awaitable[bytes]],
        *,
        ending: Callable[[], bool],
        every_s: float = 1.0,
        most: int = MOST_LISTENERS,
    ) -> None:
        self._make = make
        self._ending = ending
        self._every_s = every_s
        self._most = most
        self._listeners = 0
        self._number = 0
        self._message = b""
        self._changed = asyncio.Condition()
        self._over = False
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """How many listen."""
        return self._listeners

    @property
    def full(self) -> bool:
        """Whether nobody more may listen."""
        return self._listeners >= self._most

    async def messages(self) -> AsyncGenerator[bytes, None]:
        """Every message from now on, until all are sent away. Close it when nobody listens any more."""
        self._listeners += 1
        seen = self._number
        try:
            if self._task is None or self._task.done():
                self._task = begin(self._keep(), "broadcast")
            while True:
                async with self._changed:
                    while not self._over and self._number == seen:
                        await self._changed.wait()
                if self._over:
                    return
                seen = self._number
                yield self._message
        finally:
            self._listeners -= 1

    async def stop(self) -> None:
        """Send all away."""
        await end([self._task] if self._task is not None else [])
        await self._send_away()

    async def _keep(self) -> None:
        while self._listeners and not self._ending():
            try:
                await self._tell(await self._make())
            except Exception:  # a bug, and those who listen would wait for ever
                _log.exception("a message cannot be made; the next one is tried")
            rest_s = self._every_s
            while rest_s > 0 and not self._ending():
                await asyncio.sleep(min(_LOOK_S, rest_s))
                rest_s -= _LOOK_S
        if self._ending():
            await self._send_away()

    async def _tell(self, message: bytes) -> None:
        async with self._changed:
            self._message, self._number = message, self._number + 1
            self._changed.notify_all()

    async def _send_away(self) -> None:
        async with self._changed:
            self._over = True
            self._changed.notify_all()

"""The open connections of one listener in one worker: how many there are, which are idle, which keep us waiting.

An open connection costs memory whether it does anything or not, so their number is bounded. When all places are taken,
a newcomer gets the place of the connection that has been idle longest, or has been sending its header section longest
(what slow attackers do); only when all are being served is it turned away.

Waiting is bounded without a timer per connection: all who wait for the same thing get the same time, so the first to
begin is the first to be late, and one timer for the first is enough.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

# A crowd that is late at the same instant is told in portions, so that everybody else is served in between.
_PORTION = 64
_PAUSE_S = 0.005


@dataclass(frozen=True, slots=True)
class Limits:
    """What clients may take of a worker, per listener.

    header_s: time for a header section to arrive, from the opening of the connection or its first byte; body_idle_s:
    time between two portions of a request body; body_portion: bytes of it. connections: open at once. retry_after_s:
    who was turned away for overload is not listened to for so long, as it was told. stall_s: a client that takes
    nothing of an answer for so long has gone.
    """

    header_s: float = 10.0
    body_idle_s: float = 15.0
    body_portion: int = 4096
    connections: int = 20_000
    retry_after_s: float = 1.0
    stall_s: float = 60.0


class Connection(Protocol):
    """What is known of a connection here."""

    def late(self) -> None:
        """The time it was given to send something, or to wait, is over."""

    def stalled(self) -> None:
        """The time it was given to take something is over."""

    def give_way(self) -> bool:
        """Close if nothing is being answered; False when it is not possible."""


class Patience:
    """Those who were given the same time each, to deliver something or to wait."""

    def __init__(
        self,
        within_s: float,
        loop: asyncio.AbstractEventLoop,
        tell: Callable[[Connection], None] = lambda connection: connection.late(),
    ) -> None:
        self._tell = tell
        self._within_s = within_s
        self._loop = loop
        self._waiting: OrderedDict[Connection, float] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def begin(self, connection: Connection) -> None:
        """Give it the time from now on, also when it had begun before."""
        self._waiting[connection] = self._loop.time() + self._within_s
        self._waiting.move_to_end(connection)
        if self._timer is None:
            self._timer = self._loop.call_later(self._within_s, self._look)

    def end(self, connection: Connection) -> None:
        """It has delivered, or gone."""
        self._waiting.pop(connection, None)

    def longest(self) -> Connection | None:
        """Who has kept us waiting longest."""
        return next(iter(self._waiting), None)

    def stop(self) -> None:
        """Wait for nobody any more."""
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        now = self._loop.time()
        try:
            self._tell_the_late(now)
        finally:
            self._timer = None  # only now: whoever began anew meanwhile is not the first of those who wait
            if self._waiting:
                due = next(iter(self._waiting.values()))
                self._timer = self._loop.call_at(max(due, now + _PAUSE_S), self._look)

    def _tell_the_late(self, now: float) -> None:
        for _ in range(_PORTION):
            connection, deadline = next(iter(self._waiting.items()), (None, now))
            if connection is None or deadline > now:
                return
            del self._waiting[connection]
            self._tell(connection)


class Connections:
    """All open connections of a listener."""

    def __init__(self, limits: Limits, loop: asyncio.AbstractEventLoop) -> None:
        self.limits = limits
        self.heads = Patience(limits.header_s, loop)
        self.bodies = Patience(limits.body_idle_s, loop)
        self.waits = Patience(limits.retry_after_s, loop)
        self.takes = Patience(limits.stall_s, loop, lambda connection: connection.stalled())
        self._open: set[Connection] = set()
        self._idle: OrderedDict[Connection, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, connection: Connection) -> bool:
        """Give a new connection a place; False when there is none."""
        if len(self._open) >= self.limits.connections and not self._make_room():
            return False
        self._open.add(connection)
        return True

    def idle(self, connection: Connection) -> None:
        """It has an answer. Whether it then waits for its next request is asked when its place is wanted."""
        if connection in self._open:  # a handler may outlive its connection
            self._idle[connection] = None
            self._idle.move_to_end(connection)

    def gone(self, connection: Connection) -> None:
        """It is closed."""
        self._open.discard(connection)
        self._idle.pop(connection, None)
        self.heads.end(connection)
        self.bodies.end(connection)
        self.waits.end(connection)
        self.takes.end(connection)

    def stop(self) -> None:
        """The listener stops: no timer is left behind."""
        self.heads.stop()
        self.bodies.stop()
        self.waits.stop()
        self.takes.stop()

    def _make_room(self) -> bool:
        for _ in range(min(len(self._idle), _PORTION)):
            connection, _none = self._idle.popitem(last=False)
            if connection.give_way():
                self.gone(connection)
                return True
            self._idle[connection] = None  # it is being answered again
        slow = self.heads.longest()
        if slow is None or not slow.give_way():
            return False
        self.gone(slow)
        return True

"""Whether a worker takes one more request, or answers it 503 at once.

Two limits. The hard one is a number of requests under way. The soft one is delay: what a request waits for the event
loop before anything is done for it. Work that nobody waits for any more is the end of every overloaded server, so when
the loop has been late for longer than a moment, a share of the requests is turned away, and the share follows the
lateness: it grows while the loop is later than the target and shrinks while it is not (the control law of PIE, RFC
8033; the idea of CoDel, RFC 8289, that only standing delay counts and a burst does not).

The lateness is that of a timer and of a few turns of the loop after it, as many as a request takes to its handler: a
busy loop is late in one turn and quick in the next. It is measured only while there is work. It counts only while
several requests wait, and only as far as this thread has really computed meanwhile: a loop that is late for want of a
processor is on a busy machine, and turning requests away would not make it any earlier.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from edge.framing import Refusal

_PROBE_S = 0.01
_TURNS = 3  # of the loop, from a request's bytes to its handler
_SEVERAL = 16  # requests under way
_MOST = 0.98  # of the requests are turned away at most: without any work there would be nothing to measure


@dataclass(frozen=True, slots=True)
class Delay:
    """How late the event loop may be.

    target_s: lateness that is aimed at under overload; patience_s: how long it may be exceeded before anybody is turned
    away. The rest is the control law, for the logarithm of the share that is taken, so that it is as steady at ten
    times the capacity as at twice. pressure and relief: how fast the share moves, per second and per target of lateness
    beyond or below the target; step: how much it follows a change of the lateness.
    """

    target_s: float = 0.1
    patience_s: float = 1.0
    pressure: float = 0.3
    relief: float = 1.0
    step: float = 0.3


class Share:
    """The share of requests to turn away, from the lateness measured. Pure but for its own state."""

    def __init__(self, delay: Delay) -> None:
        self._delay = delay
        self._late_for_s = 0.0
        self._before = 1.0  # lateness at the last measurement, in targets
        self._taken = 1.0
        self._due = 0.0

    @property
    def value(self) -> float:
        """From 0, nobody, to almost 1."""
        return 1.0 - self._taken

    def measured(self, late_s: float, elapsed_s: float) -> None:
        """The loop was late by `late_s`, `elapsed_s` after the last measurement."""
        delay = self._delay
        late = min(late_s / delay.target_s, 5.0)
        # One long stop, however long, is no standing delay: at least three measurements have to say so.
        self._late_for_s = self._late_for_s + min(elapsed_s, delay.patience_s / 2) if late > 1.0 else 0.0
        if self._taken == 1.0 and self._late_for_s <= delay.patience_s:
            self._before = 1.0
            return
        speed = delay.pressure if late > 1.0 else delay.relief
        change = speed * (late - 1.0) * min(elapsed_s, 1.0) + delay.step * (late - self._before)
        self._taken = min(max(self._taken * math.exp(-change), 1.0 - _MOST), 1.0)
        self._before = late

    def takes_one(self) -> bool:
        """Whether the next request is of that share: spread evenly, without chance."""
        self._due += self.value
        if self._due < 1.0:
            return False
        self._due -= 1.0
        return True


class Overload:
    """The load of one worker. Requests are counted from the end of their head to the end of their answer."""

    def __init__(
        self,
        *,
        max_in_flight: int,
        loop: asyncio.AbstractEventLoop,
        delay: Delay | None = None,
        computed: Callable[[], float] = time.thread_time,
    ) -> None:
        """computed: seconds of processor time that the loop's thread has had so far."""
        self._max_in_flight = max_in_flight
        self._loop = loop
        self._share = Share(delay or Delay())
        self._probe: asyncio.Handle | None = None
        self._set_at = 0.0
        self._computed = computed
        self._computed_then = 0.0
        self._busy = False
        self.in_flight = 0

    @property
    def turned_away(self) -> float:
        """The share of requests that is turned away now, 0 to 1."""
        return self._share.value

    def full(self) -> Refusal | None:
        """Why the request that has just come is to be turned away; None when it can be taken. Ask once for each."""
        self._busy = True
        if self._probe is None:
            self._set()
        if self.in_flight >= self._max_in_flight:
            return Refusal.IN_FLIGHT
        if self._share.value > 0.0 and self._share.takes_one():
            return Refusal.OVERLOAD
        return None

    def began(self) -> None:
        """A request is taken, or one that was refused is still to be answered."""
        self.in_flight += 1

    def ended(self, count: int = 1) -> None:
        """So many of them are answered, or their connection is gone."""
        self.in_flight -= count

    def stop(self) -> None:
        """Measure no more."""
        if self._probe is not None:
            self._probe.cancel()

    def _set(self) -> None:
        self._set_at = self._loop.time()
        self._computed_then = self._computed()
        self._probe = self._loop.call_later(_PROBE_S, self._measure, _TURNS)

    def _measure(self, turns: int) -> None:
        if turns > 0:
            self._probe = self._loop.call_soon(self._measure, turns - 1)
            return
        elapsed = self._loop.time() - self._set_at
        late = min(elapsed - _PROBE_S, self._computed() - self._computed_then)
        self._share.measured(max(0.0, late) if self.in_flight >= _SEVERAL else 0.0, elapsed)
        self._probe = None
        if self._busy or self._share.value > 0.0:
            self._busy = False
            self._set()

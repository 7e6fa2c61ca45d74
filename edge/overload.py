"""Whether a worker takes one more request, or answers it 503 at once.

Two limits. The hard one is a number of requests under way. The soft one is delay: what a request waits for the event
loop before anything is done for it. Work that nobody waits for any more is the end of every overloaded server. So when
the loop has been late for longer than a moment, requests are taken at the rate at which they have been answered
meanwhile, which is all that this worker can do, and the rest is turned away. That rate is then led by the lateness: it
falls while the loop is later than the target and rises while it is not (the control law of PIE, RFC 8033; the idea of
CoDel, RFC 8289, that only standing delay counts and a burst does not).

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
MOST_AGAIN_S = 10
"""The longest that anybody is told to stay away for overload, seconds."""
_SEVERAL = 16  # requests under way
_OVER_S = 2.0 * MOST_AGAIN_S  # all who were told to come again have come, and nobody had to be turned away
_SLOWEST = 10.0  # requests a second are taken whatever happens: without any work there would be nothing to measure
_LATELY_S = 0.5
_NOBODY = 0.001  # of those that came
_MOST_LATE = 5.0  # targets: beyond that it is all the same


@dataclass(frozen=True, slots=True)
class Delay:
    """How late the event loop may be.

    alarm_s: lateness beyond which it is overload, once that has lasted for patience_s; target_s: the lateness that is
    aimed at under overload, so much less that what is taken is answered without delay. The rest is the control law,
    for the logarithm of the rate, so that it is as steady at ten times the capacity as at twice. pressure and relief:
    how fast the rate moves, per second and per target of lateness beyond or below the target; step: how much it follows
    a change of the lateness. burst: requests that may always come together.
    """

    alarm_s: float = 0.1
    target_s: float = 0.025
    patience_s: float = 0.5
    pressure: float = 1.0
    relief: float = 1.5
    step: float = 0.3
    burst: float = 64.0


class Throttle:
    """The rate at which requests are taken while there are too many. Pure but for its own state; times in seconds."""

    def __init__(self, delay: Delay) -> None:
        self._delay = delay
        self._late_for_s = 0.0
        self._answered = 0
        self._before = 1.0  # lateness at the last measurement, in targets
        self._rate: float | None = None  # requests a second; None: as they come
        self._usual = 0.0  # that could be answered when the overload began
        self._allowed = 0.0  # requests that may be taken now
        self._allowed_at = 0.0
        self._refused_at = 0.0
        self._taken_lately, self._refused_lately = 0, 0
        self.turned_away = 0.0
        """The share of the requests that came in the last moments."""

    def measured(self, late_s: float, elapsed_s: float, answered: int, now: float) -> None:
        """The loop was late by `late_s`, `elapsed_s` after the last measurement; so many were answered meanwhile."""
        came = self._taken_lately + self._refused_lately
        share = self._refused_lately / came if came else 0.0
        self.turned_away += (share - self.turned_away) * min(elapsed_s / _LATELY_S, 1.0)
        if self.turned_away < _NOBODY:
            self.turned_away = 0.0
        self._taken_lately = self._refused_lately = 0
        late = min(late_s / self._delay.target_s, _MOST_LATE)
        if self._rate is not None:
            if late > 1.0 or share > 0.0:
                self._rate = self._led(self._rate, late, elapsed_s)
            elif self._rate < self._usual:  # nobody comes: back to what was possible, no further
                self._rate = min(self._led(self._rate, late, elapsed_s), self._usual)
            if now - self._refused_at > _OVER_S:
                self._rate, self._late_for_s, self._answered = None, 0.0, 0
        elif late_s <= self._delay.alarm_s:
            self._late_for_s, self._answered = 0.0, 0
        else:
            # One long stop, however long, is no standing delay: at least three measurements have to say so.
            self._late_for_s += min(elapsed_s, self._delay.patience_s / 2)
            self._answered += answered
            if self._late_for_s > self._delay.patience_s:
                self._rate = self._usual = max(self._answered / self._late_for_s, _SLOWEST)
                self._allowed, self._allowed_at, self._refused_at = 0.0, now, now
        self._before = late

    def takes_one(self, now: float) -> bool:
        """Whether the next request is taken."""
        rate = self._rate
        if rate is None:
            return True
        most = max(self._delay.burst, rate * self._delay.target_s)
        self._allowed = min(self._allowed + (now - self._allowed_at) * rate, most)
        self._allowed_at = now
        if self._allowed < 1.0:
            self._refused_at = now
            self._refused_lately += 1
            return False
        self._allowed -= 1.0
        self._taken_lately += 1
        return True

    def _led(self, rate: float, late: float, elapsed_s: float) -> float:
        speed = self._delay.pressure if late > 1.0 else self._delay.relief
        change = speed * (late - 1.0) * min(elapsed_s, 1.0) + self._delay.step * (late - self._before)
        return max(rate * math.exp(-change), _SLOWEST)


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
        self.throttle = Throttle(delay or Delay())
        self._answered = 0  # since the last measurement
        self._probe: asyncio.Handle | None = None
        self._set_at = 0.0
        self._computed = computed
        self._computed_then = 0.0
        self._busy = False
        self._told = 0
        self.in_flight = 0

    @property
    def turned_away(self) -> float:
        """The share of requests that is turned away now, 0 to 1."""
        return self.throttle.turned_away

    def again_s(self) -> int:
        """When to come again, in whole seconds: the more are turned away, the later, and not all at once.

        To say no costs something, too: if all came again after a second there would be little time for anything else.
        """
        least = min(math.ceil(1.0 / (1.0 - self.throttle.turned_away + 1e-9)), MOST_AGAIN_S // 2)
        self._told += 1
        return least + self._told % least

    def full(self) -> Refusal | None:
        """Why the request that has just come is to be turned away; None when it can be taken. Ask once for each."""
        self._busy = True
        if self._probe is None:
            self._set()
        if self.in_flight >= self._max_in_flight:
            return Refusal.IN_FLIGHT
        if not self.throttle.takes_one(self._loop.time()):
            return Refusal.OVERLOAD
        return None

    def began(self) -> None:
        """A request is taken, or one that was refused is still to be answered."""
        self.in_flight += 1

    def ended(self, count: int = 1) -> None:
        """So many of them are answered, or their connection is gone."""
        self.in_flight -= count
        self._answered += count

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
        self.throttle.measured(
            max(0.0, late) if self.in_flight >= _SEVERAL else 0.0, elapsed, self._answered, self._loop.time()
        )
        self._answered = 0
        self._probe = None
        if self._busy or self.throttle.turned_away > 0.0:
            self._busy = False
            self._set()

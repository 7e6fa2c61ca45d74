"""Those who keep us waiting are told in time, whoever else makes progress."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import pytest

from edge.connections import Patience

WITHIN_S = 60.0


@dataclass(eq=False)
class Timer:
    when: float
    callback: Callable[[], None]
    loop: Turns

    def cancel(self) -> None:
        self.loop.timers.discard(self)


class Turns:
    """A loop's clock and timers, turned by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: set[Timer] = set()

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(when, callback, self)
        self.timers.add(timer)
        return timer

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        return self.call_at(self.now + delay, callback)

    def until(self, when: float) -> None:
        """All that is due by then, in its order."""
        while due := [one for one in self.timers if one.when <= when]:
            first = min(due, key=lambda one: one.when)
            self.timers.discard(first)
            self.now = max(self.now, first.when)
            first.callback()
        self.now = when


@dataclass(eq=False)
class Client:
    """One that waits. progresses: it has taken something each time that its time is over, and gets more."""

    turns: Turns
    progresses: bool = False
    patience: Patience | None = None
    told_at: list[float] = field(default_factory=list)

    def late(self) -> None:
        self.told_at.append(self.turns.now)
        if self.progresses and self.patience is not None:
            self.patience.begin(self)

    def stalled(self) -> None:
        raise NotImplementedError

    def give_way(self) -> bool:
        return False


@pytest.mark.parametrize("every", [0, 1, 2, 50])
def test_everybody_is_told_within_moments_of_his_time_however_many_others_are_given_more(every: int) -> None:
    turns = Turns()
    patience = Patience(WITHIN_S, cast("asyncio.AbstractEventLoop", turns))
    clients = [
        Client(turns, progresses=bool(every) and number % every == 0, patience=patience) for number in range(306)
    ]
    for client in clients:
        patience.begin(client)
    turns.until(WITHIN_S + 1)
    assert all(WITHIN_S <= client.told_at[0] <= WITHIN_S + 0.1 for client in clients)
    turns.until(3 * WITHIN_S + 1)
    assert {len(client.told_at) for client in clients if client.progresses} <= {3}
    assert {len(client.told_at) for client in clients if not client.progresses} <= {1}
    assert len(patience) == sum(client.progresses for client in clients)
    assert len(turns.timers) == (1 if len(patience) else 0)

"""A body -> accepted events on disk: the part of the road that a client waits for."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from edge.counters.event import Agent, Place, Rejection, parse, place_in
from edge.counters.journal import Journal
from edge.counters.record import encode


class Receipt(NamedTuple):
    """What became of one body. accepted: events that are on disk and will be counted exactly once."""

    accepted: int
    rejected: list[Rejection]


class Intake:
    """Accepts view events into one journal.

    known: says whether the catalog holds a resource; None where the node knows no catalog and counts any.
    """

    def __init__(self, journal: Journal, known: Callable[[str], bool] | None = None) -> None:
        self._journal = journal
        self._known = known
        self._home = place_in(journal.label.home.province)

    async def accept(self, body: bytes, place: Place | None = None, agent: Agent = Agent.HUMAN) -> Receipt:
        """Take the good events of a body in; returns when they are on disk.

        place: where they come from, None for the journal's own province.
        Raises BodyError when the body is no events at all, JournalError when the promise can't be given: then nothing
        was promised, and the same events may be sent again.
        """
        stamp_ms = self._journal.stamp_ms()
        events, rejected = parse(body, stamp_ms, self._known)
        if events:
            # No await between the stamp and the append: records enter the journal in the order of their stamps.
            await self._journal.append(encode(stamp_ms, events, place or self._home, agent), stamp_ms)
        return Receipt(len(events), rejected)

"""A body -> accepted events on disk: the part of the road that a client waits for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple

from edge.counters.allowance import Allowances
from edge.counters.event import Agent, BodyError, Place, Rejection, ViewEvent, parse, place_in
from edge.counters.journal import Journal, JournalError
from edge.counters.outliers import Outliers
from edge.counters.record import encode


class Bot(Enum):
    """What gave a bot away. The values are metric labels."""

    DECLARED = "declared"
    CLIENT = "client"
    VIEWER = "viewer"


class Receipt(NamedTuple):
    """What became of one body. accepted: events that are on disk and will be counted exactly once.

    bots: of these, how many are counted as a bot's; given_away: by what, where there are any.
    """

    accepted: int
    rejected: list[Rejection]
    bots: int = 0
    given_away: Bot | None = None


class _Sorted(NamedTuple):
    """The events of a body, by who has sent them."""

    humans: Sequence[ViewEvent]
    bots: Sequence[ViewEvent]
    given_away: Bot | None


class Intake:
    """Accepts view events into one journal.

    known: says whether the catalog holds a resource; None where the node knows no catalog and counts any. outliers,
    allowances: the worker's; None where every rate is a human's, and where there is no limit.
    """

    def __init__(
        self,
        journal: Journal,
        known: Callable[[str], bool] | None = None,
        *,
        outliers: Outliers | None = None,
        allowances: Allowances | None = None,
    ) -> None:
        self._journal = journal
        self._known = known
        self._outliers, self._allowances = outliers, allowances
        self._home = place_in(journal.label.home.province)

    def wait_s(self, client: str) -> float:
        """How long this client has to wait before a body of its is taken; 0 when one is taken now."""
        return self._allowances.wait_s(client) if self._allowances is not None else 0.0

    async def accept(
        self, body: bytes, place: Place | None = None, agent: Agent = Agent.HUMAN, client: str = ""
    ) -> Receipt:
        """Take the good events of a body in; returns when they are on disk.

        place: where they come from, None for the journal's own province. agent: a bot where the client says so itself.
        client: what all its requests have in common, empty where it is not known.
        Raises BodyError when the body is no events at all, JournalError when the promise can't be given: then nothing
        was promised, and the same events may be sent again.
        """
        stamp_ms = self._journal.stamp_ms()
        try:
            events, rejected = parse(body, stamp_ms, self._known)
        except BodyError:
            self._charge(client, 1)
            raise
        self._charge(client, len(events) + len(rejected))
        if not events:
            return Receipt(0, rejected)
        if agent is Agent.BOT:
            sorted_ = _Sorted((), events, Bot.DECLARED)
        elif self._outliers is None:
            sorted_ = _Sorted(events, (), None)
        else:
            sorted_ = _sort(self._outliers, client, events)
        try:
            # No await between the stamp and the append: records enter the journal in the order of their stamps.
            await self._append(stamp_ms, sorted_, place or self._home)
        except JournalError:
            if self._outliers is not None and agent is Agent.HUMAN:
                self._outliers.take_back(client, events)
            raise
        return Receipt(len(events), rejected, len(sorted_.bots), sorted_.given_away)

    def _charge(self, client: str, events: int) -> None:
        if self._allowances is not None:
            self._allowances.charge(client, events)

    async def _append(self, stamp_ms: int, events: _Sorted, place: Place) -> None:
        """A record for each kind of sender that there is. Raises JournalError."""
        append = self._journal.append
        if not events.bots:
            await append(encode(stamp_ms, events.humans, place, Agent.HUMAN), stamp_ms)
        elif not events.humans:
            await append(encode(stamp_ms, events.bots, place, Agent.BOT), stamp_ms)
        else:
            humans = encode(stamp_ms, events.humans, place, Agent.HUMAN)
            await append(humans, stamp_ms, encode(stamp_ms, events.bots, place, Agent.BOT))


def _sort(outliers: Outliers, client: str, events: list[ViewEvent]) -> _Sorted:
    if outliers.holds(client, events):
        return _Sorted((), events, Bot.CLIENT)
    viewers = outliers.among(events)
    if not viewers:
        return _Sorted(events, (), None)
    humans = [one for one in events if one.viewer not in viewers]
    return _Sorted(humans, [one for one in events if one.viewer in viewers], Bot.VIEWER)

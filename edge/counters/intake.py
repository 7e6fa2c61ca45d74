"""A body -> accepted events on disk: the part of the road that a client waits for."""

from __future__ import annotations

import asyncio
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


class Offer(NamedTuple):
    """What will have become of a body once it is on disk. synced: when that is; None where nothing is waited for.

    judged: the events that were entered as somebody's views.
    """

    receipt: Receipt
    synced: asyncio.Future[None] | None
    judged: Sequence[ViewEvent]
    client: str


class _ByAgent(NamedTuple):
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
        try:
            offer = self.offer(body, place, agent, client)
        except BodyError:
            self._charge(client, 1)
            raise
        if offer.synced is not None:
            try:
                await offer.synced
            except JournalError:
                self.withdraw(offer)
                raise
        return offer.receipt

    def offer(self, body: bytes, place: Place | None = None, agent: Agent = Agent.HUMAN, client: str = "") -> Offer:
        """The same without waiting: the receipt is good once the offer is synced. If that fails, it is to be withdrawn;
        after a BodyError the client has not been charged."""
        stamp_ms = self._journal.stamp_ms()
        events, rejected = parse(body, stamp_ms, self._known)
        if not events:
            self._charge(client, len(rejected))
            return Offer(Receipt(0, rejected), None, (), client)
        judged = self._outliers if agent is Agent.HUMAN else None
        if agent is Agent.BOT:
            by_agent = _ByAgent((), events, Bot.DECLARED)
        else:
            by_agent = _ByAgent(events, (), None) if judged is None else _sort(judged, client, events)
        try:
            # No await between the stamp and the put: records enter the journal in the order of their stamps.
            synced = self._put(stamp_ms, by_agent, place or self._home)
        except JournalError:
            if judged is not None:
                judged.take_back(client, events, viewers=by_agent.given_away is not Bot.CLIENT)
            raise
        self._charge(client, len(events) + len(rejected))
        receipt = Receipt(len(events), rejected, len(by_agent.bots), by_agent.given_away)
        return Offer(receipt, synced, events if judged is not None else (), client)

    def withdraw(self, offer: Offer) -> None:
        """Its events did not reach the disk in time."""
        if self._outliers is not None:
            viewers = offer.receipt.given_away is not Bot.CLIENT
            self._outliers.take_back(offer.client, offer.judged, viewers=viewers)

    def _charge(self, client: str, events: int) -> None:
        if self._allowances is not None:
            self._allowances.charge(client, events)

    def _put(self, stamp_ms: int, events: _ByAgent, place: Place) -> asyncio.Future[None]:
        """A record for each agent that there is. Raises JournalError."""
        put = self._journal.put
        if not events.bots:
            return put(encode(stamp_ms, events.humans, place, Agent.HUMAN), stamp_ms)
        bots = encode(stamp_ms, events.bots, place, Agent.BOT)
        if not events.humans:
            return put(bots, stamp_ms)
        return put(encode(stamp_ms, events.humans, place, Agent.HUMAN), stamp_ms, bots)


def _sort(outliers: Outliers, client: str, events: list[ViewEvent]) -> _ByAgent:
    if outliers.holds(client, events):
        return _ByAgent((), events, Bot.CLIENT)
    viewers = outliers.among(events)
    if not viewers:
        return _ByAgent(events, (), None)
    humans = [one for one in events if one.viewer not in viewers]
    return _ByAgent(humans, [one for one in events if one.viewer in viewers], Bot.VIEWER)

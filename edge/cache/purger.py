"""Makes purges and learns who has applied them.

    1. the node's log, on disk, and this worker        from here on nothing can be lost or taken back
    2. the siblings, through their sockets             they read the log to its end
    3. the bus                                         a purge it can't be told now, the follower tells it later
    4. wait until all that are there have said that it is applied, or until the time is over

A sibling that starts meanwhile reads the log after its socket is there, and sockets are looked for after the log was
written: one of the two sees the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol
from uuid import uuid4

import orjson

from edge.cache.purge import Kind, PurgeRecord, Scope
from edge.cache.purge_bus import AT_ONCE, BusError, PurgeBus
from edge.cache.purge_follower import PurgeFollower
from edge.cache.purge_receipt import NodeReceipt, Receipt, alone, settled
from edge.clock import Clock
from origin.reader import ObjectReader, OriginError, ReadRequest

SYNC_PATH: Final = "/.purge/sync"
"""Where a worker is asked, on its own socket, to read the log to its end: `?first=…&last=…`, positions."""
POLL_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Order:
    """What to purge: values of one scope ('' for ALL), softly or not."""

    scope: Scope
    values: tuple[str, ...]
    soft: bool = False


class Colleagues(Protocol):
    """The other workers of this node."""

    async def present(self) -> list[int]:
        """Slots of those that have a socket now."""

    def reader(self, slot: int) -> ObjectReader | None: ...


@dataclass(frozen=True, slots=True)
class _Answered:
    """What the workers of this node said: slot -> position (None: no answer in time), and how much was removed."""

    positions: dict[int, int | None]
    removed: int


class _Told(NamedTuple):
    """The bus has it: which bus, and at which epoch."""

    bus: str
    epoch: int


class Purger:
    """colleagues None: this worker is the only one of its node. deadline_s: until an answer, whoever has confirmed."""

    def __init__(
        self,
        follower: PurgeFollower,
        bus: PurgeBus | None,
        colleagues: Colleagues | None,
        *,
        node: str,
        slot: int,
        clock: Clock,
        deadline_s: float = 5.0,
    ) -> None:
        self._follower = follower
        self._bus = bus
        self._colleagues = colleagues
        self._node = node
        self._slot = slot
        self._clock = clock
        self._deadline_s = deadline_s
        self.unconfirmed = 0
        """Nodes that had not confirmed the last purge made here when it was answered."""

    async def purge(self, order: Order) -> Receipt:
        """Purge, and say who has confirmed. Raises PurgeLogError: then nothing was purged."""
        ends = self._clock.monotonic() + self._deadline_s
        kind = Kind.SOFT if order.soft else Kind.HARD
        records = [
            PurgeRecord(uuid4().hex, order.scope, value, kind, self._clock.wall(), self._node) for value in order.values
        ]
        applied = await self._follower.record(records)
        first, last = applied[0].seq, applied[-1].seq
        answered, told = await asyncio.gather(self._tell_siblings(first, last, ends), self._publish(records, ends))
        nodes = await self._confirmations(answered, last, told, ends)
        receipt = Receipt(
            tuple(record.id for record in records),
            order.scope,
            order.values,
            kind,
            last if self._bus is None else told and told.epoch,
            nodes,
            sum(one.removed for one in applied) + answered.removed,
        )
        self.unconfirmed = receipt.unconfirmed
        return receipt

    async def spread(self, records: Sequence[PurgeRecord]) -> None:
        """Purges that nobody waits for a receipt of: applied on this node when it returns, elsewhere soon after.

        The follower tells the bus. Raises PurgeLogError: then nothing was purged.
        """
        if not records:
            return
        applied = await self._follower.record(records)
        ends = self._clock.monotonic() + self._deadline_s
        await self._tell_siblings(applied[0].seq, applied[-1].seq, ends)

    # -- this node ---------------------------------------------------------------------------------------------------

    async def _tell_siblings(self, first: int, last: int, ends: float) -> _Answered:
        slots = await self._colleagues.present() if self._colleagues is not None else []
        answers = await asyncio.gather(*(self._tell(slot, first, last, ends) for slot in slots))
        positions = {slot: position for slot, (there, position, _) in zip(slots, answers, strict=True) if there}
        return _Answered(positions | {self._slot: last}, sum(removed for _, _, removed in answers))

    async def _tell(self, slot: int, first: int, last: int, ends: float) -> tuple[bool, int | None, int]:
        """Whether that worker exists, its position (None: it did not say), and what it removed."""
        reader = self._colleagues.reader(slot) if self._colleagues is not None else None
        if reader is None:
            return False, None, 0
        request = ReadRequest(f"{SYNC_PATH}?first={first}&last={last}", method="POST")
        try:
            async with asyncio.timeout(ends - self._clock.monotonic()):
                position, removed = await self._answer(reader, request)
        except OriginError as error:
            return not _nobody_listens(error), None, 0
        except (TimeoutError, ValueError, KeyError, TypeError):
            return True, None, 0
        return True, position, removed

    async def _answer(self, reader: ObjectReader, request: ReadRequest) -> tuple[int, int]:
        """That worker's position, and what it removed; asked again for as long as it can't have seen the question."""
        while True:
            try:
                async with reader.open(request) as response:
                    said = orjson.loads(b"".join([chunk async for chunk in response.chunks]))
                    return int(said["position"]), int(said["removed"])
            except OriginError as error:
                if _nobody_listens(error) or not error.failure.unsent:
                    raise
            await asyncio.sleep(POLL_S)

    # -- the others --------------------------------------------------------------------------------------------------

    async def _publish(self, records: Sequence[PurgeRecord], ends: float) -> _Told | None:
        """Where the last record is; None when the bus could not be told in time."""
        told: _Told | None = None
        for start in range(0, len(records), AT_ONCE):
            told = await self._publish_some(records[start : start + AT_ONCE], ends)
            if told is None:
                return None
        return told

    async def _publish_some(self, records: Sequence[PurgeRecord], ends: float) -> _Told | None:
        while self._bus is not None and self._clock.monotonic() < ends:
            bus = self._follower.heard.bus
            try:
                epochs = await self._bus.publish(bus, records)
            except BusError:
                return None
            if epochs:
                return _Told(bus, max(epochs))
            await asyncio.sleep(POLL_S)  # the bus is another one; the follower finds out and adopts it
        return None

    async def _confirmations(
        self, answered: _Answered, last: int, told: _Told | None, ends: float
    ) -> tuple[NodeReceipt, ...]:
        if self._bus is None:
            return (alone(self._node, answered.positions, last),)
        while True:
            if told is not None:
                await self._look(self._bus)
            nodes = self._receipts(answered, last, told)
            if told is None or settled(nodes) or self._clock.monotonic() >= ends:
                return nodes
            await asyncio.sleep(POLL_S)

    async def _look(self, bus: PurgeBus) -> None:
        with suppress(BusError):  # then what was seen last counts
            self._follower.witnesses.note(await bus.roster())

    def _receipts(self, answered: _Answered, last: int, told: _Told | None) -> tuple[NodeReceipt, ...]:
        """Everybody's receipt, as far as is known now."""
        bus, epoch = told or ("", None)
        witnesses = self._follower.witnesses
        return witnesses.own(bus, epoch, answered.positions, last), *witnesses.others(bus, epoch)


def _nobody_listens(error: OriginError) -> bool:
    """Whether that worker is dead for certain; its successor reads the log before it serves.

    Any other failure to connect may be ours (no descriptor left), or that of one who lives and is busy (its queue of
    connections is full).
    """
    return isinstance(error.__cause__, ConnectionRefusedError | FileNotFoundError)

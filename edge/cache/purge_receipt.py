"""Who has confirmed a purge, and who has not. Pure: rosters in, receipts out.

A node is LIVE while one of its workers speaks on the bus; STOPPED when its last worker said goodbye: it serves nobody,
and hears what it missed before it serves again; LOST when it fell silent: it may be dead, or serving somebody behind a
broken network. Lost nodes are listed as unconfirmed for as long as they are remembered, but not waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from edge.cache.purge import Kind, Scope

Positions = Mapping[int, int | None]
"""Of this node's workers: slot -> position, None for one that did not say."""


@dataclass(frozen=True, slots=True)
class Member:
    """A worker that spoke lately: up to which epoch it has applied all purges, and how long ago it said so.

    slots: of all workers of its node, as far as it sees.
    """

    node: str
    slot: int
    epoch: int
    slots: frozenset[int]
    age_s: float


@dataclass(frozen=True, slots=True)
class Remembered:
    """A node seen lately. stopped: it ended on its own, so that nobody is served by it."""

    node: str
    stopped: bool
    age_s: float


@dataclass(frozen=True, slots=True)
class Roster:
    """Who is on the bus."""

    bus: str
    members: tuple[Member, ...]
    nodes: tuple[Remembered, ...]


class Presence(Enum):
    """Whether a node is there."""

    LIVE = "live"
    STOPPED = "stopped"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class SlotReceipt:
    """One worker. epoch: up to which it has applied everything on the bus; position: up to which of this node's log it
    has. None while that is not known.
    """

    slot: int
    epoch: int | None
    position: int | None
    confirmed: bool


@dataclass(frozen=True, slots=True)
class NodeReceipt:
    """One node. epoch: the lowest of its workers'; without a bus, their positions count.

    silent_s: how long ago it was last seen.
    """

    node: str
    presence: Presence
    epoch: int | None
    confirmed: bool
    workers: tuple[SlotReceipt, ...]
    silent_s: float


@dataclass(frozen=True, slots=True)
class Receipt:
    """The answer to one request to purge: `ids` and `values` of its purges, in the order asked.

    epoch: of the last of them: on the bus; on a node without one, its own position; None while the bus could not be
    told. removed: values taken out of memory, or made stale there, on this node.
    """

    ids: tuple[str, ...]
    scope: Scope
    values: tuple[str, ...]
    kind: Kind
    epoch: int | None
    nodes: tuple[NodeReceipt, ...]
    removed: int

    @property
    def complete(self) -> bool:
        """Whether everybody who may be serving has confirmed: nobody can know while the bus is away."""
        told = self.epoch is not None
        return told and all(node.confirmed for node in self.nodes if node.presence is not Presence.STOPPED)

    @property
    def unconfirmed(self) -> int:
        """How many nodes have not confirmed."""
        return sum(not node.confirmed for node in self.nodes)


@dataclass(slots=True)
class _Seen:
    """What is known of one node. at: when it was last seen; slots: (epoch, when it said so) of its workers.

    expected: slots that one of its workers named. Of a node that returns, the first may speak before the others do.
    """

    at: float
    stopped: bool = False
    bus: str = ""
    expected: frozenset[int] = frozenset()
    slots: dict[int, tuple[int, float]] = field(default_factory=dict)


class Witnesses:
    """All nodes that were on the bus lately, as far as this worker has seen.

    It remembers what the bus itself forgets when Redis loses its data, and who is to be told when Redis is away.
    gone_s: silence after which a worker is not waited for; remember_s: after which a node is forgotten.
    """

    def __init__(self, node: str, now: Callable[[], float], *, gone_s: float, remember_s: float) -> None:
        self._node = node
        self._now = now
        self._gone_s = gone_s
        self._remember_s = remember_s
        self._seen: dict[str, _Seen] = {}

    def note(self, roster: Roster) -> None:
        """Take over who is there."""
        now = self._now()
        for node in roster.nodes:
            seen = self._seen.setdefault(node.node, _Seen(now - node.age_s))
            seen.at, seen.stopped, seen.bus = now - node.age_s, node.stopped, roster.bus
            seen.slots, seen.expected = {}, frozenset()
        for member in roster.members:
            if member.node in self._seen:
                seen = self._seen[member.node]
                seen.slots[member.slot] = (member.epoch, now - member.age_s)
                seen.expected |= member.slots
        self._seen = {name: seen for name, seen in self._seen.items() if now - seen.at <= self._remember_s}

    def others(self, bus: str, epoch: int | None) -> tuple[NodeReceipt, ...]:
        """Every other node's receipt for an epoch of that bus; None: none of them can have heard of it."""
        now = self._now()
        names = sorted(name for name in self._seen if name != self._node)
        return tuple(self._receipt(name, bus, epoch, now) for name in names)

    def own(self, bus: str, epoch: int | None, positions: Positions, least: int) -> NodeReceipt:
        """This node's receipt for an epoch of that bus; None, while the bus is not told: for the position `least`."""
        seen = self._seen.get(self._node, _Seen(self._now()))
        epochs = {slot: said for slot, (said, _) in seen.slots.items()} if seen.bus == bus else {}
        workers = tuple(
            SlotReceipt(
                slot,
                epochs.get(slot),
                position,
                _reached(position, least) if epoch is None else _reached(epochs.get(slot), epoch),
            )
            for slot, position in sorted(positions.items())
        )
        return _here(self._node, workers, _lowest(worker.epoch for worker in workers))

    def _receipt(self, name: str, bus: str, epoch: int | None, now: float) -> NodeReceipt:
        seen = self._seen[name]
        presence = self._presence(seen, now)
        there = {slot: said for slot, (said, at) in seen.slots.items() if now - at < self._gone_s}
        slots = sorted(there.keys() | (seen.expected if there else ()))
        comparable = epoch is not None and seen.bus == bus
        workers = tuple(
            SlotReceipt(slot, there.get(slot), None, comparable and _reached(there.get(slot), epoch or 0))
            for slot in slots
        )
        confirmed = presence is Presence.LIVE and bool(workers) and all(worker.confirmed for worker in workers)
        lowest = _lowest(said for said, _ in seen.slots.values())
        return NodeReceipt(name, presence, lowest, confirmed, workers, max(0.0, now - seen.at))

    def _presence(self, seen: _Seen, now: float) -> Presence:
        if seen.stopped:
            return Presence.STOPPED
        return Presence.LIVE if now - seen.at < self._gone_s else Presence.LOST


def alone(node: str, positions: Positions, least: int) -> NodeReceipt:
    """The receipt of a node without a bus: its positions count as epochs."""
    workers = tuple(
        SlotReceipt(slot, position, position, _reached(position, least)) for slot, position in sorted(positions.items())
    )
    return _here(node, workers, _lowest(positions.values()))


def settled(nodes: Iterable[NodeReceipt]) -> bool:
    """Whether there is nobody left whose confirmation may come soon."""
    return all(node.confirmed for node in nodes if node.presence is Presence.LIVE)


def _here(node: str, workers: tuple[SlotReceipt, ...], lowest: int | None) -> NodeReceipt:
    return NodeReceipt(node, Presence.LIVE, lowest, all(worker.confirmed for worker in workers), workers, 0.0)


def _reached(number: int | None, least: int) -> bool:
    return number is not None and number >= least


def _lowest(numbers: Iterable[int | None]) -> int | None:
    return min((number for number in numbers if number is not None), default=None)

"""Who has confirmed a purge: what is made of rosters as time passes."""

from __future__ import annotations

from edge.cache.purge import Kind, Scope
from edge.cache.purge_receipt import (
    Member,
    NodeReceipt,
    Presence,
    Receipt,
    Remembered,
    Roster,
    Witnesses,
    alone,
    settled,
)
from tests.support.ticking import ManualClock

GONE_S, REMEMBER_S = 35.0, 86_400.0


def roster(
    *workers: tuple[str, int, int], also: tuple[int, ...] = (), stopped: tuple[str, ...] = (), bus: str = "bus-1"
) -> Roster:
    names = dict.fromkeys([node for node, _, _ in workers])
    return Roster(
        bus,
        tuple(Member(node, slot, epoch, frozenset({slot, *also}), 0.5) for node, slot, epoch in workers),
        (*(Remembered(name, False, 0.5) for name in names), *(Remembered(name, True, 9.0) for name in stopped)),
    )


def witnesses(clock: ManualClock) -> Witnesses:
    return Witnesses("edge-1", clock.monotonic, gone_s=GONE_S, remember_s=REMEMBER_S)


def receipt(*nodes: NodeReceipt, epoch: int | None = 7) -> Receipt:
    return Receipt(("id",), Scope.ALL, ("",), Kind.HARD, epoch, nodes, 0)


def test_a_node_has_confirmed_when_every_one_of_its_workers_has() -> None:
    seen = witnesses(ManualClock())
    seen.note(roster(("edge-2", 0, 7), ("edge-2", 1, 6), ("edge-3", 0, 7), ("edge-3", 1, 8)))
    two, three = seen.others("bus-1", 7)
    assert (two.node, two.confirmed, two.epoch) == ("edge-2", False, 6)
    assert (three.node, three.confirmed, three.epoch) == ("edge-3", True, 7)
    assert not settled((two, three))
    assert not receipt(two, three).complete
    assert receipt(three).complete


def test_a_silent_node_is_lost_after_a_while_and_forgotten_after_a_day() -> None:
    clock = ManualClock()
    seen = witnesses(clock)
    seen.note(roster(("edge-2", 0, 7)))
    clock.advance(GONE_S)
    seen.note(roster(("edge-1", 0, 8)))
    (two,) = seen.others("bus-1", 8)
    assert (two.presence, two.confirmed, two.workers) == (Presence.LOST, False, ())
    assert two.epoch == 7, "what it confirmed last is still told"
    assert settled((two,)), "nobody waits for it"
    assert not receipt(two).complete, "but it may be serving"
    clock.advance(REMEMBER_S)
    seen.note(roster(("edge-1", 0, 8)))
    assert seen.others("bus-1", 8) == ()


def test_a_stopped_node_is_listed_and_keeps_nothing_from_being_complete() -> None:
    seen = witnesses(ManualClock())
    seen.note(roster(("edge-1", 0, 7), stopped=("edge-2",)))
    (two,) = seen.others("bus-1", 7)
    assert (two.presence, two.confirmed) == (Presence.STOPPED, False)
    assert receipt(two).complete


def test_a_node_that_a_redis_without_memory_does_not_list_is_still_waited_for() -> None:
    seen = witnesses(ManualClock())
    seen.note(roster(("edge-1", 0, 7), ("edge-2", 0, 7)))
    seen.note(roster(("edge-1", 0, 9), bus="bus-2"))
    (two,) = seen.others("bus-2", 5)
    assert (two.presence, two.confirmed) == (Presence.LIVE, False), "it confirmed an epoch of another bus"
    seen.note(roster(("edge-1", 0, 9), ("edge-2", 0, 9), bus="bus-2"))
    assert seen.others("bus-2", 9)[0].confirmed


def test_a_worker_that_is_gone_is_not_waited_for_while_the_rest_of_its_node_speaks() -> None:
    seen = witnesses(ManualClock())
    seen.note(roster(("edge-2", 0, 7), ("edge-2", 1, 7)))
    seen.note(roster(("edge-2", 0, 8)))
    assert seen.others("bus-1", 8)[0].confirmed


def test_a_node_has_not_confirmed_while_a_worker_that_another_one_named_has_not_spoken() -> None:
    seen = witnesses(ManualClock())
    seen.note(roster(("edge-2", 0, 7), also=(1,)))
    (two,) = seen.others("bus-1", 7)
    assert [(worker.slot, worker.confirmed) for worker in two.workers] == [(0, True), (1, False)]
    assert not two.confirmed
    assert not settled((two,))
    seen.note(roster(("edge-2", 0, 7), ("edge-2", 1, 7), also=(0, 1)))
    assert seen.others("bus-1", 7)[0].confirmed


def test_of_this_node_every_worker_with_a_socket_is_asked_for() -> None:
    seen = witnesses(ManualClock())
    seen.note(roster(("edge-1", 0, 7), ("edge-1", 1, 7)))
    own = seen.own("bus-1", 7, {0: 100, 1: 100, 2: 100}, 100)
    assert [(worker.slot, worker.epoch, worker.confirmed) for worker in own.workers] == [
        (0, 7, True),
        (1, 7, True),
        (2, None, False),
    ]


def test_while_the_bus_is_away_positions_count_on_this_node_and_nobody_else_is_known_to_have_heard() -> None:
    seen = witnesses(ManualClock())
    seen.note(roster(("edge-1", 0, 7), ("edge-2", 0, 7)))
    own, others = seen.own("", None, {0: 100, 1: 99, 2: None}, 100), seen.others("", None)
    assert [worker.confirmed for worker in own.workers] == [True, False, False]
    assert [node.confirmed for node in others] == [False]
    assert not receipt(own, *others, epoch=None).complete
    assert not receipt(seen.own("", None, {0: 100}, 100), epoch=None).complete, "there may be nodes we never saw"


def test_a_node_without_a_bus_counts_positions() -> None:
    node = alone("edge-1", {0: 100, 1: 101}, 100)
    assert (node.confirmed, node.epoch) == (True, 100)
    assert not alone("edge-1", {0: 100, 1: None}, 100).confirmed

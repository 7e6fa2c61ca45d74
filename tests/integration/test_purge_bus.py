"""Purges between workers and nodes: real logs, a real Valkey, real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import redis.asyncio

from edge.cache.purge import Kind, PurgeRecord, Scope
from edge.cache.purge_bus import BusError, PurgeBus, connect
from edge.cache.purge_log import PurgeLogError
from edge.cache.purge_receipt import Presence
from edge.cache.purger import Order
from tests.support.loopguard import nothing_blocks_the_loop  # noqa: F401
from tests.support.purging import Purging, purging
from tests.support.valkey_cluster import valkey_cluster
from tests.support.waiting import eventually


def record(number: int) -> PurgeRecord:
    return PurgeRecord(f"id-{number}", Scope.URL, f"/{number}", Kind.HARD, 1.5, "edge-1")


async def keys(client: redis.asyncio.Redis) -> list[str]:
    return [name.decode() if isinstance(name, bytes) else name for name in await client.keys("*")]


@pytest.fixture
async def bus(redis_url: str) -> AsyncIterator[PurgeBus]:
    made = PurgeBus(connect(redis_url), namespace="test", node="edge-1", slot=0, max_records=5)
    yield made
    await made.close()


async def test_records_get_epochs_without_a_gap_and_one_published_again_keeps_its_own(bus: PurgeBus) -> None:
    begun = await bus.hear("", 0, "")
    assert (begun.birth, begun.floor, begun.epoch) == (1, 0, 1)
    assert await bus.publish(begun.bus, [record(1), record(2)]) == [2, 3]
    assert await bus.publish(begun.bus, [record(2), record(3), record(3)]) == [3, 4, 4]
    heard = await bus.hear(begun.bus, 1, begun.bus)
    assert heard.entries == ((2, record(1)), (3, record(2)), (4, record(3)))
    assert (await bus.hear(begun.bus, 3, "id-2", limit=1)).entries == ((4, record(3)),)


async def test_the_bus_is_bounded_and_says_what_it_cut_off(bus: PurgeBus) -> None:
    begun = await bus.hear("", 0, "")
    for number in range(12):
        await bus.publish(begun.bus, [record(number)])
    heard = await bus.hear(begun.bus, 1, begun.bus)
    assert (heard.floor, heard.epoch) == (8, 13)
    assert [epoch for epoch, _ in heard.entries] == [9, 10, 11, 12, 13]
    assert await bus.publish(begun.bus, [record(0)]) == [14], "what was cut off is not known any more"


async def test_nothing_is_published_on_a_bus_that_is_another_one_by_now(bus: PurgeBus) -> None:
    await bus.hear("", 0, "")
    assert await bus.publish("another", [record(1)]) == []


@pytest.mark.parametrize("lost", ["meta", "stream", "everything"])
async def test_a_bus_that_lost_a_part_is_another_one_whose_epochs_go_on(
    bus: PurgeBus, redis_url: str, lost: str
) -> None:
    begun = await bus.hear("", 0, "")
    await bus.publish(begun.bus, [record(1), record(2)])
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        names = await keys(client)
        await client.delete(*[name for name in names if lost == "everything" or name.endswith(lost)])
    again = await bus.hear(begun.bus, 3, "id-2")
    assert again.bus != begun.bus
    assert again.birth > 3
    assert again.entries == ()
    assert await bus.publish(again.bus, [record(1)]) == [again.birth + 1], "it does not know it any more"


async def test_a_bus_set_back_to_an_earlier_state_is_another_one(bus: PurgeBus, redis_url: str) -> None:
    """What a restored dump or a replica that lagged has: epochs we have heard of, with other records."""
    begun = await bus.hear("", 0, "")
    await bus.publish(begun.bus, [record(1), record(2)])
    shorter = await bus.hear(begun.bus, 9, "id-8")
    assert shorter.bus != begun.bus
    await bus.publish(shorter.bus, [record(3)])
    other_record = await bus.hear(shorter.bus, shorter.birth + 1, "id-2")
    assert other_record.bus not in (begun.bus, shorter.bus)


async def test_a_worker_is_on_the_roster_until_it_leaves_or_is_silent_too_long(redis_url: str) -> None:
    async with AsyncExitStack() as stack:
        ends = []
        for node, slot in (("edge-1", 0), ("edge-1", 1), ("edge-2", 0)):
            end = PurgeBus(connect(redis_url), namespace="test", node=node, slot=slot, gone_s=2.0)
            stack.push_async_callback(end.close)
            begun = await end.hear("", 0, "")
            await end.hear(begun.bus, begun.birth, begun.bus)
            ends.append(end)
        roster = await ends[0].roster()
        assert sorted((m.node, m.slot, m.epoch) for m in roster.members) == [
            ("edge-1", 0, 1),
            ("edge-1", 1, 1),
            ("edge-2", 0, 1),
        ]
        await ends[2].leave()
        await ends[1].leave()
        roster = await ends[0].roster()
        assert sorted((n.node, n.stopped) for n in roster.nodes) == [("edge-1", False), ("edge-2", True)]

        async def silent() -> bool:
            return not (await ends[0].roster()).members

        await eventually(silent)
        assert [n.node for n in (await ends[0].roster()).nodes if not n.stopped] == ["edge-1"]


async def test_a_redis_that_is_not_there_is_an_error_within_the_deadline() -> None:
    bus = PurgeBus(connect("redis://127.0.0.1:1"), namespace="test", node="n", slot=0)
    for call in (bus.hear("", 0, ""), bus.publish("b", []), bus.roster(), bus.leave(), bus.wait(1)):
        with pytest.raises(BusError):
            await call
    await bus.close()


async def test_what_is_no_purge_on_the_bus_is_an_error_and_not_a_crash(bus: PurgeBus, redis_url: str) -> None:
    begun = await bus.hear("", 0, "")
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        (stream,) = [name for name in await keys(client) if name.endswith("stream")]
        (meta,) = [name for name in await keys(client) if name.endswith("meta")]
        await client.xadd(stream, {"i": "x", "r": "garbage"}, id="2-0")
        await client.hset(meta, "epoch", "2")
    with pytest.raises(BusError, match="no purge"):
        await bus.hear(begun.bus, 1, begun.bus)


# ----------------------------------------------------------------------------------------------------------------------


async def test_a_purge_reaches_every_worker_of_every_node_before_the_answer(redis_url: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        workers: list[Purging] = []
        for node in ("edge-1", "edge-2", "edge-3"):
            run_dir = tmp_path / node / "run"
            run_dir.mkdir(parents=True)
            for slot in (0, 1):
                part = purging(
                    tmp_path / node, node=node, slot=slot, redis=redis_url, run_dir=run_dir, removed=10 + slot
                )
                workers.append(await stack.enter_async_context(part))
        for number, maker in enumerate(workers):
            receipt = await maker.url(f"/{number}")
            assert receipt.complete
            assert receipt.removed == 21, "both workers of the node that was asked"
            assert all(worker.values() == [f"/{n}" for n in range(number + 1)] for worker in workers)
            assert [node.node for node in receipt.nodes if node.confirmed] != []
            assert {node.node: len(node.workers) for node in receipt.nodes} == {"edge-1": 2, "edge-2": 2, "edge-3": 2}
            assert receipt.epoch is not None
            assert all(node.epoch is not None and node.epoch >= receipt.epoch for node in receipt.nodes)
        positions = {worker.follower.position for worker in workers[:2]}
        assert len(positions) == 1, "the workers of a node number purges alike"
        assert all(lag < 5 for worker in workers for lag in worker.lags)


async def test_hundreds_of_purges_in_one_order_are_confirmed_together(redis_url: str, tmp_path: Path) -> None:
    async with (
        purging(tmp_path / "1", redis=redis_url) as one,
        purging(tmp_path / "2", node="b", redis=redis_url) as two,
    ):
        urls = tuple(f"/{number}" for number in range(1000))
        receipt = await one.purger.purge(Order(Scope.URL, urls, soft=True))
        assert receipt.complete
        assert two.values() == list(urls)
        assert {record.kind for record in two.seen} == {Kind.SOFT}


async def test_a_cluster_carries_the_bus_too(tmp_path: Path) -> None:
    async with (
        valkey_cluster(tmp_path) as cluster,
        purging(tmp_path / "1", redis=cluster.url) as one,
        purging(tmp_path / "2", node="edge-2", redis=cluster.url) as two,
    ):
        assert (await one.url("/a")).complete
        assert (await two.url("/b")).complete
        assert one.values() == two.values() == ["/a", "/b"]


async def test_without_redis_the_workers_of_a_node_confirm_through_their_sockets(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    async with (
        purging(tmp_path / "log", slot=0, run_dir=run_dir, removed=1) as one,
        purging(tmp_path / "log", slot=1, run_dir=run_dir, removed=2) as two,
    ):
        receipt = await one.url("/a", "/b")
        assert two.values() == ["/a", "/b"]
        assert (receipt.complete, receipt.removed) == (True, 6)
        assert receipt.epoch == one.follower.position
        (node,) = receipt.nodes
        assert [(worker.slot, worker.confirmed) for worker in node.workers] == [(0, True), (1, True)]
        assert one.follower.state().attached
        assert one.follower.state().unplaced == 0


async def test_a_socket_that_nobody_listens_on_is_no_worker_and_one_that_says_nothing_has_not_confirmed(
    tmp_path: Path,
) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(run_dir / "worker-1.sock"))  # the file stays when the worker dies
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(run_dir / "worker-2.sock"))
        silent.listen()
        async with purging(tmp_path / "log", run_dir=run_dir, deadline_s=0.3) as one:
            receipt = await one.url("/a")
    assert not receipt.complete
    (node,) = receipt.nodes
    assert [(worker.slot, worker.confirmed) for worker in node.workers] == [(0, True), (2, False)]


async def test_a_worker_that_starts_knows_what_was_purged_before_it_is_asked_for_anything(
    redis_url: str, tmp_path: Path
) -> None:
    async with purging(tmp_path / "1", redis=redis_url) as one:
        async with purging(tmp_path / "2", node="edge-2", redis=redis_url) as two:
            await one.url("/a")
            position = two.follower.position
        receipt = await one.url("/b")
        assert {node.node: node.presence for node in receipt.nodes} == {
            "edge-1": Presence.LIVE,
            "edge-2": Presence.STOPPED,
        }
        assert receipt.complete, "who serves nobody need not be waited for"
        assert not receipt.nodes[1].confirmed
        async with purging(tmp_path / "2", node="edge-2", redis=redis_url) as two:
            assert two.follower.attached
            assert two.follower.table.verdict("/b", (), position) is Kind.HARD
            assert two.follower.table.verdict("/a", (), position) is None
            assert two.seen == [], "nothing is in memory yet"
            receipt = await one.url("/c")
            assert receipt.complete
            assert {node.presence for node in receipt.nodes} == {Presence.LIVE}


async def test_marks_of_values_in_the_redis_tier_mean_the_same_on_every_node(redis_url: str, tmp_path: Path) -> None:
    async with (
        purging(tmp_path / "1", redis=redis_url) as one,
        purging(tmp_path / "2", node="edge-2", redis=redis_url) as two,
    ):
        await one.url("/before")
        mark = one.follower.shared_mark(one.follower.table.position)
        assert mark is not None
        since = two.follower.mark_of(mark)
        assert since == two.follower.table.position
        await two.url("/after")
        assert two.follower.table.verdict("/after", (), since) is Kind.HARD
        since = one.follower.mark_of(mark)
        assert since is not None
        assert one.follower.table.verdict("/after", (), since) is Kind.HARD
        assert one.follower.table.verdict("/before", (), since) is None
        assert one.follower.mark_of("another:1") is None
        assert one.follower.mark_of("garbage") is None


async def test_a_client_that_leaves_does_not_undo_its_purge(redis_url: str, tmp_path: Path) -> None:
    async with (
        purging(tmp_path / "1", redis=redis_url) as one,
        purging(tmp_path / "2", node="edge-2", redis=redis_url) as two,
    ):
        for number in range(20):
            task = asyncio.create_task(one.url(f"/{number}"))
            for _ in range(number):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await one.url("/last")
        await eventually(lambda: sorted(one.values()) == sorted(two.values()))
        assert one.follower.position == one.follower.table.position


async def test_two_sites_on_one_redis_do_not_hear_each_other(redis_url: str, tmp_path: Path) -> None:
    async with (
        purging(tmp_path / "1", redis=redis_url, namespace="a") as one,
        purging(tmp_path / "2", node="edge-2", redis=redis_url, namespace="b") as two,
    ):
        receipt = await one.url("/a")
        assert [node.node for node in receipt.nodes] == ["edge-1"]
        await two.url("/b")
        assert two.values() == ["/b"]


async def test_a_node_whose_log_was_folded_goes_on_as_before(redis_url: str, tmp_path: Path) -> None:
    async with (
        purging(tmp_path / "1", redis=redis_url, max_records=20) as one,
        purging(tmp_path / "1", slot=1, redis=redis_url, max_records=20) as sibling,
        purging(tmp_path / "2", node="edge-2", redis=redis_url) as two,
    ):
        begun = one.follower.position
        for number in range(50):
            await (one if number % 2 else two).url(f"/{number}")
        for worker in (one, sibling):
            assert worker.values() == [f"/{number}" for number in range(50)]
            assert worker.follower.table.verdict("/49", (), worker.follower.position - 1) is Kind.HARD
            assert worker.follower.table.verdict("/unknown", (), begun) is Kind.VALIDATE
        assert one.follower.position == sibling.follower.position == begun + 50
        mark = two.follower.shared_mark(two.follower.table.position)
        assert mark is not None
        assert one.follower.mark_of(mark) == one.follower.position


async def test_a_purge_that_nobody_could_log_is_refused_and_nothing_is_applied(tmp_path: Path) -> None:
    async with purging(tmp_path / "log") as one:
        (tmp_path / "log" / "log").unlink()
        (tmp_path / "log" / "log").mkdir()
        with pytest.raises(PurgeLogError):
            await one.url("/a")
        assert one.values() == []
        (tmp_path / "log" / "log").rmdir()
        assert (await one.url("/b")).complete

"""Purges when Redis, the network or a node fails: nothing is lost, nobody claims what is not so, all of it heals."""

from __future__ import annotations

import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import redis.asyncio

from deploy.local.valkey import Valkey
from edge.cache.purge import Kind
from edge.cache.purge_receipt import NodeReceipt, Presence, Receipt
from tests.support.fault_proxy import FaultProxy
from tests.support.loopguard import nothing_blocks_the_loop  # noqa: F401
from tests.support.purging import Purging, purging
from tests.support.waiting import eventually


def of(receipt: Receipt, name: str) -> NodeReceipt:
    return next(node for node in receipt.nodes if node.node == name)


async def drop(server: Valkey, part: str) -> None:
    """Remove one of the bus's keys, as a Redis that is short of memory may."""
    async with redis.asyncio.Redis.from_url(server.url) as client:
        assert await client.delete(await key_of(client, part)) == 1


async def key_of(client: redis.asyncio.Redis, part: str) -> str:
    """The name of one of the bus's keys."""
    names = [name.decode() if isinstance(name, bytes) else name for name in await client.keys("*")]
    return next(name for name in names if name.endswith(":" + part))


async def all_know(workers: list[Purging], *urls: str) -> None:
    """Wait until each of them has applied exactly these, each at least once."""
    await eventually(lambda: all(set(worker.values()) == set(urls) for worker in workers))


async def test_a_node_cut_off_is_named_as_unconfirmed_and_hears_what_it_missed_before_it_uses_redis_again(
    own_redis: Valkey, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(FaultProxy.of(own_redis.url))
        one = await stack.enter_async_context(purging(tmp_path / "1", redis=own_redis.url, gone_s=3.0, deadline_s=1.5))
        away = await stack.enter_async_context(
            purging(tmp_path / "2", node="edge-2", redis=proxy.url(own_redis.url), gone_s=3.0)
        )
        mark = one.follower.shared_mark(one.follower.table.position)
        assert mark is not None
        proxy.cut()
        await eventually(lambda: not away.follower.attached)
        assert away.follower.mark_of(mark) is None, "values in Redis are misses for it"
        assert away.follower.shared_mark(away.follower.table.position) is None
        first = await one.url("/a")
        assert not first.complete
        assert of(first, "edge-1").confirmed
        assert not of(first, "edge-2").confirmed

        async def is_lost() -> bool:
            return of(await one.url("/b"), "edge-2").presence is Presence.LOST

        await eventually(is_lost)
        later = await one.url("/c")
        assert not later.complete, "it may be serving somebody"
        assert away.values() == []

        proxy.heal()
        await eventually(lambda: away.follower.attached)
        assert set(away.values()) == {"/a", "/b", "/c"}
        assert away.follower.mark_of(mark) is not None
        back = await one.url("/d")
        assert back.complete
        assert of(back, "edge-2").epoch == back.epoch


async def test_a_node_of_which_only_one_worker_has_returned_has_not_confirmed(
    own_redis: Valkey, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(FaultProxy.of(own_redis.url))
        one = await stack.enter_async_context(purging(tmp_path / "1", redis=own_redis.url, gone_s=3.0, deadline_s=1.5))
        for slot, url in enumerate((own_redis.url, proxy.url(own_redis.url))):
            await stack.enter_async_context(
                purging(tmp_path / "2", node="edge-2", slot=slot, redis=url, run_dir=run_dir, gone_s=3.0)
            )

        async def named(*workers: tuple[int, bool]) -> bool:
            receipt = await one.url("/a")
            assert receipt.complete == all(confirmed for _, confirmed in workers)
            return tuple((worker.slot, worker.confirmed) for worker in of(receipt, "edge-2").workers) == workers

        await eventually(lambda: named((0, True), (1, True)))
        proxy.cut()
        async with redis.asyncio.Redis.from_url(own_redis.url) as client:
            members = await key_of(client, "members")

            async def is_gone() -> bool:
                return len(await client.hkeys(members)) == 2

            await eventually(is_gone)
        await eventually(lambda: named((0, True), (1, False)))  # although the bus does not know it any more


async def test_a_network_that_swallows_everything_is_noticed_and_what_was_missed_is_heard_when_it_flows_again(
    own_redis: Valkey, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(FaultProxy.of(own_redis.url))
        one = await stack.enter_async_context(purging(tmp_path / "1", redis=own_redis.url, deadline_s=0.5))
        away = await stack.enter_async_context(purging(tmp_path / "2", node="edge-2", redis=proxy.url(own_redis.url)))
        proxy.stall()
        assert not (await one.url("/a")).complete
        await eventually(lambda: not away.follower.attached)
        blind = await away.url("/b")
        assert away.values() == ["/b"], "what is purged here holds here at once"
        assert blind.epoch is None
        assert not blind.complete
        assert not of(blind, "edge-1").confirmed
        assert away.follower.state().unplaced == 1
        proxy.heal()
        await all_know([one, away], "/a", "/b")
        await eventually(lambda: away.follower.attached and away.follower.state().unplaced == 0)


async def test_a_purge_made_while_redis_is_away_is_told_to_everybody_when_it_is_back(
    own_redis: Valkey, tmp_path: Path
) -> None:
    async with (
        purging(tmp_path / "1", redis=own_redis.url) as one,
        purging(tmp_path / "2", node="edge-2", redis=own_redis.url) as two,
    ):
        await one.url("/a")
        await own_redis.kill()
        receipt = await one.url("/b")
        assert (receipt.epoch, receipt.complete) == (None, False)
        assert {node.node: node.confirmed for node in receipt.nodes} == {"edge-1": True, "edge-2": False}
        assert two.values() == ["/a"]
        await own_redis.start()
        await all_know([one, two], "/a", "/b")
        assert (await two.url("/c")).complete


async def test_a_redis_that_lost_everything_loses_no_purge_that_any_node_remembers(
    own_redis: Valkey, tmp_path: Path
) -> None:
    async with purging(tmp_path / "1", redis=own_redis.url) as one:
        async with purging(tmp_path / "2", node="edge-2", redis=own_redis.url) as two:
            epoch = (await two.url("/seen")).epoch
            position = two.follower.position
        await one.url("/missed")
        await own_redis.kill()
        await own_redis.start()
        await eventually(lambda: one.follower.attached)
        async with purging(tmp_path / "2", node="edge-2", redis=own_redis.url) as two:
            assert two.follower.attached
            assert two.follower.table.verdict("/missed", (), position) is Kind.HARD
            assert two.follower.table.verdict("/other", (), position) is None
            assert two.follower.table.verdict("/seen", (), position) is None, "what was known is no news"
            after = await two.url("/after")
            assert after.complete
            assert epoch is not None
            assert after.epoch is not None
            assert after.epoch > epoch, "epochs only grow"
        assert one.values() == ["/seen", "/missed", "/after"]


async def test_a_purge_that_only_a_stopped_node_remembers_is_told_when_it_comes_back(
    own_redis: Valkey, tmp_path: Path
) -> None:
    async with purging(tmp_path / "1", redis=own_redis.url) as one:
        async with purging(tmp_path / "2", node="edge-2", redis=own_redis.url) as two:
            await own_redis.kill()
            await two.url("/kept")
        await own_redis.start()
        await eventually(lambda: one.follower.attached)
        assert one.values() == []
        async with purging(tmp_path / "2", node="edge-2", redis=own_redis.url):
            await all_know([one], "/kept")


@pytest.mark.parametrize("part", ["meta", "stream", "ids", "members", "nodes"])
async def test_a_bus_that_redis_evicted_in_part_goes_on_and_nothing_is_lost_or_applied_twice(
    own_redis: Valkey, tmp_path: Path, part: str
) -> None:
    async with (
        purging(tmp_path / "1", redis=own_redis.url) as one,
        purging(tmp_path / "2", node="edge-2", redis=own_redis.url) as two,
    ):
        await one.url("/a")
        await drop(own_redis, part)
        await two.url("/b")
        await all_know([one, two], "/a", "/b")

        async def both_confirm() -> bool:
            receipt = await one.url("/c")
            return receipt.complete and len(receipt.nodes) == 2

        await eventually(both_confirm)
        for worker in (one, two):
            ids = [record.id for record in worker.seen]
            assert len(ids) == len(set(ids))


async def test_what_the_bus_cut_off_before_a_node_heard_of_it_makes_it_validate_everything(
    own_redis: Valkey, tmp_path: Path
) -> None:
    async with purging(tmp_path / "1", redis=own_redis.url, bus_records=10) as one:
        async with purging(tmp_path / "2", node="edge-2", redis=own_redis.url, bus_records=10) as two:
            await one.url("/a")
            position = two.follower.position
        for number in range(20):
            await one.url(f"/{number}")
        async with purging(tmp_path / "2", node="edge-2", redis=own_redis.url, bus_records=10) as two:
            assert two.follower.attached
            assert two.follower.table.verdict("/0", (), position) is Kind.VALIDATE
            assert two.follower.table.verdict("/19", (), position) is Kind.HARD
            assert two.follower.table.verdict("/0", (), two.follower.table.position) is None
            assert (await two.url("/b")).complete


async def test_a_worker_starts_without_redis_says_so_and_catches_up_when_it_can(
    own_redis: Valkey, tmp_path: Path
) -> None:
    async with purging(tmp_path / "1", redis=own_redis.url) as one, FaultProxy.of(own_redis.url) as proxy:
        await one.url("/a")
        proxy.cut()
        async with purging(tmp_path / "2", node="edge-2", redis=proxy.url(own_redis.url)) as late:
            state = late.follower.state()
            assert not state.attached
            assert state.error
            proxy.heal()
            await eventually(lambda: late.follower.attached)
            assert late.values() == ["/a"]
            assert late.follower.state().error == ""


async def test_a_redis_that_hangs_does_not_keep_a_worker_from_starting(own_redis: Valkey, tmp_path: Path) -> None:
    assert own_redis.pid is not None
    os.kill(own_redis.pid, signal.SIGSTOP)
    try:
        async with purging(tmp_path / "1", redis=own_redis.url, deadline_s=1.0) as one:
            assert not one.follower.attached
            receipt = await one.url("/a")
            assert receipt.epoch is None
            os.kill(own_redis.pid, signal.SIGCONT)
            await eventually(lambda: one.follower.attached)
            assert (await one.url("/b")).complete
    finally:
        os.kill(own_redis.pid, signal.SIGCONT)


async def test_a_node_that_lost_its_log_hears_the_bus_from_the_beginning(own_redis: Valkey, tmp_path: Path) -> None:
    async with purging(tmp_path / "1", redis=own_redis.url) as one:
        await one.url("/a")
        position = one.follower.position
    (tmp_path / "1" / "log").unlink()
    async with purging(tmp_path / "1", redis=own_redis.url) as one:
        assert one.follower.attached
        assert one.follower.position > position
        assert one.follower.table.verdict("/a", (), position) is Kind.HARD
        assert one.follower.table.verdict("/b", (), position) is Kind.VALIDATE

"""Counting on a Redis that Sentinels watch over: whoever they call the primary counts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext, suppress
from pathlib import Path

import pytest

from edge.counters.board import BoardError
from edge.counters.sink import open_client
from tests.support.counting import Writer, board, event, writer
from tests.support.rollups import Rollups
from tests.support.valkey_sentinel import PASSWORD, Watched, watched_by_sentinels
from tests.support.waiting import eventually


async def settled(one: Writer) -> None:
    """Everything accepted is applied; Sentinels take their time to agree on what has become of whom."""
    await eventually(lambda: one.flusher.state().connected and one.flusher.state().pending_bytes == 0, within_s=60)


async def all_is_counted(watched: Watched, views: int) -> None:
    async with board(watched.url) as reader:
        assert (await reader.summary()).views == views
    client = open_client(watched.url)
    assert await Rollups(client, "44").disagreements() == []
    await client.aclose()


@asynccontextmanager
async def kept_back(watched: Watched, replica: int) -> AsyncIterator[None]:
    """The replica does not get what its primary writes."""
    port = watched.ports[replica]
    await watched.ask(port, "CONFIG", "SET", "primaryauth", "wrong")
    await watched.ask(port, "CLIENT", "KILL", "TYPE", "primary")
    yield
    await watched.ask(port, "CONFIG", "SET", "primaryauth", PASSWORD)


@pytest.mark.parametrize("lags", [False, True], ids=["in step", "lagging"])
async def test_a_killed_primarys_replica_is_found_and_what_it_never_got_is_sent_again(
    tmp_path: Path, lags: bool
) -> None:
    async with watched_by_sentinels(tmp_path / "redis") as watched, writer(tmp_path, watched.url) as one:
        await one.accept(*[event(viewer="anna") for _ in range(10)])
        await settled(one)
        await one.flusher.prove()
        assert one.flusher.state().durable == one.journal.end
        async with kept_back(watched, 1) if lags else nullcontext():
            await one.accept(*[event(f"lesson-{n}") for n in range(20)], event(kind="visit"))
            await settled(one)
            await watched.servers[0].kill()
            await watched.sentinels[2].kill()  # two of three are enough
            await one.accept(*[event() for _ in range(5)])

            async def promoted() -> bool:
                return await watched.primary() == 1

            await eventually(promoted, within_s=60)
        await settled(one)
        assert (one.flusher.state().replayed_bytes > 0) == lags
        await all_is_counted(watched, 35)


async def test_a_primary_that_is_replaced_while_it_lives_is_left(tmp_path: Path) -> None:
    others = 0
    async with watched_by_sentinels(tmp_path / "redis") as watched, writer(tmp_path, watched.url) as one:
        await one.accept(*[event() for _ in range(10)])
        await settled(one)
        await watched.ask(watched.sentinel_ports[0], "SENTINEL", "FAILOVER", "counters")

        async def replaced() -> bool:
            nonlocal others
            others += 1
            await one.accept(event("others"))
            return await watched.primary() == 1

        await eventually(replaced, within_s=60)
        await one.accept(*[event() for _ in range(10)])

        async def counted() -> bool:
            """What the old one has taken until it was told is sent again, and Sentinels may name it for a while yet."""
            held = await watched.ask(watched.ports[1], "HGET", "{44}:total", "views")
            if held != str(20 + others).encode():
                return False
            with suppress(BoardError):
                async with board(watched.url) as reader:
                    return (await reader.summary()).views == 20 + others
            return False

        await eventually(counted, within_s=60)
        await settled(one)
        async with board(watched.url) as reader:
            found = (await reader.resources(["lesson-1", "others"])).resources
        assert [one.views for one in found] == [20, others]
        await all_is_counted(watched, 20 + others)

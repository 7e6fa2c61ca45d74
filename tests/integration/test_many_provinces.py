"""One journal, many provinces: each gets its own events exactly once, and is nobody's hostage."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from config.provinces import PROVINCES
from deploy.local.valkey import Valkey
from edge.counters.event import Place, place_in
from edge.counters.journal import JournalError, Refusal, frame
from edge.counters.leftover import Leftovers
from edge.counters.sink import Client, Sink, open_client
from tests.support.counting import PROVINCE, Wall, Writer, event, writer
from tests.support.loopguard import nothing_blocks_the_loop  # noqa: F401
from tests.support.rollups import Rollups
from tests.support.waiting import eventually

HUNAN = "43"
BOTH = (PROVINCE, HUNAN)


@pytest.fixture
async def client(counters_url: str) -> AsyncIterator[Client]:
    one = open_client(counters_url)
    yield one
    await one.aclose()


@pytest.fixture
def own_counters_url(own_counters: Valkey) -> str:
    return own_counters.url


@pytest.fixture
async def own_client(own_counters_url: str) -> AsyncIterator[Client]:
    one = open_client(own_counters_url)
    yield one
    await one.aclose()


async def views(client: Client, province: str) -> int:
    return (await Rollups(client, province).total())["views"]


async def keys_of(client: Client, province: str) -> list[str]:
    found: Any = await client.keys("{" + province + "}*")
    return [key.decode() for key in found]


async def remember(client: Client, province: str) -> dict[str, bytes]:
    """All that Redis knows of a province."""
    return {key: await client.dump(key) for key in await keys_of(client, province)}  # type: ignore[misc]


async def go_back(client: Client, province: str, to: dict[str, bytes]) -> None:
    """As a shard of a cluster does that failed over to a replica which lagged behind."""
    pipe = client.pipeline(transaction=True)
    pipe.delete(*await keys_of(client, province))
    for key, dumped in to.items():
        pipe.restore(key, 0, dumped)
    await pipe.execute()


async def complete_ms(client: Client, province: str) -> float:
    found: Any = await client.zrange("{" + province + "}:complete", 0, 0, withscores=True)
    return float(found[0][1]) if found else 0.0


async def test_two_provinces_get_their_own_from_one_journal(tmp_path: Path, counters_url: str, client: Client) -> None:
    async with writer(tmp_path, counters_url, provinces=BOTH) as one:
        await one.accept(event(), event("lesson-2", "watch", watched_s=3))
        await one.accept(event(), place=place_in(HUNAN))
        await one.accept(event(), place=Place(HUNAN, "HK"))
        await one.settled()
        assert await Rollups(client, PROVINCE).total() == {"views": 1, "watch_ms": 3_000}
        assert await Rollups(client, HUNAN).total() == {"views": 2}
        for province in BOTH:
            assert await Rollups(client, province).disagreements() == []


async def test_all_provinces_get_their_own_from_one_journal(tmp_path: Path, counters_url: str, client: Client) -> None:
    async with writer(tmp_path, counters_url, provinces=PROVINCES) as one:
        for number in range(3):
            for province in PROVINCES:
                await one.accept(event(f"lesson-{number}"), event(province), place=place_in(province))
        await one.settled()
        before_ms = one.journal.stamp_ms()

        async def all_are_complete() -> bool:
            return min([await complete_ms(client, province) for province in PROVINCES]) >= before_ms

        await eventually(all_are_complete)
        for province in PROVINCES:
            assert await Rollups(client, province).by_resource("views") == {
                "lesson-0": 1,
                "lesson-1": 1,
                "lesson-2": 1,
                province: 3,
            }
        assert one.flusher.state().events == 6 * len(PROVINCES)
        assert await one.flusher.drain(5.0)
        assert [await client.zcard("{" + province + "}:complete") for province in PROVINCES] == [0] * len(PROVINCES)


async def test_what_one_province_does_costs_the_others_no_batch(
    tmp_path: Path, counters_url: str, client: Client
) -> None:
    async with writer(tmp_path, counters_url, provinces=BOTH, heartbeat_s=3600) as one:
        await eventually(lambda: one.flusher.state().connected)
        before = one.flusher.by_province()[HUNAN].batches
        for _ in range(5):
            await one.accept(event())
            await one.settled()
        assert one.flusher.by_province()[HUNAN].batches == before
        assert await client.hget("{43}:watermarks", one.name) is None
        await one.accept(event(), place=place_in(HUNAN))
        await one.settled()
        said: Any = await client.hget("{43}:watermarks", one.name)
        assert said is not None
        assert said.split()[0] == b"%d" % one.journal.end, "what was stepped over is told with the next batch"


async def test_a_province_that_went_back_alone_is_healed_alone(
    tmp_path: Path, counters_url: str, client: Client
) -> None:
    async with writer(tmp_path, counters_url, provinces=BOTH) as one:
        await take_both(one, 10)
        then = await remember(client, HUNAN)
        await take_both(one, 20)
        before = one.flusher.by_province()[PROVINCE]
        await go_back(client, HUNAN, then)
        assert await views(client, HUNAN) == 10
        await eventually(lambda: one.flusher.by_province()[HUNAN].replayed_bytes > 0)
        await one.settled()
        after = one.flusher.by_province()[PROVINCE]
        assert (await views(client, PROVINCE), await views(client, HUNAN)) == (30, 30)
        assert (after.events, after.replayed_bytes) == (before.events, 0)
        assert await Rollups(client, HUNAN).disagreements() == []


async def test_a_province_that_lost_everything_is_told_all_that_the_journal_has(
    tmp_path: Path, counters_url: str, client: Client
) -> None:
    async with writer(tmp_path, counters_url, provinces=BOTH) as one:
        await take_both(one, 30)
        await client.delete(*await keys_of(client, HUNAN))
        await eventually(lambda: one.flusher.by_province()[HUNAN].replayed_bytes > 0)
        await take_both(one, 5)
        assert (await views(client, PROVINCE), await views(client, HUNAN)) == (35, 35)


async def take_both(one: Writer, number: int) -> None:
    for _ in range(number):
        await one.accept(event())
        await one.accept(event(), place=place_in(HUNAN))
    await one.settled()


async def test_a_province_in_trouble_holds_up_nobody_but_the_journal(
    tmp_path: Path, own_counters_url: str, own_client: Client
) -> None:
    async with writer(
        tmp_path, own_counters_url, provinces=BOTH, retention_s=0.0, prove_every_s=3600, heartbeat_s=0.05
    ) as one:
        await take_both(one, 1)
        kept = await own_client.dump("{43}:watermarks")
        await own_client.set("{43}:watermarks", "in the way")  # every call of this province fails from here on
        await eventually(lambda: not one.flusher.by_province()[HUNAN].connected)
        for _ in range(100):
            await one.accept(event())
            await one.accept(event(), place=place_in(HUNAN))
        await eventually(lambda: one.flusher.by_province()[PROVINCE].pending_bytes == 0)
        assert await views(own_client, PROVINCE) == 101
        complete = await complete_ms(own_client, PROVINCE)
        assert await complete_ms(own_client, HUNAN) < complete
        assert one.journal.state().segments > 2
        with pytest.raises(Exception, match="WRONGTYPE"):
            await one.flusher.prove()
        assert one.journal.begin == 0
        await own_client.restore("{43}:watermarks", 0, kept, replace=True)  # type: ignore[arg-type]
        await one.settled()
        assert await views(own_client, HUNAN) == 101
        await one.flusher.prove()
        assert one.journal.begin > 0


async def test_the_successor_serves_the_provinces_of_the_journal_it_finds(
    tmp_path: Path, counters_url: str, client: Client
) -> None:
    async with writer(tmp_path, "redis://127.0.0.1:1", provinces=PROVINCES) as cut_off:
        await cut_off.accept(event(), place=place_in("65"))
    async with writer(tmp_path, counters_url) as successor:
        await successor.accept(event())
        await successor.settled()
    assert (await views(client, "65"), await views(client, PROVINCE)) == (1, 1)


async def test_events_of_a_province_that_nobody_would_deliver_are_not_taken(tmp_path: Path, counters_url: str) -> None:
    async with writer(tmp_path, counters_url) as one:
        with pytest.raises(JournalError) as refused:
            await one.accept(event(), place=place_in(HUNAN))
        assert refused.value.refusal is Refusal.PROVINCE


async def test_a_province_that_is_served_anew_is_owed_nothing_from_before(
    tmp_path: Path, own_counters_url: str, own_client: Client
) -> None:
    async with writer(tmp_path, own_counters_url, retention_s=0.0, prove_every_s=3600) as one:
        for _ in range(200):
            await one.accept(event())
        await one.settled()
        await one.flusher.prove()
        assert one.journal.begin > 0
    async with writer(tmp_path, own_counters_url, provinces=BOTH) as one:
        await one.accept(event(), place=place_in(HUNAN))
        await one.settled()
        assert one.journal.state().lost_bytes == 0
    assert (await views(own_client, PROVINCE), await views(own_client, HUNAN)) == (200, 1)


async def test_a_leftover_journal_is_delivered_to_all_its_provinces(
    tmp_path: Path, counters_url: str, client: Client
) -> None:
    async with writer(tmp_path, "redis://127.0.0.1:1", slot=3, provinces=BOTH) as gone:
        await gone.accept(event(), event())
        await gone.accept(event(), place=place_in(HUNAN))
    (tmp_path / "slots").mkdir()
    sink = Sink(open_client(counters_url), PROVINCE)
    leftovers = Leftovers(
        tmp_path / "journal", tmp_path / "slots", sink, 0, wall=Wall(), monotonic=Wall(), retention_s=0.0
    )
    assert await leftovers.look_after() == 1
    await sink.close()
    assert (await views(client, PROVINCE), await views(client, HUNAN)) == (2, 1)
    assert not (tmp_path / "journal/3").exists()


async def test_a_journal_of_the_first_version_is_delivered_to_its_home(
    tmp_path: Path, counters_url: str, client: Client
) -> None:
    """Its records and its label say nothing of provinces."""
    async with writer(tmp_path, "redis://127.0.0.1:1") as one:
        stamp_ms = one.journal.stamp_ms()
    seen = struct.pack("<BII12s8sB", 1, stamp_ms // 60_000, 0, b"i" * 12, bytes(8), 8) + b"lesson-1"
    directory = tmp_path / "journal/0"
    (directory / f"{0:020d}.log").write_bytes(frame(struct.pack("<BQH", 1, stamp_ms, 1) + seen))
    label = directory / "journal-id"
    said = orjson.loads(label.read_bytes())
    del said["provinces"]
    label.write_bytes(orjson.dumps(said))
    async with writer(tmp_path, counters_url, provinces=BOTH) as one:
        await one.accept(event(), place=place_in(HUNAN))
        await one.settled()
    assert (await views(client, PROVINCE), await views(client, HUNAN)) == (1, 1)
    assert await Rollups(client, PROVINCE).disagreements() == []

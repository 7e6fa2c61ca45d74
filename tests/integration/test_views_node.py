"""A real node that serves viewers of several provinces: settings, workers, Redis and metrics together."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, cast

import aiohttp
import orjson
import pytest

from deploy.local.child import StartError
from deploy.local.valkey import Valkey
from edge.counters.event import MAX_EVENTS, Reason
from edge.counters.journal import Refusal
from edge.counters.sink import open_client, province_prefix
from tests.conftest import StartEdge
from tests.support.atlas import write_atlas
from tests.support.counting import ANY_RATE, event
from tests.support.edges import Edge
from tests.support.lessons import Published
from tests.support.rollups import Rollups
from tests.support.waiting import eventually

Read = Callable[[], Coroutine[Any, Any, dict[str, int]]]


async def post(node: Edge, number: int = 1, status: int = 202, viewer: str | None = None, **fields: str) -> None:
    await send(node, [event(viewer=viewer) for _ in range(number)], status, **fields)


async def send(node: Edge, events: list[dict[str, object]], status: int = 202, **fields: str) -> None:
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    body = orjson.dumps({"events": events})
    async with aiohttp.ClientSession() as session:
        request = session.post(f"{node.url}/v1/views", data=body, headers={"Content-Type": "text/plain"} | headers)
        async with request as response:
            assert response.status == status, await response.text()


async def figures(node: Edge) -> dict[str, float]:
    """The counts' metrics: a series as it is written -> its value."""
    async with aiohttp.ClientSession() as session, session.get(f"{node.admin_url}/metrics") as response:
        lines = (await response.text()).splitlines()
    samples = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in samples}


def views(url: str) -> Read:
    """Reads the views of people in each of some provinces."""

    async def read() -> dict[str, int]:
        client = open_client(url)
        try:
            found = {}
            for province in ("00", "11", "44", "81"):
                answer = cast("Awaitable[bytes | None]", client.hget(f"{province_prefix(province)}:total", "views"))
                if (text := await answer) is not None and int(text):
                    found[province] = int(text)
            return found
        finally:
            await client.aclose()

    return read


async def test_views_are_counted_where_the_proxy_says_and_metrics_tell_of_all_of_it(
    edge: StartEdge, counters_url: str
) -> None:
    node = await edge(
        counters_redis=counters_url,
        province="44",
        trusted_proxies="127.0.0.0/8",
        viewer_place="header",
        viewer_province_header="x-province",
        views_per_client=1,
    )
    await post(node, 2, x_forwarded_for="198.51.100.1", x_province="GD")
    await post(node, 3, x_forwarded_for="198.51.100.1", x_province="CN-HK")
    await post(node, 4, x_forwarded_for="198.51.100.1")
    await post(node, 5, x_forwarded_for="198.51.100.1", x_province="44", user_agent="Baiduspider/2.0")
    await post(node, 100, x_forwarded_for="198.51.100.2", x_province="nowhere")
    await post(node, 1, 429, x_forwarded_for="198.51.100.2")
    read = views(counters_url)

    async def counted() -> bool:
        return await read() == {"44": 2, "81": 3, "00": 104}

    await eventually(counted)

    async def told() -> bool:
        found = await figures(node)
        return (
            found.get('smartedu_view_events_total{result="accepted"}') == 114
            and found.get("smartedu_counts_applied_events_total") == 114
            and found.get("smartedu_journal_pending_bytes") == 0
            and found.get("smartedu_counts_connected") == 1
        )

    await eventually(told)
    found = await figures(node)
    assert found['smartedu_view_bodies_total{result="limited"}'] == 1
    assert found['smartedu_view_bot_events_total{bot="declared"}'] == 5
    assert found['smartedu_view_places_total{place="nonsense"}'] == 100
    assert found["smartedu_journal_sync_seconds_count"] >= 1
    assert found["smartedu_counts_redis_calls_total"] > 0
    assert {f'smartedu_watermark_lag_seconds{{province="{code}"}}' for code in ("00", "44", "81")} <= set(found)


async def test_metrics_tell_what_waits_for_redis_what_was_repeated_and_what_is_sent_again(
    edge: StartEdge, own_counters: Valkey
) -> None:
    node = await edge(counters_redis=own_counters.url, province="44", workers=1)

    async def told(**wanted: Callable[[float], bool]) -> bool:
        found = await figures(node)
        return all(is_right(found.get(f"smartedu_{name}", -1.0)) for name, is_right in wanted.items())

    repeated = [event() for _ in range(3)]
    for _ in range(2):
        await send(node, repeated)
    await eventually(lambda: told(counts_applied_events_total=lambda n: n == 6, journal_pending_bytes=lambda n: n == 0))
    found = await figures(node)
    assert found['smartedu_counts_left_out_events_total{result="duplicate"}'] == 3
    assert found["smartedu_counts_batches_total"] >= 1
    assert 0 < found["smartedu_journal_bytes"] < found["smartedu_journal_limit_bytes"]
    assert found["smartedu_journal_lost_bytes_total"] == found["smartedu_counts_replayed_bytes_total"] == 0
    await own_counters.kill()
    await post(node, 5)
    await eventually(
        lambda: told(
            journal_pending_bytes=lambda n: n > 0,
            flush_lag_seconds=lambda n: n > 1,
            counts_connected=lambda n: n == 0,
            counts_failures_total=lambda n: n > 0,
        )
    )
    await own_counters.start()
    await eventually(lambda: told(journal_pending_bytes=lambda n: n == 0, counts_connected=lambda n: n == 1))
    client = open_client(own_counters.url)
    await client.flushall()
    await client.aclose()
    await post(node, 1)
    await eventually(lambda: _is(views(own_counters.url), {"44": 9}))
    await eventually(lambda: told(counts_replayed_bytes_total=lambda n: n > 0, flush_lag_seconds=lambda n: n < 1))
    await node.stop()  # before its Redis is


async def in_pieces(body: bytes) -> AsyncIterator[bytes]:
    """A body that takes the full road: it does not come with its head."""
    for start in range(0, len(body), 100):
        yield body[start : start + 100]


@pytest.mark.parametrize("whole", [True, False], ids=["short", "full"])
async def test_a_node_that_knows_a_catalog_refuses_what_it_does_not_hold_and_counts_the_rest(
    edge: StartEdge, counters_url: str, lesson: Published, whole: bool
) -> None:
    node = await edge(counters_redis=counters_url, province="44", site=True)
    events = [event(lesson.id), event("never-published"), event(kind="visit"), event("never-published", "play")]
    body = orjson.dumps({"events": [*events, event(lesson.id, "watch", watched_s=1.5)]})
    async with aiohttp.ClientSession(node.url, headers={"Content-Type": "application/json"}) as session:

        async def knows_the_catalog() -> bool:
            async with session.get("/v1/counts/by/section") as answer:
                return bool((await answer.json())["catalog_version"])

        await eventually(knows_the_catalog)  # before that it counts any
        async with session.post("/v1/views", data=body if whole else in_pieces(body)) as response:
            assert response.status == 202
            answer = await response.json()
        reason = Reason.RESOURCE_UNKNOWN.value
        assert answer["accepted"] == 3
        assert answer["rejected"] == [{"index": 1, "reason": reason}, {"index": 3, "reason": reason}]
        async with session.post("/v1/views", json=event("never-published")) as response:
            assert (response.status, (await response.json())["accepted"]) == (202, 0)

    async def told() -> dict[str, float]:
        found = await figures(node)
        return found if found.get("smartedu_counts_applied_events_total") == 3 else {}

    found = await eventually(told)
    assert found['smartedu_view_events_total{result="resource_unknown"}'] == 3
    assert found['smartedu_view_events_total{result="accepted"}'] == 3
    client = open_client(counters_url)
    assert await client.zrange("{44}:views", 0, -1) == [lesson.id.encode()]
    assert await Rollups(client, "44").total() == {"visits": 1, "views": 1, "watch_ms": 1500}
    await client.aclose()


async def test_a_node_without_a_catalog_counts_any_resource(
    edge: StartEdge, counters_url: str, lesson: Published
) -> None:
    node = await edge(counters_redis=counters_url, province="44")
    await send(node, [event("never-published"), event(lesson.id)])
    await eventually(lambda: _is(views(counters_url), {"44": 2}))
    assert 'smartedu_view_events_total{result="resource_unknown"}' not in await figures(node)


async def test_beyond_the_journals_bound_503_says_when_to_come_again_and_all_before_and_after_it_is_counted(
    edge: StartEdge, own_counters: Valkey
) -> None:
    node = await edge(counters_redis=own_counters.url, province="44", workers=1, journal_size="1MiB", **ANY_RATE)
    await post(node)
    await eventually(lambda: _is(views(own_counters.url), {"44": 1}))
    await own_counters.kill()
    accepted, refused = 1, b""
    async with aiohttp.ClientSession(node.url, headers={"Content-Type": "application/json"}) as session:
        while not refused:
            body = orjson.dumps({"events": [event() for _ in range(MAX_EVENTS)]})
            async with session.post("/v1/views", data=body) as response:
                if response.status == 202:
                    accepted += (await response.json())["accepted"]
                    continue
                assert (response.status, response.content_type) == (503, "application/problem+json")
                assert response.headers["Retry-After"] == "2"
                assert (await response.json(content_type=None))["detail"] == Refusal.FULL.value
                refused = body
        assert accepted > 5 * MAX_EVENTS

        async def told() -> dict[str, float]:
            found = await figures(node)
            return found if 'smartedu_view_bodies_total{result="journal_full"}' in found else {}

        found = await eventually(told)
        assert found['smartedu_view_bodies_total{result="journal_full"}'] == 1
        assert found['smartedu_view_events_total{result="accepted"}'] == accepted
        assert found["smartedu_journal_bytes"] <= found["smartedu_journal_limit_bytes"] == 1024**2
        await own_counters.start()
        await eventually(lambda: _is(views(own_counters.url), {"44": accepted}), within_s=30)

        async def taken() -> bool:
            async with session.post("/v1/views", data=refused) as response:
                return response.status == 202

        await eventually(taken, within_s=30)  # once Redis has what is to go on its disk
    await eventually(lambda: _is(views(own_counters.url), {"44": accepted + MAX_EVENTS}))
    await node.stop()  # before its Redis is


async def test_unless_settings_say_otherwise_what_bodies_and_allowances_let_through_is_peoples(
    edge: StartEdge, counters_url: str
) -> None:
    node = await edge(counters_redis=counters_url, province="44", workers=1)
    for _ in range(2):
        await post(node, MAX_EVENTS, viewer="one")
    for number in range(60):
        await post(node, MAX_EVENTS, viewer=f"another {number}")
    await eventually(lambda: _is(views(counters_url), {"44": 62 * MAX_EVENTS}))


async def test_an_mmdb_file_that_is_renamed_into_place_is_read_by_the_next_workers(
    edge: StartEdge, counters_url: str, tmp_path: Path
) -> None:
    atlas = write_atlas(tmp_path / "atlas.mmdb", {"198.51.100.0/24": ("CN", "GD")})
    node = await edge(
        counters_redis=counters_url, trusted_proxies="127.0.0.1", viewer_place="mmdb", viewer_mmdb=str(atlas)
    )
    read = views(counters_url)
    await post(node, x_forwarded_for="198.51.100.1")
    await eventually(lambda: _is(read, {"44": 1}))
    before = set(node.worker_pids())
    write_atlas(atlas, {"198.51.100.0/24": ("CN", "BJ")})
    os.kill(node.pid, signal.SIGHUP)
    await eventually(lambda: bool(node.worker_pids()) and not before & set(node.worker_pids()), within_s=30)
    await post(node, x_forwarded_for="198.51.100.1")
    await eventually(lambda: _is(read, {"44": 1, "11": 1}))


async def test_a_node_does_not_start_on_a_file_that_is_no_mmdb(edge: StartEdge, tmp_path: Path) -> None:
    (tmp_path / "atlas.mmdb").write_bytes(b"no such thing")
    with pytest.raises(StartError, match="viewer_mmdb"):
        await edge(viewer_place="mmdb", viewer_mmdb=str(tmp_path / "atlas.mmdb"))


async def _is(read: Read, wanted: dict[str, int]) -> bool:
    return await read() == wanted

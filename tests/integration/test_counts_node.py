"""Counts of real nodes: the hub reads all provinces, a token guards them, a drain ends streams, people get tables."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from click.testing import CliRunner

from edge.commands.counts import counts
from tests.conftest import StartEdge
from tests.support.counting import event
from tests.support.edges import Edge
from tests.support.waiting import eventually


async def read(node: Edge, path: str) -> Any:
    async with aiohttp.ClientSession() as session, session.get(f"{node.url}/v1/counts/{path}") as response:
        assert response.status == 200, await response.text()
        return await response.json()


async def send(node: Edge, *events: dict[str, object]) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{node.url}/v1/views", json={"events": events}) as made,
    ):
        assert (await made.json())["accepted"] == len(events)


async def test_the_hub_reads_what_provinces_count_and_a_province_its_own(edge: StartEdge, counters_url: str) -> None:
    hub, south, north = await asyncio.gather(
        edge(counters_redis=counters_url, node="hub"),
        edge(counters_redis=counters_url, node="south", province="44"),
        edge(counters_redis=counters_url, node="north", province="11"),
    )
    await send(south, event("a"), event("a"), event("b"))
    await send(north, event("a"), event(kind="visit"))

    async def all_counted() -> bool:
        return bool((await read(hub, "summary"))["views"] == 4)

    await eventually(all_counted, within_s=3.0)
    summary = await read(hub, "summary")
    assert (summary["provinces"], summary["countries"], summary["visits"], summary["resources"]) == (2, 1, 1, 2)
    by_province = await read(hub, "by/province?metric=views")
    assert {row["id"]: row["views"] for row in by_province["by"] if row["views"]} == {"44": 3, "11": 1}
    assert len(by_province["by"]) == 35
    assert (await read(south, "summary"))["views"] == 3
    top = await read(hub, "top?limit=1")
    assert (top["top"], top["total"]) == ([{"id": "a", "views": 3}], 2)


async def test_a_drain_ends_the_stream_whole_and_the_node_well(edge: StartEdge, counters_url: str) -> None:
    node = await edge(counters_redis=counters_url)
    async with aiohttp.ClientSession() as session, session.get(f"{node.url}/v1/counts/stream") as response:
        assert response.content_type == "text/event-stream"
        await response.content.readuntil(b"data: ")
        stopped = asyncio.create_task(node.stop())
        rest = await response.content.read()
        assert rest.endswith(b"\n\n")
        await stopped
    assert "Traceback" not in node.logs()
    assert "still in flight" not in node.logs()


async def test_the_token_of_the_configuration_file_guards_the_counts_and_opens_them_for_people(
    edge: StartEdge, counters_url: str, tmp_path: Path
) -> None:
    token, config = tmp_path / "token", tmp_path / "edge.toml"
    token.write_text("open sesame\n")
    config.write_text(f'[counts]\nread_token_file = "{token}"\n')
    node = await edge(counters_redis=counters_url, config=config)
    await send(node, event("a"))
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{node.url}/v1/counts/summary") as refused:
            assert refused.status == 401
            assert (await refused.json(content_type=None))["status"] == 401
        async with session.get(f"{node.url}/v1/openapi.json") as open_to_all:
            assert (await open_to_all.json())["openapi"] == "3.1.0"

    def run(*arguments: str) -> tuple[int, str]:
        made = CliRunner().invoke(counts, [*arguments, "--url", node.url])
        return made.exit_code, made.output

    status, told = await asyncio.to_thread(run, "--json")
    assert (status, told.count("\n")) == (1, 1)

    async def counted() -> bool:
        status, told = await asyncio.to_thread(run, "by", "province", "--json", "--token-file", str(token))
        return status == 0 and sum(row["views"] for row in json.loads(told)["by"]) == 1

    await eventually(counted)
    status, told = await asyncio.to_thread(run, "series", "--step", "minute", "--token-file", str(token))
    assert status == 0
    assert "█" in told


async def test_counts_on_a_proxy_of_everything_are_the_nodes_own(edge: StartEdge, counters_url: str) -> None:
    node = await edge(counters_redis=counters_url, origin="http://127.0.0.1:9", s3_endpoint=None)
    assert (await read(node, "summary"))["views"] == 0
    async with aiohttp.ClientSession() as session, session.get(f"{node.url}/v1/openapi.json") as response:
        assert "/v1/counts/top" in orjson.loads(await response.read())["paths"]

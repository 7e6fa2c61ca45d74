"""The load generator against a real edge, and the benchmark as a whole."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

from tests.conftest import StartEdge
from tests.support.edges import clean_environment
from tests.support.lessons import Published
from tests.support.processes import alive, command_line, descendants
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
LOCUST = (sys.executable, "-m", "locust", "-f", str(ROOT / "loadtest/locustfile.py"), "--headless", "--skip-log-setup")
BENCH = (sys.executable, "-m", "loadtest.bench", "--quick")
WITHIN_S = 90.0
# It starts some twenty servers, one after the other.
BENCH_WITHIN_S = 240.0
# Everything a viewer of one lesson does.
ASKED = {
    *("portal", "player page", "version document", "shard", "poster", "lesson document", "counts"),
    *("master playlist", "rendition master", "media playlist", "initialisation section", "segment"),
    *("visit event", "view event", "play event", "watch event"),
}


@asynccontextmanager
async def running(*command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program, killed when the block is left before its end."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        env=clean_environment() | {"PYTHONPATH": str(ROOT)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def run(*command: str, within_s: float = WITHIN_S) -> tuple[int | None, str, str]:
    """Run a program to its end: exit code, standard output, standard error."""
    async with running(*command) as process, asyncio.timeout(within_s):
        out, error = await process.communicate()
        return process.returncode, out.decode(), error.decode()


async def play(url: str, seconds: int) -> tuple[int | None, dict[str, int], dict[str, int], str]:
    """Four viewers for a while: exit code, requests and failures by name, standard error."""
    flags = ("--users", "4", "--spawn-rate", "4", "--run-time", f"{seconds}s", "--json", "--host", url)
    code, out, error = await run(*LOCUST, *flags)
    entries = json.loads(out)
    requests = {entry["name"]: int(entry["num_requests"]) for entry in entries}
    return code, requests, {entry["name"]: int(entry["num_failures"]) for entry in entries}, error


def is_edge(pid: int) -> bool:
    """Whether a process is one of an edge; False when it has ended."""
    with suppress(OSError):
        return " serve " in command_line(pid)
    return False


async def test_viewers_are_served_without_a_failure_and_what_they_watch_is_counted(
    edge: StartEdge, lesson: Published, redis_url: str, counters_url: str
) -> None:
    node = await edge(site=True, redis=redis_url, counters_redis=counters_url)
    code, requests, failures, error = await play(node.url, 15)
    assert (code, sum(failures.values())) == (0, 0), error
    assert set(requests) == ASKED
    async with aiohttp.ClientSession(node.url) as session:

        async def summary() -> dict[str, int]:
            async with session.get("/v1/counts/summary") as response:
                found = await response.json()
                return {name: found[name] for name in ("visits", "views", "plays")}

        sent = {"visits": requests["visit event"], "views": requests["view event"], "plays": requests["play event"]}

        async def all_counted() -> bool:
            assert await summary() == sent
            return True

        await eventually(all_counted)


async def test_viewers_of_an_edge_that_answers_wrongly_end_with_a_failure(edge: StartEdge, lesson: Published) -> None:
    node = await edge()
    code, requests, failures, _ = await play(node.url, 8)
    assert code == 1
    # Without the site there is no portal, and without Redis nothing is counted.
    assert failures["portal"] == requests["portal"]


@pytest.mark.timeout(BENCH_WITHIN_S + 20)
async def test_the_benchmark_compares_the_edge_with_its_peers() -> None:
    code, out, error = await run(*BENCH, within_s=BENCH_WITHIN_S)
    assert code == 0, error
    for wanted in (
        *("hit, 1 kB document", "hit, 13 kB playlist", "hit, 480 kB segment", "hit, 1.5 MB segment"),
        *("304", "range", "miss", "through a handler", "5,000 connections", "TLSv1.3", "idle"),
        *("web.Application", "uvloop", "requests per CPU-second", "requests per second", "CPU-seconds"),
    ):
        assert wanted in out
    assert "too few to quote" in out


async def test_a_benchmark_that_is_stopped_leaves_no_process_behind() -> None:
    async with running(*BENCH) as process:

        def edge_is_up() -> list[int]:
            found = descendants(process.pid)
            return found if any(is_edge(pid) for pid in found) else []

        started = await eventually(edge_is_up, WITHIN_S)
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(WITHIN_S):
            await process.communicate()
        assert process.returncode == 1
        assert [pid for pid in started if alive(pid)] == []

"""Looking at the counts while everything is killed.

What was acknowledged before a time that is published as complete is counted, nothing is counted that nobody sent, and
every roll-up is the sum of its parts, at every moment.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from edge.counters.sink import province_prefix
from edge.redis_clients import FAILURES
from tests.faults.ledger.book import Book, Cell
from tests.faults.ledger.crowd import RESOURCES
from tests.faults.ledger.stage import PROVINCES, Stage
from tests.support.rollups import Rollups
from tests.support.waiting import eventually

_SNAPSHOT = (Path(__file__).parent / "snapshot.lua").read_text()
_COMPLETE = """
local prefix = string.match(KEYS[1], '^{%d+}')
local slowest = redis.call('ZRANGE', prefix .. ':complete', 0, 0, 'WITHSCORES')
local complete = slowest[2] or redis.call('GET', prefix .. ':closed') or '0'
return {complete, redis.call('HGET', prefix .. ':total', 'views') or '0'}
"""
_OFTEN_S = 0.03
_EVERY_S = 0.25
_SELDOM_S = 1.0


class Watch:
    """answers: of nodes, compared so far; moments: of Redis."""

    def __init__(self, stage: Stage, book: Book) -> None:
        self._stage, self._book = stage, book
        self.answers = self.moments = 0

    async def run(self) -> None:
        """Look at all of it, for ever. Raises AssertionError."""
        async with asyncio.TaskGroup() as group:
            for url, provinces in self._stage.shows.items():
                group.create_task(self._watch_node(url, provinces))
            group.create_task(self._watch_redis())
            group.create_task(self._watch_completeness())

    async def _watch_node(self, url: str, provinces: tuple[str, ...]) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=15)) as session:
            while True:
                await asyncio.sleep(_EVERY_S)
                try:
                    told = await _told(session, url)
                except (aiohttp.ClientError, TimeoutError):
                    continue
                if told is not None:
                    self._compare(told, provinces)
                    self.answers += 1

    def _compare(self, told: dict[str, Any], provinces: tuple[str, ...]) -> None:
        through = told["complete_through"]
        before_ms = int(datetime.fromisoformat(through).timestamp() * 1000) if through else 0
        for one in told["resources"]:
            name, views = one["id"], one["views"]
            least = sum(self._book.least(code, name, before_ms) for code in provinces)
            most = sum(self._book.most(code, name) for code in provinces)
            assert least <= views <= most, (
                f"{name} of {provinces}: {views} views at {through}, {least} to {most} are right"
            )

    async def _watch_redis(self) -> None:
        while True:
            await asyncio.sleep(_SELDOM_S)
            for code in PROVINCES:
                try:
                    found = await self._snapshot(code)
                except FAILURES:
                    continue
                self._compare_moment(code, found)
                self.moments += 1

    async def _watch_completeness(self) -> None:
        """What is published as complete may be wrong for moments only: it is looked at all the time."""
        while True:
            await asyncio.sleep(_OFTEN_S)
            for code in PROVINCES:
                key = province_prefix(code) + ":watermarks"
                try:
                    complete, views = await self._stage.reader.execute_command("EVAL", _COMPLETE, 1, key)
                except FAILURES:
                    continue
                self._compare_views(code, int(float(complete)), int(views))
                self.moments += 1

    async def _snapshot(self, code: str) -> dict[str, Any]:
        key = province_prefix(code) + ":watermarks"
        found: dict[str, Any] = orjson.loads(await self._stage.reader.execute_command("EVAL", _SNAPSHOT, 1, key))
        return found

    def _compare_moment(self, code: str, found: dict[str, Any]) -> None:
        complete_ms, total = int(found.pop("complete")), found["total"]
        without_visits = {**total, "visits": 0}
        for name, sums in found.items():
            assert sums == (without_visits if name == "ranks" else total), (
                f"{code}: {name} says {sums}, the total {total}"
            )
        self._compare_views(code, complete_ms, total["views"])

    def _compare_views(self, code: str, complete_ms: int, views: int) -> None:
        least = sum(self._book.least(code, name, complete_ms) for name in RESOURCES)
        most = sum(self._book.most(code, name) for name in RESOURCES)
        assert least <= views <= most, f"{code}: {views} views at {complete_ms}, {least} to {most} are right"


async def all_agrees(stage: Stage, book: Book, since_ms: int, *, within_s: float) -> None:
    """Nobody sends, and everything was acknowledged before `since_ms`: once Redis says that it is complete up to then,
    every number is that of the ledger at the first look. Raises AssertionError."""
    for code in PROVINCES:
        await eventually(lambda code=code: _is_complete(stage, code, since_ms), within_s)  # type: ignore[misc]
    for code in PROVINCES:
        counted, wanted = await _counted(stage, code), book.of(code)
        wrong = {cell: (counted.get(cell, 0), wanted.get(cell, 0)) for cell in counted.keys() | wanted.keys()}
        wrong = {cell: pair for cell, pair in wrong.items() if pair[0] != pair[1]}
        assert not wrong, f"counted and acknowledged differ: {dict(list(wrong.items())[:10])}, {len(wrong)} in all"
        assert await Rollups(stage.reader, code).disagreements() == []
    for url, provinces in stage.shows.items():
        await eventually(lambda url=url, codes=provinces: _tells(url, book, codes), within_s)  # type: ignore[misc]


async def _is_complete(stage: Stage, code: str, since_ms: int) -> bool:
    try:
        slowest: Any = await stage.reader.zrange(f"{province_prefix(code)}:complete", 0, 0, withscores=True)
    except FAILURES:
        return False
    return bool(slowest) and int(slowest[0][1]) > since_ms


async def _counted(stage: Stage, code: str) -> Counter[Cell]:
    """Every resource in every minute."""
    prefix = province_prefix(code)
    found: Counter[Cell] = Counter()
    rollups = Rollups(stage.reader, code)
    for key in await rollups.names("m:*"):
        minute = int(key.rpartition(":")[2])
        held: Any = await stage.reader.hgetall(f"{prefix}:m:{minute}")
        for field, amount in held.items():
            kind, _, resource = field.decode().partition(" ")
            found[Cell(code, minute, int(kind), resource)] += int(amount)
    return found


async def _tells(url: str, book: Book, provinces: tuple[str, ...]) -> bool:
    async with aiohttp.ClientSession() as session:
        told = await _told(session, url)
    views = {one["id"]: one["views"] for one in told["resources"]} if told else {}
    watched = {one["id"]: one["watch_seconds"] for one in told["resources"]} if told else {}
    right: Counter[str] = Counter()
    right_ms: Counter[str] = Counter()
    for cell, amount in book.acknowledged.items():
        if cell.province in provinces and cell.kind == 1:
            right[cell.resource] += amount
        elif cell.province in provinces and cell.kind == 3:
            right_ms[cell.resource] += amount
    return all(views.get(name) == right[name] and watched.get(name) == right_ms[name] / 1000 for name in RESOURCES)


async def _told(session: aiohttp.ClientSession, url: str) -> dict[str, Any] | None:
    """The resources as a node tells them; None while it can't."""
    async with session.get(f"{url}/v1/counts/resources", params={"ids": ",".join(RESOURCES)}) as response:
        if response.status != 200:
            return None
        told: dict[str, Any] = await response.json()
        return told

"""Clients that send events and repeat them until there is an answer, the same ids every time."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

import aiohttp
import orjson

from tests.faults.ledger.book import Book

RESOURCES = [f"lesson-{number:02d}" for number in range(40)]
_KINDS = ("visit", "view", "view", "view", "play", "watch")
_LATE_MS = 20 * 60_000
_AGAIN_S = 0.05


class Crowd:
    """So many clients. doors: by province, the URLs at which its events are taken; a repeat may go to another one.

    most: events in one request. per_s: events a second of all clients, about; 0 for as many as they can.
    """

    def __init__(
        self, book: Book, doors: Mapping[str, Sequence[str]], *, clients: int, most: int = 40, per_s: float = 0
    ) -> None:
        self._book, self._doors = book, doors
        self._clients, self._most, self._per_s = clients, most, per_s
        self._open = asyncio.Event()
        self._busy = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._over = False
        self._refusal = ""

    async def run(self) -> None:
        """Send until `stop`."""
        async with asyncio.TaskGroup() as group:
            for seed in range(self._clients):
                group.create_task(self._client(random.Random(seed)))

    def go_on(self) -> None:
        """Begin, or begin again."""
        self._open.set()

    async def pause(self, within_s: float) -> None:
        """Returns when everybody has got all answers and sends nothing more. Raises AssertionError when that takes
        longer: somebody is never answered."""
        self._open.clear()
        try:
            async with asyncio.timeout(within_s):
                await self._idle.wait()
        except TimeoutError:
            raise AssertionError(f"{self._busy} clients are not answered; the last refusal: {self._refusal}") from None

    def stop(self) -> None:
        """No more; what was sent is still waited for."""
        self._over = True
        self._open.set()

    async def _client(self, dice: random.Random) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=8)) as session:
            while True:
                await self._open.wait()
                if self._over:
                    return
                self._busy += 1
                self._idle.clear()
                began, sent = time.monotonic(), 0
                try:
                    sent = await self._deliver(session, dice)
                finally:
                    self._busy -= 1
                    if not self._busy:
                        self._idle.set()
                if self._per_s:
                    rest_s = sent * self._clients / self._per_s - (time.monotonic() - began)
                    await asyncio.sleep(max(0.0, rest_s))

    async def _deliver(self, session: aiohttp.ClientSession, dice: random.Random) -> int:
        province = dice.choice(list(self._doors))
        events = some_events(dice, dice.randint(1, self._most))
        body = orjson.dumps({"events": events})
        self._book.ask(province, events)
        while not await self._try(session, dice.choice(self._doors[province]), province, body, len(events)):
            self._book.repeats += 1
            await asyncio.sleep(_AGAIN_S)
        self._book.enter(province, events, int(time.time() * 1000))
        return len(events)

    async def _try(self, session: aiohttp.ClientSession, door: str, province: str, body: bytes, count: int) -> bool:
        with suppress(aiohttp.ClientError, TimeoutError):
            headers = {"Content-Type": "application/json", "X-Province": province}
            async with session.post(f"{door}/v1/views", data=body, headers=headers) as response:
                if response.status == 202:
                    assert (await response.json())["accepted"] == count
                    return True
                self._refusal = await response.text()
                assert response.status in (503, 504), self._refusal
        return False


def some_events(dice: random.Random, count: int) -> list[dict[str, object]]:
    """Events of every kind; one in ten comes late, by up to twenty minutes."""
    now = int(time.time() * 1000)
    made: list[dict[str, object]] = []
    for _ in range(count):
        kind = dice.choice(_KINDS)
        at = now - (dice.randrange(_LATE_MS) if dice.random() < 0.1 else 0)
        one: dict[str, object] = {"id": f"{dice.getrandbits(96):024x}", "kind": kind, "at": at}
        if kind != "visit":
            one |= {"resource": dice.choice(RESOURCES), "viewer": f"v{dice.randrange(5000)}"}
        if kind == "watch":
            one["watched_s"] = dice.randint(1, 120)
        made.append(one)
    return made

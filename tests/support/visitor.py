"""A client that asks a node on a connection of its own each time, and tells a whole body from one that was cut."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. whole: the body came to a proper end; otherwise the connection broke off in it."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    whole: bool

    @property
    def digest(self) -> str:
        """SHA-256 of what arrived."""
        return hashlib.sha256(self.body).hexdigest()

    @property
    def age_s(self) -> int:
        """Its Age; a response that was made just now says none."""
        return int(self.headers.get("Age", "0"))

    @property
    def cache_status(self) -> str:
        """What the edge says of its cache; '' when it says nothing."""
        return self.headers.get("Cache-Status", "")


class Visitor:
    """url: of the node. A new connection each time, so that every worker of the node is asked."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.session = session

    async def ask(self, path: str, **headers: str) -> Answer:
        """The answer to a GET, however it ends; underscores in names become hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.get(self.url + path, headers=named) as response:
            body, whole = bytearray(), True
            try:
                async for piece in response.content.iter_any():
                    body += piece
            except aiohttp.ClientPayloadError:
                whole = False
            return Answer(response.status, response.headers.copy(), bytes(body), whole)

    async def ask_often(self, times: int, path: str) -> list[Answer]:
        """So many at once."""
        return await asyncio.gather(*(self.ask(path) for _ in range(times)))

    async def metric(self, admin_url: str, start: str) -> float:
        """The sum of the node's samples whose lines begin so."""
        async with self.session.get(f"{admin_url}/metrics") as response:
            lines = (await response.text()).splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(start))


@asynccontextmanager
async def visiting(url: str) -> AsyncIterator[Visitor]:
    """A visitor of the node at that address."""
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as session:
        yield Visitor(url, session)

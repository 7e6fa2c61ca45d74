"""The world in which cases are performed: one scripted origin and one edge node before it, for the whole run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from tests.conformance.origin import RawOrigin
from tests.support.edges import start_edge


@dataclass(frozen=True, slots=True)
class World:
    """Where the edge listens, and the origin behind it."""

    host: str
    port: int
    origin: RawOrigin


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A real `smartedu serve` in front of a real origin."""
    async with RawOrigin() as origin:
        edge = await start_edge(tmp_path_factory.mktemp("conformance"), {"origin": origin.url, "node": "test"}, {})
        host, _, port = edge.url.removeprefix("http://").partition(":")
        yield World(host, int(port), origin)
        await edge.stop()

"""Workers of one node in the test's own process: real sockets, real handlers, the real engine; no supervision.

What a worker process is besides (arbiter, metrics, drain) is left out, so that a test can hold an engine in its hand.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web

from edge.account import Account, Accounts
from edge.appkeys import ENGINE, NODE
from edge.cache.engine import Engine
from edge.cache.fetch import Site
from edge.cache.freshness import Rules
from edge.cache.limits import Limits
from edge.cache.memory import MemoryStore
from edge.cache.model import Outcome, Tier
from edge.cache.siblings import MAX_FIELD_BYTES, Siblings
from edge.cache.tiers import Purges, SlowTier
from edge.clock import Clock, SystemClock
from edge.delivery import Delivery
from edge.handlers import content
from origin.http import Deadlines, HttpReader
from origin.reader import ObjectReader


class _Noting(Accounts):
    """Notes the outcome of every request."""

    def __init__(self, now: Callable[[], float], outcomes: list[Outcome]) -> None:
        super().__init__(None, now)
        self._outcomes = outcomes

    def answered(self, account: Account, outcome: Outcome, status: int, age_s: int | None = None) -> None:
        self._outcomes.append(outcome)
        super().answered(account, outcome, status, age_s)


@dataclass(slots=True)
class Worker:
    """One worker. `get` asks it over its public socket."""

    engine: Engine
    memory: MemoryStore
    siblings: Siblings | None
    url: str
    session: aiohttp.ClientSession
    runners: list[web.AppRunner]
    outcomes: list[Outcome] = field(default_factory=list)

    def get(self, path: str, **headers: str) -> aiohttp.client._RequestContextManager:
        """`async with worker.get(path, range="bytes=0-1") as response`; underscores in names become hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.session.get(self.url + path, headers=named)

    async def body(self, path: str, **headers: str) -> bytes:
        """The body of a 200 or 206."""
        async with self.get(path, **headers) as response:
            assert response.status in (200, 206), (response.status, await response.text())
            return await response.read()

    async def stop(self) -> None:
        """As when the process goes: sockets first."""
        for runner in self.runners:
            await runner.cleanup()
        self.runners.clear()
        await self.engine.close()
        if self.siblings is not None:
            await self.siblings.close()
        await self.session.close()


@asynccontextmanager
async def worker(
    reader: ObjectReader,
    *,
    shared: SlowTier | None = None,
    run_dir: Path | None = None,
    slot: int = 0,
    limits: Limits | None = None,
    memory_bytes: int = 64 * 1024 * 1024,
    clock: Clock | None = None,
    patience_s: float = 2.0,
    site: Site | None = None,
    purges: Purges | None = None,
) -> AsyncIterator[Worker]:
    """One running worker; with `run_dir` it looks for siblings there, and serves them.

    site: of published objects by default; one that forwards makes it a proxy that obeys its clients' Cache-Control.
    """
    clock = clock or SystemClock()
    siblings = None
    if run_dir is not None:
        siblings = Siblings(
            run_dir=run_dir, own_slot=slot, connect=sibling_reader, clock=clock, scan_s=0.05, retry_s=60.0
        )
        await siblings.start()
    outcomes: list[Outcome] = []
    limits = limits or Limits.within(memory_bytes)
    memory = MemoryStore(max_bytes=memory_bytes, largest_bytes=limits.max_object_bytes + 64 * 1024)
    engine = Engine(
        reader=reader,
        memory=memory,
        slow=((Tier.REDIS, shared),) if shared is not None else (),
        site=site or Site(rules=Rules(negative_ttl_s=2.0), ranges_known=True),
        siblings=siblings,
        clock=clock,
        purges=purges,
        limits=limits,
        patience_s=patience_s,
    )
    public = web.Application()
    runners: list[web.AppRunner] = []
    forwards = site is not None and site.forwards
    public.router.add_route("*", "/{path:.*}", content.proxy if forwards else content.get_content)
    internal = web.Application()
    internal.router.add_route("GET", "/{path:.*}", content.get_for_sibling)
    for app in (public, internal):
        app[NODE], app[ENGINE], app[content.OURS] = "edge-1", engine, content.NOTHING
        app[content.DELIVERY] = Delivery(
            _Noting(clock.monotonic, outcomes), "edge-1", published=not forwards, obeys=forwards
        )
        app.on_response_prepare.append(content.exact_fields)
    port = await _listen(public, runners)
    if run_dir is not None:
        await _listen(internal, runners, run_dir / f"worker-{slot}.sock")
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auto_decompress=False)
    running = Worker(engine, memory, siblings, f"http://127.0.0.1:{port}", session, runners, outcomes)
    try:
        yield running
    finally:
        await running.stop()


def sibling_reader(socket: Path) -> HttpReader:
    """As `app.py` makes it."""
    return HttpReader(
        "http://sibling",
        unix_socket=socket,
        deadlines=Deadlines(queue_s=2.0, connect_s=0.5, first_byte_s=20.0, idle_s=20.0),
    )


async def _listen(app: web.Application, runners: list[web.AppRunner], socket: Path | None = None) -> int:
    runner = web.AppRunner(
        app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1, max_field_size=MAX_FIELD_BYTES
    )
    runners.append(runner)
    await runner.setup()
    site = web.UnixSite(runner, str(socket)) if socket is not None else web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return 0 if socket is not None else int(runner.addresses[0][1])

"""What runs in a worker process: the object graph of `edge.app`, listeners for it, and its drain.

One uvloop, and aiohttp runners for the public listeners, the admin listener and a Unix socket on which the workers of a
node ask each other (see `edge.cache.siblings`). To be imported once it is settled where the metrics lie:
prometheus_client reads that when it is imported.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import ssl
import sys
from contextlib import AsyncExitStack, suppress
from enum import Enum
from time import monotonic, sleep
from typing import Any

import uvloop
from aiohttp import web

from config.settings import EdgeSettings
from edge import app, garbage, metrics
from edge.app import WorkerNode
from edge.cache.siblings import MAX_FIELD_BYTES, clear_slot
from edge.cache.target import MAX_TARGET_BYTES
from edge.connections import Limits
from edge.deadline import deadline
from edge.inflight import InFlight
from edge.listening import EdgeRunner, EdgeServer, EdgeSite, Transport
from edge.renewal import ENDING, HURRY_S, START_WITHIN_S, RenewableWorker
from edge.server import BACKLOG
from edge.slots import Slot
from edge.tasks import begin, end

log = logging.getLogger("edge.server")

HEARTBEAT_S = 1.0
KEEPALIVE_S = 75.0
BOOT_AGAIN_S = 1.0
# Idle keep-alive connections get this long to be used once more (and told to close) before a drain cuts them.
IDLE_GRACE_S = 0.5
# An encrypted connection that was accepted just before the drain has to be agreed upon first, in several steps.
ENCRYPTED_GRACE_S = 3.0


class EdgeWorker(RenewableWorker):
    """One worker process: claims a slot, serves, drains."""

    @staticmethod
    def ends_within_s(settings: EdgeSettings, tls: ssl.SSLContext | None) -> int:
        """How long one may take to end when it is told to."""
        return max(1, round(settings.drain_s + 2 * _grace_s(tls)) + 2)

    @staticmethod
    def forget_metrics(_arbiter: object, worker: Any) -> None:
        """Called in the parent when one has ended."""
        metrics.worker_ended(worker.pid)

    def init_process(self) -> None:
        # A worker that outlives its parent for a moment must not keep the directory from the parent's successor.
        os.close(self.app.lock)
        # The base class, as documented for worker classes, ends by calling run(); the loop is made there.
        super().init_process()

    def init_signals(self) -> None:
        """Handled on the event loop once it runs; until then the defaults are right.

        What means something to the parent only ends no worker: a log rotation sends SIGUSR1, and gunicorn passes it on.
        """
        for number in self.SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)

    def run(self) -> None:
        self.booted = False  # the base class has said that it is, and by that the arbiter tells how it ended
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve())
        except Exception:
            if self.booted or self.age <= self.app.first_workers:
                raise  # one of the first: the node does not start
            # To the arbiter a worker that cannot boot is a reason to end all others.
            log.exception("a worker could not start; in a moment it is tried again")
            sleep(BOOT_AGAIN_S)
            sys.exit(1)
        sys.exit(0)

    async def _serve(self) -> None:
        stopping, hurry = self._hear_orders()
        settings: EdgeSettings = self.app.settings
        async with AsyncExitStack() as stack:
            # Until all is closed: a drain may take longer than a worker may be silent.
            stack.push_async_callback(end, [begin(self._beat(), "heartbeat")])
            slot = stack.enter_context(Slot.claim(settings.data_dir / "slots"))
            node = await self._started(slot, stack, stopping)
            if node is None:
                return
            runners = await self._open(node)
            garbage.settle()
            self.booted = True
            self.serves()
            log.info("worker serves in slot %d", slot.number)
            await self._until(stopping)
            node.lane.close()  # the full road says that it closes connections
            await _drain(node.in_flight, runners, settings.drain_s, _grace_s(self.app.tls), hurry)

    async def _started(self, slot: Slot, stack: AsyncExitStack, stopping: asyncio.Event) -> WorkerNode | None:
        """All of a worker but the listeners of clients; None when it is told to end before.

        Raises what it failed by, TimeoutError when it takes too long.
        """
        limit = None
        try:
            # Only up to here: whoever is accepted is answered.
            async with deadline(START_WITHIN_S, stopping, 0) as limit:
                node = await self._start(slot, stack)
        except Exception:
            if stopping.is_set():  # whatever a start makes of being cut off
                return None
            if limit is not None and limit.expired():
                log.error("worker in slot %d has not started within %g s and gives up", slot.number, START_WITHIN_S)
            raise
        return None if stopping.is_set() else node

    async def _start(self, slot: Slot, stack: AsyncExitStack) -> WorkerNode:
        """Closed with the stack."""
        settings: EdgeSettings = self.app.settings
        node = await stack.enter_async_context(app.node(settings, slot.number))
        siblings = web.AppRunner(
            node.siblings,
            access_log=None,
            keepalive_timeout=KEEPALIVE_S,
            handler_cancellation=True,
            max_field_size=MAX_FIELD_BYTES,
            max_line_size=2 * MAX_TARGET_BYTES,
            shutdown_timeout=settings.drain_s,
        )
        await siblings.setup()
        # They have all the time of a drain, also in a hurry: what they read may be on its way to a new worker's client.
        stack.push_async_callback(siblings.cleanup)
        clear_slot(node.sibling_socket.parent, slot.number)
        await web.UnixSite(siblings, node.sibling_socket, backlog=BACKLOG).start()
        stack.callback(node.sibling_socket.unlink, missing_ok=True)
        await node.hear_siblings()
        return node

    async def _open(self, node: WorkerNode) -> list[web.AppRunner]:
        """Accept clients."""
        settings: EdgeSettings = self.app.settings
        sockets = [listener.sock for listener in self.sockets]
        shared = {
            "limits": Limits(header_s=settings.header_timeout_s, connections=settings.max_connections),
            "node": settings.node,
            "on_refused": _refused,
            "in_flight": node.in_flight,
        }
        roads = {"overload": node.overload, "lane": node.lane, "short": node.short, "posts": node.posts}
        return [
            await self._listen(node.public, sockets[:-1], self.app.tls, **roads, **shared),
            await self._listen(node.admin, sockets[-1:], None, **shared),
        ]

    def _hear_orders(self) -> tuple[asyncio.Event, asyncio.Event]:
        """Set when this worker is to end, and when it is to hurry with that."""
        loop, stopping, hurry = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

        def told() -> None:
            stopping.set()
            if self.hurried:
                hurry.set()

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            loop.add_signal_handler(number, told)
        # The arbiter reaps its own children; ours must not inherit its handler.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        return stopping, hurry

    async def _listen(
        self, application: web.Application, sockets: list[socket.socket], tls: ssl.SSLContext | None, **edge: Any
    ) -> web.AppRunner:
        transport = Transport(self.app.settings.transport)
        runner = EdgeRunner(
            application,
            access_log=None,
            keepalive_timeout=KEEPALIVE_S,
            handler_cancellation=True,
            # runner.cleanup() is called after our own drain, so it need not wait again.
            shutdown_timeout=0.1,
            **edge,
        )
        await runner.setup()
        for listener in sockets:
            await EdgeSite(runner, listener, ssl_context=tls, backlog=BACKLOG, transport=transport).start()
        return runner

    async def _beat(self) -> None:
        """Tell the arbiter that we live."""
        while True:
            self.notify()
            await asyncio.sleep(HEARTBEAT_S)

    async def _until(self, stopping: asyncio.Event) -> None:
        """Wait until told to stop, or left without an arbiter (it was killed)."""
        while not stopping.is_set() and os.getppid() == self.ppid:
            with suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT_S):
                    await stopping.wait()


def _refused(reason: Enum) -> None:
    metrics.REFUSALS.inc(reason.value)


def _grace_s(tls: ssl.SSLContext | None) -> float:
    return IDLE_GRACE_S if tls is None else ENCRYPTED_GRACE_S


async def _drain(
    in_flight: InFlight, runners: list[web.AppRunner], drain_s: float, grace_s: float, hurry: asyncio.Event
) -> None:
    """Stop accepting, let what is in flight finish, close the rest.

    A keep-alive client may be sending its next request just now. It is answered, with `Connection: close`; only
    connections that stay idle through the grace are cut. hurry: what is in flight then has `HURRY_S` more.
    """
    log.info("worker drains")
    in_flight.draining = True
    for runner in runners:
        for site in runner.sites:
            if isinstance(site, EdgeSite):
                site.accept_no_more()
    await asyncio.sleep(grace_s)
    log.info("worker waits for %d requests in flight and for what clients have yet to take", in_flight.count)
    try:
        async with deadline(None, hurry, HURRY_S):
            done = await _delivered(in_flight, runners, drain_s)
    except TimeoutError:  # its own: what is waited for raises none
        log.warning("a later renewal does not wait any longer, requests still in flight are cut")
    else:
        if not done:
            log.warning("drained for %g s, requests still in flight are cut", drain_s)
    for runner in runners:
        await runner.cleanup()


async def _delivered(in_flight: InFlight, runners: list[web.AppRunner], within_s: float) -> bool:
    """Wait until all is answered and taken; False when that takes longer."""
    ends_at = monotonic() + within_s
    done = await in_flight.wait_empty(within_s)
    for runner in runners:
        if isinstance(runner.server, EdgeServer):
            done = await runner.server.delivered(max(0.0, ends_at - monotonic())) and done
    return done

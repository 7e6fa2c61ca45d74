"""Listening: aiohttp's server, runner and site, with our connections in them and what these share.

Everything is a value of one listener in one worker: its limits, its open connections, whom it tells about refusals.
Only the load is the worker's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum
from functools import partial
from typing import Any

import aiofastnet
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from edge.connections import Connections, Limits
from edge.fastlane import Lane
from edge.framing import END_OF_HEAD, MAX_FIELDS, MAX_LINE_BYTES, Refusal
from edge.inflight import InFlight
from edge.overload import MOST_AGAIN_S, Overload
from edge.postroad import PostRoad
from edge.problems import on_the_wire
from edge.protocol import EdgeProtocol
from edge.shortroad import ShortRoad

# Whoever does not answer the end of an encrypted connection is not waited for.
_TLS_SHUTDOWN_S = 2.0
_TLS_RECORD = 16 * 1024 + 64
# aiofastnet keeps two buffers for each connection, by default of 16 records: requests are small.
_TLS_IN_BYTES = _TLS_RECORD
_TLS_OUT_BYTES = 8 * _TLS_RECORD
# The kernel does not tell when a client has taken all: it is asked.
_LOOK_S = 0.05


class EdgeServer(web.Server):
    """Makes an `EdgeProtocol` for each connection of one listener, and holds what these share."""

    def __init__(
        self,
        *args: Any,
        limits: Limits,
        overload: Overload | None,
        node: str,
        on_refused: Callable[[Refusal], None],
        lane: Lane | None,
        short: ShortRoad | None,
        posts: PostRoad | None,
        in_flight: InFlight,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._unnoted_until = 0.0
        self.in_flight = in_flight
        self.lane = lane
        self.short = short
        self.posts = posts
        self.guests = Connections(limits, asyncio.get_running_loop())
        self.overload = overload
        self.node = node
        self.on_refused = on_refused
        self.full = on_the_wire(503, "the edge has no place for another connection", node, close=True)
        self.late = on_the_wire(408, "the header section did not arrive in time", node, close=True)
        detail = "the edge has more to do than it can; try again in a moment"
        self.busy = tuple(on_the_wire(503, detail, node, again_s=seconds) for seconds in range(MOST_AGAIN_S + 1))
        self.busy_head = tuple(answer[: answer.index(END_OF_HEAD) + 4] for answer in self.busy)

    def unnoted_until(self, now: float, within_s: float) -> float:
        """Until when signs of life need not be noted again: the same number for all, so that it lies in one place."""
        if now >= self._unnoted_until:
            self._unnoted_until = now + within_s
        return self._unnoted_until

    def __call__(self) -> RequestHandler:
        return EdgeProtocol(self, loop=self._loop, **self._kwargs)

    async def delivered(self, within_s: float) -> bool:
        """Wait until every client has taken all that was sent to it; False when that takes longer.

        A process that ends takes with it what lies in a connection that is still being sent to, and what an encrypting
        transport has ready, which it does not tell.
        """
        deadline = self._loop.time() + within_s
        waiting = [one for one in self.connections if isinstance(one, EdgeProtocol)]
        while waiting := [one for one in waiting if one.undelivered()]:
            if self._loop.time() >= deadline:
                return False
            await asyncio.sleep(_LOOK_S)
        return True

    async def shutdown(self, timeout: float | None = None) -> None:
        """Called by the runner: close all connections."""
        self.guests.stop()
        await super().shutdown(timeout)


class EdgeRunner(web.AppRunner):
    """aiohttp's runner with our server in it (`Application._make_handler` names its own class)."""

    def __init__(
        self,
        app: web.Application,
        *,
        limits: Limits | None = None,
        overload: Overload | None = None,
        node: str = "edge",
        on_refused: Callable[[Refusal], None] = lambda _: None,
        lane: Lane | None = None,
        short: ShortRoad | None = None,
        posts: PostRoad | None = None,
        in_flight: InFlight | None = None,
        **kwargs: Any,
    ) -> None:
        """limits: what clients may take; overload: of the worker, None takes every request; node: for Proxy-Status.

        on_refused: told about each request or connection that no handler will see. lane, short, posts: the worker's;
        None: all requests take the full road. in_flight: what a drain waits for.
        """
        super().__init__(app, **kwargs)
        self._new_server = partial(
            EdgeServer,
            limits=limits or Limits(),
            overload=overload,
            node=node,
            on_refused=on_refused,
            lane=lane,
            short=short,
            posts=posts,
            in_flight=in_flight or InFlight(),
        )

    async def _make_server(self) -> web.Server:
        await super()._make_server()
        return self._new_server(
            self._app._handle,  # noqa: SLF001
            request_factory=self._app._make_request,  # noqa: SLF001
            loop=asyncio.get_running_loop(),
            # Bodies are taken as they come: a compressed one could be a bomb, and nothing here reads one.
            auto_decompress=False,
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_LINE_BYTES,
            max_headers=MAX_FIELDS,
            **self._kwargs,
        )


class Transport(Enum):
    """What moves the bytes of client connections. AUTO: each where it measures better."""

    AUTO = "auto"
    UVLOOP = "uvloop"
    AIOFASTNET = "aiofastnet"

    def fast(self, *, encrypted: bool) -> bool:
        """Whether aiofastnet does it: over TLS it takes less, in plain it makes no difference."""
        return self is Transport.AIOFASTNET or (self is Transport.AUTO and encrypted)


class EdgeSite(web.SockSite):
    """A listening socket on which an encrypted connection has as long to begin as a header section may take."""

    def __init__(self, *args: Any, transport: Transport = Transport.AUTO, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._transport = transport

    async def start(self) -> None:
        """Accept connections."""
        await web.BaseSite.start(self)
        server = self._runner.server
        if not isinstance(server, EdgeServer):
            raise TypeError("an EdgeSite belongs to an EdgeRunner")
        encrypted = self._ssl_context is not None
        self._server = await self._maker(encrypted=encrypted)(
            server,
            sock=self._sock,
            ssl=self._ssl_context,
            backlog=self._backlog,
            ssl_handshake_timeout=server.guests.limits.header_s if encrypted else None,
            ssl_shutdown_timeout=_TLS_SHUTDOWN_S if encrypted else None,
        )

    def accept_no_more(self) -> None:
        """Whoever has just been accepted is still served; aiofastnet's `close` cuts off those not yet agreed with."""
        if self._transport.fast(encrypted=self._ssl_context is not None):
            asyncio.get_running_loop().remove_reader(self._sock.fileno())
        elif self._server is not None:
            self._server.close()

    def _maker(self, *, encrypted: bool) -> Callable[..., Awaitable[asyncio.Server]]:
        """What makes a listener of the socket."""
        loop = asyncio.get_running_loop()
        if not self._transport.fast(encrypted=encrypted):
            return loop.create_server
        sizes: dict[str, Any] = {"ssl_incoming_bio_size": _TLS_IN_BYTES, "ssl_outgoing_bio_size": _TLS_OUT_BYTES}
        return partial(aiofastnet.create_server, loop, **(sizes if encrypted else {}))

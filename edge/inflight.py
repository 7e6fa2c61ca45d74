"""Requests being answered: counted for the metrics, and waited for in a drain."""

from __future__ import annotations

import asyncio

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.typedefs import Handler, Middleware

from edge import metrics
from edge.framing import Refused
from edge.problems import SERVER, answer_in_our_version

_TURNS = 5  # of the loop: more than it takes a request from its connection's queue to its handler
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class InFlight:
    """Counts the requests of one worker and, once the drain has begun, tells clients to close."""

    def __init__(self) -> None:
        self.count = 0
        self._empty = asyncio.Event()
        self._empty.set()
        self.draining = False

    async def wait_empty(self, within_s: float) -> bool:
        """True as soon as nothing is in flight; False when that takes longer than `within_s` seconds."""
        try:
            async with asyncio.timeout(within_s):
                while True:
                    await self._empty.wait()
                    for _ in range(_TURNS):  # a request may be handed on from one who counts it to another
                        await asyncio.sleep(0)
                    if not self.count:
                        return True
        except TimeoutError:
            return not self.count

    def enter(self) -> None:
        self.count += 1
        self._empty.clear()

    def leave(self) -> None:
        self.count -= 1
        if self.count == 0:
            self._empty.set()

    def middleware(self) -> Middleware:
        """Counts a request from its arrival to the end of its handler."""

        @web.middleware
        async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
            self.enter()
            status = "cut"  # the client left, or the connection broke
            try:
                response = await handler(request)
                status = str(response.status)
            except ConnectionError:
                raise
            except Refused as refused:  # the request's body turned out to be broken
                status = str(refused.status)
                raise
            except Exception:
                status = "500"
                raise
            finally:
                metrics.REQUESTS.inc(route_of(request), _method(request), status)
                self.leave()
            return response

        return count

    async def on_prepare(self, request: web.Request, response: web.StreamResponse) -> None:
        """A signal handler, called when the rest of the head is made.

        During a drain every answer is the last on its connection, and so is one to HTTP/1.0 that has no length: only
        the connection's end can tell its end.
        """
        response.headers["Server"] = SERVER
        if request.version < HttpVersion11:
            if hdrs.CONTENT_LENGTH not in response.headers:
                response.force_close()
            answer_in_our_version(request)
        if self.draining:
            response.force_close()
        if not response.keep_alive:
            response.headers[hdrs.CONNECTION] = "close"


def _method(request: web.Request) -> str:
    """The method, where it is a known one: label values must stay few, and clients can make up any."""
    return request.method if request.method in METHODS else "other"


def route_of(request: web.Request) -> str:
    """The route's pattern, never the path itself: label values must stay few, and clients can make up any."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "none"

"""Requests being answered: counted for the metrics, and waited for in a drain."""

from __future__ import annotations

import asyncio

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from edge import metrics
from edge.framing import Refused
from edge.problems import SERVER

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
            await asyncio.wait_for(self._empty.wait(), within_s)
        except TimeoutError:
            return False
        return True

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
                metrics.REQUESTS.inc(_route(request), _method(request), status)
                self.leave()
            return response

        return count

    async def on_prepare(self, _request: web.Request, response: web.StreamResponse) -> None:
        """A signal handler: during a drain every answer is the last on its connection."""
        response.headers["Server"] = SERVER
        if self.draining:
            response.force_close()


def _method(request: web.Request) -> str:
    """The method, where it is a known one: label values must stay few, and clients can make up any."""
    return request.method if request.method in METHODS else "other"


def _route(request: web.Request) -> str:
    """The route's pattern, never the path itself, for the same reason."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "none"

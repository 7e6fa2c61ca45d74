"""The connection's protocol: aiohttp's own, with our words for what its parser refuses.

The fast lane will override `data_received` here; until then the only change is that errors met outside a handler are
problem documents without a stack trace, and that a client's broken request is no error of ours and fills no log.
"""

from __future__ import annotations

import asyncio
import logging

from aiohttp import web
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest

from edge.problems import problem

log = logging.getLogger(__name__)


class EdgeProtocol(RequestHandler):
    """One connection."""

    __slots__ = ()

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what no handler answered: a request the parser refused, or a handler that broke.

        Raises ConnectionError when a part of another answer has been sent: the connection is then cut.
        """
        if status >= 500:
            log.error("a handler broke: %s %s", request.method, request.path, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("a part of the response is sent already")
        detail = "the edge met an error of its own" if status >= 500 else _first_line(message) or "not HTTP"
        response = problem(status, detail)
        response.force_close()
        return response


def _first_line(message: str | None) -> str:
    """The parser's words without the excerpt of the request that it shows below them."""
    return (message or "").strip().partition("\n")[0].rstrip(":")[:200]


class EdgeServer(web.Server):
    """Makes an `EdgeProtocol` for each connection."""

    def __call__(self) -> RequestHandler:
        return EdgeProtocol(self, loop=self._loop, **self._kwargs)


class EdgeRunner(web.AppRunner):
    """aiohttp's runner with our server in it (`Application._make_handler` names its own class)."""

    async def _make_server(self) -> web.Server:
        await super()._make_server()
        return EdgeServer(
            self._app._handle,  # type: ignore[arg-type]  # noqa: SLF001
            request_factory=self._app._make_request,  # noqa: SLF001
            loop=asyncio.get_running_loop(),
            **self._kwargs,
        )

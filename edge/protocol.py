"""The connection's protocol: aiohttp's own, with our words for what its parser refuses.

The fast lane will override `data_received` here; until then the only change is that errors met outside a handler are
problem documents without a stack trace, and that a client's broken request is no error of ours and fills no log.
"""

from __future__ import annotations

import asyncio
import logging

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest

from edge.inflight import SERVER
from edge.problems import problem

log = logging.getLogger(__name__)


MAX_LINE_BYTES = 8190


class EdgeProtocol(RequestHandler):
    """One connection."""

    __slots__ = ("_half_closed", "_owed")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._half_closed = False
        self._owed = 0  # requests received and not yet answered
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        queued = len(self._messages)
        super().data_received(data)
        self._owed += len(self._messages) - queued

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what no handler answered: a request the parser refused, or a handler that broke.

        The parser's own words name its internals and repeat what the client sent, so ours stand in their place.

        Raises ConnectionError when a part of another answer has been sent: the connection is then cut.
        """
        if status >= 500:
            log.error("a handler broke: %s %s", request.method, request.path, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("a part of the response is sent already")
        status, detail = _refusal(status, exc)
        response = problem(status, detail)
        response.force_close()
        response.headers["Server"] = SERVER
        return response

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio's protocols may answer it, aiohttp's never does
        """The client sends no more. If it waits for an answer to what it has sent, it gets that before we close."""
        if self._owed == 0 or self.transport is None:
            return False
        if self.transport.get_extra_info("sslcontext") is not None:
            return False  # TLS has no half-closed connections
        self._half_closed = True
        return True

    async def finish_response(
        self, request: BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Called by the base class when a response is to be ended; the last one of a half-closed connection ends it."""
        self._owed -= 1
        if self._half_closed and self._owed <= 0:
            self.close()
        return await super().finish_response(request, resp, start_time)


def _refusal(status: int, error: BaseException | None) -> tuple[int, str]:
    if status >= 500:
        return status, "the edge met an error of its own"
    if isinstance(error, LineTooLong):
        return 431, f"the request line and each header field may have at most {MAX_LINE_BYTES} bytes"
    return status, "this is not a well-formed HTTP request"


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
            # Bodies are taken as they come: a compressed one could be a bomb, and nothing here reads one.
            auto_decompress=False,
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_LINE_BYTES,
            **self._kwargs,
        )

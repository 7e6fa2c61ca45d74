"""Objects over HTTP: one pooled client for a base address or a Unix socket, with deadlines and one table of failures.

`HttpClient` does the exchange (connection, deadlines, concurrency limit, error mapping); `HttpReader` puts paths on it
as they are. `origin.s3` adds signatures. Bodies pass as they arrived on the wire: nothing is decoded here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import aiohttp
from yarl import URL

from origin.reader import Chunks, Headers, OriginError, OriginFailure, ReadRequest, ReadResponse

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-authentication-info",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_READ_BUFFER = 256 * 1024  # bytes: fewer, larger chunks than aiohttp's default of 64 KiB
_HEAD_LIMIT = 64 * 1024  # bytes of one field line: a sibling's stored head travels in one


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long each step of a read may take, in seconds.

    queue_s: waiting for one of the limited places; connect_s: to the connection; first_byte_s: from the connection to
    the response's head; idle_s: between two pieces of the body.
    """

    queue_s: float = 5.0
    connect_s: float = 2.0
    first_byte_s: float = 10.0
    idle_s: float = 15.0


class HttpClient:
    """One aiohttp session with a limit of exchanges under way; every failure leaves as OriginError."""

    def __init__(self, *, deadlines: Deadlines, max_concurrent: int, unix_socket: Path | None = None) -> None:
        self._deadlines = deadlines
        self._places = asyncio.Semaphore(max_concurrent)
        self._unix_socket = unix_socket
        self._session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def exchange(self, url: URL, fields: Mapping[str, str]) -> AsyncIterator[ReadResponse]:
        """GET `url`. The place and the connection are held until the context is left."""
        await self._take_place()
        try:
            response = await self._head(url, fields)
            try:
                yield ReadResponse(response.status, end_to_end(response.raw_headers), _chunks(response))
            finally:
                # An unread rest would have to be received before the connection could be used again: drop both.
                response.close()
        finally:
            self._places.release()

    async def close(self) -> None:
        """Close the pooled connections."""
        if self._session is not None:
            await self._session.close()

    async def _take_place(self) -> None:
        try:
            async with asyncio.timeout(self._deadlines.queue_s):
                await self._places.acquire()
        except TimeoutError:
            raise OriginError(OriginFailure.OVERLOADED, "too many reads of the origin are under way") from None

    async def _head(self, url: URL, fields: Mapping[str, str]) -> aiohttp.ClientResponse:
        try:
            async with asyncio.timeout(self._deadlines.connect_s + self._deadlines.first_byte_s):
                return await self._opened().get(url, headers=fields, allow_redirects=False)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise _failure(error, "before the response's head") from error

    def _opened(self) -> aiohttp.ClientSession:
        # Made on first use: a session belongs to the running loop of its worker.
        if self._session is None:
            connector = (
                aiohttp.TCPConnector(limit=0, ttl_dns_cache=30)
                if self._unix_socket is None
                else aiohttp.UnixConnector(str(self._unix_socket), limit=0)
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "smartedu-edge", "Accept": "*/*", "Accept-Encoding": "identity"},
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=self._deadlines.connect_s, sock_read=self._deadlines.idle_s
                ),
                read_bufsize=_READ_BUFFER,
                max_field_size=_HEAD_LIMIT,
            )
        return self._session


class HttpReader:
    """An ObjectReader over any HTTP server: the object's path is appended to `base` (no trailing slash)."""

    def __init__(
        self,
        base: str,
        *,
        unix_socket: Path | None = None,
        deadlines: Deadlines | None = None,
        max_concurrent: int = 256,
        fields: Mapping[str, str] | None = None,
    ) -> None:
        self._base = base.rstrip("/")
        self._fields = dict(fields or {})
        self._client = HttpClient(
            deadlines=deadlines or Deadlines(), max_concurrent=max_concurrent, unix_socket=unix_socket
        )

    @asynccontextmanager
    async def open(self, request: ReadRequest) -> AsyncIterator[ReadResponse]:
        """Read one object; OriginError when there is no usable answer."""
        url = URL(self._base + encoded_path(request.path), encoded=True)
        async with self._client.exchange(url, self._fields | request.fields()) as response:
            yield response

    async def close(self) -> None:
        """Close the pooled connections."""
        await self._client.close()


def encoded_path(path: str) -> str:
    """The path as it goes on the wire: UTF-8, all percent-encoded but RFC 3986's unreserved characters and `/`."""
    return quote(path, safe="/-_.~")


def end_to_end(raw: tuple[tuple[bytes, bytes], ...]) -> Headers:
    """Field lines for storing and forwarding: names in lower case, without what belongs to the connection.

    RFC 9110, 7.6.1: the listed hop-by-hop fields and those that the Connection field names. Lines that are no UTF-8 are
    left out: they could not be forwarded byte for byte.
    """
    lines = [(name.decode("ascii").lower(), value.decode("utf-8")) for name, value in raw if _is_utf8(value)]
    named = {token.strip().lower() for name, value in lines if name == "connection" for token in value.split(",")}
    return tuple((name, value) for name, value in lines if name not in HOP_BY_HOP and name not in named)


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


async def _chunks(response: aiohttp.ClientResponse) -> Chunks:
    try:
        async for chunk in response.content.iter_any():
            yield chunk
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        raise _failure(error, "in the middle of the body") from error


def _failure(error: Exception, when: str) -> OriginError:
    """The one place where the client library's errors become ours."""
    detail = f"{type(error).__name__} {when}"
    match error:
        case aiohttp.ConnectionTimeoutError():
            return OriginError(OriginFailure.TIMEOUT, detail)
        case TimeoutError():  # aiohttp.SocketTimeoutError is one, too
            return OriginError(OriginFailure.READ_TIMEOUT, detail)
        case aiohttp.ClientConnectorError():
            return OriginError(OriginFailure.CONNECT, detail)
        case aiohttp.ClientPayloadError():
            return OriginError(OriginFailure.INCOMPLETE, detail)
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError() | OSError():
            return OriginError(OriginFailure.TERMINATED, detail)
        case _:
            return OriginError(OriginFailure.PROTOCOL, detail)

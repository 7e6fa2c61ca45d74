"""Does this address answer? One HTTP request, its status or its body."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from urllib.parse import urlsplit

from deploy.local.ports import LOOPBACK

BODY_LIMIT = 1024**2


async def http_status(
    url: str, *, method: str = "GET", headers: Mapping[str, str] | None = None, within_s: float = 5.0
) -> int | None:
    """The status of the answer to a request without body; None when there is no answer within the time."""
    head, _body = await _ask(url, method, headers or {}, within_s, body_limit=0)
    return _status(head)


async def http_body(url: str, *, within_s: float = 5.0) -> bytes | None:
    """The first BODY_LIMIT bytes of the answer's body when its status is 200, else None."""
    head, body = await _ask(url, "GET", {}, within_s, body_limit=BODY_LIMIT)
    return body if _status(head) == 200 else None


def _status(head: bytes) -> int | None:
    with suppress(ValueError, IndexError):
        return int(head.split(b" ", 2)[1])
    return None


async def _ask(
    url: str, method: str, headers: Mapping[str, str], within_s: float, *, body_limit: int
) -> tuple[bytes, bytes]:
    """Head and body of an answer, both empty when there is none. HTTP/1.0: the body ends where the connection does."""
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"{method} {target} HTTP/1.0"]
    sent = {"Host": parts.netloc, "Content-Length": "0", **headers}
    lines += [f"{name}: {value}" for name, value in sent.items()]
    with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        async with asyncio.timeout(within_s):
            reader, writer = await asyncio.open_connection(parts.hostname or LOOPBACK, parts.port or 80)
            try:
                writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
                head = await reader.readuntil(b"\r\n\r\n")
                return head, b"".join([part async for part in _parts(reader, body_limit)])
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
    return b"", b""


async def _parts(reader: asyncio.StreamReader, limit: int) -> AsyncIterator[bytes]:
    while limit > 0 and (part := await reader.read(limit)):
        limit -= len(part)
        yield part

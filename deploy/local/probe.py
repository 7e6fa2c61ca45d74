"""Does this address answer? One HTTP request, its status, nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import urlsplit

from deploy.local.ports import LOOPBACK

STATUS_LINE_LIMIT = 4096


async def http_status(
    url: str, *, method: str = "GET", headers: Mapping[str, str] | None = None, within_s: float = 5.0
) -> int | None:
    """The status of the answer to a request without body; None when there is no answer within the time."""
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"{method} {target} HTTP/1.1"]
    sent = {"Host": parts.netloc, "Content-Length": "0", "Connection": "close", **(headers or {})}
    lines += [f"{name}: {value}" for name, value in sent.items()]
    with suppress(OSError, ValueError, IndexError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        async with asyncio.timeout(within_s):
            return await _status(parts.hostname or LOOPBACK, parts.port or 80, "\r\n".join([*lines, "", ""]))
    return None


async def _status(host: str, port: int, request: str) -> int:
    reader, writer = await asyncio.open_connection(host, port, limit=STATUS_LINE_LIMIT)
    try:
        writer.write(request.encode("latin-1"))
        line = await reader.readuntil(b"\r\n")
        return int(line.split(b" ", 2)[1])
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

"""An origin for whoever caches: it makes up an answer to every request, as fast as Python on uvloop can.

/store/SIZE/NAME    so many bytes, to be kept for a year
/pass/SIZE/NAME     so many bytes that nobody may keep

A body begins with its own path, so that no two are alike; ranges of it are served, as a large object needs.

python -m loadtest.bench.origin
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from email.utils import formatdate
from functools import lru_cache
from typing import cast

import uvloop

from loadtest.bench import replica

BACKLOG = 4096
MAX_BYTES = 64 * 1024 * 1024
END_OF_HEAD = b"\r\n\r\n"

_TARGET = re.compile(rb"GET /(store|pass)/(\d+)/[^ ]* HTTP/1\.[01]\r\n")
_RANGE = re.compile(rb"\r\nrange: *bytes=(\d+)-(\d*)\r\n", re.IGNORECASE)
_KINDS = {b"store": b"public, max-age=31536000", b"pass": b"private, no-store"}


@lru_cache(maxsize=1)
def noise() -> memoryview:
    """MAX_BYTES that do not compress, the same in every run."""
    return memoryview(random.Random("origin").randbytes(65_536) * (MAX_BYTES // 65_536))


def pieces(path: bytes, first: int, beyond: int) -> list[bytes | memoryview]:
    """The bytes of the body from offset `first` up to `beyond`."""
    stamp = (path + b"\n")[first:beyond]
    return [stamp, noise()[first + len(stamp) : beyond]]


def body(path: str) -> bytes:
    """All of the body under a path."""
    size = int(path.split("/")[2])
    return b"".join(pieces(path.encode(), 0, size))


def answer(head: bytes) -> list[bytes | memoryview]:
    """The response to a request, which ends after its head."""
    target = _TARGET.match(head)
    if target is None:
        return [b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"]
    kind, size = target[1], int(target[2])
    path = target[0].split(b" ")[1]
    first, beyond = 0, size
    asked = _RANGE.search(head) if kind == b"store" else None
    status = b"200 OK"
    if asked is not None and int(asked[1]) < size:
        first = int(asked[1])
        beyond = min(int(asked[2] or size) + 1, size)
        status = b"206 Partial Content\r\nContent-Range: bytes %d-%d/%d" % (first, beyond - 1, size)
    lines = (
        b"HTTP/1.1 " + status,
        b"Date: " + _date(int(time.time())),
        b"Cache-Control: " + _KINDS[kind],
        b"Content-Type: application/octet-stream",
        b"Accept-Ranges: bytes",
        b'ETag: "%d"' % size,
        b"Content-Length: %d" % (beyond - first),
        END_OF_HEAD[:2],
    )
    return [b"\r\n".join(lines), *pieces(path, first, beyond)]


@lru_cache(maxsize=2)
def _date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()


class Origin(asyncio.Protocol):
    """One keep-alive connection; requests have no bodies."""

    def __init__(self) -> None:
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._unread += data
        while (end := self._unread.find(END_OF_HEAD)) >= 0:
            head, self._unread = self._unread[: end + len(END_OF_HEAD)], self._unread[end + len(END_OF_HEAD) :]
            self._transport.writelines(answer(head))


async def serve() -> None:
    """Serve until cancelled."""
    noise()
    server = await asyncio.get_running_loop().create_server(Origin, "127.0.0.1", 0, backlog=BACKLOG)
    replica.tell_ports({"": int(server.sockets[0].getsockname()[1])})
    await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())

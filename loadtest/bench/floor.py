"""A floor: a bare uvloop protocol that reads nothing of a request and writes a constant, one port per constant.

No server written in Python on uvloop can be much cheaper than this.

python -m loadtest.bench.floor DIRECTORY
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from pathlib import Path
from typing import cast

import uvloop

from loadtest.bench import replica

BACKLOG = 4096


class Constant(asyncio.Protocol):
    """Takes whatever is read for one request."""

    def __init__(self, response: bytes) -> None:
        self._response = response

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._write = cast("asyncio.Transport", transport).write

    def data_received(self, data: bytes) -> None:
        self._write(self._response)


def response(reply: replica.Reply, body: bytes) -> bytes:
    """Head and body in one piece."""
    fields = [("Content-Type", reply.content_type), *reply.fields, ("Content-Length", str(len(body)))]
    lines = ["HTTP/1.1 200 OK", *(f"{name}: {value}" for name, value in fields)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


async def serve(directory: Path) -> None:
    """Serve until cancelled."""
    loop = asyncio.get_running_loop()
    ports = {}
    for reply in replica.read(directory):
        constant = response(reply, replica.body_file(directory, reply).read_bytes())
        server = await loop.create_server(partial(Constant, constant), "127.0.0.1", 0, backlog=BACKLOG)
        ports[reply.path] = int(server.sockets[0].getsockname()[1])
    replica.tell_ports(ports)
    await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(Path(sys.argv[1])))

"""A peer: aiohttp's plain web.Application on uvloop, the same bytes and headers from memory.

python -m loadtest.bench.application DIRECTORY
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import uvloop
from aiohttp import web

from loadtest.bench import replica

BACKLOG = 4096


async def serve(directory: Path) -> None:
    """Serve until cancelled."""
    replies = {reply.path: reply for reply in replica.read(directory)}
    bodies = {path: replica.body_file(directory, reply).read_bytes() for path, reply in replies.items()}
    headers = {path: [("Content-Type", reply.content_type), *reply.fields] for path, reply in replies.items()}

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=bodies[request.path], headers=headers[request.path])

    application = web.Application()
    application.router.add_get("/{path:.+}", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=BACKLOG).start()
    port = int(runner.addresses[0][1])
    replica.tell_ports(dict.fromkeys(replies, port))
    await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        loop.run(serve(Path(sys.argv[1])))

"""Writes large answers to a plain connection past its transport, which could only copy them (`edge.cache.pages`).

That is possible while the transport has nothing to write: what comes later is behind it, in the kernel's own queue.
What the kernel does not take at once is for the transport, which waits for the client.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Final

from edge.cache.pages import Pages, Pipe

_MORE: Final = socket.MSG_MORE | socket.MSG_NOSIGNAL


class DirectWriter:
    """Of one connection; to be let go of before its descriptor is closed."""

    def __init__(self, transport: asyncio.Transport, pipe: Pipe) -> None:
        self._transport = transport
        self._pipe = pipe
        known = transport.get_extra_info("socket")
        self._socket = socket.socket(known.family, known.type, known.proto, fileno=known.fileno())
        self._descriptor = self._socket.fileno()

    def write(self, head: bytes, pages: Pages, first: int, count: int) -> int:
        """A head and `count` bytes of a body from `first` on; how many bytes of both the kernel has taken.

        What is wrong with the connection the transport finds out when it writes the rest.
        """
        if self._transport.get_write_buffer_size() or self._transport.is_closing():
            return 0
        taken = 0
        with suppress(OSError):
            taken = self._socket.send(head, _MORE)
            if taken == len(head):
                taken += self._pipe.send(self._descriptor, pages, first, count)
        return taken

    def let_go(self) -> None:
        """The descriptor is the transport's, to close as well."""
        self._socket.detach()

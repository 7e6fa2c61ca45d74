"""Bodies in pages of memory that nobody writes again, to be sent without being copied.

vmsplice(2) puts references to the pages into a pipe and splice(2) moves those on to a socket; write(2) copies what lies
in them. sendfile(2) from a file in memory does the same at a third more: it looks up every page of the file anew. What
a client has not taken yet refers to the pages, so they are never written again; they are free when the last
reference is gone, whoever holds it.

Moving a body there costs a copy: it is for what is sent again and again.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
from contextlib import suppress
from typing import Final

PIPE_BYTES: Final = 1024 * 1024
"""What everybody may have a pipe hold, if not told otherwise (pipe(7), /proc/sys/fs/pipe-max-size)."""
_PRIVATE: Final = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


class Pages:
    """One body, in pages. view: the same bytes, for everybody who reads them otherwise. Raises OSError when made."""

    __slots__ = ("__weakref__", "address", "view")

    def __init__(self, body: bytes | memoryview) -> None:
        memory = mmap.mmap(-1, len(body), flags=_PRIVATE)
        memory[:] = body
        self.address: Final = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        self.view: Final = memoryview(memory).toreadonly()  # which keeps them as well


class _Piece(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("address", ctypes.c_void_p), ("length", ctypes.c_size_t))


class Pipe:
    """What pages pass through on their way into a socket; empty between two calls, so one does for all connections.

    Raises OSError when made: no more descriptors, or a kernel that has no vmsplice(2).
    """

    def __init__(self) -> None:
        self._exit, self._entry = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        with suppress(OSError):  # a smaller one does it in more turns
            fcntl.fcntl(self._entry, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._piece = _Piece()
        self._told = ctypes.byref(self._piece)
        self._try_out()

    def __del__(self) -> None:
        for name in ("_exit", "_entry", "_nowhere"):
            with suppress(AttributeError):  # it was not made wholly
                os.close(getattr(self, name))

    def send(self, descriptor: int, pages: Pages, first: int, count: int) -> int:
        """Give a non-blocking socket `count` bytes from `first` on, or as many as it takes now; how many those are.

        Raises OSError: BlockingIOError when it takes none.
        """
        sent = 0
        while sent < count:
            held = self._fill(pages.address + first + sent, count - sent)
            try:
                gone = os.splice(self._exit, descriptor, held)
            except OSError:
                self._empty(held)
                if sent:
                    break
                raise
            sent += gone
            if gone < held:
                self._empty(held - gone)
                break
        return sent

    def _fill(self, address: int, count: int) -> int:
        self._piece.address, self._piece.length = address, count
        held: int = _LIBC.vmsplice(self._entry, self._told, 1, os.SPLICE_F_NONBLOCK)
        if held < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return held

    def _empty(self, held: int) -> None:
        """What the client does not take now, nobody takes out of the pipe."""
        while held > 0:
            held -= os.splice(self._exit, self._nowhere, held)

    def _try_out(self) -> None:
        pages = Pages(b"*")
        self._empty(self._fill(pages.address, 1))

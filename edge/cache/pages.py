"""Bodies in pages of memory that nobody writes again, to be sent without being copied.

vmsplice(2) puts references to the pages into a pipe and splice(2) moves those on to a socket; write(2) copies what lies
in them. sendfile(2) from a file in memory does the same at a quarter more: it looks up every page of the file anew.
What a client has not taken yet refers to the pages, so they are never written again; they are free when the last
reference is gone, whoever holds it.

Moving a body there costs a copy: it is for what is sent again and again.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

PIPE_BYTES: Final = 1024 * 1024
"""What everybody may have a pipe hold, if not told otherwise (pipe(7), /proc/sys/fs/pipe-max-size)."""
_PRIVATE: Final = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE


class Pages:
    """One body, in pages. view: the same bytes, for everybody who reads them otherwise. Raises OSError when made."""

    __slots__ = ("__weakref__", "_memory", "address", "view")

    def __init__(self, body: bytes | memoryview) -> None:
        memory = mmap.mmap(-1, len(body), flags=_PRIVATE)
        memory[:] = body
        self._memory: Final = memory  # which a view keeps only until it is released
        self.address: Final = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        self.view: Final = memoryview(memory).toreadonly()


class _Piece(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("address", ctypes.c_void_p), ("length", ctypes.c_size_t))


class Pipe:
    """What pages pass through on their way into a socket; empty between two calls, so one does for all connections.

    What is left in it would go to whoever is next. So when a call has not come to its end, for whatever reason, the
    next one begins with a new pipe.

    Raises OSError when made: no more descriptors, or a kernel that has no vmsplice(2).
    """

    def __init__(self) -> None:
        self._ends: tuple[int, ...] = ()  # out of it, into it
        self._empty = False  # and known to be
        self._nowhere = -1
        self._vmsplice = _vmsplice()
        self._piece = _Piece()
        self._told = ctypes.byref(self._piece)
        self._nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        self._try_out()

    def __del__(self) -> None:
        self._close()
        if self._nowhere >= 0:
            os.close(self._nowhere)

    def send(self, descriptor: int, pages: Pages, first: int, count: int) -> int:
        """Give a non-blocking socket `count` bytes from `first` on, or as many as it takes now; how many those are.

        Raises OSError when that is none, BlockingIOError when it has no room: what has gone is always told.
        """
        if first < 0 or count < 0 or first + count > len(pages.view):
            raise ValueError(f"{count} bytes from {first} on are not all in pages of {len(pages.view)}")
        if not self._empty:
            self._renew()
        way_out, way_in = self._ends
        self._empty = False
        sent = 0
        try:
            while sent < count:
                held = self._fill(way_in, pages.address + first + sent, count - sent)
                more = os.SPLICE_F_MORE if sent + held < count else 0  # no short segment in the middle
                gone = os.splice(way_out, descriptor, held, flags=more)
                sent += gone
                if gone < held:
                    self._throw_away(way_out, held - gone)
                    break
        except OSError:
            if not sent:
                raise
            return sent
        self._empty = True
        return sent

    def _fill(self, way_in: int, address: int, count: int) -> int:
        self._piece.address, self._piece.length = address, count
        held = self._vmsplice(way_in, self._told, 1, os.SPLICE_F_NONBLOCK)
        if held < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return held

    def _throw_away(self, way_out: int, held: int) -> None:
        """What the client does not take now is for nobody. That is half the cost of a new pipe."""
        while held > 0:
            gone = os.splice(way_out, self._nowhere, held)
            if not gone:
                raise OSError(errno.EIO, "a pipe holds less than was put into it")
            held -= gone

    def _renew(self) -> None:
        self._close()
        self._ends = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        with suppress(OSError):  # a smaller one does it in more turns
            fcntl.fcntl(self._ends[1], fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._empty = True

    def _close(self) -> None:
        ends, self._ends, self._empty = self._ends, (), False
        for end in ends:
            os.close(end)

    def _try_out(self) -> None:
        """Both ways out of it."""
        here, there = socket.socketpair()
        with here, there:
            here.setblocking(False)
            there.setblocking(False)
            pages = Pages(b"*")
            if self.send(here.fileno(), pages, 0, 1) != 1 or there.recv(1) != b"*":
                raise OSError(errno.ENOSYS, "splice(2) does not move what vmsplice(2) has taken")
        self._throw_away(self._ends[0], self._fill(self._ends[1], pages.address, 1))


def _vmsplice() -> Callable[..., int]:
    """The system call, as the C library has it. Raises OSError when that has none."""
    try:
        call = ctypes.CDLL(None, use_errno=True).vmsplice
    except AttributeError:
        raise OSError(errno.ENOSYS, "the C library has no vmsplice(2)") from None
    call.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_uint)
    call.restype = ctypes.c_ssize_t
    found: Callable[..., int] = call
    return found

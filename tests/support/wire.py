"""A client of raw bytes on a blocking socket: it reads answers by their framing and keeps them as they came."""

from __future__ import annotations

import re
import select
import socket
import ssl
from dataclasses import dataclass
from itertools import pairwise
from types import TracebackType

WITHIN_S = 20.0
LOOPBACK = "127.0.0.1"
_BIND_ADDRESS_NO_PORT = 24  # of Linux; the socket module names it from Python 3.12 on
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked\r\n", re.IGNORECASE)
_PIECE = 256 * 1024


@dataclass(frozen=True, slots=True)
class Raw:
    """One answer. head: its bytes with the empty line; body: without its framing; whole: it came to its end."""

    head: bytes
    body: bytes
    whole: bool = True

    @property
    def status(self) -> int:
        """0 when there was no answer."""
        return int(self.head.split(b" ", 2)[1]) if self.head else 0

    @property
    def lines(self) -> list[bytes]:
        """Status line and field lines, in order."""
        return self.head.removesuffix(b"\r\n\r\n").split(b"\r\n")

    def field(self, name: str) -> bytes | None:
        """The value of the first line of that name."""
        for line in self.lines[1:]:
            known, _, value = line.partition(b":")
            if known.lower() == name.lower().encode():
                return value.strip()
        return None


GONE = Raw(b"", b"", whole=False)
"""There was none, the connection had ended."""


class Wire:
    """One connection. source: the address it comes from; receive_bytes: what the kernel keeps until we read it.

    trust: it is encrypted, and this says what to believe.
    """

    def __init__(
        self,
        port: int,
        *,
        source: str = LOOPBACK,
        receive_bytes: int | None = None,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self._socket = socket.socket()
        self._socket.settimeout(WITHIN_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_bytes is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        if source != LOOPBACK:
            # Without a port: the connection gets one, of which there are more than a bound socket may choose from.
            self._socket.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
            self._socket.bind((source, 0))
        self._socket.connect((LOOPBACK, port))
        if trust is not None:
            self._socket = trust.wrap_socket(self._socket, server_hostname=LOOPBACK)
        self._came = b""

    def __enter__(self) -> Wire:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, data: bytes, cuts: tuple[int, ...] = ()) -> None:
        """All of it, in these packets, as far as the other side lets us."""
        edges = [0, *sorted({cut for cut in cuts if 0 < cut < len(data)}), len(data)]
        try:
            for first, beyond in pairwise(edges):
                self._socket.sendall(data[first:beyond])
        except ConnectionError:
            return

    def end(self) -> None:
        """Say that no more will be sent, to the kernel: an encrypted one could read no more if it said so itself."""
        socket.socket.shutdown(self._socket, socket.SHUT_WR)

    def answer(self, method: str = "GET") -> Raw:
        """The next final answer to a request of that method."""
        while True:
            head = self._until(b"\r\n\r\n")
            if not head.endswith(b"\r\n\r\n"):
                return Raw(head, b"", whole=False) if head else GONE
            status = int(head.split(b" ", 2)[1])
            if status >= 200:
                break
        if method == "HEAD" or status in (204, 304):
            return Raw(head, b"")
        if _CHUNKED.search(head):
            return self._chunked(head)
        length = _LENGTH.search(head)
        wanted = int(length[1]) if length else 2**62
        body = self._exactly(wanted)
        return Raw(head, body, whole=len(body) == wanted or length is None)

    def ask(self, data: bytes, method: str = "GET", cuts: tuple[int, ...] = ()) -> Raw:
        """Send a request; its answer."""
        self.send(data, cuts)
        return self.answer(method)

    def begins(self) -> bool:
        """Whether something comes, which is left where it is; waits for it."""
        return bool(select.select([self._socket], [], [], WITHIN_S)[0])

    def ends(self) -> bool:
        """Whether the other side ends the connection, and says nothing before; waits for it."""
        return self._came == b"" and self._more() == b""

    def _chunked(self, head: bytes) -> Raw:
        body = b""
        while size := int(self._until(b"\r\n").split(b";")[0] or b"0", 16):
            chunk = self._exactly(size + 2)
            body += chunk[:-2]
            if len(chunk) < size + 2:
                return Raw(head, body, whole=False)
        return Raw(head, body, whole=self._until(b"\r\n") == b"\r\n")

    def _until(self, end: bytes) -> bytes:
        while end not in self._came:
            more = self._more()
            if not more:
                rest, self._came = self._came, b""
                return rest
            self._came += more
        found, _, self._came = self._came.partition(end)
        return found + end

    def _exactly(self, count: int) -> bytes:
        pieces = [self._came]
        size = len(self._came)
        while size < count and (more := self._more()):
            pieces.append(more)
            size += len(more)
        data = b"".join(pieces)
        self._came = data[count:]
        return data[:count]

    def _more(self) -> bytes:
        try:
            return self._socket.recv(_PIECE)
        except ConnectionError:
            return b""

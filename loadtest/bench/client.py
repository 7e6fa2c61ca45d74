"""The load: keep-alive connections in a closed loop, each asking anew as soon as it has its whole answer.

Sockets and epoll without an event loop above them, because the load must be cheaper than the cheapest server it
measures. Every byte is taken out of the kernel, as a network card or a player takes it: left there unread (MSG_TRUNC,
tcp(7)), what a server has copied never leaves its core's cache, and copying looks cheaper than it is on any network.
`fetch` compares each byte once before a case is measured.
Each head is judged: a head that has been seen is looked up by its exact bytes, a new one is parsed.
"""

from __future__ import annotations

import http.client
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType

from loadtest.bench.cases import HOST, WrongAnswerError

Address = tuple[str, int]
STALL_S = 20.0
MAX_HEAD_BYTES = 16 * 1024
MAX_KNOWN_HEADS = 4096
END_OF_HEAD = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Load:
    """What was answered, rightly and completely, in `wall_s` seconds."""

    answers: int
    wall_s: float


@dataclass(frozen=True, slots=True)
class Answer:
    """One response, fields by lower-case name."""

    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes

    def field(self, name: str) -> str:
        """The value of a field, '' when there is none."""
        return next((value for found, value in self.fields if found.lower() == name.lower()), "")


def fetch(
    address: Address, path: str, fields: dict[str, str] | None = None, tls: ssl.SSLContext | None = None
) -> Answer:
    """One request on a connection of its own. Raises OSError; HTTP that cannot be read is one, too."""
    connection = (
        http.client.HTTPSConnection(*address, timeout=STALL_S, context=tls)
        if tls
        else http.client.HTTPConnection(*address, timeout=STALL_S)
    )
    try:
        connection.request("GET", path, headers={"Host": HOST} | (fields or {}))
        response = connection.getresponse()
        return Answer(response.status, tuple(response.getheaders()), response.read())
    except http.client.HTTPException as error:
        raise ConnectionError(f"not HTTP: {error!r}") from None
    finally:
        connection.close()


class Judge:
    """Says how many bytes follow a head; raises WrongAnswerError for a head that must not come."""

    def __init__(self, status: int, length: int, must_say: bytes = b"") -> None:
        """length: of the body, bytes. must_say: something that stands in every head."""
        self._length = length
        self._start = b"HTTP/1.1 %d " % status
        self._bodiless = status == 304
        self._must_say = must_say
        self._known: set[bytes] = set()

    def __call__(self, head: bytes) -> int:
        if head not in self._known:
            self._examine(head)
            if len(self._known) >= MAX_KNOWN_HEADS:
                self._known.clear()
            self._known.add(head)
        return self._length

    def _examine(self, head: bytes) -> None:
        status, *lines = head.split(b"\r\n")
        fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        told = 0 if self._bodiless else int(fields.get(b"content-length", b"-1"))
        if not status.startswith(self._start) or told != self._length or self._must_say not in head:
            wanted = f"{self._start.decode()}with {self._length} bytes and {self._must_say.decode()!r}"
            raise WrongAnswerError(f"expected {wanted}, got:\n{head.decode(errors='replace')}")
        if fields.get(b"connection", b"").lower() == b"close":
            raise WrongAnswerError("the server ends the connection after its answer")


class Connection:
    """One keep-alive connection with at most one request on its way."""

    __slots__ = ("_begun", "_missing", "_socket")

    def __init__(self, address: Address) -> None:
        self._socket = socket.create_connection(address, STALL_S)
        self._socket.settimeout(None)  # we only read what epoll has announced
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._begun = b""  # of a head, as far as it has come
        self._missing = 0

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, request: bytes) -> None:
        """Ask; the answer before has been taken completely."""
        self._socket.sendall(request)

    def settle(self, request: bytes, judge: Judge) -> None:
        """Ask once and wait for the whole answer. Raises WrongAnswerError, OSError."""
        poll = select.poll()
        poll.register(self, select.POLLIN)
        self.send(request)
        complete = False
        while not complete:
            if not poll.poll(STALL_S * 1000):
                raise WrongAnswerError(f"an answer did not come within {STALL_S:g} s")
            complete = self.advance(judge)

    def advance(self, judge: Judge) -> bool:
        """Take what has come; True when the answer is complete. Raises WrongAnswerError."""
        if self._missing:
            count = self._socket.recv_into(_nowhere, min(self._missing, len(_nowhere)))
            self._missing -= count
        else:
            at = len(self._begun)
            _head[:at] = self._begun
            count = self._socket.recv_into(_view[at:] if at else _view)
            self._take_head(at + count, judge)
        if not count:
            raise WrongAnswerError("the server closed a connection in the middle of an answer")
        return not (self._missing or self._begun)

    def _take_head(self, filled: int, judge: Judge) -> None:
        """Judge the head if it is whole, and count what of the body came with it."""
        end = _head.find(END_OF_HEAD, 0, filled)
        if end < 0:
            if filled == MAX_HEAD_BYTES:
                raise WrongAnswerError(f"the head is longer than {MAX_HEAD_BYTES} bytes")
            self._begun = bytes(_view[:filled])
            return
        self._begun = b""
        self._missing = judge(bytes(_view[:end])) - (filled - end - len(END_OF_HEAD))
        if self._missing < 0:
            raise WrongAnswerError(f"{-self._missing} bytes more than Content-Length says")

    def close(self) -> None:
        self._socket.close()


class SecureConnection(Connection):
    """The same over TLS. Its handshake is over when it has been made."""

    __slots__ = ()
    _socket: ssl.SSLSocket

    def __init__(self, address: Address, tls: ssl.SSLContext) -> None:
        super().__init__(address)
        self._socket = tls.wrap_socket(self._socket, server_hostname=address[0])
        self._socket.setblocking(False)

    def send(self, request: bytes) -> None:
        self._socket.write(request)  # as small as it is, all of it; `sendall` does the same at a cost

    def advance(self, judge: Judge) -> bool:
        # What TLS has read ahead is not announced by epoll any more: go on until it wants more from the network.
        with suppress(ssl.SSLWantReadError):
            while not super().advance(judge):
                pass
            return True
        return False


def connect(address: Address, tls: ssl.SSLContext | None = None) -> Connection:
    """A new connection, over TLS if there is a context for it. Raises OSError."""
    return SecureConnection(address, tls) if tls else Connection(address)


# Where bodies go, and heads with what comes together with them. One for all connections, and small enough to stay in
# the core's own cache: thousands of buffers would drive the server's memory out of the one that both cores share.
_nowhere = bytearray(256 * 1024)
_head = bytearray(MAX_HEAD_BYTES)
_view = memoryview(_head)


class Crowd:
    """Connections to one server, asking at once."""

    def __init__(
        self,
        address: Address,
        connections: int,
        tls: ssl.SSLContext | None = None,
        greet: Callable[[Connection], None] | None = None,
    ) -> None:
        """greet: called with each connection as soon as it is there.

        Thousands of handshakes take long, and a server may hang up on whoever connects and says nothing.
        """
        self._by_number: dict[int, Connection] = {}
        self._epoll = select.epoll()
        for _ in range(connections):
            connection = connect(address, tls)
            if greet:
                greet(connection)
            self._by_number[connection.fileno()] = connection
            self._epoll.register(connection.fileno(), select.EPOLLIN)

    def __enter__(self) -> Crowd:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._epoll.close()
        for connection in self._by_number.values():
            connection.close()

    def ask(self, requests: Iterator[bytes], judge: Judge, for_s: float) -> Load:
        """Ask for `for_s` seconds or until there are no more requests; returns when every request is answered.

        Raises WrongAnswerError, also when nothing comes for STALL_S seconds.
        """
        began = time.monotonic()
        deadline, answers, asking = began + for_s, 0, 0
        for connection in self._by_number.values():
            asking += _ask_next(connection, requests)
        while asking:
            events = self._epoll.poll(STALL_S)
            if not events:
                raise WrongAnswerError(f"{asking} answers did not come within {STALL_S:g} s")
            late = time.monotonic() >= deadline
            for number, _event in events:
                connection = self._by_number[number]
                if connection.advance(judge):
                    answers += 1
                    if late or not _ask_next(connection, requests):
                        asking -= 1
        return Load(answers, time.monotonic() - began)


def _ask_next(connection: Connection, requests: Iterator[bytes]) -> bool:
    request = next(requests, None)
    if request is None:
        return False
    connection.send(request)
    return True

"""The connections to one address: how they are made, and those that wait for their next exchange.

The youngest is used first, so that what is not needed grows old and is closed. One that the origin closes, or says a
word on unasked, is gone from the pool at once.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from aiohappyeyeballs import AddrInfoType, start_connection

from origin.connection import Connection
from origin.reader import OriginError, OriginFailure

KEEP_S = 30.0
"""How long an unused connection is kept; origins close theirs after 2 s (gunicorn) to 75 s (nginx)."""
NEXT_ADDRESS_S = 0.25
"""After this the next address of a host is tried beside the one that does not answer (RFC 8305)."""

_OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""We have no means left to connect with, which says nothing about who listens."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where an origin listens. authority: for the Host field; path: put before each target; unix: instead of TCP."""

    host: str
    port: int
    authority: str
    path: str = ""
    encrypted: bool = False
    unix: Path | None = None

    @classmethod
    def of(cls, base: str, unix: Path | None = None) -> Address:
        """From `http(s)://host[:port][/path]`."""
        parts = urlsplit(base)
        encrypted = parts.scheme == "https"
        standard = 443 if encrypted else 80
        port = parts.port or standard
        host = parts.hostname or ""
        shown = f"[{host}]" if ":" in host else host
        authority = shown if port == standard else f"{shown}:{port}"
        return cls(host, port, authority, parts.path.rstrip("/"), encrypted, unix)


def tls_context(ca: Path | None = None) -> ssl.SSLContext:
    """Verifies origins against the authorities in `ca`, by default the system's. Reads files: not for the loop."""
    context = ssl.create_default_context(cafile=ca)
    context.set_alpn_protocols(["http/1.1"])
    return context


class Pool:
    """tls: for an encrypted address; made on first use when it is not given. keep: connections kept at most."""

    def __init__(self, address: Address, *, tls: ssl.SSLContext | None, keep: int, keep_s: float = KEEP_S) -> None:
        self._address = address
        self._tls = tls
        self._keep = keep
        self._keep_s = keep_s
        self._waiting: list[Connection] = []
        self._all: set[Connection] = set()

    def take(self, *, younger_than_s: float) -> Connection | None:
        """A connection that waits, and has not waited longer than that."""
        while self._waiting and not self._waiting[-1].alive:
            self._waiting.pop()  # it is closing, but its end has not been told yet
        if not self._waiting or self._waiting[-1].waited_s > younger_than_s:
            return None
        return self._waiting.pop()

    async def connect(self, within_s: float) -> Connection:
        """A new connection. Raises OriginError."""
        try:
            async with asyncio.timeout(within_s):
                connection = await self._dial()
        except (OSError, RuntimeError, UnicodeError) as error:  # also TimeoutError, ssl.SSLError; uvloop: RuntimeError
            raise _failure(error, self._address) from error
        if connection.alive:
            self._all.add(connection)
        return connection

    def give_back(self, connection: Connection) -> None:
        """The exchange is over: keep the connection if it is fit for another one, else close it."""
        if connection.reusable and len(self._waiting) < self._keep:
            connection.rest(self._keep_s)
            self._waiting.append(connection)
        else:
            connection.close()

    def retire(self) -> None:
        """Close those that wait; the others as soon as their exchange is over."""
        self._keep = 0
        for connection in tuple(self._waiting):
            connection.close()

    async def close(self) -> None:
        """Close all connections, also those in use."""
        while self._all:
            for connection in tuple(self._all):
                connection.close()
            await asyncio.sleep(0)  # their protocols are told in the loop's next turn

    async def _dial(self) -> Connection:
        loop = asyncio.get_running_loop()
        address = self._address
        if address.unix is not None:
            _, connection = await loop.create_unix_connection(partial(Connection, self._lost), str(address.unix))
            return connection
        if address.encrypted and self._tls is None:
            self._tls = await asyncio.to_thread(tls_context)
        found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        infos: list[AddrInfoType] = list(found)
        plain = await start_connection(infos, happy_eyeballs_delay=NEXT_ADDRESS_S, interleave=1)
        name = address.host if address.encrypted else None
        _, connection = await loop.create_connection(
            partial(Connection, self._lost), sock=plain, ssl=self._tls, server_hostname=name
        )
        return connection

    def _lost(self, connection: Connection) -> None:
        self._all.discard(connection)
        if connection in self._waiting:
            self._waiting.remove(connection)


def _failure(error: Exception, address: Address) -> OriginError:
    """The one place where the errors of connecting become ours."""
    detail = f"{address.unix or address.authority}: {error or type(error).__name__}"
    match error:
        case TimeoutError():
            return OriginError(OriginFailure.TIMEOUT, f"{address.unix or address.authority} did not answer in time")
        case ssl.SSLCertVerificationError():
            return OriginError(OriginFailure.CERTIFICATE, detail)
        case ssl.SSLError():
            return OriginError(OriginFailure.TLS, detail)
        case socket.gaierror() | UnicodeError():
            return OriginError(OriginFailure.DNS, detail)
        case OSError(errno=number) if number in _OURS:
            return OriginError(OriginFailure.OVERLOADED, detail, retry_after_s=1.0)
        case _:
            return OriginError(OriginFailure.CONNECT, detail)

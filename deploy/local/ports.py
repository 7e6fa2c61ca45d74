"""Free loopback ports for servers that are told their port, and the memory of them between runs."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from deploy.local.keyring import write_private

LOOPBACK = "127.0.0.1"
LAST_PORT = 65535
# SeaweedFS's maintenance worker finds its admin server's gRPC port by adding this to the HTTP port.
GRPC_OFFSET = 10_000


def is_free(host: str, port: int) -> bool:
    """True when a server could listen on the address now."""
    return why_taken(host, port) is None


def why_taken(host: str, port: int) -> str | None:
    """The reason why nothing can listen on the address ("Address already in use"), None when something can."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _name, address in found:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
                probe.listen(1)
    except OSError as error:
        return error.strerror or str(error)
    return None


def free_port() -> int:
    """A loopback port that was free a moment ago and that the kernel gives to nobody else for about a minute.

    A port merely closed again may be handed out as the local port of any outgoing connection before the server that
    we start listens on it; with tests in several processes this does happen. So a connection is made to it and closed
    from the listening side first: the pair stays in TIME_WAIT, which keeps the port out of the kernel's choice, while
    a server with SO_REUSEADDR (all that we start) may listen on it.
    """
    with socket.create_server((LOOPBACK, 0)) as server:
        port: int = server.getsockname()[1]
        with socket.create_connection((LOOPBACK, port)) as client:
            accepted, _ = server.accept()
            accepted.close()
            client.recv(1)
    return port


def free_pair() -> int:
    """A free port whose partner, GRPC_OFFSET above it, is free as well."""
    for _ in range(100):
        upper = free_port()
        lower = upper - GRPC_OFFSET
        if lower >= 1024 and is_free(LOOPBACK, lower):
            return lower
    raise OSError("no pair of free ports found")


def remembered(file: Path, names: Iterable[str], pairs: Iterable[str] = ()) -> dict[str, int]:
    """A port for each name: the ones in `file` when all are free, else new ones, written there.

    pairs: names whose port needs its partner (see `free_pair`) as well.
    """
    chosen: dict[str, Callable[[], int]] = dict.fromkeys(names, free_port) | dict.fromkeys(pairs, free_pair)
    before = read(file)
    wanted = [before.get(name, 0) for name in chosen] + [before.get(name, 0) + GRPC_OFFSET for name in pairs]
    if before.keys() == chosen.keys() and all(is_free(LOOPBACK, port) for port in wanted):
        return before
    ports = {name: choose() for name, choose in chosen.items()}
    write_private(file, json.dumps(ports))
    return ports


def read(file: Path) -> dict[str, int]:
    """The ports written in `file`; none when there is no such file or it is damaged."""
    with suppress(OSError, ValueError):
        ports = json.loads(file.read_text())
        if isinstance(ports, Mapping) and all(isinstance(p, int) and 0 < p <= LAST_PORT for p in ports.values()):
            return dict(ports)
    return {}

"""Free loopback ports for servers that are told their port, and the memory of them between runs."""

from __future__ import annotations

import json
import random
import socket
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from deploy.local.keyring import write_private

LOOPBACK = "127.0.0.1"
LAST_PORT = 65535
# SeaweedFS's maintenance worker finds its admin server's gRPC port by adding this to the HTTP port.
GRPC_OFFSET = 10_000
# No wider than the offset: SeaweedFS refuses a port that is another's plus the offset.
PORTS = range(10_000, 10_000 + GRPC_OFFSET)
# Not the shared generator: one that was seeded alike in two processes would give both the same port.
_RANDOM = random.SystemRandom()
# Given out by this process already; the servers that asked for them may not listen yet.
_given: deque[int] = deque(maxlen=1000)


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
    """A free loopback port below those that the kernel usually gives to outgoing connections.

    A port of the kernel's range may become the local end of anybody's connection between now and the moment when the
    server listens on it, or while that server restarts; with tests in several processes this does happen.
    """
    for _ in range(100):
        port = _RANDOM.choice(PORTS)
        if port not in _given and is_free(LOOPBACK, port):
            _given.append(port)
            return port
    raise OSError(f"no free port found from {PORTS.start} to {PORTS.stop - 1}")


def free_pair() -> int:
    """A free port whose partner, GRPC_OFFSET above it, is free as well."""
    for _ in range(100):
        port = free_port()
        if is_free(LOOPBACK, port + GRPC_OFFSET):
            return port
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

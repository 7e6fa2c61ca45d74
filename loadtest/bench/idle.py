"""What a connection costs that is kept alive and idle: memory of the process that holds thousands of them.

Resident memory only: what the kernel holds for a socket is the same for every server.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import repeat

from loadtest.bench import cases
from loadtest.bench.cases import STORED, Kind
from loadtest.bench.client import Crowd, Judge, connect
from loadtest.bench.processes import resident_bytes
from loadtest.bench.servers import Server

CONNECTIONS = 10_000
# What a process has open beside the connections; the edge keeps as many from its clients.
SPARE_DESCRIPTORS = 1024
WARM_CONNECTIONS = 64
WARM_S = 0.2
THING = STORED[0]


@dataclass(frozen=True, slots=True)
class Held:
    """What a server held. each_bytes: for one connection more; resident_bytes: of the whole process at the end."""

    server: str
    connections: int
    each_bytes: float
    resident_bytes: int


def allowed(wanted: int, descriptors: int) -> int:
    """How many connections a process can have that may open so many files."""
    return max(1, min(wanted, descriptors - SPARE_DESCRIPTORS))


def run(servers: Sequence[Server], connections: int, tick: Callable[[], None]) -> list[Held]:
    """Each server in turn, once: memory that was needed before is not given back. Raises WrongAnswerError, OSError."""
    found = []
    for server in servers:
        found.append(_hold(server, connections))
        tick()
    return found


def _hold(server: Server, connections: int) -> Held:
    request = cases.request(THING.path, {})
    address = server.address(THING.path)
    judge = Judge(200, THING.size, server.says.get(Kind.HIT, b""))
    # So that all is there that any request needs, and nothing of it counts.
    with Crowd(address, WARM_CONNECTIONS, server.tls) as crowd:
        crowd.ask(repeat(request), Judge(200, THING.size), WARM_S)
    with ExitStack() as stack:
        before = resident_bytes(server.pid)
        oldest = None
        for _ in range(connections):
            connection = stack.enter_context(closing(connect(address, server.tls)))
            connection.settle(request, judge)
            oldest = oldest or connection
        after = resident_bytes(server.pid)
        # If this one is still held, all are: it has been idle longest.
        if oldest:
            oldest.settle(request, judge)
    return Held(server.name, connections, (after - before) / connections, after)

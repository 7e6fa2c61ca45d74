"""The edge and its peers as child processes that a `with` block ends."""

from __future__ import annotations

import json
import socket
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from loadtest.bench import nginx
from loadtest.bench.client import Address, fetch
from loadtest.bench.processes import Process, StartError, children, leaves
from loadtest.bench.storage import Stack, read_stack

HOST = "127.0.0.1"
EDGE_WITHIN_S = 60.0
PEER_WITHIN_S = 15.0

EDGE = "edge"
APPLICATION = "web.Application"
FLOOR = "bare uvloop"
NGINX = "nginx static"


@dataclass(frozen=True, slots=True)
class Server:
    """Something that answers. ports: by path; a server with one port has it under ''. pid: the process that serves."""

    name: str
    pid: int
    ports: Mapping[str, int]

    def address(self, path: str) -> Address:
        """Where to ask for a path."""
        return HOST, self.ports.get(path) or self.ports[""]


@contextmanager
def edge(state: Path) -> Iterator[tuple[Server, Stack]]:
    """`smartedu up` with one worker process, storage and Redis of its own, in its usual configuration."""
    port, admin = free_ports(2)
    command = str(Path(sysconfig.get_path("scripts")) / "smartedu")
    flags = ["--no-samples", "--workers", "1", "--listen", f"{HOST}:{port}", "--admin", f"{HOST}:{admin}"]

    def serving() -> Stack | None:
        stack = read_stack(state)
        return stack if stack and _answers((HOST, port), "/healthz") else None

    with Process([command, "up", "--state", str(state), *flags], state.parent / "up.log") as process:
        stack = process.wait_for(serving, EDGE_WITHIN_S)
        # Between `up` and the one worker stand processes that only watch: the worker is where the tree ends.
        workers = leaves(stack.edge_pid)
        if len(workers) != 1:
            raise StartError(f"the edge has {len(workers)} processes that may be its worker")
        yield Server(EDGE, workers[0], {"": port}), stack


@contextmanager
def python_peer(name: str, module: str, directory: Path) -> Iterator[Server]:
    """One of our own small servers; it tells its ports when it listens."""
    log = directory / f"{module}.log"

    def ports() -> dict[str, int] | None:
        first, newline, _ = log.read_text().partition("\n")
        if not newline:
            return None
        try:
            return {path: int(port) for path, port in json.loads(first).items()}
        except json.JSONDecodeError:
            raise StartError(f"{module} says:\n{log.read_text()}") from None

    with Process([sys.executable, "-m", module, str(directory)], log) as process:
        yield Server(name, process.pid, process.wait_for(ports, PEER_WITHIN_S))


@contextmanager
def nginx_peer(binary: str, directory: Path) -> Iterator[Server]:
    """nginx: a master that only watches and the worker that serves."""
    (port,) = free_ports(1)
    configuration = nginx.configure(directory, port)

    def worker() -> int | None:
        found = children(process.pid)
        return found[0] if found and _answers((HOST, port), "/") else None

    with Process([binary, "-p", str(directory), "-c", str(configuration)], directory / "nginx.log") as process:
        yield Server(NGINX, process.wait_for(worker, PEER_WITHIN_S), {"": port})


def free_ports(count: int) -> list[int]:
    """Loopback ports that were free a moment ago, all different."""
    sockets = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _answers(address: Address, path: str) -> bool:
    try:
        return fetch(address, path).status in (200, 403, 404)
    except OSError:
        return False

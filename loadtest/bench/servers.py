"""The edge and its peers as child processes that a `with` block ends."""

from __future__ import annotations

import json
import socket
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from loadtest.bench import nginx, varnish
from loadtest.bench.cases import Kind
from loadtest.bench.client import Address, fetch
from loadtest.bench.processes import Process, StartError, children, command_line, leaves
from loadtest.bench.storage import Stack, read_stack

HOST = "127.0.0.1"
EDGE_WITHIN_S = 60.0
PEER_WITHIN_S = 15.0

EDGE = "edge"
APPLICATION = "web.Application"
FLOOR = "bare uvloop"
NGINX = "nginx static"
NGINX_CACHE = "nginx cache"
VARNISH = "Varnish"

_EDGE_SAYS = {
    Kind.HIT: b"; hit",
    Kind.NOT_MODIFIED: b"; hit",
    Kind.RANGE: b"; hit",
    Kind.MISS: b"; fwd=uri-miss",
    Kind.PASS: b"; fwd=",
}
_NGINX_SAYS = {Kind.HIT: b"nginx; HIT", Kind.MISS: b"nginx; MISS", Kind.PASS: b"nginx; MISS"}
_VARNISH_SAYS = {Kind.HIT: b"varnish; hit", Kind.MISS: b"varnish; fwd=miss", Kind.PASS: b"varnish; fwd=miss"}


@dataclass(frozen=True, slots=True)
class Server:
    """Something that answers. ports: by path; a server with one port has it under ''. pid: the process that serves.

    says: what stands in the head of every right answer, by the kind of request; nothing for a server that is no cache.
    """

    name: str
    pid: int
    ports: Mapping[str, int]
    says: Mapping[Kind, bytes] = field(default_factory=dict)

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
        yield Server(EDGE, _worker(stack.edge_pid), {"": port}, _EDGE_SAYS), stack


@contextmanager
def proxy(directory: Path, origin: int, memory: str, *flags: str) -> Iterator[Server]:
    """`smartedu serve` before the HTTP origin on that port, with one worker process and nothing else beside it."""
    directory.mkdir()
    port, admin = free_ports(2)
    argv = [
        *(str(Path(sysconfig.get_path("scripts")) / "smartedu"), "serve", "--workers", "1", "--memory", memory),
        *("--origin", f"http://{HOST}:{origin}", "--listen", f"{HOST}:{port}", "--admin", f"{HOST}:{admin}"),
        *("--data-dir", str(directory / "data"), "--node", "bench", *flags),
    ]
    with Process(argv, directory / "serve.log") as process:
        process.wait_for(lambda: _answers((HOST, port), "/healthz") or None, EDGE_WITHIN_S)
        yield Server(EDGE, _worker(process.pid), {"": port}, _EDGE_SAYS)


def _worker(pid: int) -> int:
    """Between what was started and the one worker stand processes that only watch: it is where the tree ends."""
    workers = leaves(pid)
    if len(workers) != 1:
        raise StartError(f"the edge has {len(workers)} processes that may be its worker")
    return workers[0]


@contextmanager
def origin(directory: Path) -> Iterator[int]:
    """The HTTP origin, by its port."""
    with python_peer("origin", "loadtest.bench.origin", directory) as server:
        yield server.ports[""]


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
    """nginx with the replies noted in `directory` as files."""
    (port,) = free_ports(1)
    configuration = nginx.configure(directory, port)
    with _nginx(binary, directory, configuration, port) as pid:
        yield Server(NGINX, pid, {"": port})


@contextmanager
def nginx_cache_peer(binary: str, directory: Path, origin: int) -> Iterator[Server]:
    """nginx as a cache before the origin on that port."""
    directory.mkdir()
    (port,) = free_ports(1)
    configuration = nginx.configure_cache(directory, port, origin)
    with _nginx(binary, directory, configuration, port) as pid:
        yield Server(NGINX_CACHE, pid, {"": port}, _NGINX_SAYS)


@contextmanager
def _nginx(binary: str, directory: Path, configuration: Path, port: int) -> Iterator[int]:
    """The worker that serves: beside it stand a master that only watches, and what tidies up the cache."""

    def worker() -> int | None:
        found = [pid for pid in children(process.pid) if "worker process" in command_line(pid)]
        return found[0] if found and _answers((HOST, port), "/") else None

    with Process([binary, "-p", str(directory), "-c", str(configuration)], directory / "nginx.log") as process:
        yield process.wait_for(worker, PEER_WITHIN_S)


@contextmanager
def varnish_peer(binary: str, directory: Path, origin: int) -> Iterator[Server]:
    """Varnish before the origin on that port: a manager that only watches and the process that serves."""
    directory.mkdir()
    (port,) = free_ports(1)

    def worker() -> int | None:
        found = children(process.pid)
        return found[0] if found and _answers((HOST, port), "/") else None

    with Process(varnish.arguments(binary, directory, port, origin), directory / "varnish.log") as process:
        yield Server(VARNISH, process.wait_for(worker, EDGE_WITHIN_S), {"": port}, _VARNISH_SAYS)


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

"""The edge and its peers as child processes that a `with` block ends."""

from __future__ import annotations

import json
import random
import socket
import ssl
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from loadtest.bench import native, nginx, varnish
from loadtest.bench.cases import C_FLOOR, EDGE, NGINX, NGINX_CACHE, NGINX_DEFAULT, VARNISH, Kind
from loadtest.bench.client import Address, fetch
from loadtest.bench.processes import Process, StartError, children, command_line, leaves
from loadtest.bench.storage import Stack, read_stack
from loadtest.bench.tls import Identity

HOST = "127.0.0.1"
EDGE_WITHIN_S = 60.0
PEER_WITHIN_S = 15.0
FIRST_PORT = 10_000
CLIENT_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")

_EDGE_SAYS = {
    Kind.HIT: b"; hit",
    Kind.NOT_MODIFIED: b"; hit",
    Kind.RANGE: b"; hit",
    Kind.MISS: b"; fwd=uri-miss",
    Kind.PASS: b"; fwd=",
}
_HITS = (Kind.HIT, Kind.NOT_MODIFIED, Kind.RANGE)
_MISSES = (Kind.MISS, Kind.PASS)
_NGINX_SAYS = dict.fromkeys(_HITS, b"nginx; HIT") | dict.fromkeys(_MISSES, b"nginx; MISS")
_VARNISH_SAYS = dict.fromkeys(_HITS, b"varnish; hit") | dict.fromkeys(_MISSES, b"varnish; fwd=miss")


@dataclass(frozen=True, slots=True)
class Server:
    """Something that answers. ports: by path; a server with one port has it under ''. pid: the process that serves.

    says: what stands in the head of every right answer, by the kind of request; nothing for a server that is no cache.
    tls: for asking it, None in plain. asked_with: fields that requests for hits have beside their own.
    """

    name: str
    pid: int
    ports: Mapping[str, int]
    says: Mapping[Kind, bytes] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    asked_with: Mapping[str, str] = field(default_factory=dict)

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
def proxy(
    directory: Path, origin: int, memory: str, *flags: str, name: str = EDGE, identity: Identity | None = None
) -> Iterator[Server]:
    """`smartedu serve` before the HTTP origin on that port, with one worker process and nothing else beside it.

    identity: makes its listener one of TLS.
    """
    directory.mkdir()
    port, admin = free_ports(2)
    argv = [
        *(str(Path(sysconfig.get_path("scripts")) / "smartedu"), "serve", "--workers", "1", "--memory", memory),
        *("--origin", f"http://{HOST}:{origin}", "--listen", f"{HOST}:{port}", "--admin", f"{HOST}:{admin}"),
        *("--data-dir", str(directory / "data"), "--node", "bench", *flags),
    ]
    if identity:
        argv += ["--tls-cert", str(identity.certificate), "--tls-key", str(identity.key)]
    tls = identity.client if identity else None
    with Process(argv, directory / "serve.log", identity.environment if identity else {}) as process:
        process.wait_for(lambda: _answers((HOST, port), "/healthz", tls) or None, EDGE_WITHIN_S)
        yield Server(name, _worker(process.pid), {"": port}, _EDGE_SAYS, tls)


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
    """One of our own small servers."""
    argv = [sys.executable, "-m", module, str(directory)]
    with _telling_peer(name, argv, directory / f"{module}.log") as server:
        yield server


@contextmanager
def native_peer(program: Path, directory: Path) -> Iterator[Server]:
    """The floor in C, with the replies noted in `directory`."""
    with _telling_peer(C_FLOOR, native.arguments(program, directory), directory / "native.log") as server:
        yield server


@contextmanager
def _telling_peer(name: str, argv: list[str], log: Path) -> Iterator[Server]:
    """A server that tells its ports when it listens."""

    def ports() -> dict[str, int] | None:
        first, newline, _ = log.read_text().partition("\n")
        if not newline:
            return None
        try:
            return {path: int(port) for path, port in json.loads(first).items()}
        except json.JSONDecodeError:
            raise StartError(f"{name} says:\n{log.read_text()}") from None

    with Process(argv, log) as process:
        yield Server(name, process.pid, process.wait_for(ports, PEER_WITHIN_S))


@contextmanager
def nginx_peer(binary: str, directory: Path) -> Iterator[Server]:
    """nginx with the replies noted in `directory` as files."""
    (port,) = free_ports(1)
    configuration = nginx.configure(directory, port)
    with _nginx(binary, directory, configuration, port) as pid:
        yield Server(NGINX, pid, {"": port})


@contextmanager
def nginx_cache_peer(
    binary: str, directory: Path, origin: int, identity: Identity | None = None, *, tuned: bool = True
) -> Iterator[Server]:
    """nginx as a cache before the origin on that port."""
    directory.mkdir()
    (port,) = free_ports(1)
    configuration = nginx.configure_cache(directory, port, origin, identity, tuned=tuned)
    name = NGINX_CACHE if tuned else NGINX_DEFAULT
    with _nginx(binary, directory, configuration, port, identity) as pid:
        yield Server(name, pid, {"": port}, _NGINX_SAYS, identity.client if identity else None)


@contextmanager
def _nginx(
    binary: str, directory: Path, configuration: Path, port: int, identity: Identity | None = None
) -> Iterator[int]:
    """The worker that serves: beside it stand a master that only watches, and what tidies up the cache."""
    argv = [binary, "-p", str(directory), "-c", str(configuration)]
    tls = identity.client if identity else None

    def worker() -> int | None:
        found = [pid for pid in children(process.pid) if "worker process" in command_line(pid)]
        return found[0] if found and _answers((HOST, port), "/", tls) else None

    with Process(argv, directory / "nginx.log", identity.environment if identity else {}) as process:
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
    """Loopback ports that were free a moment ago, all different.

    None that the kernel gives to clients: thousands of connections come and go here, and one of them would soon have a
    port that a server is still to listen at.
    """
    first_of_clients = int(CLIENT_PORTS.read_text().split()[0])
    found: list[int] = []
    for port in random.sample(range(FIRST_PORT, first_of_clients), first_of_clients - FIRST_PORT):
        if len(found) == count:
            break
        with suppress(OSError), socket.create_server((HOST, port)):
            found.append(port)
    return found


def _answers(address: Address, path: str, tls: ssl.SSLContext | None = None) -> bool:
    try:
        return fetch(address, path, tls=tls).status in (200, 403, 404)
    except OSError:
        return False

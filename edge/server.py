"""Worker processes, sockets, drain and renewal.

Gunicorn's arbiter is used as a library: it forks the workers, starts a successor when one dies, renews them on SIGHUP
(`edge.renewal`) and drains them on SIGTERM. What runs inside a worker is ours: one uvloop, and aiohttp runners for the
public listeners, the admin listener and a Unix socket on which the workers of a node ask each other (see
`edge.cache.siblings`).

A worker owns a slot, the lowest number whose lock file it gets. The kernel frees the lock when the worker dies, however
it dies, so that its successor finds the slot, and the journal kept under it.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import importlib
import logging
import os
import resource
import shutil
import signal
import socket
import ssl
import sys
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from enum import Enum
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from aiohttp import web
from gunicorn.app.base import BaseApplication

from config.settings import Address, ConfigurationError, EdgeSettings
from edge import access_log, garbage
from edge.assembly.placing import WrongFileError, check_atlas
from edge.bearer import secret_in
from edge.deadline import deadline
from edge.renewal import ENDING, HURRY_S, START_WITHIN_S, RenewableWorker, Renewal
from edge.scratch import SHARED_MEMORY, scratch
from edge.slots import Slot
from edge.tasks import begin, end
from edge.tls import CertificateError, server_context
from origin.pool import tls_context

if TYPE_CHECKING:
    from edge.app import WorkerNode
    from edge.inflight import InFlight

log = logging.getLogger("edge.server")

BACKLOG = 4096
# What a worker has open beside its clients' connections: files, origins, Redis, siblings.
SPARE_DESCRIPTORS = 500
# What a disk says that is full or fails.
FAILING = frozenset({errno.EIO, errno.ENOSPC, errno.EDQUOT})
HEARTBEAT_S = 1.0
KEEPALIVE_S = 75.0
# A worker that has not told the arbiter for this long that it lives is replaced.
STUCK_AFTER_S = 30
BOOT_AGAIN_S = 1.0
# Idle keep-alive connections get this long to be used once more (and told to close) before a drain cuts them.
IDLE_GRACE_S = 0.5
# An encrypted connection that was accepted just before the drain has to be agreed upon first, in several steps.
ENCRYPTED_GRACE_S = 3.0


def run(settings: EdgeSettings, reload: Callable[[], EdgeSettings]) -> None:
    """Serve until SIGTERM or SIGINT; exits the process with 0 after a drain.

    reload: reads the settings again on SIGHUP; a wrong setting keeps the old ones and says so.
    Raises ConfigurationError when an address is taken or the data directory cannot be used.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s[%(process)d] %(message)s")
    tls = _checked(settings)
    public = [_bind("listen", address) for address in settings.listen]
    admin = _bind("admin", settings.admin)
    node_lock = _lock(settings.data_dir)
    run_dir = _prepare(settings.data_dir)
    _allow_descriptors(settings)
    with scratch(run_dir / "metrics") as metrics:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(metrics)
        # Loaded once, before the fork, and only now: prometheus_client reads its directory when it is imported.
        with garbage.kept_still():
            importlib.import_module("edge.app")
        Node(settings, reload, [*public, admin], node_lock, tls).run()


def _checked(settings: EdgeSettings) -> ssl.SSLContext | None:
    """Reads once what the workers will read, so that what is wrong with it is known before there are any, or while the
    old ones serve. Raises ConfigurationError. Returns what encrypts the public listeners."""
    _check_tokens(settings)
    _check_atlas(settings)
    _check_authorities(settings)
    _check_redis(settings)
    _check_access_log(settings)
    _check_disk(settings)
    return _tls(settings)


def _check_authorities(settings: EdgeSettings) -> None:
    if settings.origin_ca is not None:
        try:
            tls_context(settings.origin_ca)
        except OSError as error:  # ssl's own errors, too
            raise ConfigurationError(
                f"origin_ca: {str(settings.origin_ca)!r}: {error}; allowed: a file of certificates (PEM)"
            ) from None


def _check_redis(settings: EdgeSettings) -> None:
    """Clients are made of the addresses, which connects to nothing: an address may ask for what they do not know."""
    from redis.exceptions import RedisError  # noqa: PLC0415 - only a node with one needs it

    from edge import redis_clients  # noqa: PLC0415

    urls = {"redis": settings.redis, "counters_redis": settings.counters_redis}
    for key, secret in urls.items():
        if secret is None:
            continue
        try:
            redis_clients.open_client(secret.get_secret_value(), timeout_s=1.0, connections=1)
        except (ValueError, TypeError, RedisError) as error:
            raise ConfigurationError(f"{key}: {error}; allowed: a Redis URL with options of redis-py") from None


def _check_tokens(settings: EdgeSettings) -> None:
    for key in ("admin_token_file", "counts_read_token_file"):
        file = getattr(settings, key)
        try:
            if file is not None:
                secret_in(file)
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{key}: {error}") from None


def _check_atlas(settings: EdgeSettings) -> None:
    try:
        check_atlas(settings)
    except WrongFileError as error:
        raise ConfigurationError(f"viewer_mmdb: {error}") from None


def _check_access_log(settings: EdgeSettings) -> None:
    if settings.access_log == "off":
        return
    try:
        access_log.check(settings.access_log)
    except OSError as error:
        raise ConfigurationError(
            f"access_log: {settings.access_log!r} cannot be written ({error.strerror}); "
            "allowed: off, - or a file that can be written"
        ) from None


def _check_disk(settings: EdgeSettings) -> None:
    """A disk that is full or fails stops no node: the tier can do without. A directory that can't be is a mistake."""
    try:
        if settings.disk is not None:
            _try_directory(settings.disk)
    except OSError as error:
        if error.errno not in FAILING:
            raise ConfigurationError(
                f"disk: {str(settings.disk)!r} cannot be used ({error.strerror}); "
                "allowed: a directory that can be made and written"
            ) from None


def _try_directory(path: Path) -> None:
    """Make it and what is missing above it, for this user alone, and write there. Raises OSError."""
    for directory in (*reversed(path.parents), path):
        if not directory.exists():
            directory.mkdir(mode=0o700, exist_ok=True)
    try:
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        if error.errno != errno.EROFS:  # the kernel makes a disk that fails read-only, and what is there can be read
            raise


def _allow_descriptors(settings: EdgeSettings) -> None:
    """As many open files for this process and its workers as the system lets us have: each connection is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and settings.max_connections + SPARE_DESCRIPTORS > hard:
        log.warning("max_connections is %d, but the system allows only %d open files", settings.max_connections, hard)


def _lock(data_dir: Path) -> int:
    """Make the data directory this node's own for as long as this process lives; the descriptor that holds it."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(data_dir / "node.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigurationError(
            f"data_dir: {str(data_dir)!r} is in use by a running node; allowed: one directory for each node"
        ) from None
    except OSError as error:
        raise _unusable(data_dir, error) from None
    return descriptor


def _prepare(data_dir: Path) -> Path:
    """Make the node's directories; what belonged to an earlier run (sockets, metric files) goes."""
    run_dir = data_dir / "run"
    try:
        shutil.rmtree(run_dir, ignore_errors=True)
        for directory in (data_dir / "slots", data_dir / "journal", run_dir):
            directory.mkdir(exist_ok=True, mode=0o700)
    except OSError as error:
        raise _unusable(data_dir, error) from None
    return run_dir.absolute()


def _unusable(data_dir: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"data_dir: {str(data_dir)!r} cannot be used ({error.strerror}); allowed: a directory that can be written"
    )


def _bind(key: str, address: Address) -> socket.socket:
    """A listening socket that children inherit."""
    try:
        listener = socket.create_server(
            address, family=socket.AF_INET6 if ":" in address.host else socket.AF_INET, backlog=BACKLOG
        )
    except OSError as error:
        raise ConfigurationError(
            f"{key}: cannot listen on {address} ({os.strerror(error.errno or 0)}); "
            f"allowed: a free address of this machine, given with --{key}"
        ) from None
    listener.set_inheritable(True)
    return listener


class Node(BaseApplication):  # type: ignore[misc]
    """The node as gunicorn's arbiter sees it: its configuration, and where a worker finds its settings."""

    def __init__(
        self,
        settings: EdgeSettings,
        reload: Callable[[], EdgeSettings],
        listeners: list[socket.socket],
        lock: int,
        tls: ssl.SSLContext | None,
    ) -> None:
        """lock: the descriptor that holds the data directory; it is the parent's alone. tls: for public listeners."""
        self.tls = tls
        self.settings = settings
        self.listeners = listeners
        self.lock = lock
        self._reload = reload
        self._loaded = False
        self.first_workers = settings.workers  # those of the start, whatever a reload says
        super().__init__()

    def load_config(self) -> None:
        """Called by gunicorn at start and again on SIGHUP."""
        if self._loaded:
            self._read_again()
        self._loaded = True
        for key, value in {
            "bind": [f"fd://{listener.fileno()}" for listener in self.listeners],
            "workers": self.settings.workers,
            "worker_class": EdgeWorker,
            "timeout": STUCK_AFTER_S,
            "graceful_timeout": max(1, round(self.settings.drain_s + 2 * _grace_s(self.tls)) + 2),
            "control_socket_disable": True,
            "errorlog": "-",
            "loglevel": "warning",
            "proc_name": "smartedu-edge",
            "child_exit": _forget_metrics,
            # The heartbeat file must not be on a slow disk (gunicorn's FAQ, "blocking os.fchmod").
            "worker_tmp_dir": str(SHARED_MEMORY) if os.access(SHARED_MEMORY, os.W_OK) else None,
        }.items():
            self.cfg.set(key, value)

    def _read_again(self) -> None:
        try:
            fresh = self._reload()
            tls = _checked(fresh)
        except ConfigurationError as error:
            log.error("reload refused, the settings stay as they were: %s", error)
            return
        except Exception:  # the node would end
            log.exception("reload refused, the settings stay as they were")
            return
        fixed = {key for key in ("listen", "admin", "data_dir") if getattr(fresh, key) != getattr(self.settings, key)}
        if fixed:
            log.warning("reload: %s change only with a restart", ", ".join(sorted(fixed)))
        self.tls = tls
        self.settings = fresh.model_copy(update={key: getattr(self.settings, key) for key in fixed})
        log.info("settings read again, workers are renewed")

    def run(self) -> None:
        """Serve; does not return."""
        Renewal(self).run()

    def load(self) -> None:
        """There is no WSGI callable: the worker builds its own object graph."""


def _forget_metrics(_arbiter: object, worker: Any) -> None:
    from edge import metrics  # noqa: PLC0415 - prometheus_client reads its directory when it is imported

    metrics.worker_ended(worker.pid)


class EdgeWorker(RenewableWorker):
    """One worker process: claims a slot, serves, drains."""

    def init_process(self) -> None:
        # A worker that outlives its parent for a moment must not keep the directory from the parent's successor.
        os.close(self.app.lock)
        # The base class, as documented for worker classes, ends by calling run(); the loop is made there.
        super().init_process()

    def init_signals(self) -> None:
        """Handled on the event loop once it runs; until then the defaults are right.

        What means something to the parent only ends no worker: a log rotation sends SIGUSR1, and gunicorn passes it on.
        """
        for number in self.SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)

    def run(self) -> None:
        import uvloop  # noqa: PLC0415

        self.booted = False  # the base class has said that it is, and by that the arbiter tells how it ended
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve())
        except Exception:
            if self.booted or self.age <= self.app.first_workers:
                raise  # one of the first: the node does not start
            # To the arbiter a worker that cannot boot is a reason to end all others.
            log.exception("a worker could not start; in a moment it is tried again")
            sleep(BOOT_AGAIN_S)
            sys.exit(1)
        sys.exit(0)

    async def _serve(self) -> None:
        stopping, hurry = self._hear_orders()
        settings: EdgeSettings = self.app.settings
        async with AsyncExitStack() as stack:
            # Until all is closed: a drain may take longer than a worker may be silent.
            stack.push_async_callback(end, [begin(self._beat(), "heartbeat")])
            slot = stack.enter_context(Slot.claim(settings.data_dir / "slots"))
            try:
                # Only up to here: whoever is accepted is answered.
                async with deadline(START_WITHIN_S, stopping, 0):
                    node = await self._start(slot, stack)
            except TimeoutError:
                if stopping.is_set():
                    return
                log.error("worker in slot %d has not started within %g s and gives up", slot.number, START_WITHIN_S)
                raise
            if stopping.is_set():
                return
            shared = {
                "limits": _limits(settings),
                "node": settings.node,
                "on_refused": _refused,
                "in_flight": node.in_flight,
            }
            runners = [
                await self._listen(
                    node.public,
                    self._sockets()[:-1],
                    self.app.tls,
                    overload=node.overload,
                    lane=node.lane,
                    short=node.short,
                    posts=node.posts,
                    **shared,
                ),
                await self._listen(node.admin, self._sockets()[-1:], None, **shared),
            ]
            garbage.settle()
            self.booted = True
            self.serves()
            log.info("worker serves in slot %d", slot.number)
            await self._until(stopping)
            node.lane.close()  # the full road says that it closes connections
            await _drain(node.in_flight, runners, settings.drain_s, _grace_s(self.app.tls), hurry)

    async def _start(self, slot: Slot, stack: AsyncExitStack) -> WorkerNode:
        """All of a worker but the listeners of clients; closed with the stack."""
        from edge import app  # noqa: PLC0415 - see run()
        from edge.cache.siblings import MAX_FIELD_BYTES, clear_slot  # noqa: PLC0415
        from edge.cache.target import MAX_TARGET_BYTES  # noqa: PLC0415

        settings: EdgeSettings = self.app.settings
        node = await stack.enter_async_context(app.node(settings, slot.number))
        siblings = web.AppRunner(
            node.siblings,
            access_log=None,
            keepalive_timeout=KEEPALIVE_S,
            handler_cancellation=True,
            max_field_size=MAX_FIELD_BYTES,
            max_line_size=2 * MAX_TARGET_BYTES,
            shutdown_timeout=settings.drain_s,
        )
        await siblings.setup()
        # They have all the time of a drain, also in a hurry: what they read may be on its way to a new worker's client.
        stack.push_async_callback(siblings.cleanup)
        clear_slot(node.sibling_socket.parent, slot.number)
        await web.UnixSite(siblings, node.sibling_socket, backlog=BACKLOG).start()
        stack.callback(node.sibling_socket.unlink, missing_ok=True)
        await node.hear_siblings()
        return node

    def _hear_orders(self) -> tuple[asyncio.Event, asyncio.Event]:
        """Set when this worker is to end, and when it is to hurry with that."""
        loop, stopping, hurry = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

        def told() -> None:
            stopping.set()
            if self.hurried:
                hurry.set()

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            loop.add_signal_handler(number, told)
        # The arbiter reaps its own children; ours must not inherit its handler.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        return stopping, hurry

    def _sockets(self) -> list[socket.socket]:
        return [listener.sock for listener in self.sockets]

    async def _listen(
        self, application: web.Application, sockets: list[socket.socket], tls: ssl.SSLContext | None, **edge: Any
    ) -> web.AppRunner:
        from edge.listening import EdgeRunner, EdgeSite, Transport  # noqa: PLC0415 - see run()

        transport = Transport(self.app.settings.transport)
        runner = EdgeRunner(
            application,
            access_log=None,
            keepalive_timeout=KEEPALIVE_S,
            handler_cancellation=True,
            # runner.cleanup() is called after our own drain, so it need not wait again.
            shutdown_timeout=0.1,
            **edge,
        )
        await runner.setup()
        for listener in sockets:
            await EdgeSite(runner, listener, ssl_context=tls, backlog=BACKLOG, transport=transport).start()
        return runner

    async def _beat(self) -> None:
        """Tell the arbiter that we live."""
        while True:
            self.notify()
            await asyncio.sleep(HEARTBEAT_S)

    async def _until(self, stopping: asyncio.Event) -> None:
        """Wait until told to stop, or left without an arbiter (it was killed)."""
        while not stopping.is_set() and os.getppid() == self.ppid:
            with suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT_S):
                    await stopping.wait()


def _limits(settings: EdgeSettings) -> Any:
    from edge.connections import Limits  # noqa: PLC0415 - see run()

    return Limits(header_s=settings.header_timeout_s, connections=settings.max_connections)


def _refused(reason: Enum) -> None:
    from edge import metrics  # noqa: PLC0415 - see run()

    metrics.REFUSALS.inc(reason.value)


def _tls(settings: EdgeSettings) -> ssl.SSLContext | None:
    """Raises ConfigurationError."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    try:
        return server_context(settings.tls_cert, settings.tls_key)
    except CertificateError as error:
        raise ConfigurationError(f"tls_cert: {error}; allowed: a certificate in PEM with its key in tls_key") from None


def _grace_s(tls: ssl.SSLContext | None) -> float:
    return IDLE_GRACE_S if tls is None else ENCRYPTED_GRACE_S


async def _drain(
    in_flight: InFlight, runners: list[web.AppRunner], drain_s: float, grace_s: float, hurry: asyncio.Event
) -> None:
    """Stop accepting, let what is in flight finish, close the rest.

    A keep-alive client may be sending its next request just now. It is answered, with `Connection: close`; only
    connections that stay idle through the grace are cut. hurry: what is in flight then has `HURRY_S` more.
    """
    from edge.listening import EdgeSite  # noqa: PLC0415 - see run()

    log.info("worker drains")
    in_flight.draining = True
    for runner in runners:
        for site in runner.sites:
            if isinstance(site, EdgeSite):
                site.accept_no_more()
    await asyncio.sleep(grace_s)
    log.info("worker waits for %d requests in flight and for what clients have yet to take", in_flight.count)
    try:
        async with deadline(None, hurry, HURRY_S):
            done = await _delivered(in_flight, runners, drain_s)
    except TimeoutError:
        log.warning("a later renewal does not wait any longer, requests still in flight are cut")
    else:
        if not done:
            log.warning("drained for %g s, requests still in flight are cut", drain_s)
    for runner in runners:
        await runner.cleanup()


async def _delivered(in_flight: InFlight, runners: list[web.AppRunner], within_s: float) -> bool:
    """Wait until all is answered and taken; False when that takes longer."""
    from edge.listening import EdgeServer  # noqa: PLC0415 - see run()

    ends_at = monotonic() + within_s
    done = await in_flight.wait_empty(within_s)
    for runner in runners:
        if isinstance(runner.server, EdgeServer):
            done = await runner.server.delivered(max(0.0, ends_at - monotonic())) and done
    return done

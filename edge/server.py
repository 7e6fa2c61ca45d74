"""The parent of a node's workers: sockets, directories, settings.

Gunicorn's arbiter is used as a library: it forks the workers (`edge.worker`), starts a successor when one dies, renews
them on SIGHUP (`edge.renewal`) and drains them on SIGTERM.

A worker owns a slot, the lowest number whose lock file it gets. The kernel frees the lock when the worker dies, however
it dies, so that its successor finds the slot, and the journal kept under it.
"""

from __future__ import annotations

import fcntl
import importlib
import logging
import os
import resource
import shutil
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from gunicorn.app.base import BaseApplication

from config.settings import Address, ConfigurationError, EdgeSettings
from edge import garbage
from edge.checks import check
from edge.renewal import Renewal
from edge.scratch import SHARED_MEMORY, scratch

if TYPE_CHECKING:
    from edge.worker import EdgeWorker

log = logging.getLogger("edge.server")

BACKLOG = 4096
# What a worker has open beside its clients' connections: files, origins, Redis, siblings.
SPARE_DESCRIPTORS = 500
# A worker that has not told the arbiter for this long that it lives is replaced.
STUCK_AFTER_S = 30


def run(settings: EdgeSettings, reload: Callable[[], EdgeSettings]) -> None:
    """Serve until SIGTERM or SIGINT; exits the process with 0 after a drain.

    reload: reads the settings again on SIGHUP; a wrong setting keeps the old ones and says so.
    Raises ConfigurationError when an address is taken or the data directory cannot be used.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s[%(process)d] %(message)s")
    tls = check(settings)
    public = [_bind("listen", address) for address in settings.listen]
    admin = _bind("admin", settings.admin)
    node_lock = _lock(settings.data_dir)
    run_dir = _prepare(settings.data_dir)
    _allow_descriptors(settings)
    with scratch(run_dir / "metrics") as metrics:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(metrics)
        # Loaded once, before the fork, and only now: prometheus_client reads its directory when it is imported.
        with garbage.kept_still():
            worker = importlib.import_module("edge.worker")
        Node(settings, reload, [*public, admin], node_lock, tls, worker.EdgeWorker).run()


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
        worker: type[EdgeWorker],
    ) -> None:
        """lock: the descriptor that holds the data directory; it is the parent's alone. tls: for public listeners."""
        self.tls = tls
        self.settings = settings
        self.listeners = listeners
        self.lock = lock
        self._worker = worker
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
            "worker_class": self._worker,
            "timeout": STUCK_AFTER_S,
            "graceful_timeout": self._worker.ends_within_s(self.settings, self.tls),
            "control_socket_disable": True,
            "errorlog": "-",
            "loglevel": "warning",
            "proc_name": "smartedu-edge",
            "child_exit": self._worker.forget_metrics,
            # The heartbeat file must not be on a slow disk (gunicorn's FAQ, "blocking os.fchmod").
            "worker_tmp_dir": str(SHARED_MEMORY) if os.access(SHARED_MEMORY, os.W_OK) else None,
        }.items():
            self.cfg.set(key, value)

    def _read_again(self) -> None:
        try:
            fresh = self._reload()
            tls = check(fresh, self.settings)
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

"""Renewal: when and in which order a node's workers come and go.

Gunicorn's arbiter ends the old workers the moment it has forked their successors, which then take a while to start:
what connects meanwhile waits in the kernel for as long as that takes, for ever if it never comes to an end. Here a
worker is ended when enough others serve, which each tells its parent in memory that they share.
"""

from __future__ import annotations

import logging
import mmap
import signal
from typing import Any

from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer
from gunicorn.workers.base import Worker

log = logging.getLogger("edge.server")

ENDING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})
"""Kept from a worker between its fork and its own handlers: in between it would have its parent's, and not end."""


class RenewableWorker(Worker):  # type: ignore[misc]
    """A worker that its parent knows to serve, or to start still."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._told = mmap.mmap(-1, 1)  # shared: made before the fork
        self.leaving = False
        """Known to the parent: it has served, and has been told to end."""
        self.overtaken = False
        """Known to the parent: another renewal has come before it served, and it has been told to end."""

    @property
    def serving(self) -> bool:
        """Whether it accepts connections."""
        return self._told[0] == 1

    def serves(self) -> None:
        """Called in the worker: from now on it does."""
        self._told[0] = 1


class Renewal(Arbiter):  # type: ignore[misc]
    """The arbiter, with successors that serve before anybody is ended."""

    _last_of_old = 0
    """The age of the last worker that is to be renewed; a worker's age is its number in the order of forking."""
    _stopping = False

    def reload(self) -> None:
        """Read the settings again and renew every worker; if they are refused, none.

        The base class would end the old ones here and wait for that, deaf to all other signals. Of the rest that it
        does nothing is wanted: the listeners stay, and there are neither files nor an environment to set again.
        """
        before = self.app.settings
        self.app.reload()
        if self.app.settings is not before:
            self.setup(self.app)
            self._last_of_old = self.worker_age
            self.manage_workers()

    def manage_workers(self) -> None:
        """Called at every signal and once a second: fork what is missing, end what is not needed, the oldest first."""
        workers: list[RenewableWorker] = sorted(self.WORKERS.values(), key=lambda worker: worker.age)
        workers = [worker for worker in workers if not worker.leaving]
        old = [worker for worker in workers if worker.age <= self._last_of_old]
        self._fork(self.num_workers - len(workers) + len(old))
        for worker in old:
            if worker.overtaken or not worker.serving:
                worker.overtaken = True
                self.kill_worker(worker.pid, signal.SIGTERM)
        serving = [worker for worker in workers if worker.serving and not worker.overtaken]
        for worker in serving[: max(0, len(serving) - self.num_workers)]:
            worker.leaving = True
            self.kill_worker(worker.pid, signal.SIGTERM)

    def stop(self, graceful: bool = True) -> None:
        """End every worker and wait for that."""
        self._stopping = True
        super().stop(graceful)

    def reap_workers(self) -> None:
        """Note who has ended. Raises HaltServer when one could not start, unless all are told to end already: several
        may fail in the same moment, and the base class has nobody left who would catch what is raised then."""
        while True:
            try:
                super().reap_workers()
            except HaltServer:  # that one is noted, others may wait
                if not self._stopping:
                    raise
            else:
                return

    def spawn_worker(self) -> int:
        """Fork one; its pid."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        try:
            return int(super().spawn_worker())
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _fork(self, count: int) -> None:
        try:
            for _ in range(count):
                self.spawn_worker()
        except OSError as error:  # no process, no memory: those who are there go on
            if not self.WORKERS:
                raise
            log.error("no worker can be started now: %s", error)

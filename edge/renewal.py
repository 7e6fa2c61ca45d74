"""Renewal: when and in which order a node's workers come and go.

Gunicorn's arbiter ends the old workers the moment it has forked their successors, which then take a while to start:
what connects meanwhile waits in the kernel for as long as that takes, for ever if it never comes to an end. Here a
worker is ended when enough others serve, which each tells its parent in memory that they share.
"""

from __future__ import annotations

import logging
import math
import mmap
import signal
from collections.abc import Callable
from time import monotonic
from typing import Any

from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer
from gunicorn.workers.base import Worker

log = logging.getLogger("edge.server")

ENDING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})
"""Kept from a worker between its fork and its own handlers: in between it would have its parent's, and not end."""

START_WITHIN_S = 60.0
"""A worker that does not serve by then gives up, as if it could not start."""
END_WITHIN_S = 5.0
"""How long a worker that does not serve may take to end."""
HURRY_S = 5.0
"""How long a worker that is told to hurry goes on with what it answers: a segment comes through, a film does not."""


class RenewableWorker(Worker):  # type: ignore[misc]
    """A worker that its parent knows to serve, or to start still."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._told = mmap.mmap(-1, 2)  # shared: made before the fork
        self.generation = 0
        """Known to the parent: how many renewals had come when it was forked."""
        self.leaving = False
        """Known to the parent: it has served, and has been told to end."""
        self.overtaken = False
        """Known to the parent: another renewal has come before it served, and it has been told to end."""
        self.killed_at = math.inf
        """Known to the parent: when it is killed if it has not ended by then, and does not serve or has to hurry."""

    @property
    def serving(self) -> bool:
        """Whether it accepts connections."""
        return self._told[0] == 1

    def serves(self) -> None:
        """Called in the worker: from now on it does."""
        self._told[0] = 1

    @property
    def hurried(self) -> bool:
        """Whether it has been told to hurry."""
        return self._told[1] == 1

    def hurry(self) -> None:
        """Called in the parent: when it is told to end again, it hurries."""
        self._told[1] = 1


class Renewal(Arbiter):  # type: ignore[misc]
    """The arbiter, with successors that serve before anybody is ended."""

    _generation = 0
    """How many renewals there were; workers of earlier ones are to be renewed."""
    _stopping = False

    def __init__(self, app: Any, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        super().__init__(app)

    def reload(self) -> None:
        """Read the settings again and renew every worker; if they are refused, none.

        The base class would end the old ones here and wait for that, deaf to all other signals. Of the rest that it
        does nothing is wanted: the listeners stay, and there are neither files nor an environment to set again.
        """
        before = self.app.settings
        self.app.reload()
        if self.app.settings is not before:
            self.setup(self.app)
            self._generation += 1
            self.manage_workers()

    def manage_workers(self) -> None:
        """Called at every signal and once a second: fork what is missing, end what is not needed, the oldest first."""
        workers: list[RenewableWorker] = sorted(self.WORKERS.values(), key=lambda worker: worker.age)
        workers = [worker for worker in workers if not worker.leaving]
        old = [worker for worker in workers if worker.generation < self._generation]
        self._fork(self.num_workers - len(workers) + len(old))
        for worker in old:
            if worker.overtaken or not worker.serving:
                self._overtake(worker)
        serving = [worker for worker in workers if worker.serving and not worker.overtaken]
        for worker in serving[: max(0, len(serving) - self.num_workers)]:
            worker.leaving = True
            self.kill_worker(worker.pid, signal.SIGTERM)
        self._hurry_all_but_the_last()
        self._kill_overdue()

    def stop(self, graceful: bool = True) -> None:
        """End every worker and wait for that."""
        self._stopping = True
        for worker in list(self.WORKERS.values()):
            if not worker.serving:
                self._overtake(worker)
        super().stop(graceful)

    def halt(self, reason: str | None = None, exit_status: int = 0) -> None:
        """End the node, with 1 where the base class has numbers of its own for what went wrong."""
        super().halt(reason, min(exit_status, 1))

    def reap_workers(self) -> None:
        """Note who has ended. Raises HaltServer when one could not start, unless all are told to end already: several
        may fail in the same moment, and the base class has nobody left who would catch what is raised then."""
        if self._stopping:  # while it waits for all to end, the base class calls nothing else
            self._kill_overdue()
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
                worker = self.WORKERS[self.spawn_worker()]
                worker.generation = self._generation
                worker.killed_at = self._now() + START_WITHIN_S + END_WITHIN_S
        except OSError as error:  # no process, no memory: those who are there go on
            if not self.WORKERS:
                raise
            log.error("no worker can be started now: %s", error)

    def _overtake(self, worker: RenewableWorker) -> None:
        """Tell one that is not needed any more to end before it serves; again and again, it may not have heard."""
        if not worker.overtaken:
            worker.overtaken = True
            worker.killed_at = self._now() + END_WITHIN_S
        self.kill_worker(worker.pid, signal.SIGTERM)

    def _hurry_all_but_the_last(self) -> None:
        """Of those that end after they have served, one generation may take its time."""
        ending = [worker for worker in self.WORKERS.values() if worker.serving and (worker.leaving or worker.overtaken)]
        last = max((worker.generation for worker in ending), default=0)
        for worker in ending:
            if worker.generation < last and not worker.hurried:
                log.warning(
                    "worker %d still answers what was asked before the last two renewals: it has %g s more",
                    worker.pid,
                    HURRY_S,
                )
                worker.hurry()
                worker.killed_at = self._now() + HURRY_S + self.cfg.graceful_timeout
                self.kill_worker(worker.pid, signal.SIGTERM)

    def _kill_overdue(self) -> None:
        """A blocked thread keeps a process from ending, and its heartbeat goes on.

        Raises HaltServer for one of the first, as when it could not start: the node does not.
        """
        for worker in list(self.WORKERS.values()):
            if (worker.serving and not worker.hurried) or self._now() < worker.killed_at:
                continue
            log.error("worker %d does not end, it is killed", worker.pid)
            worker.killed_at += END_WITHIN_S  # what the kernel holds on to may take longer
            self.kill_worker(worker.pid, signal.SIGKILL)
            if not (worker.serving or worker.overtaken) and worker.age <= self.app.first_workers:
                raise HaltServer("A worker has not started.", self.WORKER_BOOT_ERROR)

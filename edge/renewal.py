"""Renewal: when and in which order a node's workers come and go.

Gunicorn's arbiter ends the old workers the moment it has forked their successors, which then take a while to start:
what connects meanwhile waits in the kernel for as long as that takes, for ever if it never comes to an end. Here a
worker is ended when enough others serve, which each tells its parent in memory that they share.
"""

from __future__ import annotations

import mmap
import signal
from typing import Any

from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker


class RenewableWorker(Worker):  # type: ignore[misc]
    """A worker that its parent knows to serve, or to start still."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._told = mmap.mmap(-1, 1)  # shared: made before the fork
        self.leaving = False
        """Known to the parent: it has been told to end."""

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

    def reload(self) -> None:
        """Read the settings again and renew every worker.

        The base class would end the old ones here and wait for that, deaf to all other signals. Of the rest that it
        does nothing is wanted: the listeners stay, and there are neither files nor an environment to set again.
        """
        self._last_of_old = self.worker_age
        self.app.reload()
        self.setup(self.app)
        self.manage_workers()

    def manage_workers(self) -> None:
        """Called about once a second: fork what is missing, end what is not needed any more, the oldest first."""
        workers: list[RenewableWorker] = sorted(self.WORKERS.values(), key=lambda worker: worker.age)
        workers = [worker for worker in workers if not worker.leaving]
        old = [worker for worker in workers if worker.age <= self._last_of_old]
        for worker in old:
            if not worker.serving:  # overtaken by another renewal before it could start
                self._end(worker)
        for _ in range(self.num_workers - (len(workers) - len(old))):
            self.spawn_worker()
        serving = [worker for worker in workers if worker.serving]
        for worker in serving[: max(0, len(serving) - self.num_workers)]:
            self._end(worker)

    def _end(self, worker: RenewableWorker) -> None:
        worker.leaving = True
        self.kill_worker(worker.pid, signal.SIGTERM)

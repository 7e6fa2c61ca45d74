"""Child processes of the benchmark: pinned to a core, metered, and ended by their pid. Linux only."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TypeVar

STOP_WITHIN_S = 20.0
POLL_S = 0.02
LOG_TAIL = 2000
PR_SET_PDEATHSIG = 1
ENDLESS = 1 << 30
# The number of a process's clock is made of its pid and this (clock_getcpuclockid(3), linux/posix-timers.h).
CPUCLOCK_SCHED = 2

_libc = ctypes.CDLL(None)
T = TypeVar("T")


class StartError(Exception):
    """A server did not become ready; the message holds the end of its log."""


class Process:
    """A child in a session of its own, so that Ctrl-C reaches us alone and we end it in order."""

    def __init__(self, argv: list[str], log: Path, environment: Mapping[str, str] = MappingProxyType({})) -> None:
        """environment: what is set beside our own."""
        self.log = log
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                argv,
                env=_environment() | dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - we have one thread
            )
        self.pid = self._child.pid

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.terminate()
        try:
            self._child.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def wait_for(self, check: Callable[[], T | None], within_s: float) -> T:
        """The first answer of `check` that is not None. Raises StartError when the child ends or takes too long."""
        deadline = time.monotonic() + within_s
        while True:
            answer = check()
            if answer is not None:
                return answer
            code = self._child.poll()
            if code is not None or time.monotonic() > deadline:
                how = f"did not get ready in {within_s:g} s" if code is None else f"ended with {code}"
                raise StartError(f"{self._child.args!r} {how}:\n{self.log.read_text(errors='replace')[-LOG_TAIL:]}")
            time.sleep(POLL_S)


def _environment() -> dict[str, str]:
    """Ours without settings that would make another server of what we start."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SMARTEDU_"))}


def _end_with_parent() -> None:
    """In the child: SIGTERM when the benchmark is killed."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def children(pid: int) -> list[int]:
    """Process ids of the direct children."""
    with suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def command_line(pid: int) -> str:
    """What a process calls itself; '' when it has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return ""


def leaves(pid: int) -> list[int]:
    """Process ids at the ends of a process's tree; itself when it has no children."""
    below = children(pid)
    return [leaf for child in below for leaf in leaves(child)] if below else [pid]


def resident_bytes(pid: int) -> int:
    """Memory that a process holds now. Raises OSError."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def allow_descriptors() -> int:
    """As many open files as the system lets this process have, and what it starts from now on; how many that are."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else ENDLESS


def pin(pid: int, core: int) -> None:
    """Keep a process on one core, with all the threads it has now; threads made later inherit it."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})


def cpu_s(pid: int) -> float:
    """CPU time that a process has used, all its threads, in user and kernel mode, seconds. Raises OSError.

    The same sum as utime + stime in /proc, in nanoseconds instead of ticks of 10 ms.
    """
    return time.clock_gettime((~pid << 3) | CPUCLOCK_SCHED)

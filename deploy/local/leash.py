"""Run a program on a leash: when the parent of this process ends, however it ends, the program ends too.

    python -I -S leash.py PARENT_PID SIGNAL NICE exec|group PROGRAM [ARGUMENT...]

The kernel sends SIGNAL when the parent is gone (`prctl(2)`, PR_SET_PDEATHSIG; Linux only, elsewhere there is no leash).
The setting is made here, between fork and exec, and not in a `preexec_fn`: that would run Python code in the fork of a
process that may have threads. It is bound to the *thread* that started this process, so that thread must live as long
as the program should. The parent may be gone before the kernel is told to watch it, so it is looked at once more after.

`exec`: this process becomes PROGRAM. For programs that are one process or look after their own workers.
`group`: this process stays, hands signals on to PROGRAM, and kills its whole process group when the parent is gone.
For programs with processes of their own; the caller must have made this process the leader of a group. 9 MB.

Standard library only: it is started as a file, without site-packages, to be quick (about 20 ms).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from contextlib import suppress

PR_SET_PDEATHSIG = 1
HANDED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main(arguments: list[str]) -> int:
    parent, number, nice, mode = int(arguments[0]), int(arguments[1]), int(arguments[2]), arguments[3]
    command = arguments[4:]
    if nice:
        os.nice(nice)
    if mode == "group":
        return _guard(command, parent)
    tie_to(parent, number)
    return _become(command)


def tie_to(parent: int, number: int) -> None:
    """Ask the kernel for signal `number` when `parent` ends; end at once when it already has."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        sys.exit(128 + signal.SIGTERM)


def _become(command: list[str]) -> int:
    try:
        os.execvp(command[0], command)  # noqa: S606 - this is what a leash is for
    except OSError as error:
        print(f"cannot run {command[0]}: {error.strerror}", file=sys.stderr)  # noqa: T201 - goes to the child's log
    return 127


def _guard(command: list[str], parent: int) -> int:
    """Run `command` as a child, hand signals on to it, and take the whole group down once `parent` is gone."""
    child = 0

    def hand_on(number: int, _frame: object) -> None:
        if child:
            with suppress(ProcessLookupError):
                os.kill(child, number)

    def take_down(_number: int, _frame: object) -> None:
        os.killpg(0, signal.SIGKILL)

    for number in HANDED_ON:
        signal.signal(number, hand_on)
    # A signal of its own, because getppid() cannot tell: while a parent with several threads dies, its children belong
    # to one of its other threads for a moment, and the process id stays the same.
    signal.signal(signal.SIGUSR1, take_down)
    tie_to(parent, signal.SIGUSR1)
    guard = os.getpid()
    child = os.fork()
    if child == 0:
        for number in (*HANDED_ON, signal.SIGUSR1):
            signal.signal(number, signal.SIG_DFL)
        tie_to(guard, signal.SIGKILL)
        os._exit(_become(command))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code < 0:  # end as the program ended
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(guard, -code)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

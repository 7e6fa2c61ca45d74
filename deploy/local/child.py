"""A supervised child process: started, waited for until it is ready, started again when it dies, stopped.

What it promises:
- Nothing is left behind: children run on a leash (`leash.py`), so that even `kill -9` of the parent takes them along.
- Each child leads its own process group. Ctrl-C in a terminal therefore reaches the parent alone, which stops its
  children in the order it wants; and what a child leaves behind in its group is cleared after it.
- A child that ends by itself is reported and started again, after a pause that doubles from PAUSE_FIRST_S to
  PAUSE_LONGEST_S and is short again once it has run for STEADY_S.
- Its output goes to a file that is bounded: above LOG_LIMIT the file is moved aside (one old file is kept).

Why not a library (looked at in November 2026): supervisor and circus are daemons with their own configuration, sockets
and remote control; neither has ready checks nor ties children to its own life with PR_SET_PDEATHSIG, supervisor is not
asyncio, circus brings tornado and pyzmq. honcho runs Procfiles: no ready checks, no restart, no order. mirakuru waits
for readiness, but blocks, does not restart, and knows only atexit and signals against orphans. What is needed here is
the small part that none of them has.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from deploy.local.keyring import private_directory

LEASH = Path(__file__).with_name("leash.py")
POLL_S = 0.03
PAUSE_FIRST_S = 0.2
PAUSE_LONGEST_S = 10.0
STEADY_S = 30.0
# How long a process group may take to vanish after its leader did, before it is killed.
GROUP_GRACE_S = 3.0
LOG_LIMIT = 8 * 1024**2
LOG_CHECK_S = 60.0
TAIL_BYTES = 1200
LINE_LIMIT = 1024**2

Say = Callable[[str], None]


class StartError(Exception):
    """A program did not become ready. The message names it, the reason, and the last lines of its log."""


@dataclass(frozen=True, slots=True)
class Program:
    """What to run, and how to know that it is ready.

    env: the whole environment. ready: asked again and again until it says True; it must not raise and must have its own
    deadline. orphan_signal: what the kernel sends the child when its parent has died. nice: added to the niceness.
    whole_group: tie not only the child but its own children too (see `leash.py`).
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    log: Path
    ready: Callable[[], Awaitable[bool]] | None = None
    ready_within_s: float = 30.0
    stop_within_s: float = 10.0
    orphan_signal: signal.Signals = signal.SIGKILL
    nice: int = 0
    whole_group: bool = False

    async def spawn(self, output: int | IO[bytes]) -> Process:
        """Start it as the leader of a new session, on a leash held by the calling thread."""
        mode = "group" if self.whole_group else "exec"
        leash = (str(LEASH), str(os.getpid()), str(int(self.orphan_signal)), str(self.nice), mode)
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", *leash, *self.argv),
            stdin=DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            env=dict(self.env),
            cwd=self.cwd,
            start_new_session=True,
            limit=LINE_LIMIT,
        )


class Child:
    """One program, kept running between `start` and `stop`."""

    def __init__(self, program: Program, say: Say, changed: Callable[[], None] = lambda: None) -> None:
        """say: takes lines for people. changed: called when the process id has changed."""
        self.program = program
        self.restarts = 0
        self._say = say
        self.changed = changed
        self._process: Process | None = None
        self._exit_code: int | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process id, None while it is not running."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    @property
    def exit_code(self) -> int | None:
        """How `stop` or `kill` saw it end; negative: the signal that killed it."""
        return self._exit_code

    async def start(self) -> None:
        """Start the program and wait until it is ready. Raises StartError, with nothing left running."""
        private_directory(self.program.log.parent)
        roll(self.program.log, limit=0)
        try:
            await self._launch()
        except BaseException:
            await self._end(signal.SIGKILL)
            raise
        self._keeper = asyncio.create_task(self._keep(), name=f"keep {self.program.name}")

    async def stop(self) -> None:
        """SIGTERM, SIGKILL after the grace, and whatever is left of its group."""
        await self._unkeep()
        await self._end(signal.SIGTERM)

    async def kill(self) -> None:
        """SIGKILL, and no restart: as if the machine had lost it."""
        await self._unkeep()
        await self._end(signal.SIGKILL)

    async def _unkeep(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
            self._keeper = None

    async def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            await end(self._process, number, self.program.stop_within_s)
            self._exit_code = self._process.returncode
            self._process = None

    async def _launch(self) -> None:
        with open_log(self.program.log) as log:
            self._process = await self.program.spawn(log)
        with suppress(OSError):  # a full disk, say: whoever is told has no say in whether it runs
            self.changed()
        await self._until_ready(self._process)

    async def _until_ready(self, process: Process) -> None:
        ended = asyncio.ensure_future(process.wait())
        reason = f"was not ready within {self.program.ready_within_s:g} s"
        try:
            async with asyncio.timeout(self.program.ready_within_s):
                while not ended.done():
                    if self.program.ready is None or await self.program.ready():
                        return
                    await asyncio.wait({ended}, timeout=POLL_S)
            reason = f"ended while it was starting ({how(ended.result())})"
        except TimeoutError:
            pass
        finally:
            ended.cancel()
        raise StartError(f"{self.program.name} {reason}{tail(self.program.log)}")

    async def _keep(self) -> None:
        """Start the program again whenever it ends, for as long as this task lives."""
        loop = asyncio.get_running_loop()
        pause, since, name = PAUSE_FIRST_S, loop.time(), self.program.name
        while (process := self._process) is not None:
            code = await self._watch(process)
            if loop.time() - since > STEADY_S:
                pause = PAUSE_FIRST_S
            self._tell(
                f"{name} ended by itself ({how(code)}); starting it again in {pause:g} s, see {self.program.log}"
            )
            await clear_group(process.pid, signal.SIGTERM)
            self._process = None  # its number may soon be another's
            while self._process is None:
                await asyncio.sleep(pause)
                pause, since = min(pause * 2, PAUSE_LONGEST_S), loop.time()
                await self._relaunch()

    async def _relaunch(self) -> None:
        self.restarts += 1
        try:
            await self._launch()
        except (StartError, OSError) as error:
            self._tell(str(error))
            if self._process is not None:
                await end(self._process, signal.SIGKILL, self.program.stop_within_s)
        else:
            self._tell(f"{self.program.name} runs again")

    def _tell(self, what: str) -> None:
        with suppress(OSError):  # nobody may be there any more to read it
            self._say(what)

    async def _watch(self, process: Process) -> int:
        """The exit code of the process; meanwhile its log is kept within bounds."""
        ended = asyncio.ensure_future(process.wait())
        try:
            while not ended.done():
                await asyncio.wait({ended}, timeout=LOG_CHECK_S)
                with suppress(OSError):  # there may be no room for the old one
                    roll(self.program.log, LOG_LIMIT)
            return ended.result()
        finally:
            ended.cancel()


class Job:
    """A program that runs once, to its end, its output shown line by line."""

    def __init__(self, program: Program, show: Say) -> None:
        self.program = program
        self._show = show
        self._process: Process | None = None

    @property
    def pid(self) -> int | None:
        """The process id, None while it is not running."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def run(self) -> int:
        """The exit code. Cancelled, it stops the program first."""
        private_directory(self.program.log.parent)
        roll(self.program.log, limit=0)
        self._process = await self.program.spawn(PIPE)
        try:
            with open_log(self.program.log) as log:
                await self._copy(self._process, log)
            return await self._process.wait()
        finally:
            await end(self._process, signal.SIGTERM, self.program.stop_within_s)

    async def _copy(self, process: Process, log: IO[bytes]) -> None:
        if process.stdout is None:
            return
        async for line in process.stdout:
            log.write(line)
            log.flush()
            text = line.decode(errors="replace").rpartition("\r")[2].rstrip()
            if text:
                self._show(text)


async def end(process: Process, number: signal.Signals, within_s: float) -> None:
    """End a process that leads its group, and the group: `number` first, SIGKILL when that is not enough.

    The exit is seen in `returncode`: `Process.wait` also waits until every holder of an output pipe has closed it, and
    what is left of the group may hold one.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    _signal(process, number)
    while process.returncode is None:
        if loop.time() > deadline:
            _signal(process, signal.SIGKILL)
        await asyncio.sleep(POLL_S)
    await clear_group(process.pid, signal.SIGKILL)
    await process.wait()


def _signal(process: Process, number: signal.Signals) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.send_signal(number)


async def clear_group(leader: int, number: signal.Signals) -> None:
    """Signal what is left of a process group whose leader has ended; what stays after a grace is killed."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + GROUP_GRACE_S
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)
        while number != signal.SIGKILL and loop.time() < deadline and _has_living(leader):  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)
        os.killpg(leader, signal.SIGKILL)


def _has_living(group: int) -> bool:
    """True while a process of the group runs. Orphans that ended may stay as zombies where init reaps late or never."""
    os.killpg(group, 0)
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _parent, its_group = file.read_text().rpartition(")")[2].split()[:3]
            if int(its_group) == group and state not in "ZX":
                return True
    return sys.platform != "linux"


def how(code: int) -> str:
    """An exit code in words: "exit 1", "signal SIGKILL"."""
    return f"exit {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"


def open_log(log: Path) -> IO[bytes]:
    """Opened for appending, so that the file may be cut while a child writes to it; mode 0600."""
    return os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab", buffering=0)


def roll(log: Path, limit: int) -> None:
    """Move what is in the log aside when it is longer than `limit` bytes; the writer keeps its open file.

    One old file is kept, holding the last LOG_LIMIT bytes at most.
    """
    if not log.exists() or log.stat().st_size <= limit:
        return
    with log.open("r+b") as current, open_log(log.with_name(log.name + ".1")) as old:
        old.truncate(0)
        current.seek(-min(LOG_LIMIT, current.seek(0, os.SEEK_END)), os.SEEK_END)
        old.write(current.read())
        current.truncate(0)


def tail(log: Path) -> str:
    """The end of a log as indented lines, made to follow a message."""
    with suppress(OSError), log.open("rb") as file:
        file.seek(-min(TAIL_BYTES, file.seek(0, os.SEEK_END)), os.SEEK_END)
        lines = file.read().decode(errors="replace").splitlines()[-8:]
        return "".join(f"\n    {line}" for line in [f"{log}:", *lines])
    return ""

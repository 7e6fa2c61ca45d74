"""Supervised children: `deploy.local.child` and `deploy.local.leash`, with real processes."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

import pytest

from deploy.local.child import Child, Job, Program, StartError, clear_group, open_log, roll
from deploy.local.ports import GRPC_OFFSET, LOOPBACK, free_pair, free_port, is_free, remembered, why_taken
from tests.support.processes import alive, children, in_group_of
from tests.support.waiting import eventually

SLEEPER = (sys.executable, "-c", "import time; print('awake', flush=True); time.sleep(600)")
STUBBORN = (
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('awake', flush=True); time.sleep(600)",
)
FAMILY = (
    sys.executable,
    "-c",
    "import subprocess, sys, time\n"
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    "print('awake', flush=True); time.sleep(600)",
)

MakeProgram = Callable[..., Program]


@pytest.fixture
def program(tmp_path: Path) -> MakeProgram:
    """A program of this test, ready once it has said that it is awake."""

    def make(argv: tuple[str, ...], **more: object) -> Program:
        log = tmp_path / "log" / "child.log"

        async def ready() -> bool:
            return "awake" in log.read_text()

        values: dict[str, object] = {"ready": ready, "ready_within_s": 10, "stop_within_s": 5}
        return Program("child", argv, dict(os.environ), tmp_path, log, **(values | more))  # type: ignore[arg-type]

    return make


@pytest.fixture
def said() -> list[str]:
    return []


async def test_a_child_that_is_killed_is_reported_and_started_again(program: MakeProgram, said: list[str]) -> None:
    child = Child(program(SLEEPER), said.append)
    await child.start()
    first = child.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    second = await eventually(lambda: child.pid if child.pid != first else 0)
    assert second is not None
    await eventually(lambda: "runs again" in said[-1])
    assert child.restarts == 1
    assert "child ended by itself (signal SIGKILL); starting it again" in said[0]
    await child.stop()
    assert not alive(second)


async def test_a_child_is_started_again_though_nobody_can_be_told(program: MakeProgram) -> None:
    def deaf(*_what: str) -> None:
        raise BrokenPipeError

    child = Child(program(SLEEPER), deaf)
    child.changed = deaf
    await child.start()
    first = child.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: child.pid not in (None, first))
    await eventually(lambda: child.restarts == 1)
    await child.stop()


async def test_a_child_that_cannot_be_started_again_is_tried_again_and_ends_nobody_else(
    program: MakeProgram, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    child = Child(program(SLEEPER), said.append)
    await child.start()
    first = child.pid
    assert first is not None
    cleared: list[int] = []

    async def clear(pid: int, number: signal.Signals) -> None:
        cleared.append(pid)
        await clear_group(pid, number)

    failures = iter([True, True, False])

    def full_disk(path: Path) -> IO[bytes]:
        if next(failures, True):
            raise OSError(errno.ENOSPC, "No space left on device")
        return open_log(path)

    monkeypatch.setattr("deploy.local.child.clear_group", clear)
    monkeypatch.setattr("deploy.local.child.open_log", full_disk)
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: said and "runs again" in said[-1])
    assert cleared == [first]
    assert [line for line in said if "No space left" in line] == said[1:3]
    assert child.restarts == 3
    second = child.pid
    assert second is not None
    os.kill(second, signal.SIGKILL)
    await eventually(lambda: "No space left" in said[-1])
    await child.stop()
    assert cleared == [first, second]


async def test_a_stopped_child_stays_down(program: MakeProgram, said: list[str]) -> None:
    child = Child(program(SLEEPER), said.append)
    await child.start()
    pid = child.pid
    await child.stop()
    assert child.pid is None
    assert pid is not None
    assert not alive(pid)
    assert said == []


async def test_a_child_that_ignores_sigterm_is_killed_after_its_grace(program: MakeProgram, said: list[str]) -> None:
    child = Child(program(STUBBORN, stop_within_s=0.2), said.append)
    await child.start()
    pid = child.pid
    await child.stop()
    assert pid is not None
    assert not alive(pid)


async def test_what_a_child_leaves_in_its_group_goes_with_it(program: MakeProgram, said: list[str]) -> None:
    child = Child(program(FAMILY), said.append)
    await child.start()
    leader = child.pid
    assert leader is not None
    assert len(in_group_of(leader)) == 2
    await child.stop()
    await eventually(lambda: not in_group_of(leader))


async def test_a_child_that_ends_while_starting_is_an_error_with_its_last_words(
    program: MakeProgram, said: list[str]
) -> None:
    child = Child(program((sys.executable, "-c", "import sys; sys.exit('no such thing')")), said.append)
    with pytest.raises(StartError, match=r"(?s)child ended while it was starting \(exit 1\).*no such thing"):
        await child.start()
    assert child.pid is None


async def test_a_child_that_is_never_ready_is_an_error_and_does_not_stay(program: MakeProgram, said: list[str]) -> None:
    async def never() -> bool:
        return False

    child = Child(program(SLEEPER, ready=never, ready_within_s=0.3), said.append)
    with pytest.raises(StartError, match=r"was not ready within 0\.3 s"):
        await child.start()
    assert child.pid is None


async def test_a_program_that_is_not_there_is_an_error_that_names_it(program: MakeProgram, said: list[str]) -> None:
    child = Child(program(("/nowhere/serverd",)), said.append)
    with pytest.raises(StartError, match=r"(?s)cannot run /nowhere/serverd: No such file"):
        await child.start()


async def test_the_log_of_an_earlier_run_is_kept_aside_once(program: MakeProgram, said: list[str]) -> None:
    made = program(SLEEPER)
    for _ in range(3):
        child = Child(made, said.append)
        await child.start()
        await child.stop()
    assert made.log.read_text() == "awake\n"
    assert [file.name for file in sorted(made.log.parent.iterdir())] == ["child.log", "child.log.1"]
    assert made.log.stat().st_mode & 0o777 == 0o600


def test_a_log_that_has_grown_is_cut_while_it_is_written_to(tmp_path: Path) -> None:
    log = tmp_path / "some.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"x" * 1000)
        roll(log, limit=999)
        writer.write(b"after")
    assert log.read_bytes() == b"after"
    assert log.with_name("some.log.1").read_bytes() == b"x" * 1000


async def test_a_job_shows_its_lines_and_gives_its_exit_code(program: MakeProgram, said: list[str]) -> None:
    job = Job(program((sys.executable, "-c", "print('one'); print('two'); raise SystemExit(3)")), said.append)
    assert await job.run() == 3
    assert said == ["one", "two"]


@pytest.mark.parametrize("whole_group", [False, True])
async def test_a_cancelled_job_leaves_no_process(program: MakeProgram, said: list[str], whole_group: bool) -> None:
    job = Job(program(FAMILY, whole_group=whole_group), said.append)
    running = asyncio.create_task(job.run())
    await eventually(lambda: said)
    leader = job.pid
    assert leader is not None
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    await eventually(lambda: not in_group_of(leader))


PARENT = """
import asyncio, os, sys
from pathlib import Path
from deploy.local.child import Child, Program
async def main():
    here = Path(sys.argv[1])
    argv = tuple(sys.argv[3:])
    async def ready():
        return "awake" in (here / "child.log").read_text()
    group = sys.argv[2] == "group"
    program = Program("child", argv, dict(os.environ), here, here / "child.log", ready, whole_group=group)
    child = Child(program, print)
    await child.start()
    print(child.pid, flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("mode", "argv"), [("exec", SLEEPER), ("exec", STUBBORN), ("group", FAMILY)], ids=["plain", "stubborn", "family"]
)
async def test_no_child_outlives_a_parent_that_was_killed(tmp_path: Path, mode: str, argv: tuple[str, ...]) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, tmp_path, mode, *argv], stdout=subprocess.PIPE)  # noqa: ASYNC220
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert children(parent.pid) == [child]
    members = in_group_of(child)
    assert len(members) == (3 if mode == "group" else 1)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    await eventually(lambda: not any(alive(member) for member in members))


def test_a_free_port_is_not_given_out_twice() -> None:
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50
    assert all(is_free(LOOPBACK, port) for port in ports)


def test_a_pair_of_ports_is_free_on_both_ends() -> None:
    port = free_pair()
    assert is_free(LOOPBACK, port)
    assert is_free(LOOPBACK, port + GRPC_OFFSET)


async def test_ports_are_remembered_and_replaced_only_when_taken(tmp_path: Path) -> None:
    file = tmp_path / "ports.json"
    first = remembered(file, ["a", "b"])
    assert remembered(file, ["a", "b"]) == first
    async with await asyncio.start_server(lambda _reader, writer: writer.close(), LOOPBACK, first["b"]):
        assert why_taken(LOOPBACK, first["b"]) == "Address already in use"
        second = remembered(file, ["a", "b"])
    assert second["b"] != first["b"]
    assert remembered(file, ["a", "b"]) == second


@pytest.mark.parametrize("damage", ["", "{", '{"a": "x"}', "[]", '{"a": 0}'])
def test_damaged_memory_of_ports_is_replaced(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "ports.json"
    file.write_text(damage)
    assert remembered(file, ["a"])["a"] > 0

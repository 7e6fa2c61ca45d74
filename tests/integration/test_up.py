"""`smartedu up` as a user meets it: the real command, its real children."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import aiohttp
import pytest
import redis.asyncio

from deploy.local.ports import LOOPBACK, free_port, is_free
from deploy.local.probe import http_status
from deploy.local.seaweed import SeaweedFS
from tests.support.edges import clean_environment, smartedu
from tests.support.processes import alive, children, command_line, descendants
from tests.support.waiting import eventually

READY_S = 60.0


@dataclass(frozen=True, slots=True)
class Up:
    """A running `smartedu up` and what it has printed."""

    process: subprocess.Popen[bytes]
    state: Path
    output: Path
    listen: str

    def said(self) -> str:
        return self.output.read_text()

    async def ready(self) -> dict[str, Any]:
        """Wait for "ready"; what stack.json says."""
        await eventually(self._ready_or_ended, READY_S)
        told: dict[str, Any] = json.loads((self.state / "stack.json").read_text())
        return told

    def _ready_or_ended(self) -> bool:
        if self.process.poll() is not None:
            pytest.fail(f"`smartedu up` ended with {self.process.returncode}:\n{self.said()}")
        return "ready in" in self.said()

    async def end(self, number: signal.Signals) -> int:
        """Signal it alone (not its children), wait for its end; its exit status."""
        self.process.send_signal(number)
        await eventually(lambda: self.process.poll() is not None, 40)
        return self.process.returncode


@pytest.fixture
def run_up(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    """Start `smartedu up` on free ports and one state directory per test."""
    started: list[Up] = []

    def run(*flags: str) -> Up:
        number, state = len(started), tmp_path / "state"
        listen = started[0].listen if started else f"{LOOPBACK}:{free_port()}"
        output = tmp_path / f"up-{number}.out"
        command = [smartedu(), "up", f"--state={state}", f"--listen={listen}", f"--admin={LOOPBACK}:{free_port()}"]
        with output.open("wb") as out:
            process = subprocess.Popen(
                [*command, "--workers=1", *flags],
                stdout=out,
                stderr=subprocess.STDOUT,
                env=clean_environment()
                | {"AWS_ACCESS_KEY_ID": "of-the-user", "AWS_PROFILE": "of-the-user", "SMARTEDU_CONFIG": "/of-the-user"},
                cwd=tmp_path,
                start_new_session=True,
            )
        started.append(Up(process, state, output, listen))
        return started[-1]

    yield run
    for up in started:
        if up.process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                up.process.terminate()
                up.process.wait(40)
        up.process.kill()
        up.process.wait()


@pytest.fixture
async def listener() -> AsyncIterator[str]:
    """An address somebody else listens on."""
    async with await asyncio.start_server(lambda _reader, writer: writer.close(), LOOPBACK, 0) as server:
        yield "{}:{}".format(*server.sockets[0].getsockname())


async def test_up_serves_tells_where_and_ctrl_c_stops_everything(run_up: Callable[..., Up]) -> None:
    up = run_up("--no-samples")
    told = await up.ready()
    assert await http_status(f"{told['edge']}/healthz") == 200
    assert await eventually(lambda: http_status(f"{told['admin']}/readyz")) == 200
    assert told["edge"] == f"http://{up.listen}"
    assert told["s3_endpoint"] in up.said()
    assert (up.state / "stack.json").stat().st_mode & 0o777 == 0o600
    assert set(told["pids"]) == {"up", "storage", "cache", "counters", "edge"}
    family = descendants(up.process.pid)
    assert set(told["pids"].values()) <= {up.process.pid, *family}

    password = told["redis"].split(":")[2].split("@")[0]
    key = SeaweedFS(up.state / "seaweed", up.state / "x.log", print).key
    shown = up.said() + "".join(command_line(pid) for pid in family)
    assert password not in shown
    assert key.secret not in shown

    assert await up.end(signal.SIGINT) == 0
    assert [pid for pid in family if alive(pid)] == []
    assert is_free(LOOPBACK, int(up.listen.rpartition(":")[2]))
    assert not (up.state / "stack.json").exists()


async def test_a_second_up_on_the_same_state_names_the_running_one(run_up: Callable[..., Up]) -> None:
    first = run_up("--no-samples")
    await first.ready()
    second = run_up("--no-samples")
    await eventually(lambda: second.process.poll() is not None)
    assert second.process.returncode == 1
    assert second.said().count("\n") == 1
    assert f"is in use by `smartedu up` (process {first.process.pid}, http://{first.listen})" in second.said()
    assert await first.end(signal.SIGTERM) == 0


@pytest.mark.parametrize("flag", ["--listen", "--admin"])
async def test_a_busy_port_is_one_line_and_leaves_nothing_running(
    run_up: Callable[..., Up], listener: str, flag: str
) -> None:
    up = run_up("--no-samples", f"{flag}={listener}")
    await eventually(lambda: up.process.poll() is not None)
    assert up.process.returncode == 1
    assert up.said() == (
        f"smartedu up: cannot listen on {listener} (address already in use); "
        f"free it, or give another address with {flag} HOST:PORT\n"
    )
    assert not (up.state / "seaweed").exists()


async def test_kill_9_leaves_no_orphan_and_the_next_up_finds_everything_again(run_up: Callable[..., Up]) -> None:
    first = run_up("--no-samples")
    told = await first.ready()
    family = descendants(first.process.pid)
    async with redis.asyncio.Redis.from_url(told["counters_redis"]) as counters:
        await counters.set("kept", "1")
    storage = SeaweedFS(first.state / "seaweed", first.state / "x.log", print)
    assert await storage.status("PUT", "/smartedu/kept") == 200
    assert await storage.status("PUT", "/smartedu/catalog/version.json") == 200
    (first.state / "seaweed" / "samples-published").touch()

    assert await first.end(signal.SIGKILL) == -signal.SIGKILL
    second = run_up()  # at once: it waits until the port is free
    await eventually(lambda: not [pid for pid in family if alive(pid)])
    again = await second.ready()
    assert [again[name] for name in ("s3_endpoint", "redis", "counters_redis")] == [
        told[name] for name in ("s3_endpoint", "redis", "counters_redis")
    ]
    async with redis.asyncio.Redis.from_url(again["counters_redis"]) as counters:
        assert await counters.get("kept") == b"1"
    assert await storage.status("HEAD", "/smartedu/kept") == 200
    await eventually(lambda: "sample lessons are there from an earlier run" in second.said())
    assert "samples" not in json.loads((second.state / "stack.json").read_text())["pids"]
    assert await second.end(signal.SIGTERM) == 0


async def test_samples_are_published_once_whatever_happens_to_the_first_try(run_up: Callable[..., Up]) -> None:
    killed = run_up()
    await killed.ready()

    def encoders() -> list[int]:
        return [pid for pid in descendants(killed.process.pid) if "ffmpeg" in ran(pid)]

    found = await eventually(encoders, READY_S)
    family = descendants(killed.process.pid)
    assert set(found) <= set(family)
    assert await killed.end(signal.SIGKILL) == -signal.SIGKILL
    await eventually(lambda: not [pid for pid in family if alive(pid)])

    flags = ("--sample-flag=--sample-chapter-s=0.5", "--sample-flag=--sample-count=1")
    first = run_up(*flags)
    told = await first.ready()
    await eventually(lambda: "all sample lessons are published" in first.said(), READY_S)
    async with aiohttp.ClientSession(told["edge"]) as session:
        assert await playable(session, "/media/lesson-000002/master.m3u8") == 4
        # That there was none is remembered for a moment.
        version = await eventually(partial(body, session, "/catalog/version.json"))
        assert b'"resources":1' in version
    assert await first.end(signal.SIGTERM) == 0

    second = run_up(*flags)
    told = await second.ready()
    await eventually(lambda: "sample lessons are there from an earlier run" in second.said())
    async with aiohttp.ClientSession(told["edge"]) as session:
        assert await body(session, "/catalog/version.json") == version
    assert "publishing" not in second.said()
    assert await second.end(signal.SIGTERM) == 0


def ran(pid: int) -> str:
    """The name of the program of a process, '' when it is gone."""
    with contextlib.suppress(OSError):
        return Path(command_line(pid).partition(" ")[0]).name
    return ""


async def body(session: aiohttp.ClientSession, path: str) -> bytes:
    async with session.get(path) as response:
        assert response.status == 200, path
        return await response.read()


async def playable(session: aiohttp.ClientSession, master: str) -> int:
    """How many renditions a master playlist names; the first segment of each is there."""

    async def named(playlist: str) -> list[str]:
        lines = (await body(session, playlist)).decode().splitlines()
        return [urljoin(playlist, line) for line in lines if line and not line.startswith("#")]

    playlists = await named(master)
    for playlist in playlists:
        assert await body(session, (await named(playlist))[0])
    return len(playlists)


async def test_an_edge_that_dies_is_started_again_visibly(run_up: Callable[..., Up]) -> None:
    up = run_up("--no-samples")
    told = await up.ready()
    # The child is the leash, its child the arbiter of the workers.
    (arbiter,) = children(told["pids"]["edge"])
    os.kill(arbiter, signal.SIGKILL)
    await eventually(lambda: "edge runs again" in up.said(), 30)
    assert "edge ended by itself (signal SIGKILL); starting it again" in up.said()
    assert await http_status(f"{told['edge']}/healthz") == 200
    assert json.loads((up.state / "stack.json").read_text())["pids"]["edge"] != told["pids"]["edge"]


async def test_ctrl_c_while_it_starts_leaves_nothing(run_up: Callable[..., Up]) -> None:
    up = run_up("--no-samples")
    await eventually(lambda: "starting storage" in up.said() and descendants(up.process.pid))
    family = descendants(up.process.pid)
    assert await up.end(signal.SIGINT) == 0
    await eventually(lambda: not [pid for pid in family if alive(pid)])


@pytest.mark.parametrize("wrong", ["nowhere", "127.0.0.1:0", "127.0.0.1:65536", ":8080"])
def test_a_wrong_address_is_one_line_and_exit_2(tmp_path: Path, wrong: str) -> None:
    command = [smartedu(), "up", f"--state={tmp_path}", f"--listen={wrong}"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"--listen: {wrong!r} is not allowed; allowed: HOST:PORT" in done.stderr


@pytest.mark.parametrize(("host", "other"), [(LOOPBACK, LOOPBACK), ("0.0.0.0", LOOPBACK), (LOOPBACK, "[::]")])  # noqa: S104
def test_one_address_for_two_listeners_is_refused_before_anything_starts(tmp_path: Path, host: str, other: str) -> None:
    port = free_port()
    listen, admin = f"{host}:{port}", f"{other}:{port}"
    command = [smartedu(), "up", f"--state={tmp_path / 'state'}", f"--listen={listen}", f"--admin={admin}"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"smartedu up: --listen {listen} and --admin {admin} are one; allowed: two addresses\n"
    assert not (tmp_path / "state").exists()


def test_a_damaged_key_of_the_storage_is_named_in_one_line(tmp_path: Path) -> None:
    key = tmp_path / "seaweed/aws-credentials"
    key.parent.mkdir()
    key.write_bytes(b"[default]\naws_access_key_id = SE\xff")
    ports = [f"--listen={LOOPBACK}:{free_port()}", f"--admin={LOOPBACK}:{free_port()}"]
    command = [smartedu(), "up", f"--state={tmp_path}", *ports]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr == (f"smartedu up: {key} is damaged: it has no whole key; without the file a new key is made\n")


def test_asking_for_a_redis_server_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    ports = [f"--listen={LOOPBACK}:{free_port()}", f"--admin={LOOPBACK}:{free_port()}"]
    done = subprocess.run(
        [smartedu(), "up", f"--state={tmp_path}", "--redis-server", *ports],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
        env=clean_environment() | {"PATH": str(tmp_path)},
    )
    assert done.returncode == 1
    assert done.stderr == (
        "smartedu up: --redis-server: there is no redis-server on PATH; install it, or leave the flag out\n"
    )

"""A node goes on when its processes are killed, stops when told to, and takes its settings again without a failure."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest

from deploy.local.child import StartError
from edge.counters.label import FILE as LABEL
from tests.conftest import StartEdge
from tests.support.broker import S3Address
from tests.support.edges import Edge, smartedu
from tests.support.objects import put
from tests.support.origin import Gate, Script, ScriptedOrigin
from tests.support.processes import alive, written_share
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

BODY = os.urandom(200_000)


class Load:
    """Clients that fetch one segment over and over, each on its own kept-alive connection."""

    def __init__(self, url: str, clients: int = 8) -> None:
        self._url = url
        self._clients = clients
        self._stop = asyncio.Event()
        self.results: Counter[str] = Counter()

    async def __aenter__(self) -> Load:
        self._group = asyncio.TaskGroup()
        await self._group.__aenter__()
        for _ in range(self._clients):
            self._group.create_task(self._client())
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._stop.set()
        await self._group.__aexit__(None, None, None)

    async def more(self, count: int) -> None:
        """Wait until `count` more requests were answered rightly."""
        wanted = self.results["ok"] + count
        await eventually(lambda: self.results["ok"] >= wanted)

    async def _client(self) -> None:
        async with aiohttp.ClientSession() as session:
            while not self._stop.is_set():
                try:
                    async with session.get(self._url) as response:
                        body = await response.read()
                except aiohttp.ClientError as error:
                    self.results[type(error).__name__] += 1
                else:
                    self.results["ok" if (response.status, body) == (200, BODY) else str(response.status)] += 1


async def renewed(node: Edge, old: set[int], count: int) -> None:
    """Wait until there are so many workers and none of the old ones."""
    await eventually(lambda: len(node.worker_pids()) == count and not old & set(node.worker_pids()))


async def end_of_node(*flags: str) -> tuple[int, str]:
    """The exit status of a node that does not start, and what it has written."""
    node = await asyncio.create_subprocess_exec(
        smartedu(), "serve", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0", *flags, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(90):
            _, errors = await node.communicate()
    finally:
        if node.returncode is None:
            node.terminate()
            await node.wait()
    return await node.wait(), errors.decode()


async def said(node: Edge, words: str, times: int) -> None:
    """Wait until its log has said so, so many times."""
    await eventually(lambda: node.logs().count(words) == times)


async def test_service_goes_on_when_a_worker_is_killed_and_its_successor_is_up_within_two_seconds(
    edge: StartEdge, s3: S3Address, s3_client: S3Client, s3_prefix: str
) -> None:
    put(s3_client, s3.bucket, f"{s3_prefix}/media/x/1.m4s", BODY)
    node = await edge(origin=f"s3://{s3.bucket}/{s3_prefix}", workers=2)
    async with Load(f"{node.url}/media/x/1.m4s") as load:
        await load.more(50)
        before = node.worker_pids()
        victim = before[0]
        killed_at = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        await load.more(50)
        await eventually(lambda: node.logs().count("worker serves in slot") >= 3, within_s=10)
        up_after_s = time.monotonic() - killed_at
        await load.more(50)
    after = node.worker_pids()
    assert len(after) == 2
    assert victim not in after
    # Only what was in flight on the killed worker's connections may have failed.
    assert load.results.total() - load.results["ok"] <= 8, load.results
    # The contract's bound, not a benchmark: a successor that takes longer is a fault.
    assert up_after_s < 2


async def test_killing_the_parent_leaves_no_worker_behind(edge: StartEdge) -> None:
    node = await edge(workers=2)
    workers = node.worker_pids()
    assert len(workers) == 2
    os.kill(node.pid, signal.SIGKILL)
    await eventually(lambda: not any(alive(pid) for pid in workers))


async def test_reloading_renews_every_worker_and_fails_no_request(
    edge: StartEdge, s3: S3Address, s3_client: S3Client, s3_prefix: str
) -> None:
    put(s3_client, s3.bucket, f"{s3_prefix}/media/x/1.m4s", BODY)
    node = await edge(origin=f"s3://{s3.bucket}/{s3_prefix}", workers=2)
    before = set(node.worker_pids())
    async with Load(f"{node.url}/media/x/1.m4s") as load:
        await load.more(50)
        os.kill(node.pid, signal.SIGHUP)
        await renewed(node, before, 2)
        await load.more(50)
    assert set(load.results) == {"ok"}, load.results


async def test_workers_share_what_their_parent_has_loaded_and_so_do_those_of_a_reload(edge: StartEdge) -> None:
    node = await edge(workers=2)
    first = node.worker_pids()
    assert max(map(written_share, first)) < 1 / 3
    os.kill(node.pid, signal.SIGHUP)
    await renewed(node, set(first), 2)
    assert max(map(written_share, node.worker_pids())) < 1 / 3


async def test_old_workers_serve_until_their_successors_do_however_long_those_take_to_start(edge: StartEdge) -> None:
    node = await edge(workers=2)
    old = set(node.worker_pids())
    in_the_way = [node.data_dir / "slots" / f"{slot}.lock" for slot in (2, 3)]
    for path in in_the_way:
        path.mkdir()
    os.kill(node.pid, signal.SIGHUP)
    await eventually(lambda: node.logs().count("a worker could not start") >= 3)
    assert old < set(node.worker_pids())
    assert "worker drains" not in node.logs()
    async with aiohttp.ClientSession() as session, session.get(f"{node.url}/healthz") as response:
        assert response.status == 200
    for path in in_the_way:
        path.rmdir()
    await renewed(node, old, 2)
    assert node.logs().count("worker serves in slot") == 4
    assert node.logs().count("worker drains") == 2


async def test_a_renewal_that_overtakes_another_leaves_as_many_workers_as_are_wanted(edge: StartEdge) -> None:
    node = await edge(workers=2)
    old = set(node.worker_pids())
    for _ in range(3):
        os.kill(node.pid, signal.SIGHUP)
        await eventually(lambda: len(set(node.worker_pids()) - old) > 0)
    await renewed(node, old, 2)
    async with aiohttp.ClientSession() as session, session.get(f"{node.url}/healthz") as response:
        assert response.status == 200


async def test_a_node_that_is_told_to_stop_while_it_renews_its_workers_stops(edge: StartEdge) -> None:
    node = await edge(workers=2)
    (node.data_dir / "slots" / "2.lock").mkdir()
    os.kill(node.pid, signal.SIGHUP)
    await eventually(lambda: "a worker could not start" in node.logs())
    workers = node.worker_pids()
    await node.stop()
    assert node.child.exit_code == 0
    assert not any(alive(pid) for pid in workers)


def trap(data_dir: Path, slot: int) -> Path:
    """Whoever starts in this slot waits for ever, in a thread: the label of its journal is a pipe that nobody fills."""
    pipe = data_dir / "journal" / str(slot) / LABEL
    pipe.parent.mkdir(parents=True)
    os.mkfifo(pipe)
    return pipe


@asynccontextmanager
async def trapped(pipe: Path) -> AsyncIterator[None]:
    """Begins when one waits there, which it does to the end; nobody else gets into the trap."""

    def writer() -> int:
        with suppress(OSError):  # nobody reads
            descriptor = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
            pipe.unlink()
            return descriptor
        return 0

    descriptor = await eventually(writer, within_s=30)
    try:
        yield
    finally:
        os.close(descriptor)


async def test_a_worker_that_hangs_while_it_starts_goes_when_the_next_renewal_comes(edge: StartEdge) -> None:
    node = await edge(counters_redis="redis://127.0.0.1:1")
    old = set(node.worker_pids())
    pipe = trap(node.data_dir, slot=1)
    os.kill(node.pid, signal.SIGHUP)
    async with trapped(pipe):
        (hanging,) = set(node.worker_pids()) - old
        os.kill(node.pid, signal.SIGHUP)
        await eventually(lambda: not alive(hanging))
        assert f"worker {hanging} does not end, it is killed" in node.logs()
        await renewed(node, old, 1)


async def test_a_node_whose_first_worker_hangs_stops_when_it_is_told_to(tmp_path: Path) -> None:
    pipe = trap(tmp_path, slot=0)
    node = await asyncio.create_subprocess_exec(
        smartedu(), "serve", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0", f"--data-dir={tmp_path}", "--workers=1",
        "--counters-redis=redis://127.0.0.1:1", "--drain-s=3600",
    )  # fmt: skip
    try:
        async with trapped(pipe), asyncio.timeout(30):
            node.terminate()
            assert await node.wait() == 0
    finally:
        if node.returncode is None:
            node.kill()
            await node.wait()


async def test_what_a_reload_has_brought_holds_for_all_that_is_new_while_an_old_worker_ends(
    edge: StartEdge, tmp_path: Path
) -> None:
    async with ScriptedOrigin() as before, ScriptedOrigin() as after, aiohttp.ClientSession() as session:
        config, gate = tmp_path / "edge.toml", Gate()
        config.write_text(f'origin = "{before.url}"\n')
        node = await edge(config=config, origin=None, workers=2, drain_s=30)
        before.objects["/held"] = Script(BODY, gate=gate)
        for number in range(40):
            before.objects[f"/{number}"], after.objects[f"/{number}"] = Script(b"old"), Script(b"new")
        gate.open(1000)
        async with session.get(f"{node.url}/held") as held:
            received = await held.content.readexactly(1000)
            config.write_text(f'origin = "{after.url}"\n')
            os.kill(node.pid, signal.SIGHUP)
            await eventually(lambda: node.logs().count("worker drains") == 2)
            assert len(node.worker_pids()) > 2
            for number in range(40):
                async with session.get(f"{node.url}/{number}") as response:
                    assert await response.read() == b"new"
            gate.open()
            received += await held.read()
        assert received == BODY


async def test_of_renewals_in_a_row_only_the_last_lets_downloads_take_their_time(
    edge: StartEdge, s3: S3Address, s3_client: S3Client, s3_prefix: str
) -> None:
    large = os.urandom(16 * 1024 * 1024)
    put(s3_client, s3.bucket, f"{s3_prefix}/media/x/large.pdf", large, kind="application/pdf")
    node = await edge(origin=f"s3://{s3.bucket}/{s3_prefix}", drain_s=100)
    async with aiohttp.ClientSession(read_bufsize=64 * 1024) as session:
        downloads = []
        for renewals in range(4):
            downloads.append(await session.get(f"{node.url}/media/x/large.pdf"))
            await downloads[-1].content.readexactly(1000)
            if renewals < 3:
                os.kill(node.pid, signal.SIGHUP)
                await said(node, "worker waits for 1 requests", renewals + 1)
        assert node.logs().count("it has 5 s more") == 2
        await eventually(lambda: len(node.worker_pids()) == 2)
        ends = await asyncio.gather(*(download.read() for download in downloads), return_exceptions=True)
    assert [isinstance(end, aiohttp.ClientError) for end in ends] == [True, True, False, False]
    assert all(end == large[1000:] for end in ends[2:])


async def test_a_log_rotation_and_what_is_meant_for_the_parent_end_no_worker(edge: StartEdge) -> None:
    async with ScriptedOrigin() as origin, aiohttp.ClientSession() as session:
        node = await edge(origin=origin.url, workers=2)
        workers, gate = node.worker_pids(), Gate()
        origin.objects["/held"] = Script(BODY, gate=gate)
        gate.open(1000)
        async with session.get(f"{node.url}/held") as held:
            received = await held.content.readexactly(1000)
            os.kill(node.pid, signal.SIGUSR1)
            for pid in workers:
                os.kill(pid, signal.SIGHUP)
            os.kill(node.pid, signal.SIGTTIN)  # heard after the first
            await eventually(lambda: len(node.worker_pids()) == 3)
            gate.open()
            received += await held.read()
        assert received == BODY
        assert set(workers) < set(node.worker_pids())


async def test_a_worker_that_is_killed_while_an_old_one_ends_has_a_successor_at_once(edge: StartEdge) -> None:
    async with ScriptedOrigin() as origin, aiohttp.ClientSession() as session:
        node = await edge(origin=origin.url, drain_s=30)
        (old,), gate = node.worker_pids(), Gate()
        origin.objects["/held"] = Script(BODY, gate=gate)
        gate.open(1000)
        async with session.get(f"{node.url}/held") as held:
            await held.content.readexactly(1000)
            os.kill(node.pid, signal.SIGHUP)
            await eventually(lambda: "worker drains" in node.logs())
            (new,) = set(node.worker_pids()) - {old}
            os.kill(new, signal.SIGKILL)
            async with aiohttp.ClientSession() as other, other.get(f"{node.url}/healthz") as response:
                assert response.status == 200
            assert alive(old)
            gate.open()
            await held.read()


async def test_a_node_that_is_told_to_stop_in_the_moment_of_its_renewal_ends_in_order(edge: StartEdge) -> None:
    node = await edge(workers=2)
    for number in (signal.SIGSTOP, signal.SIGHUP, signal.SIGTERM, signal.SIGCONT):  # so that it hears of both at once
        os.kill(node.pid, number)
    await node.stop()
    assert node.child.exit_code == 0
    assert node.logs().count("worker drains") == node.logs().count("worker serves in slot")


async def test_a_node_whose_first_workers_cannot_start_ends_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "slots" / "0.lock").mkdir(parents=True)
    status, errors = await end_of_node(f"--data-dir={tmp_path}", "--workers=8")
    assert status == 1
    assert "0.lock" in errors


async def test_a_reload_may_change_the_number_of_workers(edge: StartEdge, tmp_path: Path) -> None:
    config = tmp_path / "edge.toml"
    config.write_text("workers = 1\n")
    node = await edge(config=config, workers=None)
    for count in (3, 2):
        old = set(node.worker_pids())
        config.write_text(f"workers = {count}\n")
        os.kill(node.pid, signal.SIGHUP)
        await renewed(node, old, count)
        async with aiohttp.ClientSession() as session, session.get(f"{node.url}/healthz") as response:
            assert response.status == 200


async def test_a_stopping_node_finishes_what_is_in_flight_and_exits_with_zero(
    edge: StartEdge, s3: S3Address, s3_client: S3Client, s3_prefix: str
) -> None:
    large = os.urandom(16 * 1024 * 1024)
    put(s3_client, s3.bucket, f"{s3_prefix}/media/x/large.pdf", large, kind="application/pdf")
    node = await edge(origin=f"s3://{s3.bucket}/{s3_prefix}", workers=1)
    async with (
        aiohttp.ClientSession(read_bufsize=64 * 1024) as session,
        session.get(f"{node.url}/media/x/large.pdf") as response,
    ):
        received = await response.content.readexactly(1000)
        stopped = asyncio.create_task(node.child.stop())
        await eventually(lambda: "worker drains" in node.logs())
        received += await response.read()
    await stopped
    assert received == large
    assert node.child.exit_code == 0


async def test_a_second_node_on_the_same_data_directory_is_refused_and_disturbs_nothing(edge: StartEdge) -> None:
    node = await edge(workers=2)
    status, errors = await end_of_node(f"--data-dir={node.data_dir}")
    assert status == 2
    assert "is in use by a running node; allowed: one directory for each node" in errors
    sockets = sorted(path.name.split(".")[0] for path in (node.data_dir / "run").glob("*.sock"))
    assert sockets == ["worker-0", "worker-1"]
    async with aiohttp.ClientSession() as session, session.get(f"{node.admin_url}/metrics") as response:
        assert "smartedu_in_flight_requests" in await response.text()


@pytest.mark.parametrize("key", ["admin_token_file", "counts_read_token_file"])
@pytest.mark.parametrize(
    ("content", "said"),
    [("  \n", "is empty; allowed: a file that holds the token"), (None, "allowed: a readable file")],
)
async def test_a_token_file_without_a_token_is_told_in_one_line_before_there_are_workers(
    edge: StartEdge, tmp_path: Path, key: str, content: str | None, said: str
) -> None:
    token = tmp_path / "token"
    if content is not None:
        token.write_text(content)
    with pytest.raises(StartError, match=f"{key}: .*{said}"):
        await edge(**{key: token})


async def test_a_worker_that_cannot_start_again_ends_no_other_one(edge: StartEdge, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret")
    node = await edge(workers=2, admin_token_file=token)
    token.unlink()
    first, other = node.worker_pids()
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: "a worker could not start" in node.logs())
    async with aiohttp.ClientSession() as session, session.get(f"{node.url}/healthz") as response:
        assert response.status == 200
    assert other in node.worker_pids()
    token.write_text("secret")
    await eventually(lambda: node.logs().count("worker serves in slot") == 3)


UNUSABLE = {
    "a log below a file": ("access_log", "FILE/x", "cannot be written (Not a directory); allowed: off, - or a file"),
    "a log that is a directory": ("access_log", "DIRECTORY", "cannot be written (Is a directory); allowed: off, - or"),
    "a disk that is a file": ("disk", "FILE", "cannot be used (Not a directory); allowed: a directory that can be"),
    "a disk below a file": ("disk", "FILE/x/y", "cannot be used (Not a directory); allowed: a directory that can be"),
    "a disk nowhere": ("disk", "/proc/x", "cannot be used (No such file or directory); allowed: a directory that"),
    "a port that is none": ("origin", "http://x:0", "is not allowed; allowed: one s3://bucket[/prefix], or one or"),
}


def made(tmp_path: Path, value: str) -> str:
    """The value, with what it speaks of."""
    (tmp_path / "file").touch()
    return value.replace("FILE", str(tmp_path / "file")).replace("DIRECTORY", str(tmp_path))


@pytest.mark.parametrize("wrong", UNUSABLE)
async def test_what_no_worker_could_use_is_told_in_one_line_and_the_node_does_not_start(
    tmp_path: Path, wrong: str
) -> None:
    key, template, told = UNUSABLE[wrong]
    value = made(tmp_path, template)
    status, errors = await end_of_node(f"--data-dir={tmp_path / 'edge'}", f"--{key.replace('_', '-')}={value}")
    assert status == 2
    (line,) = errors.splitlines()
    assert line.startswith(f"smartedu serve: {key}: {value!r} {told}")


WRONG = {
    "an unusable access log": ("access_log", "/proc/nope/x"),
    "an unusable disk": ("disk", "/proc/x"),
    "an empty token": ("admin_token_file", ""),
    "no certificate": ("origin_ca", "no certificate"),
    "an unknown option": ("redis", "redis+cluster://127.0.0.1:1?foo=1"),
    "a wrong option": ("counters_redis", "redis://127.0.0.1:1?socket_timeout=soon"),
}
FILES = ("_file", "_ca")


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_reload_that_no_worker_could_start_with_is_refused_and_the_old_ones_serve_on(
    edge: StartEdge, tmp_path: Path, wrong: str
) -> None:
    key, value = WRONG[wrong]
    config, file = tmp_path / "edge.toml", tmp_path / "file"
    config.write_text("")
    file.write_text("secret" if key == "admin_token_file" else "")
    node = await edge(config=config)
    workers = node.worker_pids()
    file.write_text(value)
    config.write_text(f'{key} = "{file if key.endswith(FILES) else value}"\n')
    os.kill(node.pid, signal.SIGHUP)
    await eventually(lambda: f"reload refused, the settings stay as they were: {key}: " in node.logs())
    async with aiohttp.ClientSession() as session, session.get(f"{node.url}/healthz") as response:
        assert response.status == 200
    assert node.worker_pids() == workers


async def test_a_disk_that_has_broken_since_keeps_no_reload_from_its_settings(edge: StartEdge, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    node = await edge(disk=disk)
    old = set(node.worker_pids())
    await eventually(lambda: replaced_by_a_file(disk))
    os.kill(node.pid, signal.SIGHUP)
    await renewed(node, old, 1)
    async with aiohttp.ClientSession() as session, session.get(f"{node.url}/healthz") as response:
        assert response.status == 200


def replaced_by_a_file(directory: Path) -> bool:
    """Done, though somebody may be writing there."""
    shutil.rmtree(directory, ignore_errors=True)
    if not directory.exists():
        directory.touch()
    return directory.is_file()


async def test_an_unknown_path_is_a_problem_document_and_counted_without_its_name(edge: StartEdge) -> None:
    node = await edge()
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{node.url}/nothing/here") as response:
            assert response.status == 404
            assert response.content_type == "application/problem+json"
        async with session.get(f"{node.admin_url}/metrics") as response:
            text = await response.text()
    assert 'smartedu_requests_total{method="GET",route="none",status="404"} 1.0' in text

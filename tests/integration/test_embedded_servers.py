"""SeaweedFS and Valkey as `smartedu up` runs them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis.asyncio
from redis.exceptions import AuthenticationError, OutOfMemoryError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

from deploy.local.child import Program
from deploy.local.ports import LOOPBACK, read
from deploy.local.probe import http_status
from deploy.local.seaweed import SeaweedFS
from deploy.local.stack import OccupiedError, Stack, StateLock
from deploy.local.valkey import Purpose, Valkey, bundled, redis_server
from tests.support.processes import alive, command_line, environment
from tests.support.waiting import eventually


def client(server: Valkey) -> redis.asyncio.Redis:
    return redis.asyncio.Redis.from_url(server.url, decode_responses=True, socket_timeout=5)


async def put(server: SeaweedFS, key: str, body: bytes) -> None:
    await asyncio.to_thread(lambda: _boto(server).put_object(Bucket=server.bucket, Key=key, Body=body))


async def get(server: SeaweedFS, key: str) -> bytes:
    def read_object() -> bytes:
        return bytes(_boto(server).get_object(Bucket=server.bucket, Key=key)["Body"].read())

    return await asyncio.to_thread(read_object)


def _boto(server: SeaweedFS) -> S3Client:
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        region_name="us-east-1",
        aws_access_key_id=server.key.id,
        aws_secret_access_key=server.key.secret,
        config=Config(retries={"total_max_attempts": 1}),  # what is called ready must work at once
    )


def listening(pid: int) -> set[str]:
    """Addresses that a process listens on, as hexadecimal host:port of /proc/net/tcp and tcp6."""
    inodes = {str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.is_symlink()}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                found.add(fields[1])
    return found


def in_tmp(names: list[str]) -> list[str]:
    return [name for name in names if (Path("/tmp") / name).exists()]  # noqa: S108 - fixed in the program


def is_loopback(address: str) -> bool:
    host = address.partition(":")[0]
    return socket.inet_ntoa(bytes.fromhex(host)[::-1]).startswith("127.") if len(host) == 8 else False


async def test_what_is_stored_survives_stop_and_kill_and_can_be_read_at_once(own_s3: SeaweedFS) -> None:
    endpoint = own_s3.endpoint
    for number, end in enumerate((own_s3.stop, own_s3.kill, own_s3.kill)):
        await put(own_s3, f"kept/{number}", str(number).encode() * 100_000)
        await end()
        await own_s3.start()
        for earlier in range(number + 1):
            assert await get(own_s3, f"kept/{earlier}") == str(earlier).encode() * 100_000
    assert own_s3.endpoint == endpoint


async def test_storage_answers_nobody_without_credentials(own_s3: SeaweedFS) -> None:
    await put(own_s3, "secret", b"x")
    path = f"{own_s3.endpoint}/{own_s3.bucket}"
    for method, url in (("GET", f"{path}/secret"), ("PUT", f"{path}/new"), ("GET", f"{own_s3.endpoint}/")):
        assert await http_status(url, method=method) == 403, (method, url)
    ports = read(own_s3.directory / "ports.json")
    filer, volume = f"http://{LOOPBACK}:{ports['filer.port']}", f"http://{LOOPBACK}:{ports['volume.port']}"
    inside = f"/buckets/{own_s3.bucket}/secret"
    assert await http_status(filer + inside) == 401
    assert await http_status(filer + "/buckets/new", method="PUT") == 401
    assert await http_status(filer + "/") in (401, 403)
    assert await http_status(volume + "/1,0101f5c7b5") == 401
    assert await http_status(volume + "/ui/index.html") == 401
    admin = f"http://{LOOPBACK}:{ports['admin.port']}"
    # It listens a moment after S3 does.
    assert await eventually(lambda: http_status(admin + "/")) == 404


async def test_storage_listens_on_loopback_alone_sends_no_telemetry_and_shows_no_secret(own_s3: SeaweedFS) -> None:
    pid = own_s3.pid
    assert pid is not None
    addresses = listening(pid)
    assert addresses
    assert [address for address in addresses if not is_loopback(address)] == []
    assert "-master.telemetry=false" in command_line(pid)
    assert own_s3.key.secret not in command_line(pid)
    assert not [name for name in environment(pid) if name.startswith("AWS_")]
    for name in ("aws-credentials", "s3.json", "ports.json"):
        assert (own_s3.directory / name).stat().st_mode & 0o777 == 0o600


async def test_a_killed_storage_comes_back_by_itself(own_s3: SeaweedFS) -> None:
    await put(own_s3, "kept", b"k")
    first = own_s3.pid
    assert first is not None
    assert own_s3.child is not None
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: own_s3.child is not None and own_s3.child.restarts == 1 and own_s3.pid is not None)
    assert await eventually(lambda: own_s3.status("HEAD", f"/{own_s3.bucket}/kept")) == 200


async def test_storage_keeps_its_data_when_its_ports_change(own_s3: SeaweedFS) -> None:
    await put(own_s3, "kept", b"k")
    await own_s3.stop()
    before = own_s3.endpoint
    port = read(own_s3.directory / "ports.json")["s3.port"]
    async with await asyncio.start_server(lambda _reader, writer: writer.close(), LOOPBACK, port):
        await own_s3.start()
    assert own_s3.endpoint != before
    assert await get(own_s3, "kept") == b"k"


async def test_storage_takes_other_ports_when_one_is_taken_in_the_last_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = SeaweedFS(tmp_path / "seaweed", tmp_path / "log/storage.log", print)
    chosen: list[int] = []
    program = server._program
    with socket.socket() as rival:

        def late(ports: dict[str, int]) -> Program:
            chosen.append(ports["s3.port"])
            if len(chosen) == 1:
                rival.bind((LOOPBACK, chosen[0]))
                rival.listen()
            return program(ports)

        monkeypatch.setattr(server, "_program", late)
        await server.start()
    await put(server, "key", b"body")
    assert await get(server, "key") == b"body"
    assert len(set(chosen)) == 2
    await server.kill()


async def test_a_stopped_storage_leaves_no_socket_in_tmp(own_s3: SeaweedFS) -> None:
    ports = read(own_s3.directory / "ports.json")
    names = [f"seaweedfs-{part}-grpc-{ports[part + '.port.grpc']}.sock" for part in ("s3", "filer", "master", "volume")]
    assert in_tmp(names) == names
    await own_s3.stop()
    assert in_tmp(names) == []
    await own_s3.start()
    assert in_tmp(names) == names
    await own_s3.kill()
    assert in_tmp(names) == []


async def test_counters_survive_kill_and_the_cache_forgets(own_counters: Valkey, own_redis: Valkey) -> None:
    addresses = (own_counters.url, own_redis.url)
    for server in (own_counters, own_redis):
        async with client(server) as redis_client:
            await redis_client.set("key", "kept")
        await server.kill()
        await server.start()
    assert (own_counters.url, own_redis.url) == addresses
    async with client(own_counters) as counters, client(own_redis) as cache:
        assert await counters.get("key") == "kept"
        assert await cache.get("key") is None


async def test_valkey_answers_nobody_without_password(own_redis: Valkey) -> None:
    async with redis.asyncio.Redis.from_url(f"redis://{own_redis.address}/0") as stranger:
        with pytest.raises(AuthenticationError):
            await stranger.ping()
    assert own_redis.pid is not None
    assert [address for address in listening(own_redis.pid) if not is_loopback(address)] == []
    assert own_redis.url.split(":")[2].split("@")[0] not in command_line(own_redis.pid)
    assert (own_redis.directory / "server.conf").stat().st_mode & 0o777 == 0o600
    assert (own_redis.directory / "password").stat().st_mode & 0o777 == 0o600


async def test_the_cache_evicts_and_the_counters_refuse(tmp_path: Path) -> None:
    cache = Valkey(tmp_path / "cache", tmp_path / "cache.log", print, Purpose.CACHE, memory_mb=8)
    counters = Valkey(tmp_path / "counters", tmp_path / "counters.log", print, Purpose.COUNTERS)
    await asyncio.gather(cache.start(), counters.start())
    try:
        async with client(cache) as full:
            for number in range(200):
                await full.set(f"k{number}", "x" * 100_000)
            assert int((await full.info("stats"))["evicted_keys"]) > 0
            assert (await full.info("persistence"))["aof_enabled"] == 0
        async with client(counters) as strict:
            assert (await strict.info("persistence"))["aof_enabled"] == 1
            assert (await strict.config_get("appendfsync"))["appendfsync"] == "everysec"
            await strict.set("kept", "k" * 1_000_000)
            await strict.config_set("maxmemory", "1mb")
            with pytest.raises(OutOfMemoryError):
                await strict.set("one more", "x")
            assert await strict.strlen("kept") == 1_000_000
    finally:
        await asyncio.gather(cache.kill(), counters.kill())


async def test_a_redis_server_on_path_is_run_instead_when_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "redis-server").symlink_to(bundled())
    monkeypatch.setenv("PATH", str(tmp_path))
    server = Valkey(tmp_path / "cache", tmp_path / "cache.log", print, Purpose.CACHE, server=redis_server())
    await server.start()
    assert server.pid is not None
    try:
        assert command_line(server.pid).startswith(str(tmp_path / "redis-server"))
    finally:
        await server.kill()


async def test_a_second_holder_of_a_state_directory_learns_who_the_first_is(tmp_path: Path) -> None:
    with StateLock(tmp_path) as lock:
        lock.sign("process 1 at http://127.0.0.1:8080")
        with (
            pytest.raises(OccupiedError, match=r"in use by process 1 at http://127\.0\.0\.1:8080"),
            StateLock(tmp_path),
        ):
            pass
    with StateLock(tmp_path):
        pass


async def test_a_stack_writes_where_everything_is_and_cleans_up_after_itself(tmp_path: Path) -> None:
    async with Stack(tmp_path, print) as stack:
        await stack.start()
        note = tmp_path / "stack.json"
        assert note.stat().st_mode & 0o777 == 0o600
        told = json.loads(note.read_text())
        assert set(told) == {"s3_endpoint", "bucket", "aws_credentials_file", "redis", "counters_redis", "pids"}
        assert set(told["pids"]) == {"up", "storage", "cache", "counters"}
        assert told["pids"]["up"] == os.getpid()
        pids = stack.pids()
        os.kill(pids["cache"], signal.SIGKILL)
        await eventually(lambda: json.loads(note.read_text())["pids"].get("cache", pids["cache"]) != pids["cache"])
    assert not any(alive(pid) for pid in stack.pids().values())
    assert stack.pids() == {}
    assert not note.exists()

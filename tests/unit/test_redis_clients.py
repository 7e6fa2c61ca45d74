"""What a URL of Redis becomes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import uvloop
from redis.asyncio import Redis
from redis.asyncio.sentinel import SentinelConnectionPool, SentinelManagedSSLConnection

from edge.redis_clients import FAILURES, Client, Cluster, _Telling, _telling, open_client


def opened(url: str, **settings: Any) -> Client:
    return open_client(url, timeout_s=1.0, connections=4, **settings)


def test_one_server_is_a_pool_that_repeats_nothing() -> None:
    client = opened("redis://:secret@h:7000/3")
    assert isinstance(client, Redis)
    said = client.connection_pool.connection_kwargs
    assert (said["host"], said["port"], said["db"], said["password"]) == ("h", 7000, 3, "secret")
    assert said["retry"].get_retries() == 0


def test_a_cluster_is_found_by_any_of_the_nodes_named_and_repeats_nothing() -> None:
    client = opened("redis+cluster://:secret@a:7000,b:7001,[::1]")
    assert isinstance(client, Cluster)
    assert {(node.host, node.port) for node in client.startup_nodes} == {("a", 7000), ("b", 7001), ("::1", 6379)}
    assert client.connection_kwargs["password"] == "secret"
    assert client.retry.get_retries() == 0
    assert opened("redis+cluster://a", repeats=1).retry.get_retries() == 1  # type: ignore[union-attr]


def test_sentinels_are_asked_for_the_primary_by_its_name() -> None:
    client = opened("redis+sentinel://me:secret@a:1,b/counters/2?sentinel_password=other")
    assert isinstance(client, Redis)
    pool: Any = client.connection_pool
    assert isinstance(pool, SentinelConnectionPool)
    assert pool.service_name == "counters"
    assert (pool.connection_kwargs["username"], pool.connection_kwargs["password"]) == ("me", "secret")
    assert pool.connection_kwargs["db"] == 2
    sentinels = [one.connection_pool.connection_kwargs for one in pool.sentinel_manager.sentinels]
    assert all(issubclass(one.connection_pool.connection_class, _Telling) for one in pool.sentinel_manager.sentinels)
    assert [(one["host"], one["port"], one["password"]) for one in sentinels] == [
        ("a", 1, "other"),
        ("b", 26379, "other"),
    ]


def test_with_rediss_everybody_is_spoken_to_encrypted() -> None:
    watched: Any = opened("rediss+sentinel://a/counters").connection_pool  # type: ignore[union-attr]
    assert issubclass(watched.connection_class, SentinelManagedSSLConnection)
    assert watched.sentinel_manager.sentinels[0].connection_pool.connection_class.__name__ == "SSLConnection"
    cluster = opened("rediss+cluster://a")
    assert isinstance(cluster, Cluster)
    assert cluster.connection_kwargs["connection_class"].__name__ == "SSLConnection"


async def _sent_when_closed(kind: str) -> None:
    """A command on a connection whose transport has been closed under it."""

    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client: Any = opened(f"{kind}://127.0.0.1:{port}", protocol=2)
    node = (
        next(iter(client.nodes_manager.startup_nodes.values())) if kind == "redis+cluster" else client.connection_pool
    )
    connection = node.connection_class(**node.connection_kwargs)
    await connection.connect()
    transport = connection._writer.transport
    transport.abort()
    while not repr(transport).count("closed=True"):  # noqa: ASYNC110 - uvloop tells nobody else
        await asyncio.sleep(0)
    try:
        await connection.send_command("PING")
    finally:
        await connection.disconnect(nowait=True)
        server.close()


@pytest.mark.parametrize("kind", ["redis", "redis+cluster"])
def test_a_command_on_a_connection_that_uvloop_has_closed_fails_as_others_do(kind: str) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, pytest.raises(FAILURES):
        runner.run(_sent_when_closed(kind))


@pytest.mark.parametrize("url", ["redis+sentinel://a", "redis+sentinel://a,/x", "redis+cluster://"])
def test_a_url_without_addresses_or_name_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"address|name"):
        opened(url)


async def _forgotten_cancellations(url: str) -> list[int]:
    """After how many turns of the loop the cancellation of a task that asks without end was forgotten."""
    client = opened(url)

    async def ask() -> None:
        while True:
            await client.ping()

    await client.ping()
    forgotten = []
    for turns in range(1, 150):
        asking = asyncio.create_task(ask())
        for _ in range(turns):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait({asking}, timeout=0.5)
        while not asking.done():
            forgotten.append(turns)
            asking.cancel()
            await asyncio.wait({asking}, timeout=0.1)
    assert await client.ping()
    await client.aclose()
    return forgotten


@pytest.mark.parametrize("loop", [uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def test_a_cancellation_that_comes_while_a_command_is_sent_is_not_forgotten(
    loop: Callable[[], asyncio.AbstractEventLoop], redis_url: str
) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(_forgotten_cancellations(redis_url)) == []


class Broken:
    """A connection that breaks while it sends, in the moment in which its task is cancelled."""

    async def send_packed_command(self, *_command: object) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        raise ConnectionResetError

    async def disconnect(self, *, nowait: bool) -> None:
        assert nowait


async def test_a_cancellation_that_comes_while_sending_fails_is_not_forgotten() -> None:
    sending = asyncio.create_task(_telling(Broken)().send_packed_command(b"PING"))
    await asyncio.wait({sending})
    assert sending.cancelled()

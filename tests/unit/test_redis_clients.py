"""What a URL of Redis becomes."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio import Redis
from redis.asyncio.sentinel import SentinelConnectionPool, SentinelManagedSSLConnection

from edge.redis_clients import Client, Cluster, open_client


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
    assert [(one["host"], one["port"], one["password"]) for one in sentinels] == [
        ("a", 1, "other"),
        ("b", 26379, "other"),
    ]


def test_with_rediss_everybody_is_spoken_to_encrypted() -> None:
    watched: Any = opened("rediss+sentinel://a/counters").connection_pool  # type: ignore[union-attr]
    assert watched.connection_class is SentinelManagedSSLConnection
    assert watched.sentinel_manager.sentinels[0].connection_pool.connection_class.__name__ == "SSLConnection"
    cluster = opened("rediss+cluster://a")
    assert isinstance(cluster, Cluster)
    assert cluster.connection_kwargs["connection_class"].__name__ == "SSLConnection"


@pytest.mark.parametrize("url", ["redis+sentinel://a", "redis+sentinel://a,/x", "redis+cluster://"])
def test_a_url_without_addresses_or_name_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"address|name"):
        opened(url)

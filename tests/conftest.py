"""Fixtures for every test: real servers, real edge nodes, a published lesson.

Servers shared by the whole run (other tests use them too; take a prefix or a database of your own):
    s3, s3_client, s3_prefix          SeaweedFS's S3, a boto3 client, a key prefix nobody else uses
    redis_server, counters_server     Valkey as cache (bounded, forgets) and as counters (append-only): database 0
    redis_url, counters_url           the same servers, an empty database nobody else uses
Servers of one test, which it may stop, kill and start again (`await own_redis.kill()`):
    own_s3, own_redis, own_counters
Nodes:
    edge                              `await edge(workers=2, ...)` runs a real `smartedu serve`
    lesson                            a short lesson, packaged and published once for the whole run
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from hypothesis import settings

from deploy.local import ports
from deploy.local.leash import tie_to
from deploy.local.seaweed import REGION, SeaweedFS
from deploy.local.valkey import Purpose, Valkey
from tests.support.broker import Broker, S3Address, ask
from tests.support.edges import Edge, start_edge
from tests.support.lessons import Published, published_once

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started by a shell in the background: what tests start would inherit that, and not hear a Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says something about the machine, and nothing about the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

BROKER = pytest.StashKey[Broker]()
StartEdge = Callable[..., Awaitable[Edge]]


def pytest_configure(config: pytest.Config) -> None:
    """The process that outlives the workers holds the servers; a worker ends when that process is killed."""
    _take_ports_of_our_own(config)
    if hasattr(config, "workerinput"):
        tie_to(os.getppid(), signal.SIGKILL)
    elif not config.option.collectonly:
        config.stash[BROKER] = Broker()


def _take_ports_of_our_own(config: pytest.Config) -> None:
    """Between being found free and being listened on a port is anybody's: each process of a run looks elsewhere."""
    given = getattr(config, "workerinput", {})
    count = given.get("workercount", getattr(config.option, "numprocesses", None) or 0)
    number = int(given.get("workerid", f"gw{count}").removeprefix("gw"))
    ports.PORTS = ports.PORTS[number :: count + 1]


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell each worker of pytest-xdist where to ask."""
    node.workerinput["broker"] = str(node.config.stash[BROKER].socket)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the servers."""
    if BROKER in config.stash:
        config.stash[BROKER].close()


@pytest.fixture(scope="session")
def broker(pytestconfig: pytest.Config) -> Path:
    """The socket at which the run's servers are asked for."""
    if hasattr(pytestconfig, "workerinput"):
        return Path(pytestconfig.workerinput["broker"])
    return pytestconfig.stash[BROKER].socket


@pytest.fixture(scope="session")
def s3(broker: Path) -> S3Address:
    """The run's storage: endpoint, bucket, access_key, secret_key."""
    return S3Address(**ask(broker, "s3"))


@pytest.fixture(scope="session")
def s3_client(s3: S3Address) -> Iterator[S3Client]:
    """A boto3 client of the run's storage."""
    import boto3
    from botocore.config import Config

    client = boto3.client(
        "s3",
        endpoint_url=s3.endpoint,
        region_name=REGION,
        aws_access_key_id=s3.access_key,
        aws_secret_access_key=s3.secret_key,
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 2}, connect_timeout=5, read_timeout=30),
    )
    yield client
    client.close()


@pytest.fixture
def s3_prefix() -> str:
    """A key prefix of this test, without slashes at its ends: the origin is `s3://{s3.bucket}/{s3_prefix}`."""
    return f"test-{uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def redis_server(broker: Path) -> str:
    """URL of the run's cache Valkey, database 0."""
    return str(ask(broker, "redis")["url"])


@pytest.fixture(scope="session")
def counters_server(broker: Path) -> str:
    """URL of the run's counters Valkey, database 0."""
    return str(ask(broker, "counters")["url"])


@pytest.fixture
def redis_url(broker: Path, redis_server: str) -> str:
    """URL of an empty database in the run's cache Valkey."""
    return f"{redis_server.removesuffix('/0')}/{ask(broker, 'database')['number']}"


@pytest.fixture
def counters_url(broker: Path, counters_server: str) -> str:
    """URL of an empty database in the run's counters Valkey."""
    return f"{counters_server.removesuffix('/0')}/{ask(broker, 'database')['number']}"


@pytest.fixture(scope="session")
def lesson(broker: Path, s3: S3Address) -> Published:
    """A lesson of 14 s in the run's storage and catalog (no prefix), packaged once for the whole run. Only read it."""
    return published_once(s3, broker.parent)


@pytest.fixture
async def own_s3(tmp_path: Path) -> AsyncIterator[SeaweedFS]:
    """A storage of this test: `stop`, `kill` and `start` again on the same port and data."""
    server = SeaweedFS(tmp_path / "seaweed", tmp_path / "log/storage.log", print)
    await server.start()
    yield server
    await server.kill()


@pytest.fixture
async def own_redis(tmp_path: Path) -> AsyncIterator[Valkey]:
    """A cache Valkey of this test: `stop`, `kill` and `start` again on the same port."""
    server = Valkey(tmp_path / "cache", tmp_path / "log/cache.log", print, Purpose.CACHE)
    await server.start()
    yield server
    await server.kill()


@pytest.fixture
async def own_counters(tmp_path: Path) -> AsyncIterator[Valkey]:
    """A counters Valkey of this test: `stop`, `kill` and `start` again on the same port and data."""
    server = Valkey(tmp_path / "counters", tmp_path / "log/counters.log", print, Purpose.COUNTERS)
    await server.start()
    yield server
    await server.kill()


@pytest.fixture
async def edge(s3: S3Address, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[StartEdge]:
    """Start real edge nodes: `node = await edge(redis=redis_url, counters_redis=counters_url, workers=2)`.

    The origin is the run's storage unless said otherwise; without `redis` and `counters_redis` the node has neither.
    `env` adds to the environment. All nodes are stopped after the test.
    """
    running: list[Edge] = []

    async def start(env: dict[str, str] | None = None, **flags: object) -> Edge:
        given = {"origin": f"s3://{s3.bucket}", "s3_endpoint": s3.endpoint} | flags
        node = await start_edge(tmp_path_factory.mktemp("node"), given, s3.environment | (env or {}))
        running.append(node)
        return node

    yield start
    await asyncio.gather(*(node.stop() for node in running))

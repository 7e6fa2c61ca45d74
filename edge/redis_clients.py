"""How this program connects to Redis: to one server, to what a set of Sentinels calls the primary, or to a cluster.

The scheme of the URL says which; `rediss` instead of `redis` is TLS.

    redis://[[user]:password@]host[:port][/db]
    redis+sentinel://[[user]:password@]host[:port][,host…]/name[/db]     the Sentinels, and the name they know it by
    redis+cluster://[[user]:password@]host[:port][,host…]                some of the nodes; they know the others

Sentinels with a password of their own have it in the query: `?sentinel_password=…`, and `sentinel_username` likewise.

Nothing that may have been carried out is repeated here unless that was asked for. redis-py's cluster client sends a
command again in three cases: when there was no answer (switched off by `retry`), when it came to the wrong node, which
has then not carried it out (done once), and when its slot is on the move, which is never followed (see `Cluster`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from redis import exceptions
from redis._parsers import AsyncCommandsParser
from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis
from redis.asyncio.cluster import ClusterNode, ClusterPipeline, RedisCluster
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.event import EventDispatcher
from redis.exceptions import ClusterError, RedisClusterException, RedisError, ResponseError

Client: TypeAlias = Redis | RedisCluster

FAILURES: Final = (RedisError, RedisClusterException, OSError)
"""What an exchange with Redis can end with."""

_SENTINEL: Final = "+sentinel"
_CLUSTER: Final = "+cluster"
_SENTINEL_PORT: Final = 26379
_REDIS_PORT: Final = 6379
_OWN: Final = "sentinel_"


def open_client(
    url: str,
    *,
    timeout_s: float,
    connections: int,
    connect_s: float | None = None,
    name: str | None = None,
    repeats: int = 0,
    **settings: Any,
) -> Client:
    """A client that connects when first used. Raises ValueError for a URL that is none of these.

    timeout_s: deadline of each answer; connect_s: of connecting, and of waiting for a free connection, by default the
    same. connections: in all; of a cluster per node, where nobody waits. repeats: how often a command whose connection
    broke is sent again.
    """
    connect_s = timeout_s if connect_s is None else connect_s
    given: dict[str, Any] = {
        "max_connections": connections,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": connect_s,
        "retry": Retry(NoBackoff(), repeats),
        "client_name": name,
        "driver_info": None,  # it would be read from the package's files, on the loop, for every new connection
        **settings,
    }
    scheme = urlsplit(url).scheme
    if scheme.endswith(_CLUSTER):
        return _cluster(url, given)
    if scheme.endswith(_SENTINEL):
        pool: ConnectionPool = _sentinels(url, {**given, "timeout": connect_s})
    else:
        pool = BlockingConnectionPool.from_url(url, timeout=connect_s, retry_on_error=[], **given)
    pool.connection_class = _telling(pool.connection_class)
    return Redis.from_pool(pool)


class Cluster(RedisCluster):
    """A cluster's client that says no instead of guessing.

    It does not follow a slot that is on its way to another node (ASK): part of its keys is there and part is here, and
    a function finds only those of the node that it runs on.
    """

    RedisClusterRequestTTL = 1  # redis-py's own redirections: none

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands_parser = _CommandsOnce()
        self.connection_kwargs["connection_class"] = _telling(self.connection_kwargs["connection_class"])
        for node in self.nodes_manager.startup_nodes.values():  # those to come are made with what stands above
            node.connection_class = _telling(node.connection_class)

    async def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        """As redis-py's, but that nothing is sent anywhere before it is known where."""
        await self.initialize()
        moves = self.reinitialize_counter
        try:
            return await super().execute_command(*args, **kwargs)
        except ClusterError as error:
            if type(error) is not ClusterError:  # those that have a name are no redirections
                raise
            if self.reinitialize_counter == moves:
                raise ClusterError("the slot is on its way to another node") from error
        await self.initialize()
        return await super().execute_command(*args, **kwargs)  # the map has been put right

    def pipeline(self, transaction: Any | None = None, shard_hint: Any | None = None) -> ClusterPipeline:
        """transaction: all of it at one moment, of keys of one slot."""
        return _Moment(self) if transaction else super().pipeline(None, shard_hint)

    async def _determine_slot(self, command: str, *args: Any) -> int:
        if command in ("FCALL", "FCALL_RO"):  # redis-py would send the whole call to a server, to be told its keys
            return self.keyslot(args[2])
        return int(await super()._determine_slot(command, *args))


class _Telling:
    """A connection that says what happened while it was sending.

    That it has been closed: redis-py sends without looking; on a transport of asyncio that ends with what the peer's
    end ends with, uvloop's raises RuntimeError, which would be nobody's to expect. And that its task was cancelled:
    redis-py sends within `asyncio.wait_for`, which before Python 3.12 forgets a cancellation that comes in the moment
    in which what it waits for is done (python/cpython#86296), and whoever asks in a loop would never end.
    """

    async def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
        asked, failure = _cancellations(), None
        try:
            await super().send_packed_command(*args, **kwargs)  # type: ignore[misc]
        except Exception as error:
            failure = error
        if _cancellations() > asked:
            await self.disconnect(nowait=True)  # type: ignore[attr-defined]  # nobody will read the answer
            raise asyncio.CancelledError from failure
        if isinstance(failure, RuntimeError):
            raise exceptions.ConnectionError(str(failure)) from failure
        try:
            if failure is not None:
                raise failure
        finally:
            del failure  # it holds this frame, and the command


def _cancellations() -> int:
    """How often the task at hand has been asked to end."""
    task = asyncio.current_task()
    return task.cancelling() if task is not None else 0


def _telling(kind: Any) -> Any:
    """The same kind of connection, which tells."""
    return type(kind.__name__, (_Telling, kind), {})


async def load_functions(client: Client, code: str, key: str) -> None:
    """Install a library of functions where that key lies; its replicas get it from there. Raises FAILURES.

    Libraries are named by their content, so one that is there is the same, and stays: another in its place would not
    remember what that one does.
    """
    if isinstance(client, RedisCluster):
        await client.initialize()
    try:
        await client.execute_command("FUNCTION LOAD", code, **_node_of(client, key))
    except ResponseError as error:
        if "already exists" not in str(error):
            raise


async def together(client: Client, key: str, *commands: tuple[Any, ...]) -> list[Any]:
    """The answers to commands that are sent over one connection to where that key lies, in turn; an error in place of
    an answer. None is sent again. Raises FAILURES."""
    if isinstance(client, RedisCluster):
        await client.initialize()
    pipe = client.pipeline(transaction=False)
    for command in commands:
        pipe.execute_command(*command, **_node_of(client, key))
    once = {"allow_redirections": False} if isinstance(client, RedisCluster) else {}
    return await pipe.execute(raise_on_error=False, **once)


def _node_of(client: Client, key: str) -> dict[str, Any]:
    """What sends a command without a key where this key lies, as arguments of `execute_command`."""
    return {"target_nodes": client.get_node_from_key(key)} if isinstance(client, RedisCluster) else {}


class _CommandsOnce(AsyncCommandsParser):
    """What commands there are is asked once, and not whenever the nodes are asked for their slots."""

    async def initialize(self, node: ClusterNode | None = None) -> None:
        if not self.commands:
            await super().initialize(node)
        elif node is not None:
            self.node = node


class _Moment(ClusterPipeline):
    """MULTI, the commands, EXEC: to the node of their keys. redis-py's own takes a thread and a loop for each command,
    and sends all of it again after an error."""

    def __init__(self, client: Cluster) -> None:
        super().__init__(client)
        self._event_dispatcher = EventDispatcher()  # redis-py's pipelines have none, though they should
        self._client = client
        self._queue: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def execute_command(self, *args: Any, **kwargs: Any) -> ClusterPipeline:
        kwargs.pop("keys", None)  # of the client's own cache, which is not used
        self._queue.append((args, kwargs))
        return self

    def unlink(self, *names: Any) -> ClusterPipeline:  # type: ignore[override]  # that one has to be awaited
        return self.execute_command("UNLINK", *names)

    async def execute(self, _raise_on_error: bool = True, _allow_redirections: bool = True) -> list[Any]:
        """The answers; an error of one is raised. Raises FAILURES."""
        queue, self._queue = self._queue, []
        commands = (("MULTI",), *(args for args, _ in queue), ("EXEC",))
        answers = await together(self._client, queue[0][0][1], *commands)
        for answer in [*answers[:-1], *(answers[-1] if isinstance(answers[-1], list) else [answers[-1]])]:
            if isinstance(answer, Exception):
                raise answer
        said = zip(queue, answers[-1], strict=True)
        return [self._read(args[0], answer, kwargs) for (args, kwargs), answer in said]

    def _read(self, command: str, answer: Any, options: dict[str, Any]) -> Any:
        """As the command's own answer would be read."""
        callback: Callable[..., Any] | None = self._client.response_callbacks.get(command)
        return callback(answer, **options) if callback is not None else answer


class _SentinelPool(SentinelConnectionPool, BlockingConnectionPool):
    """Connections to the primary, for which is waited when all are in use; closing it closes those to the Sentinels."""

    async def disconnect(self, inuse_connections: bool = True) -> None:
        await super().disconnect(inuse_connections)
        if inuse_connections:
            await self.sentinel_manager.aclose()


def _cluster(url: str, given: dict[str, Any]) -> RedisCluster:
    addresses, plain, _ = _apart(url, _CLUSTER, _REDIS_PORT)
    read = _read(plain, given)
    nodes = [ClusterNode(host, port) for host, port in addresses]
    # A part of the slots without a node is a part of the provinces gone, not all of them.
    return Cluster(startup_nodes=nodes, require_full_coverage=False, **read)


def _sentinels(url: str, given: dict[str, Any]) -> SentinelConnectionPool:
    addresses, plain, own = _apart(url, _SENTINEL, _SENTINEL_PORT)
    parts = urlsplit(plain)
    name, _, database = parts.path.lstrip("/").partition("/")
    if not name:
        raise ValueError("the URL of Sentinels ends with the name of the primary")
    read = _read(urlunsplit(parts._replace(path=f"/{database}")), given)
    shared = ("socket_timeout", "socket_connect_timeout", "retry", "driver_info", "ssl", "ssl_ca_certs")
    of_sentinels = {key: read[key] for key in shared if key in read} | own
    sentinels: Any = Sentinel(addresses, sentinel_kwargs=of_sentinels)  # type: ignore[no-untyped-call]
    for one in sentinels.sentinels:
        one.connection_pool.connection_class = _telling(one.connection_pool.connection_class)
    return _SentinelPool(name, sentinels, **read)  # type: ignore[no-untyped-call]


def _apart(url: str, kind: str, default_port: int) -> tuple[list[tuple[str, int]], str, dict[str, str]]:
    """The addresses in a URL, the URL as that of one server, and what is for the Sentinels alone."""
    parts = urlsplit(url)
    credentials, at, hosts = parts.netloc.rpartition("@")
    addresses = []
    for host in hosts.split(","):
        one = urlsplit(f"//{host}")
        if not one.hostname:
            raise ValueError("an address is HOST or HOST:PORT")
        addresses.append((one.hostname, one.port or default_port))
    options = parse_qsl(parts.query)
    own = {key.removeprefix(_OWN): value for key, value in options if key.startswith(_OWN)}
    query = urlencode([(key, value) for key, value in options if not key.startswith(_OWN)])
    plain = parts._replace(scheme=parts.scheme.removesuffix(kind), netloc=f"{credentials}{at}localhost", query=query)
    return addresses, urlunsplit(plain), own


def _read(url: str, given: dict[str, Any]) -> dict[str, Any]:
    """What a URL says besides addresses, over what is given."""
    said: dict[str, Any] = {key: value for key, value in parse_url(url).items() if key not in ("host", "port")}
    if said.pop("connection_class", None) is not None:
        said["ssl"] = True
    return {**given, **said}

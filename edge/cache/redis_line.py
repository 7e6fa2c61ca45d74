"""How Redis is asked, one server or a cluster: with deadlines, and not while it is known to be of no use.

The first refused connection, or a few failures in a row, opens the breaker; of a cluster, the breaker of that node.
From then on nobody asks but `probe`, and its first answer closes the breaker. Writing has a breaker of its own: a Redis
without memory still answers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from functools import partial
from typing import Any, TypeAlias

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.exceptions import ClusterDownError, OutOfMemoryError, ReadOnlyError, RedisClusterException, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from edge import redis_clients
from edge.cache.breaker import Breaker
from edge.clock import Clock
from edge.redis_clients import FAILURES, open_client

log = logging.getLogger(__name__)

Client: TypeAlias = redis_clients.Client

_ANY = ""  # instead of a node's name: the one Redis, or all of a cluster


class NoAnswerError(Exception):
    """Redis gave none, or refused. It has been counted and the breaker knows."""


def connect(url: str, *, deadline_s: float = 0.25, max_connections: int = 64) -> Client:
    """A client as this tier wants it: short deadlines, and no retries, since a repeated read only costs more time.

    max_connections: in all, of a cluster per node.
    """
    return open_client(url, timeout_s=deadline_s, connections=max_connections)


class RedisLine:
    """errors: commands that failed. failures, probe_s: of the breakers, one per node of a cluster."""

    def __init__(self, client: Client, clock: Clock, *, failures: int, probe_s: float) -> None:
        self._client = client
        self._given_up: set[asyncio.Future[Any]] = set()
        self._make = partial(Breaker, now=clock.monotonic, limit=failures, probe_after_s=probe_s)
        self._breakers = {_ANY: self._make()}
        self._writing = self._make()
        self.errors = 0

    @property
    def healthy(self) -> bool:
        """Whether Redis is being used; of a cluster, a part of it."""
        nodes = [breaker for node, breaker in self._breakers.items() if node != _ANY]
        return self._breakers[_ANY].closed and (not nodes or any(breaker.closed for breaker in nodes))

    def usable(self, name: str) -> bool:
        """Whether to ask for what lies under that name."""
        return self._breakers[_ANY].closed and self._breaker(name).closed

    def may_write(self) -> bool:
        """Whether to write now. While Redis takes nothing, true for one caller per probe interval."""
        return self._writing.allow()

    async def asked(self, name: str, command: Awaitable[Any], deadline_s: float) -> Any:
        """The answer to a command about that name; its breaker learns from it. Raises NoAnswerError."""
        breaker = self._breaker(name)
        try:
            answer = await self._within(command, deadline_s)
        except FAILURES as error:  # a TimeoutError is an OSError
            self.errors += 1
            if _refusal(error):
                breaker.succeeded()
            else:
                self._failed(breaker, error)
            raise NoAnswerError from error
        breaker.succeeded()
        return answer

    async def _within(self, command: Awaitable[Any], deadline_s: float) -> Any:
        """The command's answer, or TimeoutError at the deadline, whatever the command makes of being cancelled.

        `asyncio.timeout` trusts in the cancellation. redis-py waits through `asyncio.wait_for`, which before Python
        3.12 can forget one (CPython issue 86296), and would then keep a request waiting for a Redis that hangs.
        """
        task = asyncio.ensure_future(command)
        try:
            done, _ = await asyncio.wait({task}, timeout=deadline_s)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if done:
            return task.result()
        task.cancel()
        self._given_up.add(task)
        task.add_done_callback(self._ended)
        raise TimeoutError

    def _ended(self, task: asyncio.Future[Any]) -> None:
        self._given_up.discard(task)
        if not task.cancelled():
            task.exception()  # nobody wants it any more

    async def together(self, name: str, deadline_s: float, *commands: tuple[Any, ...]) -> list[Any]:
        """The answers to commands about that name, sent at once; of those that Redis refused, its error."""
        pipeline = self._client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        answers: list[Any] = await self.asked(name, pipeline.execute(raise_on_error=False), deadline_s)
        for answer in answers:
            if isinstance(answer, Exception) and not _refusal(answer):
                self.errors += 1
                self._failed(self._breaker(name), answer)
                raise NoAnswerError
        return answers

    def accept(self, *answers: object) -> None:
        """What SETs were answered; the breaker of writing learns from it. Raises NoAnswerError on a refusal."""
        refused = next((answer for answer in answers if isinstance(answer, Exception)), None)
        before = self._writing.closed
        if refused is None:
            self._writing.succeeded()
            if not before:
                log.info("redis is written to again")
            return
        self.errors += 1
        self._writing.failed(decisive=isinstance(refused, OutOfMemoryError | ReadOnlyError))
        if before and not self._writing.closed:
            log.warning("nothing more is written to redis for now: %s", refused)
        raise NoAnswerError

    async def probe(self, deadline_s: float) -> None:
        """Ask whoever is of no use now whether he is again; and the whole, so that a cluster's nodes are known."""
        self._forget_strangers()
        for node, breaker in list(self._breakers.items()):
            if node == _ANY or not breaker.closed:
                await self._probe(node, breaker, deadline_s)

    async def _probe(self, node: str, breaker: Breaker, deadline_s: float) -> None:
        before = breaker.closed
        try:
            async with asyncio.timeout(deadline_s):
                await self._ping(node)
        except FAILURES as error:
            self.errors += 1
            self._failed(breaker, error)
            return
        breaker.succeeded()
        if not before:
            log.info("redis is used again%s", f": {node}" if node else "")

    async def _ping(self, node: str) -> None:
        if isinstance(self._client, Redis):
            await self._client.ping()
        elif node:
            await self._client.execute_command("PING", target_nodes=[self._client.get_node(node_name=node)])
        else:
            await self._client.initialize()

    def _breaker(self, name: str) -> Breaker:
        node = self.place(name)
        if node not in self._breakers:
            self._breakers[node] = self._make()
        return self._breakers[node]

    def place(self, name: str) -> str:
        """Where that name is: the node of a cluster, as far as is known."""
        if isinstance(self._client, Redis):
            return _ANY
        try:
            node = self._client.get_node_from_key(name)
        except RedisClusterException:
            return _ANY
        return str(node.name) if node is not None else _ANY

    def _forget_strangers(self) -> None:
        if isinstance(self._client, RedisCluster):
            known = {_ANY, *(str(node.name) for node in self._client.get_nodes())}
            self._breakers = {node: breaker for node, breaker in self._breakers.items() if node in known}

    def _failed(self, breaker: Breaker, error: Exception) -> None:
        gone = isinstance(error, RedisConnectionError | OSError) and not isinstance(
            error, RedisTimeoutError | TimeoutError
        )
        before = breaker.closed
        breaker.failed(decisive=gone)
        if before and not breaker.closed:
            log.warning("redis is being skipped: %s", str(error) or "it is too slow")


def _refusal(error: Exception) -> bool:
    """Whether Redis lives, and said no to this one command."""
    return isinstance(error, ResponseError) and not isinstance(error, ClusterDownError)

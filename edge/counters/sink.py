"""Batches -> the province's Redis: one atomic, idempotent call each (`functions.lua` has the theory of operation).

Nothing here retries: after a failure nothing is known about the last call, and the watermark tells the caller at the
next one. That is why redis-py's own retries are switched off.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final, cast

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from edge.counters.tally import Batch

_SOURCE: Final = files("edge.counters").joinpath("functions.lua").read_text("utf-8")
VERSION: Final = hashlib.sha256(_SOURCE.encode()).hexdigest()[:12]
LIBRARY: Final = f"smartedu_counts_{VERSION}"
_CODE: Final = f"#!lua name={LIBRARY}\n" + _SOURCE.replace("@VERSION@", VERSION)
_APPLY: Final = f"smartedu_apply_{VERSION}"
_MARK: Final = f"smartedu_mark_{VERSION}"
_PROOF_WAIT_S: Final = 2.5  # `appendfsync everysec` syncs within about two seconds

Client = Redis


class SinkError(Exception):
    """The province's Redis is away, too slow, or refuses; whether the last call was carried out is not known."""


@dataclass(frozen=True, slots=True)
class Applied:
    """The answer to one batch. moved: it was applied now; watermark: where the writer's journal is counted up to.

    duplicates: ids of the batch that had been accepted within 10 minutes elsewhere, or before, and were left out.
    mover: who moved the watermark last, in that batch's own words.
    """

    moved: bool
    watermark: int
    duplicates: int
    mover: str = ""


@dataclass(frozen=True, slots=True)
class Proof:
    """The writer's watermark at one moment. durable: True when Redis has it on its disk, False when not in time,
    None when this Redis can't tell (no append-only file, or older than WAITAOF)."""

    watermark: int
    durable: bool | None


def open_client(url: str, *, timeout_s: float = 2.0, repeats: int = 0) -> Client:
    """A client that connects when first used, and does not repeat a command by itself unless told to.

    repeats: how often a command whose connection broke is sent again. Reading may: after a restart of the server, every
    pooled connection breaks when it is next used. Writing must not, so that nothing happens that the caller does not
    know of.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=16,
        timeout=timeout_s,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), repeats),
        client_name="smartedu-counts",
        driver_info=None,  # it would be read from the package's files, on the loop, for every new connection
    )
    return Redis.from_pool(pool)


def province_prefix(province: str) -> str:
    """What all keys of a province begin with: its code as a hash tag, so that they share one slot of a cluster."""
    return "{" + province + "}"


class Sink:
    """The counting side of one province on one Redis. province: the two-digit code, which is also the hash slot."""

    def __init__(self, client: Client, province: str) -> None:
        self._client = client
        self._prefix = province_prefix(province)
        self._watermarks = self._prefix + ":watermarks"

    def beside(self, province: str) -> Sink:
        """The same of another province on the same Redis."""
        return Sink(self._client, province)

    async def watermark(self, writer: str) -> int:
        """The journal position up to which the writer's events are counted; 0 for one never seen. Raises SinkError."""
        try:
            found = await cast("Awaitable[bytes | None]", self._client.hget(self._watermarks, writer))
        except (RedisError, OSError) as error:
            raise SinkError(_describe(error)) from error
        return _position(found or b"0")

    async def apply(self, batch: Batch) -> Applied:
        """Add the batch up on the other side, if the watermark stands where the batch begins. Raises SinkError."""
        answer = await self._call(_APPLY, *_arguments(self._prefix, batch))
        moved, watermark, duplicates = cast("tuple[int, bytes, int]", answer)
        _, _, mover = watermark.partition(b" ")
        return Applied(bool(moved), _position(watermark), int(duplicates), mover.decode())

    async def prove(self, writer: str) -> Proof:
        """Ask whether everything applied so far is on Redis's disk. May take some seconds. Raises SinkError."""
        await self._call(_MARK, self._prefix, writer)  # installs the library where it is missing
        pipeline = self._client.pipeline(transaction=False)  # one connection: WAITAOF speaks of its own writes
        pipeline.execute_command("FCALL", _MARK, 1, self._watermarks, self._prefix, writer)
        pipeline.execute_command("WAITAOF", 1, 0, int(_PROOF_WAIT_S * 1000))
        try:
            watermark, synced = await pipeline.execute(raise_on_error=False)
        except (RedisError, OSError) as error:
            raise SinkError(_describe(error)) from error
        if isinstance(watermark, Exception):
            raise SinkError(_describe(watermark)) from watermark
        if isinstance(synced, ResponseError):  # append-only file off, or a command this server does not know
            return Proof(_position(watermark), None)
        if isinstance(synced, Exception):
            raise SinkError(_describe(synced)) from synced
        return Proof(_position(watermark), synced[0] >= 1)

    async def close(self) -> None:
        await self._client.aclose()

    async def _call(self, function: str, *arguments: bytes | str | int) -> Any:
        try:
            try:
                return await self._fcall(function, arguments)
            except ResponseError as error:
                if "function not found" not in str(error).lower():
                    raise
                await cast("Awaitable[object]", self._client.function_load(_CODE, replace=True))
                return await self._fcall(function, arguments)
        except (RedisError, OSError) as error:
            raise SinkError(_describe(error)) from error

    async def _fcall(self, function: str, arguments: tuple[bytes | str | int, ...]) -> object:
        return await cast("Awaitable[object]", self._client.fcall(function, 1, self._watermarks, *arguments))


async def call(client: Client, function: str, key: str, *arguments: bytes | str | int) -> Any:
    """Call a function of the library by its name without version, which is put in when it is missing there.

    Raises SinkError.
    """
    versioned = f"{function}_{VERSION}"
    try:
        try:
            return await cast("Awaitable[object]", client.fcall(versioned, 1, key, *arguments))
        except ResponseError as error:
            if "function not found" not in str(error).lower():
                raise
            await cast("Awaitable[object]", client.function_load(_CODE, replace=True))
            return await cast("Awaitable[object]", client.fcall(versioned, 1, key, *arguments))
    except (RedisError, OSError) as error:
        raise SinkError(_describe(error)) from error


def _position(watermark: bytes) -> int:
    return int(watermark.partition(b" ")[0])


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _arguments(prefix: str, batch: Batch) -> list[bytes | str | int]:
    """In the order in which `apply` in functions.lua takes them. Few and long: each argument costs both sides time."""
    cells = b"".join(b"%d %b %b %d\n" % (c.kind, c.day.encode(), c.resource, c.events) for c in batch.cells)
    heads = b"".join(b"%b %b %d\n" % (a.day.encode(), a.resource, len(a.viewers) // 8) for a in batch.audiences)
    return [
        prefix,
        batch.writer,
        batch.place,
        batch.mover,
        batch.expect,
        batch.to,
        batch.complete_ms,
        int(batch.closing),
        batch.bucket,
        cells,
        batch.ids,
        " ".join(map(str, batch.watched_ms)),
        heads,
        b"".join(a.viewers for a in batch.audiences),
    ]

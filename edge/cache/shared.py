"""The Redis tier, shared by the workers and nodes of a site. It may be slow, gone or wrong: then it is a miss.

Goals: a sound value is returned with its right age; a damaged one is a miss and is dropped; no request waits longer
than the deadline for it, and none at all once it is known to be down. Non-goals: being complete, or durable.

A value is  magic(4) crc32(4) length-of-meta(4) meta(JSON) body,  the checksum covering all that follows it. The key
holds the format's version, so that a new format never meets old values.

Health: the first refused connection, or a few failures in a row, opens the breaker. From then on nobody asks Redis but
the watch task, which pings once per interval and closes the breaker with the first answer.
"""

from __future__ import annotations

import asyncio
import logging
import struct
import zlib
from collections.abc import Awaitable, Coroutine
from functools import partial

import orjson
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from edge.cache import packed
from edge.cache.breaker import Breaker
from edge.cache.freshness import remaining_s
from edge.cache.model import CacheKey, Entry
from edge.clock import Clock
from edge.tasks import begin, end

log = logging.getLogger(__name__)

_MAGIC = b"SEC1"
_HEADER = struct.Struct(">4sII")
_CHECKED_FROM = 8  # offset of the first byte under the checksum
_INLINE_BYTES = 1024 * 1024  # up to here a checksum (about 0.25 ms) holds up the loop less than it is worth a thread
_MAX_EXPIRY_S = 30 * 86400


def connect(url: str, *, deadline_s: float = 0.25, max_connections: int = 64) -> Redis:
    """A client as this tier wants it: short deadlines, and no retries, since a repeated read only costs more time."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=max_connections,
        timeout=deadline_s,
        socket_timeout=deadline_s,
        socket_connect_timeout=deadline_s,
        retry=Retry(NoBackoff(), 0),
        retry_on_error=[],
        # Otherwise redis-py reads its own version from a file for every new connection, on the loop.
        driver_info=None,
    )
    return Redis.from_pool(pool)  # closing the client closes the pool


class RedisTier:
    """namespace: of the origin whose objects these are; sites with other origins may share the server.

    max_value_bytes: larger entries are not written. deadline_s: of a read; write_deadline_s: of a write, which nobody
    waits for. max_reads: reads under way at once, more wait for at most another deadline. max_writes, max_write_bytes:
    writes under way at once, more are skipped. All of them together stay below the client's connections, so that a
    full pool is never mistaken for a Redis that is gone. failures, probe_s: of the breaker.
    """

    def __init__(
        self,
        client: Redis,
        *,
        clock: Clock,
        namespace: str,
        max_value_bytes: int = 8 * 1024 * 1024,
        deadline_s: float = 0.25,
        write_deadline_s: float = 1.0,
        max_reads: int = 40,
        max_writes: int = 16,
        max_write_bytes: int = 32 * 1024 * 1024,
        failures: int = 3,
        probe_s: float = 1.0,
    ) -> None:
        self._client = client
        self._clock = clock
        self._prefix = f"smartedu:cache:1:{namespace}:"
        self._max_value_bytes = max_value_bytes
        self._deadline_s = deadline_s
        self._write_deadline_s = write_deadline_s
        self._read_places = asyncio.Semaphore(max_reads)
        self._max_writes = max_writes
        self._max_write_bytes = max_write_bytes
        self._write_bytes = 0
        self._probe_s = probe_s
        self._breaker = Breaker(now=clock.monotonic, limit=failures, probe_after_s=probe_s)
        self._writes: set[asyncio.Task[None]] = set()
        self._watch: asyncio.Task[None] | None = None

    @property
    def healthy(self) -> bool:
        """Whether Redis is being used."""
        return self._breaker.closed

    async def start(self) -> None:
        """Begin to watch Redis's health; returns after the first ping's answer or deadline."""
        await self._ping()
        self._watch = begin(self._keep_pinging(), "redis-tier-watch")

    async def close(self) -> None:
        """Stop watching and drop what is not written yet. The client stays open: it was handed in."""
        await end([*self._writes, *([self._watch] if self._watch is not None else [])])

    async def get(self, key: CacheKey) -> Entry | None:
        """The stored entry, fresh or not; None when there is none or Redis is of no use now. Never raises."""
        if not self.healthy:
            return None
        try:
            async with asyncio.timeout(self._deadline_s):
                await self._read_places.acquire()
        except TimeoutError:
            return None  # we are busy, which says nothing about Redis
        try:
            value = await self._ask(self._client.get(self._name(key)), self._deadline_s)
        finally:
            self._read_places.release()
        if not isinstance(value, bytes):
            return None
        entry = await self._decode(value)
        if entry is None:
            log.warning("dropped a damaged value from redis", extra={"path": key.path})
            self._in_background(self.remove(key))
        return entry

    def put(self, key: CacheKey, entry: Entry) -> bool:
        """Begin to write it, in the background; False when it is not worth it or too much is under way."""
        expiry_s = min(remaining_s(entry.head, self._clock.monotonic()), _MAX_EXPIRY_S)
        size = len(entry.body)
        if not self.healthy or size > self._max_value_bytes or expiry_s < 1.0:
            return False
        if self._write_bytes + size > self._max_write_bytes:
            return False
        return self._in_background(self._write(key, entry, int(expiry_s * 1000)), size)

    async def remove(self, key: CacheKey) -> None:
        """Forget one entry. Never raises."""
        if self.healthy:
            await self._ask(self._client.delete(self._name(key)), self._write_deadline_s)

    async def settled(self) -> None:
        """Wait until the writes that are under way have ended."""
        while self._writes:
            await asyncio.wait(self._writes)

    def _name(self, key: CacheKey) -> str:
        return self._prefix + key.path

    async def _write(self, key: CacheKey, entry: Entry, expiry_ms: int) -> None:
        value = await self._encode(entry)
        await self._ask(self._client.set(self._name(key), value, px=expiry_ms), self._write_deadline_s)

    async def _ask(self, command: Awaitable[object], deadline_s: float) -> object:
        """The command's answer, or None; the breaker learns from it."""
        try:
            async with asyncio.timeout(deadline_s):
                answer = await command
        except (RedisError, OSError, TimeoutError) as error:
            refused = isinstance(error, RedisConnectionError | OSError) and not isinstance(
                error, RedisTimeoutError | TimeoutError
            )
            self._failed(error, decisive=refused)
            return None
        self._breaker.succeeded()
        return answer

    def _failed(self, error: Exception, *, decisive: bool) -> None:
        before = self.healthy
        self._breaker.failed(decisive=decisive)
        if before and not self.healthy:
            log.warning("redis is being skipped: %s", error)

    def _in_background(self, work: Coroutine[object, object, None], size: int = 0) -> bool:
        if len(self._writes) >= self._max_writes:
            work.close()
            return False
        task = asyncio.create_task(work, name="redis-tier-write")
        self._writes.add(task)
        self._write_bytes += size
        task.add_done_callback(partial(self._written, size))
        return True

    def _written(self, size: int, task: asyncio.Task[None]) -> None:
        self._writes.discard(task)
        self._write_bytes -= size

    async def _keep_pinging(self) -> None:
        while True:
            await asyncio.sleep(self._probe_s)
            await self._ping()

    async def _ping(self) -> None:
        before = self.healthy
        await self._ask(self._client.ping(), self._deadline_s)
        if self.healthy and not before:
            log.info("redis is used again")

    async def _encode(self, entry: Entry) -> bytes:
        head = entry.head
        born = self._clock.wall() - head.age_s(self._clock.monotonic())
        meta = orjson.dumps(packed.pack(head, age_s=0.0) | {"born": born})
        length = len(meta).to_bytes(4, "big")
        checksum = await _crc32(entry.body, zlib.crc32(length + meta))
        return b"".join((_MAGIC, checksum.to_bytes(4, "big"), length, meta, entry.body))

    async def _decode(self, value: bytes) -> Entry | None:
        """The entry; None when the value is not whole and sound."""
        if len(value) < _HEADER.size:
            return None
        magic, checksum, meta_length = _HEADER.unpack_from(value)
        if magic != _MAGIC or await _crc32(memoryview(value)[_CHECKED_FROM:]) != checksum:
            return None
        end = _HEADER.size + meta_length
        try:
            meta = packed.loads(value[_HEADER.size : end])
            older_s = self._clock.wall() - float(meta["born"])
            head = packed.unpack(meta, now=self._clock.monotonic(), older_s=older_s)
        except (ValueError, KeyError, TypeError):
            return None
        body = value[end:]
        return Entry(head, body) if head.length == len(body) else None


async def _crc32(data: bytes | memoryview, start: int = 0) -> int:
    """zlib's checksum, computed in a thread when it would hold up the loop (zlib lets go of the interpreter lock)."""
    if len(data) <= _INLINE_BYTES:
        return zlib.crc32(data, start)
    return await asyncio.to_thread(zlib.crc32, data, start)

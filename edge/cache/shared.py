"""The Redis tier, shared by the workers and nodes of a site. It may be slow, gone, full or wrong: then it is a miss.

Goals: a sound value is returned with its right age; a damaged one is a miss and is dropped; no request waits longer
than the deadline for an answer, and none at all once Redis is known to be down. Non-goals: being complete, or durable.

    <name>               the record's front (see `record`) and the first piece of the body
    <name>:<token>:<n>   its further pieces, n = 1, 2, …

The further pieces are written first, under a token of their own, and the first one names the token: a reader sees all
of the old value, all of the new one, or a miss. What a killed writer leaves expires. A name's braces are its hash tag,
so that on a cluster all pieces of one value lie in one slot; variants and blocks of an object spread over the nodes.
The name holds the format's version, so that a new format never meets old values.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from edge.cache import record
from edge.cache.model import CacheKey, Entry, Stored
from edge.cache.record import Cover, DamageError, Pieces
from edge.cache.redis_line import Client, NoAnswerError, RedisLine, connect
from edge.clock import Clock
from edge.tasks import begin, end

__all__ = ["Client", "RedisTier", "SharedStats", "connect"]

log = logging.getLogger(__name__)

_FRONT_BYTES = 4096  # of nearly every record
_AT_ONCE = 4  # pieces per command, so that a large value does not hold up the others
_INLINE_BYTES = 2 * 1024 * 1024  # up to here joining and summing (about 0.2 ms) is not worth a thread
_MAX_EXPIRY_S = 30 * 86400
# The header holds the sums of all the rest: what begins alike is the same value.
_DROP_IF = """\
if redis.call('GETRANGE', KEYS[1], 0, ARGV[2]) ~= ARGV[1] then return 0 end
return redis.call('UNLINK', unpack(KEYS))
"""
_LONGER_S = 10.0  # the further pieces outlive the first, so that they do not go while they are read


def _same_mark(text: str) -> int | None:
    return int(text) if text.isdigit() else None


@dataclass(frozen=True, slots=True)
class SharedStats:
    """This worker's, counted since its start.

    corrupt: values that were not as they were written; incomplete: values of which Redis had dropped a piece; errors:
    commands that failed; skipped: values that were not written because too much was under way or Redis was of no use.
    """

    corrupt: int
    incomplete: int
    errors: int
    skipped: int


class _IncompleteError(DamageError):
    """A further piece is gone."""


class RedisTier:
    """namespace: of the origin whose objects these are; sites with other origins may share the server.

    shared_mark: turns a purge position of this node into a text that other nodes understand; None when it cannot be
    told, then the value is not written. mark_of: turns that back; None when it means nothing here, then it is a miss.
    max_value_bytes: larger entries are not written. piece_bytes: of a body in one Redis value.
    deadline_s: of each command of a read; write_deadline_s: of a write, which nobody waits for. max_reads,
    max_read_bytes: reads under way at once; more wait for at most another deadline, or are misses. max_writes,
    max_write_bytes: writes under way at once; more are skipped. All of them together stay below the client's
    connections, so that a full pool is never mistaken for a Redis that is gone. failures, probe_s: of the breakers.
    """

    def __init__(
        self,
        client: Client,
        *,
        clock: Clock,
        namespace: str,
        shared_mark: Callable[[int], str | None] = str,
        mark_of: Callable[[str], int | None] = _same_mark,
        max_value_bytes: int = 8 * 1024 * 1024,
        piece_bytes: int = 512 * 1024,
        deadline_s: float = 0.25,
        write_deadline_s: float = 1.0,
        max_reads: int = 40,
        max_read_bytes: int = 64 * 1024 * 1024,
        max_writes: int = 16,
        max_write_bytes: int = 32 * 1024 * 1024,
        failures: int = 3,
        probe_s: float = 1.0,
    ) -> None:
        self._client = client
        self._clock = clock
        self._prefix = f"smartedu:cache:2:{_without_braces(namespace)}:"
        self._shared_mark = shared_mark
        self._mark_of = mark_of
        self._max_value_bytes = max_value_bytes
        self._piece_bytes = piece_bytes
        self._deadline_s = deadline_s
        self._write_deadline_s = write_deadline_s
        self._read_places = asyncio.Semaphore(max_reads)
        self._max_read_bytes = max_read_bytes
        self._read_bytes = 0
        self._max_writes = max_writes
        self._max_write_bytes = max_write_bytes
        self._write_bytes = 0
        self._probe_s = probe_s
        self._line = RedisLine(client, clock, failures=failures, probe_s=probe_s)
        self._corrupt = self._incomplete = self._skipped = 0
        self._writes: set[asyncio.Task[None]] = set()
        self._latest: dict[str, asyncio.Task[None]] = {}  # by name
        self._watch: asyncio.Task[None] | None = None

    @property
    def healthy(self) -> bool:
        """Whether Redis is being used; of a cluster, a part of it."""
        return self._line.healthy

    @property
    def stats(self) -> SharedStats:
        """For metrics."""
        return SharedStats(self._corrupt, self._incomplete, self._line.errors, self._skipped)

    async def start(self) -> None:
        """Begin to watch Redis's health; returns after the first answer or deadline."""
        await self._line.probe(self._deadline_s)
        self._watch = begin(self._keep_probing(), "redis-tier-watch")

    async def close(self) -> None:
        """Stop watching and drop what is not written yet. The client stays open: it was handed in."""
        await end([*self._writes, *([self._watch] if self._watch is not None else [])])

    async def get(self, key: CacheKey) -> Stored | None:
        """The stored value, fresh or not; None when there is none or Redis is of no use now. Never raises."""
        name = self._name(key)
        if not self._line.usable(name):
            return None
        try:
            async with self._read_place():
                return await self._found(key, name)
        except (TimeoutError, NoAnswerError):
            return None

    @asynccontextmanager
    async def _read_place(self) -> AsyncIterator[None]:
        """One of the places for reading. TimeoutError: we are busy, which says nothing about Redis."""
        async with asyncio.timeout(self._deadline_s):
            await self._read_places.acquire()
        try:
            yield
        finally:
            self._read_places.release()

    async def lacks_any(self, keys: Sequence[CacheKey]) -> bool:
        """Whether there is nothing under one of the keys; also when Redis is of no use now. Never raises."""
        names: dict[object, list[str]] = {}
        for key in keys:
            name = self._name(key)
            names.setdefault(self._line.place(name), []).append(name)
        for group in names.values():
            if await self._lacks_any_of(group):
                return True
        return False

    async def _lacks_any_of(self, names: list[str]) -> bool:
        """The same of names that are in one place."""
        if not self._line.usable(names[0]):
            return True
        try:
            async with self._read_place():
                held: int = await self._line.asked(names[0], self._client.exists(*names), self._deadline_s)
                return held < len(names)
        except (TimeoutError, NoAnswerError):
            return True

    def put(self, key: CacheKey, value: Stored) -> bool:
        """Begin to write it, in the background; False when it is not worth it or too much is under way."""
        expiry_s = min(record.worth_keeping_s(value, self._clock.monotonic()), _MAX_EXPIRY_S)
        size = _body_bytes(value)
        mark = self._shared_mark(value.mark)
        if size > self._max_value_bytes or expiry_s < 1.0 or mark is None:
            return False
        name = self._name(key)
        full = self._write_bytes + size > self._max_write_bytes
        if full or not self._line.usable(name) or not self._line.may_write():
            self._skipped += 1
            return False
        return self._in_background(name, self._write(key, name, value, mark, expiry_s), size)

    async def remove(self, key: CacheKey) -> None:
        """Forget one value. Never raises."""
        name = self._name(key)
        if name in self._latest:
            await asyncio.wait([self._latest[name]])
        if self._line.usable(name):
            await self._drop(name)

    async def settled(self) -> None:
        """Wait until the writes that are under way have ended."""
        while self._writes:
            await asyncio.wait(self._writes)

    # Reading: ---------------------------------------------------------------------------------------------------------

    async def _found(self, key: CacheKey, name: str) -> Stored | None:
        data = await self._line.asked(name, self._client.get(name), self._deadline_s)
        if data is None:
            return None
        cover: Cover | None = None
        try:
            cover = record.cover(data)
            if cover.key != key:
                raise DamageError("another value's record")
            mark = self._mark_of(cover.mark)
            return None if mark is None else await self._whole(name, cover, data, mark)
        except DamageError as damage:
            self._note_damage(key, damage)
            self._in_background(name, self._drop_if(name, data, cover))
            return None

    async def _whole(self, name: str, cover: Cover, data: bytes, mark: int) -> Stored | None:
        size = cover.body_bytes
        if size > self._max_value_bytes or self._read_bytes + size > self._max_read_bytes:
            return None
        self._read_bytes += size
        try:
            further = await self._further(name, cover)
            work = partial(_assembled, cover, data, further, mark, self._clock)
            return await asyncio.to_thread(work) if size > _INLINE_BYTES else work()
        finally:
            self._read_bytes -= size

    async def _further(self, name: str, cover: Cover) -> list[bytes]:
        names = _further_names(name, cover.pieces, cover.body_bytes)
        pieces: list[bytes] = []
        for at in range(0, len(names), _AT_ONCE):
            answer = await self._line.asked(name, self._client.mget(names[at : at + _AT_ONCE]), self._deadline_s)
            if None in answer:
                raise _IncompleteError("a piece is gone")
            pieces += answer
        return pieces

    def _note_damage(self, key: CacheKey, damage: DamageError) -> None:
        if isinstance(damage, _IncompleteError):
            self._incomplete += 1  # a bounded Redis drops what it likes
            return
        self._corrupt += 1
        log.warning("a damaged value of redis is dropped: %s", damage, extra={"uri": key.uri})

    # Writing: ---------------------------------------------------------------------------------------------------------

    async def _write(self, key: CacheKey, name: str, value: Stored, mark: str, expiry_s: float) -> None:
        size = self._piece_bytes
        pieces = Pieces(secrets.token_hex(8), size) if _body_bytes(value) > size else None
        now, wall = self._clock.monotonic(), self._clock.wall()
        front, body = record.seal(key, value, mark=mark, now=now, wall=wall, pieces=pieces)
        first, *further = record.cut(body, size)
        names = _further_names(name, pieces, len(body))
        longer_ms = int((expiry_s + _LONGER_S) * 1000)
        for at in range(0, len(names), _AT_ONCE):
            some = zip(names[at : at + _AT_ONCE], further[at : at + _AT_ONCE], strict=True)
            self._line.accept(
                *await self._together(name, *(("SET", there, piece, "PX", longer_ms) for there, piece in some))
            )
        old, answer = await self._together(
            name,
            ("GETRANGE", name, 0, _FRONT_BYTES - 1),
            ("SET", name, b"".join((front, first)), "PX", int(expiry_s * 1000)),
        )
        self._line.accept(answer)
        await self._drop_further(name, old)

    async def _drop(self, name: str) -> None:
        """Take a value and its further pieces away."""
        try:
            old, _ = await self._together(name, ("GETRANGE", name, 0, _FRONT_BYTES - 1), ("UNLINK", name))
            await self._drop_further(name, old)
        except NoAnswerError:
            return

    async def _drop_if(self, name: str, data: bytes, cover: Cover | None) -> None:
        """Take a value away that began with `data`, unless another one has come into its place while it was read."""
        further = _further_names(name, cover.pieces, cover.body_bytes) if cover is not None else []
        start = data[: record.HEADER_BYTES]
        await self._together(name, ("EVAL", _DROP_IF, 1 + len(further), name, *further, start, len(start) - 1))

    async def _drop_further(self, name: str, old: object) -> None:
        """Take away the further pieces of the value that begins with `old`; what is not recognised expires."""
        if not isinstance(old, bytes):
            return
        try:
            cover = record.cover(old)
            names = _further_names(name, cover.pieces, cover.body_bytes)
        except DamageError:
            return
        if names:
            await self._together(name, ("UNLINK", *names))

    def _in_background(self, name: str, work: Coroutine[object, object, None], size: int = 0) -> bool:
        """Begin it, to be done after what was begun before on the same name."""
        if len(self._writes) >= self._max_writes:
            self._skipped += 1
            work.close()
            return False
        task = asyncio.create_task(self._after(self._latest.get(name), work), name="redis-tier-write")
        self._write_bytes += size
        self._writes.add(task)
        self._latest[name] = task
        task.add_done_callback(partial(self._ended, name, size, work))
        return True

    def _ended(self, name: str, size: int, work: Coroutine[object, object, None], task: asyncio.Task[None]) -> None:
        work.close()  # a task that is cancelled before its first step leaves it untouched
        self._write_bytes -= size
        self._writes.discard(task)
        if self._latest.get(name) is task:
            del self._latest[name]

    async def _after(self, earlier: asyncio.Task[None] | None, work: Coroutine[object, object, None]) -> None:
        try:
            if earlier is not None:
                await asyncio.wait([earlier])
            await work
        except NoAnswerError:
            return  # it has been counted
        except Exception:
            log.exception("a value could not be written to redis")

    async def _keep_probing(self) -> None:
        while True:
            await asyncio.sleep(self._probe_s)
            await self._line.probe(self._deadline_s)

    async def _together(self, name: str, *commands: tuple[Any, ...]) -> list[Any]:
        return await self._line.together(name, self._write_deadline_s, *commands)

    def _name(self, key: CacheKey) -> str:
        return f"{self._prefix}{{{_without_braces(key.uri)}#{key.part}}}"


def _assembled(cover: Cover, data: bytes, further: list[bytes], mark: int, clock: Clock) -> Stored:
    body = b"".join((data[cover.body_at :], *further)) if further else data[cover.body_at :]
    return cover.value(body, mark=mark, now=clock.monotonic(), wall=clock.wall())


def _further_names(name: str, pieces: Pieces | None, body_bytes: int) -> list[str]:
    if pieces is None:
        return []
    return [f"{name}:{pieces.token}:{number}" for number in range(1, 1 + pieces.beyond_first(body_bytes))]


def _body_bytes(value: Stored) -> int:
    return len(value.body) if isinstance(value, Entry) else 0


def _without_braces(text: str) -> str:
    return text.replace("{", "%7B").replace("}", "%7D")

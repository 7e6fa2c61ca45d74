"""Batches -> the province's Redis: one atomic, idempotent call each (`functions.lua` has the theory of operation).

Nothing here retries: after a failure nothing is known about the last call, and the watermark tells the caller at the
next one. That is why redis-py's own retries are switched off.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final, TypeAlias, cast

import orjson
from redis.exceptions import ResponseError

from edge import redis_clients
from edge.counters.tally import Batch, Entry, day_of
from edge.redis_clients import FAILURES, load_functions, together

_SOURCE: Final = files("edge.counters").joinpath("functions.lua").read_text("utf-8")
VERSION: Final = hashlib.sha256(_SOURCE.encode()).hexdigest()[:12]
LIBRARY: Final = f"smartedu_counts_{VERSION}"
_CODE: Final = f"#!lua name={LIBRARY}\n" + _SOURCE.replace("@VERSION@", VERSION)
_APPLY: Final = f"smartedu_apply_{VERSION}"
_MARK: Final = f"smartedu_mark_{VERSION}"
_CONNECTIONS: Final = 16
_CLUSTER_CONNECTIONS: Final = 256  # per node: nobody waits for one there, so that provinces may all want one at once
_PROOF_WAIT_S: Final = 2.5  # `appendfsync everysec` syncs within about two seconds


Client: TypeAlias = redis_clients.Client


class SinkError(Exception):
    """The province's Redis is away, too slow, or refuses; whether the last call was carried out is not known."""


@dataclass(frozen=True, slots=True)
class Applied:
    """The answer to one batch. moved: it was applied now; watermark: where the writer's journal is counted up to.

    duplicates: ids of the batch that had been accepted within 10 minutes elsewhere, or before, and were left out.
    mover: who moved the watermark last, in that batch's own words. in_history: events that were left out because the
    day they belong to is closed: history has them.
    """

    moved: bool
    watermark: int
    duplicates: int
    mover: str = ""
    in_history: int = 0


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
    return redis_clients.open_client(
        url,
        timeout_s=timeout_s,
        connections=_CONNECTIONS if "+cluster" not in url else _CLUSTER_CONNECTIONS,
        name="smartedu-counts",
        repeats=repeats,
        protocol=2,  # redis-py reads a long ranking six times as fast as with 3
    )


def province_prefix(province: str) -> str:
    """What all keys of a province begin with: its code as a hash tag, so that they share one slot of a cluster."""
    return "{" + province + "}"


@dataclass(slots=True)
class Calls:
    """How many commands were sent, whatever became of them."""

    sent: int = 0


class Sink:
    """The counting side of one province on one Redis. province: the two-digit code, which is also the hash slot.

    calls: counted together with those of the sinks beside it.
    """

    def __init__(self, client: Client, province: str, calls: Calls | None = None) -> None:
        self._client = client
        self.calls = calls or Calls()
        self._prefix = province_prefix(province)
        self._watermarks = self._prefix + ":watermarks"

    def beside(self, province: str) -> Sink:
        """The same of another province on the same Redis."""
        return Sink(self._client, province, self.calls)

    async def watermark(self, writer: str) -> int:
        """The journal position up to which the writer's events are counted; 0 for one never seen. Raises SinkError."""
        self.calls.sent += 1
        try:
            found = await cast("Awaitable[bytes | None]", self._client.hget(self._watermarks, writer))
        except FAILURES as error:
            raise SinkError(_describe(error)) from error
        return _position(found or b"0")

    async def apply(self, batch: Batch) -> Applied:
        """Add the batch up on the other side, if the watermark stands where the batch begins. Raises SinkError."""
        answer = await self._call(_APPLY, *_arguments(self._prefix, batch))
        moved, watermark, duplicates, in_history = cast("tuple[int, bytes, int, int]", answer)
        _, _, mover = watermark.partition(b" ")
        return Applied(bool(moved), _position(watermark), int(duplicates), mover.decode(), int(in_history))

    async def prove(self, writer: str) -> Proof:
        """Ask whether everything applied so far is on Redis's disk. May take some seconds. Raises SinkError."""
        watermark, synced = await self._mark(writer)
        if isinstance(watermark, ResponseError) and _is_missing(watermark):
            await self._install()
            watermark, synced = await self._mark(writer)
        if isinstance(watermark, Exception):
            raise SinkError(_describe(watermark)) from watermark
        if isinstance(synced, ResponseError):  # append-only file off, or a command this server does not know
            return Proof(_position(watermark), None)
        if isinstance(synced, Exception):
            raise SinkError(_describe(synced)) from synced
        return Proof(_position(watermark), synced[0] >= 1)

    async def close(self) -> None:
        await self._client.aclose()

    async def _mark(self, writer: str) -> list[Any]:
        self.calls.sent += 2
        try:
            return await together(
                self._client,
                self._watermarks,
                ("FCALL", _MARK, 1, self._watermarks, self._prefix, writer),
                ("WAITAOF", 1, 0, int(_PROOF_WAIT_S * 1000)),  # speaks of the writes of its own connection
            )
        except FAILURES as error:
            raise SinkError(_describe(error)) from error

    async def _install(self) -> None:
        self.calls.sent += 1
        try:
            await load_functions(self._client, _CODE, self._watermarks)
        except FAILURES as error:
            raise SinkError(_describe(error)) from error

    async def _call(self, function: str, *arguments: bytes | str | int) -> Any:
        try:
            try:
                return await self._fcall(function, arguments)
            except ResponseError as error:
                if not _is_missing(error):
                    raise
                await self._install()
                return await self._fcall(function, arguments)
        except FAILURES as error:
            raise SinkError(_describe(error)) from error

    async def _fcall(self, function: str, arguments: tuple[bytes | str | int, ...]) -> object:
        self.calls.sent += 1
        waiting = self._client.execute_command("FCALL", function, 1, self._watermarks, *arguments)
        return await cast("Awaitable[object]", waiting)


def _is_missing(error: ResponseError) -> bool:
    """Whether the library is not on this Redis."""
    return "function not found" in str(error).lower()


def _position(watermark: bytes) -> int:
    return int(watermark.partition(b" ")[0])


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _arguments(prefix: str, batch: Batch) -> list[bytes | str | int]:
    """In the order in which `apply` in functions.lua takes them. Few and long: each argument costs both sides time."""
    groups = [f"{g.kind} {g.minute} {day_of(g.minute)} {g.country} {g.agent} {len(g.cells)}\n" for g in batch.groups]
    cells = b"".join([b"%b %d\n" % cell for group in batch.groups for cell in group.cells])
    heads = b"".join([b"%b %b %d\n" % (a.day.encode(), a.resource, len(a.viewers) // 8) for a in batch.audiences])
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
        "".join(groups),
        cells,
        batch.ids,
        " ".join(map(str, batch.watched_ms)),
        heads,
        b"".join([a.viewers for a in batch.audiences]),
        orjson.dumps([_entry(entry) for entry in batch.corrections]) if batch.corrections else b"",
    ]


def _entry(entry: Entry) -> dict[str, object]:
    """What `add_corrections` in functions.lua needs to book it, and the entry itself, as it is kept."""
    one = entry.correction
    kept = {**one._asdict(), "kind": one.kind.name.lower(), "at": entry.at_ms}
    return {
        "id": one.id,
        "kind": int(one.kind),
        "minute": one.minute,
        "day": day_of(one.minute),
        "country": one.country,
        "resource": one.resource or "*",
        "amount": one.amount,
        "at": entry.at_ms,
        "entry": orjson.dumps(kept).decode(),
    }

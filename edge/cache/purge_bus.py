"""The purge bus: what one worker says to Redis about purges, and what it hears (`purge_bus.lua` has the theory).

Nothing here repeats a call. Every call may be repeated by its caller: a record published twice keeps its epoch, and
what was heard twice is known.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final, TypeVar, cast
from uuid import uuid4

from redis.exceptions import NoScriptError

from edge.cache.purge import PurgeRecord, decode, encode
from edge.cache.purge_receipt import Member, Remembered, Roster
from edge.redis_clients import FAILURES, Client, open_client

_SOURCE: Final = files("edge.cache").joinpath("purge_bus.lua").read_text("utf-8")
_DIGEST: Final = hashlib.sha1(_SOURCE.encode(), usedforsecurity=False).hexdigest()

DEFAULT_RECORDS: Final = 100_000
AT_ONCE: Final = 500
"""Records in one call."""
_CONNECTIONS: Final = 8

T = TypeVar("T")


class BusError(Exception):
    """Redis is away, too slow, or refuses; whether the last call was carried out is not known."""


@dataclass(frozen=True, slots=True)
class Hearing:
    """The answer to "what is new". entries: (epoch, record) after what was heard, when it is still the same bus.

    birth: epoch of the record, with the bus's own name as id, that only begins it. floor: epochs up to it are cut off.
    epoch: the last.
    """

    bus: str
    birth: int
    floor: int
    epoch: int
    entries: tuple[tuple[int, PurgeRecord], ...]


def connect(url: str, *, deadline_s: float = 1.0, block_s: float = 1.0) -> Client:
    """A client as the bus wants it: few connections, no retries, no wait that outlasts the deadline but the blocking
    one. On a cluster, the bus lies in one slot.
    """
    return open_client(
        url, timeout_s=deadline_s + block_s, connections=_CONNECTIONS, name="smartedu-purge", connect_s=deadline_s
    )


class PurgeBus:
    """One worker's end. Every method but `close` raises BusError.

    namespace: of the site; sites with other origins may share the server. deadline_s: of each call; block_s: how long
    `wait` waits. max_records: the bus holds no more; gone_s: a worker that has been silent for so long is not waited
    for any more; remember_s: a node is listed for so long after it was last seen.
    """

    def __init__(
        self,
        client: Client,
        *,
        namespace: str,
        node: str,
        slot: int,
        deadline_s: float = 1.0,
        block_s: float = 1.0,
        max_records: int = DEFAULT_RECORDS,
        gone_s: float = 35.0,  # longer than a worker may be stuck before it is replaced
        remember_s: float = 86_400.0,
    ) -> None:
        prefix = "{smartedu:purge:1:" + namespace + "}:"
        self._keys = [prefix + name for name in ("meta", "stream", "ids", "members", "nodes")]
        self._stream = self._keys[1]
        self._client = client
        self._who = (node, slot)
        self._deadline_s = deadline_s
        self._block_s = block_s
        self._max_records = max_records
        self.gone_s = gone_s
        self.remember_s = remember_s

    async def hear(
        self, bus: str, heard: int, heard_id: str, *, slots: Iterable[int] = (), limit: int = AT_ONCE
    ) -> Hearing:
        """Say what we know (and have applied), and hear what is new since. A bus that lost something is another one.

        slots: of the workers that this node has, as far as this one sees.
        """
        seen = ",".join(map(str, sorted({*slots, self._who[1]})))
        answer = await self._call("hear", uuid4().hex, bus, heard, heard_id, *self._who, seen, limit)
        name, birth, floor, epoch, entries = cast("list[Any]", answer)
        pairs = zip(entries[::2], entries[1::2], strict=True)
        try:
            heard_now = tuple((int(number), decode(payload)) for number, payload in pairs)
        except ValueError as error:
            raise BusError(f"the purge bus holds what is no purge: {error}") from error
        return Hearing(name.decode(), int(birth), int(floor), int(epoch), heard_now)

    async def publish(self, bus: str, records: Sequence[PurgeRecord]) -> list[int]:
        """The records' epochs (at most AT_ONCE of them); none when the bus is another one by now."""
        fields = [field for record in records for field in (record.id, encode(record))]
        answer = await self._call("publish", bus, self._max_records, *fields)
        return [int(epoch) for epoch in cast("list[bytes]", answer)]

    async def roster(self) -> Roster:
        """Who is on the bus now, and who was lately."""
        answer = await self._call("roster", int(self.gone_s * 1000), int(self.remember_s * 1000))
        bus, members, nodes = cast("list[Any]", answer)
        return Roster(
            bus.decode(),
            tuple(_member(*row) for row in members),
            tuple(Remembered(n.decode(), state == b"stopped", int(age) / 1000) for n, state, age in nodes),
        )

    async def leave(self) -> None:
        """This worker ends: nobody need wait for it."""
        await self._call("leave", *self._who)

    async def wait(self, heard: int) -> None:
        """Return when the bus may have more than that, or after `block_s`."""
        reading = self._client.xread({self._stream: f"{heard}-0"}, count=1, block=max(1, int(self._block_s * 1000)))
        await self._within(cast("Awaitable[object]", reading), self._deadline_s + self._block_s)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _call(self, name: str, *arguments: bytes | str | int) -> object:
        return await self._within(self._run(name, arguments), self._deadline_s)

    async def _run(self, name: str, arguments: tuple[bytes | str | int, ...]) -> object:
        count, given = len(self._keys), [*self._keys, name, *arguments]
        try:
            return await cast("Awaitable[object]", self._client.evalsha(_DIGEST, count, *given))
        except NoScriptError:
            return await cast("Awaitable[object]", self._client.eval(_SOURCE, count, *given))

    async def _within(self, work: Awaitable[T], deadline_s: float) -> T:
        try:
            async with asyncio.timeout(deadline_s):
                return await work
        except FAILURES as error:
            raise BusError(f"{type(error).__name__}: {error}") from error


def _member(name: bytes, said: bytes, age_ms: bytes) -> Member:
    node, _, slot = name.decode().rpartition("/")
    epoch, _, slots = said.decode().partition(":")
    return Member(node, int(slot), int(epoch), frozenset(map(int, slots.split(","))), int(age_ms) / 1000)

"""The other workers of this node: who owns a key, and how to ask them.

Every worker listens on `{run_dir}/worker-{slot}.sock`. For each key, rendezvous hashing over the live slots names one
owner; a worker that misses asks the owner, and only the owner asks the origin. So a node makes one origin request per
cold key, with no lock and no shared store. Two workers may disagree for a moment about who lives: that costs an extra
fill.

Liveness: a socket file counts as a live worker until a connection to it fails; then it is left out until the file is
another one (a successor bound it) or `retry_s` have passed.

The answer to a sibling is a stored response with what HTTP's fields cannot carry exactly (`Answer`) in one field line
of JSON; its body is the stored body, as it grows.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from hashlib import blake2b
from pathlib import Path

import orjson

from edge.cache import packed
from edge.cache.model import CacheKey, Forward, Head, Pass
from edge.clock import Clock
from edge.tasks import begin, end
from origin.reader import ObjectReader, OriginError, OriginFailure, ReadResponse

log = logging.getLogger(__name__)

FIELD = "x-edge-entry"
"""The response field, on sibling sockets only, that carries an `Answer`."""

_SOCKET_NAME = re.compile(r"worker-([0-9]{1,4})\.sock")


class Answered(Enum):
    """What a sibling's answer holds."""

    ENTRY = "entry"  # a head, and the body follows
    SAME = "same"  # a head; the asker's own body is still the right one
    PASS = "pass"  # noqa: S105 - no password: not to be shared, ask the origin yourself
    ERROR = "error"  # the origin failed


@dataclass(frozen=True, slots=True)
class Answer:
    """One worker's answer to another. forward: None when it was a hit there."""

    kind: Answered
    head: Head | None = None
    forward: Forward | None = None
    forward_status: int | None = None
    marker: Pass | None = None
    error: OriginError | None = None


def encode(answer: Answer, *, now: float) -> str:
    """The field value for an answer given at `now` (monotonic)."""
    head = answer.head or (answer.marker.head if answer.marker else None)
    return orjson.dumps(
        {
            "kind": answer.kind.value,
            "head": packed.pack(head, age_s=head.age_s(now)) if head is not None else None,
            "forward": answer.forward.value if answer.forward else None,
            "forward_status": answer.forward_status,
            "pass": [answer.marker.reason, answer.marker.until - now] if answer.marker else None,
            "error": [answer.error.failure.value, answer.error.detail] if answer.error else None,
        }
    ).decode("utf-8")


def decode(response: ReadResponse, *, now: float) -> Answer:
    """The answer in a sibling's response, read at `now`; OriginError when there is none that makes sense."""
    try:
        said = packed.loads(response.field(FIELD) or "")
        head = packed.unpack(said["head"], now=now) if said["head"] else None
        kind = Answered(said["kind"])
        return Answer(
            kind=kind,
            head=head if kind in (Answered.ENTRY, Answered.SAME) else None,
            forward=Forward(said["forward"]) if said["forward"] else None,
            forward_status=said["forward_status"],
            marker=Pass(str(said["pass"][0]), now + float(said["pass"][1]), head) if said["pass"] else None,
            error=OriginError(OriginFailure(said["error"][0]), str(said["error"][1])) if said["error"] else None,
        )
    except (ValueError, KeyError, TypeError) as error:
        raise OriginError(OriginFailure.PROTOCOL, "a sibling worker's answer makes no sense") from error


@dataclass(frozen=True, slots=True)
class _Socket:
    """A socket file as it was seen; another identity is another worker."""

    path: Path
    identity: tuple[int, int]


class Siblings:
    """connect: makes the reader for a sibling's socket. scan_s: seconds between two looks at the directory."""

    def __init__(
        self,
        *,
        run_dir: Path,
        own_slot: int,
        connect: Callable[[Path], ObjectReader],
        clock: Clock,
        scan_s: float = 0.2,
        retry_s: float = 2.0,
    ) -> None:
        self._run_dir = run_dir
        self._own_slot = own_slot
        self._connect = connect
        self._clock = clock
        self._scan_s = scan_s
        self._retry_s = retry_s
        self._sockets: dict[int, _Socket] = {}
        self._dead: dict[int, tuple[_Socket, float]] = {}
        self._readers: dict[int, tuple[_Socket, ObjectReader]] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Look at the directory once, then go on looking."""
        await self.rescan()
        self._task = begin(self._keep_scanning(), "siblings-scan")

    async def close(self) -> None:
        """Stop looking and close all connections."""
        if self._task is not None:
            await end([self._task])
        for _, reader in self._readers.values():
            await reader.close()

    @property
    def live(self) -> list[int]:
        """Slots of the workers believed to live, our own included."""
        now = self._clock.monotonic()
        return sorted({self._own_slot} | {slot for slot in self._sockets if not self._is_dead(slot, now)})

    def owner(self, key: CacheKey) -> int | None:
        """The slot of the sibling that owns the key; None when we do."""
        live = self.live
        if len(live) == 1:
            return None
        owner = max(live, key=lambda slot: (_weight(slot, key), slot))
        return None if owner == self._own_slot else owner

    def reader(self, slot: int) -> ObjectReader | None:
        """The reader for a sibling; None when it has just gone."""
        socket = self._sockets.get(slot)
        if socket is None:
            return None
        known = self._readers.get(slot)
        if known is None or known[0] != socket:
            known = self._readers[slot] = (socket, self._connect(socket.path))
        return known[1]

    def failed(self, slot: int) -> None:
        """A connection to that sibling failed: leave it out until it is another one, or some time has passed."""
        socket = self._sockets.get(slot)
        if socket is not None:
            self._dead[slot] = (socket, self._clock.monotonic() + self._retry_s)

    async def rescan(self) -> None:
        """Look at the directory now."""
        before = self.live
        self._sockets = await asyncio.to_thread(_sockets_in, self._run_dir, self._own_slot)
        now = self._clock.monotonic()
        self._dead = {slot: dead for slot, dead in self._dead.items() if self._is_dead(slot, now)}
        for slot in [slot for slot, (socket, _) in self._readers.items() if self._sockets.get(slot) != socket]:
            _, reader = self._readers.pop(slot)
            await reader.close()
        if self.live != before:
            log.info("live workers of this node: %s", ", ".join(map(str, self.live)))

    def _is_dead(self, slot: int, now: float) -> bool:
        dead = self._dead.get(slot)
        return dead is not None and dead[0] == self._sockets.get(slot) and now < dead[1]

    async def _keep_scanning(self) -> None:
        while True:
            await asyncio.sleep(self._scan_s)
            await self.rescan()


def _weight(slot: int, key: CacheKey) -> bytes:
    return blake2b(f"{slot}\n{key.path}".encode("utf-8", "surrogateescape"), digest_size=8).digest()


def _sockets_in(run_dir: Path, own_slot: int) -> dict[int, _Socket]:
    found: dict[int, _Socket] = {}
    with contextlib.suppress(FileNotFoundError):
        for path in run_dir.iterdir():
            match = _SOCKET_NAME.fullmatch(path.name)
            if match is None or int(match[1]) == own_slot:
                continue
            with contextlib.suppress(FileNotFoundError):
                stat = path.stat()
                found[int(match[1])] = _Socket(path, (stat.st_ino, stat.st_mtime_ns))
    return found

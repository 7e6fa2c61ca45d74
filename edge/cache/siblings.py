"""The other workers of this node: who owns a key, and how to ask them.

Every worker listens on `{run_dir}/worker-{slot}.{fingerprint}.sock`. For each key, rendezvous hashing over the live
slots names one owner; a worker that misses asks the owner, and only the owner asks the origin. So a node makes one
origin request per cold key, with no lock and no shared store. Two workers may disagree for a moment about who lives:
that costs an extra fill.

During a reload the old workers may have other settings than the new, another origin even. Nobody asks a worker whose
settings have another fingerprint for an answer; a purge goes to all.

Liveness: a socket file counts as a live worker until a connection to it fails; then it is left out until the file is
another one (a successor bound it) or `retry_s` have passed.

A question to a sibling is the client's request with what the asker knows (`Question`), the answer a stored response
with what HTTP's fields cannot carry exactly (`Answer`), each in one field line of JSON; the body is the stored body, as
it grows.
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
from typing import Protocol

import orjson

from edge.cache import packed
from edge.cache.directives import NO_DIRECTIVES, RequestDirectives
from edge.cache.model import CacheKey, Forward, Head, Layout, Pass
from edge.clock import Clock
from edge.tasks import begin, end
from origin.reader import Headers, ObjectReader, OriginError, OriginFailure, ReadResponse

log = logging.getLogger(__name__)

QUESTION = "x-edge-question"
"""The request field, on sibling sockets only, that carries a `Question`."""
ANSWER = "x-edge-answer"
"""The response field, on sibling sockets only, that carries an `Answer`."""
MAX_FIELD_BYTES = 512 * 1024
"""Of either field: a client's whole header section travels in one."""

_SOCKET_NAME = re.compile(r"worker-([0-9]{1,4})\.(?:([0-9a-f]+)\.)?sock")


def socket_name(slot: int, fingerprint: str = "") -> str:
    """Of the file of a worker's socket. fingerprint: of its settings, hexadecimal digits, or nothing."""
    return ".".join(part for part in (f"worker-{slot}", fingerprint, "sock") if part)


def clear_slot(run_dir: Path, slot: int) -> None:
    """Called by who holds the slot now: the socket of one who was killed in it would stand beside the new one."""
    for path in run_dir.glob(f"worker-{slot}.*"):
        path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class WantedBlock:
    """One block of a large object. number: counted from 0; layout: what it must belong to."""

    number: int
    layout: Layout


@dataclass(frozen=True, slots=True)
class Question:
    """What one worker asks another. directives: those of the client's that bound the age of what it takes.

    known_etag: of what the asker holds, no longer fresh.
    """

    headers: Headers = ()
    authorized: bool = False
    byte_range: str | None = None
    directives: RequestDirectives = NO_DIRECTIVES
    known_etag: str | None = None
    block: WantedBlock | None = None


class Answered(Enum):
    """What a sibling's answer holds."""

    ENTRY = "entry"  # a head, and the body follows
    SAME = "same"  # a head; the asker's own body is still the right one
    LAYOUT = "layout"  # the head of a large object; its blocks are to be asked for
    PASS = "pass"  # noqa: S105 - no password: not to be shared; with a head, its body follows for this asker alone
    CHANGED = "changed"  # the block's object is another one now
    ERROR = "error"  # the origin failed


@dataclass(frozen=True, slots=True)
class Answer:
    """One worker's answer to another. forward: None when it was a hit there; part: of the URI, where it is kept.

    position: of the purges that the answering worker had applied before it looked for the response, or asked for it.
    """

    kind: Answered
    head: Head | None = None
    forward: Forward | None = None
    forward_status: int | None = None
    marker: Pass | None = None
    error: OriginError | None = None
    block_bytes: int = 0
    part: str = ""
    stored: bool = True
    position: int = 0


def ask(question: Question, *, now: float) -> str:
    """The field value for a question asked at `now` (monotonic)."""
    block = question.block
    return orjson.dumps(
        {
            "headers": packed.written(question.headers),
            "authorized": question.authorized,
            "range": packed.text(question.byte_range) if question.byte_range else None,
            "bounds": _bounds(question.directives),
            "known": question.known_etag,
            "block": None
            if block is None
            else {
                "number": block.number,
                "bytes": block.layout.block_bytes,
                "head": packed.pack(block.layout.head, age_s=block.layout.head.age_s(now)),
            },
        }
    ).decode("utf-8")


def asked(field: str, *, now: float) -> Question:
    """The question in a field value, read at `now`; ValueError when it makes no sense."""
    try:
        said = packed.loads(field)
        block = said["block"]
        return Question(
            headers=packed.read(said["headers"]),
            authorized=bool(said["authorized"]),
            byte_range=packed.untext(said["range"]) if said["range"] else None,
            directives=_directives(*said["bounds"]),
            known_etag=said["known"],
            block=None
            if block is None
            else WantedBlock(int(block["number"]), Layout(packed.unpack(block["head"], now=now), int(block["bytes"]))),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("not a sibling's question") from error


def _bounds(directives: RequestDirectives) -> list[object]:
    return [directives.no_cache, directives.max_age_s, directives.min_fresh_s]


def _directives(no_cache: bool, max_age_s: float | None, min_fresh_s: float | None) -> RequestDirectives:
    said = RequestDirectives(max_age_s=max_age_s, min_fresh_s=min_fresh_s, no_cache=no_cache)
    return NO_DIRECTIVES if said == NO_DIRECTIVES else said


def encode(answer: Answer, *, now: float) -> str:
    """The field value for an answer given at `now` (monotonic)."""
    head = answer.head or (answer.marker.head if answer.marker else None)
    return orjson.dumps(
        {
            "kind": answer.kind.value,
            "head": packed.pack(head, age_s=head.age_s(now)) if head is not None else None,
            "open": answer.head is not None,
            "forward": answer.forward.value if answer.forward else None,
            "forward_status": answer.forward_status,
            "pass": [answer.marker.reason, answer.marker.until - now] if answer.marker else None,
            "error": _packed(answer.error) if answer.error else None,
            "received": answer.error.received if answer.error else None,
            "block_bytes": answer.block_bytes,
            "part": answer.part,
            "stored": answer.stored,
            "position": answer.position,
        }
    ).decode("utf-8")


def decode(response: ReadResponse, *, now: float) -> Answer:
    """The answer in a sibling's response, read at `now`; OriginError when there is none that makes sense."""
    try:
        said = packed.loads(response.field(ANSWER) or "")
        head = packed.unpack(said["head"], now=now) if said["head"] else None
        marked = said["pass"]
        return Answer(
            kind=Answered(said["kind"]),
            head=head if said["open"] else None,
            forward=Forward(said["forward"]) if said["forward"] else None,
            forward_status=said["forward_status"],
            marker=Pass(str(marked[0]), now + float(marked[1]), None if said["open"] else head) if marked else None,
            error=_error(*said["error"], received=said.get("received")) if said["error"] else None,
            block_bytes=int(said["block_bytes"]),
            part=str(said["part"]),
            stored=bool(said["stored"]),
            position=int(said["position"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise OriginError(OriginFailure.PROTOCOL, "a sibling worker's answer makes no sense") from error


def _packed(error: OriginError) -> list[object]:
    return [error.failure.value, error.detail, error.status, error.retry_after_s]


def _error(failure: str, detail: str, status: int, retry_after_s: float | None, *, received: int | None) -> OriginError:
    """What `_packed` made of one. ValueError or TypeError for anything else."""
    return OriginError(
        OriginFailure(failure),
        str(detail),
        status=int(status),
        retry_after_s=None if retry_after_s is None else float(retry_after_s),
        received=None if received is None else int(received),
    )


class SiblingReader(ObjectReader, Protocol):
    """What reads from a sibling."""

    def retire(self) -> None:
        """Begin nothing new; what is under way comes to its end."""


@dataclass(frozen=True, slots=True)
class _Socket:
    """A socket file as it was seen; another identity is another worker."""

    path: Path
    fingerprint: str
    identity: tuple[int, int]


class Siblings:
    """connect: makes the reader for a sibling's socket. scan_s: seconds between two looks at the directory.

    fingerprint: of our settings.
    """

    def __init__(
        self,
        *,
        run_dir: Path,
        own_slot: int,
        connect: Callable[[Path], SiblingReader],
        clock: Clock,
        fingerprint: str = "",
        scan_s: float = 0.2,
        retry_s: float = 2.0,
    ) -> None:
        self._run_dir = run_dir
        self._own_slot = own_slot
        self._connect = connect
        self._clock = clock
        self._fingerprint = fingerprint
        self._scan_s = scan_s
        self._retry_s = retry_s
        self._sockets: dict[int, _Socket] = {}
        self._dead: dict[int, tuple[_Socket, float]] = {}
        self._readers: dict[int, tuple[_Socket, SiblingReader]] = {}
        self._scan = asyncio.Lock()  # one look at a time: who purges looks, too
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
        """Slots of the workers believed to live that have our settings, our own included."""
        now = self._clock.monotonic()
        alike = {slot for slot, one in self._sockets.items() if one.fingerprint == self._fingerprint}
        return sorted({self._own_slot} | {slot for slot in alike if not self._is_dead(slot, now)})

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
        async with self._scan:
            await self._look()

    async def _look(self) -> None:
        before = self.live
        self._sockets = await asyncio.to_thread(_sockets_in, self._run_dir, self._own_slot)
        now = self._clock.monotonic()
        self._dead = {slot: dead for slot, dead in self._dead.items() if self._is_dead(slot, now)}
        for slot in [slot for slot, (socket, _) in self._readers.items() if self._sockets.get(slot) != socket]:
            _, reader = self._readers.pop(slot)
            reader.retire()  # it may only have stopped listening, and be sending us something still
        if self.live != before:
            log.info("live workers of this node: %s", ", ".join(map(str, self.live)))

    @property
    def slots(self) -> list[int]:
        """Slots of all workers of this node that had a socket a moment ago, our own included."""
        return sorted({self._own_slot, *self._sockets})

    async def present(self) -> list[int]:
        """Slots of all other workers that have a socket at this moment, whether or not they answered lately."""
        await self.rescan()
        return sorted(self._sockets)

    def _is_dead(self, slot: int, now: float) -> bool:
        dead = self._dead.get(slot)
        return dead is not None and dead[0] == self._sockets.get(slot) and now < dead[1]

    async def _keep_scanning(self) -> None:
        while True:
            await asyncio.sleep(self._scan_s)
            await self.rescan()


def _weight(slot: int, key: CacheKey) -> bytes:
    # Variants go where their URI goes: which part a request belongs to is not known to all workers at the same time.
    name = key.uri + key.part if key.part.startswith("b:") else key.uri
    return blake2b(f"{slot}\n{name}".encode("utf-8", "surrogateescape"), digest_size=8).digest()


def _sockets_in(run_dir: Path, own_slot: int) -> dict[int, _Socket]:
    found: dict[int, _Socket] = {}
    with contextlib.suppress(FileNotFoundError):
        for path in run_dir.iterdir():
            match = _SOCKET_NAME.fullmatch(path.name)
            if match is None or int(match[1]) == own_slot:
                continue
            with contextlib.suppress(FileNotFoundError):
                stat = path.stat()
                found[int(match[1])] = _Socket(path, match[2] or "", (stat.st_ino, stat.st_mtime_ns))
    return found

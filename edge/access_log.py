"""The access log: one line of JSON per request of content, written by a thread so that a slow disk holds up nobody.

Whoever answers a request makes the line and puts it into a queue; one thread per worker writes what has come together,
about ten times a second. The queue is bounded in bytes: what does not fit is dropped and counted. The workers of a node
append whole lines to the same file, which the kernel does in one piece; a file that was renamed away (logrotate) is
found out before the next write and made anew, no signal needed.

What must not be told is not told: of the query only the values of parameters that are listed (names of objects, not
secrets), no credentials, and of content keys nothing at all.
"""

from __future__ import annotations

import logging
import os
import random
import re
import secrets
import stat
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from itertools import count
from pathlib import Path
from select import PIPE_BUF

import orjson

from edge.cache.model import Outcome
from edge.cache.status import word

log = logging.getLogger(__name__)

STDOUT = "-"
QUEUE_BYTES = 4 * 1024 * 1024
GATHER_S = 0.1
CLOSE_WITHIN_S = 2.0

_BATCH_BYTES = 256 * 1024
_HIDDEN = "*"
_MAX_URI = 2048
_MAX_AGENT = 256
_MAX_FIELD = 128
_KEYS = re.compile(r"/+keys(?:/|\Z)", re.IGNORECASE)
_AUTHORITY = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?]*")


class End(Enum):
    """How the sending of a body ended."""

    WHOLE = "whole"
    CUT = "cut"  # the client left, or took nothing any more
    BROKEN = "broken"  # the origin broke off


@dataclass(frozen=True, slots=True)
class Line:
    """What is said of one request. bytes: of the body, as handed to the connection. outcome None: it was cut before.

    status None: before there was one. uri: the canonical target, or the raw one of a request that has none.
    request_id: the client's own, one is made where there is none.
    """

    client: str
    method: str
    uri: str
    status: int | None
    bytes: int
    end: End
    duration_s: float
    first_byte_s: float | None
    route: str
    outcome: Outcome | None
    age_s: int | None = None
    byte_range: str | None = None
    user_agent: str | None = None
    request_id: str | None = None


def check(path: str) -> None:
    """Whether the file can be opened, or made, for lines to be appended. Raises OSError.

    A pipe is left alone: whoever reads it would take our closing it for the end.
    """
    if path != STDOUT and not Path(path).is_fifo():
        os.close(_open(path))


class AccessLog:
    """path: a file, or `-` for standard output. sample: share of the requests that are logged, beside all failed ones.

    shown: names of the query parameters whose values may be told. max_bytes: of lines waiting for the thread.
    Raises OSError when the file cannot be opened.
    """

    def __init__(
        self,
        path: str,
        *,
        node: str,
        slot: int,
        sample: float = 1.0,
        shown: Iterable[str] = (),
        max_bytes: int = QUEUE_BYTES,
        wall: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._node = node
        self._slot = slot
        self._sample = sample
        self._shown = frozenset(shown)
        self._wall = wall
        self._chance = chance
        self._ids = (f"{secrets.token_hex(4)}-{number:x}" for number in count())
        self._queue = _Queue(_Output(path), max_bytes)

    @property
    def written(self) -> int:
        """Lines written so far."""
        return self._queue.written

    @property
    def dropped(self) -> int:
        """Lines lost so far."""
        return self._queue.refused + self._queue.lost

    def start(self) -> None:
        """Begin to write."""
        self._queue.start()

    def close(self, within_s: float = CLOSE_WITHIN_S) -> None:
        """Write what is waiting, as far as it goes in that time. Blocks: for a thread, or for the end."""
        self._queue.close(within_s)

    def share(self, *, failed: bool) -> float:
        """The share of such requests that a line about this one stands for; 0: it is not to be logged."""
        if failed or self._sample >= 1:
            return 1.0
        return self._sample if self._chance() < self._sample else 0.0

    def request(self, line: Line, share: float = 1.0) -> None:
        """Log one request, without waiting for anything. Nothing is said of requests for content keys."""
        target = _AUTHORITY.sub("", line.uri, count=1)
        if _KEYS.match(target) is None:
            self._queue.put(_encoded(self._members(line, self._told(target), share)))

    def _members(self, line: Line, uri: str, share: float) -> dict[str, object]:
        outcome = line.outcome
        forward = outcome.forward if outcome is not None else None
        error = outcome.error if outcome is not None else None
        return {
            "time": datetime.fromtimestamp(self._wall(), UTC),
            "node": self._node,
            "slot": self._slot,
            "request_id": _cut(line.request_id, _MAX_FIELD) or next(self._ids),
            "client": line.client,
            "method": _cut(line.method, _MAX_FIELD),
            "uri": uri,
            "status": line.status,
            "bytes": line.bytes,
            "end": line.end.value,
            "duration_s": round(line.duration_s, 6),
            "first_byte_s": None if line.first_byte_s is None else round(line.first_byte_s, 6),
            "route": line.route,
            "outcome": "cut" if outcome is None else word(outcome),
            "tier": None if outcome is None else outcome.tier.value,
            "fwd": None if forward is None else forward.value,
            "fwd_status": None if outcome is None else outcome.forward_status,
            "stored": outcome is not None and outcome.stored,
            "collapsed": outcome is not None and outcome.collapsed,
            "age_s": line.age_s,
            "ttl_s": None if outcome is None else outcome.ttl_s,
            "error": None if error is None else error.failure.value,
            "range": _cut(line.byte_range, _MAX_FIELD),
            "user_agent": _cut(line.user_agent, _MAX_AGENT),
            "sample": share,
        }

    def _told(self, target: str) -> str:
        path, mark, query = target.partition("?")
        if mark:
            path += "?" + "&".join(map(self._parameter, query.split("&")))
        return path[:_MAX_URI]

    def _parameter(self, parameter: str) -> str:
        """The parameter as it may be told; one without a value may be a secret itself."""
        name, equals, _ = parameter.partition("=")
        if name in self._shown or not parameter:
            return parameter
        return f"{name[:_MAX_FIELD]}={_HIDDEN}" if equals else _HIDDEN


def _cut(text: str | None, length: int) -> str | None:
    return None if text is None else text[:length]


def _encoded(members: dict[str, object]) -> bytes:
    try:
        return orjson.dumps(members, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError:  # bytes of a field that are no UTF-8, kept by the parser as lone surrogates
        sound = {name: _sound(value) if isinstance(value, str) else value for name, value in members.items()}
        return orjson.dumps(sound, option=orjson.OPT_APPEND_NEWLINE)


def _sound(text: str) -> str:
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


class _Queue:
    """Lines on their way from the loop to the file. Each number is changed by one side only, so no lock is needed."""

    def __init__(self, output: _Output, max_bytes: int) -> None:
        self._output = output
        self._max_bytes = max_bytes
        self._lines: deque[bytes] = deque()
        self._put_bytes = 0  # by the loop
        self._taken_bytes = 0  # by the thread
        self.refused = 0  # by the loop
        self.lost = 0  # by the thread
        self.written = 0  # by the thread
        self._failing = False
        self._something = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, line: bytes) -> None:
        if self._put_bytes - self._taken_bytes + len(line) > self._max_bytes:
            self.refused += 1
            return
        self._put_bytes += len(line)
        self._lines.append(line)
        if not self._something.is_set():
            self._something.set()

    def close(self, within_s: float) -> None:
        self._closing.set()
        self._something.set()
        if self._thread.is_alive():
            self._thread.join(within_s)
        if not self._thread.is_alive():
            self._output.close()

    def _run(self) -> None:
        while not self._closing.is_set() or self._lines:
            self._something.wait()
            self._closing.wait(GATHER_S)  # more lines come meanwhile, to be written in one go
            self._something.clear()
            while batch := self._take():
                self._write(batch)

    def _take(self) -> list[bytes]:
        """As many lines as the output takes in one piece, at least one if there are any."""
        batch: list[bytes] = []
        size = 0
        while self._lines and (not batch or size + len(self._lines[0]) <= self._output.piece_bytes):
            batch.append(self._lines.popleft())
            size += len(batch[-1])
        self._taken_bytes += size
        return batch

    def _write(self, batch: list[bytes]) -> None:
        try:
            self._output.write(batch)
        except OSError as error:
            self.lost += len(batch)
            if not self._failing:
                log.warning("the access log cannot be written, lines are dropped: %s", error)
            self._failing = True
            return
        self.written += len(batch)
        if self._failing:
            log.warning("the access log is written again")
        self._failing = False


class _Output:
    """A file that others may rename, or a pipe that others write to as well.

    piece_bytes: up to here the kernel writes in one piece whoever else writes, which for files is our own choice.
    """

    def __init__(self, path: str) -> None:
        self._path = None if path == STDOUT else path
        self._descriptor = sys.stdout.fileno() if self._path is None else _open(self._path)
        self._torn = False  # the last line there is was written in part
        is_pipe = stat.S_ISFIFO(os.fstat(self._descriptor).st_mode)
        self.piece_bytes = PIPE_BUF if is_pipe else _BATCH_BYTES

    def write(self, lines: list[bytes]) -> None:
        """Write whole lines, in one piece. Raises OSError; a part of them may have been written then."""
        self._follow()
        data = b"".join([b"\n", *lines] if self._torn else lines)
        done = 0
        while done < len(data):
            done += os.write(self._descriptor, data[done:])
            self._torn = done < len(data)

    def close(self) -> None:
        if self._path is not None:
            os.close(self._descriptor)

    def _follow(self) -> None:
        """To a new file where the path leads to another one than ours."""
        if self._path is None:
            return
        ours = os.fstat(self._descriptor)
        try:
            there = os.stat(self._path)  # noqa: PTH116 - compared with fstat
            moved = (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino)
        except FileNotFoundError:
            moved = True
        if moved:
            fresh = _open(self._path)
            os.close(self._descriptor)
            self._descriptor = fresh


def _open(path: str) -> int:
    # A FIFO that nobody reads is an error, and not a reason to wait for ever.
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o640)
    os.set_blocking(descriptor, True)
    return descriptor

"""Origin stream -> growing body that everyone reads -> verified whole.

The fill takes bytes as fast as the origin gives them; every reader follows at its own pace over the same shared chunks,
so a slow client holds up nobody, and memory grows with the object, not with the clients. `FillBudget` bounds all fills
together.

A body that turns out too large to be kept (its length was not declared) goes on *unkept*: what every reader has seen is
let go, and the origin is read no faster than its slowest reader follows within a window. That is the one case in which
readers depend on each other.

Where a digest is declared, the piece that would complete the body is held back until the whole is verified: a client of
a body that turns out wrong sees a broken connection, never a complete wrong body.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress

from edge.cache.model import Head
from edge.cache.ranges import Part
from origin.reader import OriginError, OriginFailure

_FIRST_READER_S = 5.0
_SHA256 = re.compile(r"(?:^|,)\s*sha-256\s*=\s*:([A-Za-z0-9+/]{43}=):")


class OvertakenError(Exception):
    """The body goes on unkept, and its beginning is gone: who comes now has to ask for himself."""


class GrowingBody:
    """A body while it arrives. One writer, any number of readers.

    window: bytes that an unkept body holds for readers behind the fastest.
    """

    def __init__(self, *, window: int = 1024 * 1024) -> None:
        self.window = window
        self._chunks: list[bytes] = []
        self._dropped = 0  # chunks let go, and how many bytes they had
        self._dropped_bytes = 0
        self._size = 0
        self._whole: bytes | None = None
        self._ended = False
        self._error: OriginError | None = None
        self._readers: set[_Position] = set()
        self._read_ever = False
        self._grown = asyncio.Event()
        self._read_on = asyncio.Event()

    def append(self, chunk: bytes) -> None:
        """More of it has arrived."""
        self._chunks.append(chunk)
        self._size += len(chunk)
        self._wake()

    async def append_unkept(self, chunk: bytes) -> bool:
        """More of a body that is not kept has arrived: wait until it fits the window. False: nobody reads any more."""
        self.append(chunk)
        await self._first_reader()
        while True:
            self._drop_seen()
            if not self._readers:
                return False
            if self._size - self._dropped_bytes <= self.window:
                return True
            await self._read_on.wait()

    async def _first_reader(self) -> None:
        """Who was promised the body at the landing may not have come to the point of reading yet."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_READER_S):
                while not self._read_ever:
                    await self._read_on.wait()

    def finish(self, whole: bytes | None) -> None:
        """It is complete and verified. With the whole in hand the chunks are let go: all read on in that."""
        self._ended = True
        if whole is not None:
            self._whole = whole
            self._chunks = []
        self._wake()

    def fail(self, error: OriginError) -> None:
        """No more will come. Who has read all there is gets the error."""
        if not self._ended:
            self._error = error
            self._wake()

    def read(self, part: Part | None = None) -> Reading:
        """The body, or a part of it, as it arrives; raises OriginError where it breaks off, OvertakenError at once."""
        if self._dropped:
            raise OvertakenError
        position = _Position(part.first if part is not None else 0)
        self._readers.add(position)
        self._read_ever = True
        self._advanced()
        return Reading(self, position, None if part is None else part.last + 1)

    def leave(self, reader: _Position) -> None:
        """A reader has gone."""
        self._readers.discard(reader)
        self._advanced()

    async def pieces(self, at: _Position, end: int | None) -> AsyncGenerator[bytes | memoryview, None]:
        """What a reader at that position gets, up to the offset `end`."""
        offset = 0  # of the next chunk
        while end is None or at.offset < end:
            # Looked at anew after every yield and wait: meanwhile the chunks may have given way to the whole.
            if self._whole is not None:
                if at.offset < len(self._whole):
                    yield memoryview(self._whole)[at.offset : end]
                return
            if at.index - self._dropped < len(self._chunks):
                chunk = self._chunks[at.index - self._dropped]
                begin, offset = offset, offset + len(chunk)
                at.index += 1
                if offset > at.offset:
                    piece = memoryview(chunk)[at.offset - begin : None if end is None else end - begin]
                    at.offset += len(piece)
                    yield piece
                self._advanced()
            elif self._error is not None:
                raise self._error.again()
            elif self._ended:
                return
            else:
                await self._grown.wait()

    def _drop_seen(self) -> None:
        seen = min((reader.index for reader in self._readers), default=self._dropped + len(self._chunks))
        gone = self._chunks[: seen - self._dropped]
        if gone:
            self._dropped += len(gone)
            self._dropped_bytes += sum(map(len, gone))
            del self._chunks[: len(gone)]

    def _wake(self) -> None:
        # A new event per growth: waiting for "more than I have seen" needs no lock and no list of waiters.
        self._grown.set()
        self._grown = asyncio.Event()

    def _advanced(self) -> None:
        self._read_on.set()
        self._read_on = asyncio.Event()


class _Position:
    """Where a reader stands: in bytes, and at which chunk (counted from the first ever)."""

    __slots__ = ("index", "offset")

    def __init__(self, offset: int) -> None:
        self.offset = offset
        self.index = 0


class Reading:
    """One reader's way through a growing body. Close it, also when it was never begun: others may wait for it."""

    def __init__(self, body: GrowingBody, position: _Position, end: int | None) -> None:
        self._body = body
        self._position = position
        self._pieces = body.pieces(position, end)

    def __aiter__(self) -> Reading:
        return self

    async def __anext__(self) -> bytes | memoryview:
        try:
            return await anext(self._pieces)
        except BaseException:
            self._body.leave(self._position)
            raise

    async def aclose(self) -> None:
        """Leave."""
        self._body.leave(self._position)
        await self._pieces.aclose()


async def receive(
    chunks: AsyncIterator[bytes],
    head: Head,
    body: GrowingBody,
    *,
    limit: int,
    share: Share | None = None,
) -> bytes | None:
    """Feed `body` from `chunks` and return the whole once it matches its declared length and digest.

    The caller stores it and then finishes the body. limit: bytes that an object of undeclared length may have to be
    kept; share: of the fill budget, which grows with it; beyond either it goes on unkept, and None is returned.
    Raises OriginError (the caller fails the body with it).
    """
    intake = _Intake(head, body, limit, share)
    async for chunk in chunks:
        if chunk:
            await intake.take(chunk)
    return await intake.end()


class _Intake:
    """One body on its way in."""

    def __init__(self, head: Head, body: GrowingBody, limit: int, share: Share | None) -> None:
        self._length = head.length
        self._body = body
        self._limit = limit
        self._share = share
        self._expected = declared_sha256(head)
        self._digest = hashlib.sha256()
        self._kept: list[bytes] | None = []
        self._size = 0
        self._held = b""

    async def take(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._length is not None:
            if self._size > self._length:
                raise OriginError(OriginFailure.PROTOCOL, f"the body is larger than {self._length} bytes")
        elif self._kept is not None and not self._may_keep():
            self._kept = None
        if self._kept is not None:
            self._kept.append(chunk)
        if self._expected is None:
            await self._give(chunk)
            return
        # On the loop: a chunk takes well under a millisecond, about what handing it to a thread would cost.
        self._digest.update(chunk)
        held, self._held = self._held, b""
        await self._give(held)
        if self._size == self._length or self._length is None:
            self._held = chunk  # perhaps the last piece: it waits for the verdict
        else:
            await self._give(chunk)

    def _may_keep(self) -> bool:
        return self._size <= self._limit and (self._share is None or self._share.covers(self._size))

    async def end(self) -> bytes | None:
        if self._length is not None and self._size != self._length:
            raise OriginError(OriginFailure.INCOMPLETE, f"{self._size} of {self._length} bytes arrived")
        if self._expected is not None and self._digest.digest() != self._expected:
            raise OriginError(OriginFailure.PROTOCOL, "the body does not match its SHA-256")
        if self._kept is None:
            await self._give(self._held)
            return None
        return b"".join(self._kept)

    async def _give(self, chunk: bytes) -> None:
        if not chunk:
            return
        if self._kept is not None:
            self._body.append(chunk)
        elif not await self._body.append_unkept(chunk):
            raise OriginError(OriginFailure.TERMINATED, "nobody reads any more")
        elif self._share is not None:
            await self._share.shrink(self._body.window)  # no more of it is held


def declared_sha256(head: Head) -> bytes | None:
    """The digest that the response declares for its body (Repr-Digest, RFC 9530)."""
    match = _SHA256.search(head.field("repr-digest") or "")
    try:
        return base64.b64decode(match[1], validate=True) if match else None
    except binascii.Error:
        return None


class FillBudget:
    """Bytes that all fills of a worker may hold together before they are stored.

    limit: bytes; deadline_s: how long a fill waits for its share before it fails as overloaded.
    """

    def __init__(self, *, limit: int, deadline_s: float = 5.0) -> None:
        self._limit = limit
        self._deadline_s = deadline_s
        self._taken = 0
        self._freed = asyncio.Condition()

    @property
    def taken(self) -> int:
        """Bytes reserved now."""
        return self._taken

    @property
    def is_tight(self) -> bool:
        """Whether more than half of it is taken."""
        return self._taken > self._limit // 2

    @asynccontextmanager
    async def reserve(self, size: int) -> AsyncIterator[Share]:
        """Hold `size` bytes. Nobody waits for more once he holds some, so that no two fills deadlock."""
        size = min(size, self._limit)
        try:
            async with asyncio.timeout(self._deadline_s), self._freed:
                await self._freed.wait_for(lambda: self._taken + size <= self._limit)
                self._taken += size
        except TimeoutError:
            raise OriginError(OriginFailure.OVERLOADED, "too many bytes are on their way into the cache") from None
        share = Share(self, size)
        try:
            yield share
        finally:
            await self.less(share.size)

    async def less(self, size: int) -> None:
        """Give back so many."""
        self._taken -= size
        async with self._freed:
            self._freed.notify_all()

    def more(self, size: int) -> bool:
        """Take so many more at once, if they are there. The last quarter is for those who know how much they need."""
        if self._taken + size > self._limit * 3 // 4:
            return False
        self._taken += size
        return True


class Share:
    """What one fill holds of the budget."""

    def __init__(self, budget: FillBudget, size: int) -> None:
        self._budget = budget
        self.size = size

    async def shrink(self, size: int) -> None:
        """Give back what is more than that."""
        more, self.size = max(0, self.size - size), min(self.size, size)
        if more:
            await self._budget.less(more)

    def covers(self, size: int) -> bool:
        """Whether the share is that large, or could be made so without waiting; it grows by doubling."""
        while self.size < size:
            if not self._budget.more(self.size):
                return False
            self.size *= 2
        return True

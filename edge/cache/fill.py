"""Origin stream -> growing body that everyone reads -> verified whole.

The fill takes bytes as fast as the origin gives them; every reader follows at its own pace over the same shared chunks,
so a slow client holds up nobody, and memory grows with the object, not with the clients. `FillBudget` bounds all fills
together.

The piece that would complete the body is held back until the whole is verified: a client of a body that turns out wrong
sees a broken connection, never a complete wrong body.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from edge.cache.model import Head
from edge.cache.ranges import Part
from origin.reader import OriginError, OriginFailure

_SHA256 = re.compile(r"(?:^|,)\s*sha-256\s*=\s*:([A-Za-z0-9+/]{43}=):")


class GrowingBody:
    """A body while it arrives. One writer, any number of readers, none of whom waits for another."""

    __slots__ = ("_chunks", "_error", "_grown", "_whole")

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._whole: bytes | None = None
        self._error: OriginError | None = None
        self._grown = asyncio.Event()

    def append(self, chunk: bytes) -> None:
        """More of it has arrived."""
        self._chunks.append(chunk)
        self._wake()

    def finish(self, whole: bytes) -> None:
        """It is complete and verified. The chunks are let go: all read on in the whole."""
        self._whole = whole
        self._chunks = []
        self._wake()

    def fail(self, error: OriginError) -> None:
        """No more will come. Who has read all there is gets the error."""
        if self._whole is None:
            self._error = error
            self._wake()

    async def read(self, part: Part | None = None) -> AsyncGenerator[bytes | memoryview, None]:
        """The body, or a part of it, as it arrives; raises OriginError where it breaks off."""
        position, end = (part.first, part.last + 1) if part is not None else (0, None)
        index = offset = 0  # of the next chunk
        while end is None or position < end:
            # Looked at anew after every yield and wait: meanwhile the chunks may have given way to the whole.
            if self._whole is not None:
                if position < len(self._whole):
                    yield memoryview(self._whole)[position:end]
                return
            if index < len(self._chunks):
                chunk = self._chunks[index]
                begin, index, offset = offset, index + 1, offset + len(chunk)
                if offset > position:
                    piece = memoryview(chunk)[position - begin : None if end is None else end - begin]
                    position += len(piece)
                    yield piece
            elif self._error is not None:
                raise OriginError(self._error.failure, self._error.detail)
            else:
                await self._grown.wait()

    def _wake(self) -> None:
        # A new event per growth: waiting for "more than I have seen" needs no lock and no list of waiters.
        self._grown.set()
        self._grown = asyncio.Event()


async def receive(chunks: AsyncIterator[bytes], head: Head, body: GrowingBody, *, limit: int) -> bytes:
    """Feed `body` from `chunks` and return the whole once it matches its declared length and digest.

    The caller stores it and then finishes the body. limit: bytes that an object of undeclared length may have.
    Raises OriginError (the caller fails the body with it).
    """
    expected = declared_sha256(head)
    digest = hashlib.sha256() if expected is not None else None
    received: list[bytes] = []
    size, held = 0, b""
    async for chunk in chunks:
        if not chunk:
            continue
        size += len(chunk)
        if size > (limit if head.length is None else head.length):
            raise OriginError(
                OriginFailure.PROTOCOL, f"the body is larger than {limit if head.length is None else head.length} bytes"
            )
        received.append(chunk)
        if digest is not None:
            # On the loop: a chunk takes well under a millisecond, about what handing it to a thread would cost.
            digest.update(chunk)
        if held:
            body.append(held)
        if head.length is not None and size < head.length:
            body.append(chunk)
            held = b""
        else:
            held = chunk
    if head.length is not None and size != head.length:
        raise OriginError(OriginFailure.INCOMPLETE, f"{size} of {head.length} bytes arrived")
    if digest is not None and digest.digest() != expected:
        raise OriginError(OriginFailure.PROTOCOL, "the body does not match its SHA-256")
    return b"".join(received)


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

    @asynccontextmanager
    async def reserve(self, size: int) -> AsyncIterator[None]:
        """Hold `size` bytes, all that the fill can need: as it never asks for more later, no two fills deadlock."""
        size = min(size, self._limit)
        try:
            async with asyncio.timeout(self._deadline_s), self._freed:
                await self._freed.wait_for(lambda: self._taken + size <= self._limit)
                self._taken += size
        except TimeoutError:
            raise OriginError(OriginFailure.OVERLOADED, "too many bytes are on their way into the cache") from None
        try:
            yield
        finally:
            self._taken -= size
            async with self._freed:
                self._freed.notify_all()

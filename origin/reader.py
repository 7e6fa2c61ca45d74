"""What the cache needs from an origin: one object at a time, streamed, judged by its head before its body.

The interface is shaped by its consumer (the cache's fill), not by any store's API. Implementations: `origin.s3` (object
storage) and `origin.http` (another edge process, later any HTTP origin).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class OriginFailure(Enum):
    """Why an origin gave no usable answer. The values are RFC 9209 proxy error types."""

    CONNECT = "connection_refused"
    TIMEOUT = "connection_timeout"
    READ_TIMEOUT = "connection_read_timeout"
    INCOMPLETE = "http_response_incomplete"
    PROTOCOL = "http_protocol_error"
    UNAVAILABLE = "destination_unavailable"


class OriginError(Exception):
    """The origin could not be asked, or broke off; `failure` says how (RFC 9209, section 2.3)."""

    def __init__(self, failure: OriginFailure, detail: str) -> None:
        super().__init__(f"{failure.value}: {detail}")
        self.failure = failure
        self.detail = detail


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """One read of one object.

    path: absolute and normalised, percent-decoded, e.g. `/media/lesson-000001/master.m3u8`.
    if_none_match: entity tag of a stored response to revalidate, quotes included.
    byte_range: (first, last) offsets, both inclusive; None reads the whole object.
    """

    path: str
    if_none_match: str | None = None
    byte_range: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class ReadResponse:
    """The head of the origin's answer, and its body as it arrives.

    status: the HTTP status (200, 206, 304, 404, ...); headers: lower-case names, end-to-end fields only, in order.
    chunks: the body's bytes; raises OriginError when it breaks off or does not match its declared length.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    chunks: AsyncIterator[bytes]


class ObjectReader(Protocol):
    """A source of objects. `open` raises OriginError; leaving the context gives the connection back."""

    def open(self, request: ReadRequest) -> AbstractAsyncContextManager[ReadResponse]: ...

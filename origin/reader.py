"""What the cache needs from an origin: one object at a time, streamed, judged by its head before its body.

The interface is shaped by its consumer (the cache's fill), not by any store's API. Implementations: `origin.s3` (object
storage), `origin.http` (any HTTP origin, a sibling process), `origin.parents` (several of them as one).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

Headers = tuple[tuple[str, str], ...]
"""Field lines in order, names in lower case, end-to-end fields only."""


Chunks = AsyncGenerator[bytes, None]
"""A body's bytes as they arrive. A generator, so that whoever stops reading early can close it."""


class OriginFailure(Enum):
    """Why an origin gave no usable answer. The values are RFC 9209 proxy error types."""

    DNS = "dns_error"
    CONNECT = "connection_refused"
    TIMEOUT = "connection_timeout"
    TLS = "tls_protocol_error"
    CERTIFICATE = "tls_certificate_error"
    WRITE_TIMEOUT = "connection_write_timeout"
    READ_TIMEOUT = "connection_read_timeout"
    EXCHANGE_TIMEOUT = "http_response_timeout"
    TERMINATED = "connection_terminated"
    INCOMPLETE = "http_response_incomplete"
    HEADERS = "http_response_header_section_size"
    CODING = "http_response_transfer_coding"
    PROTOCOL = "http_protocol_error"
    UNAVAILABLE = "destination_unavailable"
    OVERLOADED = "connection_limit_reached"
    CONFIGURATION = "proxy_configuration_error"
    REQUEST = "http_request_error"
    NOT_ASKED = "proxy_internal_response"

    @property
    def status(self) -> int:
        """The status a client is told: 504 when the origin was too slow, 503 when we are too busy, 502 for the rest."""
        return _STATUS.get(self, 502)

    @property
    def unsent(self) -> bool:
        """Whether it is certain that the origin saw nothing of the request."""
        return self in _UNSENT

    @property
    def blames_origin(self) -> bool:
        """Whether it says something about the origin's health, and not only about us, the client or one object."""
        return self not in _BLAMELESS


_STATUS = {
    OriginFailure.TIMEOUT: 504,
    OriginFailure.WRITE_TIMEOUT: 504,
    OriginFailure.READ_TIMEOUT: 504,
    OriginFailure.EXCHANGE_TIMEOUT: 504,
    OriginFailure.NOT_ASKED: 504,
    OriginFailure.OVERLOADED: 503,
    OriginFailure.REQUEST: 400,
}
_UNSENT = frozenset(
    {
        OriginFailure.DNS,
        OriginFailure.CONNECT,
        OriginFailure.TIMEOUT,
        OriginFailure.TLS,
        OriginFailure.CERTIFICATE,
        OriginFailure.OVERLOADED,
    }
)
_BLAMELESS = frozenset(
    {OriginFailure.OVERLOADED, OriginFailure.CONFIGURATION, OriginFailure.REQUEST, OriginFailure.NOT_ASKED}
)


class OriginError(Exception):
    """The origin could not be asked, or broke off; `failure` says how (RFC 9209, section 2.3).

    status: what the client is told, by default the failure's own; retry_after_s: when it is worth asking again.
    received: the status that it answered, where it did.
    """

    def __init__(
        self,
        failure: OriginFailure,
        detail: str,
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
        received: int | None = None,
    ) -> None:
        super().__init__(f"{failure.value}: {detail}")
        self.failure = failure
        self.detail = detail
        self.status = failure.status if status is None else status
        self.retry_after_s = retry_after_s
        self.received = received

    def again(self) -> OriginError:
        """The same for another one to raise: an exception that several raise collects all their tracebacks."""
        return OriginError(
            self.failure,
            self.detail,
            status=self.status,
            retry_after_s=self.retry_after_s,
            received=self.received,
        )


def answered_with_error(status: int) -> OriginError:
    """What the origin answered is no answer that can be passed on."""
    return OriginError(OriginFailure.UNAVAILABLE, f"the origin answered {status}", received=status)


IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
"""Methods whose repetition changes nothing more (RFC 9110, 9.2.2)."""

Interim = Callable[[int, Headers], None]
"""Told about each interim response (1xx): its status and end-to-end fields."""


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """One exchange with the origin, in nearly all cases the read of one object.

    target: canonical and percent-encoded, path and perhaps query, e.g. `/media/lesson-000001/master.m3u8`.
    if_none_match: entity tag of a stored response to revalidate, quotes included.
    if_modified_since: its Last-Modified, for an origin that gives no entity tag.
    if_match: strong entity tag that a range must still belong to (412 otherwise).
    byte_range: (first, last) offsets, both inclusive; None reads the whole object.
    headers: the client's end-to-end fields to pass on, names in lower case; the members above win over them.
    body: the client's request body as it arrives, with body_length where that is known; None for none.
    on_interim: None ignores interim responses.
    """

    target: str
    if_none_match: str | None = None
    if_modified_since: str | None = None
    if_match: str | None = None
    byte_range: tuple[int, int] | None = None
    method: str = "GET"
    headers: Headers = ()
    body: AsyncIterable[bytes] | None = None
    body_length: int | None = None
    on_interim: Interim | None = None

    @property
    def path(self) -> str:
        """The target without its query: what failures count by, since clients can make up as many queries as they
        like."""
        return self.target.partition("?")[0]

    @property
    def repeatable(self) -> bool:
        """Whether it may be sent once more when nobody knows what became of the first time."""
        return self.method in IDEMPOTENT and self.body is None

    def fields(self) -> dict[str, str]:
        """The HTTP request fields that the members other than `headers` mean."""
        fields: dict[str, str] = {}
        if self.if_none_match is not None:
            fields["If-None-Match"] = self.if_none_match
        if self.if_modified_since is not None:
            fields["If-Modified-Since"] = self.if_modified_since
        if self.if_match is not None:
            fields["If-Match"] = self.if_match
        if self.byte_range is not None:
            fields["Range"] = f"bytes={self.byte_range[0]}-{self.byte_range[1]}"
        return fields


@dataclass(frozen=True, slots=True)
class ReadResponse:
    """The head of the origin's answer, and its body as it arrives.

    status: the HTTP status (200, 206, 304, 404, ...); headers: lower-case names, end-to-end fields only, in order.
    chunks: the body's bytes; raises OriginError when it breaks off or does not match its declared length.
    reason: the phrase after the status, often nothing; version: of the response, `1.1` or `1.0`, for Via.
    """

    status: int
    headers: Headers
    chunks: Chunks
    reason: str = ""
    version: str = "1.1"

    @property
    def tells_of_trouble(self) -> bool:
        """Whether its status says that the origin is not well. 501 and 505 say that it will never do such a thing."""
        return self.status >= 500 and self.status not in (501, 505)

    def field(self, name: str) -> str | None:
        """The first field line of that (lower-case) name."""
        return next((value for known, value in self.headers if known == name), None)


class ObjectReader(Protocol):
    """A source of objects. `open` raises OriginError; leaving the context gives the connection back."""

    def open(self, request: ReadRequest) -> AbstractAsyncContextManager[ReadResponse]: ...

    async def close(self) -> None: ...

"""What a request's head must be beyond what the parser has checked, and where its body ends: values in, verdict out.

aiohttp's parser (llhttp, strict) refuses bare CR and LF, folded lines, spaces before a colon, control characters,
Content-Length together with Transfer-Encoding, repeated or odd lengths, odd chunk sizes, and more. `judge` refuses what
it lets pass and another reader of the same bytes could take for something else:

- a request line with more than single spaces, several empty lines before it, RTSP, ICE or HTTP/0.9 instead of HTTP/1.x;
- a transfer coding besides `chunked`, an empty one, or one in HTTP/1.0 (RFC 9112, 6.1);
- a Content-Length that a 64-bit reader would wrap;
- a Host field that is no host, or another one than an absolute target names (RFC 9112, 3.2);
- a fragment, a target that is no http(s) URL, CONNECT and TRACE.

The request line is checked by writing it again from the parsed message: no second parser can disagree with the first.

The parser knows the registered methods only. For any other token it gets POST in its place (`known_method`), which it
treats like every method but CONNECT; the check of the line is made with the method that was sent.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache
from typing import Final

from aiohttp import HttpVersion10, HttpVersion11, hdrs
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.http_parser import RawRequestMessage
from aiohttp.web import RequestPayloadError
from yarl import URL

END_OF_HEAD: Final = b"\r\n\r\n"
MAX_LINE_BYTES: Final = 8190
MAX_FIELDS: Final = 100
MAX_HEAD_BYTES: Final = 64 * 1024
MAX_BODY_BYTES: Final = 2**63 - 1
CHUNKED: Final = -1
"""The length of a body that says itself where it ends."""
MAX_CHUNK_OVERHEAD: Final = 16 * 1024
"""Bytes of chunk sizes, extensions and trailers that a body may have beyond eight times its data."""

# What llhttp takes in HTTP; the most frequent first.
_METHODS = tuple(
    f"{method} ".encode()
    for method in (  # noqa: SIM905 - a list of one word a line is no table
        "GET HEAD POST PUT DELETE OPTIONS PATCH CONNECT TRACE ACL BIND CHECKOUT COPY LINK LOCK M-SEARCH MERGE "
        "MKACTIVITY MKCALENDAR MKCOL MOVE NOTIFY PROPFIND PROPPATCH PURGE QUERY REBIND REPORT SEARCH SOURCE "
        "SUBSCRIBE UNBIND UNLINK UNLOCK UNSUBSCRIBE"
    ).split()
)
_METHOD = re.compile(rb"((?:\r\n)?)([A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}) ")
_BEFORE_TARGET = re.compile(rb"(?:\r\n?)?[A-Za-z0-9!#$%&'*+.^_`|~-]{0,64}")
_NOT_FORWARDED = frozenset({"CONNECT", "TRACE"})
_HOST = re.compile(r"(?:[A-Za-z0-9._~-]*|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{0,5})?")
_ABSOLUTE = re.compile(r"https?://([^/?#]*)([^?#]*)(?:\?([^#]*))?", re.IGNORECASE)


class Refusal(Enum):
    """Why a request, or a connection, was turned away before any handler saw it. The values are metric labels."""

    MALFORMED = "malformed"  # not HTTP, or something that two readers could read in two ways
    TOO_LARGE = "too_large"  # a line, a field or the whole header section
    UNSUPPORTED = "unsupported"  # a version, a method or a transfer coding that is not spoken here
    SLOW = "slow"  # the header section or the body did not arrive in time
    CONNECTIONS = "connections"  # the worker holds as many connections as it may, and all are busy
    IN_FLIGHT = "in_flight"  # the worker answers as many requests as it may
    OVERLOAD = "overload"  # the worker's event loop is behind


class Refused(Exception):  # noqa: N818 - a verdict on a request, not a fault
    """The request is turned away; `detail` says why, for the client to read."""

    def __init__(self, status: int, reason: Refusal, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.reason = reason
        self.detail = detail


class BrokenBody(Refused, RequestPayloadError):  # noqa: N818
    """The request's body is malformed, incomplete or too slow: what its reader gets instead of the rest."""


def malformed(detail: str) -> Refused:
    """400: two readers could read it in two ways."""
    return Refused(400, Refusal.MALFORMED, detail)


def known_method(head: bytes) -> tuple[bytes, str | None]:
    """The beginning of a request for the parser, and the method if that is one that the parser does not know."""
    if head.startswith(_METHODS):
        return head, None
    match = _METHOD.match(head)
    if match is None or match[2] + b" " in _METHODS:
        return head, None
    return match[1] + b"POST" + head[match.end(2) :], match[2].decode()


def within_method(head: bytes) -> bool:
    """Whether the beginning of a request may end within its method."""
    return _BEFORE_TARGET.fullmatch(head) is not None


def judge(message: RawRequestMessage, head: bytes) -> int:
    """The length of the body that follows, 0 for none, `CHUNKED`. Raises Refused.

    head: all bytes of the request up to and including the empty line.
    """
    if len(head) > MAX_HEAD_BYTES:
        raise head_too_large()
    judge_line(message, head)
    headers = message.headers
    if not _is_host(headers.get(hdrs.HOST, "")):
        raise malformed("the Host field is not HOST or HOST:PORT")
    if hdrs.TRANSFER_ENCODING in headers:
        return _check_coding(message)
    length = headers.get(hdrs.CONTENT_LENGTH)
    return 0 if length is None else _length(length)


def judge_line(message: RawRequestMessage, head: bytes) -> None:
    """Of a request whose field lines are known, only the first line is to be judged. Raises Refused."""
    method, path = message.method, message.path
    version = "HTTP/1.1" if message.version is HttpVersion11 else _older(message)
    line = f"{method} {path} {version}\r\n".encode("utf-8", "surrogateescape")
    if not head.startswith(line) and not head.startswith(b"\r\n" + line):  # one empty line: RFC 9112, 2.2
        raise malformed("the request line is not METHOD SP TARGET SP HTTP/1.x")
    if method in _NOT_FORWARDED:
        raise Refused(501, Refusal.UNSUPPORTED, f"{method} is not possible here")
    if path[0] != "/" or "#" in path:
        _check_absolute(message)


def plain_fields(message: RawRequestMessage, head: bytes) -> bytes:
    """The bytes after the first line, where a later head with the same need not be judged again.

    Nothing in them asks for a body or for the end of the connection; they begin with the line's end. Empty otherwise.
    """
    if message.should_close or message.version is not HttpVersion11:
        return b""
    end = head.find(b"\r\n")
    return head[end:] if end > 0 else b""


def refusal_of(error: HttpProcessingError, head: bytes) -> Refused:
    """The parser's verdict in our words: its own name its internals and repeat what the client sent."""
    if isinstance(error, LineTooLong):
        line, end, _ = head.removeprefix(b"\r\n").partition(b"\r\n")
        if not end or len(line) > MAX_LINE_BYTES:
            return Refused(414, Refusal.TOO_LARGE, f"the request target may have at most {MAX_LINE_BYTES} bytes")
        return Refused(431, Refusal.TOO_LARGE, f"each header field may have at most {MAX_LINE_BYTES} bytes")
    if error.message.startswith("Too many headers"):
        return head_too_large()
    return malformed("this is not a well-formed HTTP request")


def head_too_large() -> Refused:
    """431 for the header section as a whole."""
    return Refused(
        431, Refusal.TOO_LARGE, f"the header section may have at most {MAX_FIELDS} fields and {MAX_HEAD_BYTES} bytes"
    )


def in_origin_form(message: RawRequestMessage) -> RawRequestMessage:
    """The same request with only the path and query of an absolute target: to a gateway both mean the same."""
    match = _ABSOLUTE.fullmatch(message.path)
    if match is None:
        return message
    path, query = match[2] or "/", match[3]
    target = path if query is None else f"{path}?{query}"
    return message._replace(path=target, url=URL.build(path=path, query_string=query or "", encoded=True))


def too_much_overhead(wire_bytes: int, body_bytes: int) -> bool:
    """Whether a chunked body is mostly chunk extensions, zeros before sizes, or trailers."""
    return wire_bytes > MAX_CHUNK_OVERHEAD + 9 * body_bytes


def _older(message: RawRequestMessage) -> str:
    if message.version != HttpVersion10:
        raise Refused(505, Refusal.UNSUPPORTED, "only HTTP/1.1 and HTTP/1.0 are spoken here")
    return "HTTP/1.0"


@lru_cache(1024)
def _is_host(value: str) -> bool:
    return _HOST.fullmatch(value) is not None


def _check_absolute(message: RawRequestMessage) -> None:
    """A target that is not just a path: `*` for OPTIONS, or an http URL whose host is the Host field's."""
    if message.path == "*" and message.method == "OPTIONS":
        return
    match = _ABSOLUTE.fullmatch(message.path)
    if match is None:
        raise malformed("the request target is neither a path nor an http(s) URL, or has a fragment")
    if not match[1] or not _is_host(match[1]):
        raise malformed("the request target names no host")
    host = message.headers.get(hdrs.HOST)
    if host is not None and match[1].lower() != host.lower():
        raise malformed("the request target and the Host field name different hosts")


def _check_coding(message: RawRequestMessage) -> int:
    coding = message.headers[hdrs.TRANSFER_ENCODING].lower()
    if message.version != HttpVersion11:
        raise malformed("HTTP/1.0 has no Transfer-Encoding")
    if coding.endswith("chunked") and coding != "chunked":
        raise Refused(501, Refusal.UNSUPPORTED, "the only transfer coding spoken here is chunked")
    if coding != "chunked" or not message.chunked:
        raise malformed("Transfer-Encoding may only be chunked")
    return CHUNKED


def _length(value: str) -> int:
    # The parser has seen to it that these are digits; so many are not worth converting.
    length = int(value) if len(value) <= 32 else MAX_BODY_BYTES + 1
    if length > MAX_BODY_BYTES:
        raise malformed("the Content-Length is beyond all measure")
    return length

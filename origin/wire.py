"""HTTP/1.1 (RFC 9112) as a client speaks it, without I/O: a request's bytes out, a response's bytes in.

`request_head` and `chunk` write. `Incoming` reads one response, fed with bytes as they arrive, in whatever pieces:

    feed(bytes) --> interims (1xx)*, head, pieces of the body*, ended
    feed_eof()  --> ended, for a body that only the end of the connection ends; otherwise an OriginError

Parsing is llhttp's (through httptools), all leniencies off: bare CR or LF, folded lines, space before the colon,
control characters, Content-Length twice or beside Transfer-Encoding are errors. What llhttp leaves to its user is
decided here: no transfer coding but exactly one `chunked`, HTTP/1.0 and 1.1 only, no switch of protocols, bounds.
llhttp is only fed the head and chunked bodies; other bodies are counted or passed as they are.

Whatever arrives after the end of a response belongs to no request of ours. It is never looked at: the connection is
not used again (`reusable`).
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from origin.reader import OriginError, OriginFailure

MAX_HEAD_BYTES = 128 * 1024
"""Of a response's header section (and of a trailer section); a sibling's stored head travels in one field of it."""
MAX_FIELD_LINES = 512
MAX_INTERIMS = 64
"""1xx responses before the final one; without a bound an origin could send them forever."""

RawFields = tuple[tuple[bytes, bytes], ...]

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_TARGET = re.compile(r"[\x21-\x7e]+")
_NOT_IN_VALUES = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_PRINTABLE = re.compile(rb"[\x20-\x7e\x80-\xff]*")


def request_head(method: str, target: str, fields: Iterable[tuple[str, str]]) -> bytes:
    """The request line and header section. Raises OriginError (REQUEST) for what would not arrive as it is meant."""
    if _TOKEN.fullmatch(method) is None or _TARGET.fullmatch(target) is None:
        raise OriginError(OriginFailure.REQUEST, "the method or the target cannot be put on the wire")
    lines = [f"{method} {target} HTTP/1.1\r\n"]
    for name, value in fields:
        if _TOKEN.fullmatch(name) is None or _NOT_IN_VALUES.search(value) is not None:
            raise OriginError(OriginFailure.REQUEST, "a field holds characters that no field may hold")
        lines.append(f"{name}: {value}\r\n")
    lines.append("\r\n")
    try:
        # Surrogate escapes stand for bytes that are not UTF-8: they leave as they came.
        return "".join(lines).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise OriginError(OriginFailure.REQUEST, "a field holds half a character") from None


def chunk(piece: bytes) -> bytes:
    """A piece of a body in the chunked coding; an empty one ends it."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


@dataclass(frozen=True, slots=True)
class Head:
    """A response's status line and field lines, names in lower case. version: `1.1` or `1.0`."""

    status: int
    reason: str
    version: str
    fields: RawFields

    def tokens(self, name: bytes) -> list[str]:
        """The comma-separated members of all lines of that name, in lower case."""
        lines = b",".join([value for known, value in self.fields if known == name])
        return [token.strip().lower() for token in lines.decode("latin-1").split(",") if token.strip()]

    def has(self, name: bytes) -> bool:
        """Whether there is a line of that name."""
        return any(known == name for known, _ in self.fields)


class _Until(Enum):
    """What ends the part of the response that is being read (RFC 9112, 6.3)."""

    HEAD = "an empty line"
    CHUNKS = "the last chunk"
    LENGTH = "the announced length"
    CLOSE = "the end of the connection"


class Incoming:
    """One response to a request of that method.

    silent: no byte of it has come; interims: 1xx heads not yet taken; head: of the final response, once it is complete;
    ended: all of it has come; buffered: bytes of the body not yet taken.
    """

    def __init__(self, method: str, *, max_head: int = MAX_HEAD_BYTES) -> None:
        self.silent = True
        self.interims: deque[Head] = deque()
        self.head: Head | None = None
        self.ended = False
        self.buffered = 0
        self._bodyless = method == "HEAD"
        self._max_head = max_head
        self._until = _Until.HEAD
        self._left = 0  # bytes of the body still to come, in LENGTH
        self._pieces: deque[bytes] = deque()
        self._excess = False
        self._interim_count = 0
        self._head_bytes = 0  # fed since the last complete head
        self._section_bytes = 0  # of the field lines of the section being read
        self._reason = b""
        self._fields: list[tuple[bytes, bytes]] = []
        self._parsed: list[bytes] = []  # body bytes out of one call of the parser
        self._fault: OriginError | None = None
        self._parser = HttpResponseParser(self)

    @property
    def reusable(self) -> bool:
        """Whether the connection may carry another exchange after this response."""
        if not self.ended or self._excess or self.head is None or self._until is _Until.CLOSE:
            return False
        options = self.head.tokens(b"connection")
        if self.head.status == 204 and (self.head.has(b"transfer-encoding") or self.head.tokens(b"content-length")):
            return False  # a body that must not be may follow
        return "close" not in options and (self.head.version == "1.1" or "keep-alive" in options)

    def take(self) -> bytes | None:
        """The next piece of the body; None when there is none now."""
        if not self._pieces:
            return None
        piece = self._pieces.popleft()
        self.buffered -= len(piece)
        return piece

    def feed(self, data: bytes) -> None:
        """Bytes have come. Raises OriginError for what is no HTTP response; nothing may be fed after that."""
        self.silent = False
        if self.ended:
            self._excess = True
        elif self._until is _Until.CLOSE:
            self._add(data)
        elif self._until is _Until.LENGTH:
            self._excess = len(data) > self._left
            self._add(data[: self._left] if self._excess else data)
            self._left -= min(len(data), self._left)
            self.ended = self._left == 0
        else:
            self._parse(data)

    def feed_eof(self, *, clean: bool) -> None:
        """The connection has ended; clean: the origin closed it, it was not reset. OriginError: too early."""
        if self.ended:
            return
        if self._until is _Until.CLOSE and clean:
            self.ended = True
        elif self.silent:
            raise OriginError(OriginFailure.TERMINATED, "the origin closed the connection without an answer")
        else:
            raise OriginError(OriginFailure.INCOMPLETE, f"the connection ended before {self._until.value}")

    def _add(self, piece: bytes) -> None:
        if piece:
            self._pieces.append(piece)
            self.buffered += len(piece)

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            if not self.ended:
                raise OriginError(OriginFailure.PROTOCOL, "the origin switched protocols without being asked") from None
        except HttpParserError as error:
            if self.ended:
                self._excess = True
            else:
                raise self._fault or OriginError(OriginFailure.PROTOCOL, f"no HTTP response: {error}") from None
        if self._parsed:
            # Chunks may be small; what came together is handed on together.
            self._add(self._parsed[0] if len(self._parsed) == 1 else b"".join(self._parsed))
            self._parsed.clear()
        if self.head is None:
            self._head_bytes += len(data)
            if self._head_bytes > self._max_head:
                raise self._too_long()

    # -- called by the parser ----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A status line begins."""
        self._excess = self._excess or self.ended
        self._reason = b""
        self._fields = []
        self._section_bytes = 0

    def on_status(self, reason: bytes) -> None:
        """A piece of the reason phrase."""
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        """One field line; after the body, one of the trailer section, which is dropped."""
        self._section_bytes += len(name) + len(value) + len(": \r\n")
        if self._section_bytes > self._max_head or len(self._fields) == MAX_FIELD_LINES:
            self._fail(self._too_long())
        if self.head is None:
            self._fields.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """An empty line: the head is complete."""
        if self.ended:
            return
        status, version = self._parser.get_status_code(), self._parser.get_http_version()
        if version not in ("1.0", "1.1") or status < 100 or status == 101:
            self._fail(OriginError(OriginFailure.PROTOCOL, f"HTTP/{version} {status} cannot be understood"))
        reason = self._reason.decode("latin-1") if _PRINTABLE.fullmatch(self._reason) else ""
        head = Head(status, reason, version, tuple(self._fields))
        self._head_bytes = self._section_bytes = 0
        if status < 200:
            self._interim_count += 1
            self.interims.append(head)
            if self._interim_count > MAX_INTERIMS:
                self._fail(OriginError(OriginFailure.PROTOCOL, "the origin sends interim responses without end"))
        else:
            self._frame(head)
            self.head = head

    def on_body(self, data: bytes) -> None:
        """Bytes of the body, out of their chunks."""
        if self.ended:
            self._excess = True
            return
        self._left -= len(data)
        self._parsed.append(data)

    def on_message_complete(self) -> None:
        """The end of an interim response, or of a body whose end is marked."""
        self.ended = self.ended or self.head is not None

    def _frame(self, head: Head) -> None:
        """Decide what will end the body (RFC 9112, 6.3)."""
        if self._bodyless or head.status in (204, 304):
            self.ended = True
        elif head.has(b"transfer-encoding"):
            if head.tokens(b"transfer-encoding") != ["chunked"] or head.version == "1.0":
                self._fail(OriginError(OriginFailure.CODING, "a transfer coding other than one `chunked`"))
            self._until = _Until.CHUNKS
        elif head.has(b"content-length"):
            self._until = _Until.LENGTH
            self._left = int(head.tokens(b"content-length")[0])
        else:
            self._until = _Until.CLOSE

    def _fail(self, fault: OriginError) -> None:
        """Leave the parser, which makes an error of its own from whatever it catches."""
        self._fault = fault
        raise fault

    def _too_long(self) -> OriginError:
        return OriginError(OriginFailure.HEADERS, f"field lines of more than {self._max_head} bytes or too many")

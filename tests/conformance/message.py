"""HTTP/1.1 messages as bytes on a stream, read strictly and kept as they came.

The conformance suite judges what was really sent, so nothing here is lenient and nothing is normalised: a message that
breaks the grammar of RFC 9112 is a MessageError, field lines keep their order, their spelling and their number.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

Fields = tuple[tuple[str, str], ...]
"""Field lines in order: name as sent, value without the optional white space around it."""

LIMIT_BYTES = 16 * 1024**2  # of the stream's buffer: larger than any message of the suite
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*))?")
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[\t\x20-\x7e\x80-\xff]*)?\r\n")
_LENGTH = re.compile(r"[0-9]{1,18}")


class MessageError(Exception):
    """What was received is not an HTTP/1.1 message; the text says why."""


@dataclass(frozen=True, slots=True)
class Head:
    """A start line and field lines."""

    start: str
    fields: Fields

    def values(self, name: str) -> tuple[str, ...]:
        """The values of every field line of that name, case-insensitively."""
        return values(self.fields, name)


@dataclass(frozen=True, slots=True)
class Content:
    """A message's body. complete: its framing says that this is all of it."""

    data: bytes = b""
    trailers: Fields = ()
    complete: bool = True


def values(fields: Fields, name: str) -> tuple[str, ...]:
    """The values of every field line of that name, case-insensitively."""
    return tuple(value for known, value in fields if known.lower() == name.lower())


async def read_head(reader: asyncio.StreamReader) -> Head | None:
    """The next head, None when the stream ended before its first byte. Raises MessageError."""
    try:
        block = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise MessageError(f"the stream ended inside a head: {error.partial[:200]!r}") from None
        return None
    start, *lines = block.removesuffix(b"\r\n\r\n").split(b"\r\n")
    return Head(start.decode("latin-1"), parse_fields(lines))


def parse_fields(lines: list[bytes]) -> Fields:
    """Field lines. Raises MessageError for one that breaks the grammar (RFC 9112, 5)."""
    return tuple(_field(line) for line in lines)


async def read_content(reader: asyncio.StreamReader, head: Head, *, until_end: bool) -> Content:
    """The body that the head announces (RFC 9112, 6.3).

    until_end: a message without framing of its own lasts until the stream ends, as responses do and requests do not.
    """
    codings = head.values("Transfer-Encoding")
    lengths = head.values("Content-Length")
    if codings and lengths:
        raise MessageError("both Transfer-Encoding and Content-Length")
    if codings:
        if [coding.lower() for coding in codings] != ["chunked"]:
            raise MessageError(f"Transfer-Encoding is {codings}, and only chunked is known here")
        return await _chunked(reader)
    if lengths:
        return await _exactly(reader, _length(lengths))
    return Content(await reader.read(-1)) if until_end else Content()


async def _chunked(reader: asyncio.StreamReader) -> Content:
    data = bytearray()
    try:
        while size := await _chunk_size(reader):
            data += await reader.readexactly(size)
            if await reader.readexactly(2) != b"\r\n":
                raise MessageError("a chunk's data is not followed by CRLF")
        return Content(bytes(data), await _trailers(reader))
    except asyncio.IncompleteReadError as error:
        return Content(bytes(data + error.partial), complete=False)


async def _chunk_size(reader: asyncio.StreamReader) -> int:
    line = await reader.readuntil(b"\r\n")
    matched = _SIZE.fullmatch(line)
    if matched is None:
        raise MessageError(f"a bad chunk size line: {line[:80]!r}")
    return int(matched[1], 16)


async def _trailers(reader: asyncio.StreamReader) -> Fields:
    lines = []
    while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
        lines.append(line.removesuffix(b"\r\n"))
    return parse_fields(lines)


async def _exactly(reader: asyncio.StreamReader, length: int) -> Content:
    try:
        return Content(await reader.readexactly(length))
    except asyncio.IncompleteReadError as error:
        return Content(error.partial, complete=False)


def _length(lengths: tuple[str, ...]) -> int:
    if len(lengths) != 1 or not _LENGTH.fullmatch(lengths[0]):
        raise MessageError(f"a bad Content-Length: {lengths}")
    return int(lengths[0])


def _field(line: bytes) -> tuple[str, str]:
    matched = _FIELD.fullmatch(line)
    if matched is None:
        raise MessageError(f"a bad field line: {line[:200]!r}")
    return matched[1].decode(), (matched[2] or b"").decode("latin-1").rstrip(" \t")

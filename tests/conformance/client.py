"""A raw HTTP/1.1 client: it sends the bytes it is given and reports exactly what came back."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.conformance.message import LIMIT_BYTES, Content, Fields, Head, MessageError, read_content, read_head
from tests.conformance.message import values as values_of

EXCHANGE_WITHIN_S = 15.0
CLOSE_WITHIN_S = 5.0
_STATUS_LINE = re.compile(r"(HTTP/1\.[01]) ([1-9][0-9]{2}) ([\t\x20-\x7e\x80-\xff]*)")


@dataclass(frozen=True, slots=True)
class Interim:
    """A 1xx response."""

    status: int
    fields: Fields


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client got for one request.

    status 0: no response at all. complete: the framing says that all of it came. closed: the server ended the
    connection after it; looked at only for a client that waits for the end. fault: how it breaks HTTP's grammar.
    """

    status: int = 0
    fields: Fields = ()
    body: bytes = b""
    trailers: Fields = ()
    interim: tuple[Interim, ...] = ()
    complete: bool = False
    closed: bool = False
    fault: str = ""
    version: str = ""

    def values(self, name: str) -> tuple[str, ...]:
        """The values of every field line of that name."""
        return values_of(self.fields, name)


@dataclass(frozen=True, slots=True)
class Request:
    """Bytes to send, and what is needed to read the answer.

    later: sent when the first interim response has come (for `Expect: 100-continue`). until_closed: read on after the
    answer to see whether the server ends the connection.
    """

    data: bytes
    method: str = "GET"
    later: bytes = b""
    until_closed: bool = False


class RawClient:
    """One connection at a time to one server, opened again when the server has ended it."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, request: Request, on_head: Callable[[int], None] = lambda _status: None) -> Answer:
        """One exchange. on_head: called with the status when the head of the final response is here."""
        async with asyncio.timeout(EXCHANGE_WITHIN_S):
            reader, writer = await self._connected()
            try:
                writer.write(request.data)
                answer = await _read(reader, writer, request, on_head)
                ended = await _ends(reader) if request.until_closed else False
            except (ConnectionError, asyncio.IncompleteReadError) as error:
                answer, ended = Answer(fault=f"the connection broke: {error!r}"), True
            if ended or not answer.complete or "close" in answer.values("Connection"):
                await self.close()
            return replace(answer, closed=ended)

    async def close(self) -> None:
        """End the connection."""
        if self._writer is not None:
            self._writer.transport.abort()
        self._reader = self._writer = None

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._reader is None or self._writer is None or self._reader.at_eof():
            await self.close()
            self._reader, self._writer = await asyncio.open_connection(*self._address, limit=LIMIT_BYTES)
        return self._reader, self._writer


async def _read(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request, on_head: Callable[[int], None]
) -> Answer:
    interim: list[Interim] = []
    later = request.later
    try:
        while (head := await read_head(reader)) is not None:
            version, status = _status(head)
            if status >= 200 or status == 101:
                on_head(status)
                return replace(await _final(reader, request, head, status, tuple(interim)), version=version)
            interim.append(Interim(status, head.fields))
            writer.write(later)
            later = b""
    except MessageError as error:
        return Answer(interim=tuple(interim), fault=str(error))
    return Answer(interim=tuple(interim), fault="the connection ended without a response")


async def _final(
    reader: asyncio.StreamReader, request: Request, head: Head, status: int, interim: tuple[Interim, ...]
) -> Answer:
    try:
        empty = request.method == "HEAD" or status in (204, 304)
        content = Content() if empty else await read_content(reader, head, until_end=True)
    except MessageError as error:
        return Answer(status, head.fields, interim=interim, fault=str(error))
    return Answer(status, head.fields, content.data, content.trailers, interim, content.complete)


async def _ends(reader: asyncio.StreamReader) -> bool:
    try:
        async with asyncio.timeout(CLOSE_WITHIN_S):
            return not await reader.read(1)
    except ConnectionError:
        return True
    except TimeoutError:
        return False


def _status(head: Head) -> tuple[str, int]:
    """Version and status of a response."""
    matched = _STATUS_LINE.fullmatch(head.start)
    if matched is None:
        raise MessageError(f"a bad status line: {head.start!r}")
    return matched[1], int(matched[2])

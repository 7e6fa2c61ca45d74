"""Writing past a transport: what it says was taken and what is left are together the whole answer, in order."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest

from edge.cache.pages import Pages, Pipe
from edge.direct import DirectWriter

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"
BODY = random.Random(3).randbytes(5_000_000)
FIRST = 4321
COUNT = len(BODY) - FIRST - 1234
WHOLE = HEAD + BODY[FIRST : FIRST + COUNT]


class Transport:
    """As much of one as is asked for."""

    def __init__(self, ours: socket.socket) -> None:
        self._ours = ours
        self.waiting = 0
        self.closing = False

    def get_extra_info(self, _name: str) -> socket.socket:
        """Its socket."""
        return self._ours

    def get_write_buffer_size(self) -> int:
        """What it has yet to write."""
        return self.waiting

    def is_closing(self) -> bool:
        """Whether it ends."""
        return self.closing


@contextmanager
def writing(pipe: Pipe | None = None) -> Iterator[tuple[DirectWriter, Transport, socket.socket, socket.socket]]:
    """A writer, its transport, and both ends of their connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(20.0)
        client.connect(listener.getsockname())
        ours, _ = listener.accept()
        with ours:
            ours.setblocking(False)
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
            transport = Transport(ours)
            writer = DirectWriter(cast("asyncio.Transport", cast("Any", transport)), pipe or Pipe())
            try:
                yield writer, transport, ours, client
            finally:
                writer.let_go()


def taken(client: socket.socket) -> bytes:
    """All that comes until the end."""
    pieces = []
    while piece := client.recv(65_536):
        pieces.append(piece)
    return b"".join(pieces)


def test_what_was_taken_comes_and_the_rest_goes_behind_it() -> None:
    pages = Pages(BODY)
    with writing() as (writer, _, ours, client):
        took = writer.write(HEAD, pages, FIRST, COUNT)
        assert len(HEAD) < took < len(WHOLE)
        ours.close()  # all that the kernel has still arrives
        assert taken(client) == WHOLE[:took]


def test_nothing_goes_past_what_the_transport_has_yet_to_write_or_past_its_end() -> None:
    pages = Pages(BODY)
    with writing() as (writer, transport, ours, client):
        transport.waiting = 1
        assert writer.write(HEAD, pages, FIRST, COUNT) == 0
        transport.waiting, transport.closing = 0, True
        assert writer.write(HEAD, pages, FIRST, COUNT) == 0
        ours.close()
        assert taken(client) == b""


def test_answers_for_a_full_kernel_follow_each_other_byte_for_byte() -> None:
    pages, pipe = Pages(BODY), Pipe()
    with writing(pipe) as (writer, _, ours, client), writing(pipe) as (other, _, others, other_client):
        expected = b""
        for _ in range(4):  # as if the transport had nothing to write each time
            took = writer.write(HEAD, pages, FIRST, COUNT)
            expected += WHOLE[:took]
            other.write(b"%d" % took, pages, 0, 10)
        ours.close()
        others.close()
        assert taken(client) == expected
        assert taken(other_client).endswith(b"%d" % took + BODY[:10])


def test_a_client_that_has_left_is_for_the_transport_to_find_out() -> None:
    pages = Pages(BODY)
    with writing() as (writer, _, _, client):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        for _ in range(3):
            assert writer.write(HEAD, pages, FIRST, COUNT) == 0


def test_more_than_there_is_ends_the_connection_and_not_the_secret() -> None:
    pages = Pages(BODY)
    with writing() as (writer, _, ours, client):
        with pytest.raises(ValueError, match="not all in pages"):
            writer.write(HEAD, pages, FIRST, len(BODY))
        ours.close()
        assert taken(client) == HEAD


def test_the_descriptor_is_left_open_for_its_owner() -> None:
    with writing() as (writer, _, ours, client):
        writer.let_go()
        del writer
        ours.send(b"still here")
        ours.close()
        assert taken(client) == b"still here"

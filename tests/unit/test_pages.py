"""Pages through a pipe into real sockets: the very bytes, all that are told of, and never another client's."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import random
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.cache import pages as module
from edge.cache.pages import Pages, Pipe

PAGE = mmap.PAGESIZE
BODY = random.Random(1).randbytes(3_000_001)
OTHER = random.Random(2).randbytes(3_000_001)
_LIBC = ctypes.CDLL(None, use_errno=True)


@contextmanager
def connected(receive_bytes: int | None = None) -> Iterator[tuple[socket.socket, socket.socket]]:
    """The edge's end of a connection, which does not block, and its client's, which does."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        if receive_bytes is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        client.settimeout(20.0)
        client.connect(listener.getsockname())
        ours, _ = listener.accept()
        with ours:
            ours.setblocking(False)
            if receive_bytes is not None:
                ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * receive_bytes)
            yield ours, client


def taken(client: socket.socket, count: int) -> bytes:
    """So many bytes, or what comes before the end."""
    pieces = []
    while count and (piece := client.recv(count)):
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)


def all_sent(pipe: Pipe, ours: socket.socket, client: socket.socket, pages: Pages, first: int, count: int) -> bytes:
    """What the client gets, when it takes what there is each time."""
    came = []
    while count:
        sent = pipe.send(ours.fileno(), pages, first, count)
        assert 0 < sent <= count
        came.append(taken(client, sent))
        first, count = first + sent, count - sent
    return b"".join(came)


def filled(pipe: Pipe, ours: socket.socket, pages: Pages) -> int:
    """Send until the socket takes no more; how much it has taken."""
    first = 0
    while first < len(pages.view):
        try:
            first += pipe.send(ours.fileno(), pages, first, len(pages.view) - first)
        except BlockingIOError:
            return first
    raise AssertionError("it never is full")


def assert_next_gets_its_own(pipe: Pipe) -> None:
    """Nothing of what was before is in the pipe."""
    with connected() as (ours, client):
        pages = Pages(b"its own")
        assert pipe.send(ours.fileno(), pages, 0, 7) == 7
        ours.close()
        assert taken(client, 100) == b"its own"


@pytest.fixture(params=[None, PAGE], ids=["large pipe", "pipe of one page"])
def pipe(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Pipe:
    if request.param is not None:  # what a user gets who has many pipes already
        monkeypatch.setattr(module, "PIPE_BYTES", request.param)
    return Pipe()


# -- the bytes ---------------------------------------------------------------------------------------------------------


def test_a_body_arrives_whole(pipe: Pipe) -> None:
    pages = Pages(BODY)
    with connected() as (ours, client):
        assert all_sent(pipe, ours, client, pages, 0, len(BODY)) == BODY
    assert pages.view == BODY
    assert_next_gets_its_own(pipe)


@pytest.mark.parametrize("size", [1, PAGE - 1, PAGE, PAGE + 1, 64 * 1024, 1024 * 1024 + 1])
def test_a_body_of_any_size_arrives(pipe: Pipe, size: int) -> None:
    with connected() as (ours, client):
        assert all_sent(pipe, ours, client, Pages(BODY[:size]), 0, size) == BODY[:size]


def test_nothing_is_sent_when_nothing_is_asked_for(pipe: Pipe) -> None:
    with connected() as (ours, client):
        assert pipe.send(ours.fileno(), Pages(BODY), 5, 0) == 0
        ours.close()
        assert client.recv(1) == b""
    assert_next_gets_its_own(pipe)


@pytest.mark.parametrize(("first", "count"), [(0, 101), (100, 1), (-1, 5), (5, -1), (2**63, 1)])
def test_what_lies_beside_a_body_is_never_sent(pipe: Pipe, first: int, count: int) -> None:
    with connected() as (ours, client):
        with pytest.raises(ValueError, match="not all in pages"):
            pipe.send(ours.fileno(), Pages(BODY[:100]), first, count)
        ours.close()
        assert client.recv(1) == b""
    assert_next_gets_its_own(pipe)


PARTS = st.tuples(st.integers(0, len(BODY)), st.integers(0, len(BODY))).map(sorted)


@pytest.mark.parametrize("pipe_bytes", [PAGE, 16 * PAGE, module.PIPE_BYTES])
def test_any_part_of_any_body_arrives_whoever_is_full_meanwhile(
    monkeypatch: pytest.MonkeyPatch, pipe_bytes: int
) -> None:
    monkeypatch.setattr(module, "PIPE_BYTES", pipe_bytes)
    pipe, bodies = Pipe(), (BODY, OTHER)
    each = [Pages(body) for body in bodies]
    with connected() as (ours, client), connected(PAGE) as (full, _):
        filled(pipe, full, each[1])

        @settings(max_examples=60, deadline=None)
        @given(st.lists(st.tuples(st.integers(0, 1), PARTS), max_size=4))
        def check(parts: list[tuple[int, list[int]]]) -> None:
            for which, (first, beyond) in parts:
                with suppress(BlockingIOError):  # mostly; the kernel finds a little room at times
                    pipe.send(full.fileno(), each[1 - which], 7, 100_000)
                came = all_sent(pipe, ours, client, each[which], first, beyond - first)
                assert came == bodies[which][first:beyond]

        check()


# -- clients that are slow, or leave -----------------------------------------------------------------------------------


def test_of_what_a_full_socket_does_not_take_nothing_is_left_for_the_next(pipe: Pipe) -> None:
    pages = Pages(BODY)
    with connected(PAGE) as (ours, client):
        sent = pipe.send(ours.fileno(), pages, 1, len(BODY) - 1)
        assert 0 < sent < len(BODY) - 1
        assert_next_gets_its_own(pipe)
        more = filled(pipe, ours, pages)
        assert_next_gets_its_own(pipe)
        ours.close()
        assert taken(client, len(BODY)) == BODY[1 : sent + 1] + BODY[:more]


def test_a_client_that_has_reset_is_told_of_and_leaves_nothing(pipe: Pipe) -> None:
    pages = Pages(BODY)
    for _ in range(3):
        with connected() as (ours, client):
            assert pipe.send(ours.fileno(), pages, 0, 50_000) == 50_000
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            with pytest.raises(ConnectionError):
                pipe.send(ours.fileno(), pages, 50_000, 50_000)
        assert_next_gets_its_own(pipe)


def test_a_descriptor_that_is_closed_or_no_socket_leaves_nothing(pipe: Pipe) -> None:
    with connected() as (ours, _):
        number = ours.fileno()
    with pytest.raises(OSError, match="Bad file descriptor"):
        pipe.send(number, Pages(BODY), 0, 100)
    assert_next_gets_its_own(pipe)


def test_memory_that_is_used_again_does_not_change_what_a_client_has_yet_to_take(pipe: Pipe) -> None:
    pages = Pages(BODY)
    gone = weakref.ref(pages)
    with connected(PAGE) as (ours, client):
        sent = filled(pipe, ours, pages)
        assert sent > 10 * PAGE
        del pages
        assert gone() is None
        others = [Pages(OTHER) for _ in range(20)]  # whatever is free is theirs
        ours.close()
        assert taken(client, len(BODY)) == BODY[:sent]
        assert all(one.view == OTHER for one in others)


def test_a_view_and_its_parts_keep_the_pages() -> None:
    pages = Pages(BODY)
    part = pages.view[PAGE - 1 : 3 * PAGE + 1]
    pages.view.release()
    del pages
    others = [Pages(OTHER) for _ in range(5)]
    assert part == BODY[PAGE - 1 : 3 * PAGE + 1]
    assert part.readonly
    del others


# -- what should not happen --------------------------------------------------------------------------------------------


def test_what_has_gone_is_told_when_a_later_turn_cannot_be(pipe: Pipe) -> None:
    pages = Pages(BODY[: 2 * 1024 * 1024])
    beyond = 1024 * 1024
    address = ctypes.c_void_p(pages.address + beyond)
    with connected(4 * 1024 * 1024) as (ours, client):
        assert _LIBC.mprotect(address, ctypes.c_size_t(beyond), 0) == 0  # the kernel cannot read them
        try:
            sent = pipe.send(ours.fileno(), pages, 5, 2 * beyond - 5)
            assert 0 < sent <= beyond - 5
            with pytest.raises(OSError, match="Bad address"):
                pipe.send(ours.fileno(), pages, beyond, beyond)
        finally:
            _LIBC.mprotect(address, ctypes.c_size_t(beyond), mmap.PROT_READ | mmap.PROT_WRITE)
        assert_next_gets_its_own(pipe)
        ours.close()
        assert taken(client, len(BODY)) == BODY[5 : 5 + sent]


def test_a_pipe_that_cannot_be_emptied_is_not_used_again(pipe: Pipe) -> None:
    pages = Pages(BODY)
    unwritable = os.open(os.devnull, os.O_RDONLY)
    os.dup2(unwritable, pipe._nowhere)
    os.close(unwritable)
    with connected(PAGE) as (ours, client):
        sent = pipe.send(ours.fileno(), pages, 0, len(BODY))
        assert 0 < sent < len(BODY)
        assert_next_gets_its_own(pipe)
        more = filled(pipe, ours, pages)
        assert_next_gets_its_own(pipe)
        ours.close()
        assert taken(client, len(BODY)) == BODY[:sent] + BODY[:more]


class Now(BaseException):
    """What a signal may do to whoever runs."""


class Trap:
    """armed: the next signal raises. No event: its lock may be held by whom the signal interrupts."""

    armed = False


@contextmanager
def signalled(trap: Trap) -> Iterator[None]:
    """Signals come all the time."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        if trap.armed:
            trap.armed = False
            raise Now

    def insist(main: int) -> None:
        while not over.wait(0.000_05):
            signal.pthread_kill(main, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, interrupt)
    over = threading.Event()
    thread = threading.Thread(target=insist, args=(threading.get_ident(),))
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        signal.signal(signal.SIGUSR1, before)


def test_a_signals_exception_in_the_middle_leaves_nothing(pipe: Pipe) -> None:
    pages, trap = Pages(BODY), Trap()
    left = 0
    with signalled(trap):
        for _ in range(20_000):
            if left == 20:
                return
            with connected() as (ours, client):
                sent = 0
                with suppress(Now):
                    trap.armed = True
                    sent = pipe.send(ours.fileno(), pages, 0, 500_000)
                    trap.armed = False
                left += not pipe._empty
                ours.close()
                assert BODY.startswith(taken(client, sent))
            assert_next_gets_its_own(pipe)
    raise AssertionError("no signal came in time")


def test_without_descriptors_for_a_new_pipe_nothing_is_sent_until_there_are_some(pipe: Pipe) -> None:
    pages = Pages(BODY)
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)
    with connected() as (ours, client), connected(PAGE) as (full, _):
        filled(pipe, full, pages)  # so that the pipe is one to be thrown away
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, allowed[1]))
        try:
            for _ in range(3):
                with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
                    pipe.send(ours.fileno(), pages, 0, 100)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, allowed)
        assert pipe.send(ours.fileno(), pages, 0, 100) == 100
        assert taken(client, 100) == BODY[:100]


# Refuses itself one system call with one error, as a sandbox does (seccomp(2)), and tells what becomes of a pipe.
SANDBOXED = """
import ctypes, os, struct, sys
refused, error = int(sys.argv[1]), int(sys.argv[2])
steps = [(0x20, 0, 0, 0), (0x15, 0, 1, refused), (6, 0, 0, 0x50000 | error), (6, 0, 0, 0x7FFF0000)]
program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
told = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(program)))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, told, 0, 0) == 0
from edge.cache.pages import Pipe
before = len(os.listdir("/proc/self/fd"))
try:
    Pipe()
except OSError as raised:
    print(raised.errno)
print(len(os.listdir("/proc/self/fd")) - before)
"""
CALLS = {"x86_64": {"splice": 275, "vmsplice": 278}, "aarch64": {"splice": 76, "vmsplice": 75}}


@pytest.mark.parametrize("error", [errno.EPERM, errno.ENOSYS])
@pytest.mark.parametrize("call", ["splice", "vmsplice"])
def test_where_the_kernel_or_a_sandbox_refuses_it_there_is_no_pipe(call: str, error: int) -> None:
    number = CALLS[os.uname().machine][call]
    command = [sys.executable, "-c", SANDBOXED, str(number), str(error)]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.split() == [str(error), "0"]


def test_a_pipe_gives_its_descriptors_back(pipe: Pipe) -> None:
    def open_files() -> int:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    before = open_files()
    for _ in range(20):
        again = Pipe()
        with connected(PAGE) as (ours, _):
            filled(again, ours, Pages(BODY))
        del again
    assert open_files() == before
    assert_next_gets_its_own(pipe)
    assert open_files() == before

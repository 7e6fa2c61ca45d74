"""Running a media program as a child: its lines as they come, its last words when it fails, its end with ours.

Goals: no child outlives us, even after kill -9 (Linux: parent-death signal); no wait without a deadline.
Non-goals: asyncio. Publishing is a command of its own, never on an event loop.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import IO

LAST_WORDS = 40
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class ProcessError(Exception):
    """A program failed. `last_words` is the end of what it wrote to stderr."""

    def __init__(self, program: str, reason: str, last_words: Sequence[str]) -> None:
        super().__init__(f"{program} {reason}: {last_words[-1] if last_words else 'no message'}")
        self.reason = reason
        self.last_words = tuple(last_words)

    @property
    def no_space(self) -> bool:
        """Whether the disk was full."""
        return any("No space left on device" in line for line in self.last_words)


@dataclass(frozen=True, slots=True)
class Output:
    """What a program that ended well wrote: all of stdout (unless lines were taken), the end of stderr."""

    stdout: str
    last_words: tuple[str, ...]


def run(
    arguments: Sequence[str],
    *,
    silence_s: float,
    on_line: Callable[[str], None] | None = None,
    cwd: str | None = None,
) -> Output:
    """Runs a program to its end; raises ProcessError when it fails or is silent on stdout for `silence_s`.

    on_line: takes each line of stdout as it comes; without it stdout is collected.
    Whatever ends the wait (Ctrl-C as well) ends the program too.
    """
    program = arguments[0].rsplit("/", 1)[-1]
    child = subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        cwd=cwd,
        preexec_fn=partial(_die_with, os.getpid()) if _LIBC is not None else None,  # noqa: PLW1509  (no locks)
    )
    words: deque[str] = deque(maxlen=LAST_WORDS)
    try:
        collected = _converse(child, words, on_line, silence_s)
        status = child.wait(timeout=silence_s)
    except subprocess.TimeoutExpired as error:
        raise ProcessError(program, f"said nothing for {silence_s:.0f} s", tuple(words)) from error
    finally:
        _end(child)
    if status != 0:
        raise ProcessError(program, f"failed with status {status}", tuple(words))
    return Output("".join(collected), tuple(words))


def _converse(
    child: subprocess.Popen[str], words: deque[str], on_line: Callable[[str], None] | None, silence_s: float
) -> list[str]:
    assert child.stdout is not None and child.stderr is not None  # noqa: S101, PT018
    watch = _Watch(child, silence_s)
    drain = threading.Thread(target=_drain, args=(child.stderr, words), name="stderr", daemon=True)
    drain.start()
    collected: list[str] = []
    take = on_line or collected.append
    try:
        for line in child.stdout:
            watch.heard()
            take(line)
    finally:
        watch.stop()
    drain.join(timeout=5)
    if watch.fired:
        raise subprocess.TimeoutExpired(child.args, silence_s)
    return collected


class _Watch:
    """Kills a child that has been silent for too long."""

    def __init__(self, child: subprocess.Popen[str], silence_s: float) -> None:
        self._child = child
        self._silence_s = silence_s
        self._heard = threading.Event()
        self._over = False
        self.fired = False
        self._thread = threading.Thread(target=self._watch, name="silence", daemon=True)
        self._thread.start()

    def heard(self) -> None:
        self._heard.set()

    def stop(self) -> None:
        self._over = True
        self._heard.set()
        self._thread.join(timeout=5)

    def _watch(self) -> None:
        while not self._over:
            if not self._heard.wait(self._silence_s):
                self.fired = True
                self._child.kill()
                return
            self._heard.clear()


def _drain(stream: IO[str], words: deque[str]) -> None:
    with suppress(ValueError):  # closed under us when the child was ended
        words.extend(text for line in stream if (text := line.strip()))


def _end(child: subprocess.Popen[str]) -> None:
    if child.poll() is None:
        child.kill()
        child.wait(timeout=10)
    for stream in (child.stdout, child.stderr):
        if stream is not None:
            stream.close()


def _die_with(parent: int) -> None:
    """Between fork and exec: this child ends when `parent` does, at once if that was before the kernel was told."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)

"""A blocking call on the event loop, made by our code, fails the test that met it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from blockbuster import blockbuster_ctx


@contextmanager
def guarded_loop() -> Iterator[None]:
    """While the block runs, a blocking call that our code makes on an event loop raises BlockingError."""
    with blockbuster_ctx(["edge", "origin"]):
        yield


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> Iterator[None]:
    """Import it into a test module to use it there."""
    with guarded_loop():
        yield

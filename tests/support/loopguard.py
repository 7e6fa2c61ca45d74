"""A blocking call on the event loop, made by our code, fails the test that met it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from blockbuster import blockbuster_ctx


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> Iterator[None]:
    """Import it into a test module to use it there."""
    with blockbuster_ctx(["edge", "origin"]):
        yield

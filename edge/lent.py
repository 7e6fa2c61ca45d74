"""Bodies that clients are being sent out of memory, and that the memory tier may have let go meanwhile.

A client that reads slowly holds the whole body that its answer is cut from. As long as the memory tier has it, too,
that costs nothing; what has been evicted is accounted for by nobody else. So it is bounded here: beyond the bound,
those who have been reading such bodies longest are cut off, as clients that take nothing are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from edge.cache.memory import owner_of

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

LOOK_EVERY_S: Final = 0.5
"""Between two looks at all that is lent, while it is so much that there may be too much of it."""


class Loan:
    """One body on its way to one client."""

    __slots__ = ("_over", "_step", "owner", "size")

    def __init__(self, body: bytes | memoryview) -> None:
        self.owner = owner_of(body)
        self.size = memoryview(self.owner).nbytes
        self._over = False
        self._step: asyncio.Timeout | None = None

    def step(self, within_s: float) -> asyncio.Timeout:
        """`async with loan.step(60): …` sends some of it. Raises TimeoutError when the time, or the loan, is over."""
        if self._over:
            raise TimeoutError
        self._step = asyncio.timeout(within_s)
        return self._step

    def recall(self) -> None:
        """The client gets no more of it."""
        if not self._over and self._step is not None:
            with suppress(RuntimeError):  # that step is done
                self._step.reschedule(asyncio.get_running_loop().time())
        self._over = True


class Lent:
    """One worker's. most_bytes: of bodies that are lent and not kept; one is always allowed, however large.

    is_kept: whether the memory tier has the bytes that belong to that owner.
    """

    def __init__(self, most_bytes: int, is_kept: Callable[[ReadableBuffer], bool]) -> None:
        self._most_bytes = most_bytes
        self._is_kept = is_kept
        self._loans: dict[Loan, None] = {}
        self._bytes = 0  # of all of them, as if each had a body of its own
        self._next_look: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._loans)

    @contextmanager
    def lend(self, body: bytes | memoryview) -> Iterator[Loan]:
        """For as long as the body is being sent."""
        loan = Loan(body)
        self._loans[loan] = None
        self._bytes += loan.size
        if self._bytes > self._most_bytes and self._next_look is None:
            self._look()
        try:
            yield loan
        finally:
            del self._loans[loan]
            self._bytes -= loan.size

    def _look(self) -> None:
        """What is kept now may be let go before the next body is lent: while there may be too much, we look again."""
        allowed: set[int] = set()
        held = 0
        for loan in reversed(self._loans):
            if self._is_kept(loan.owner) or id(loan.owner) in allowed:
                continue
            if allowed and held + loan.size > self._most_bytes:
                loan.recall()
                continue
            allowed.add(id(loan.owner))
            held += loan.size
        self._next_look = None
        if self._bytes > self._most_bytes:
            self._next_look = asyncio.get_running_loop().call_later(LOOK_EVERY_S, self._look)

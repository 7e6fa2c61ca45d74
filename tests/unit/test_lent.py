"""Bodies that are lent: the bound is looked after for as long as there may be too much of them."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest

from edge.lent import Lent, Loan


async def test_what_memory_lets_go_later_is_bounded_though_nothing_more_is_lent() -> None:
    kept = True
    lent = Lent(150, lambda _owner: kept)
    with ExitStack() as stack:
        first, second = (stack.enter_context(lent.lend(bytes(100))) for _ in range(2))
        kept = False

        async def send(loan: Loan) -> None:
            async with loan.step(60):
                await asyncio.Event().wait()

        slow = asyncio.create_task(send(first))
        await asyncio.wait({slow}, timeout=20)
        with pytest.raises(TimeoutError):
            slow.result()
        async with second.step(60):
            pass  # the last one may go on
    assert len(lent) == 0

"""Slots: who holds one, and that death gives it back."""

from __future__ import annotations

import os
from pathlib import Path

from edge.slots import Slot


def test_each_claim_gets_the_lowest_free_slot(tmp_path: Path) -> None:
    with Slot.claim(tmp_path) as first, Slot.claim(tmp_path) as second:
        assert (first.number, second.number) == (0, 1)
    with Slot.claim(tmp_path) as again:
        assert again.number == 0


def test_a_held_slot_cannot_be_claimed(tmp_path: Path) -> None:
    with Slot.claim(tmp_path) as held:
        assert Slot.try_claim(tmp_path, held.number) is None


def test_a_process_that_dies_gives_its_slot_back(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        Slot.claim(tmp_path)
        os._exit(0)  # as sudden as a kill: nothing is closed by us
    os.waitpid(pid, 0)
    with Slot.claim(tmp_path) as claimed:
        assert claimed.number == 0

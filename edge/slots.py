"""Slots: the numbered places of a node's workers. What a worker leaves on disk lies under its slot's number."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class Slot:
    """One place, held through a lock on a file: the kernel's lock, so that death gives the place back at once."""

    def __init__(self, number: int, descriptor: int) -> None:
        self.number = number
        self._descriptor = descriptor

    @classmethod
    def claim(cls, directory: Path) -> Slot:
        """The lowest slot that no living worker holds."""
        number = 0
        while True:
            slot = cls.try_claim(directory, number)
            if slot is not None:
                return slot
            number += 1

    @classmethod
    def try_claim(cls, directory: Path, number: int) -> Slot | None:
        """Slot `number`, or None while another process holds it."""
        descriptor = os.open(directory / f"{number}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return cls(number, descriptor)

    def __enter__(self) -> Slot:
        return self

    def __exit__(self, *_exc: object) -> None:
        os.close(self._descriptor)

"""Bodies in pages of memory that have a file of their own (memfd_create(2)), to be sent without being copied.

sendfile(2) gives the socket the pages themselves, where write(2) copies what lies in them: for bodies of some hundred
kilobytes that is a quarter of the cost of a hit. What a client has not taken yet refers to the pages, so they are never
written again; they are free when the last reference is gone, whoever holds it.

Moving a body there costs a copy, and file descriptors: it is for what is sent again and again.
"""

from __future__ import annotations

import mmap
import os
from typing import Final

FILES_EACH: Final = 2
"""Descriptors that one body takes: the file's, and one more that its mapping has."""


class Pages:
    """One body, in pages. view: the same bytes, for everybody who reads them otherwise. Raises OSError when made."""

    __slots__ = ("_descriptor", "view")

    def __init__(self, body: bytes | memoryview) -> None:
        self._descriptor = os.memfd_create("body")
        rest = memoryview(body)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        self.view = memoryview(mmap.mmap(self._descriptor, len(body), flags=mmap.MAP_SHARED, prot=mmap.PROT_READ))

    def __del__(self) -> None:
        os.close(self._descriptor)

    def send(self, descriptor: int, first: int, count: int) -> int:
        """Give a non-blocking socket `count` bytes from `first` on, or as many as it takes now; how many those are.

        Raises OSError: BlockingIOError when it takes none.
        """
        return os.sendfile(descriptor, self._descriptor, first, count)

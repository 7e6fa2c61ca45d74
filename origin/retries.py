"""How often something may be asked again: a share of what is asked at all, so that trouble is never multiplied."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class _Second:
    """What happened in one second of the monotonic clock."""

    number: int
    requests: int = 0
    retries: int = 0


class RetryBudget:
    """Retries are at most `share` of the requests of the last `window_s` seconds.

    least: retries that are always granted in a window, so that a quiet node can get around a fault at all. With more
    than `least / share` requests in a window what reaches the origins is at most `1 + share` times what was asked.
    """

    def __init__(self, *, now: Callable[[], float], share: float = 0.1, least: int = 3, window_s: int = 10) -> None:
        self._now = now
        self._share = share
        self._least = least
        self._window_s = window_s
        self._seconds: deque[_Second] = deque()
        self._requests = 0
        self._retries = 0

    def asked(self) -> None:
        """A request was made that is no retry."""
        self._present().requests += 1
        self._requests += 1

    def spend(self) -> bool:
        """Whether one retry may be made now; it is counted if so."""
        present = self._present()
        if self._retries + 1 > max(self._least, int(self._share * self._requests)):
            return False
        present.retries += 1
        self._retries += 1
        return True

    def _present(self) -> _Second:
        number = int(self._now())
        while self._seconds and self._seconds[0].number <= number - self._window_s:
            gone = self._seconds.popleft()
            self._requests -= gone.requests
            self._retries -= gone.retries
        if not self._seconds or self._seconds[-1].number != number:
            self._seconds.append(_Second(number))
        return self._seconds[-1]

"""Since when Redis has had which part of a journal, so that it is known what has been there for long enough. Pure.

A fail-over may put a replica that lags in the primary's place, which has to be told again what it lacks. So records
stay in the journal for a while after Redis has them. That while counts from a proof that it has, and not from when they
were accepted: after an isolation, what was accepted hours ago has been in Redis for a moment. And it counts in the
process that got the proof: one that begins knows of none, and keeps everything that much longer.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

_STEPS: Final = 64  # as finely is a span of time divided: what is proved more often than that is remembered later


class _Proof(NamedTuple):
    """Redis had everything before `position` at that time, and has had it since."""

    at_s: float
    position: int


class Proofs:
    """What was proved, the oldest first: both times and positions rise. Never more than some 130 of them."""

    def __init__(self) -> None:
        self._proofs: deque[_Proof] = deque()

    @property
    def latest(self) -> int:
        """The position before which Redis has everything now; 0 when nothing was proved."""
        return self._proofs[-1].position if self._proofs else 0

    def note(self, position: int, now_s: float, *, span_s: float) -> None:
        """Redis has everything before `position`. span_s: how long it has to have had that; what it has had for longer
        still makes no difference."""
        self.take_back(position)
        while len(self._proofs) > 1 and now_s - self._proofs[1].at_s >= span_s:
            self._proofs.popleft()
        if position <= self.latest:
            return  # it has had that since an earlier proof
        if len(self._proofs) > 1 and now_s - self._proofs[-2].at_s < span_s / _STEPS:
            self._proofs.pop()  # its part is taken to be there from now on
        self._proofs.append(_Proof(now_s, position))

    def take_back(self, position: int) -> None:
        """Redis has nothing from `position` on any more: when it gets that again, the time begins anew."""
        while self._proofs and self._proofs[-1].position > position:
            self._proofs.pop()

    def had_for(self, span_s: float, now_s: float) -> int:
        """The position before which Redis has had everything for at least `span_s`; 0 when there is none."""
        return next((proof.position for proof in reversed(self._proofs) if now_s - proof.at_s >= span_s), 0)

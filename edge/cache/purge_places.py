"""Which place on the shared bus the node's records have: translation between epochs and this node's positions.

Values in the Redis tier are read by other nodes, to whom our positions mean nothing. They carry the epoch that the
writer had heard of, and the bus it belongs to (`bus:epoch`), and a reader asks: which of my positions says no more than
that? Both translations err on one side only: a value may seem older than it is, never younger.

A record made here while the bus was away has an early position and a late epoch, so the two orders differ. What is kept
are two monotone chains of (epoch, position) pairs:

    tail   each position is smaller than all that follow: the smallest position after epoch e is the first beyond e
    crest  each position is larger than all before: the smallest epoch after position p is the first above p
"""

from __future__ import annotations

from array import array
from bisect import bisect_right


class Places:
    """bus: identity of the bus heard of, '' for none. heard: everything up to this epoch is in the log."""

    def __init__(self) -> None:
        self.bus = ""
        self.heard = 0
        self._folded = 0  # epochs up to here are not known one by one
        self._oldest = 0  # positions before it are not, either
        self._tail = _Chain()
        self._crest = _Chain()

    def reset(self, bus: str, *, heard: int, folded: int = 0, oldest: int = 0) -> None:
        """Begin again: another bus, or a log written anew, in which epochs up to `folded` and positions before
        `oldest` are not told one by one any more."""
        self.bus, self.heard, self._folded, self._oldest = bus, heard, folded, oldest
        self._tail, self._crest = _Chain(), _Chain()

    def place(self, epoch: int, seq: int) -> None:
        """The record at position `seq` has this epoch. They come in the order of epochs.

        One that comes late, after a damage of the log, was taken for something else until now: what is not younger than
        it can't be judged any more.
        """
        if epoch <= self._tail.last_epoch:
            self._folded = max(self._folded, epoch)
            return
        self.heard = max(self.heard, epoch)
        self._tail.drop_from(seq)
        self._tail.append(epoch, seq)
        if seq > self._crest.last_seq:
            self._crest.append(epoch, seq)

    def skip(self, epoch: int, seq: int) -> None:
        """What lies up to this epoch was missed; the record at position `seq` stands for all of it."""
        self._tail.drop_from(seq)
        self._tail.append(epoch, seq)
        if seq > self._crest.last_seq:
            self._crest.append(self.heard + 1, seq)
        self.heard = max(self.heard, epoch)
        self._folded = max(self._folded, epoch)

    def mark_at(self, position: int) -> str | None:
        """The mark, for the shared tier, of what was asked for at this position; None when it can't be told."""
        if not self.bus or position < self._oldest:
            return None
        epoch = self._crest.epoch_above(position)
        known = self.heard if epoch is None else epoch - 1
        return f"{self.bus}:{known}"

    def position_of(self, mark: str, *, position: int, unplaced: int | None) -> int | None:
        """The latest position that says no more than `mark`; None when it is of another bus, or no mark at all.

        position: of the log now. unplaced: the first position whose record has no place on the bus yet.
        """
        bus, _, text = mark.rpartition(":")
        if not self.bus or bus != self.bus or not (text.isascii() and text.isdigit()):
            return None
        if int(text) < self._folded:
            return 0
        after = self._tail.seq_after(int(text))
        news = min((seq for seq in (after, unplaced) if seq is not None), default=position + 1)
        return news - 1


class _Chain:
    """Pairs of (epoch, position), both growing."""

    __slots__ = ("_epochs", "_seqs")

    def __init__(self) -> None:
        self._epochs = array("q")
        self._seqs = array("q")

    @property
    def last_epoch(self) -> int:
        return self._epochs[-1] if self._epochs else 0

    @property
    def last_seq(self) -> int:
        return self._seqs[-1] if self._seqs else 0

    def append(self, epoch: int, seq: int) -> None:
        self._epochs.append(epoch)
        self._seqs.append(seq)

    def drop_from(self, seq: int) -> None:
        """Remove the pairs at the end whose position is not before `seq`."""
        while self._seqs and self._seqs[-1] >= seq:
            self._seqs.pop()
            self._epochs.pop()

    def seq_after(self, epoch: int) -> int | None:
        """The position of the first pair after this epoch."""
        index = bisect_right(self._epochs, epoch)
        return self._seqs[index] if index < len(self._seqs) else None

    def epoch_above(self, seq: int) -> int | None:
        """The epoch of the first pair above this position."""
        index = bisect_right(self._seqs, seq)
        return self._epochs[index] if index < len(self._epochs) else None

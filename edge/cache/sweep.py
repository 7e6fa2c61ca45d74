"""Room in the disk tier: what goes when it is full.

The order is SIEVE's (Zhang et al., NSDI 2024): files stand in the order in which they were stored; a hand goes from the
oldest to the youngest and round again; a file that was used since the hand last came by is spared and loses its mark,
one that was not goes. A hit therefore moves nothing, it only sets a mark, and what is asked for once goes soon.

Millions of files are not kept in one list. The tree's buckets form groups of some hundreds of files, each with a hand
of its own: enough to behave as the whole would, few enough to be listed quickly. (Beyond 256 groups they grow.) The
groups take turns, and each gives up a sixteenth of its bytes. What is of no more use (a file's modification time says
until when it is) goes first. Files are ordered by their change time, the instant at which they came into their place.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edge.cache.descriptor import Descriptor
from edge.cache.filelock import held
from edge.cache.ledger import BUCKETS, Bucket, Ledger

_GROUP_FILES = 512
_SHARE = 16
_LOCK_WITHIN_S = 10.0
_BLOCK = 4096
_NAME = re.compile(r"[0-9a-f]{32}")


def space(status: os.stat_result) -> int:
    """Bytes of disk that a file takes. (Some file systems tell its blocks only later.)"""
    return max(status.st_blocks * 512, -(-status.st_size // _BLOCK) * _BLOCK)


def space_for(size: int) -> int:
    """Bytes of disk that a file of that size will take, about."""
    return -(-size // _BLOCK) * _BLOCK


@dataclass(frozen=True, slots=True)
class Resident:
    """One file in its place. name: the hash, 32 hexadecimal digits. stored_ns: when it came; until_s: of use until."""

    name: str
    inode: int
    stored_ns: int
    until_s: float
    space: int


def place_of(root: Path, name: str) -> str:
    """Where a file of that name lies."""
    return f"{root}/{name[:2]}/{name[2]}/{name[3:]}"


def bucket_of(name: str) -> int:
    """The bucket in which a file of that name lies."""
    return int(name[:2], 16)


def choose(
    residents: Sequence[Resident], hand: int, quota: int, used: Callable[[str], bool]
) -> tuple[list[Resident], int]:
    """Which files go so that `quota` bytes become free, and where the hand stands then.

    residents: in the order in which they were stored. hand: `stored_ns` of the last one looked at, 0 to begin with the
    oldest. used: whether that file was used since this was last asked.
    """
    start = next((index for index, one in enumerate(residents) if one.stored_ns > hand), 0)
    leaving: dict[str, Resident] = {}
    freed = 0
    for step in range(2 * len(residents)):
        one = residents[(start + step) % len(residents)]
        if freed >= quota:
            break
        hand = one.stored_ns
        if one.name not in leaving and not used(one.name):
            leaving[one.name] = one
            freed += one.space
    round_over = not residents or hand == residents[-1].stored_ns
    return list(leaving.values()), 0 if round_over else hand


class Sweep:
    """root: of the tree of one format version. limit: bytes of the whole tier, may be changed.

    used: see `choose`. wall: seconds since the epoch. All methods block, and raise OSError.
    """

    def __init__(
        self, root: Path, ledger: Ledger, *, limit: int, used: Callable[[str], bool], wall: Callable[[], float]
    ) -> None:
        self._root = root
        self._ledger = ledger
        self.limit = limit
        self._used = used
        self._wall = wall
        self._turn = Descriptor(root / "sweep.lock")
        self.evictions = 0

    def make_room(self, size: int, *, at_least: int = 0) -> bool:
        """Evict until a file of that size has room; whether it has. at_least: bytes that go even if it has already."""
        if size > self.limit:
            return False
        with held(self._turn.number, within_s=_LOCK_WITHIN_S):
            freed = 0
            for _ in range(2 * BUCKETS):
                if freed >= at_least and self._has_room(size):
                    return True
                freed += self._sweep_next(max(size, at_least))
            return self._has_room(size)

    def count(self, number: int) -> tuple[list[Resident], int]:
        """Count a bucket anew and rid it of what is of no more use; what is left, and bytes that became free."""
        books = self._ledger.bucket(number)
        found = list(_listed(str(self._root), f"{number:02x}"))
        total = sum(one.space for one in found)
        if (total, len(found)) != (books.bytes, books.files):
            with self._ledger.locked():
                self._ledger.recount(number, Bucket(total, len(found), books.changes, 0))
        now = self._wall()
        freed = self.remove(one for one in found if one.until_s <= now)
        return [one for one in found if one.until_s > now], freed

    def remove(self, leaving: Iterable[Resident]) -> int:
        """Take these files out, if they are still the same; bytes that became free."""
        return sum(self._removed(one) for one in leaving)

    def _has_room(self, size: int) -> bool:
        totals = self._ledger.totals()
        return totals.bytes + totals.reserved + size <= self.limit

    def _sweep_next(self, need: int) -> int:
        with self._ledger.locked():
            groups = _power_of_two(self._ledger.totals().files // _GROUP_FILES)
            group = self._ledger.next_group(groups)
            hand = self._ledger.bucket(group).hand
        counted = [self.count(number) for number in range(group, BUCKETS, groups)]
        residents = sorted((one for left, _ in counted for one in left), key=_order)
        freed = sum(bytes_ for _, bytes_ in counted)
        quota = max(need, sum(one.space for one in residents) // _SHARE) - freed
        leaving, hand = choose(residents, hand, quota, self._used)
        freed += self.remove(leaving)
        self.evictions += len(leaving)
        with self._ledger.locked():
            self._ledger.set_hand(group, hand)
        return freed

    def _removed(self, one: Resident) -> int:
        with suppress(FileNotFoundError), self._ledger.locked():
            path = Path(place_of(self._root, one.name))
            if path.stat().st_ino == one.inode:
                path.unlink()
                self._ledger.change(bucket_of(one.name), size=-one.space, files=-1)
                return one.space
        return 0


def _order(one: Resident) -> tuple[int, str]:
    return one.stored_ns, one.name


def _power_of_two(number: int) -> int:
    """The largest one that is not above `number`, between 1 and the number of buckets."""
    return 1 << (max(1, min(number, BUCKETS)).bit_length() - 1)


def _listed(root: str, bucket: str) -> Iterator[Resident]:
    """All files of a bucket that bear a name as we give it."""
    for leaf in _entries(f"{root}/{bucket}"):
        for entry in _entries(leaf.path):
            name = f"{bucket}{leaf.name}{entry.name}"
            if _NAME.fullmatch(name):
                with suppress(FileNotFoundError):
                    yield _resident(name, entry.stat(follow_symlinks=False))


def _resident(name: str, status: os.stat_result) -> Resident:
    return Resident(name, status.st_ino, status.st_ctime_ns, status.st_mtime, space(status))


def _entries(directory: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []

"""Counts of every resource in every province, as whole numbers in one array.

28,000 resources in 35 provinces are a small matrix: sums over any part of it, and rankings of it, take milliseconds and
are exact. Pure: what is read is put in, what is asked is added up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Rows = NDArray[np.intp]
Mask = NDArray[np.bool_]

VIEWS: Final = 0
PLAYS: Final = 1
WATCH_MS: Final = 2
SEEN: Final = 3
_PLANES: Final = 4
_FIRST_ROOM: Final = 64


class Register:
    """Which row of the sheets belongs to which resource. Rows are never given back: resources are few and stay."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self._rows: dict[bytes, int] = {}
        self._ranks: Rows = np.empty(0, np.intp)

    def __len__(self) -> int:
        return len(self.ids)

    def row(self, resource: bytes) -> int:
        """The resource's row, a new one for a resource not met before."""
        found = self._rows.get(resource)
        if found is None:
            found = self._rows[resource] = len(self.ids)
            self.ids.append(resource.decode())
        return found

    def rows(self, resources: Sequence[bytes]) -> Rows:
        """The rows of several resources."""
        try:
            return np.fromiter(map(self._rows.__getitem__, resources), np.intp, len(resources))
        except KeyError:
            return np.fromiter(map(self.row, resources), np.intp, len(resources))

    def find(self, resource: str) -> int | None:
        """The row of a resource, None for one that was never met."""
        return self._rows.get(resource.encode())

    def ranks(self) -> Rows:
        """By row: the place of the row's id among all ids in their order."""
        if len(self._ranks) != len(self.ids):
            ranks = np.empty(len(self.ids), np.intp)
            ranks[np.argsort(np.array(self.ids, dtype=np.str_), kind="stable")] = np.arange(len(self.ids))
            self._ranks = ranks
        return self._ranks


class Sheet:
    """The counts of some time, by province, plane (VIEWS, PLAYS, WATCH_MS, SEEN) and row of the register.

    The sums over all provinces, and over all rows, are kept up to date with every change, so that what is asked most
    costs nothing.
    """

    def __init__(self, provinces: int, register: Register) -> None:
        self._register = register
        self._cells: Ints = np.zeros((provinces, _PLANES, _FIRST_ROOM), np.int64)
        self._together: Ints = np.zeros((_PLANES, _FIRST_ROOM), np.int64)
        self._totals: Ints = np.zeros((provinces, _PLANES), np.int64)

    def put(self, province: int, rows: Rows, values: Ints) -> None:
        """Replace the counts of some rows, each of which comes once. values: views, plays, watch_ms by row."""
        self._make_room()
        cells = self._cells[province]
        change = np.ones((_PLANES, len(rows)), np.int64)
        change[:SEEN] = values
        change -= cells[:, rows]
        cells[:, rows] += change
        self._together[:, rows] += change
        self._totals[province] += change.sum(axis=1)

    def clear(self, province: int) -> None:
        """Nothing is counted there."""
        self._together -= self._cells[province]
        self._cells[province] = 0
        self._totals[province] = 0

    def total(self, province: int) -> Ints:
        """By plane, the sum of a province."""
        return np.asarray(self._totals[province], np.int64)

    def together(self, provinces: Sequence[int] | None = None) -> Ints:
        """By plane and row, the sum over provinces; None: all. Only to be read, and before the next change."""
        self._make_room()
        size = len(self._register)
        if provinces is None:
            return self._together[:, :size]
        sums = self._cells[provinces[0], :, :size]
        for province in provinces[1:]:
            sums = sums + self._cells[province, :, :size]
        return sums

    def sums(self, provinces: Sequence[int], mask: Mask | None = None) -> Ints:
        """By province and plane, the sum over the rows of the mask; None: all."""
        self._make_room()
        if mask is None:
            return np.asarray(self._totals[list(provinces)], np.int64)
        rows = np.flatnonzero(mask)
        return np.array([self._cells[one][:, rows].sum(axis=1) for one in provinces], np.int64)

    def _make_room(self) -> None:
        provinces, planes, room = self._cells.shape
        if len(self._register) > room:
            wide = max(len(self._register), 2 * room)
            cells, together = np.zeros((provinces, planes, wide), np.int64), np.zeros((planes, wide), np.int64)
            cells[:, :, :room], together[:, :room] = self._cells, self._together
            self._cells, self._together = cells, together


def tabulated(rankings: Sequence[tuple[Rows, Ints]], size: int) -> tuple[Rows, Ints]:
    """Rankings of views, plays, watch_ms as rows and their values; a row that one of them lacks has 0 there.

    size: the register's.
    """
    values = np.zeros((SEEN, size), np.int64)
    there = np.zeros(size, np.bool_)
    for plane, (rows, scores) in enumerate(rankings):
        values[plane, rows] = scores
        there[rows] = True
    found = np.flatnonzero(there)
    return found, values[:, found]


def grouped(values: Ints, groups: Rows, count: int) -> Ints:
    """By plane and group, the sum over the rows of the group. groups: the group of each row, below `count`."""
    sums = np.zeros((values.shape[0], count), np.int64)
    for plane in range(values.shape[0]):
        np.add.at(sums[plane], groups, values[plane])
    return sums


def highest(values: Ints, ranks: Rows, among: Mask, first: int, count: int) -> Rows:
    """Rows `first` to `first + count` of the ranking of those in `among`: highest first, of equals by `ranks`."""
    rows = np.flatnonzero(among)
    last = first + count
    if last < len(rows):
        found = values[rows]
        least = found[np.argpartition(found, len(rows) - last)[len(rows) - last]]
        rows = rows[found >= least]
    return np.asarray(rows[np.lexsort((ranks[rows], -values[rows]))][first:last], np.intp)

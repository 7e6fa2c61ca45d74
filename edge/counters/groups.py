"""Which section, stage, grade, subject and edition a resource belongs to, as the catalog says.

Counts are kept by resource only; what a resource belongs to is looked up when it is asked. So every roll-up is of one
version of the catalog, and its rows add up to the total: what carries no such tag, or is in no catalog, is `unknown`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edge.counters.question import TAGGED, UNKNOWN, Dimension
from edge.counters.sheet import Mask, Register, Rows


class Term(Protocol):
    """A tag's value with its names for people."""

    @property
    def id(self) -> str: ...
    @property
    def zh(self) -> str: ...
    @property
    def en(self) -> str: ...


class Tagged(Term, Protocol):
    """A resource of the catalog."""

    @property
    def section(self) -> str: ...
    @property
    def tags(self) -> Mapping[str, Term]: ...


class Catalog(Protocol):
    """One version of the catalog. It never changes; a newer one is another object."""

    @property
    def version(self) -> str: ...
    @property
    def lessons(self) -> Mapping[str, Tagged]: ...
    @property
    def sections(self) -> Mapping[str, Term]: ...


Look = Callable[[], Catalog | None]


@dataclass(frozen=True, slots=True)
class Grouped:
    """The groups of a dimension. of_row: by row, the group's place in `ids`; the first one is `unknown`."""

    ids: Sequence[str]
    names: Mapping[str, Term]
    of_row: Rows


class Groups:
    """The groups of all rows, made when they are asked for. look: the catalog as it is now, None without one."""

    def __init__(self, register: Register, look: Look) -> None:
        self._register = register
        self._look = look
        self._made_of: Catalog | None = None
        self._made: dict[Dimension, Grouped] = {}

    @property
    def version(self) -> str | None:
        """The catalog's version; None while there is no catalog."""
        catalog = self._look()
        return (catalog.version or None) if catalog is not None else None

    def as_of_now(self) -> Groups:
        """The same, of this moment's catalog whatever is published while a question is being answered."""
        catalog = self._look()
        self._remember(catalog)
        fixed = Groups(self._register, lambda: catalog)
        fixed._made_of, fixed._made = catalog, self._made
        return fixed

    def resources(self) -> Mapping[str, Term]:
        """The resources of the catalog, with their names."""
        catalog = self._look()
        return catalog.lessons if catalog is not None else {}

    def of(self, dimension: Dimension) -> Grouped:
        """The groups of a dimension that follows from the catalog."""
        catalog = self._look()
        self._remember(catalog)
        found = self._made.get(dimension)
        if found is None or len(found.of_row) < len(self._register):
            found = self._made[dimension] = self._group(dimension, catalog, found)
        return found

    def mask(self, tags: Sequence[tuple[Dimension, str]]) -> Mask | None:
        """The rows that carry all the tags; None for all rows."""
        mask: Mask | None = None
        for dimension, tag in tags:
            grouped = self.of(dimension)
            place = grouped.ids.index(tag) if tag in grouped.ids else -1
            these = grouped.of_row == place
            mask = these if mask is None else mask & these
        return mask

    def _remember(self, catalog: Catalog | None) -> None:
        """What is made from now on is of this one."""
        if catalog is not self._made_of:
            self._made_of, self._made = catalog, {}

    def _group(self, dimension: Dimension, catalog: Catalog | None, known: Grouped | None) -> Grouped:
        if catalog is None:
            return Grouped((UNKNOWN,), {}, np.zeros(len(self._register), np.intp))
        names = dict(known.names) if known else _names(dimension, catalog)
        ids = list(known.ids) if known else [UNKNOWN, *(one for one in names if one != UNKNOWN)]
        places = {one: place for place, one in enumerate(ids)}
        first = len(known.of_row) if known else 0
        lessons = catalog.lessons
        added = [
            places[_tag(dimension, lesson)] if (lesson := lessons.get(resource)) is not None else 0
            for resource in self._register.ids[first:]
        ]
        before = known.of_row if known else np.empty(0, np.intp)
        return Grouped(ids, names, np.concatenate([before, np.array(added, np.intp)]))


def _tag(dimension: Dimension, lesson: Tagged) -> str:
    if dimension is Dimension.SECTION:
        return lesson.section
    term = lesson.tags.get(dimension.value)
    return term.id if term is not None else UNKNOWN


def _names(dimension: Dimension, catalog: Catalog) -> dict[str, Term]:
    """All values that the catalog has of the dimension, in the order in which they come."""
    if dimension not in TAGGED:
        raise ValueError(f"{dimension} does not follow from the catalog")
    if dimension is Dimension.SECTION:
        sections = dict(catalog.sections)
        return sections | {
            one.section: _Plain(one.section) for one in catalog.lessons.values() if one.section not in sections
        }
    return {term.id: term for one in catalog.lessons.values() if (term := one.tags.get(dimension.value)) is not None}


@dataclass(frozen=True, slots=True)
class _Plain:
    """A value that has no names but its id."""

    id: str

    @property
    def zh(self) -> str:
        return self.id

    @property
    def en(self) -> str:
        return self.id

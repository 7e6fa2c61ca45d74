"""Tables and lines as people read them: what users wrote stands there as they wrote it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


class Kind(Enum):
    """What a column holds. Texts are folded where there is no room for them."""

    TEXT = "text"
    TIME = "time"
    NUMBER = "number"


class Column(NamedTuple):
    """A column's head, and what is below it."""

    head: str
    kind: Kind = Kind.TEXT


def plain_console() -> Console:
    """Standard output, where `[b]` and `:smile:` are characters like any other."""
    from rich.console import Console

    return Console(markup=False, emoji=False, highlight=False)


def tabulated(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> Table:
    """A table for `plain_console`."""
    from rich.table import Table

    table = Table()
    for head, kind in columns:
        table.add_column(head, justify="right" if kind is Kind.NUMBER else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table

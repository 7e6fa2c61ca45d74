"""Tables and lines as people read them: what users wrote stands there as they wrote it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rich.console import Console


# Wider than any line of ours. A program that reads them wants rows, and has no edge that they could go beyond.
_ENDLESS = 10_000
_FOLDED = 8  # characters of a text in a line, at least


class Kind(Enum):
    """What a column holds. Where there is no room texts are folded; half of a number or of a time would be another."""

    TEXT = "text"
    TIME = "time"
    NUMBER = "number"


class Column(NamedTuple):
    """A column's head, and what is below it."""

    head: str
    kind: Kind = Kind.TEXT


def plain_console() -> Console:
    """Standard output, where `[b]` and `:smile:` are characters like any other.

    As wide as the terminal, or as COLUMNS says; in a pipe or a file lines are as long as they need to be.
    """
    from rich.console import Console

    endless = not sys.stdout.isatty() and not os.environ.get("COLUMNS", "").isdigit()
    return Console(markup=False, emoji=False, highlight=False, width=_ENDLESS if endless else None)


def print_table(console: Console, columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
    """Prints rows of cells below heads. What is too wide for the console even with all texts folded goes beyond it."""
    from rich.cells import cell_len
    from rich.table import Table

    cells = [tuple(row) for row in rows]
    widest = [max(map(cell_len, column)) for column in zip((head for head, _ in columns), *cells, strict=True)]
    least = [
        min(width, _FOLDED) if kind is Kind.TEXT else width for (_, kind), width in zip(columns, widest, strict=True)
    ]
    needed = sum(least) + 3 * len(least) + 1  # two spaces and a line for each, and the last line
    table = Table(width=needed if needed > console.width else None)
    for (head, kind), width in zip(columns, least, strict=True):
        table.add_column(
            head,
            justify="right" if kind is Kind.NUMBER else "left",
            overflow="fold",
            no_wrap=kind is not Kind.TEXT,
            min_width=width,
        )
    for row in cells:
        table.add_row(*row)
    console.print(table, crop=False)

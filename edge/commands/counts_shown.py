"""Counts as people read them: tables, and series as a chart of blocks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from edge.commands.tables import Column, Kind, plain_console, print_table

if TYPE_CHECKING:
    from rich.console import Console

METRICS = ("views", "plays", "watch_seconds", "visits", "uniques")
_KINDS = {
    **dict.fromkeys((*METRICS, "amount"), Kind.NUMBER),
    "province": Kind.TEXT,
    "resource": Kind.TEXT,
    "minute": Kind.TIME,
    "reason": Kind.TEXT,
}
_HEIGHT = 10  # lines of a chart
_BLOCKS = " ▁▂▃▄▅▆▇█"
_ROWS_SHOWN = 31


def show(document: dict[str, Any], *, as_json: bool) -> None:
    """Print an answer."""
    if as_json:
        click.echo(json.dumps(document, ensure_ascii=False, indent=2))
        return
    console = plain_console()
    if "series" in document:
        _series(console, document)
    else:
        _table(console, document)
    if document.get("catalog_version"):
        console.print(f"by catalog {document['catalog_version']}", soft_wrap=True)
    console.print(f"complete through {_through(document['complete_through'])}", soft_wrap=True)


def _through(told: str | dict[str, str | None] | None) -> str:
    """One time, or the earliest of all that are listed."""
    if isinstance(told, dict):
        known = [one for one in told.values() if one is not None]
        told = min(known, key=datetime.fromisoformat) if known else None
    return told or "no time yet"


def _table(console: Console, document: dict[str, Any]) -> None:
    for name, head in (("resources", "Resource"), ("top", ""), ("by", ""), ("corrections", "Correction")):
        rows = document.get(name)
        if isinstance(rows, list):
            _listing(console, rows, head or str(document.get("dimension", "resource")).capitalize())
            return
    _summary(console, document)


def _summary(console: Console, document: dict[str, Any]) -> None:
    peak = document["views_daily_peak"]
    shown = {
        "Views": _number(document["views"]),
        "Views today": _number(document["views_today"]),
        "Views a day, on average": _number(document["views_daily_average"]),
        "Highest day": f"{_number(peak['views'])} ({peak['date'] or '-'})",
        "Plays": _number(document["plays"]),
        "Watched, hours": f"{document['watch_seconds'] / 3600:,.1f}",
        "Visits": _number(document["visits"]),
        "Unique viewers, estimated": _number(document["uniques"]),
        "Resources": _number(document["resources"]),
        "Provinces": _number(document["provinces"]),
        "Countries": _number(document["countries"]),
    }
    print_table(console, (Column("Figure"), Column("Value", Kind.NUMBER)), shown.items())


def _listing(console: Console, rows: list[dict[str, Any]], head: str) -> None:
    """Rows with what they have: the id, what it is called, amounts."""
    called = any("name" in row for row in rows)
    today = bool(rows) and "today" in rows[0]
    names = [name for name in _KINDS if rows and name in rows[0]]
    columns = [Column(head)]
    columns += [Column("Name")] if called else []
    columns += [Column(name.replace("_", " ").capitalize(), _KINDS[name]) for name in names]
    columns += [Column("Views today", Kind.NUMBER)] if today else []

    def cells(row: dict[str, Any]) -> list[str]:
        name = [_called(row)] if called else []
        views_today = [_number(row["today"]["views"])] if today else []
        return [row["id"], *name, *(_cell(row[one]) for one in names), *views_today]

    print_table(console, columns, map(cells, rows))


def _called(row: dict[str, Any]) -> str:
    name = row.get("name") or {}
    return " · ".join(dict.fromkeys(text for text in (name.get("zh"), name.get("en")) if text))


def _series(console: Console, document: dict[str, Any]) -> None:
    metric, points = document["metric"], document["series"]
    values = [point[metric] for point in points]
    title = f"{metric.replace('_', ' ')} by {document['step']}: {_number(round(sum(values), 3))}"
    console.print(f"{title}, at most {_number(max(values, default=0))}", soft_wrap=True)
    width = max(10, min(console.width - 1, 120))
    for line in chart(values, width):
        console.print(line, style="cyan")
    if points:
        times = [_short(point["at"], document["step"]) for point in points]
        console.print(_footer(times[0], times[-1], len(_together(values, width))), soft_wrap=True)
    if len(points) <= _ROWS_SHOWN:
        columns = (Column("From", Kind.TIME), Column(metric.replace("_", " ").capitalize(), Kind.NUMBER))
        rows = ((_short(point["at"], document["step"]), _number(point[metric])) for point in points)
        print_table(console, columns, rows)


def _footer(first: str, last: str, columns: int) -> str:
    """The times of a chart's first and last column, below them as far as there is room for both."""
    return first if first == last else first + last.rjust(max(len(last) + 2, columns - len(first)))


def chart(values: Sequence[float], width: int) -> list[str]:
    """A chart of blocks, one column for each value, or where they are too many for a few of them together."""
    columns = _together(values, width)
    most = max(columns, default=0)
    if most <= 0:
        return [_BLOCKS[1] * len(columns)]
    steps = len(_BLOCKS) - 1
    heights = [max(1, round(max(0, value) / most * _HEIGHT * steps)) for value in columns]
    return [
        "".join(_BLOCKS[min(steps, max(0, height - line * steps))] for height in heights).rstrip()
        for line in range(_HEIGHT - 1, -1, -1)
    ]


def _together(values: Sequence[float], width: int) -> list[float]:
    """At most so many sums of values that follow each other, as many in each."""
    each = -(-len(values) // width) or 1
    return [sum(values[first : first + each]) for first in range(0, len(values), each)]


def _short(at: str, step: str) -> str:
    moment = datetime.fromisoformat(at)
    return f"{moment:%Y-%m-%d}" if step == "day" else f"{moment:%Y-%m-%d %H:%M}"


def _cell(value: object) -> str:
    return _number(value) if isinstance(value, int | float) else str(value or "-")


def _number(value: float) -> str:
    return f"{value:,}"

"""Asking a node for counts: the options that all commands share, and the answer or one clear line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

import click

from edge.commands.node_client import document_of, located

TIMEOUT_S = 20.0
FILTERS = {
    "province": ("CODE[,CODE]", "Only these provinces."),
    "section": ("ID", "Only resources of this section."),
    "stage": ("ID", "Only resources of this stage."),
    "grade": ("ID", "Only resources of this grade."),
    "subject": ("ID", "Only resources of this subject."),
    "edition": ("ID", "Only resources of this edition."),
    "country": ("CC", "Only this country; ZZ: not known."),
}
# What an answer has at the least.
MEMBERS = {
    "summary": (
        *("views", "views_today", "views_daily_average", "views_daily_peak", "plays", "watch_seconds"),
        *("visits", "uniques", "resources", "provinces", "countries"),
    ),
    "resources": ("resources",),
    "top": ("top",),
    "by": ("by",),
    "series": ("series", "metric", "step"),
    "corrections": ("corrections",),
}
_UNASKED = datetime.fromtimestamp(0, UTC)
Command = TypeVar("Command", bound=Callable[..., Any])


def reads(command: Command) -> Command:
    """Adds the options of every command that shows an answer: where it is read, and --json."""
    return located(click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")(command))


def filtered(command: Command) -> Command:
    """Adds the options that narrow what is counted, day excepted."""
    for name, (metavar, text) in reversed(FILTERS.items()):
        command = click.option(f"--{name}", metavar=metavar, help=text)(command)
    return command


def ask(url: str, token_file: Path | None, path: str, asked: Mapping[str, object]) -> dict[str, Any]:
    """The document under `/v1/counts/`; what nobody can answer is wrong usage, a refusal one line and exit status 1."""
    _check(path, asked)
    what = path.partition("/")[0]
    members = (*MEMBERS[what], "complete_through")
    return document_of(address_of(url, path, asked), token_file, members, timeout_s=TIMEOUT_S)


def _check(path: str, asked: Mapping[str, object]) -> None:
    """Refuse what no node would answer, as the node would say it. What time it is, is the node's to say."""
    from config.provinces import PROVINCES
    from edge.counters import question

    parameters = [(name, str(value)) for name, value in asked.items() if value is not None]
    what, _, dimension = path.partition("/")
    checks: dict[str, Callable[[], object]] = {
        "resources": lambda: question.resources(parameters),
        "top": lambda: question.top(parameters, PROVINCES),
        "by": lambda: question.totals(dimension, parameters, PROVINCES),
        "corrections": lambda: question.page(parameters, PROVINCES),
    }
    if "to" in dict(parameters):
        checks["series"] = lambda: question.series(parameters, PROVINCES, _UNASKED)
    try:
        checks.get(what, tuple)()
    except question.QuestionError as error:
        raise click.UsageError(str(error)) from None


def address_of(url: str, path: str, asked: Mapping[str, object]) -> str:
    """Of what is asked of the node at `url`, under `/v1/counts/`."""
    query = urlencode({name: value for name, value in asked.items() if value is not None}, safe=",")
    return f"{url}/v1/counts/{path}" + (f"?{query}" if query else "")

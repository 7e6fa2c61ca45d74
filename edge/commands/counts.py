"""`smartedu counts`: view counts as a table or as JSON, read through the HTTP interface of any node."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import click

from edge.commands.subcommands import WithSubcommands

if TYPE_CHECKING:
    from rich.table import Table

EXAMPLE = """\b
Example:
  smartedu counts
  smartedu counts lesson-000001 lesson-000002
  smartedu counts --top 10 --json

\b
Without a resource: the summary. With --url the counts of another node."""

DEFAULT_URL = "http://127.0.0.1:8080"
TIMEOUT_S = 10.0
IDS_AT_ONCE = 200


SUBCOMMANDS = {
    "correct": ("edge.commands.counts_correct", "Correct counts by a signed entry with a reason."),
    "export": ("edge.commands.counts_export", "Write a closed day as CSV, Parquet or JSON."),
    "rebuild": ("edge.commands.counts_rebuild", "Compare a province's Redis with history, and put it right."),
}


@click.command(cls=WithSubcommands, subcommands=SUBCOMMANDS, epilog=EXAMPLE)
@click.argument("resources", nargs=-1, metavar="[RESOURCE]...")
@click.option("--top", "limit", type=click.IntRange(1, 1000), help="The N resources with most views.")
@click.option("--url", default=DEFAULT_URL, show_default=True, envvar="SMARTEDU_URL", help="Public address of a node.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
def counts(resources: tuple[str, ...], limit: int | None, url: str, as_json: bool) -> None:
    """Read view counts."""
    if resources and limit is not None:
        raise click.UsageError("give resources or --top, not both")
    if len(resources) > IDS_AT_ONCE:
        raise click.UsageError(f"{len(resources)} resources given; at most {IDS_AT_ONCE} at once")
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise click.UsageError(f"--url {url!r} is not an address; allowed: http://HOST[:PORT] or https://HOST[:PORT]")
    document = _read(url.rstrip("/") + _path(resources, limit))
    if as_json:
        click.echo(json.dumps(document, ensure_ascii=False, indent=2))
    else:
        _show(document)


def _path(resources: tuple[str, ...], limit: int | None) -> str:
    if resources:
        return "/v1/counts/resources?" + urlencode({"ids": ",".join(resources)}, safe=",")
    if limit is not None:
        return "/v1/counts/top?" + urlencode({"dimension": "resource", "metric": "views", "limit": limit})
    return "/v1/counts/summary"


def _read(url: str) -> dict[str, Any]:
    """The document at `url`; a refusal becomes one line and exit status 1."""
    from urllib.error import HTTPError, URLError
    from urllib.request import Request, urlopen

    try:
        with urlopen(Request(url, headers={"Accept": "application/json"}), timeout=TIMEOUT_S) as answer:  # noqa: S310  http(s) was checked
            document: dict[str, Any] = json.load(answer)
    except HTTPError as error:
        raise click.ClickException(detail_of(error.read()) or f"{url} answers {error.code} {error.reason}") from None
    except (URLError, OSError, ValueError) as error:
        raise click.ClickException(f"{url} cannot be read: {getattr(error, 'reason', error)}") from None
    return document


def detail_of(body: bytes) -> str:
    """What a problem document says."""
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, KeyError, TypeError):
        return ""


def _show(document: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    rows = document.get("resources") if isinstance(document.get("resources"), list) else document.get("top")
    table = Table()
    if rows is None:
        _summary(table, document)
    else:
        _listing(table, rows)
    console = Console()
    console.print(table)
    console.print(f"complete through {document['complete_through'] or 'no time yet'}", highlight=False)


def _summary(table: Table, document: dict[str, Any]) -> None:
    table.add_column("Figure")
    table.add_column("Value", justify="right")
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
    for name, value in shown.items():
        table.add_row(name, value)


def _listing(table: Table, rows: list[dict[str, Any]]) -> None:
    table.add_column("Resource", overflow="fold")
    names = [name for name in ("views", "plays", "watch_seconds", "uniques") if rows and name in rows[0]]
    for name in names:
        table.add_column(name.replace("_", " ").capitalize(), justify="right")
    today = bool(rows) and "today" in rows[0]
    if today:
        table.add_column("Views today", justify="right")
    for row in rows:
        cells = [_number(row[name]) for name in names]
        table.add_row(row["id"], *cells, *([_number(row["today"]["views"])] if today else []))


def _number(value: float) -> str:
    return f"{value:,}"

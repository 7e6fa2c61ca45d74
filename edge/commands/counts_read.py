"""`smartedu counts summary|resources|top|by|series|corrections`: what the HTTP interface answers, for people."""

from __future__ import annotations

from pathlib import Path

import click

from edge.commands.counts_reading import ask, filtered, reads
from edge.commands.counts_shown import show

METRICS = ("views", "plays", "watch_seconds", "visits", "uniques")
DIMENSIONS = ("province", "country", "section", "stage", "grade", "subject", "edition", "agent")
IDS_AT_ONCE = 200
_DAY = click.option("--day", metavar="YYYY-MM-DD", help="Only this day of UTC+8; or: today.")


@click.command(epilog="\b\nExample:\n  smartedu counts summary --json")
@reads
def summary(url: str, token_file: Path | None, as_json: bool) -> None:
    """The headline figures."""
    show(ask(url, token_file, "summary", {}), as_json=as_json)


@click.command(epilog="\b\nExample:\n  smartedu counts resources lesson-000001 lesson-000002")
@click.argument("ids", nargs=-1, required=True, metavar="RESOURCE...")
@reads
def resources(ids: tuple[str, ...], url: str, token_file: Path | None, as_json: bool) -> None:
    """Counts of resources, in the order given."""
    if len(ids) > IDS_AT_ONCE:
        raise click.UsageError(f"{len(ids)} resources given; at most {IDS_AT_ONCE} at once")
    show(ask(url, token_file, "resources", {"ids": ",".join(ids)}), as_json=as_json)


@click.command(epilog="\b\nExample:\n  smartedu counts top --grade grade-3 --province 44 --day today --limit 10")
@click.option(
    "--dimension",
    type=click.Choice(("resource", *DIMENSIONS[:-1])),
    default="resource",
    show_default=True,
    help="What is ranked.",
)
@click.option("--metric", type=click.Choice(METRICS[:-1]), default="views", show_default=True, help="By what.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many.")
@click.option("--offset", type=click.IntRange(0), default=0, help="How many are passed over.")
@_DAY
@filtered
@reads
def top(url: str, token_file: Path | None, as_json: bool, **asked: object) -> None:
    """A ranking, exact."""
    show(ask(url, token_file, "top", {**asked, "offset": asked["offset"] or None}), as_json=as_json)


@click.command(epilog="\b\nExample:\n  smartedu counts by province --metric views --day today")
@click.argument("dimension", type=click.Choice(DIMENSIONS))
@click.option("--metric", type=click.Choice(METRICS), help="What is counted.  [default: all]")
@_DAY
@filtered
@reads
def by(dimension: str, url: str, token_file: Path | None, as_json: bool, **asked: object) -> None:
    """Totals by a dimension; together they are the total."""
    show(ask(url, token_file, f"by/{dimension}", asked), as_json=as_json)


@click.command(
    epilog="\b\nExample:\n  smartedu counts series --step minute --from 2026-11-29T08:00 --to 2026-11-29T09:00"
)
@click.option("--metric", type=click.Choice(METRICS[:-1]), default="views", show_default=True, help="What is counted.")
@click.option(
    "--step", type=click.Choice(("minute", "hour", "day")), default="hour", show_default=True, help="How finely."
)
@click.option("--from", "begin", metavar="TIME", help="ISO 8601 time (UTC+8 without an offset) or date.")
@click.option(
    "--to",
    "end",
    metavar="TIME",
    help="Time, rounded up to a step and not included, or date, included; or use --day.  [default: now]",
)
@click.option("--resource", metavar="ID", help="Only this resource.")
@_DAY
@filtered
@reads
def series(
    begin: str | None, end: str | None, url: str, token_file: Path | None, as_json: bool, **asked: object
) -> None:
    """A metric over time, as a chart."""
    show(ask(url, token_file, "series", {**asked, "from": begin, "to": end}), as_json=as_json)


@click.command(epilog="\b\nExample:\n  smartedu counts corrections --limit 5")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many.")
@click.option("--province", metavar="CODE[,CODE]", help="Only these provinces.")
@reads
def corrections(limit: int, province: str | None, url: str, token_file: Path | None, as_json: bool) -> None:
    """Entries that put counts right, the newest first."""
    show(ask(url, token_file, "corrections", {"limit": limit, "province": province}), as_json=as_json)

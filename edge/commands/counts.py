"""`smartedu counts`: view counts as a table or as JSON, read through the HTTP interface of any node."""

from __future__ import annotations

from pathlib import Path

import click

from edge.commands.counts_reading import ask, reads
from edge.commands.counts_shown import show
from edge.commands.subcommands import WithSubcommands

EXAMPLE = """\b
Examples:
  smartedu counts
  smartedu counts lesson-000001 lesson-000002
  smartedu counts --top 10 --json
  smartedu counts by province --day today
  smartedu counts series --step minute --province 44

\b
Without a resource: the summary. With --url the counts of another node. A resource that is called
like a command is given after --."""

IDS_AT_ONCE = 200
_READ = "edge.commands.counts_read"
SUBCOMMANDS = {
    "summary": (_READ, "The headline figures."),
    "resources": (_READ, "Counts of resources."),
    "top": (_READ, "A ranking, exact."),
    "by": (_READ, "Totals by province, country, section, stage, grade, subject, edition, agent."),
    "series": (_READ, "A metric over time, as a chart."),
    "corrections": (_READ, "Entries that put counts right."),
    "correct": ("edge.commands.counts_correct", "Correct counts by a signed entry with a reason."),
    "export": ("edge.commands.counts_export", "Write a closed day as CSV, Parquet or JSON."),
    "rebuild": ("edge.commands.counts_rebuild", "Compare provinces' Redis with history, and put it right."),
}


@click.command(cls=WithSubcommands, subcommands=SUBCOMMANDS, epilog=EXAMPLE)
@click.argument("resources", nargs=-1, metavar="[RESOURCE]...")
@click.option("--top", "limit", type=click.IntRange(1, 1000), help="The N resources with most views.")
@reads
def counts(resources: tuple[str, ...], limit: int | None, url: str, token_file: Path | None, as_json: bool) -> None:
    """Read view counts."""
    if resources and limit is not None:
        raise click.UsageError("give resources or --top, not both")
    if len(resources) > IDS_AT_ONCE:
        raise click.UsageError(f"{len(resources)} resources given; at most {IDS_AT_ONCE} at once")
    show(ask(url, token_file, *_question(resources, limit)), as_json=as_json)


def _question(resources: tuple[str, ...], limit: int | None) -> tuple[str, dict[str, object]]:
    if resources:
        return "resources", {"ids": ",".join(resources)}
    if limit is not None:
        return "top", {"dimension": "resource", "metric": "views", "limit": limit}
    return "summary", {}

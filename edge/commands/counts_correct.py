"""`smartedu counts correct`: a signed entry beside what was counted, through the admin listener of a node."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import click

from edge.commands.node_client import administered, document_of

EXAMPLE = """\b
Examples:
  smartedu counts correct --resource lesson-000001 --at 2026-11-28T20:15:00+08:00 --amount -120 \\
      --reason "a load test was counted"
  smartedu counts correct --kind visit --at 2026-11-28T20:15:00+08:00 --amount 7 --reason "..." --id visits-1

\b
The entry is added to the counts of its minute and listed with its reason; what was counted stays.
It is booked once for ever by its id: after a failure, give the same --id again. An id that stands
for another correction already is refused, as far as that can be known while Redis is away."""

TIMEOUT_S = 30.0
_ANY = "00"  # which province a node has is of no matter for what a correction may say
KINDS = ("visit", "view", "play", "watch")


@click.command(epilog=EXAMPLE)
@click.option("--kind", type=click.Choice(KINDS), default="view", show_default=True, help="What is corrected.")
@click.option("--resource", metavar="ID", help="Whose counts; left out for visits.")
@click.option("--at", required=True, metavar="TIME", help="The minute it is booked at, ISO 8601 with an offset.")
@click.option("--amount", required=True, type=float, help="What is added, below 0 to take away; of watch, seconds.")
@click.option("--reason", required=True, metavar="TEXT", help="Why, for everybody to read.")
@click.option("--id", "name", metavar="ID", help="Another one for each correction.  [default: made up]")
@click.option("--province", metavar="CODE", help="Two digits.  [default: the node's own]")
@click.option("--country", metavar="CC", help="Two letters, where it is not the province's.")
@administered("a node that takes the province's events")
def correct(amount: float, name: str | None, admin: str, token_file: Path | None, **members: str | None) -> None:
    """Correct counts by a signed entry with a reason."""
    from uuid import uuid4

    entry: dict[str, object] = {key: value for key, value in members.items() if value is not None}
    entry |= {"id": name or str(uuid4()), "amount": _number(amount)}
    _check(entry, entry | {"amount": amount})
    try:
        document = document_of(
            f"{admin}/counts/corrections", token_file, ("id", "province"), timeout_s=TIMEOUT_S, order=entry
        )
    except click.ClickException as error:
        raise type(error)(f"{error.message} (correction {entry['id']})") from None
    became = "was booked before, and is not booked again" if document.get("known") else "is taken and will be booked"
    click.echo(f"correction {document['id']} {became} in province {document['province']}")


def _number(amount: float) -> int | float | None:
    """As JSON can have it."""
    if not math.isfinite(amount):
        return None
    return int(amount) if amount.is_integer() else amount


def _check(entry: dict[str, object], given: dict[str, object]) -> None:
    """Refuse what no node would take, as the node would say it. What time it is, is the node's to say."""
    from edge.counters.corrections import MemberError, parse_correction

    try:
        parse_correction(json.dumps(entry).encode(), sys.maxsize, _ANY)
    except MemberError as error:
        value = given.get(error.member)
        shown = f"{value:.15g}" if isinstance(value, float) else repr(value)
        raise click.UsageError(f"--{error.member} {shown} is not allowed; allowed: {error.allowed}") from None

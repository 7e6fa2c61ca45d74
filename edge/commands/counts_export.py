"""`smartedu counts export`: a closed day of counts as a file, read through the HTTP interface of any node."""

from __future__ import annotations

import shutil
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from edge.commands.counts_reading import address_of
from edge.commands.node_client import located, opened

EXAMPLE = """\b
Examples:
  smartedu counts export --day 2026-11-28 > counts.csv
  smartedu counts export --day 2026-11-28 --format parquet --output counts.parquet

\b
One row per province, resource and hour of UTC+8; visits have no resource. A day can be had about
25 hours after its end, when no event of it can come any more."""

TIMEOUT_S = 120.0
FORMATS = ("csv", "parquet", "json")


@click.command(epilog=EXAMPLE)
@click.option(
    "--day", required=True, metavar="YYYY-MM-DD", type=click.DateTime(["%Y-%m-%d"]), help="The day, of UTC+8."
)
@click.option("--format", "form", type=click.Choice(FORMATS), default="csv", show_default=True, help="Kind of file.")
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), help="File to write.  [default: standard output]"
)
@located
def export(day: datetime, form: str, output: Path | None, url: str, token_file: Path | None) -> None:
    """Write a closed day of counts as CSV, Parquet or JSON."""
    if output is None and form == "parquet" and sys.stdout.isatty():
        raise click.UsageError("Parquet is not for a terminal: give --output FILE")
    asked = address_of(url, "export", {"format": form, "day": f"{day:%Y-%m-%d}"})
    with opened(asked, token_file, TIMEOUT_S) as answer:
        if output is None:
            _copy(answer, sys.stdout.buffer, asked)
        else:
            _write(answer, output, asked)


def _write(answer: Any, output: Path, asked: str) -> None:
    """The whole file, or none: it appears under its name when all of it is there."""
    try:
        with tempfile.NamedTemporaryFile(dir=output.parent, prefix=f".{output.name}.", delete=False) as file:
            part = Path(file.name)
            try:
                _copy(answer, file, asked)
                part.chmod(0o644)
                part.rename(output)
            except BaseException:
                part.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise click.ClickException(f"{output} cannot be written: {error}") from None


def _copy(answer: Any, target: Any, asked: str) -> None:
    """All of it; http.client calls a body that ends before its announced length an end like any other."""
    from http.client import HTTPException

    try:
        shutil.copyfileobj(answer, target)
        target.flush()
    except (HTTPException, TimeoutError, ConnectionResetError) as error:
        raise click.ClickException(f"{asked} broke off: {error!r}") from None
    if answer.length:
        raise click.ClickException(f"{asked} broke off: {answer.length} bytes are missing")

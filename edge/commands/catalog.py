"""`smartedu catalog`: what is published, and whether all of it is there."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import click

from edge.commands.storage import location_of, one_line_errors, storage_options
from origin.errors import PublishError

if TYPE_CHECKING:
    from origin.catalog import Catalog
    from origin.store import Store

EXAMPLE = """\b
Examples:
  smartedu catalog list
  smartedu catalog show lesson-000002
  smartedu catalog check --origin s3://school --s3-endpoint https://s3.example.org"""


@click.group(epilog=EXAMPLE)
def catalog() -> None:
    """List and check what is published."""


@catalog.command("list", epilog="Example: smartedu catalog list")
@storage_options
def list_lessons(origin: str | None, bucket: str | None, s3_endpoint: str | None) -> None:
    """Every lesson: id, section, duration, renditions, revision, title."""
    with _opened(origin, bucket, s3_endpoint) as (_, published):
        published.version()  # no catalog at all is no empty list
        for entry in published.entries():
            renditions = ",".join(entry.renditions)
            title = f"{entry.title.zh} / {entry.title.en}"
            click.echo(f"{entry.id}\t{entry.section}\t{entry.duration}\t{renditions}\t{entry.revision}\t{title}")


@catalog.command(epilog="Example: smartedu catalog show lesson-000002")
@click.argument("id_", metavar="ID")
@storage_options
def show(id_: str, origin: str | None, bucket: str | None, s3_endpoint: str | None) -> None:
    """The document of one lesson, as JSON."""
    import orjson

    with _opened(origin, bucket, s3_endpoint) as (_, published):
        entry = published.find(id_)
        if entry is None:
            raise PublishError(f"lesson {id_!r} is not published; `smartedu catalog list` names those that are")
        click.echo(orjson.dumps(published.lesson(entry), option=orjson.OPT_INDENT_2).decode())


@catalog.command(epilog="Example: smartedu catalog check --read")
@click.option("--read", is_flag=True, help="Fetch every object and hash it, instead of trusting the stored digest.")
@storage_options
def check(read: bool, origin: str | None, bucket: str | None, s3_endpoint: str | None) -> None:
    """Look for every object the catalog names: is it there, with the right size and SHA-256?

    Exit status 1 with one line per object that is not.
    """
    from origin.check import Checker
    from origin.progress import BarReporter, LineReporter, is_terminal

    with _opened(origin, bucket, s3_endpoint) as (store, published):
        bars = BarReporter(sys.stderr) if is_terminal() else nullcontext(LineReporter(sys.stderr))
        with bars as reporter:
            report = Checker(store, published, reporter, read=read).check()
    for finding in report.findings:
        click.echo(f"{finding.path}: {finding.what}")
    click.echo(f"{report.lessons} lessons, {report.objects} objects, {len(report.findings)} wrong")
    if report.findings:
        sys.exit(1)


@contextmanager
def _opened(origin: str | None, bucket: str | None, s3_endpoint: str | None) -> Iterator[tuple[Store, Catalog]]:
    from origin.catalog import Catalog
    from origin.store import Store

    with one_line_errors():
        store = Store(location_of(origin, bucket, s3_endpoint))
        yield store, Catalog(store)

"""`smartedu counts rebuild`: compare a province's Redis with history, and put it right."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from config.provinces import PROVINCES
from edge.commands.storage import location_of, state_directory, storage_options

if TYPE_CHECKING:
    from edge.counters.rebuild import Report
    from origin.progress import Reporter
    from origin.store import Location

EXAMPLE = """\b
Examples:
  smartedu counts rebuild --province 44 --counters-redis redis://counters:6379 --origin s3://smartedu
  smartedu counts rebuild --province 44 --config /etc/smartedu/edge.toml --apply

\b
Totals must be what history has of closed days and Redis of open ones; closed days what history has.
--apply puts that right while counting goes on. A Redis that has lost everything is told of the open
days by the nodes' journals, by itself: wait until the nodes have sent what they have, then apply.
Exit status 1 when anything differs (with --apply: when it still does)."""

SHOWN = 40


@click.command(epilog=EXAMPLE)
@click.option("--check/--apply", "checking", default=True, help="Only compare, or put right, too.  [default: --check]")
@click.option(
    "--province", "provinces", multiple=True, type=click.Choice(PROVINCES), metavar="CODE", help="Which (repeatable)."
)
@click.option("--counters-redis", metavar="URL", envvar="SMARTEDU_COUNTERS_REDIS", help="Redis that holds the counts.")
@storage_options
@click.option(
    "--config", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="TOML file of a node's settings."
)
@click.option("--json", "as_json", is_flag=True, help="Print all differences as JSON.")
@click.pass_context
def rebuild(
    ctx: click.Context,
    checking: bool,
    provinces: tuple[str, ...],
    counters_redis: str | None,
    origin: str | None,
    bucket: str | None,
    s3_endpoint: str | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """Recompute a province's counts from history and journals, and report every difference."""
    from edge.counters.history import HistoryError
    from origin.errors import PublishError

    try:
        redis, location, served = _places(config, counters_redis, origin, bucket, s3_endpoint)
        with _progress() as reporter:
            reports = asyncio.run(_all(provinces or served, redis, location, checking, reporter))
    except (HistoryError, PublishError) as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(json.dumps([_document(one) for one in reports], ensure_ascii=False, indent=2))
    else:
        for one in reports:
            _show(one)
    if any(one.differences for one in reports):
        ctx.exit(1)


def _places(
    config: Path | None, counters_redis: str | None, origin: str | None, bucket: str | None, s3_endpoint: str | None
) -> tuple[str, Location, tuple[str, ...]]:
    """Redis, bucket and provinces: what the options say, else a node's settings, else the local stack."""
    from config.settings import ConfigurationError, load

    given = {
        key: value for key, value in {"counters_redis": counters_redis, "s3_endpoint": s3_endpoint}.items() if value
    }
    try:
        settings = load(given, config)
    except ConfigurationError as error:
        raise click.UsageError(str(error)) from None
    redis = settings.counters_url() or _local_redis()
    if redis is None:
        raise click.UsageError("no Redis given and no local stack runs: give --counters-redis URL, or --config FILE")
    if config is not None and origin is None and bucket is None:
        origin = str(settings.origin[0])
        s3_endpoint = settings.s3_endpoint
    return redis, location_of(origin, bucket, s3_endpoint), (settings.province,)


def _local_redis() -> str | None:
    """Of the stack that `smartedu up` runs."""
    try:
        read = json.loads((state_directory() / "stack.json").read_text())
        return str(read["counters_redis"])
    except (OSError, ValueError, KeyError):
        return None


async def _all(
    provinces: tuple[str, ...], redis: str, location: Location, checking: bool, reporter: Reporter
) -> list[Report]:
    from edge.assembly.bucket import BucketStore
    from edge.counters.province_day import ProvinceDays
    from edge.counters.rebuild import Rebuild
    from edge.counters.sink import open_client
    from origin.store import Store

    client, store = open_client(redis, timeout_s=10.0), BucketStore(lambda: Store(location))
    reports = []
    try:
        with tempfile.TemporaryDirectory(prefix="smartedu-rebuild-") as workplace:
            for province in provinces:
                one = Rebuild(
                    ProvinceDays(client, province),
                    store,
                    Path(workplace),
                    holder=f"rebuild {socket.gethostname()} {os.getpid()}",
                    progress=_teller(reporter, province),
                )
                reports.append(await (one.check() if checking else one.apply()))
    finally:
        await client.aclose()
        await store.close()
    return reports


def _teller(reporter: Reporter, province: str) -> Callable[[str, int, int], None]:
    told = ""

    def tell(what: str, done: int, total: int) -> None:
        nonlocal told
        if told != what:
            told = what
            reporter.stage(f"{province}: {what}", total)
        reporter.reach(done)

    return tell


@contextmanager
def _progress() -> Iterator[Reporter]:
    from origin.progress import BarReporter, LineReporter, is_terminal

    if is_terminal():
        with BarReporter(sys.stderr) as bars:
            yield bars
    else:
        yield LineReporter(sys.stderr)


def _document(report: Report) -> dict[str, object]:
    return {
        "province": report.province,
        "closed_days": report.closed_days,
        "history_through": report.through.isoformat() if report.through else None,
        "resources": report.resources,
        "complete_through": _iso(report.complete_ms),
        "differences": [
            {
                "key": f"{{{report.province}}}:{one.key}",
                "field": one.field,
                "redis": one.redis,
                "history": one.history,
                "remedy": one.remedy.name.lower(),
            }
            for one in report.differences
        ],
    }


def _show(report: Report) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(
        f"province {report.province}: {report.closed_days} closed days, through {report.through or 'none'}, "
        f"{report.resources:,} resources; complete through {_iso(report.complete_ms) or 'no time yet'}",
        highlight=False,
    )
    if not report.differences:
        console.print("no difference", highlight=False)
        return
    table = Table("Key", "Field", "What to do")
    table.add_column("Redis says", justify="right")
    table.add_column("Should be", justify="right")
    for one in report.differences[:SHOWN]:
        table.add_row(one.key, one.field, one.remedy.value, f"{one.redis:,}", f"{one.history:,}")
    console.print(table)
    kinds = Counter(one.remedy.name.lower() for one in report.differences)
    counted = ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()))
    console.print(f"{len(report.differences):,} differences ({counted}); all of them: --json", highlight=False)


def _iso(ms: int | None) -> str | None:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds") if ms is not None else None

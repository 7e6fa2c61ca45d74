"""`smartedu counts rebuild`: compare provinces' Redis with history, and put it right, one province after another."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from config.provinces import PROVINCES
from edge.commands.storage import location_of, one_line_errors, state_directory, storage_options
from edge.commands.tables import Column, Kind, plain_console, print_table

if TYPE_CHECKING:
    from edge.counters.history import ObjectStore
    from edge.counters.rebuild import Report
    from edge.counters.witnesses import Difference
    from edge.redis_clients import Client
    from origin.progress import Reporter
    from origin.store import Store

EXAMPLE = """\b
Examples:
  smartedu counts rebuild --province 44 --counters-redis redis://counters:6379 --origin s3://smartedu
  smartedu counts rebuild --config /etc/smartedu/edge.toml --apply

\b
Without --province all that the node serves, one after another: those whose events it takes and those
whose counts can be asked for there; on the hub every province.
Totals must be what history has of closed days and Redis of open ones; closed days what history has.
--apply puts that right while counting goes on. A Redis that has lost everything is told of the open
days by the nodes' journals, by itself: wait until the nodes have sent what they have, then apply.
Exit status 1 when anything differs (with --apply: when it still does), or a province could not be
compared; the others are done all the same."""

SHOWN = 40
COLUMNS = (
    Column("Key"),
    Column("Field"),
    Column("What to do"),
    Column("Redis says", Kind.NUMBER),
    Column("Should be", Kind.NUMBER),
)


@click.command(epilog=EXAMPLE)
@click.option("--check/--apply", "checking", default=True, help="Only compare, or put right, too.  [default: --check]")
@click.option(
    "--province",
    "provinces",
    multiple=True,
    type=click.Choice(PROVINCES),
    metavar="CODE",
    help="Which (repeatable).  [default: all that the node serves]",
)
@click.option("--counters-redis", metavar="URL", envvar="SMARTEDU_COUNTERS_REDIS", help="Redis that holds the counts.")
@storage_options
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    envvar="SMARTEDU_CONFIG",
    help="TOML file of a node's settings.",
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
    """Recompute provinces' counts from history and journals, and report every difference."""
    with one_line_errors():
        redis, opened, served = _places(config, counters_redis, origin, bucket, s3_endpoint)
    chosen = tuple(dict.fromkeys(provinces)) or served
    outcomes = asyncio.run(_all(chosen, redis, opened, checking, _say if as_json else _show))
    if as_json:
        click.echo(json.dumps([_document(one) for one in outcomes], ensure_ascii=False, indent=2))
    elif len(outcomes) > 1:
        _sum_up(outcomes)
    if any(isinstance(one, _Failure) or one.differences for one in outcomes):
        ctx.exit(1)


@dataclass(frozen=True, slots=True)
class _Failure:
    """A province that could not be compared, or not be put right, and why."""

    province: str
    reason: str


def _places(
    config: Path | None, counters_redis: str | None, origin: str | None, bucket: str | None, s3_endpoint: str | None
) -> tuple[str, Callable[[], Store], tuple[str, ...]]:
    """Redis, how to open the bucket, provinces: what the options say, else a node's settings, else the local stack."""
    from config.settings import ConfigurationError, load
    from origin.store import Store, client_for

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
    location = location_of(origin, bucket, s3_endpoint)

    def opened() -> Store:
        return Store(location, client_for(location, settings.origin_ca, settings.s3_region))

    return redis, opened, settings.served_provinces


def _local_redis() -> str | None:
    """Of the stack that `smartedu up` runs."""
    try:
        read = json.loads((state_directory() / "stack.json").read_text())
        return str(read["counters_redis"])
    except (OSError, ValueError, KeyError):
        return None


async def _all(
    provinces: tuple[str, ...],
    redis: str,
    opened: Callable[[], Store],
    checking: bool,
    tell: Callable[[Report | _Failure], None],
) -> list[Report | _Failure]:
    """One province after another; each is told of as soon as it is done. What keeps one from being compared (a slot
    of a cluster that is away, a damaged object, somebody else's lease, a full disk) need not be in the others' way."""
    from edge.assembly.bucket import BucketStore
    from edge.counters.sink import open_client

    client, store = open_client(redis, timeout_s=10.0), BucketStore(opened)
    outcomes = []
    try:
        with tempfile.TemporaryDirectory(prefix="smartedu-rebuild-") as workplace:
            for province in provinces:
                outcomes.append(await _one(province, client, store, Path(workplace), checking))
                tell(outcomes[-1])
    finally:
        await client.aclose()
        await store.close()
    return outcomes


async def _one(province: str, client: Client, store: ObjectStore, workplace: Path, checking: bool) -> Report | _Failure:
    from edge.counters.history import HistoryError
    from edge.counters.province_day import ProvinceDays
    from edge.counters.rebuild import Rebuild

    holder = f"rebuild {socket.gethostname()} {os.getpid()}"
    with _progress() as reporter:  # ends before anything is told: bars and tables have one terminal
        tell = _teller(reporter, province)
        one = Rebuild(ProvinceDays(client, province), store, workplace, holder=holder, progress=tell)
        try:
            return await (one.check() if checking else one.apply())
        except HistoryError as error:
            return _Failure(province, str(error).removeprefix(f"province {province}: "))
        except OSError as error:  # no room for what is read, for example
            return _Failure(province, str(error))


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


def _document(outcome: Report | _Failure) -> dict[str, object]:
    if isinstance(outcome, _Failure):
        return {"province": outcome.province, "error": outcome.reason}
    return {
        "province": outcome.province,
        "closed_days": outcome.closed_days,
        "history_through": outcome.through.isoformat() if outcome.through else None,
        "resources": outcome.resources,
        "complete_through": _iso(outcome.complete_ms),
        "differences": [
            {
                "key": f"{{{outcome.province}}}:{one.key}",
                "field": one.field,
                "redis": one.redis,
                "history": one.history,
                "remedy": one.remedy.name.lower(),
            }
            for one in outcome.differences
        ],
    }


def _say(outcome: Report | _Failure) -> None:
    """What must not only be in a document: an error."""
    if isinstance(outcome, _Failure):
        click.echo(f"Error: province {outcome.province}: {outcome.reason}", err=True)


def _show(outcome: Report | _Failure) -> None:
    _say(outcome)
    if isinstance(outcome, _Failure):
        return
    differences = outcome.differences
    click.echo(
        f"province {outcome.province} ({PROVINCES[outcome.province]}): {outcome.closed_days} closed days, through "
        f"{outcome.through or 'none'}, {outcome.resources:,} resources; complete through "
        f"{_iso(outcome.complete_ms) or 'no time yet'}; " + (_counted(differences) if differences else "no difference")
    )
    if differences:
        _show_table(differences)


def _counted(differences: Sequence[Difference]) -> str:
    kinds = Counter(one.remedy.name.lower() for one in differences)
    noun = "difference" if len(differences) == 1 else "differences"
    return f"{len(differences):,} {noun} ({', '.join(f'{n:,} {kind}' for kind, n in sorted(kinds.items()))})"


def _show_table(differences: Sequence[Difference]) -> None:
    def cells(one: Difference) -> tuple[str, ...]:
        return one.key, one.field, one.remedy.value, _shown(one, one.redis), _shown(one, one.history)

    print_table(plain_console(), COLUMNS, map(cells, differences[:SHOWN]))
    if len(differences) > SHOWN:
        click.echo(f"the first {SHOWN} of {len(differences):,}; all of them: --json")


def _shown(difference: Difference, number: int) -> str:
    if difference.is_of_day:
        return str(number or "none")
    return f"{number:,}"


def _sum_up(outcomes: Sequence[Report | _Failure]) -> None:
    failed = [one.province for one in outcomes if isinstance(one, _Failure)]
    differ = [one.province for one in outcomes if not isinstance(one, _Failure) and one.differences]
    parts = [f"{len(outcomes) - len(failed) - len(differ)} without a difference"]
    parts += [f"{len(differ)} with ({', '.join(differ)})"] if differ else []
    parts += [f"{len(failed)} failed ({', '.join(failed)})"] if failed else []
    click.echo(f"{len(outcomes)} provinces: " + ", ".join(parts))


def _iso(ms: int | None) -> str | None:
    from edge.counters.counting_day import moment_of

    return moment_of(ms / 1000).isoformat(timespec="seconds") if ms is not None else None

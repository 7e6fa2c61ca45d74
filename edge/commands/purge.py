"""`smartedu purge`: remove objects from every worker and node, or make them stale, and see who has confirmed it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from edge.commands.node_client import administered, document_of
from edge.commands.tables import Column, Kind, plain_console, print_table

EXAMPLE = """\b
Example:
  smartedu purge --url https://edu.example/media/lesson-000001/master.m3u8
  smartedu purge --prefix /media/lesson-000001/ --soft
  smartedu purge --tag lesson-000001 --tag lesson-000002 --token-file admin-token
  smartedu purge --all --json

\b
Exit status 0 when every node has confirmed; 1 also when the purge is made, but not confirmed by all."""

TIMEOUT_S = 30.0
MEMBERS = ("scope", "soft", "removed", "published", "complete", "nodes")
COLUMNS = (
    Column("Node"),
    Column("State"),
    Column("Confirmed"),
    Column("Epoch", Kind.NUMBER),
    Column("Workers", Kind.NUMBER),
    Column("Last seen", Kind.TIME),
)


@click.command(epilog=EXAMPLE)
@click.option("--url", "urls", multiple=True, metavar="URL", help="A URL or path, with all its variants (repeatable).")
@click.option("--prefix", metavar="PREFIX", help="Everything whose path and query begin with it.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="Everything that carries the tag (repeatable).")
@click.option("--all", "everything", is_flag=True, help="Everything.")
@click.option("--soft", is_flag=True, help="Make stale instead of removing: revalidated, not fetched again.")
@administered("any node")
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
@click.pass_context
def purge(
    ctx: click.Context,
    urls: tuple[str, ...],
    prefix: str | None,
    tags: tuple[str, ...],
    everything: bool,
    soft: bool,
    admin: str,
    token_file: Path | None,
    as_json: bool,
) -> None:
    """Purge objects from all caches, and show which node has confirmed it."""
    order = _order(urls, prefix, tags, everything) | ({"soft": True} if soft else {})
    document = document_of(f"{admin}/purge", token_file, MEMBERS, timeout_s=TIMEOUT_S, order=order)
    if as_json:
        click.echo(json.dumps(document, ensure_ascii=False, indent=2))
    else:
        _show(document)
    if not document["complete"]:
        ctx.exit(1)


def _order(urls: tuple[str, ...], prefix: str | None, tags: tuple[str, ...], everything: bool) -> dict[str, object]:
    named: dict[str, object] = {}
    if urls:
        named |= {"url": urls[0]} if len(urls) == 1 else {"urls": list(urls)}
    if prefix is not None:
        named["prefix"] = prefix
    if tags:
        named |= {"tag": tags[0]} if len(tags) == 1 else {"tags": list(tags)}
    if everything:
        named["all"] = True
    if len(named) != 1:
        raise click.UsageError("give one of --url, --prefix, --tag and --all")
    for name, values in (("url", urls), ("prefix", (prefix,) if prefix is not None else ()), ("tag", tags)):
        _check(name, values)
    return named


def _check(name: str, values: tuple[str, ...]) -> None:
    """Refuse what no node would take, as the node would say it. How URLs are spelled is the node's to say."""
    from edge.cache.purge_order import BadOrder, parse

    for value in values:
        try:
            parse({name: value}, str)
        except BadOrder as error:
            allowed = str(error).removeprefix(f"{name}: ")
            raise click.UsageError(f"--{name} {value!r} is not allowed; {allowed}") from None


def _show(document: dict[str, Any]) -> None:
    console = plain_console()
    console.print(_headline(document), soft_wrap=True)
    print_table(console, COLUMNS, map(_cells, document["nodes"]))
    for line in _remarks(document):
        console.print(line, soft_wrap=True)


def _cells(node: dict[str, Any]) -> tuple[str, ...]:
    workers = node["workers"]
    return (
        node["node"],
        node["state"],
        "yes" if node["confirmed"] else "no",
        "-" if node["epoch"] is None else str(node["epoch"]),
        f"{sum(worker['confirmed'] for worker in workers)} of {len(workers)}",
        node["last_seen"],
    )


def _headline(document: dict[str, Any]) -> str:
    values = document.get("values") or [document["value"]]
    what = document["scope"] if document["scope"] == "all" else f"{document['scope']} {values[0]}"
    more = f" and {len(values) - 1} more" if len(values) > 1 else ""
    how = "softly purged" if document["soft"] else "purged"
    return f"{how}: {what}{more}; {document['removed']:,} in memory here"


def _remarks(document: dict[str, Any]) -> list[str]:
    if document["complete"]:
        return ["confirmed by every node that may be serving"]
    if not document["published"]:
        return ["NOT COMPLETE: the purge bus cannot be reached; the other nodes are told when it is back"]
    missing = [node["node"] for node in document["nodes"] if not node["confirmed"] and node["state"] != "stopped"]
    return [
        f"NOT COMPLETE: {', '.join(missing)} has not confirmed; what it missed is applied before it uses Redis again"
    ]

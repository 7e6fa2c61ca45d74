"""Asking a node for counts: the options that all commands share, and the answer or one clear line."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

import click

DEFAULT_URL = "http://127.0.0.1:8080"
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
_UNASKED = datetime.fromtimestamp(0, UTC)
Command = TypeVar("Command", bound=Callable[..., Any])


def located(command: Command) -> Command:
    """Adds the options that say where counts are read: --url, --token-file."""
    options = (
        click.option(
            "--url", default=DEFAULT_URL, show_default=True, envvar="SMARTEDU_URL", help="Public address of a node."
        ),
        click.option(
            "--token-file",
            type=click.Path(path_type=Path, dir_okay=False, exists=True),
            envvar="SMARTEDU_COUNTS_READ_TOKEN_FILE",
            help="File with the bearer token for reading counts.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


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
    from http.client import HTTPException

    _check(path, asked)
    address = address_of(url, path, asked)
    try:
        with opened(address, token_file, TIMEOUT_S) as answer:
            document: dict[str, Any] = json.load(answer)
    except (HTTPException, OSError, ValueError) as error:
        raise click.ClickException(f"{address} cannot be read: {error}") from None
    return document


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
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise click.UsageError(f"--url {url!r} is not an address; allowed: http://HOST[:PORT] or https://HOST[:PORT]")
    query = urlencode({name: value for name, value in asked.items() if value is not None}, safe=",")
    return f"{url.rstrip('/')}/v1/counts/{path}" + (f"?{query}" if query else "")


def opened(address: str, token_file: Path | None, timeout_s: float) -> Any:
    """The answer, to be read; a refusal is one line and exit status 1, or 2 where what was asked is wrong."""
    from urllib.error import HTTPError, URLError
    from urllib.request import Request, urlopen

    headers = {"Authorization": f"Bearer {token_file.read_text().strip()}"} if token_file is not None else {}
    try:
        return urlopen(Request(address, headers=headers), timeout=timeout_s)  # noqa: S310  http(s) was checked
    except HTTPError as error:
        detail = detail_of(error.read())
        if error.code == 400 and detail:
            raise click.UsageError(detail) from None
        raise click.ClickException(detail or f"{address} answers {error.code} {error.reason}") from None
    except (URLError, OSError, ValueError) as error:
        raise click.ClickException(f"{address} cannot be read: {getattr(error, 'reason', error)}") from None


def detail_of(body: bytes) -> str:
    """What a problem document says."""
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, KeyError, TypeError):
        return ""

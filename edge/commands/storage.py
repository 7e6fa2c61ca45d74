"""Which storage a command writes to or reads from: options, else the running local stack, with credentials for it."""

from __future__ import annotations

import configparser
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from edge.commands.one_line import WrongUsage
from origin.errors import PublishError, WrongInputError
from origin.store import Location, parse_origin

Command = TypeVar("Command", bound=Callable[..., Any])


def storage_options(command: Command) -> Command:
    """Adds --origin, --bucket, --s3-endpoint to a command."""
    options = (
        click.option(
            "--origin", metavar="s3://BUCKET[/PREFIX]", help="Storage of lessons, catalog and history of counts."
        ),
        click.option("--bucket", metavar="NAME", help="Short for --origin s3://NAME."),
        click.option("--s3-endpoint", metavar="URL", help="S3 endpoint; without it AWS's own, or the local stack's."),
    )
    for option in options:
        command = option(command)
    return command


@contextmanager
def one_line_errors() -> Iterator[None]:
    """What can't be published or read is one line: exit status 2 where what was given is wrong, else 1."""
    try:
        yield
    except WrongInputError as error:
        raise WrongUsage(f"{click.get_current_context().command_path}: {error}") from error
    except PublishError as error:
        raise click.ClickException(str(error)) from error


def state_directory() -> Path:
    """Where `smartedu up` keeps its data: SMARTEDU_STATE, else .smartedu here."""
    return Path(os.environ.get("SMARTEDU_STATE") or ".smartedu")


def location_of(origin: str | None, bucket: str | None, s3_endpoint: str | None) -> Location:
    """The storage meant: what the options say, the rest from the local stack when one runs.

    Raises WrongInputError.
    """
    if origin and bucket:
        raise click.UsageError("give --origin or --bucket, not both")
    stack = _stack(state_directory() / "stack.json")
    named = origin or (f"s3://{bucket}" if bucket else None)
    if named is None and stack is None:
        raise WrongInputError(
            "no storage given and no local stack runs: give --origin s3://bucket, or start `smartedu up`"
        )
    if named is None and stack is not None:
        named = f"s3://{stack['bucket']}"
    bucket_name, prefix = parse_origin(named or "")
    if stack is None or (s3_endpoint or stack["s3_endpoint"]) != stack["s3_endpoint"]:
        return Location(bucket_name, prefix, s3_endpoint)
    key, secret = _credentials(Path(stack["aws_credentials_file"]))
    return Location(bucket_name, prefix, stack["s3_endpoint"], key, secret)


def _stack(path: Path) -> dict[str, str] | None:
    try:
        read = json.loads(path.read_text())
        return {key: str(read[key]) for key in ("s3_endpoint", "bucket", "aws_credentials_file")}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WrongInputError(f"{path} can't be used: {error}") from error


def _credentials(path: Path) -> tuple[str, str]:
    ini = configparser.ConfigParser(interpolation=None)
    try:
        ini.read_string(path.read_text())
        return ini["default"]["aws_access_key_id"], ini["default"]["aws_secret_access_key"]
    except (OSError, configparser.Error, KeyError) as error:
        raise WrongInputError(f"credentials file {path} can't be used: {error}") from error

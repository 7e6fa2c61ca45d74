"""What is wrong with a command line or a configuration: one line on standard error, exit status 2."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import click


class WrongUsage(click.ClickException):
    """The message names what was wrong and what is allowed."""

    exit_code = 2

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(self.message, err=True)


@contextmanager
def in_one_line() -> Iterator[None]:
    """Click says what is wrong in four lines, one of which matters."""
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:  # whoever asked for nothing is shown everything
        raise
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx is not None else "smartedu"
        said = " ".join(error.format_message().split()).rstrip(".")
        raise WrongUsage(f"{command}: {said}; see {command} --help") from None

"""What is wrong with a command line or a configuration: one line on standard error, exit status 2.

What the machine refuses, a full disk below standard output for example, is one line, too, and exit status 1.
"""

from __future__ import annotations

import errno
import os
import sys
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
    except OSError as error:
        if error.errno == errno.EPIPE:  # whoever read us has seen enough: click ends us silently
            raise
        _let_go_of_output()
        where = f"{error.filename}: " if error.filename is not None else ""
        raise click.ClickException(f"{where}{error.strerror or error}") from None


def _let_go_of_output() -> None:
    """What standard output did not take would be tried again at the very end, where nobody catches the error."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)

"""What is wrong with a command line is said in one line, with status 2."""

from __future__ import annotations

import shlex

import pytest
from click.testing import CliRunner

from edge.cli import COMMANDS, main

WRONG = {
    "purge": ("give one of", "--url"),
    "purge --all --bogus": ("--bogus",),
    "purge --tag ''": ("--tag", "''", "allowed", "1 to"),
    "counts --top 0": ("--top", "1<=x<=1000"),
    "counts by": ("province",),
    "counts by stars": ("stars", "province"),
    "counts --bogus": ("--bogus",),
    "publish": ("VIDEO",),
    "serve --bogus": ("--bogus",),
    "serve --memory much": ("memory", "much", "MiB"),
    "bogus": ("bogus",),
    "--bogus": ("--bogus",),
}


@pytest.mark.parametrize("line", WRONG)
def test_wrong_usage_is_one_line_that_names_what_was_wrong_and_status_2(line: str) -> None:
    done = CliRunner().invoke(main, shlex.split(line), prog_name="smartedu")
    assert (done.exit_code, done.stdout) == (2, "")
    (said,) = done.stderr.splitlines()
    assert said.startswith("smartedu")
    for word in WRONG[line]:
        assert word in said


def test_who_asks_for_nothing_is_shown_everything() -> None:
    done = CliRunner().invoke(main, [], prog_name="smartedu")
    assert all(command in done.output for command in COMMANDS)

"""What is wrong with a command line is said in one line, with status 2."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge.cli import COMMANDS, main
from edge.commands.counts_reading import MEMBERS
from tests.support.answering import answering

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


@pytest.mark.parametrize("line", ["serve", "counts rebuild"])
def test_the_file_of_settings_can_be_named_by_the_environment(line: str, tmp_path: Path) -> None:
    (tmp_path / "edge.toml").write_text('memory = "much"')
    environment = {"SMARTEDU_CONFIG": str(tmp_path / "edge.toml")}
    done = CliRunner().invoke(main, line.split(), prog_name="smartedu", env=environment)
    assert done.exit_code == 2
    assert "memory: 'much' is not allowed" in done.stderr


@pytest.mark.parametrize("line", ["--help", "counts --help", "counts --url {url}", "counts --json --url {url}"])
def test_a_full_disk_below_standard_output_is_one_line_and_status_1(line: str) -> None:
    body = json.dumps(dict.fromkeys(MEMBERS["summary"], 1) | {"views_daily_peak": {"date": None, "views": 1}})
    answer = f'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{body[:-1]}, "complete_through": null}}'
    smartedu = Path(sys.executable).with_name("smartedu")
    with answering(answer.encode()) as url, Path("/dev/full").open("w") as full:
        command = [str(smartedu), *line.format(url=url).split()]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (1, "Error: No space left on device\n")


def test_who_asks_for_nothing_is_shown_everything() -> None:
    done = CliRunner().invoke(main, [], prog_name="smartedu")
    assert all(command in done.output for command in COMMANDS)

"""What commands that ask a node say when something else answers, or only half of it comes."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from edge.cli import main
from tests.support.answering import answering

GIVEN = ["--resource", "a", "--amount", "1", "--at", "2026-11-28T20:15:00+08:00", "--reason", "a test"]


def test_an_export_that_breaks_off_is_told_and_leaves_no_file(tmp_path: Path) -> None:
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nprovince,resource\n") as url:
        asked = ["counts", "export", "--url", url, "--day", "2026-11-28"]
        done = CliRunner().invoke(main, [*asked, "--output", str(tmp_path / "day.csv")])
        piped = CliRunner().invoke(main, asked)
    assert (done.exit_code, piped.exit_code) == (1, 1)
    assert done.stderr == piped.stderr
    assert done.stderr.endswith("broke off: 82 bytes are missing\n")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


ASKING = (
    ["counts", "--url"],
    ["counts", "summary", "--url"],
    ["counts", "export", "--day", "2026-11-28", "--url"],
    ["purge", "--all", "--admin"],
    ["counts", "correct", *GIVEN, "--admin"],
)


@pytest.mark.parametrize(
    "address",
    ["http://[::1", "http://h:abc", "http://h/a b", "http://h:0", "http://学校", "http://u:p@h", "http://h?a", "h:80"],
)
@pytest.mark.parametrize("command", ASKING, ids=" ".join)
def test_an_address_that_is_none_is_wrong_usage(command: list[str], address: str) -> None:
    done = CliRunner().invoke(main, [*command, address], prog_name="smartedu")
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert f"{command[-1]} {address!r} is not an address; allowed: http://HOST[:PORT] or https" in done.stderr


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{",
        b"HTTP/1.1 400 No\r\nContent-Length: 100\r\n\r\n{",
        b'HTTP/1.1 503 No\r\nContent-Length: 22\r\n\r\n{"detail": "two\\nlines"}',
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n<ht>",
    ],
)
@pytest.mark.parametrize("command", [one for one in ASKING if "export" not in one], ids=" ".join)
def test_what_answers_as_no_node_does_is_one_line_and_exit_status_1(command: list[str], answer: bytes) -> None:
    with answering(answer) as url:
        done = CliRunner().invoke(main, [*command, url], prog_name="smartedu")
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("Error: ")
    assert url in done.stderr or b"503" in answer


def test_a_stranger_is_told_from_a_node() -> None:
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}") as url:
        done = CliRunner().invoke(main, ["counts", "--url", url])
    assert f"{url}/v1/counts/summary does not answer as a node does: it has no 'views'" in done.stderr

"""`smartedu counts` shows what the HTTP interface answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest
from click.testing import CliRunner

from edge.commands.counts import counts

SUMMARY = {
    "views": 1234567,
    "views_today": 12,
    "views_daily_average": 3.5,
    "views_daily_peak": {"date": "2026-11-20", "views": 99},
    "plays": 7,
    "watch_seconds": 7200.5,
    "visits": 3,
    "uniques": 2,
    "resources": 6,
    "provinces": 1,
    "countries": 1,
    "as_of": "2026-11-23T12:00:01.000+08:00",
    "complete_through": "2026-11-23T12:00:00.000+08:00",
}
FIGURES = {"views": 5, "plays": 4, "watch_seconds": 3, "uniques": 2}
RESOURCES = {
    "resources": [{"id": "lesson-1", **FIGURES, "today": FIGURES}],
    "as_of": SUMMARY["as_of"],
    "complete_through": None,
}


class Node(BaseHTTPRequestHandler):
    """Answers as an edge node does."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        status, document = 200, SUMMARY
        if "ids=bad" in self.path:
            status, document = 503, {"detail": "the counts can't be read now"}
        elif "/resources" in self.path:
            document = RESOURCES
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Quiet."""


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Node) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_summary_is_a_table_for_people_and_json_for_programs(url: str) -> None:
    shown = CliRunner().invoke(counts, ["--url", url])
    assert shown.exit_code == 0
    assert "1,234,567" in shown.output
    assert "2026-11-20" in shown.output
    printed = CliRunner().invoke(counts, ["--url", url, "--json"])
    assert json.loads(printed.output) == SUMMARY


def test_resources_are_asked_for_together(url: str) -> None:
    shown = CliRunner().invoke(counts, ["--url", url, "lesson-1", "lesson-2"])
    assert shown.exit_code == 0
    assert "lesson-1" in shown.output
    assert Node.asked[-1] == "/v1/counts/resources?ids=lesson-1,lesson-2"


def test_a_refusal_is_one_line_and_exit_status_1(url: str) -> None:
    refused = CliRunner().invoke(counts, ["--url", url, "bad"])
    assert (refused.exit_code, refused.output) == (1, "Error: the counts can't be read now\n")
    nobody = CliRunner().invoke(counts, ["--url", "http://127.0.0.1:1"])
    assert nobody.exit_code == 1
    assert nobody.output.count("\n") == 1


@pytest.mark.parametrize("arguments", [["a", "--top", "3"], ["--url", "ftp://x"], ["--top", "0"], ["a"] * 201])
def test_wrong_usage_is_exit_status_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(counts, arguments).exit_code == 2

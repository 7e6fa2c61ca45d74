"""`smartedu purge` sends the order, shows who has confirmed, and says by its exit status whether all have."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner

from edge.commands.purge import purge

NODES: list[dict[str, Any]] = [
    {
        "node": "edge-1",
        "state": "live",
        "epoch": 12,
        "confirmed": True,
        "last_seen": "2026-11-25T08:00:00.000+00:00",
        "workers": [{"slot": 0, "epoch": 12, "position": 5, "confirmed": True}],
    },
    {
        "node": "edge-2",
        "state": "lost",
        "epoch": None,
        "confirmed": False,
        "last_seen": "2026-11-25T07:00:00.000+00:00",
        "workers": [],
    },
]


class Node(BaseHTTPRequestHandler):
    """Answers as an edge node does."""

    asked: ClassVar[list[tuple[str, dict[str, Any], str | None]]] = []

    def do_POST(self) -> None:
        order = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((self.path, order, self.headers["Authorization"]))
        complete = order.get("tag") != "partly"
        document: dict[str, Any] = {
            "id": "0193",
            "scope": "tag",
            "value": order.get("tag"),
            "soft": order.get("soft", False),
            "epoch": 12,
            "published": order.get("tag") != "alone",
            "complete": complete,
            "removed": 1234,
            "nodes": NODES[:1] if complete else NODES,
        }
        status = 200 if complete else 202
        if order.get("tag") == "bad":
            status, document = 401, {"detail": "needs the admin token"}
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Quiet."""


@pytest.fixture
def admin() -> Iterator[str]:
    Node.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Node) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_receipts_are_a_table_for_people_and_json_for_programs(admin: str) -> None:
    shown = CliRunner().invoke(purge, ["--admin", admin, "--tag", "lesson-1"])
    assert shown.exit_code == 0
    assert "1,234 in memory" in shown.output
    assert "edge-1" in shown.output
    assert "confirmed by every node" in shown.output
    printed = CliRunner().invoke(purge, ["--admin", admin, "--tag", "lesson-1", "--soft", "--json"])
    assert json.loads(printed.output)["soft"] is True
    assert json.loads(printed.output)["nodes"] == NODES[:1]


@pytest.mark.parametrize(
    ("arguments", "order"),
    [
        (["--url", "/a"], {"url": "/a"}),
        (["--url", "/a", "--url", "/b"], {"urls": ["/a", "/b"]}),
        (["--prefix", "/a/", "--soft"], {"prefix": "/a/", "soft": True}),
        (["--tag", "a", "--tag", "b"], {"tags": ["a", "b"]}),
        (["--all"], {"all": True}),
    ],
)
def test_flags_become_an_order(admin: str, arguments: list[str], order: dict[str, object]) -> None:
    CliRunner().invoke(purge, ["--admin", admin, *arguments])
    assert Node.asked == [("/purge", order, None)]


def test_the_token_is_read_from_its_file(admin: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    CliRunner().invoke(purge, ["--admin", admin, "--all", "--token-file", str(tmp_path / "token")])
    assert Node.asked[0][2] == "Bearer secret"


def test_what_is_not_confirmed_by_all_names_who_has_not_and_is_exit_status_1(admin: str) -> None:
    shown = CliRunner().invoke(purge, ["--admin", admin, "--tag", "partly"])
    assert shown.exit_code == 1
    assert "NOT COMPLETE: edge-2 has not confirmed" in shown.output


def test_what_is_no_markup_is_shown_as_it_is(admin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NODES[0], "node", "edge[/b]")
    shown = CliRunner().invoke(purge, ["--admin", admin, "--tag", "[/i]:smile:"])
    assert shown.exit_code == 0, shown.exception
    assert "edge[/b]" in shown.output
    assert "tag [/i]:smile:" in shown.output


def test_a_refusal_is_one_line_and_exit_status_1(admin: str) -> None:
    refused = CliRunner().invoke(purge, ["--admin", admin, "--tag", "bad"])
    assert (refused.exit_code, refused.output) == (1, "Error: needs the admin token\n")
    nobody = CliRunner().invoke(purge, ["--admin", "http://127.0.0.1:1", "--all"])
    assert nobody.exit_code == 1
    assert nobody.output.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--all", "--tag", "a"],
        ["--url", "/a", "--prefix", "/"],
        ["--all", "--admin", "ftp://x"],
        ["--token-file", "-"],
    ],
)
def test_wrong_usage_is_exit_status_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(purge, arguments).exit_code == 2

"""`smartedu counts correct` sends one entry, which can be sent again under its id."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner, Result

from edge.commands.counts import counts

GIVEN = ["--at", "2026-11-28T20:15:00+08:00", "--reason", "a test"]


class Node(BaseHTTPRequestHandler):
    """Answers as the admin listener of an edge node does."""

    asked: ClassVar[list[tuple[str, dict[str, Any], str | None]]] = []

    def do_POST(self) -> None:
        entry = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((self.path, entry, self.headers["Authorization"]))
        status, document = 202, {"id": entry["id"], "province": "44", "accepted": True}
        if entry["id"] == "old":
            document["known"] = True
        elif entry["id"] == "taken":
            status, document = 409, {"detail": "id: taken is booked in province 44 already"}
        elif entry.get("province") == "43":
            status, document = 400, {"detail": "province: this node takes no events of that province: 43"}
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Not into the test's output."""


@pytest.fixture
def admin() -> Iterator[str]:
    Node.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Node)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def run(admin: str, *arguments: str) -> Result:
    return CliRunner().invoke(counts, ["correct", *GIVEN, "--admin", admin, *arguments])


def test_the_entry_is_sent_with_the_token(admin: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    told = run(admin, "--resource", "a", "--amount", "-3", "--id", "c-1", "--token-file", str(tmp_path / "token"))
    assert (told.exit_code, told.output) == (0, "correction c-1 is taken and will be booked in province 44\n")
    path, entry, token = Node.asked[0]
    assert (path, token) == ("/counts/corrections", "Bearer secret")
    expected = {"id": "c-1", "kind": "view", "resource": "a", "at": GIVEN[1], "amount": -3, "reason": "a test"}
    assert entry == expected


def test_each_correction_gets_an_id_of_its_own(admin: str) -> None:
    for _ in range(2):
        assert run(admin, "--kind", "watch", "--resource", "a", "--amount", "1.5", "--province", "11").exit_code == 0
    first, second = (entry for _, entry, _ in Node.asked)
    assert first["id"] != second["id"]
    assert (first["amount"], first["kind"], first["province"]) == (1.5, "watch", "11")


def test_a_refusal_is_one_line_with_the_id_to_try_again_with(admin: str) -> None:
    told = run(admin, "--resource", "a", "--amount", "1", "--id", "taken")
    assert told.exit_code == 1
    assert told.output == "Error: id: taken is booked in province 44 already (correction taken)\n"


def test_a_correction_that_was_booked_before_is_told(admin: str) -> None:
    told = run(admin, "--resource", "a", "--amount", "1", "--id", "old")
    assert told.exit_code == 0
    assert told.output == "correction old was booked before, and is not booked again in province 44\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--amount", "0"], "--amount 0 is not allowed; allowed: a whole number from -1,000,000,000,000 to"),
        (["--amount", "nan"], "--amount nan is not allowed; allowed: a whole number from"),
        (["--amount", "1.5"], "--amount 1.5 is not allowed; allowed: a whole number from"),
        (["--amount", "inf"], "--amount inf is not allowed; allowed: a whole number from"),
        (["--amount", "1e300"], "--amount 1e+300 is not allowed; allowed: a whole number from"),
        (["--amount", "1", "--at", "2026-12-01T22:57"], "--at '2026-12-01T22:57' is not allowed; allowed: in millis"),
        (
            ["--amount", "1", "--resource", "bad id"],
            "--resource 'bad id' is not allowed; allowed: 1 to 64 of the characters",
        ),
    ],
)
def test_what_no_node_would_take_is_wrong_usage_and_never_sent(admin: str, arguments: list[str], said: str) -> None:
    told = run(admin, "--resource", "a", *arguments)
    assert told.exit_code == 2
    assert f"Error: {said}" in told.output
    assert Node.asked == []


def test_what_the_node_refuses_as_wrong_is_wrong_usage(admin: str) -> None:
    told = run(admin, "--resource", "a", "--amount", "1", "--id", "c-3", "--province", "43")
    assert told.exit_code == 2
    assert "Error: province: this node takes no events of that province: 43 (correction c-3)\n" in told.output


def test_a_wrong_address_is_wrong_usage() -> None:
    assert run("nowhere", "--resource", "a", "--amount", "1").exit_code == 2

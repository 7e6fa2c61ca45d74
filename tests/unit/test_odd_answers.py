"""What commands that ask a node say when something else answers, or only half of it comes."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from click.testing import CliRunner

from edge.cli import main


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """The URL of a server that has one answer to whatever begins with a header section."""

    class Desk(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            length = 0
            while (line := self.rfile.readline().lower()) not in (b"\r\n", b""):
                length = int(line.partition(b":")[2]) if line.startswith(b"content-length:") else length
            self.rfile.read(length)
            self.wfile.write(answer)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Desk) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


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

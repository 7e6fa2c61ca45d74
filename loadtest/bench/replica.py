"""What the peers serve: the bytes and headers that the edge answers with, noted in a directory.

<directory>/replies.json   the replies: path, content type, header fields
<directory>/root/<path>    the bodies, as nginx wants them
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

NOTE = "replies.json"
ROOT = "root"
# Every server has its own way to say these.
OWN_FIELDS = frozenset({"content-length", "content-type", "server", "date", "connection"})


@dataclass(frozen=True, slots=True)
class Reply:
    """A response that a peer gives: to `path`, always the same."""

    path: str
    content_type: str
    fields: tuple[tuple[str, str], ...]


def write(directory: Path, replies: list[Reply], bodies: list[bytes]) -> None:
    """Note what the peers shall answer."""
    for reply, body in zip(replies, bodies, strict=True):
        file = body_file(directory, reply)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)
    (directory / NOTE).write_text(json.dumps([asdict(reply) for reply in replies]))


def read(directory: Path) -> list[Reply]:
    """What was noted."""
    return [
        Reply(entry["path"], entry["content_type"], tuple((name, value) for name, value in entry["fields"]))
        for entry in json.loads((directory / NOTE).read_text())
    ]


def body_file(directory: Path, reply: Reply) -> Path:
    """Where the body of a reply is."""
    return directory / ROOT / reply.path.removeprefix("/")


def tell_ports(ports: dict[str, int]) -> None:
    """A peer's word that it listens: path -> port."""
    sys.stdout.write(json.dumps(ports) + "\n")
    sys.stdout.flush()

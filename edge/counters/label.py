"""Whose a journal is: the file beside its segments that names the journal, and what it was begun for.

The identity is random and made with the journal; it alone is the writer's name in Redis. So the same data under another
node name is the same writer, and goes on where it stopped.

A journal is appended to only at home: in the province it was begun for, by the node it was begun by, and in the very
directory it was begun in. When one of these has changed, it is set aside, closed to new events, to be delivered as what
it was (`edge.counters.leftover`), and another is begun in its place. That is right whatever the reason: delivering the
same bytes from the same positions under the same identity counts once, however many copies of them do it. What would
not be right is two journals of one identity that both grow. So setting aside needs no certainty, only a suspicion:

* another province: its events belong to the old one, on the same Redis; --province changes at once, for new events;
* another node name: a renamed node, or the image of a machine started a second time;
* another inode: the directory was copied or restored.

A copy that is set aside also signs the writer off. Should the original be cut off from Redis just then, the province's
`complete_through` is ahead of it until it is back. So it is for the moment between a new journal's first word and the
delivery of a copied one of the same node.

Not noticed here is the image of a machine that runs twice under one node name. Each of the two flushers finds that
somebody else has moved the watermark, says so in the log, and counts its own journal on from there
(`Outlet._relocate`). What it then sends again is recognised by the events' ids, which are remembered for ten minutes:
beyond that, and across restarts, such twins can count wrong. Names of nodes have to differ.

A node that dies for good with its disk leaves its writers in the province's `complete` set, where they hold
`complete_through` back: what they had accepted is not known, so that is the truth. A new node of the same name and
slots takes their places (see `functions.lua`); otherwise an operator has to retire them, for which there is no command
yet.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import orjson

FILE: Final = "journal-id"


@dataclass(frozen=True, slots=True)
class Home:
    """What a journal was begun for. place: node and slot, `edge-1/0`."""

    province: str
    place: str


@dataclass(frozen=True, slots=True)
class Label:
    """What the file says. copied: it is not the file that was made with the journal.

    provinces: all that the journal may have events for, that of its home first. They are named here before the first
    event of theirs is taken in, so that whoever delivers the journal knows whom to ask how far it is counted.
    """

    identity: str
    home: Home
    copied: bool
    provinces: tuple[str, ...]


def read_label(directory: Path) -> Label | None:
    """The label of the journal in `directory`; None when it is missing or empty. Raises ValueError, OSError."""
    path = directory / FILE
    try:
        text, inode = path.read_bytes(), path.stat().st_ino
    except FileNotFoundError:
        return None
    if not text.strip():
        return None
    try:
        said = orjson.loads(text)
        home = Home(said["province"], said["place"])
        provinces = _merged(home, said.get("provinces", ()))
        return Label(said["identity"], home, said["inode"] != inode, provinces)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} can't be read: {error}") from error


def make_label(directory: Path, home: Home, provinces: Iterable[str] = ()) -> Label:
    """Name the journal that begins in `directory`. After a crash the file is whole or not there. Raises OSError."""
    label = Label(secrets.token_hex(8), home, copied=False, provinces=_merged(home, provinces))
    _write(directory, label)
    return label


def widen_label(directory: Path, label: Label, provinces: Iterable[str]) -> Label:
    """Name further provinces that the journal in `directory` is to have events for. Raises OSError."""
    wider = replace(label, provinces=_merged(label.home, [*label.provinces, *provinces]))
    if wider != label:
        _write(directory, wider)
    return wider


def _merged(home: Home, provinces: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([home.province, *provinces]))


def _write(directory: Path, label: Label) -> None:
    fresh = directory / f"{FILE}.new"
    with fresh.open("wb") as file:
        said = {"identity": label.identity, "province": label.home.province, "place": label.home.place}
        inode = os.fstat(file.fileno()).st_ino
        file.write(orjson.dumps({**said, "provinces": label.provinces, "inode": inode}) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(directory / FILE)
    fsync_directory(directory)


def set_aside(directory: Path) -> Path:
    """Make room for another journal; returns where this one is now, beside it: `0` becomes `0.1f3a…`."""
    aside = directory.with_name(f"{directory.name}.{secrets.token_hex(4)}")
    directory.rename(aside)
    fsync_directory(directory.parent)
    return aside


def make_directory(directory: Path) -> None:
    """Make a directory that is still there after a power cut, and those above it."""
    if not directory.is_dir():
        make_directory(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)
        fsync_directory(directory.parent)


def fsync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

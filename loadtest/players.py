"""What a viewer's browser asks for, as pure values: lesson, playlists, segments, view events."""

from __future__ import annotations

import random
import time
import uuid
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

# PLATFORM figures: which rendition viewers end up with, in percent.
RENDITION_SHARES = {"360p": 15, "480p": 25, "720p": 40, "1080p": 20}


@dataclass(frozen=True, slots=True)
class Segment:
    """One media segment: its absolute path and how long it plays, seconds."""

    path: str
    duration_s: float


def choose_rendition(names: list[str], dice: random.Random) -> str:
    """A rendition among those offered, by the platform's shares; any when none of them is known."""
    weights = [RENDITION_SHARES.get(name, 1) for name in names]
    return dice.choices(names, weights)[0]


def variant_paths(master: str, base: str) -> list[str]:
    """Every media playlist a player following this master playlist loads (audio included), absolute, in order."""
    paths = []
    for line in master.splitlines():
        if line.startswith("#EXT-X-MEDIA:") and 'URI="' in line and "TYPE=AUDIO" in line:
            paths.append(urljoin(base, line.split('URI="', 1)[1].split('"', 1)[0]))
        elif line and not line.startswith("#"):
            paths.append(urljoin(base, line))
    return list(dict.fromkeys(paths))


def segments(playlist: str, base: str) -> tuple[list[str], list[Segment]]:
    """The initialisation sections and the segments of a media playlist, absolute, in play order."""
    initial, found, duration_s = [], [], 0.0
    for line in playlist.splitlines():
        if line.startswith("#EXT-X-MAP:"):
            initial.append(urljoin(base, line.split('URI="', 1)[1].split('"', 1)[0]))
        elif line.startswith("#EXTINF:"):
            duration_s = float(line[8:].split(",", 1)[0])
        elif line and not line.startswith("#"):
            found.append(Segment(urljoin(base, line), duration_s))
    return initial, found


def event(kind: str, viewer: str, resource: str | None = None, watched_s: int = 0) -> dict[str, Any]:
    """One view event as the contract has it, happening now."""
    made: dict[str, Any] = {"id": uuid.uuid4().hex, "kind": kind, "viewer": viewer, "at": int(time.time() * 1000)}
    if resource is not None:
        made["resource"] = resource
    if kind == "watch":
        made["watched_s"] = watched_s
    return made

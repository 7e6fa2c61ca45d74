"""What a viewer's browser asks for and when, as pure values: playlists, segments, a timetable, view events."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, zip_longest
from typing import Any
from urllib.parse import urljoin

# Which rendition viewers end up with, in percent: the platform's figures.
RENDITION_SHARES = {"360p": 15, "480p": 25, "720p": 40, "1080p": 20}
# A player keeps about 18 s ahead of the picture: three segments of 6 s.
AHEAD_SEGMENTS = 3
REPORT_EVERY_S = 30


class PlaylistError(Exception):
    """A playlist that no player could follow."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One media segment: its absolute path and how long it plays, seconds."""

    path: str
    duration_s: float


@dataclass(frozen=True, slots=True)
class Step:
    """Something a player does `at_s` seconds after the picture has begun: fetch `path`, or tell an event of `kind`.

    needed_s: when the player gets stuck if what it fetches is not there; watched_s: what a `watch` event tells.
    """

    at_s: float
    path: str = ""
    needed_s: float = 0.0
    kind: str = ""
    watched_s: int = 0


def choose_rendition(names: Sequence[str], dice: random.Random) -> str:
    """A rendition among those offered, by the platform's shares; any when none of them is known."""
    weights = [RENDITION_SHARES.get(name, 1) for name in names]
    return dice.choices(names, weights)[0]


def variant_paths(master: str, base: str) -> list[str]:
    """Every media playlist a player following this master playlist loads (audio included), absolute, in order.

    Raises PlaylistError when it names none.
    """
    paths = []
    for line in _lines(master):
        if line.startswith("#EXT-X-MEDIA:") and 'URI="' in line and "TYPE=AUDIO" in line:
            paths.append(urljoin(base, _uri(line)))
        elif not line.startswith("#"):
            paths.append(urljoin(base, line))
    if not paths:
        raise PlaylistError(f"{base} names no media playlist")
    return list(dict.fromkeys(paths))


def segments(playlist: str, base: str) -> tuple[list[str], list[Segment]]:
    """The initialisation sections and the segments of a media playlist, absolute, in play order.

    Raises PlaylistError when it names no segment, or one without a duration.
    """
    initial: list[str] = []
    found: list[Segment] = []
    duration_s: float | None = None
    for line in _lines(playlist):
        if line.startswith("#EXT-X-MAP:"):
            initial.append(urljoin(base, _uri(line)))
        elif line.startswith("#EXTINF:"):
            duration_s = float(line.removeprefix("#EXTINF:").split(",", 1)[0])
        elif not line.startswith("#"):
            if duration_s is None:
                raise PlaylistError(f"{base}: {line} has no duration")
            found.append(Segment(urljoin(base, line), duration_s))
            duration_s = None
    if not found:
        raise PlaylistError(f"{base} names no segment")
    return initial, found


def timetable(tracks: Sequence[Sequence[Segment]], stay_s: float) -> list[Step]:
    """What a player does while it plays these tracks together for at most `stay_s` seconds, in order.

    It fetches AHEAD_SEGMENTS of each track at once and each later segment when one has been played; tells `play` when
    it has the first of each; tells `watch` every REPORT_EVERY_S seconds, and the rest at the end.
    """
    end_s = min(stay_s, max(sum(segment.duration_s for segment in track) for track in tracks))
    rows = zip_longest(*(_fetches(track) for track in tracks))
    first, *later = [[step for step in row if step is not None and step.at_s < end_s] for row in rows]
    steps = [*first, Step(0.0, kind="play"), *(step for row in later for step in row), *_reports(end_s)]
    # Stable: what happens at the same time stays in this order.
    return sorted(steps, key=lambda step: step.at_s)


def event(kind: str, event_id: str, at_ms: int, viewer: str, resource: str = "", watched_s: int = 0) -> dict[str, Any]:
    """One view event as the contract has it; at_ms: milliseconds since the epoch. A visit has no resource."""
    made: dict[str, Any] = {"id": event_id, "kind": kind, "viewer": viewer, "at": at_ms}
    if resource:
        made["resource"] = resource
    if kind == "watch":
        made["watched_s"] = watched_s
    return made


def _fetches(track: Sequence[Segment]) -> list[Step]:
    """A segment is played from the end of the one before it, and is fetched AHEAD_SEGMENTS earlier."""
    starts = [0.0, *accumulate(segment.duration_s for segment in track)]
    return [
        Step(starts[max(0, number + 1 - AHEAD_SEGMENTS)], path=segment.path, needed_s=starts[number])
        for number, segment in enumerate(track)
    ]


def _reports(end_s: float) -> list[Step]:
    whole, rest_s = divmod(end_s, REPORT_EVERY_S)
    full = range(1, int(whole) + 1)
    reports = [Step(float(one * REPORT_EVERY_S), kind="watch", watched_s=REPORT_EVERY_S) for one in full]
    return [*reports, Step(end_s, kind="watch", watched_s=round(rest_s))] if round(rest_s) else reports


def _lines(playlist: str) -> list[str]:
    return [line.strip() for line in playlist.splitlines() if line.strip()]


def _uri(tag: str) -> str:
    return tag.split('URI="', 1)[1].split('"', 1)[0]

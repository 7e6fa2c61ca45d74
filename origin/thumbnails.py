"""Small pictures of a video for the seek bar: sprites of many, and the WebVTT track that says which is when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

EVERY_S = 10.0
COLUMNS = 5
ROWS = 5
LONG_SIDE = 160
QUALITY = 70


@dataclass(frozen=True, slots=True)
class Grid:
    """The size of one small picture in pixels."""

    width: int
    height: int


def grid_for(width: int, height: int) -> Grid:
    """The thumbnail size for a picture: 160 pixels along its long side, even."""
    scale = LONG_SIDE / max(width, height)
    return Grid(max(2, 2 * round(width * scale / 2)), max(2, 2 * round(height * scale / 2)))


def sprite_name(number: int) -> str:
    """The file name of a sprite, counted from 1."""
    return f"sprite{number:03d}.jpg"


def write_sprites(grid: Grid, pictures: Sequence[Path], directory: Path) -> None:
    """Lays small pictures out on as few sprites as hold them. The last one is only as high as it must be."""
    sheet = COLUMNS * ROWS
    for start in range(0, len(pictures), sheet):
        share = pictures[start : start + sheet]
        rows = -(-len(share) // COLUMNS)
        sprite = Image.new("RGB", (grid.width * min(COLUMNS, len(share)), grid.height * rows))
        for place, path in enumerate(share):
            with Image.open(path) as picture:
                sprite.paste(picture, (place % COLUMNS * grid.width, place // COLUMNS * grid.height))
        sprite.save(directory / sprite_name(start // sheet + 1), quality=QUALITY, optimize=True)


def track(grid: Grid, duration_s: float, pictures: int) -> str:
    """The WebVTT track: one cue per small picture, its place given as a media fragment (#xywh)."""
    return "WEBVTT\n\n" + "\n".join(_cue(grid, number, duration_s, pictures) for number in range(pictures))


def _cue(grid: Grid, number: int, duration_s: float, pictures: int) -> str:
    sheet, place = divmod(number, COLUMNS * ROWS)
    row, column = divmod(place, COLUMNS)
    start = number * EVERY_S
    end = duration_s if number == pictures - 1 else start + EVERY_S
    where = f"{column * grid.width},{row * grid.height},{grid.width},{grid.height}"
    return f"{timestamp(start)} --> {timestamp(end)}\n{sprite_name(sheet + 1)}#xywh={where}\n"


def timestamp(seconds: float) -> str:
    """A WebVTT time, hours always written."""
    millis = round(seconds * 1000)
    hours, rest = divmod(millis, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d}.{rest % 1000:03d}"

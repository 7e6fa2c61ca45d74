"""A font that has the characters we want to draw. None of ours: one that is on the machine, and never empty boxes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import ImageFont

PROBE = "认识国家智慧教育课"
# Free fonts with simplified Chinese, the likeliest first; matched against the file's name.
CHINESE = ("notosanscjk", "notosanssc", "sourcehansans", "wqy-", "notoserifcjk", "droidsansfallback", "fandol", "ukai")
SUFFIXES = frozenset({".ttf", ".otf", ".ttc"})
FOLDERS = (
    Path("/usr/share/fonts"),
    Path("/usr/local/share/fonts"),
    Path.home() / ".local/share/fonts",
    Path.home() / ".fonts",
)

Font = ImageFont.FreeTypeFont


@dataclass(frozen=True, slots=True)
class Typeface:
    """A way to get fonts by size. chinese: whether Chinese text may be drawn with it."""

    path: Path | None
    chinese: bool

    def at(self, pixels: int) -> Font:
        """The font at a height in pixels."""
        if self.path is not None:
            return ImageFont.truetype(self.path, pixels)
        # Pillow's own, Latin letters only; it is a FreeType font as Pillow's wheels are built with FreeType.
        font = ImageFont.load_default(pixels)
        if not isinstance(font, Font):
            raise RuntimeError("this Pillow is built without FreeType: no text can be drawn")
        return font


def find_typeface(folders: tuple[Path, ...] = FOLDERS) -> Typeface:
    """A Chinese font of the machine, or else Pillow's own Latin one."""
    candidates = sorted(_files(folders), key=_rank)
    for path in candidates:
        if _rank(path)[0] < len(CHINESE) and _has_chinese(path):
            return Typeface(path, chinese=True)
    return Typeface(None, chinese=False)


def _files(folders: tuple[Path, ...]) -> Iterator[Path]:
    for folder in folders:
        if folder.is_dir():
            yield from (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def _rank(path: Path) -> tuple[int, bool, str]:
    name = path.name.lower()
    at = next((at for at, part in enumerate(CHINESE) if part in name), len(CHINESE))
    return at, "regular" not in name, name


def _has_chinese(path: Path) -> bool:
    """Whether our characters get pictures of their own: a missing one is drawn like any other missing one."""
    try:
        font = ImageFont.truetype(path, 24)
    except OSError:
        return False
    missing = bytes(font.getmask("\U0010fffe"))
    return all(bytes(font.getmask(character)) not in (missing, b"") for character in PROBE)

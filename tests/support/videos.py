"""Odd videos, made by the shipped ffmpeg: small, short, and each strange in one way."""

from __future__ import annotations

import subprocess
from pathlib import Path

from origin.binaries import find_binaries

FAST = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
DEADLINE_S = 60


def ffmpeg(*arguments: str) -> None:
    """Runs the shipped ffmpeg to its end."""
    command = [find_binaries().ffmpeg, "-v", "error", "-nostdin", "-y", *arguments]
    subprocess.run(command, check=True, timeout=DEADLINE_S)


def picture(size: str, seconds: float, rate: str = "25") -> tuple[str, ...]:
    """An input: a moving test picture."""
    return ("-f", "lavfi", "-i", f"testsrc2=size={size}:rate={rate}:duration={seconds}")


def tone(seconds: float) -> tuple[str, ...]:
    """An input: a tone."""
    return ("-f", "lavfi", "-i", f"sine=frequency=330:sample_rate=44100:duration={seconds}")


def plain(path: Path, *, size: str = "640x360", seconds: float = 7) -> Path:
    """An ordinary video with sound."""
    ffmpeg(*picture(size, seconds), *tone(seconds), *FAST, "-c:a", "aac", str(path))
    return path


def silent(path: Path) -> Path:
    """No sound track."""
    ffmpeg(*picture("640x360", 7), *FAST, str(path))
    return path


def rotated(path: Path) -> Path:
    """Stored lying, to be shown upright, as telephones do."""
    lying = path.with_suffix(".lying.mp4")
    plain(lying)
    ffmpeg("-display_rotation", "90", "-i", str(lying), "-c", "copy", str(path))
    return path


def uneven(path: Path) -> Path:
    """Variable frame rate: pictures left out in the middle."""
    drop = "select='not(between(n,30,70)*mod(n,7))'"
    ffmpeg(*picture("640x360", 7), *tone(7), "-vf", drop, "-fps_mode", "vfr", *FAST, "-c:a", "aac", str(path))
    return path


def odd_sized(path: Path) -> Path:
    """Odd width and height, smaller than the smallest rung."""
    ffmpeg(*picture("321x181", 7), *tone(7), "-c:v", "ffv1", "-c:a", "pcm_s16le", str(path))
    return path


def headless(path: Path) -> Path:
    """A stream without a length in its header."""
    ffmpeg(*picture("640x360", 7), *tone(7), *FAST, "-c:a", "aac", "-f", "matroska", "-live", "1", str(path))
    return path


def long_winded(path: Path) -> Path:
    """Sound that goes on four seconds after the picture."""
    ffmpeg(*picture("640x360", 4), *tone(8), *FAST, "-c:a", "aac", str(path))
    return path


def fast(path: Path) -> Path:
    """Sixty pictures a second."""
    ffmpeg(*picture("640x360", 7, "60"), *tone(7), *FAST, "-c:a", "aac", str(path))
    return path


def wide_pixels(path: Path) -> Path:
    """Pixels that are wider than high, as of old television."""
    ffmpeg(*picture("720x576", 7), *tone(7), "-vf", "setsar=64/45", *FAST, "-c:a", "aac", str(path))
    return path

"""The renditions a video is offered in, and which of them a given source gets. Pure arithmetic.

Sizes and bit rates are those of a real lesson of the platform (slides and a speaking teacher): 640x360 at 202 kbit/s up
to 1920x1080 at 706 kbit/s. The rates are caps: a quiet lesson stays below them.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

# A source that misses a rung by a hair (1916x1076 after cropping) still gets it, at its own size.
TOLERANCE = 1.02
MINIMUM_SIDE = 16
AUDIO_KBPS = 64
AUDIO_RATE_HZ = 48_000
MAX_FPS = 30
DEFAULT_FPS = Fraction(25)
COMMON_FPS = tuple(
    Fraction(*rate)
    for rate in ((10, 1), (12, 1), (15, 1), (20, 1), (24000, 1001), (24, 1), (25, 1), (30000, 1001), (30, 1))
)


@dataclass(frozen=True, slots=True)
class Rung:
    """One step of the ladder: the box a picture is fitted into (long side, short side) and the cap on its bit rate."""

    name: str
    long_side: int
    short_side: int
    kbps: int


LADDER = (
    Rung("360p", 640, 360, 202),
    Rung("480p", 852, 480, 255),
    Rung("720p", 1280, 720, 377),
    Rung("1080p", 1920, 1080, 706),
)


@dataclass(frozen=True, slots=True)
class Rendition:
    """One picture size to encode: even width and height in pixels, cap in kbit/s."""

    name: str
    width: int
    height: int
    kbps: int


def renditions_for(width: int, height: int) -> tuple[Rendition, ...]:
    """The renditions of a picture of this displayed size, smallest first; never larger than the picture.

    A picture smaller than the smallest rung gets one rendition of its own size, named after its short side.
    """
    fitting = [_fitted(rung, width, height) for rung in LADDER if _scale(rung, width, height) <= TOLERANCE]
    if fitting:
        return tuple(fitting)
    smallest = LADDER[0]
    own = (_even(width), _even(height))
    pixels = own[0] * own[1] / (smallest.long_side * smallest.short_side)
    return (Rendition(f"{min(own)}p", *own, kbps=max(48, round(smallest.kbps * min(1.0, pixels**0.75)))),)


def frame_rate(source_fps: Fraction | None) -> Fraction:
    """Frames per second to encode at: the source's, halved until it is at most 30; 25 when the source has none.

    A rate near a common one becomes that one and any other a whole number, so that time stamps stay exact.
    """
    if source_fps is None or not 0 < source_fps <= 1000:
        return DEFAULT_FPS
    rate = source_fps
    while rate > MAX_FPS * 1.001:
        rate /= 2
    nearest = min(COMMON_FPS, key=lambda common: abs(common - rate))
    if abs(nearest - rate) <= nearest / 2000:
        return nearest
    return Fraction(max(1, min(MAX_FPS, round(rate))))


def profile_for(rendition: Rendition) -> str:
    """H.264 profile: Main up to 480p for old tablets, High above."""
    return "main" if min(rendition.width, rendition.height) <= 480 else "high"


def _scale(rung: Rung, width: int, height: int) -> float:
    return min(rung.long_side / max(width, height), rung.short_side / min(width, height))


def _fitted(rung: Rung, width: int, height: int) -> Rendition:
    scale = min(1.0, _scale(rung, width, height))
    return Rendition(rung.name, _even(width * scale), _even(height * scale), rung.kbps)


def _even(length: float) -> int:
    """The nearest even number, at least what H.264 decoders take."""
    return max(MINIMUM_SIDE, 2 * round(length / 2))

"""What a video file holds, as ffprobe and a reading of all its packets tell it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from origin.binaries import Binaries
from origin.errors import PublishError, WrongInputError
from origin.process import ProcessError, run

PROBE_SILENCE_S = 60.0
SCAN_SILENCE_S = 120.0
MINIMUM_S = 0.5
# Demuxers that make a "video" of a text or a single picture.
NOT_MOVING = ("tty", "image2", "ico", "ass", "srt", "webvtt")
ALLOWED = "allowed is any video file that ffmpeg reads (mp4, mkv, mov, webm, avi, ts, ...)"


@dataclass(frozen=True, slots=True)
class Source:
    """A video as it will be shown.

    width, height: pixels after rotation and pixel aspect. fps: None when the file does not say. interlaced: fields to
    be woven. video_s, audio_s: where the streams really end, in seconds from the file's first packet; audio_s is None
    without sound. channels: of the first sound track. stated_s: the length the file claims, None when it claims none.
    """

    path: Path
    width: int
    height: int
    fps: Fraction | None
    interlaced: bool
    video_s: float
    audio_s: float | None
    channels: int
    video_index: int
    audio_index: int | None
    stated_s: float | None

    @property
    def duration_s(self) -> float:
        """How long the lesson lasts: to the end of the longer stream."""
        return max(self.video_s, self.audio_s or 0.0)


def input_arguments(path: Path) -> list[str]:
    """How ffmpeg is told of an input: a plain local file, whatever its name looks like or its content refers to."""
    return ["-protocol_whitelist", "file", "-i", f"file:{path.absolute()}"]


def probe(path: Path, binaries: Binaries) -> Source:
    """Reads a video; raises PublishError when it is none, or is unreadable, empty or cut off."""
    _readable(path)
    described = _described(path, binaries)
    streams = described.get("streams", [])
    video = next((s for s in streams if s.get("codec_type") == "video" and not _is_cover(s)), None)
    form = described.get("format", {})
    if video is None or _still(str(form.get("format_name", ""))):
        raise PublishError(f"{path}: has no moving picture; {ALLOWED}")
    if not video.get("width") or not video.get("codec_name"):
        raise PublishError(f"{path}: its picture can't be decoded (codec {video.get('codec_tag_string', '?')})")
    audio = next((s for s in streams if s.get("codec_type") == "audio" and s.get("codec_name")), None)
    return _measured(path, binaries, video, audio, _number(form.get("duration")))


def _measured(
    path: Path, binaries: Binaries, video: dict[str, Any], audio: dict[str, Any] | None, stated_s: float | None
) -> Source:
    video_s = _end_of(path, int(video["index"]), binaries)
    audio_s = _end_of(path, int(audio["index"]), binaries) if audio else None
    if video_s < MINIMUM_S:
        raise PublishError(f"{path}: its picture lasts {video_s:.2f} s; a lesson lasts at least {MINIMUM_S} s")
    source = Source(
        path=path,
        width=_shown_size(video)[0],
        height=_shown_size(video)[1],
        fps=_rate(video),
        interlaced=str(video.get("field_order", "")) in {"tt", "bb", "tb", "bt"},
        video_s=video_s,
        audio_s=audio_s if audio_s and audio_s > 0 else None,
        channels=int((audio or {}).get("channels") or 0),
        video_index=int(video["index"]),
        audio_index=int(audio["index"]) if audio and audio_s else None,
        stated_s=stated_s,
    )
    if stated_s and source.duration_s < 0.9 * stated_s - 1:
        raise PublishError(f"{path}: says it lasts {stated_s:.0f} s but ends after {source.duration_s:.0f} s: cut off?")
    return source


def _readable(path: Path) -> None:
    try:
        if path.is_dir():
            raise WrongInputError(f"{path}: is a directory, not a video file")
        with path.open("rb") as stream:
            if not stream.read(1):
                raise PublishError(f"{path}: is empty; {ALLOWED}")
    except FileNotFoundError:
        raise WrongInputError(f"{path}: there is no such file") from None
    except OSError as error:
        raise WrongInputError(f"{path}: can't be read: {error.strerror}") from error


def _described(path: Path, binaries: Binaries) -> dict[str, Any]:
    arguments = [binaries.ffprobe, "-v", "error", "-show_format", "-show_streams", "-of", "json"]
    try:
        output = run([*arguments, *input_arguments(path)], silence_s=PROBE_SILENCE_S)
    except ProcessError as error:
        reason = error.last_words[-1].split(": ", 1)[-1] if error.last_words else "no reason given"
        raise PublishError(f"{path}: is not a video ({reason}); {ALLOWED}") from error
    parsed: dict[str, Any] = json.loads(output.stdout)
    return parsed


def _end_of(path: Path, index: int, binaries: Binaries) -> float:
    """Seconds to the end of a stream's last packet, by reading them all: headers lie, or say nothing."""
    ends = [0.0]

    def note(line: str) -> None:
        key, _, value = line.strip().partition("=")
        if key == "out_time_us" and value.lstrip("-").isdigit():
            ends.append(int(value) / 1e6)

    arguments = [binaries.ffmpeg, "-v", "error", "-nostdin", *input_arguments(path), "-map", f"0:{index}", "-c", "copy"]
    try:
        run([*arguments, "-progress", "pipe:1", "-f", "null", "-"], silence_s=SCAN_SILENCE_S, on_line=note)
    except ProcessError as error:
        raise PublishError(f"{path}: can't be read to its end: {error}") from error
    return max(ends)


def _is_cover(stream: dict[str, Any]) -> bool:
    return bool(stream.get("disposition", {}).get("attached_pic"))


def _still(format_name: str) -> bool:
    names = format_name.split(",")
    return any(name in NOT_MOVING or name.endswith("_pipe") for name in names)


def _shown_size(stream: dict[str, Any]) -> tuple[int, int]:
    width, height = int(stream["width"]), int(stream["height"])
    aspect = _fraction(str(stream.get("sample_aspect_ratio", "1:1")).replace(":", "/"))
    if aspect is not None and aspect > 0:
        # Widen or heighten, never shrink: no picture information is lost.
        width, height = (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))
    turned = any(abs(int(side.get("rotation", 0))) % 180 == 90 for side in stream.get("side_data_list", []))
    return (height, width) if turned else (width, height)


def _rate(stream: dict[str, Any]) -> Fraction | None:
    for name in ("avg_frame_rate", "r_frame_rate"):
        rate = _fraction(str(stream.get(name, "")))
        if rate is not None and rate > 0:
            return rate
    return None


def _fraction(text: str) -> Fraction | None:
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        return None


def _number(text: object) -> float | None:
    try:
        return float(str(text))
    except ValueError:
        return None

"""Video -> one MP4 per rendition, one for the sound, poster and thumbnails, in a single run of ffmpeg.

One run decodes the source once and lets the encoders share the cores; one run per rendition costs a decoding and a
scaling of the full picture each. Every rendition gets the same frame rate and a key frame at each multiple of the
segment length and nowhere else it could be cut, so segments of all renditions begin at the same instants.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from origin import thumbnails
from origin.binaries import Binaries
from origin.errors import PublishError, WrongInputError
from origin.ladder import AUDIO_KBPS, AUDIO_RATE_HZ, Rendition, frame_rate, profile_for, renditions_for
from origin.probe import Source, input_arguments
from origin.process import ProcessError, run

ENCODE_SILENCE_S = 300.0
CRF = 24
# How much of the cap's rate the decoder's buffer holds: lets a change of slide through in one piece.
BUFFER_S = 2.0
PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")
POSTER_BOX = 1280
POSTER_LATEST_S = 20.0
# Sound that outlasts the picture by less than this is cut with it.
TAIL_S = 0.2


@dataclass(frozen=True, slots=True)
class EncodeSettings:
    """segment_s: length of a segment in seconds; preset: of x264, faster means more bytes for the same picture."""

    segment_s: float = 6.0
    preset: str = "veryfast"


@dataclass(frozen=True, slots=True)
class Encoded:
    """What `encode` left in its directory: `<name>.mp4` per rendition, `audio.mp4`, `poster.jpg`, `thumb*.jpg`."""

    renditions: tuple[Rendition, ...]
    has_audio: bool
    duration_s: float
    grid: thumbnails.Grid


def check_settings(settings: EncodeSettings) -> None:
    """Raises WrongInputError when a value is not allowed."""
    if settings.preset not in PRESETS:
        raise WrongInputError(f"preset {settings.preset!r} is not known; allowed: {', '.join(PRESETS)}")
    if not 1 <= settings.segment_s <= 20:
        raise WrongInputError(f"segment length {settings.segment_s:g} s is not possible; allowed: 1 to 20")


def plan(source: Source) -> Encoded:
    """What encoding this source will give."""
    renditions = renditions_for(source.width, source.height)
    return Encoded(
        renditions=renditions,
        has_audio=source.audio_index is not None,
        duration_s=lasting(source),
        grid=thumbnails.grid_for(renditions[-1].width, renditions[-1].height),
    )


def lasting(source: Source) -> float:
    """Seconds the lesson lasts: the picture's length, or the sound's when that goes on (the last frame then stays)."""
    return source.duration_s if source.duration_s > source.video_s + TAIL_S else source.video_s


def encode(
    source: Source, settings: EncodeSettings, directory: Path, binaries: Binaries, reached: Callable[[float], None]
) -> Encoded:
    """Encodes into an existing, empty directory; `reached` is told the seconds done. Raises PublishError."""

    furthest = 0.0

    def note(line: str) -> None:
        # The slowest output counts last, and the report at the end names a single picture's time: never go back.
        nonlocal furthest
        key, _, value = line.strip().partition("=")
        if key == "out_time_us" and value.isdigit():
            furthest = max(furthest, int(value) / 1e6)
            reached(furthest)

    arguments = [binaries.ffmpeg, *encode_arguments(source, settings)]
    try:
        run(arguments, silence_s=ENCODE_SILENCE_S, on_line=note, cwd=str(directory))
    except ProcessError as error:
        if error.no_space:
            raise PublishError(f"no space left in the work directory {directory}") from error
        raise PublishError(f"{source.path}: can't be encoded: {_cause(error)}") from error
    return plan(source)


def encode_arguments(source: Source, settings: EncodeSettings) -> list[str]:
    """The arguments of the one ffmpeg run; outputs are relative to its working directory."""
    planned = plan(source)
    arguments = ["-v", "error", "-nostdin", "-y", *input_arguments(source.path)]
    arguments += ["-filter_complex", _filters(source, planned), "-progress", "pipe:1"]
    for rendition in planned.renditions:
        arguments += _video_output(rendition, settings, planned.duration_s)
    if planned.has_audio:
        arguments += ["-map", "[sound]", "-c:a", "aac", "-b:a", f"{AUDIO_KBPS}k"]
        arguments += ["-t", f"{planned.duration_s:.3f}", *_clean(), "audio.mp4"]
    jpeg = ["-c:v", "mjpeg", "-f", "image2"]
    arguments += ["-map", "[poster]", "-frames:v", "1", "-q:v", "4", *jpeg, "-update", "1", "poster.jpg"]
    arguments += ["-map", "[thumbs]", "-fps_mode", "passthrough", "-q:v", "2", *jpeg, "thumb%05d.jpg"]
    return arguments


def _filters(source: Source, planned: Encoded) -> str:
    chains = [_picture(source, planned), *_scalers(planned.renditions), _poster(planned), _thumbs(planned)]
    if planned.has_audio:
        chains.append(_sound(source, planned.duration_s))
    return ";".join(chains)


def _picture(source: Source, planned: Encoded) -> str:
    """Evens out the source: woven fields, constant frame rate from 0 on, square pixels, 8 bits, held last frame."""
    steps = ["yadif=deint=interlaced"] if source.interlaced else []
    rate = frame_rate(source.fps)
    steps.append(f"fps={rate.numerator}/{rate.denominator}:start_time=0")
    top = planned.renditions[-1]
    steps.append(f"scale={top.width}:{top.height}:flags=bicubic,setsar=1,format=yuv420p")
    if planned.duration_s > source.video_s:
        steps.append(f"tpad=stop_mode=clone:stop_duration={planned.duration_s - source.video_s:.3f}")
    outputs = [*(f"[raw-{rendition.name}]" for rendition in planned.renditions), "[raw-poster]", "[raw-thumbs]"]
    return f"[0:{source.video_index}]{','.join(steps)},split={len(outputs)}{''.join(outputs)}"


def _scalers(renditions: Sequence[Rendition]) -> list[str]:
    """The largest is the source's own picture already; the others are scaled from it."""
    *smaller, top = renditions
    chains = [f"[raw-{one.name}]scale={one.width}:{one.height}:flags=bilinear,setsar=1[{one.name}]" for one in smaller]
    return [*chains, f"[raw-{top.name}]null[{top.name}]"]


def _poster(planned: Encoded) -> str:
    """A frame from the first tenth, the most typical of two seconds, so hardly ever a black one."""
    top = planned.renditions[-1]
    scale = min(1.0, POSTER_BOX / max(top.width, top.height))
    width, height = (2 * round(side * scale / 2) for side in (top.width, top.height))
    start = min(POSTER_LATEST_S, planned.duration_s / 10)
    typical = f"trim=start={start:.3f}:duration=2,fps=5,thumbnail=n=10"
    return f"[raw-poster]{typical},scale={width}:{height},format=yuvj420p[poster]"


def _thumbs(planned: Encoded) -> str:
    grid = planned.grid
    pick = f"select='isnan(prev_selected_t)+gte(t-prev_selected_t,{thumbnails.EVERY_S:g}-0.001)'"
    return f"[raw-thumbs]{pick},scale={grid.width}:{grid.height},format=yuvj420p[thumbs]"


def _sound(source: Source, duration_s: float) -> str:
    """Sound from instant 0 to the end of the lesson: gaps and a late start are filled with silence."""
    layout = "mono" if source.channels == 1 else "stereo"
    even = f"aresample={AUDIO_RATE_HZ}:async=1000:first_pts=0,aformat=channel_layouts={layout}"
    return f"[0:{source.audio_index}]{even},apad=whole_dur={duration_s:.3f}[sound]"


def _video_output(rendition: Rendition, settings: EncodeSettings, duration_s: float) -> list[str]:
    # One thread per encoder: with a capped rate x264's bytes depend on how its threads happen to run, and a second run
    # must find again what the first one sent. Renditions run side by side, so two cores are as busy either way.
    codec = ["-c:v", "libx264", "-threads:v", "1", "-preset", settings.preset]
    look = ["-profile:v", profile_for(rendition), "-crf", str(CRF)]
    rate = ["-maxrate", f"{rendition.kbps}k", "-bufsize", f"{round(rendition.kbps * BUFFER_S)}k"]
    # Key frames only where segments begin: a group of pictures as long as a segment, no cut at scene changes.
    keys = ["-force_key_frames", f"expr:gte(t,n_forced*{settings.segment_s:g})", "-sc_threshold", "0", "-g", "9999"]
    length = ["-t", f"{duration_s:.3f}"]
    head = ["-map", f"[{rendition.name}]"]
    return [*head, *codec, *look, *rate, *keys, *length, *_clean(), f"{rendition.name}.mp4"]


def _clean() -> list[str]:
    """No titles, chapters or dates of the source, and bytes that depend on nothing but the input."""
    return ["-map_metadata", "-1", "-map_chapters", "-1", "-fflags", "+bitexact", "-flags", "+bitexact+cgop"]


def _cause(error: ProcessError) -> str:
    """The line of ffmpeg that names the cause: its first complaint, not the echo at the end."""
    return error.last_words[0] if error.last_words else error.reason

"""The film of a sample lesson: slides, a moving picture on them, the voice as a wave, a running clock. One ffmpeg run.

The moving picture is computed small and scaled up; text and clock are drawn at full size, so the whole looks sharp and
costs little: rendering two minutes takes about as long as encoding them once at x264's fastest.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from origin.sample_pictures import CLOCK, CLOCK_AT, INSET, LANDSCAPE, WAVE, WAVE_AT

FPS = 15
SMALL = "320x180"
CRF = 24
# Sources of hard edges: shown paler, as they would eat the whole bit rate.
STARK = ("life", "zoneplate")


@dataclass(frozen=True, slots=True)
class Scene:
    """The parts of a film, as files of one directory, and how they are put together.

    chapter_s: how long each slide stays; chapters: how many there are; seed: which moving pictures are taken.
    """

    directory: Path
    chapter_s: float
    chapters: int
    seed: int

    @property
    def duration_s(self) -> float:
        return self.chapter_s * self.chapters


def clips(seed: int) -> tuple[str, ...]:
    """The sources of moving pictures, two per chapter, in an order and with parameters of this lesson's own."""
    rate = f"r={FPS}"
    sources = (
        "landscape",
        f"gradients=s={SMALL}:{rate}:n=5:type=spiral:speed=0.02:seed={seed + 1}",
        f"gradients=s={SMALL}:{rate}:n=7:type=linear:speed=0.04:seed={seed + 5}",
        f"life=s=40x22:{rate}:mold=30:ratio=0.4:life_color=#40e0a0:death_color=#803060:random_seed={seed + 7}",
        f"gradients=s={SMALL}:{rate}:n=6:type=radial:speed=0.03:seed={seed + 2}",
        f"zoneplate=s={SMALL}:{rate}:kx2={60 + 12 * seed}:ky2={60 - 6 * seed}:kt={2 + seed}",
        f"gradients=s={SMALL}:{rate}:n=4:type=circular:speed=0.03:seed={seed + 3}",
        f"gradients=s={SMALL}:{rate}:n=3:type=square:speed=0.02:seed={seed + 4}",
    )
    # The landscape opens the lesson and returns half way; the other places turn from lesson to lesson.
    others = sources[1:]
    turned = others[seed % len(others) :] + others[: seed % len(others)]
    return (sources[0], *turned[:3], sources[0], *turned[3:6])


def film_arguments(scene: Scene, output: Path) -> list[str]:
    """ffmpeg's arguments, without the program."""
    slides = ["-f", "image2", "-framerate", f"1/{scene.chapter_s:g}", "-i", str(scene.directory / "slide%02d.bmp")]
    clock = ["-f", "rawvideo", "-pix_fmt", "gray", "-s", "{}x{}".format(*CLOCK), "-framerate", "1"]
    inputs = [*slides, *clock, "-i", str(scene.directory / "clock.gray")]
    inputs += ["-i", str(scene.directory / "speech.wav"), "-i", str(scene.directory / "landscape.bmp")]
    video = ["-c:v", "libx264", "-preset", "ultrafast", "-crf", str(CRF), "-g", str(FPS * 4)]
    sound = ["-c:a", "aac", "-b:a", "96k"]
    length = ["-t", f"{scene.duration_s:g}"]
    head = ["-v", "error", "-nostdin", "-y", *inputs, "-filter_complex", _graph(scene), "-progress", "pipe:1"]
    return [*head, "-map", "[film]", "-map", "[voice]", *video, *sound, *length, "-f", "mp4", str(output)]


def _graph(scene: Scene) -> str:
    x, y, width, height = INSET
    each_s = scene.chapter_s / 2
    names = clips(scene.seed)
    pieces = [_clip(scene, at, source, each_s) for at, source in enumerate(names)]
    joined = "".join(f"[clip{at}]" for at in range(len(names)))
    return ";".join(
        (
            f"[3]format=yuv420p,split={names.count('landscape')}" + _landscapes(names),
            *pieces,
            f"{joined}concat=n={len(names)}:v=1:a=0,scale={width}:{height}:flags=fast_bilinear,setsar=1[moving]",
            "[2]asplit=2[voice][shown]",
            f"[shown]showwaves=s={WAVE[0] // 2}x{WAVE[1] // 2}:mode=cline:rate={FPS}:scale=sqrt:colors=0xA0D0FF,"
            f"scale={WAVE[0]}:{WAVE[1]}:flags=neighbor,format=yuv420p[wave]",
            f"[0]format=yuv420p,fps={FPS}[slides]",
            f"[slides][moving]overlay={x}:{y}:format=yuv420:eof_action=repeat[with-moving]",
            f"[with-moving][wave]overlay={WAVE_AT[0]}:{WAVE_AT[1]}:format=yuv420[with-wave]",
            "[1]format=yuv420p[clock]",
            f"[with-wave][clock]overlay={CLOCK_AT[0]}:{CLOCK_AT[1]}:format=yuv420[film]",
        )
    )


def _landscapes(names: tuple[str, ...]) -> str:
    return "".join(f"[land{at}]" for at, source in enumerate(names) if source == "landscape")


def _clip(scene: Scene, at: int, source: str, seconds: float) -> str:
    trimmed = f"trim=duration={seconds:g},setpts=PTS-STARTPTS,fps={FPS}"
    even = "scale=320:180:flags=neighbor,setsar=1,format=yuv420p"
    if source != "landscape":
        calm = ",lutyuv=y=80+val*0.4" if source.startswith(STARK) else ""
        return f"{source},{trimmed},{even}{calm}[clip{at}]"
    # Half of the picture is seen at a time; it passes once in the clip's time, back again in the second one.
    step = (1 if at == 0 else -1) / (seconds * FPS)
    half = f"crop={LANDSCAPE[0] // 2}:{LANDSCAPE[1]}:0:0"
    moving = f"loop=-1:1:0,setpts=N/{FPS}/TB,scroll=h={step:.6f},{half},scale=320:180:flags=bilinear,setsar=1"
    return f"[land{at}]{moving},{trimmed},format=yuv420p[clip{at}]"

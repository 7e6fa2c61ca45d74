"""Packages of ordinary and odd videos: they play, all renditions cut at the same instants, and say what they hold."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from origin.binaries import find_binaries
from origin.encode import EncodeSettings
from origin.errors import PublishError
from origin.package import Package, Packager, package_from_json
from origin.probe import probe
from tests.support import videos
from tests.support.silence import SilentReporter

REVISION = "0123456789abcdef"
SETTINGS = EncodeSettings(segment_s=2, preset="ultrafast")
DASH = "{urn:mpeg:dash:schema:mpd:2011}"


def packaged(video: Path, work: Path) -> Package:
    return Packager(find_binaries(), SilentReporter()).make(video, REVISION, SETTINGS, work, "test")


def complaints(playlist: Path, program: str | None = None) -> str:
    """What ffmpeg has to say when it decodes all of a playlist or manifest."""
    command = [program or find_binaries().ffmpeg, "-nostdin", "-v", "warning", "-i", str(playlist), "-map", "0"]
    done = subprocess.run([*command, "-f", "null", "-"], capture_output=True, text=True, timeout=60, check=False)
    return done.stderr.strip()


def starts(playlist: Path) -> list[float]:
    """The instants at which a media playlist's segments begin."""
    instants, at = [], 0.0
    for length in re.findall(r"#EXTINF:([0-9.]+)", playlist.read_text()):
        instants.append(round(at, 2))
        at += float(length)
    return instants


def decoded_end(directory: Path, name: str) -> float:
    """Where a rendition ends, by reading its packets."""
    playlist = directory / REVISION / name / "playlist.m3u8"
    arguments = ["-v", "error", "-show_entries", "packet=pts_time,duration_time", "-of", "csv=p=0", str(playlist)]
    done = subprocess.run([find_binaries().ffprobe, *arguments], capture_output=True, text=True, timeout=60, check=True)
    return max(sum(map(float, line.split(",")[:2])) for line in done.stdout.splitlines() if "N/A" not in line)


@pytest.mark.parametrize(
    ("make", "names", "seconds", "sound"),
    [
        (videos.silent, ["360p"], 7, False),
        (videos.rotated, ["360p"], 7, True),
        (videos.uneven, ["360p"], 7, True),
        (videos.odd_sized, ["180p"], 7, True),
        (videos.headless, ["360p"], 7, True),
        (videos.long_winded, ["360p"], 8, True),
        (videos.fast, ["360p"], 7, True),
        (videos.wide_pixels, ["360p", "480p"], 7, True),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_an_odd_video_plays_from_its_first_to_its_last_second(
    make: Callable[[Path], Path], names: list[str], seconds: float, sound: bool, tmp_path: Path
) -> None:
    package = packaged(make(tmp_path / "odd.mkv"), tmp_path / "work")
    directory = tmp_path / "work/package"
    assert [one.name for one in package.renditions] == names
    assert package.has_audio is sound
    assert package.duration_s == pytest.approx(seconds, abs=0.1)
    assert complaints(directory / "master.m3u8") == ""
    assert complaints(directory / REVISION / "master.m3u8") == ""
    for name in [*names, *(["audio"] if sound else [])]:
        assert decoded_end(directory, name) == pytest.approx(seconds, abs=0.15)
    instants = {name: starts(directory / REVISION / name / "playlist.m3u8") for name in names}
    assert all(one == [0, 2, 4, 6][: len(one)] for one in instants.values())
    assert {len(one) for one in instants.values()} == {4}


def test_a_turned_picture_is_upright(tmp_path: Path) -> None:
    source = probe(videos.rotated(tmp_path / "turned.mp4"), find_binaries())
    assert (source.width, source.height) == (360, 640)


@pytest.fixture(scope="module")
def hd(tmp_path_factory: pytest.TempPathFactory) -> tuple[Package, Path]:
    """A package of 12.5 s with three renditions."""
    folder = tmp_path_factory.mktemp("hd")
    video = videos.plain(folder / "hd.mp4", size="1280x720", seconds=12.5)
    package = Packager(find_binaries(), SilentReporter()).make(
        video, REVISION, EncodeSettings(preset="ultrafast"), folder / "work", "hd"
    )
    return package, folder / "work/package"


def test_all_renditions_are_cut_at_the_same_instants_and_begin_with_a_key_frame(hd: tuple[Package, Path]) -> None:
    package, directory = hd
    for rendition in package.renditions:
        folder = directory / REVISION / rendition.name
        assert starts(folder / "playlist.m3u8") == [0, 6, 12]
        for number, start in ((1, 0.0), (2, 6.0), (3, 12.0)):
            assert first_packet(folder, number) == (start, True)


def first_packet(folder: Path, number: int) -> tuple[float, bool]:
    """Time of the first packet of a segment, read on its own, and whether it is a key frame."""
    alone = folder.parent / "alone.mp4"
    alone.write_bytes((folder / "init.mp4").read_bytes() + (folder / f"{number:05d}.m4s").read_bytes())
    arguments = ["-v", "error", "-show_entries", "packet=pts_time,flags", "-of", "csv=p=0", str(alone)]
    done = subprocess.run([find_binaries().ffprobe, *arguments], capture_output=True, text=True, timeout=60, check=True)
    alone.unlink()
    pts, flags = done.stdout.splitlines()[0].split(",")[:2]
    return round(float(pts), 2), flags.startswith("K")


def test_the_master_of_one_rendition_plays_that_one_with_sound(hd: tuple[Package, Path]) -> None:
    package, directory = hd
    for rendition in package.renditions:
        master = directory / REVISION / f"master-{rendition.name}.m3u8"
        assert complaints(master) == ""
        assert f"RESOLUTION={rendition.width}x{rendition.height}" in master.read_text()
        assert master.read_text().count("#EXT-X-STREAM-INF") == 1


def test_the_dash_manifest_names_the_very_segments_of_the_playlists(hd: tuple[Package, Path]) -> None:
    package, directory = hd
    listed = {directory / file.path for file in package.files if file.path.endswith((".m4s", ".mp4"))}
    for manifest in (directory / "manifest.mpd", directory / REVISION / "manifest.mpd"):
        tree = ET.parse(manifest).getroot()
        named = {path for template in tree.iter(f"{DASH}SegmentTemplate") for path in segments_of(template)}
        assert {manifest.parent / path for path in named} == listed


def segments_of(template: ET.Element) -> list[str]:
    count = sum(1 + int(piece.get("r", "0")) for piece in template.iter(f"{DASH}S"))
    pattern = template.attrib["media"]
    return [
        template.attrib["initialization"],
        *(pattern.replace("$Number%05d$", f"{n:05d}") for n in range(1, count + 1)),
    ]


def test_a_dash_player_reads_the_manifest(hd: tuple[Package, Path]) -> None:
    program = shutil.which("ffprobe")
    formats = subprocess.run(
        [program or "true", "-v", "error", "-formats"], capture_output=True, text=True, check=False
    )
    if not re.search(r"^ D[E ]? +dash ", formats.stdout, re.MULTILINE):
        pytest.skip("no ffprobe on PATH that reads DASH (the shipped one does not); Debian's ffmpeg package has one")
    for folder in (hd[1], hd[1] / REVISION):
        assert complaints(folder / "manifest.mpd", shutil.which("ffmpeg")) == ""


def test_the_package_lists_every_file_with_its_checksum(hd: tuple[Package, Path]) -> None:
    package, directory = hd
    there = {path.relative_to(directory).as_posix() for path in (directory / REVISION).rglob("*") if path.is_file()}
    assert {file.path for file in package.files} == there - {f"{REVISION}/package.json"}
    for file in package.files:
        assert hashlib.sha256((directory / file.path).read_bytes()).hexdigest() == file.sha256
    assert package_from_json(package.to_json()) == package
    assert package.pointers["master.m3u8"] == (directory / "master.m3u8").read_text()


def test_there_is_a_poster_and_a_small_picture_for_each_ten_seconds(hd: tuple[Package, Path]) -> None:
    from PIL import Image

    _, directory = hd
    with Image.open(directory / REVISION / "poster.jpg") as poster:
        assert poster.size == (1280, 720)
        assert len(set(poster.convert("L").tobytes())) > 100
    track = (directory / REVISION / "thumbnails/thumbnails.vtt").read_text()
    assert track.count("#xywh=") == 2
    with Image.open(directory / REVISION / "thumbnails/sprite001.jpg") as sprite:
        assert sprite.size == (320, 90)


def test_finished_work_is_taken_up_and_unfinished_thrown_away(tmp_path: Path) -> None:
    work = tmp_path / "work"
    (work / "encoded.unfinished").mkdir(parents=True)
    (work / "encoded.unfinished/360p.mp4").write_bytes(b"half")
    video = videos.plain(tmp_path / "video.mp4", seconds=2)
    first = packaged(video, work)
    assert [path.name for path in work.iterdir()] == ["package"]
    video.unlink()  # nothing is encoded again: the video is not even looked at
    assert packaged(video, work) == first


def test_a_work_directory_may_be_called_as_its_owner_likes(tmp_path: Path) -> None:
    video = videos.plain(tmp_path / "video.mp4", seconds=2)
    work = tmp_path / "a, b=c 课%d:"
    assert [one.name for one in packaged(video, work).renditions] == ["360p"]


@pytest.mark.parametrize("spoiled", ["package.json", "360p/00001.m4s"])
def test_finished_work_that_is_not_whole_is_done_anew(tmp_path: Path, spoiled: str) -> None:
    work = tmp_path / "work"
    video = videos.plain(tmp_path / "video.mp4", seconds=2)
    first = packaged(video, work)
    (file,) = work.glob(f"package/*/{spoiled}")
    file.write_bytes(file.read_bytes()[:20])
    assert packaged(video, work) == first
    file.write_bytes(b"")
    assert packaged(video, work) == first


def text(path: Path) -> None:
    path.write_text("not a film\n" * 100)


def nothing(path: Path) -> None:
    path.write_bytes(b"")


def noise(path: Path) -> None:
    path.write_bytes(hashlib.shake_256(b"noise").digest(50_000))


def only_sound(path: Path) -> None:
    videos.ffmpeg(*videos.tone(2), "-c:a", "aac", "-f", "mp4", str(path))


def one_picture(path: Path) -> None:
    videos.ffmpeg(*videos.picture("64x64", 1), "-frames:v", "1", "-c:v", "mjpeg", "-f", "image2", str(path))


def cut_off(path: Path) -> None:
    videos.plain(path, seconds=6)
    path.write_bytes(path.read_bytes()[:-2000])


def referring(path: Path) -> None:
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n")


def folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    "make", [text, nothing, noise, only_sound, one_picture, cut_off, referring, folder], ids=lambda make: make.__name__
)
def test_what_is_no_video_is_refused_in_one_line_that_names_the_file(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    path = tmp_path / "input.mp4"
    make(path)
    with pytest.raises(PublishError) as caught:
        probe(path, find_binaries())
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)

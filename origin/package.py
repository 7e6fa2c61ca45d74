"""Video -> a package: CMAF segments, playlists, manifest, poster, thumbnails, and the list of all of it with checksums.

The package is laid out in its directory as it will lie in the bucket, so every reference inside is relative and right:

    master.m3u8  manifest.mpd  poster.jpg            short-lived, replaced when the lesson changes ("pointers")
    <revision>/<rendition>/init.mp4, 00001.m4s, ..., playlist.m3u8
    <revision>/audio/...
    <revision>/master.m3u8  manifest.mpd  poster.jpg     the same for readers who want this revision and no other
    <revision>/master-<rendition>.m3u8  thumbnails/...
    <revision>/package.json             uploaded after all the others: its presence says that they are there

Each step leaves its directory by an atomic rename when it is done, so a run that was killed goes on where it stopped.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from origin import hls, thumbnails
from origin.binaries import Binaries
from origin.encode import Encoded, EncodeSettings, encode, lasting, plan
from origin.errors import PublishError
from origin.probe import Source, probe
from origin.process import ProcessError, run
from origin.progress import Reporter

# Raise it when the same video and settings must give new bytes: a changed ladder, filter or layout.
FORMAT = 2
PACKAGER_SILENCE_S = 600.0
REVISION_DIGITS = 16
MASTER = "master.m3u8"
DASH = "manifest.mpd"
POINTERS = (MASTER, DASH, "poster.jpg")
MANIFEST = "package.json"

CONTENT_TYPES = {
    ".m3u8": "application/vnd.apple.mpegurl",
    ".mpd": "application/dash+xml",
    ".mp4": "video/mp4",
    ".m4s": "video/iso.segment",
    ".jpg": "image/jpeg",
    ".vtt": "text/vtt; charset=utf-8",
    ".json": "application/json",
    ".pdf": "application/pdf",
    ".doc": "application/msword",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".ppt": "application/vnd.ms-powerpoint",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".txt": "text/plain; charset=utf-8",
    ".png": "image/png",
    ".zip": "application/zip",
}


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of a package: its path relative to the lesson's folder, bytes, SHA-256 and MD5 in hex."""

    path: str
    size: int
    sha256: str
    md5: str
    content_type: str


@dataclass(frozen=True, slots=True)
class PackagedRendition:
    """A rendition as players choose it: pixels, peak and mean bit/s with sound, bytes of all its files."""

    name: str
    width: int
    height: int
    bandwidth: int
    average_bandwidth: int
    size: int


@dataclass(frozen=True, slots=True)
class Package:
    """All that was made of one video, as kept in package.json.

    files: everything under `<revision>/` but package.json. pointers: the short-lived playlists' text by name.
    """

    format: int
    revision: str
    duration_s: float
    segment_s: float
    has_audio: bool
    renditions: tuple[PackagedRendition, ...]
    files: tuple[StoredFile, ...]
    pointers: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> bytes:
        return orjson.dumps(self, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)


def package_from_json(data: bytes) -> Package:
    """Reads package.json back; raises ValueError, KeyError or TypeError when it is something else."""
    raw = orjson.loads(data)
    raw["renditions"] = tuple(PackagedRendition(**one) for one in raw["renditions"])
    raw["files"] = tuple(StoredFile(**one) for one in raw["files"])
    return Package(**raw)


def media_revision(source_sha256: str, settings: EncodeSettings) -> str:
    """The name of what this video packaged with these settings gives: same input, same name."""
    facts = [FORMAT, source_sha256, f"{settings.segment_s:g}", settings.preset]
    return hashlib.sha256(orjson.dumps(facts)).hexdigest()[:REVISION_DIGITS]


def content_type_of(name: str) -> str:
    """The media type of a file by its suffix."""
    return CONTENT_TYPES.get(Path(name).suffix.lower(), "application/octet-stream")


class Packager:
    """Makes packages in a work directory, one at a time."""

    def __init__(self, binaries: Binaries, reporter: Reporter) -> None:
        self._binaries = binaries
        self._reporter = reporter

    def make(self, video: Path, revision: str, settings: EncodeSettings, work: Path, label: str) -> Package:
        """The package of a video in `work/package`, made anew or taken from an earlier, interrupted run.

        label: names the lesson in progress lines. Raises PublishError.
        """
        finished = work / "package"
        with _explained_space(work):
            package = _finished(finished, revision)
            if package is None:
                source = probe(video, self._binaries)
                self._encode(source, settings, work, label)
                self._segment(source, revision, settings, work, label)
                package = package_from_json((finished / revision / MANIFEST).read_bytes())
        return package

    def _encode(self, source: Source, settings: EncodeSettings, work: Path, label: str) -> None:
        self._reporter.stage(f"{label}: encoding", lasting(source))
        if (work / "encoded").is_dir():
            return
        with _step(work, "encoded") as directory:
            encode(source, settings, directory, self._binaries, self._reporter.reach)

    def _segment(self, source: Source, revision: str, settings: EncodeSettings, work: Path, label: str) -> None:
        self._reporter.stage(f"{label}: packaging", 0)
        encoded = plan(source)
        with _step(work, "package") as directory:
            (directory / revision).mkdir()
            self._run_packager(encoded, revision, settings, work / "encoded", directory)
            _pictures(encoded, work / "encoded", directory, revision)
            package = _describe(encoded, revision, settings, directory)
            (directory / revision / MANIFEST).write_bytes(package.to_json())
        shutil.rmtree(work / "encoded")

    def _run_packager(
        self, encoded: Encoded, revision: str, settings: EncodeSettings, inputs: Path, directory: Path
    ) -> None:
        # Told from its own directory: a comma in the path of the work directory would end the name there.
        beside = Path("..") / inputs.name
        arguments = [self._binaries.packager, *packager_arguments(encoded, revision, settings, beside)]
        try:
            run(arguments, silence_s=PACKAGER_SILENCE_S, cwd=str(directory))
        except ProcessError as error:
            if error.no_space or shutil.disk_usage(directory).free < 1_000_000:
                raise PublishError(f"no space left in the work directory {directory.parent}") from error
            raise PublishError(f"packaging failed: {error}") from error
        _finish_playlists(encoded, revision, directory)


def _finished(directory: Path, revision: str) -> Package | None:
    """The package an earlier run left; None, and nothing left of it, when it is not whole.

    After a machine's sudden end names may be on disk whose bytes are not.
    """
    try:
        package = package_from_json((directory / revision / MANIFEST).read_bytes())
        whole = all((directory / file.path).stat().st_size == file.size for file in package.files)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        whole = False
    if whole:
        return package
    shutil.rmtree(directory, ignore_errors=True)
    return None


def packager_arguments(encoded: Encoded, revision: str, settings: EncodeSettings, inputs: Path) -> list[str]:
    """Shaka Packager's arguments: a folder per stream, one HLS master and one DASH manifest over the same segments.

    inputs: the encoded files' directory, without a comma.
    """
    names = [rendition.name for rendition in encoded.renditions]
    streams = [_stream(inputs, revision, name, "video") for name in names]
    if encoded.has_audio:
        group = "hls_group_id=audio,hls_name=audio"
        streams.append(f"{_stream(inputs, revision, 'audio', 'audio')},{group}")
    length = ["--segment_duration", f"{settings.segment_s:g}", "--hls_playlist_type", "VOD"]
    manifests = ["--hls_master_playlist_output", MASTER, "--mpd_output", DASH]
    # Same input, same bytes: no clock in the headers, and streams taken in order, not as threads happen to end.
    repeatable = ["--use_fake_clock_for_muxer", "--single_threaded"]
    return [*streams, *length, *manifests, *repeatable, "--generate_static_live_mpd", "--quiet"]


def _stream(inputs: Path, revision: str, name: str, kind: str) -> str:
    folder = f"{revision}/{name}"
    segments = f"init_segment={folder}/init.mp4,segment_template={folder}/$Number%05d$.m4s"
    return f"in={inputs / name}.mp4,stream={kind},{segments},playlist_name={folder}/playlist.m3u8"


def _finish_playlists(encoded: Encoded, revision: str, directory: Path) -> None:
    """The master as players like it best; master and manifest once more inside the revision; one master per rendition.

    Those per rendition are for players that can't choose.
    """
    path = directory / MASTER
    master = hls.parse_master(path.read_text())
    path.write_text(master.render())
    inside = master.relative_to(f"{revision}/")
    (directory / revision / MASTER).write_text(inside.render())
    manifest = (directory / DASH).read_text()
    # Only the templates' attributes name files, and all of them lie below the revision.
    (directory / revision / DASH).write_text(manifest.replace(f'"{revision}/', '"'))
    for rendition in encoded.renditions:
        (directory / revision / f"master-{rendition.name}.m3u8").write_text(inside.only(f"{rendition.name}/").render())


def _pictures(encoded: Encoded, inputs: Path, directory: Path, revision: str) -> None:
    shutil.copy(inputs / "poster.jpg", directory / revision / "poster.jpg")
    shutil.copy(inputs / "poster.jpg", directory / "poster.jpg")
    folder = directory / revision / "thumbnails"
    folder.mkdir()
    pictures = sorted(inputs.glob("thumb*.jpg"))
    thumbnails.write_sprites(encoded.grid, pictures, folder)
    (folder / "thumbnails.vtt").write_text(thumbnails.track(encoded.grid, encoded.duration_s, len(pictures)))


def _describe(encoded: Encoded, revision: str, settings: EncodeSettings, directory: Path) -> Package:
    files = tuple(stored_file(directory, path) for path in _below(directory / revision))
    variants = hls.parse_master((directory / MASTER).read_text()).variants
    by_folder = {variant.uri.split("/")[-2]: variant for variant in variants}
    renditions = tuple(
        PackagedRendition(
            name=one.name,
            width=one.width,
            height=one.height,
            bandwidth=by_folder[one.name].bandwidth,
            average_bandwidth=by_folder[one.name].average_bandwidth,
            size=sum(file.size for file in files if file.path.startswith(f"{revision}/{one.name}/")),
        )
        for one in encoded.renditions
    )
    pointers = {name: (directory / name).read_text() for name in POINTERS if name != "poster.jpg"}
    return Package(
        format=FORMAT,
        revision=revision,
        duration_s=round(encoded.duration_s, 3),
        segment_s=settings.segment_s,
        has_audio=encoded.has_audio,
        renditions=renditions,
        files=files,
        pointers=pointers,
    )


def stored_file(directory: Path, path: Path) -> StoredFile:
    """Measures a file of a package that lies in `directory`."""
    data = path.read_bytes()
    return StoredFile(
        path=path.relative_to(directory).as_posix(),
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        md5=hashlib.md5(data, usedforsecurity=False).hexdigest(),
        content_type="audio/mp4"
        if path.parent.name == "audio" and path.suffix == ".mp4"
        else content_type_of(path.name),
    )


def _below(directory: Path) -> Sequence[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())


@contextmanager
def _step(work: Path, name: str) -> Iterator[Path]:
    """A directory that gets its name only when the block ended well, and all in it is on disk."""
    unfinished = work / f"{name}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    yield unfinished
    for path in (*unfinished.rglob("*"), unfinished):
        _to_disk(path)
    unfinished.rename(work / name)
    _to_disk(work)


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _explained_space(work: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise PublishError(f"no space left in the work directory {work}") from error
        raise PublishError(f"the work directory {work} can't be used: {error.strerror or error}") from error

"""A short lesson of every rendition, generated, packaged and published once for a whole test run."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from origin.store import Location, Store, Upload
from tests.support.broker import S3Address
from tests.support.silence import SilentReporter

SECONDS = 14
# As large as the largest rendition; drawn small, so that drawing and encoding it cost a few seconds.
DRAWN, SIZE = "320x180", "1920x1080"
RENDITIONS = ("360p", "480p", "720p", "1080p")
ENCODE_WITHIN_S = 120
LESSON_ID = "lesson-test"
SECTION = "curriculum"


@dataclass(frozen=True, slots=True)
class Published:
    """What was published: paths as the edge serves them, and the video it was made of.

    folder: where everything immutable of the video is, `/media/<id>/<revision of the video>`.
    digests, sizes: SHA-256 and bytes of what the publisher handed over for every object, catalog included, taken before
    it left the process; keys are paths without the leading slash.
    """

    id: str
    folder: str
    catalog_version: str
    section: str
    master: str
    manifest: str
    video: str
    seconds: int
    digests: dict[str, str]
    sizes: dict[str, int]


def published_once(s3: S3Address, directory: Path) -> Published:
    """Publish the lesson, or wait for the process of this test run that does; `directory` is common to all of them."""
    note = directory / "lesson.json"
    with _locked(directory / "lesson.lock"):
        if not note.exists():
            made = _publish(s3, directory)
            note.write_text(json.dumps(asdict(made)))
        return Published(**json.loads(note.read_text()))


def make_video(target: Path, *, seconds: int = SECONDS) -> Path:
    """A moving test picture with a tone."""
    from origin.binaries import find_binaries

    picture = f"testsrc2=size={DRAWN}:rate=25:duration={seconds},scale={SIZE.replace('x', ':')}:flags=neighbor"
    sources = (picture, f"sine=frequency=440:duration={seconds}")
    inputs = [argument for source in sources for argument in ("-f", "lavfi", "-i", source)]
    codecs = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac"]
    subprocess.run(
        [find_binaries().ffmpeg, "-v", "error", "-y", *inputs, *codecs, str(target)],
        check=True,
        timeout=ENCODE_WITHIN_S,
        stdin=subprocess.DEVNULL,
    )
    return target


class NotingStore(Store):
    """A store that notes what every object it is given should be."""

    def __init__(self, location: Location) -> None:
        super().__init__(location)
        self.digests: dict[str, str] = {}
        self.sizes: dict[str, int] = {}

    def put(self, upload: Upload) -> None:
        self._note(upload)
        super().put(upload)

    def put_if(self, upload: Upload, etag: str | None) -> bool:
        self._note(upload)
        return super().put_if(upload, etag)

    def _note(self, upload: Upload) -> None:
        content = upload.content if isinstance(upload.content, bytes) else upload.content.read_bytes()
        self.digests[upload.path] = sha256(content).hexdigest()
        self.sizes[upload.path] = len(content)


def _publish(s3: S3Address, directory: Path) -> Published:
    from origin.binaries import find_binaries
    from origin.catalog import Catalog
    from origin.encode import EncodeSettings
    from origin.lesson import Wish, describe
    from origin.package import media_revision
    from origin.publish import Publisher, sha256_of

    video = make_video(directory / f"{LESSON_ID}.mp4")
    courseware, captions = directory / "courseware.pdf", directory / "zh.vtt"
    courseware.write_bytes(b"%PDF-1.4\n%%EOF\n")
    captions.write_text("WEBVTT\n\n00:00.000 --> 00:05.000\n测试课\n")
    store = NotingStore(Location(s3.bucket, "", s3.endpoint, s3.access_key, s3.secret_key))
    publisher = Publisher(store, Catalog(store), find_binaries(), SilentReporter(), directory / "work")
    texts = {"id": LESSON_ID, "title": "测试课", "title_en": "Test lesson", "section": SECTION}
    lesson = describe(video, Wish(texts, {}, {"courseware": courseware}, {"zh": captions}))
    settings = EncodeSettings(preset="ultrafast")
    outcome = publisher.publish(lesson, settings)
    root = f"/media/{LESSON_ID}"
    return Published(
        id=LESSON_ID,
        folder=f"{root}/{media_revision(sha256_of(video), settings)}",
        catalog_version=outcome.version,
        section=SECTION,
        master=f"{root}/master.m3u8",
        manifest=f"{root}/manifest.mpd",
        video=str(video),
        seconds=SECONDS,
        digests=store.digests,
        sizes=store.sizes,
    )


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """The standard library's flock does what the package filelock would: the kernel frees it with its holder."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)

"""A short lesson, generated, packaged and published once for a whole test run."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.support.broker import S3Address

SECONDS = 14
SIZE = "640x360"
ENCODE_WITHIN_S = 120
LESSON_ID = "lesson-test"
SECTION = "curriculum"


@dataclass(frozen=True, slots=True)
class Published:
    """What was published: paths as the edge serves them, and the video it was made of.

    folder: where everything immutable of the video is, `/media/<id>/<revision of the video>`.
    """

    id: str
    folder: str
    catalog_version: str
    section: str
    master: str
    manifest: str
    video: str
    seconds: int


def published_once(s3: S3Address, directory: Path) -> Published:
    """Publish the lesson, or wait for the process of this test run that does; `directory` is common to all of them."""
    note = directory / "lesson.json"
    with _locked(directory / "lesson.lock"):
        if not note.exists():
            made = _publish(s3, directory)
            note.write_text(json.dumps(asdict(made)))
        return Published(**json.loads(note.read_text()))


def make_video(target: Path, *, seconds: int = SECONDS, size: str = SIZE) -> Path:
    """A moving test picture with a tone."""
    from origin.binaries import find_binaries

    sources = (f"testsrc2=size={size}:rate=25:duration={seconds}", f"sine=frequency=440:duration={seconds}")
    inputs = [argument for source in sources for argument in ("-f", "lavfi", "-i", source)]
    codecs = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac"]
    subprocess.run(
        [find_binaries().ffmpeg, "-v", "error", "-y", *inputs, *codecs, str(target)],
        check=True,
        timeout=ENCODE_WITHIN_S,
        stdin=subprocess.DEVNULL,
    )
    return target


def _publish(s3: S3Address, directory: Path) -> Published:
    from origin.binaries import find_binaries
    from origin.catalog import Catalog
    from origin.encode import EncodeSettings
    from origin.lesson import Wish, describe
    from origin.package import media_revision
    from origin.progress import SilentReporter
    from origin.publish import Publisher, sha256_of
    from origin.store import Location, Store

    video = make_video(directory / f"{LESSON_ID}.mp4")
    store = Store(Location(s3.bucket, "", s3.endpoint, s3.access_key, s3.secret_key))
    publisher = Publisher(store, Catalog(store), find_binaries(), SilentReporter(), directory / "work")
    texts = {"id": LESSON_ID, "title": "测试课", "title_en": "Test lesson", "section": SECTION}
    lesson = describe(video, Wish(texts, {}, {}, {}))
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

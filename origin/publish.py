"""A described lesson -> a published one.

The order is the promise that no reader sees a lesson whose bytes are not there:

1. everything immutable: segments, media playlists, thumbnails, documents, captions;
2. `package.json`, which says that all of the video's objects are there;
3. of a lesson that is new, the short-lived master.m3u8, manifest.mpd and poster.jpg, which name the revision;
4. the catalog: lesson document and shards, last of all `version.json`;
5. of a lesson that was there, the short-lived names, which go on leading to the revision before until then.

The lesson document names immutable objects only. So whoever starts at `version.json` sees one lesson, the old or the
new, never the picture of one under the length and captions of the other, wherever this was interrupted; and the
short-lived names (`origin.pointers`) are put right by the next run.

Killed anywhere and run again, it finds what is there (in the work directory, and in storage by size and checksum) and
does the rest. A revision that is complete in storage is not even encoded again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import orjson

from origin import captions, terms
from origin.binaries import Binaries
from origin.catalog import Catalog
from origin.encode import EncodeSettings, check_settings
from origin.errors import WrongInputError
from origin.lesson import Lesson
from origin.package import (
    DASH,
    MANIFEST,
    MASTER,
    REVISION_DIGITS,
    Package,
    Packager,
    content_type_of,
    media_revision,
    package_from_json,
)
from origin.pointers import Pointers
from origin.progress import Reporter
from origin.schema import (
    CaptionRef,
    DocumentRef,
    FileRef,
    Item,
    LessonDocument,
    RenditionRef,
    iso_duration,
)
from origin.store import IMMUTABLE, Store, Stored, Upload, same_bytes, upload_of
from origin.terms import Label
from origin.workplace import workplace

CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Outcome:
    """What publishing did. version: of the catalog now; uploaded, reused: objects of the lesson sent, found there."""

    id: str
    revision: str
    version: str
    changed: bool
    uploaded: int
    reused: int


@dataclass(frozen=True, slots=True)
class Beside:
    """A file of the lesson that is not video, ready to be put."""

    upload: Upload
    ref: DocumentRef | CaptionRef


class Publisher:
    """Publishes lessons to one store, one after another."""

    def __init__(self, store: Store, catalog: Catalog, binaries: Binaries, reporter: Reporter, work_root: Path) -> None:
        self._store = store
        self._catalog = catalog
        self._pointers = Pointers(store, catalog)
        self._packager = Packager(binaries, reporter)
        self._reporter = reporter
        self._work_root = work_root

    def publish(self, lesson: Lesson, settings: EncodeSettings) -> Outcome:
        """Makes the lesson visible, whole, or raises PublishError and changes nothing that a reader sees."""
        check_settings(settings)
        self._store.check()
        beside = _beside(lesson)
        name = lesson.video.name.encode("utf-8", "backslashreplace").decode()  # it may be no UTF-8
        self._reporter.stage(f"{lesson.id}: reading {name}", 0)
        revision = media_revision(sha256_of(lesson.video), settings)
        with workplace(self._work_root, f"{lesson.id}-{revision}") as work:
            return self._publish(lesson, settings, beside, revision, work)

    def _publish(
        self, lesson: Lesson, settings: EncodeSettings, beside: list[Beside], revision: str, work: Path
    ) -> Outcome:
        counted = _Count()
        package = self._complete(lesson.id, revision)
        if package is None:
            package = self._packager.make(lesson.video, revision, settings, work, lesson.id)
            self._upload_package(lesson, package, work / "package", counted)
        else:
            counted.reused += len(package.files)
        self._put_missing([one.upload for one in beside], counted)
        document = lesson_document(lesson, package, [one.ref for one in beside])
        counted.uploaded += self._pointers.begin(lesson.id, package)
        version, changed = self._list(document)
        counted.uploaded += self._pointers.follow(lesson.id)
        return Outcome(lesson.id, document.revision, version, changed, counted.uploaded, counted.reused)

    def _complete(self, id_: str, revision: str) -> Package | None:
        """The package of this revision when storage holds all of it."""
        folder = f"media/{id_}/{revision}"
        found = self._store.read(f"{folder}/{MANIFEST}")
        if found is None:
            return None
        try:
            package = package_from_json(found[0])
        except (ValueError, KeyError, TypeError):
            return None
        if package.to_json() != found[0]:
            return None
        stored = self._store.listing(folder)
        whole = all(_is_there(stored.get(f"media/{id_}/{file.path}"), file.size, file.md5) for file in package.files)
        return package if whole else None

    def _upload_package(self, lesson: Lesson, package: Package, directory: Path, counted: _Count) -> None:
        """Everything of the revision that is missing; then, and only then, the list that says it is complete."""
        root = f"media/{lesson.id}"
        stored = self._store.listing(f"{root}/{package.revision}")
        uploads = [
            Upload(
                f"{root}/{f.path}", directory / f.path, f.size, f.sha256, f.md5, f.content_type, IMMUTABLE, (lesson.id,)
            )
            for f in package.files
        ]
        missing = [one for one in uploads if not _is_there(stored.get(one.path), one.size, one.md5)]
        counted.reused += len(uploads) - len(missing)
        self._reporter.stage(f"{lesson.id}: uploading {len(missing)} objects", sum(one.size for one in missing))
        self._put(missing, counted)
        manifest = f"{package.revision}/{MANIFEST}"
        data = (directory / manifest).read_bytes()
        self._put([upload_of(f"{root}/{manifest}", data, content_type_of(MANIFEST), IMMUTABLE, (lesson.id,))], counted)

    def _put_missing(self, uploads: Iterable[Upload], counted: _Count) -> None:
        missing = []
        for upload in uploads:
            stored = self._store.head(upload.path)
            if stored is not None and stored.sha256 == upload.sha256 and _is_there(stored, upload.size, upload.md5):
                counted.reused += 1
            else:
                missing.append(upload)
        self._put(missing, counted)

    def _put(self, uploads: Iterable[Upload], counted: _Count) -> None:
        sent = 0

        def done(upload: Upload) -> None:
            nonlocal sent
            sent += upload.size
            counted.uploaded += 1
            self._reporter.reach(sent)

        self._store.put_all(uploads, done)

    def _list(self, document: LessonDocument) -> tuple[str, bool]:
        """Puts the lesson into the catalog unless the catalog says just that already."""
        current = self._catalog.current()
        entry = self._catalog.find(document.id, current)
        if entry is not None and current.version is not None:
            known = self._catalog.lesson(entry)
            if replace(known, lesson="", updated_at="") == document and known.entry() == entry:
                return current.version.version, False
        return self._catalog.publish(document).version, True


@dataclass(slots=True)
class _Count:
    uploaded: int = 0
    reused: int = 0


def lesson_document(lesson: Lesson, package: Package, beside: Iterable[DocumentRef | CaptionRef]) -> LessonDocument:
    """What the catalog says of a lesson, but for the version that says it."""
    refs = list(beside)
    folder = f"/media/{lesson.id}/{package.revision}"
    documents = tuple(ref for ref in refs if isinstance(ref, DocumentRef))
    subtitles = tuple(ref for ref in refs if isinstance(ref, CaptionRef))
    manifest = package.to_json()
    return LessonDocument(
        id=lesson.id,
        title=lesson.title,
        section=lesson.section.id,
        tags=dict(lesson.tags),
        duration=iso_duration(package.duration_s),
        duration_s=package.duration_s,
        poster=f"{folder}/poster.jpg",
        renditions=tuple(
            RenditionRef(one.name, one.width, one.height, one.bandwidth, f"{folder}/master-{one.name}.m3u8")
            for one in package.renditions
        ),
        revision=lesson_revision(package.revision, refs),
        updated_at="",
        lesson="",
        description=lesson.description,
        school=lesson.school,
        teacher=lesson.teacher,
        master=f"{folder}/{MASTER}",
        manifest=f"{folder}/{DASH}",
        thumbnails=f"{folder}/thumbnails/thumbnails.vtt",
        captions=subtitles,
        documents=documents,
        items=_items(folder, package, documents, subtitles),
        media_revision=package.revision,
        package=FileRef(f"{folder}/{MANIFEST}", len(manifest), hashlib.sha256(manifest).hexdigest()),
    )


def lesson_revision(media: str, refs: Iterable[DocumentRef | CaptionRef]) -> str:
    """The name of a lesson's content: video and all that lies beside it. Another title does not change it."""
    beside = sorted((ref.url, ref.sha256) for ref in refs)
    return hashlib.sha256(orjson.dumps([media, beside])).hexdigest()[:REVISION_DIGITS]


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file in hex; raises WrongInputError when it can't be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
    except FileNotFoundError:
        raise WrongInputError(f"{path}: there is no such file") from None
    except OSError as error:
        raise WrongInputError(f"{path}: can't be read: {error.strerror}") from error
    return digest.hexdigest()


def _items(
    folder: str, package: Package, documents: Iterable[DocumentRef], subtitles: Iterable[CaptionRef]
) -> tuple[Item, ...]:
    duration = iso_duration(package.duration_s)
    videos = [
        Item(
            role="video",
            format="cmaf",
            path=f"{folder}/{one.name}/playlist.m3u8",
            size=one.size,
            duration=duration,
            resolution=f"{one.width}x{one.height}",
            bit_rate=one.average_bandwidth,
        )
        for one in package.renditions
    ]
    files = [Item(one.role, one.format, one.url, one.size, one.sha256) for one in documents]
    texts = [Item("captions", "vtt", one.url, one.size, one.sha256) for one in subtitles]
    return (*videos, *files, *texts)


def _beside(lesson: Lesson) -> list[Beside]:
    documents = [_document(lesson.id, role, path) for role, path in lesson.documents.items()]
    return documents + [_caption(lesson.id, language, path) for language, path in lesson.captions.items()]


def _document(id_: str, role: str, path: Path) -> Beside:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WrongInputError(f"document {role}: {path} can't be read: {error.strerror}") from error
    if not data:
        raise WrongInputError(f"document {role}: {path} is empty")
    suffix = _plain_suffix(path)
    upload = _named_by_content(id_, f"documents/{role}{suffix}", data)
    term = terms.role(role)
    form = suffix.lstrip(".") or "bin"
    title = Label(term.zh, term.en)
    return Beside(upload, DocumentRef(role, title, form, f"/{upload.path}", upload.size, upload.sha256))


def _plain_suffix(path: Path) -> str:
    """A file's suffix, in lower case, where it can stand in a URL as it is; else none."""
    suffix = path.suffix.lower()
    return suffix if re.fullmatch(r"\.[a-z0-9]{1,10}", suffix) else ""


def _caption(id_: str, language: str, path: Path) -> Beside:
    upload = _named_by_content(id_, f"captions/{language}.vtt", captions.read_captions(path))
    label = terms.language_label(language)
    return Beside(upload, CaptionRef(language, label, f"/{upload.path}", upload.size, upload.sha256))


def _named_by_content(id_: str, name: str, data: bytes) -> Upload:
    """Files beside the video lie under their own digest: a new task sheet needs no new video."""
    folder = hashlib.sha256(data).hexdigest()[:REVISION_DIGITS]
    return upload_of(f"media/{id_}/{folder}/{name}", data, content_type_of(name), IMMUTABLE, (id_,))


def _is_there(stored: Stored | None, size: int, md5: str) -> bool:
    return stored is not None and stored.size == size and same_bytes(stored, md5)

"""Does the catalog agree with itself, and storage with the catalog? Every object, its size and its SHA-256."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from origin import terms
from origin.catalog import Catalog
from origin.errors import PublishError
from origin.package import MANIFEST, Package, package_from_json
from origin.parallel import each
from origin.progress import Reporter
from origin.schema import VERSION_PATH, Entry, FileRef, LessonDocument, SectionRef, Shard, ShardRef, Version
from origin.store import THREADS, Store


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as the catalog says."""

    path: str
    what: str


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a check: how much was looked at, and what is wrong."""

    lessons: int
    objects: int
    findings: tuple[Finding, ...]


class Checker:
    """Walks the catalog from its version document down to the last segment."""

    def __init__(self, store: Store, catalog: Catalog, reporter: Reporter, *, read: bool = False) -> None:
        """read: fetch every object and hash it, instead of trusting the digest noted beside it at publishing."""
        self._store = store
        self._catalog = catalog
        self._reporter = reporter
        self._examine = self._read if read else self._look

    def check(self) -> Report:
        """Looks at everything; raises PublishError only when storage can't be asked or nothing is published."""
        version = self._catalog.version()
        findings = [Finding(VERSION_PATH, what) for what in _amiss(version)]
        entries = list(self._entries(version, findings))
        objects = 0
        self._reporter.stage(f"checking {len(entries)} lessons", len(entries))
        for number, entry in enumerate(entries, 1):
            objects += self._lesson(entry, findings)
            self._reporter.reach(number)
        return Report(len(entries), objects, tuple(findings))

    def _entries(self, version: Version, findings: list[Finding]) -> Iterator[Entry]:
        listed: dict[str, str] = {}
        for section in version.sections:
            for path, entry in self._listed(section, findings):
                first = listed.setdefault(entry.id, path)
                if first != path:
                    findings.append(Finding(path, f"lists {entry.id}, which {first} lists, too"))
                yield entry

    def _listed(self, section: SectionRef, findings: list[Finding]) -> Iterator[tuple[str, Entry]]:
        """Each entry with the path of its shard."""
        for ref in section.shards:
            try:
                shard = self._catalog.shard(ref)
            except PublishError as error:
                findings.append(Finding(ref.path, str(error)))
                continue
            ids = [entry.id for entry in shard.entries]
            if _wrong(section, shard) or ids != sorted(set(ids)) or _facts(ref) != (len(ids), ids[0], ids[-1]):
                findings.append(Finding(ref.path, "holds other entries than the version document says"))
            yield from ((ref.path, entry) for entry in shard.entries)

    def _lesson(self, entry: Entry, findings: list[Finding]) -> int:
        try:
            document = self._catalog.lesson(entry)
        except PublishError as error:
            findings.append(Finding(entry.lesson, str(error)))
            return 1
        if document.entry() != entry:
            findings.append(Finding(entry.lesson, "says something else than the list"))
        refs = [*self._beside(document), *self._media(document, findings)]
        each(self._examine, refs, lambda _, found: findings.extend(found), threads=THREADS)
        return len(refs)

    def _beside(self, document: LessonDocument) -> Iterator[FileRef]:
        yield document.package
        for ref in document.documents:
            yield FileRef(ref.url, ref.size, ref.sha256)
        for caption in document.captions:
            yield FileRef(caption.url, caption.size, caption.sha256)

    def _media(self, document: LessonDocument, findings: list[Finding]) -> Iterator[FileRef]:
        package = self._package(document)
        if package is None:
            findings.append(Finding(document.package.path, f"{MANIFEST} is missing or damaged"))
            return
        root = f"/media/{document.id}"
        for file in package.files:
            yield FileRef(f"{root}/{file.path}", file.size, file.sha256)
            if file.path == f"{package.revision}/poster.jpg":
                yield FileRef(f"{root}/poster.jpg", file.size, file.sha256)
        for name, text in package.pointers.items():
            yield FileRef(f"{root}/{name}", len(text.encode()), hashlib.sha256(text.encode()).hexdigest())

    def _package(self, document: LessonDocument) -> Package | None:
        found = self._store.read(document.package.path)
        try:
            return package_from_json(found[0]) if found else None
        except (ValueError, KeyError, TypeError):
            return None

    def _look(self, ref: FileRef) -> list[Finding]:
        stored = self._store.head(ref.path)
        return _compared(ref, stored.size, stored.sha256) if stored else [Finding(ref.path, "is missing")]

    def _read(self, ref: FileRef) -> list[Finding]:
        found = self._store.read(ref.path)
        if found is None:
            return [Finding(ref.path, "is missing")]
        return _compared(ref, len(found[0]), hashlib.sha256(found[0]).hexdigest())


def _amiss(version: Version) -> Iterator[str]:
    """What the version document says against itself, or that only another release could mean."""
    ids = [section.id for section in version.sections]
    for id_ in dict.fromkeys(ids):
        if id_ not in terms.SECTIONS:
            yield f"section {id_!r} is not known; allowed: {', '.join(terms.SECTIONS)}"
        if ids.count(id_) > 1:
            yield f"section {id_!r} is named {ids.count(id_)} times"
    for section in version.sections:
        yield from _amiss_in(section)
    total = sum(section.resources for section in version.sections)
    if version.resources != total:
        yield f"says {version.resources} resources, its sections {total}"


def _amiss_in(section: SectionRef) -> Iterator[str]:
    entries = sum(ref.entries for ref in section.shards)
    if section.resources != entries:
        yield f"section {section.id!r} says {section.resources} resources, its shards {entries}"
    for ref in section.shards:
        if ref.first > ref.last:
            yield f"{ref.path} goes from {ref.first!r} back to {ref.last!r}"
    for before, after in pairwise(section.shards):
        if after.first <= before.last:
            yield f"{after.path} begins at {after.first!r}, but {before.path} goes on to {before.last!r}"


def _compared(ref: FileRef, size: int, sha256: str | None) -> list[Finding]:
    if size != ref.size:
        return [Finding(ref.path, f"has {size} bytes, not {ref.size}")]
    return [Finding(ref.path, f"has SHA-256 {sha256}, not {ref.sha256}")] if sha256 != ref.sha256 else []


def _wrong(section: SectionRef, shard: Shard) -> bool:
    return not shard.entries or any(entry.section != section.id for entry in shard.entries)


def _facts(ref: ShardRef) -> tuple[int, str, str]:
    return (ref.entries, ref.first, ref.last)

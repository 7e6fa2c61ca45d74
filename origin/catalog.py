"""The published catalog: read, changed lesson by lesson, checked.

Theory of operation. Everything but `version.json` is immutable. A change writes the new lesson document and the shards
it touches under a new version's name, then replaces `version.json`, on condition that it is still the one that was
read. Whoever loses that race reads again and builds anew: two publishers never undo each other's work. Unchanged
shards keep the path of the version that wrote them. A reader holds either the old version document or the new one;
all that each names is there before it.

A put whose answer was lost is repeated by the client and then fails its condition against our own document: so after
a lost race `version.json` is read again, and finding our own name in it means that we won.
"""

from __future__ import annotations

import secrets
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from origin import terms
from origin.errors import PublishError
from origin.schema import (
    MAX_ENTRIES,
    VERSION_PATH,
    Document,
    Entry,
    LessonDocument,
    SectionRef,
    Shard,
    ShardRef,
    Version,
    from_json,
    to_json,
)
from origin.store import IMMUTABLE, VERSION, Store, Upload, upload_of
from origin.terms import Label

JSON = "application/json"
RACES = 12


@dataclass(frozen=True, slots=True)
class Current:
    """The catalog as read: its version document and the entity tag it was read with. Both None: nothing published."""

    version: Version | None
    etag: str | None

    def sections(self) -> tuple[SectionRef, ...]:
        """The document's own sections in its order, those we have no name for too, then what is missing of the six.

        Raises PublishError when one is named twice: whatever were written then would lose what one of them holds.
        """
        own = self.version.sections if self.version else ()
        ids = [section.id for section in own]
        if twice := next((id_ for id_ in ids if ids.count(id_) > 1), None):
            raise PublishError(f"catalog document {VERSION_PATH} is damaged: section {twice!r} is named twice")
        missing = (term for term in terms.SECTIONS.values() if term.id not in ids)
        return (*own, *(SectionRef(term.id, Label(term.zh, term.en), 0, ()) for term in missing))


@dataclass(frozen=True, slots=True)
class Change:
    """What a lesson's publishing does to the catalog: documents to write, then the new version document."""

    version: Version
    lesson: LessonDocument
    shards: Mapping[str, Shard]


class Catalog:
    """The catalog at one published root."""

    def __init__(
        self, store: Store, now: Callable[[], datetime] | None = None, token: Callable[[], str] | None = None
    ) -> None:
        """now: the wall clock in UTC; token: six hex digits that tell versions of one second apart."""
        self._store = store
        self._now = now or (lambda: datetime.now(UTC))
        self._token = token or (lambda: secrets.token_hex(3))

    def current(self) -> Current:
        """The catalog as it is now."""
        found = self._store.read(VERSION_PATH)
        if found is None:
            return Current(None, None)
        return Current(from_json(Version, found[0], VERSION_PATH), found[1])

    def version(self) -> Version:
        """The version document; raises PublishError when nothing is published."""
        version = self.current().version
        if version is None:
            raise PublishError(f"nothing is published at {self._store.location}")
        return version

    def shard(self, ref: ShardRef) -> Shard:
        """A shard; raises PublishError when it is missing or damaged."""
        return self._document(Shard, ref.path)

    def lesson(self, entry: Entry) -> LessonDocument:
        """The document of a lesson."""
        return self._document(LessonDocument, entry.lesson)

    def find(self, id_: str, current: Current | None = None) -> Entry | None:
        """A lesson's entry, wherever it is; None when there is none. Reads at most one shard per section."""
        for section in (current or self.current()).sections():
            for ref in section.shards:
                if ref.first <= id_ <= ref.last:
                    found = next((entry for entry in self.shard(ref).entries if entry.id == id_), None)
                    if found is not None:
                        return found
        return None

    def entries(self, current: Current | None = None) -> Iterator[Entry]:
        """All lessons, section by section, by id."""
        for section in (current or self.current()).sections():
            for ref in section.shards:
                yield from self.shard(ref).entries

    def publish(self, lesson: LessonDocument) -> Version:
        """Puts a lesson into the catalog, new or in place of itself. Raises PublishError.

        The document's `lesson` and `updated_at` are set here, as they name the version.
        """
        for _ in range(RACES):
            current = self.current()
            change = self._change(current, lesson)
            self._write(change)
            if self._flip(change.version, current):
                return change.version
        raise PublishError(f"{lesson.id}: the catalog was changed by others {RACES} times meanwhile; run it again")

    def _change(self, current: Current, lesson: LessonDocument) -> Change:
        now = self._now()
        name = f"{now:%Y%m%dT%H%M%SZ}-{self._token()}"
        stamp = now.isoformat(timespec="seconds")
        placed = replace(lesson, updated_at=stamp, lesson=f"/catalog/{name}/lessons/{lesson.id}.json")
        shards: dict[str, Shard] = {}
        sections = tuple(self._updated(section, placed.entry(), name, shards) for section in current.sections())
        total = sum(section.resources for section in sections)
        return Change(Version(name, stamp, total, sections), placed, shards)

    def _updated(self, section: SectionRef, entry: Entry, name: str, shards: dict[str, Shard]) -> SectionRef:
        """The section with the entry in it, or out of it when it belongs elsewhere; new shards go to `shards`."""
        refs: list[ShardRef] = []
        for at, ref in enumerate(section.shards):
            if not _concerns(section, at, entry):
                refs.append(ref)
                continue
            entries = _with(self.shard(ref).entries, entry, belongs=section.id == entry.section)
            refs += _written(section.id, entries, name, shards)
        if not section.shards and section.id == entry.section:
            refs += _written(section.id, (entry,), name, shards)
        return SectionRef(section.id, section.title, sum(ref.entries for ref in refs), tuple(refs))

    def _write(self, change: Change) -> None:
        section = f"section-{change.lesson.section}"
        uploads = [
            _document(change.lesson.lesson, change.lesson, ("catalog", section, change.lesson.id)),
            *(_document(path, shard, ("catalog", f"section-{shard.section}")) for path, shard in change.shards.items()),
        ]
        self._store.put_all(uploads, lambda _: None)

    def _flip(self, version: Version, current: Current) -> bool:
        data = to_json(version)
        upload = upload_of(VERSION_PATH.lstrip("/"), data, JSON, VERSION, ("catalog", "catalog-version"))
        if self._store.put_if(upload, current.etag):
            return True
        found = self.current().version
        return found is not None and found.version == version.version

    def _document(self, kind: type[Document], path: str) -> Document:
        found = self._store.read(path)
        if found is None:
            raise PublishError(f"catalog document {path} is missing")
        return from_json(kind, found[0], path)


def _concerns(section: SectionRef, at: int, entry: Entry) -> bool:
    """Whether the shard at this place holds the entry, or is where a new one of its section goes."""
    ref = section.shards[at]
    if section.id != entry.section:
        return ref.first <= entry.id <= ref.last
    place = bisect_left([shard.last for shard in section.shards], entry.id)
    return at == min(place, len(section.shards) - 1)


def _with(entries: tuple[Entry, ...], entry: Entry, *, belongs: bool) -> tuple[Entry, ...]:
    others = [one for one in entries if one.id != entry.id]
    return tuple(sorted([*others, entry], key=lambda one: one.id)) if belongs else tuple(others)


def _written(section: str, entries: tuple[Entry, ...], name: str, shards: dict[str, Shard]) -> list[ShardRef]:
    """Splits entries into shards of legal size and notes them for writing."""
    if not entries:
        return []
    if len(entries) > MAX_ENTRIES:
        half = len(entries) // 2
        return [part for share in (entries[:half], entries[half:]) for part in _written(section, share, name, shards)]
    path = f"/catalog/{name}/shards/{section}-{len(shards):03d}.json"
    shards[path] = Shard(section, entries)
    return [ShardRef(path, entries[0].id, entries[-1].id, len(entries))]


def _document(path: str, document: object, tags: tuple[str, ...]) -> Upload:
    return upload_of(path.lstrip("/"), to_json(document), JSON, IMMUTABLE, tags)

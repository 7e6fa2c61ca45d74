"""What this node knows of the published catalog: which lessons there are, and where their documents lie.

Theory of operation. `version.json` is the only catalog document that changes in place; everything it names is
immutable. So one round of `refresh` reads the version document, stops there when the version is the one already held,
and otherwise reads only the shards whose path is new. The result is a frozen `Snapshot`, put in place by one assignment
after every document of it was read and judged: a reader of this class sees the old catalog or the new one, never half
of each. Whatever goes wrong on the way leaves the last good snapshot where it is and is told in the log once.

Non-goals: titles and paths are kept, not the documents. Pages read those through the cache like everybody else.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field

import orjson

log = logging.getLogger(__name__)

Fetch = Callable[[str], Awaitable[bytes | None]]
Sleep = Callable[[float], Awaitable[None]]

VERSION_PATH = "/catalog/version.json"
LANGUAGES = ("zh", "en")
TAGS = ("stage", "grade", "subject", "edition")
_MAX_NAME_CHARS = 80

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PATH = re.compile(r"/catalog/[A-Za-z0-9._-]{1,64}/(?:shards|lessons)/[A-Za-z0-9._-]{1,120}\.json")
_VERSION = re.compile(r"[A-Za-z0-9._-]{1,64}")


class BadDocumentError(ValueError):
    """A catalog document that can't be used; the text names the document and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Term:
    """A tag's value: an id, and its names for people."""

    id: str
    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class Lesson:
    """One published lesson, as far as the node itself needs it. tags: by dimension, those of `TAGS` that it carries."""

    id: str
    section: str
    path: str
    zh: str
    en: str
    tags: Mapping[str, Term] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One whole catalog. `shards` keeps what each shard path held, so that the next version reads only new ones.

    sections: the sections by id, in their order, the empty ones too.
    """

    version: str = ""
    lessons: Mapping[str, Lesson] = field(default_factory=dict)
    shards: Mapping[str, tuple[Lesson, ...]] = field(default_factory=dict)
    sections: Mapping[str, Term] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pointer:
    """What the version document says: the version's name, the paths of its shards in order, and its sections."""

    version: str
    shards: tuple[str, ...]
    sections: tuple[Term, ...] = ()


@dataclass(frozen=True, slots=True)
class Bounds:
    """How large a catalog this node is willing to hold. The platform has about 28,000 lessons, 1,000 to a shard."""

    lessons: int = 200_000
    shards: int = 2_000
    document_bytes: int = 32 * 1024 * 1024


def read_pointer(body: bytes, bounds: Bounds) -> Pointer:
    """The version document as a value. Raises BadDocumentError."""
    document = _object(body, VERSION_PATH, bounds)
    version = document.get("version")
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        raise BadDocumentError(f"{VERSION_PATH}: version is not a name: {version!r:.80}")
    paths = tuple(_shard_paths(document))
    if len(paths) > bounds.shards:
        raise BadDocumentError(f"{VERSION_PATH}: {len(paths)} shards, at most {bounds.shards} are read")
    return Pointer(version, paths, tuple(_sections(document)))


def read_shard(path: str, body: bytes, bounds: Bounds) -> tuple[Lesson, ...]:
    """A shard's lessons. Raises BadDocumentError when any entry of it can't be used."""
    document = _object(body, path, bounds)
    section = document.get("section")
    entries = document.get("entries")
    if not isinstance(section, str) or not isinstance(entries, list):
        raise BadDocumentError(f"{path}: a shard needs a section and a list of entries")
    return tuple(_lesson(path, section, entry) for entry in entries)


def _object(body: bytes, path: str, bounds: Bounds) -> dict[str, object]:
    if len(body) > bounds.document_bytes:
        raise BadDocumentError(f"{path}: {len(body)} bytes, at most {bounds.document_bytes} are read")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadDocumentError(f"{path}: not JSON: {error}") from error
    if not isinstance(document, dict):
        raise BadDocumentError(f"{path}: not a JSON object")
    return document


def _shard_paths(document: Mapping[str, object]) -> Iterator[str]:
    sections = document.get("sections")
    if not isinstance(sections, list):
        raise BadDocumentError(f"{VERSION_PATH}: sections is not a list")
    for section in sections:
        shards = section.get("shards") if isinstance(section, dict) else None
        if not isinstance(shards, list):
            raise BadDocumentError(f"{VERSION_PATH}: a section without a list of shards")
        for shard in shards:
            path = shard.get("path") if isinstance(shard, dict) else None
            if not isinstance(path, str) or not _PATH.fullmatch(path):
                raise BadDocumentError(f"{VERSION_PATH}: not a shard's path: {path!r:.120}")
            yield path


def _sections(document: Mapping[str, object]) -> Iterator[Term]:
    sections = document.get("sections")
    for section in sections if isinstance(sections, list) else ():
        if isinstance(section, dict) and (term := _term(section, section.get("title"))) is not None:
            yield term


def _tags(entry: Mapping[str, object]) -> dict[str, Term]:
    """The tags that can be used. A tag of another shape is as good as none: the lesson plays without it."""
    given = entry.get("tags")
    tags = given if isinstance(given, dict) else {}
    terms = {dimension: _term(tags.get(dimension), tags.get(dimension)) for dimension in TAGS}
    return {dimension: term for dimension, term in terms.items() if term is not None}


def _term(holder: object, names: object) -> Term | None:
    """The tag value whose id `holder` has and whose names are in `names`."""
    identity = holder.get("id") if isinstance(holder, dict) else None
    if not isinstance(identity, str) or not _ID.fullmatch(identity):
        return None
    texts = names if isinstance(names, dict) else {}
    zh, en = (str(texts.get(language) or "")[:_MAX_NAME_CHARS] for language in LANGUAGES)
    return Term(identity, zh or en or identity, en or zh or identity)


def _lesson(path: str, section: str, entry: object) -> Lesson:
    if not isinstance(entry, dict):
        raise BadDocumentError(f"{path}: an entry is not an object")
    identity, document, title = entry.get("id"), entry.get("lesson"), entry.get("title")
    if not isinstance(identity, str) or not _ID.fullmatch(identity):
        raise BadDocumentError(f"{path}: not a lesson's id: {identity!r:.80}")
    if not isinstance(document, str) or not _PATH.fullmatch(document):
        raise BadDocumentError(f"{path}: {identity}: not a lesson document's path: {document!r:.120}")
    texts = title if isinstance(title, dict) else {}
    zh, en = (str(texts.get(language) or "")[:200] for language in LANGUAGES)
    return Lesson(identity, section, document, zh or en or identity, en or zh or identity, _tags(entry))


class CatalogView:
    """The node's catalog, read again every `period_s`; `run` is the task, everything else answers at once."""

    def __init__(
        self,
        fetch: Fetch,
        *,
        period_s: float = 2.0,
        timeout_s: float = 10.0,
        bounds: Bounds | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """fetch: the bytes under a path, or None when they can't be had; its exceptions are taken as the same.

        period_s: pause between two rounds. timeout_s: deadline of one document.
        """
        self._fetch = fetch
        self._period_s = period_s
        self._timeout_s = timeout_s
        self._bounds = bounds or Bounds()
        self._sleep = sleep
        self._snapshot = Snapshot()
        self._complaint = ""

    async def run(self) -> None:
        """Refresh until cancelled. The app owns the task."""
        while True:
            await self.refresh()
            await self._sleep(self._period_s)

    async def refresh(self) -> bool:
        """One round; whether the view is now what the catalog says. Failures are logged, never raised."""
        try:
            fresh = await self._read()
        except (BadDocumentError, LookupError, TimeoutError) as error:
            self._complain(str(error) or type(error).__name__)
            return False
        if fresh is not self._snapshot:
            log.info("catalog %s: %d lessons", fresh.version, len(fresh.lessons))
        self._snapshot = fresh
        self._complaint = ""
        return True

    def knows(self, lesson_id: str) -> bool:
        """Whether the catalog holds this lesson. False for all while `loaded` is False."""
        return lesson_id in self._snapshot.lessons

    def lesson_path(self, lesson_id: str) -> str | None:
        """The path of the lesson's document, or None for a lesson the catalog does not hold."""
        lesson = self._snapshot.lessons.get(lesson_id)
        return lesson.path if lesson else None

    def title(self, lesson_id: str, language: str = "zh") -> str | None:
        """The lesson's title in `zh` or `en` (the other one where a language is missing), or None."""
        lesson = self._snapshot.lessons.get(lesson_id)
        if lesson is None:
            return None
        return lesson.en if language == "en" else lesson.zh

    @property
    def count(self) -> int:
        """How many lessons the catalog holds."""
        return len(self._snapshot.lessons)

    @property
    def loaded(self) -> bool:
        """Whether any catalog was read since the start."""
        return self._snapshot.version != ""

    @property
    def version(self) -> str:
        """The version held, empty before the first."""
        return self._snapshot.version

    @property
    def snapshot(self) -> Snapshot:
        """The whole catalog held now; it never changes, a refresh puts another in its place."""
        return self._snapshot

    async def _read(self) -> Snapshot:
        pointer = read_pointer(await self._document(VERSION_PATH), self._bounds)
        held = self._snapshot
        if pointer.version == held.version:
            return held
        shards: dict[str, tuple[Lesson, ...]] = {}
        lessons: dict[str, Lesson] = {}
        for path in pointer.shards:
            shard = held.shards.get(path)
            if shard is None:
                shard = read_shard(path, await self._document(path), self._bounds)
            shards[path] = shard
            lessons.update((lesson.id, lesson) for lesson in shard)
            if len(lessons) > self._bounds.lessons:
                raise BadDocumentError(f"{path}: more than {self._bounds.lessons} lessons in the catalog")
        return Snapshot(pointer.version, lessons, shards, {term.id: term for term in pointer.sections})

    async def _document(self, path: str) -> bytes:
        try:
            async with asyncio.timeout(self._timeout_s):
                body = await self._fetch(path)
        except TimeoutError as error:
            raise TimeoutError(f"{path}: no answer within {self._timeout_s} s") from error
        except Exception as error:  # the boundary: whatever the reader behind `fetch` raises means "not to be had now"
            raise LookupError(f"{path}: {type(error).__name__}: {error}") from error
        if body is None:
            raise LookupError(f"{path}: not to be had")
        return body

    def _complain(self, complaint: str) -> None:
        # The same trouble every two seconds is one line, not thousands. Before the first catalog it is a new node's
        # normal state.
        if complaint != self._complaint:
            log.log(logging.WARNING if self.loaded else logging.INFO, "catalog not refreshed: %s", complaint)
        self._complaint = complaint

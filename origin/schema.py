"""The catalog's documents as values. What is written here is what players, pages and edges read.

version.json -> sections -> shards -> entries (one per lesson) -> lesson documents -> package.json -> every object
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import orjson
from pydantic import TypeAdapter, ValidationError

from origin.errors import PublishError
from origin.terms import Label, Term

VERSION_PATH = "/catalog/version.json"
MAX_ENTRIES = 1000

Document = TypeVar("Document")


@dataclass(frozen=True, slots=True)
class ShardRef:
    """A shard as the version document names it: ids from `first` to `last`, both inclusive."""

    path: str
    first: str
    last: str
    entries: int


@dataclass(frozen=True, slots=True)
class SectionRef:
    """A section, its number of lessons, its shards in the order of their ids."""

    id: str
    title: Label
    resources: int
    shards: tuple[ShardRef, ...]


@dataclass(frozen=True, slots=True)
class Version:
    """The one catalog document that changes in place."""

    version: str
    published_at: str
    resources: int
    sections: tuple[SectionRef, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A lesson in a list."""

    id: str
    title: Label
    section: str
    tags: dict[str, Term]
    duration: str
    duration_s: float
    poster: str
    renditions: tuple[str, ...]
    revision: str
    updated_at: str
    lesson: str


@dataclass(frozen=True, slots=True)
class Shard:
    """At most 1,000 entries of one section, sorted by id."""

    section: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class RenditionRef:
    """One choice of picture size; `master` is a playlist with this one only. bandwidth: peak bit/s, with sound."""

    name: str
    width: int
    height: int
    bandwidth: int
    master: str


@dataclass(frozen=True, slots=True)
class CaptionRef:
    """Captions in one language."""

    lang: str
    label: str
    url: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class DocumentRef:
    """A file beside the video. role: courseware, lesson-plan, task-sheet or exercises."""

    role: str
    title: Label
    format: str
    url: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Item:
    """A stored item. Of a video: one rendition, its playlist and the bytes of all its segments; else one file."""

    role: str
    format: str
    path: str
    size: int
    sha256: str | None = None
    duration: str | None = None
    resolution: str | None = None
    bit_rate: int | None = None


@dataclass(frozen=True, slots=True)
class FileRef:
    """An object and what its bytes must be."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class LessonDocument:
    """All there is to know of a lesson. media_revision: of its video; package: the list of the video's objects."""

    id: str
    title: Label
    section: str
    tags: dict[str, Term]
    duration: str
    duration_s: float
    poster: str
    renditions: tuple[RenditionRef, ...]
    revision: str
    updated_at: str
    lesson: str
    description: Label
    school: str
    teacher: str
    master: str
    manifest: str
    thumbnails: str
    captions: tuple[CaptionRef, ...]
    documents: tuple[DocumentRef, ...]
    items: tuple[Item, ...]
    media_revision: str
    package: FileRef

    def entry(self) -> Entry:
        """What lists show of it."""
        return Entry(
            id=self.id,
            title=self.title,
            section=self.section,
            tags=self.tags,
            duration=self.duration,
            duration_s=self.duration_s,
            poster=self.poster,
            renditions=tuple(one.name for one in self.renditions),
            revision=self.revision,
            updated_at=self.updated_at,
            lesson=self.lesson,
        )


def to_json(document: object) -> bytes:
    """A document's bytes."""
    return orjson.dumps(document)


def from_json(kind: type[Document], data: bytes, path: str) -> Document:
    """Reads a document; raises PublishError naming `path` when it is not of this kind."""
    try:
        return TypeAdapter(kind).validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"])
        raise PublishError(f"catalog document {path} is damaged: {place}: {first['msg']}") from error


def iso_duration(seconds: float) -> str:
    """ISO 8601, as PT2M30S; whole seconds, rounded."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{hours}H" if hours else "", f"{minutes}M" if minutes else "", f"{rest}S" if rest else ""]
    return "PT" + ("".join(parts) or "0S")

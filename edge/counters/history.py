"""Closed days in object storage: what lies where, and how it is found again.

    counts/v1/day=2026-11-28/province=44/manifest.json
    counts/v1/day=2026-11-28/province=44/resources-77346cc7….parquet   resource x hour: views, plays, watch_ms
    counts/v1/day=2026-11-28/province=44/minutes-….parquet             minute x country: visits, views, plays, watch_ms
    counts/v1/day=2026-11-28/province=44/sketches-….parquet            the day's and each resource's sketch of viewers

Theory of operation. An object is named by its content (the beginning of its SHA-256) and never changed. The manifest
names the objects that make up the day, with sizes and digests, and is written last and by compare-and-set: so a day is
there or not there, whoever is killed when; two exporters of the same day write the same objects, or one of them finds
that the other was faster. A correction of a closed day makes new objects and a manifest of the next version; the old
ones are let go a day later. Read what a manifest names, and not whatever lies in its folder.

An hour or minute that is null holds what was counted by an older version, which did not know the hour.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import orjson

ROOT: Final = "counts/v1"
FORMAT: Final = 1
METRICS: Final = ("visits", "views", "plays", "watch_ms")
TABLES: Final = ("resources", "minutes", "sketches")


class HistoryError(Exception):
    """History can't be read or written now; the message is for the operator."""


class NotClosedError(Exception):
    """The day is not closed everywhere yet: events of it may still come, or are still to be exported."""


class NoHistoryError(Exception):
    """There is no such day in history, or no history at all."""


class Stored(NamedTuple):
    """A small object: its bytes, and the entity tag for a conditional put."""

    content: bytes
    etag: str


class ObjectStore(Protocol):
    """What history needs of object storage. Names have no leading slash. Every method raises HistoryError."""

    async def usable(self) -> bool:
        """Whether there are credentials at all; without them there is no history, and nothing waits for it."""
        ...

    async def put(self, name: str, source: Path, sha256: str) -> None:
        """Store a file whole, or not at all; replaces what is there."""
        ...

    async def put_if(self, name: str, content: bytes, etag: str | None) -> bool:
        """Store bytes only where the stored object has this entity tag (None: only where there is none)."""
        ...

    async def read(self, name: str) -> Stored | None:
        """A small object; None when there is none."""
        ...

    async def fetch(self, name: str, target: Path) -> bool:
        """Write an object into a file; False when there is none."""
        ...

    async def folders(self, folder: str) -> list[str]:
        """Names of the folders right below `folder` (which ends with a slash), without slashes."""
        ...

    async def ages(self, folder: str) -> dict[str, float]:
        """Name -> seconds since it was stored, of all objects below `folder`."""
        ...

    async def remove(self, name: str) -> None:
        """Let go of an object, if it is there."""
        ...


@dataclass(frozen=True, slots=True)
class Figures:
    """Sums of human events. watch_ms: milliseconds watched."""

    visits: int = 0
    views: int = 0
    plays: int = 0
    watch_ms: int = 0

    def plus(self, other: Figures) -> Figures:
        return Figures(*(getattr(self, name) + getattr(other, name) for name in METRICS))

    def minus(self, other: Figures) -> Figures:
        return Figures(*(getattr(self, name) - getattr(other, name) for name in METRICS))

    def document(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in METRICS}

    @classmethod
    def of(cls, said: Mapping[str, int]) -> Figures:
        """From metric -> number; what is not said is 0."""
        return cls(*(int(said.get(name, 0)) for name in METRICS))


@dataclass(frozen=True, slots=True)
class StoredTable:
    """One Parquet object of a day. name: within the day's folder."""

    name: str
    size: int
    sha256: str
    rows: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """A closed day of a province. version: 1, and one more with each export because of corrections.

    sums, countries (country -> figures): of human events; bots: of the others. corrections: the entries that these
    figures include, by id. unplaced: the part of the sums whose hour or minute is not known.
    """

    province: str
    day: date
    version: int
    tables: Mapping[str, StoredTable]
    sums: Figures
    countries: Mapping[str, Figures] = field(default_factory=dict)
    bots: Figures = Figures()
    corrections: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    unplaced: Figures = Figures()

    @property
    def folder(self) -> str:
        return folder_of(self.day, self.province)

    def path(self, table: str) -> str:
        """Where the table lies."""
        return self.folder + self.tables[table].name

    def encode(self) -> bytes:
        """The same bytes for the same day."""
        said = {
            "format": FORMAT,
            "province": self.province,
            "day": self.day.isoformat(),
            "version": self.version,
            "sums": self.sums.document(),
            "countries": {code: figures.document() for code, figures in self.countries.items()},
            "bots": self.bots.document(),
            "unplaced": self.unplaced.document(),
            "corrections": {key: dict(entry) for key, entry in self.corrections.items()},
            "tables": {
                key: {"name": one.name, "size": one.size, "sha256": one.sha256, "rows": one.rows}
                for key, one in self.tables.items()
            },
        }
        return orjson.dumps(said, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def decode_manifest(content: bytes, name: str) -> Manifest:
    """Read a manifest. Raises HistoryError when it is none that this version knows."""
    try:
        said = orjson.loads(content)
        if said["format"] != FORMAT:
            raise HistoryError(f"{name} has format {said['format']}, this program reads {FORMAT}")
        return Manifest(
            province=said["province"],
            day=date.fromisoformat(said["day"]),
            version=said["version"],
            tables={key: StoredTable(**said["tables"][key]) for key in TABLES},
            sums=Figures.of(said["sums"]),
            countries={code: Figures.of(figures) for code, figures in said["countries"].items()},
            bots=Figures.of(said["bots"]),
            corrections=said["corrections"],
            unplaced=Figures.of(said["unplaced"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise HistoryError(f"{name} is no manifest of a counted day: {error!r}") from error


def folder_of(day: date, province: str) -> str:
    """Where a province's day lies, with a slash at its end."""
    return f"{ROOT}/day={day.isoformat()}/province={province}/"


def manifest_name(day: date, province: str) -> str:
    return folder_of(day, province) + "manifest.json"


class Found(NamedTuple):
    """A manifest as it is stored, with its entity tag."""

    manifest: Manifest
    etag: str


class History:
    """Reads closed days."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def days(self) -> list[date]:
        """All days of which any province has something, in order; a day that is being written may be among them."""
        names = await self._store.folders(f"{ROOT}/")
        return sorted(day for name in names if (day := _day_of_folder(name)) is not None)

    async def provinces(self, day: date) -> list[str]:
        """The provinces that have something of that day."""
        names = await self._store.folders(f"{ROOT}/day={day.isoformat()}/")
        return sorted(name.removeprefix("province=") for name in names if name.startswith("province="))

    async def find(self, day: date, province: str) -> Found | None:
        """The manifest of a day, None when it is not there. Raises HistoryError."""
        name = manifest_name(day, province)
        stored = await self._store.read(name)
        return Found(decode_manifest(stored.content, name), stored.etag) if stored is not None else None

    async def fetch(self, manifest: Manifest, tables: tuple[str, ...], directory: Path) -> dict[str, Path]:
        """Get tables into `directory`, each compared with the manifest byte by byte (its SHA-256).

        Raises HistoryError when one is not there or not what the manifest says: after a correction, look again for the
        manifest (`find`), since the old objects may be gone.
        """
        found = {}
        for table in tables:
            wanted = manifest.tables[table]
            target = directory / f"{manifest.day:%Y%m%d}-{manifest.province}-{wanted.name}"
            if not await self._store.fetch(manifest.path(table), target):
                raise HistoryError(f"{manifest.path(table)} is missing, though the manifest names it")
            if await asyncio.to_thread(digest_of, target) != wanted.sha256:
                raise HistoryError(f"{manifest.path(table)} is not what the manifest says: its SHA-256 differs")
            found[table] = target
        return found


def digest_of(path: Path) -> str:
    """SHA-256 of a file, in hex. Blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _day_of_folder(name: str) -> date | None:
    try:
        return date.fromisoformat(name.removeprefix("day=")) if name.startswith("day=") else None
    except ValueError:
        return None

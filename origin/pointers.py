"""The short-lived names of a lesson, `/media/{id}/master.m3u8`, `manifest.mpd`, `poster.jpg`: they follow the catalog.

Theory of operation. The catalog's documents name immutable objects only, so its readers never need these names; they
are for addresses that people keep. Each is right by itself: it leads to one revision whose objects are all there.

A name that is not there yet is put before the catalog lists the lesson (`begin`): what is listed is never missing. A
name that is there is replaced after the catalog has changed (`follow`): it never shows what the catalog has not said.
Interrupted in between, the names still lead to the revision before, whole and playable, and the next run moves them on.

Two publishers of one lesson: `follow` asks the catalog what to point at, writes on condition that the name is as it
was seen, and ends only after a look in which all names agree with a catalog read before it. Whoever wrote last what is
not in the catalog any more therefore looks once more and puts it right.
"""

from __future__ import annotations

from origin.catalog import Catalog
from origin.errors import PublishError
from origin.package import POINTERS, Package, content_type_of, package_from_json
from origin.store import PLAYLIST, POSTER, Store, Stored, Upload, same_bytes, upload_of

RACES = 12


class Pointers:
    """The short-lived names of the lessons of one store."""

    def __init__(self, store: Store, catalog: Catalog) -> None:
        self._store = store
        self._catalog = catalog

    def begin(self, id_: str, package: Package) -> int:
        """Points the names that are not there yet at the package, and gives their number. Raises PublishError."""
        absent = [one for one in self._wanted(id_, package) if self._store.head(one.path) is None]
        return sum(self._store.put_if(one, None) for one in absent)

    def follow(self, id_: str) -> int:
        """Points the names at what the catalog says of the lesson, and gives how many were changed.

        Raises PublishError, also when others keep changing them.
        """
        changed = 0
        for _ in range(RACES):
            wanted = self._wanted(id_, self._listed(id_))
            seen = [(one, self._store.head(one.path)) for one in wanted]
            differing = [(one, stored) for one, stored in seen if not _says(stored, one)]
            if not differing:
                return changed
            for one, stored in differing:
                changed += self._store.put_if(one, f'"{stored.etag}"' if stored else None)
        raise PublishError(f"{id_}: its playlists were changed by others {RACES} times meanwhile; run it again")

    def _listed(self, id_: str) -> Package:
        """The package of the lesson as the catalog has it now."""
        entry = self._catalog.find(id_)
        if entry is None:
            raise PublishError(f"{id_}: the catalog lost it meanwhile; run it again")
        path = self._catalog.lesson(entry).package.path
        found = self._store.read(path)
        if found is None:
            raise PublishError(f"storage lost {path}")
        try:
            return package_from_json(found[0])
        except (ValueError, KeyError, TypeError) as error:
            raise PublishError(f"{path} is damaged") from error

    def _wanted(self, id_: str, package: Package) -> list[Upload]:
        root = f"media/{id_}"
        poster = self._store.read(f"{root}/{package.revision}/poster.jpg")
        if poster is None:
            raise PublishError(f"storage lost {root}/{package.revision}/poster.jpg")
        contents = {name: text.encode() for name, text in package.pointers.items()} | {"poster.jpg": poster[0]}
        rules = {"poster.jpg": POSTER}
        return [
            upload_of(f"{root}/{name}", contents[name], content_type_of(name), rules.get(name, PLAYLIST), (id_,))
            for name in POINTERS
        ]


def _says(stored: Stored | None, upload: Upload) -> bool:
    return stored is not None and stored.sha256 == upload.sha256 and same_bytes(stored, upload.md5)

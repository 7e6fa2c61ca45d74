"""The pages and their static files, read once at start; afterwards a request is a look-up in a table.

Every static file is reachable under `/static/{release}/{name}`, where `release` is a digest of all of them together.
Pages refer only to that form, and since modules and style sheets refer to each other by relative paths, all of them
carry the release without a build step: such answers are immutable. A file asked for without a release, or under
another node's, is answered with a validator and must be revalidated.
"""

from __future__ import annotations

import gzip
import hashlib
import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from edge import openapi, reference

CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".webmanifest": "application/manifest+json",
}
COMPRESSIBLE = frozenset({".css", ".js", ".mjs", ".svg", ".webmanifest"})
VENDOR = {"vendor/hls.mjs": Path("node_modules/hls.js/dist/hls.min.mjs")}
SITE = Path(__file__).parent / "site"

_RELEASE_DIGITS = 12
_RELEASE = re.compile(rf"[0-9a-f]{{{_RELEASE_DIGITS}}}")
_SLOT = re.compile(r"\{\{(\w+)\}\}")
_GZIP_LEVEL = 6  # 9 takes twice the time at start and saves 1 %


@dataclass(frozen=True, slots=True)
class Asset:
    """One static file: its bytes, and the same compressed where that is worth it. Both have strong validators."""

    content_type: str
    body: bytes
    etag: str
    gzipped: bytes | None
    gzipped_etag: str


@dataclass(frozen=True, slots=True)
class Found:
    """A look-up's answer. `immutable`: the URL names this release, so what it means never changes."""

    asset: Asset
    immutable: bool


class Page:
    """An HTML page with `{{slots}}`, cut at load time so that rendering is joining."""

    def __init__(self, text: str, fixed: Mapping[str, str]) -> None:
        """fixed: slots that are the same for every request, already HTML. The others are filled by `render`."""
        pieces = _SLOT.split(_filled(text, fixed))
        self._texts = tuple(pieces[0::2])
        self._slots = tuple(pieces[1::2])

    def render(self, **values: str) -> bytes:
        """The page with every slot filled, values escaped for HTML. Raises KeyError for a slot without a value."""
        parts = [self._texts[0]]
        for slot, text in zip(self._slots, self._texts[1:], strict=True):
            parts += (html.escape(values[slot], quote=True), text)
        return "".join(parts).encode()


@dataclass(frozen=True, slots=True)
class Assets:
    """All of it. `missing` names vendored files that were not installed (see `make install`)."""

    release: str
    files: Mapping[str, Asset]
    pages: Mapping[str, Page]
    missing: tuple[str, ...]

    def look_up(self, path: str) -> Found | None:
        """The file under `path` (what follows `/static/`), or None. Only exact names of the table exist."""
        head, _, rest = path.partition("/")
        if head == self.release:
            asset = self.files.get(rest)
            return Found(asset, immutable=True) if asset else None
        # A page of another release, loaded a moment before an upgrade, still gets what is there now.
        asset = self.files.get(rest if _RELEASE.fullmatch(head) else path)
        return Found(asset, immutable=False) if asset else None


def load_assets(site: Path = SITE) -> Assets:
    """Read everything under `site`. Blocking; call it before the loop runs. Raises OSError, UnicodeDecodeError."""
    sources = dict(_sources(site))
    missing = tuple(name for name, path in VENDOR.items() if not (site / path).is_file())
    sources.update({name: (site / path).read_bytes() for name, path in VENDOR.items() if name not in missing})
    release = _release(sources)
    files = {name: _asset(Path(name).suffix, body) for name, body in sources.items()}
    fixed = {"static": f"/static/{release}", "reference": reference.html(openapi.document())}
    return Assets(release, files, _pages(site / "pages", fixed), missing)


def etag_of(body: bytes) -> str:
    """A strong validator's opaque part, without quotes."""
    return hashlib.blake2b(body, digest_size=12).hexdigest()


def _sources(site: Path) -> Iterator[tuple[str, bytes]]:
    root = site / "static"
    for path in sorted(root.rglob("*")):
        if path.suffix in CONTENT_TYPES and path.is_file():
            yield path.relative_to(root).as_posix(), path.read_bytes()


def _pages(directory: Path, fixed: Mapping[str, str]) -> dict[str, Page]:
    """The pages by name; what they share, `parts/{name}.html`, is put into their slots of the same name."""
    parts = {path.stem: _filled(path.read_text("utf-8"), fixed) for path in (directory / "parts").glob("*.html")}
    return {path.stem: Page(path.read_text("utf-8"), {**fixed, **parts}) for path in directory.glob("*.html")}


def _filled(text: str, fixed: Mapping[str, str]) -> str:
    return _SLOT.sub(lambda match: fixed.get(match[1], match[0]), text)


def _release(sources: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, body in sorted(sources.items()):
        digest.update(f"{name}\0{len(body)}\0".encode())
        digest.update(body)
    return digest.hexdigest()[:_RELEASE_DIGITS]


def _asset(suffix: str, body: bytes) -> Asset:
    packed = gzip.compress(body, _GZIP_LEVEL, mtime=0) if suffix in COMPRESSIBLE else None
    if packed is not None and len(packed) >= len(body):
        packed = None
    return Asset(CONTENT_TYPES[suffix], body, etag_of(body), packed, etag_of(packed) if packed is not None else "")

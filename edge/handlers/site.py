"""The pages: portal, lesson, board, docs, and their static files, all answered from memory."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from edge.appkeys import ASSETS, CATALOG_VIEW
from edge.assets import Asset, etag_of
from edge.problems import problem

# No inline script or style, nothing from elsewhere. blob: is how hls.js hands its MediaSource to the video element.
CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'self'",
        "media-src 'self' blob:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'self'",
    )
)
PAGE_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
# An SVG opened as a document of its own stays inert.
ASSET_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
# A page names a release and a lesson's document, so it may be reused for seconds only.
PAGE_CACHE_CONTROL: Final = "public, max-age=5, stale-while-revalidate=30"
IMMUTABLE_CACHE_CONTROL: Final = "public, max-age=31536000, immutable"
REVALIDATE_CACHE_CONTROL: Final = "public, max-age=0, must-revalidate"


async def get_portal(request: web.Request) -> web.Response:
    """`GET /`: the six sections and their lessons."""
    return _page(request, request.app[ASSETS].pages["portal"].render())


async def get_board(request: web.Request) -> web.Response:
    """`GET /board`: the counts."""
    return _page(request, request.app[ASSETS].pages["board"].render())


async def get_docs(request: web.Request) -> web.Response:
    """`GET /docs`: the interface, described."""
    return _page(request, request.app[ASSETS].pages["docs"].render())


async def get_lesson(request: web.Request) -> web.Response:
    """`GET /lesson/{id}`: the player. 404 for a lesson the catalog does not hold.

    Before any catalog was read, every lesson gets the page: it waits there for the catalog, as the portal does.
    """
    lesson_id = request.match_info["id"]
    catalog = request.app[CATALOG_VIEW]
    path = catalog.lesson_path(lesson_id)
    if path is None and catalog.loaded:
        return _not_found(request)
    title = catalog.title(lesson_id) or ""
    body = request.app[ASSETS].pages["lesson"].render(lesson=lesson_id, path=path or "", title=title)
    response = _page(request, body, cacheable=path is not None)
    if path is not None:
        # The page's modules ask for this document; naming it here saves them one round trip.
        response.headers["Link"] = f"<{path}>; rel=preload; as=fetch; crossorigin=anonymous"
    return response


async def get_static(request: web.Request) -> web.Response:
    """`GET /static/{path}`: a file of the table, compressed where the client takes gzip."""
    found = request.app[ASSETS].look_up(request.match_info["path"])
    if found is None:
        return problem(404, "no such file among the pages' static files")
    headers = {
        **ASSET_HEADERS,
        "Cache-Control": IMMUTABLE_CACHE_CONTROL if found.immutable else REVALIDATE_CACHE_CONTROL,
        "Content-Type": found.asset.content_type,
    }
    body, etag = _representation(request, found.asset, headers)
    return _conditional(request, body, etag, headers)


def accepts_gzip(field: str) -> bool:
    """Whether an Accept-Encoding field value allows gzip (RFC 9110, 12.5.3)."""
    weights: dict[str, float] = {}
    for member in field.split(","):
        coding, _, parameter = member.partition(";")
        weights[coding.strip().lower()] = _weight(parameter)
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0))) > 0


def _weight(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if name.strip().lower() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0


def _representation(request: web.Request, asset: Asset, headers: dict[str, str]) -> tuple[bytes, str]:
    if asset.gzipped is None:
        return asset.body, asset.etag
    headers["Vary"] = "Accept-Encoding"
    if accepts_gzip(request.headers.get("Accept-Encoding", "")):
        headers["Content-Encoding"] = "gzip"
        return asset.gzipped, asset.gzipped_etag
    return asset.body, asset.etag


def _page(request: web.Request, body: bytes, *, cacheable: bool = True) -> web.Response:
    headers = {
        **PAGE_HEADERS,
        "Cache-Control": PAGE_CACHE_CONTROL if cacheable else "no-store",
        "Content-Type": "text/html; charset=utf-8",
    }
    return _conditional(request, body, etag_of(body), headers)


def _not_found(request: web.Request) -> web.Response:
    # Never stored: the lesson may be published the next moment.
    headers = {**PAGE_HEADERS, "Cache-Control": "no-store", "Content-Type": "text/html; charset=utf-8"}
    return web.Response(status=404, body=request.app[ASSETS].pages["not-found"].render(), headers=headers)


def _conditional(request: web.Request, body: bytes, etag: str, headers: dict[str, str]) -> web.Response:
    headers["ETag"] = f'"{etag}"'
    asked = request.if_none_match or ()
    if any(candidate.value in (etag, "*") for candidate in asked):
        unneeded = ("Content-Type", "Content-Encoding")
        return web.Response(
            status=304, headers={name: value for name, value in headers.items() if name not in unneeded}
        )
    return web.Response(body=body, headers=headers)

"""The route tables of the three listeners: public, admin, and the socket between the workers of a node."""

from __future__ import annotations

import re
from functools import partial
from typing import Final

from aiohttp import web

from edge import openapi
from edge.appkeys import DESCRIPTION
from edge.cache import target
from edge.handlers import content, corrections, counts, description, exports, health, purge, site, views
from edge.problems import expect


def content_label(path: str, *, published: bool) -> str | None:
    """The label (`edge.inflight.route_of`) of a target under which content may be; None where none is."""
    if not published:
        return "/{path}"  # what is ours under it is never stored: `content.proxy` sees to that
    return next((f"{prefix}{{path}}" for prefix in target.PREFIXES if path.startswith(prefix)), None)


def add_public(application: web.Application, *, site_on: bool, published: bool) -> None:
    """What clients may ask. published: of a store of published objects; otherwise all of an HTTP origin is served."""
    add = partial(application.router.add_route, expect_handler=expect)
    get = partial(application.router.add_get, expect_handler=expect)
    if published:
        add("*", "/media/{path:.*}", content.get_content)
        add("*", "/catalog/{path:.*}", content.get_content)
    add("POST", "/v1/views", views.post_views)
    add("OPTIONS", "/v1/views", views.options_views)
    get("/v1/counts/resources/{id}", counts.get_resource)
    get("/v1/counts/resources", counts.get_resources)
    get("/v1/counts/summary", counts.get_summary)
    get("/v1/counts/by/{dimension}", counts.get_by)
    get("/v1/counts/top", counts.get_top)
    get("/v1/counts/series", counts.get_series)
    get("/v1/counts/corrections", counts.get_corrections)
    get("/v1/counts/export", exports.get_export)
    get("/v1/counts/stream", counts.get_stream)
    get("/v1/counts/{rest:.*}", counts.not_counted)
    application[DESCRIPTION] = openapi.as_json()
    get(openapi.PATH, description.get_description)
    get("/healthz", health.healthz)
    if site_on:
        get("/", site.get_portal)
        get("/lesson/{id}", site.get_lesson)
        get("/board", site.get_board)
        get("/docs", site.get_docs)
        get("/static/{path:.*}", site.get_static)
    if not published:
        application[content.OURS] = _ours(application)
        add("*", "/{path:(?!v1/).*}", content.proxy)


_UNDER_V1: Final = "/v1/.*"
"""All of it is ours, what is not there, too."""
_GROUP: Final = re.compile(r"\(\?P<\w+>")


def _ours(application: web.Application) -> re.Pattern[str]:
    """What matches the canonical targets that are the edge's own: all that there are routes for so far.

    A client may spell them so that no route of theirs knows them (`/x/../healthz`).
    """
    paths = [_UNDER_V1]
    for resource in application.router.resources():
        known = resource.get_info()
        paths.append(re.escape(known["path"]) if "path" in known else _GROUP.sub("(?:", known["pattern"].pattern))
    return re.compile(rf"(?:{'|'.join(paths)})(?:\?.*)?", re.DOTALL)


def add_admin(application: web.Application) -> None:
    """What operators may ask."""
    get = partial(application.router.add_get, expect_handler=expect)
    get("/healthz", health.healthz)
    get("/readyz", health.readyz)
    get("/metrics", health.prometheus)
    get("/config", health.config)
    application.router.add_route("POST", "/counts/corrections", corrections.post_correction)
    purge.add_admin_routes(application)


def add_siblings(application: web.Application) -> None:
    """What the other workers of this node may ask."""
    purge.add_sibling_routes(application)
    application.router.add_route("GET", "/{path:.*}", content.get_for_sibling)

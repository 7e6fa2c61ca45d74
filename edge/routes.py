"""The route tables of the three listeners: public, admin, and the socket between the workers of a node."""

from __future__ import annotations

from aiohttp import web

from edge.handlers import content, counts, health, site, views


def add_public(application: web.Application, *, site_on: bool) -> None:
    """What clients may ask."""
    router = application.router
    router.add_route("*", "/media/{path:.*}", content.get_content)
    router.add_route("*", "/catalog/{path:.*}", content.get_content)
    router.add_post("/v1/views", views.post_views)
    router.add_options("/v1/views", views.options_views)
    router.add_get("/v1/counts/resources/{id}", counts.get_resource)
    router.add_get("/v1/counts/resources", counts.get_resources)
    router.add_get("/v1/counts/summary", counts.get_summary)
    router.add_get("/v1/counts/top", counts.get_top)
    router.add_get("/v1/counts/{rest:.*}", counts.not_counted)
    router.add_get("/healthz", health.healthz)
    if site_on:
        router.add_get("/", site.get_portal)
        router.add_get("/lesson/{id}", site.get_lesson)
        router.add_get("/board", site.get_board)
        router.add_get("/static/{path:.*}", site.get_static)


def add_admin(application: web.Application) -> None:
    """What operators may ask."""
    router = application.router
    router.add_get("/healthz", health.healthz)
    router.add_get("/readyz", health.readyz)
    router.add_get("/metrics", health.prometheus)
    router.add_get("/config", health.config)


def add_siblings(application: web.Application) -> None:
    """What the other workers of this node may ask."""
    application.router.add_get("/{path:.*}", content.get_for_sibling)

"""`GET /v1/openapi.json`: the interface, described for programs; where the site is on, `/docs` shows it to people."""

from __future__ import annotations

from aiohttp import web

from edge.appkeys import DESCRIPTION

# What it says changes with the program only.
CACHE_CONTROL = "public, max-age=60"


async def get_description(request: web.Request) -> web.Response:
    """The OpenAPI document; pages of other sites may read it."""
    return web.Response(
        body=request.app[DESCRIPTION],
        content_type="application/json",
        headers={"Cache-Control": CACHE_CONTROL, "Access-Control-Allow-Origin": "*"},
    )

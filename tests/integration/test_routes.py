"""Which listener answers what: our own paths are never another server's."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application

from edge import openapi, routes
from edge.problems import as_problems

OTHERS = [
    ("GET", "/v1/views", 405, "OPTIONS, POST"),
    ("PUT", "/v1/views", 405, "OPTIONS, POST"),
    ("POST", "/v1/counts/summary", 405, "GET, HEAD"),
    ("POST", "/v1/counts/stream", 405, "GET, HEAD"),
    ("POST", "/v1/counts/export", 405, "GET, HEAD"),
    ("GET", "/v1/counts/nothing", 404, None),
    ("GET", "/v1/nothing", 404, None),
    ("POST", "/v1/", 404, None),
]


@pytest.mark.parametrize("published", [True, False])
@pytest.mark.parametrize(("method", "path", "status", "allow"), OTHERS, ids=[f"{one[0]} {one[1]}" for one in OTHERS])
async def test_what_our_own_paths_do_not_take_is_refused_and_never_passed_on(
    published: bool, method: str, path: str, status: int, allow: str | None
) -> None:
    app = Application(middlewares=[as_problems])
    routes.add_public(app, site_on=False, published=published)
    async with TestClient(TestServer(app)) as client, client.request(method, path) as response:
        assert (response.status, response.headers.get("Allow")) == (status, allow)
        assert response.content_type == "application/problem+json"


@pytest.mark.parametrize("site_on", [True, False])
async def test_programs_read_the_description_on_any_node_people_where_the_site_is_on(site_on: bool) -> None:
    app = Application(middlewares=[as_problems])
    routes.add_public(app, site_on=site_on, published=True)
    async with TestClient(TestServer(app)) as client, client.get(openapi.PATH) as response:
        assert response.status == 200
    assert ("/docs" in {resource.canonical for resource in app.router.resources()}) is site_on

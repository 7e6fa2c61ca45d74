"""Which listener answers what: our own paths are never another server's."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application
from yarl import URL

from edge import openapi, routes
from edge.problems import as_problems
from tests.conftest import StartEdge
from tests.support.origin import Script, ScriptedOrigin
from tests.support.wire import Raw, Wire

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


OURS = ["/healthz", "/v1/openapi.json", "/v1/counts/summary", "/v1/nothing", "/", "/board", "/docs", "/lesson/1?a=b"]
SPELLED = {
    "dots": "/x/..{path}",
    "encoded dots": "/x/%2e%2e{path}",
    "a dot": "/.{path}",
    "absolute": "http://edge/x/..{path}",
}


@pytest.mark.parametrize("spelled", SPELLED)
async def test_nothing_of_the_origin_is_ever_an_answer_to_what_is_ours(edge: StartEdge, spelled: str) -> None:
    lasting = {"Cache-Control": "max-age=86400"}
    async with ScriptedOrigin() as origin:
        origin.objects.update(dict.fromkeys(OURS, Script(b"the origin's", headers=lasting, ranges=False)))
        node = await edge(origin=origin.url, site=True)

        def ask(target: str) -> Raw:
            with Wire(URL(node.url).port or 0) as wire:
                return wire.ask(f"GET {target} HTTP/1.1\r\nHost: edge\r\n\r\n".encode())

        for path in OURS:
            before = await asyncio.to_thread(ask, path)
            other = await asyncio.to_thread(ask, SPELLED[spelled].format(path=path))
            for _ in range(3):
                after = await asyncio.to_thread(ask, path)
                assert (after.status, after.field("content-type")) == (before.status, before.field("content-type"))
                assert after.field("cache-status") is None
            assert (other.status, other.field("content-type")) == (404, b"application/problem+json")
        assert not {one.path for one in origin.seen} & set(OURS)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
async def test_what_nothing_is_looked_up_for_is_asked_with_its_whole_query_in_its_order(
    edge: StartEdge, method: str
) -> None:
    async with ScriptedOrigin() as origin, aiohttp.ClientSession() as session:
        node = await edge(origin=origin.url, query_keys="a")
        asked = URL(f"{node.url}/x?b=1&a=2&b=0&%41=1&&c=%", encoded=True)
        async with session.request(method, asked) as response:
            assert response.status == 404
        assert [(one.method, one.path) for one in origin.seen] == [(method, "/x?b=1&a=2&b=0&A=1&&c=%25")]


async def test_whatever_is_wrong_a_problem_says_whose_it_is(edge: StartEdge) -> None:
    async with ScriptedOrigin() as origin, aiohttp.ClientSession() as session:
        origin.objects["/bucket/media/a"] = Script(b"a" * 100, headers={"Cache-Control": "max-age=600"}, etag='"a"')
        node = await edge(origin="s3://bucket", s3_endpoint=origin.url)
        asked: list[tuple[str, str, dict[str, str], int]] = [
            ("GET", "/media/", {}, 400),
            ("GET", "/nowhere", {}, 404),
            ("GET", "/media/nothing", {}, 404),
            ("DELETE", "/media/a", {}, 405),
            ("GET", "/media/a", {"If-Match": '"b"'}, 412),
            ("GET", "/media/a", {"Range": "bytes=500-"}, 416),
            ("GET", "/v1/views", {}, 405),
            ("GET", "/v1/counts/nothing", {}, 404),
            ("GET", "/v1/counts/summary", {}, 503),
        ]
        every = [(method, node.url + path, fields, status) for method, path, fields, status in asked]
        for method, url, fields, status in [*every, ("GET", f"{node.admin_url}/purge", {}, 405)]:
            async with session.request(method, url, headers=fields) as response:
                assert (response.status, response.content_type) == (status, "application/problem+json"), url
                error = "http_request_error" if status < 500 else "proxy_internal_response"
                assert response.headers["Proxy-Status"] == f"test; error={error}"


async def test_what_is_ours_is_not_posted_to_the_origin(edge: StartEdge) -> None:
    async with ScriptedOrigin() as origin, aiohttp.ClientSession() as session:
        node = await edge(origin=origin.url)
        async with session.post(f"{node.url}/healthz") as response:
            assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")
        assert origin.seen == []


@pytest.mark.parametrize("site_on", [True, False])
async def test_programs_read_the_description_on_any_node_people_where_the_site_is_on(site_on: bool) -> None:
    app = Application(middlewares=[as_problems])
    routes.add_public(app, site_on=site_on, published=True)
    async with TestClient(TestServer(app)) as client, client.get(openapi.PATH) as response:
        assert response.status == 200
    assert ("/docs" in {resource.canonical for resource in app.router.resources()}) is site_on


async def test_a_node_behind_another_knows_the_tags_of_what_it_has(edge: StartEdge) -> None:
    tagged = {"Cache-Control": "max-age=86400", "Surrogate-Key": "lesson-1 all"}
    async with ScriptedOrigin() as origin, aiohttp.ClientSession() as session:
        origin.objects["/a"] = Script(b"a", headers=tagged)
        hub = await edge(origin=origin.url, node="hub")
        child = await edge(origin=hub.url, node="child")

        async def handling() -> str:
            async with session.get(f"{child.url}/a") as response:
                assert response.headers["Surrogate-Key"] == "lesson-1 all"
                return response.headers["Cache-Status"].rpartition(", child; ")[2]

        assert [(await handling()).partition("=")[0] for _ in range(2)] == ["fwd", "hit; ttl"]
        async with session.post(f"{child.admin_url}/purge", json={"tag": "lesson-1"}) as response:
            assert (response.status, (await response.json())["removed"]) == (200, 1)
        assert (await handling()).startswith("fwd=uri-miss")

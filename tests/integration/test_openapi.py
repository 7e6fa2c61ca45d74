"""The description of the interface is true: it names every route, and real answers are what its schemas say."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import validate

from edge import routes
from edge.appkeys import BOARD, INTAKE, NODE
from edge.catalog_view import Lesson, Snapshot, Term
from edge.counters.board import Board
from edge.counters.record import Correction
from edge.counters.sink import open_client
from edge.openapi import document
from edge.problems import as_problems
from edge.reference import html
from tests.support.counting import Wall, event, writer
from tests.support.loopguard import nothing_blocks_the_loop  # noqa: F401

Client = TestClient[web.Request, web.Application]

DOCUMENT = document()
SECTION = Term("special", "专题", "Special")
CATALOG = Snapshot("v1", {"a": Lesson("a", "special", "", "甲", "A", {"grade": SECTION})}, {}, {"special": SECTION})

# Every answer there is, by its operation: what is asked, and the status.
ASKED = [
    ("/v1/counts/resources/{id}", "/v1/counts/resources/a", 200),
    ("/v1/counts/resources/{id}", "/v1/counts/resources/a?x=1", 400),
    ("/v1/counts/resources", "/v1/counts/resources?ids=a,never", 200),
    ("/v1/counts/resources", "/v1/counts/resources", 400),
    ("/v1/counts/summary", "/v1/counts/summary", 200),
    ("/v1/counts/by/{dimension}", "/v1/counts/by/province", 200),
    ("/v1/counts/by/{dimension}", "/v1/counts/by/province?metric=uniques", 200),
    ("/v1/counts/by/{dimension}", "/v1/counts/by/country?metric=views", 200),
    ("/v1/counts/by/{dimension}", "/v1/counts/by/section?day=today", 200),
    ("/v1/counts/by/{dimension}", "/v1/counts/by/agent", 200),
    ("/v1/counts/by/{dimension}", "/v1/counts/by/moon", 400),
    ("/v1/counts/top", "/v1/counts/top?limit=1", 200),
    ("/v1/counts/top", "/v1/counts/top?dimension=province&metric=visits", 200),
    ("/v1/counts/top", "/v1/counts/top?limit=0", 400),
    ("/v1/counts/series", "/v1/counts/series?step=minute", 200),
    ("/v1/counts/series", "/v1/counts/series?step=day&section=special&metric=watch_seconds", 200),
    ("/v1/counts/series", "/v1/counts/series?step=week", 400),
    ("/v1/counts/corrections", "/v1/counts/corrections", 200),
    ("/v1/counts/export", "/v1/counts/export?day=2026-01-01", 503),
    ("/v1/openapi.json", "/v1/openapi.json", 200),
    ("/healthz", "/healthz", 200),
]


@pytest.fixture
async def client(tmp_path: Path, counters_url: str) -> AsyncIterator[Client]:
    app = web.Application(middlewares=[as_problems])
    async with writer(tmp_path, counters_url) as one:
        await one.accept(
            event("a", viewer="v"), event("b", "play"), event("a", "watch", watched_s=1.5), event(kind="visit")
        )
        await one.settled()
        board = Board(open_client(counters_url), ("44",), wall=Wall(), every_s=0, catalog=lambda: CATALOG)
        app[NODE], app[INTAKE], app[BOARD] = "test", one.intake, board
        routes.add_public(app, site_on=False, published=True)
        async with TestClient(TestServer(app)) as made:
            yield made
        await board.close()


def holds(schema: dict[str, Any], value: object) -> None:
    """The value is as the schema says. The schema's references are looked up in the whole document."""
    whole = {**schema, "components": DOCUMENT["components"]}
    Draft202012Validator(whole, format_checker=FormatChecker()).validate(value)


def test_the_document_is_openapi() -> None:
    validate(DOCUMENT)


@pytest.mark.parametrize(("operation", "path", "status"), ASKED)
async def test_answers_are_what_the_schemas_say(client: Client, operation: str, path: str, status: int) -> None:
    described = DOCUMENT["paths"][operation]["get"]["responses"][str(status)]
    async with client.get(path) as response:
        assert response.status == status, await response.text()
        assert response.content_type in described["content"]
        holds(described["content"][response.content_type]["schema"], orjson.loads(await response.read()))


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b'{"id": "1", "kind": "visit", "at": 1}', "application/json", 202),
        (b"{", "text/plain", 400),
        (b"{}", "application/xml", 415),
        (b" " * 300_000, "application/json", 413),
    ],
)
async def test_answers_to_events_are_what_the_schemas_say(client: Client, body: bytes, kind: str, status: int) -> None:
    described = DOCUMENT["paths"]["/v1/views"]["post"]["responses"][str(status)]
    async with client.post("/v1/views", data=body, headers={"Content-Type": kind}) as response:
        assert response.status == status
        holds(described["content"][response.content_type]["schema"], await response.json(content_type=None))


def test_an_event_as_clients_send_it_is_one_by_the_schema() -> None:
    request = DOCUMENT["paths"]["/v1/views"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    holds(request, event(viewer="v"))
    holds(request, {"events": [event(kind="visit"), event(kind="watch", watched_s=2)]})


def test_every_public_route_is_described_and_every_described_one_exists() -> None:
    app = web.Application()
    routes.add_public(app, site_on=True, published=True)
    served = {
        (route.resource.canonical, route.method.lower())
        for route in app.router.routes()
        if route.resource is not None and route.method not in ("HEAD", "*")
    }
    pages = {(path, "get") for path in ("/", "/lesson/{id}", "/board", "/docs", "/static/{path}")}
    described = {(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert served - pages - {("/v1/counts/{rest}", "get")} == described


async def test_every_parameter_that_is_described_is_taken_and_no_other(client: Client) -> None:
    for path, methods in DOCUMENT["paths"].items():
        names = {one["name"] for one in methods.get("get", {}).get("parameters", ()) if one["in"] == "query"}
        if not path.startswith("/v1/counts/") or path.endswith(("export", "stream")):
            continue
        asked = path.replace("{id}", "a").replace("{dimension}", "province")
        async with client.get(f"{asked}?no-such=1") as response:
            detail = (await response.json(content_type=None))["detail"]
        assert set(re.findall(r"\w+", detail.partition("allowed: ")[2])) - {"none"} == names, path


def test_the_page_says_all_that_the_document_says_and_leads_nowhere_else() -> None:
    page = html(DOCUMENT)
    for path, methods in DOCUMENT["paths"].items():
        assert f"<code>{path}</code>" in page
        assert all(f'id="{one["operationId"]}"' in page for one in methods.values())
    targets = set(re.findall(r'href="([^"]+)"', page))
    assert targets <= {f"#{one}" for one in re.findall(r'id="([^"]+)"', page)}


def test_a_correction_is_shown_with_the_members_that_it_is_made_of() -> None:
    shown = DOCUMENT["components"]["schemas"]["Correction"]["properties"]
    assert set(Correction._fields) - {"minute"} <= set(shown)

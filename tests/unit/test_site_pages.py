"""The pages' HTTP: what is served under which name, with which headers, and what is not."""

from __future__ import annotations

import gzip
import re
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from edge import assets
from edge.appkeys import ASSETS, CATALOG_VIEW
from edge.assets import Assets, Page, load_assets
from edge.catalog_view import CatalogView
from edge.handlers import site
from tests.support.loopguard import nothing_blocks_the_loop  # noqa: F401

Client = TestClient[web.Request, web.Application]

DOCUMENTS: dict[str, bytes] = {
    "/catalog/version.json": orjson.dumps(
        {"version": "v1", "sections": [{"shards": [{"path": "/catalog/v1/shards/special-000.json"}]}]}
    ),
    "/catalog/v1/shards/special-000.json": orjson.dumps(
        {
            "section": "special",
            "entries": [
                {
                    "id": "lesson-000001",
                    "title": {"zh": "勾股定理 <一>", "en": "Pythagoras"},
                    "lesson": "/catalog/v1/lessons/lesson-000001.json",
                }
            ],
        }
    ),
}


async def fetch(path: str) -> bytes | None:
    return DOCUMENTS.get(path)


@pytest.fixture(scope="module")
def loaded() -> Assets:
    return load_assets()


async def served(loaded: Assets, view: CatalogView) -> AsyncIterator[Client]:
    application = web.Application()
    application[ASSETS] = loaded
    application[CATALOG_VIEW] = view
    application.router.add_get("/", site.get_portal)
    application.router.add_get("/lesson/{id}", site.get_lesson)
    application.router.add_get("/board", site.get_board)
    application.router.add_get("/static/{path:.*}", site.get_static)
    async with TestClient(TestServer(application), auto_decompress=False) as client:
        yield client


@pytest.fixture
async def client(loaded: Assets) -> AsyncIterator[Client]:
    view = CatalogView(fetch)
    await view.refresh()
    async for running in served(loaded, view):
        yield running


@pytest.mark.parametrize("path", ["/", "/board", "/lesson/lesson-000001", "/lesson/unknown"])
async def test_pages_carry_a_strict_policy_and_nothing_inline(client: Client, path: str) -> None:
    async with client.get(path) as response:
        text = await response.text()
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", text)
    assert not re.search(r"(?:src|href)=[\"'](?:https?:)?//", text)


@pytest.mark.parametrize("path", ["/", "/board", "/lesson/lesson-000001", "/lesson/unknown"])
async def test_every_file_a_page_names_exists_and_is_immutable(client: Client, path: str) -> None:
    async with client.get(path) as response:
        named = set(re.findall(r"[\"'](/static/[^\"'#]+)", await response.text()))
    assert len(named) > 5
    for name in named:
        async with client.get(name) as response:
            assert response.status == 200, name
            assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"


async def test_a_lesson_page_names_its_document_and_escapes_its_title(client: Client) -> None:
    async with client.get("/lesson/lesson-000001") as response:
        text = await response.text()
    assert response.status == 200
    assert '<meta name="lesson-path" content="/catalog/v1/lessons/lesson-000001.json">' in text
    assert '<h1 id="title">勾股定理 &lt;一&gt;</h1>' in text
    assert response.headers["Link"].startswith("</catalog/v1/lessons/lesson-000001.json>; rel=preload; as=fetch")


@pytest.mark.parametrize("name", ["unknown", "%3Cscript%3E", "..%2F..", "%00", "x" * 2000])
async def test_a_lesson_the_catalog_does_not_hold_is_a_real_404_page(client: Client, name: str) -> None:
    async with client.get(URL(f"/lesson/{name}", encoded=True)) as response:
        text = await response.text()
    assert response.status == 404
    assert response.content_type == "text/html"
    assert response.headers["Cache-Control"] == "no-store"
    assert "没有找到这节课" in text
    assert "<script>" not in text


async def test_before_the_first_catalog_a_lesson_page_waits_instead_of_denying(loaded: Assets) -> None:
    async for client in served(loaded, CatalogView(fetch)):
        async with client.get("/lesson/lesson-000001") as response:
            assert response.status == 200
            assert 'name="lesson-path" content=""' in await response.text()
            assert response.headers["Cache-Control"] == "no-store"
            assert "Link" not in response.headers


@pytest.mark.parametrize(
    "path",
    [
        "../assets.py",
        "..%2Fassets.py",
        "js/../../pages/portal.html",
        "%2e%2e/%2e%2e/settings.py",
        "js",
        "js/",
        "",
        "/etc/passwd",
        "js/portal.js%00",
        "js/%ff.js",
        "package.json",
        "000000000000/..%2Fjs/portal.js",
        "x" * 4000,
    ],
)
async def test_no_path_leads_out_of_the_table(client: Client, path: str) -> None:
    async with client.get(URL(f"/static/{path}", encoded=True)) as response:
        assert response.status in (400, 404)


async def test_files_are_compressed_only_for_clients_that_take_gzip(client: Client, loaded: Assets) -> None:
    url = f"/static/{loaded.release}/js/player.js"
    async with client.get(url, headers={"Accept-Encoding": "br;q=1, gzip;q=0.5"}) as packed:
        body = await packed.read()
    async with client.get(url, headers={"Accept-Encoding": "gzip;q=0, *;q=0"}) as plain:
        assert await plain.read() == gzip.decompress(body) == loaded.files["js/player.js"].body
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding"
    assert packed.headers["ETag"] != plain.headers["ETag"]


@pytest.mark.parametrize("path", ["/", "/lesson/lesson-000001", "/static/css/base.css"])
async def test_a_known_validator_is_answered_without_a_body(client: Client, path: str) -> None:
    async with client.get(path) as first:
        etag = first.headers["ETag"]
    for known in (etag, f'"other", {etag}', f"W/{etag}", "*"):
        async with client.get(path, headers={"If-None-Match": known}) as again:
            assert again.status == 304
            assert again.headers["ETag"] == etag
            assert await again.read() == b""
    async with client.get(path, headers={"If-None-Match": '"other"'}) as changed:
        assert changed.status == 200


@pytest.mark.parametrize("path", ["/", "/board", "/lesson/lesson-000001", "/static/js/portal.js"])
async def test_head_says_what_get_says_without_the_body(client: Client, path: str) -> None:
    async with client.get(path) as got, client.head(path) as head:
        whole = await got.read()
        assert await head.read() == b""
    assert head.status == 200
    assert head.headers["Content-Length"] == str(len(whole))
    assert head.headers["ETag"] == got.headers["ETag"]


async def test_a_file_asked_for_under_another_release_is_given_but_not_for_long(client: Client) -> None:
    for path in ("/static/0123456789ab/js/portal.js", "/static/js/portal.js"):
        async with client.get(path) as response:
            assert response.status == 200
            assert response.headers["Cache-Control"] == "public, max-age=0, must-revalidate"


def test_the_table_does_not_follow_the_disk(tmp_path: Path) -> None:
    (tmp_path / "static/js").mkdir(parents=True)
    (tmp_path / "pages").mkdir()
    script = tmp_path / "static/js/one.js"
    script.write_text("let a = 1;")
    loaded = load_assets(tmp_path)
    script.write_text("let a = 2;")
    found = loaded.look_up("js/one.js")
    assert found is not None
    assert found.asset.body == b"let a = 1;"
    assert load_assets(tmp_path).release != loaded.release


def test_a_missing_player_library_is_named_and_answered_with_404(tmp_path: Path) -> None:
    (tmp_path / "static").mkdir()
    (tmp_path / "pages").mkdir()
    loaded = load_assets(tmp_path)
    assert loaded.missing == tuple(assets.VENDOR)
    assert loaded.look_up("vendor/hls.mjs") is None


def test_an_unfilled_slot_is_an_error_not_a_page() -> None:
    page = Page("<p>{{title}}</p>{{static}}", {"static": "/static/x"})
    assert page.render(title="a&b") == b"<p>a&amp;b</p>/static/x"
    with pytest.raises(KeyError):
        page.render()


@pytest.mark.parametrize(
    ("field", "taken"),
    [
        ("", False),
        ("gzip", True),
        ("GZip, br", True),
        ("br", False),
        ("*", True),
        ("gzip;q=0", False),
        ("*;q=0.1", True),
        ("gzip;q=0, *", False),
        ("gzip; q=0.001", True),
        ("gzip;q=nonsense", False),
        ("identity", False),
    ],
)
def test_accept_encoding_is_read_with_its_weights(field: str, taken: bool) -> None:
    assert site.accepts_gzip(field) is taken


async def test_the_pages_need_nothing_but_this_node(client: Client, loaded: Assets) -> None:
    """No script, style or picture of ours names another host."""
    assert isinstance(client.session, ClientSession)
    for name, asset in loaded.files.items():
        if name.startswith("vendor/"):
            continue
        addresses = set(re.findall(rb"https?://[^\s\"'`)<>]+", asset.body))
        assert addresses <= {b"http://www.w3.org/2000/svg"}, name


@pytest.mark.parametrize(("page", "script"), [("portal", "portal"), ("lesson", "lesson"), ("board", "board")])
def test_a_page_preloads_exactly_the_modules_it_will_import(loaded: Assets, page: str, script: str) -> None:
    """One module asks for the next; without the preloads each step of that chain would be a round trip."""
    needed: set[str] = set()
    waiting = [f"{script}.js"]
    while waiting:
        body = loaded.files[f"js/{waiting.pop()}"].body.decode()
        found = set(re.findall(r"^import .* from '\./([\w.-]+)';$", body, re.MULTILINE)) - needed
        needed |= found
        waiting.extend(found)
    values = {"lesson": "", "path": "", "title": ""} if page == "lesson" else {}
    text = loaded.pages[page].render(**values).decode()
    assert set(re.findall(r'rel="modulepreload" href="/static/\w+/js/([\w.-]+)"', text)) == needed

"""CatalogView: what a node knows of the catalog, and what it refuses to know."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

import orjson
import pytest

from edge.catalog_view import BadDocumentError, Bounds, CatalogView, Term, read_pointer, read_shard

VERSION = "/catalog/version.json"


def entry(lesson: str, version: str = "v1") -> dict[str, object]:
    return {
        "id": lesson,
        "title": {"zh": f"第 {lesson} 课", "en": f"Lesson {lesson}"},
        "lesson": f"/catalog/{version}/lessons/{lesson}.json",
    }


class Catalog:
    """The published documents, and which of them were asked for."""

    def __init__(self) -> None:
        self.documents: dict[str, bytes] = {}
        self.asked: list[str] = []

    def publish(self, version: str, shards: Mapping[str, list[dict[str, object]]]) -> None:
        for path, entries in shards.items():
            self.documents.setdefault(path, orjson.dumps({"section": "special", "entries": entries}))
        sections = [{"id": "special", "shards": [{"path": path} for path in shards]}]
        self.documents[VERSION] = orjson.dumps({"version": version, "sections": sections})

    async def fetch(self, path: str) -> bytes | None:
        self.asked.append(path)
        return self.documents.get(path)


@pytest.fixture
def catalog() -> Catalog:
    return Catalog()


async def test_a_new_view_knows_nothing_and_says_so(catalog: Catalog) -> None:
    view = CatalogView(catalog.fetch)
    assert not await view.refresh()
    assert (view.loaded, view.count, view.knows("a"), view.lesson_path("a"), view.title("a")) == (
        False,
        0,
        False,
        None,
        None,
    )


async def test_a_published_lesson_is_known_with_its_path_and_titles(catalog: Catalog) -> None:
    catalog.publish("v1", {"/catalog/v1/shards/special-000.json": [entry("a"), entry("b")]})
    view = CatalogView(catalog.fetch)
    assert await view.refresh()
    assert (view.loaded, view.count, view.version) == (True, 2, "v1")
    assert view.knows("b")
    assert not view.knows("c")
    assert view.lesson_path("a") == "/catalog/v1/lessons/a.json"
    assert (view.title("a"), view.title("a", "en")) == ("第 a 课", "Lesson a")


async def test_an_unchanged_version_costs_one_read(catalog: Catalog) -> None:
    catalog.publish("v1", {"/catalog/v1/shards/special-000.json": [entry("a")]})
    view = CatalogView(catalog.fetch)
    await view.refresh()
    catalog.asked.clear()
    assert await view.refresh()
    assert catalog.asked == [VERSION]


async def test_a_new_version_reads_only_shards_it_has_not_seen(catalog: Catalog) -> None:
    old = "/catalog/v1/shards/special-000.json"
    new = "/catalog/v2/shards/special-001.json"
    catalog.publish("v1", {old: [entry("a")]})
    view = CatalogView(catalog.fetch)
    await view.refresh()
    catalog.asked.clear()
    catalog.publish("v2", {old: [entry("a")], new: [entry("b", "v2")]})
    assert await view.refresh()
    assert catalog.asked == [VERSION, new]
    assert view.knows("a")
    assert view.lesson_path("b") == "/catalog/v2/lessons/b.json"


async def test_a_lesson_taken_out_of_the_catalog_is_not_known_any_more(catalog: Catalog) -> None:
    catalog.publish("v1", {"/catalog/v1/shards/special-000.json": [entry("a"), entry("b")]})
    view = CatalogView(catalog.fetch)
    await view.refresh()
    catalog.publish("v2", {"/catalog/v2/shards/special-000.json": [entry("b")]})
    await view.refresh()
    assert not view.knows("a")
    assert view.knows("b")


@pytest.mark.parametrize(
    "trouble", ["gone", "not JSON", "no sections", "shard gone", "shard broken", "raises", "hangs"]
)
async def test_a_failed_refresh_keeps_the_last_good_catalog(catalog: Catalog, trouble: str) -> None:
    catalog.publish("v1", {"/catalog/v1/shards/special-000.json": [entry("a")]})

    async def fetch(path: str) -> bytes | None:
        if trouble == "raises" and catalog.asked:
            raise ConnectionResetError("away")
        if trouble == "hangs" and catalog.asked and path == VERSION and len(catalog.asked) >= 2:
            await asyncio.Event().wait()
        return await catalog.fetch(path)

    view = CatalogView(fetch, timeout_s=0.01) if trouble == "hangs" else CatalogView(catalog.fetch)
    await view.refresh()
    held = view.snapshot
    shard = "/catalog/v2/shards/special-000.json"
    catalog.publish("v2", {shard: [entry("a"), entry("b")]})
    match trouble:
        case "gone":
            del catalog.documents[VERSION]
        case "not JSON":
            catalog.documents[VERSION] = b"<html>"
        case "no sections":
            catalog.documents[VERSION] = b'{"version": "v2"}'
        case "shard gone":
            del catalog.documents[shard]
        case "shard broken":
            catalog.documents[shard] = orjson.dumps({"section": "special", "entries": [entry("b"), {"id": "../x"}]})
        case "raises":
            view._fetch = fetch
    assert not await view.refresh()
    assert view.snapshot is held
    assert view.knows("a")
    assert not view.knows("b")


async def test_the_same_trouble_is_logged_once(catalog: Catalog, caplog: pytest.LogCaptureFixture) -> None:
    catalog.publish("v1", {"/catalog/v1/shards/special-000.json": [entry("a")]})
    view = CatalogView(catalog.fetch)
    await view.refresh()
    catalog.documents[VERSION] = b"nonsense"
    with caplog.at_level(logging.WARNING, "edge.catalog_view"):
        for _ in range(3):
            await view.refresh()
    assert len(caplog.records) == 1
    assert VERSION in caplog.text


async def test_the_task_refreshes_again_and_again_and_ends_when_cancelled(catalog: Catalog) -> None:
    rounds: asyncio.Queue[float] = asyncio.Queue()
    go_on = asyncio.Semaphore(0)

    async def sleep(seconds: float) -> None:
        rounds.put_nowait(seconds)
        await go_on.acquire()

    view = CatalogView(catalog.fetch, period_s=2.0, sleep=sleep)
    task = asyncio.create_task(view.run())
    async with asyncio.timeout(5):
        assert await rounds.get() == 2.0
        assert not view.loaded
        catalog.publish("v1", {"/catalog/v1/shards/special-000.json": [entry("a")]})
        go_on.release()
        await rounds.get()
    assert view.knows("a")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/media/x",
        "/catalog/../secret.json",
        "/catalog/v1/shards/a/../../x.json",
        "http://else.where/a.json",
        7,
        None,
    ],
)
def test_a_version_document_that_points_elsewhere_is_refused(path: object) -> None:
    document = orjson.dumps({"version": "v1", "sections": [{"shards": [{"path": path}]}]})
    with pytest.raises(BadDocumentError, match="shard's path"):
        read_pointer(document, Bounds())


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"version": "a b"}', b'{"version": "v1", "sections": [1]}'])
def test_a_version_document_of_another_shape_is_refused(body: bytes) -> None:
    with pytest.raises(BadDocumentError, match=VERSION):
        read_pointer(body, Bounds())


@pytest.mark.parametrize("bad", [{"id": ""}, {"id": "a/b"}, {"lesson": "/etc/passwd"}, {"lesson": None}])
def test_a_shard_with_one_bad_entry_is_refused_whole(bad: dict[str, object]) -> None:
    body = orjson.dumps({"section": "special", "entries": [entry("a"), {**entry("b"), **bad}]})
    with pytest.raises(BadDocumentError, match="shard"):
        read_shard("/catalog/v1/shards/special-000.json", body, Bounds())


async def test_documents_and_catalogs_have_a_size_limit(catalog: Catalog) -> None:
    shard = "/catalog/v1/shards/special-000.json"
    catalog.publish("v1", {shard: [entry("a"), entry("b")]})
    assert not await CatalogView(catalog.fetch, bounds=Bounds(lessons=1)).refresh()
    assert not await CatalogView(catalog.fetch, bounds=Bounds(document_bytes=20)).refresh()
    assert not await CatalogView(catalog.fetch, bounds=Bounds(shards=0)).refresh()


async def test_a_missing_language_falls_back_to_the_other(catalog: Catalog) -> None:
    shard = "/catalog/v1/shards/special-000.json"
    catalog.publish("v1", {shard: [{**entry("a"), "title": {"en": "Only English"}}, {**entry("b"), "title": None}]})
    view = CatalogView(catalog.fetch)
    await view.refresh()
    assert (view.title("a"), view.title("a", "en")) == ("Only English", "Only English")
    assert view.title("b") == "b"


async def test_the_tags_of_a_lesson_are_known_and_one_of_a_strange_shape_is_none(catalog: Catalog) -> None:
    tagged = entry("a") | {
        "tags": {"grade": {"id": "grade-3", "zh": "三年级"}, "subject": "music", "stage": {"id": "/"}}
    }
    catalog.publish("v1", {"/catalog/v1/shards/s.json": [tagged, entry("b") | {"tags": 3}]})
    view = CatalogView(catalog.fetch)
    assert await view.refresh()
    lessons = view.snapshot.lessons
    assert lessons["a"].tags == {"grade": Term("grade-3", "三年级", "三年级")}
    assert lessons["b"].tags == {}
    assert view.snapshot.sections == {"special": Term("special", "special", "special")}

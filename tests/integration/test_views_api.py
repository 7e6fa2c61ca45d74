"""`POST /v1/views` and `GET /v1/counts/…` as clients use them, on a real journal and a real Valkey."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request

from edge.appkeys import BOARD, INTAKE
from edge.counters.board import Board
from edge.counters.event import MAX_BODY_BYTES
from edge.counters.sink import open_client
from edge.handlers import counts, views
from tests.support.counting import PROVINCE, Wall, Writer, event, writer
from tests.support.loopguard import nothing_blocks_the_loop  # noqa: F401
from tests.support.waiting import eventually

Client = TestClient[Request, Application]


def routed() -> Application:
    app = Application()
    app.router.add_post("/v1/views", views.post_views)
    app.router.add_options("/v1/views", views.options_views)
    app.router.add_get("/v1/counts/resources/{id}", counts.get_resource)
    app.router.add_get("/v1/counts/resources", counts.get_resources)
    app.router.add_get("/v1/counts/summary", counts.get_summary)
    app.router.add_get("/v1/counts/top", counts.get_top)
    app.router.add_get("/v1/counts/{rest:.*}", counts.not_counted)
    return app


@pytest.fixture
async def one(tmp_path: Path, counters_url: str) -> AsyncIterator[Writer]:
    async with writer(tmp_path, counters_url) as made:
        yield made


@pytest.fixture
async def client(one: Writer, counters_url: str) -> AsyncIterator[Client]:
    app = routed()
    app[INTAKE] = one.intake
    app[BOARD] = Board(open_client(counters_url, repeats=1), (PROVINCE,), wall=Wall())
    async with TestClient(TestServer(app)) as made:
        yield made
    await app[BOARD].close()


async def read(client: Client, path: str, status: int = 200) -> Any:
    async with client.get(path) as response:
        assert response.status == status, await response.text()
        expected = "application/json" if status == 200 else "application/problem+json"
        assert response.content_type == expected
        assert response.headers["Cache-Control"] == "no-store"
        return await response.json(content_type=None)


async def test_a_view_is_on_the_page_within_a_second(client: Client) -> None:
    async with client.post("/v1/views", json=event(viewer="me")) as response:
        assert response.status == 202
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert await response.json() == {"accepted": 1, "rejected": []}

    async def counted() -> bool:
        return bool((await read(client, "/v1/counts/resources/lesson-1"))["views"] == 1)

    await eventually(counted, within_s=1.0)
    document = await read(client, "/v1/counts/resources/lesson-1")
    as_of, through = (datetime.fromisoformat(document.pop(name)) for name in ("as_of", "complete_through"))
    assert as_of.utcoffset() == through.utcoffset() == timedelta(hours=8)
    assert document == {
        "id": "lesson-1",
        "views": 1,
        "plays": 0,
        "watch_seconds": 0,
        "uniques": 1,
        "today": {"views": 1, "plays": 0, "watch_seconds": 0, "uniques": 1},
    }

    async def complete() -> bool:
        later = await read(client, "/v1/counts/resources/lesson-1")
        return datetime.fromisoformat(later["complete_through"]) > as_of

    await eventually(complete)


async def test_the_summary_has_every_field_of_the_contract_and_they_agree(client: Client) -> None:
    empty = await read(client, "/v1/counts/summary")
    assert (empty["views"], empty["views_daily_average"], empty["provinces"], empty["countries"]) == (0, 0, 0, 0)
    assert empty["views_daily_peak"] == {"date": None, "views": 0}
    wall = Wall()
    yesterday = int((wall() - 23 * 3600) * 1000)
    events = [event(at_ms=yesterday), *(event(f"lesson-{n}", viewer=f"v{n}") for n in range(3)), event(kind="visit")]
    async with client.post("/v1/views", json={"events": events}) as response:
        assert (await response.json())["accepted"] == 5

    async def counted() -> bool:
        return bool((await read(client, "/v1/counts/summary"))["views"] == 4)

    await eventually(counted)
    found = await read(client, "/v1/counts/summary")
    today = datetime.fromisoformat(found["as_of"]).date()
    days = (today - datetime.fromtimestamp(yesterday / 1000, datetime.fromisoformat(found["as_of"]).tzinfo).date()).days
    on_peak = 3 if days else 4
    assert {name: found[name] for name in found if name not in ("as_of", "complete_through")} == {
        "views": 4,
        "views_today": on_peak,
        "views_daily_average": 4 // (days + 1),
        "views_daily_peak": {"date": today.isoformat(), "views": on_peak},
        "plays": 0,
        "watch_seconds": 0,
        "visits": 1,
        "uniques": 3,
        "resources": 3,
        "provinces": 1,
        "countries": 1,
    }


async def test_many_resources_come_in_the_order_asked(client: Client, one: Writer) -> None:
    await one.accept(event("b"), event("b"), event("a"))

    async def order() -> list[tuple[str, int]]:
        answer = await read(client, "/v1/counts/resources?ids=b,never,a,b")
        return [(shown["id"], shown["views"]) for shown in answer["resources"]]

    async def counted() -> bool:
        return await order() == [("b", 2), ("never", 0), ("a", 1), ("b", 2)]

    await eventually(counted)
    top = await read(client, "/v1/counts/top?dimension=resource&metric=views&limit=1")
    assert top["top"] == [{"id": "b", "views": 2}]


async def test_good_events_are_taken_and_bad_ones_named(client: Client) -> None:
    async with client.post("/v1/views", json={"events": [event(), event(kind="stare"), 3]}) as response:
        answer = await response.json()
        assert response.status == 202
        assert answer["accepted"] == 1
        assert [(one["index"], bool(one["reason"])) for one in answer["rejected"]] == [(1, True), (2, True)]


@pytest.mark.parametrize("kind", ["text/plain;charset=UTF-8", "application/json"])
async def test_a_beacons_content_types_are_taken(client: Client, kind: str) -> None:
    async with client.post(
        "/v1/views", data=b'{"events": []}', headers={"Content-Type": kind, "Origin": "https://school.example"}
    ) as response:
        assert response.status == 202
        assert response.headers["Access-Control-Allow-Origin"] == "https://school.example"


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"{}", "application/xml", 415),
        (b"{}", "application/octet-stream", 415),
        (b" " * (MAX_BODY_BYTES + 1), "application/json", 413),
    ],
)
async def test_a_wrong_body_gets_its_status_and_a_problem_document(
    client: Client, body: bytes, kind: str, status: int
) -> None:
    async with client.post("/v1/views", data=body, headers={"Content-Type": kind}) as response:
        assert response.status == status
        assert response.content_type == "application/problem+json"
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert (await response.json(content_type=None))["detail"]


async def test_too_many_events_and_a_body_of_unknown_length_are_too_large(client: Client) -> None:
    async with client.post("/v1/views", json={"events": [event()] * 501}) as response:
        assert response.status == 413

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(300):
            yield b" " * 1024

    async with client.post("/v1/views", data=endless(), headers={"Content-Type": "application/json"}) as response:
        assert response.status == 413
    async with client.post("/v1/views", data=FormData({"id": "1"})) as response:
        assert response.status == 415


async def test_a_browser_may_post_from_another_origin(client: Client) -> None:
    asked = {"Origin": "https://school.example", "Access-Control-Request-Method": "POST"}
    async with client.options("/v1/views", headers=asked) as response:
        assert response.status == 204
        assert response.headers["Access-Control-Allow-Origin"] == "https://school.example"
        assert response.headers["Access-Control-Allow-Credentials"] == "true"  # a beacon has them
        assert "POST" in response.headers["Access-Control-Allow-Methods"]
        assert response.headers["Access-Control-Allow-Headers"] == "Content-Type"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/counts/resources/a%2Fb", 400),
        ("/v1/counts/resources/" + "x" * 65, 400),
        ("/v1/counts/resources?ids=", 400),
        ("/v1/counts/resources", 400),
        ("/v1/counts/resources?ids=a,b%20c", 400),
        ("/v1/counts/resources?ids=" + ",".join(["a"] * 201), 400),
        ("/v1/counts/top?dimension=moon", 400),
        ("/v1/counts/top?metric=smiles", 400),
        ("/v1/counts/top?limit=0", 400),
        ("/v1/counts/nothing", 404),
    ],
)
async def test_a_wrong_question_gets_a_problem_document(client: Client, path: str, status: int) -> None:
    assert (await read(client, path, status))["status"] == status


async def test_a_journal_that_cannot_promise_answers_503(client: Client, one: Writer) -> None:
    await one.journal.close()
    async with client.post("/v1/views", json=event()) as response:
        assert response.status == 503
        assert response.headers["Retry-After"]
        assert response.content_type == "application/problem+json"


@pytest.mark.parametrize("back_s", [90, 3600])
@pytest.mark.parametrize("renewed", [False, True], ids=["same worker", "its successor"])
async def test_an_id_sent_again_right_after_the_clock_was_set_back_counts_once(
    tmp_path: Path, counters_url: str, back_s: float, renewed: bool
) -> None:
    wall, again = Wall(back_s), event("again")
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(writer(tmp_path, counters_url, wall=wall))
        await post(stack, one, counters_url, again)
        wall.ahead_s = 0.0
        if renewed:
            await stack.aclose()
            one = await stack.enter_async_context(writer(tmp_path, counters_url, wall=wall))
        client = await post(stack, one, counters_url, again, event("another"))
        async with client.post("/v1/views", json={"events": [again, event("another")]}) as response:
            assert (await response.json())["accepted"] == 2
        await one.settled()

        async def counted() -> bool:
            answer = await read(client, "/v1/counts/resources?ids=again,another")
            return [shown["views"] for shown in answer["resources"]] == [1, 2]

        await eventually(counted)


async def post(stack: AsyncExitStack, one: Writer, url: str, *events: dict[str, object]) -> Client:
    """Have all of them accepted and counted through a door of the writer's own, which stays open."""
    app = routed()
    app[INTAKE] = one.intake
    app[BOARD] = Board(open_client(url, repeats=1), (PROVINCE,), wall=Wall())
    stack.push_async_callback(app[BOARD].close)
    client = await stack.enter_async_context(TestClient(TestServer(app)))
    async with client.post("/v1/views", json={"events": events}) as response:
        assert (await response.json())["accepted"] == len(events)
    await one.settled()
    return client


async def test_without_redis_views_are_taken_and_counts_answer_503_soon(tmp_path: Path) -> None:
    nowhere = "redis://127.0.0.1:1"
    app = routed()
    app[BOARD] = Board(open_client(nowhere), (PROVINCE,), wall=Wall())
    async with writer(tmp_path, nowhere) as made:
        app[INTAKE] = made.intake
        async with TestClient(TestServer(app)) as client:
            async with client.post("/v1/views", json=event()) as response:
                assert response.status == 202
            assert (await read(client, "/v1/counts/summary", 503))["detail"]
    await app[BOARD].close()


async def test_a_node_that_does_not_count_says_so() -> None:
    async with TestClient(TestServer(routed())) as client:
        async with client.post("/v1/views", json=event()) as response:
            assert response.status == 503
        assert "without a Redis" in (await read(client, "/v1/counts/summary", 503))["detail"]

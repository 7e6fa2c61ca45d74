"""What a node of two workers owes its origin and its clients when many ask at once, and when the origin fails."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import pytest
import pytest_asyncio

from edge.assembly.origins import FAILURES, PROBE_S
from tests.support.edges import Edge, start_edge
from tests.support.origin import Gate, Script, ScriptedOrigin
from tests.support.visitor import Answer, Visitor, visiting
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

WORKERS = 2
BODY = hashlib.shake_256(b"coalescing").digest(600_000)
FIRST = 64 * 1024
FRESH = {"Cache-Control": "public, max-age=600"}
UNSHARED = {"Cache-Control": "no-store"}
STALE_FOR_S = 6000


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def origin() -> AsyncIterator[ScriptedOrigin]:
    async with ScriptedOrigin() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def node(origin: ScriptedOrigin, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Edge]:
    flags = {"origin": origin.url, "workers": WORKERS, "negative_ttl_s": 30}
    running = await start_edge(tmp_path_factory.mktemp("node"), flags, {})
    try:
        await eventually(lambda: running.logs().count("live workers of this node: 0, 1") >= WORKERS)
        yield running
    finally:
        await running.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def visitor(node: Edge, origin: ScriptedOrigin) -> AsyncIterator[Visitor]:
    """Of a node whose origin is well, and known to be."""
    origin.objects["/well"] = Script(b"well", headers=dict(UNSHARED))
    async with visiting(node.url) as visitor:
        await eventually(lambda: is_asked_by_every_worker(visitor))
        yield visitor


async def is_asked_by_every_worker(visitor: Visitor) -> bool:
    """Whether no worker leaves the origin alone: with a connection each, so many requests reach both."""
    return {answer.status for answer in await visitor.ask_often(16, "/well")} == {200}


def has_asked(origin: ScriptedOrigin, path: str, times: int) -> bool:
    """Whether the origin was asked so often. Raises AssertionError with the number if not."""
    assert origin.count(path) == times
    return True


def all_right(answers: Iterable[Answer], body: bytes = BODY) -> bool:
    wanted = hashlib.sha256(body).hexdigest()
    return all((answer.status, answer.whole, answer.digest) == (200, True, wanted) for answer in answers)


# -- many at once ----------------------------------------------------------------------------------------------------


async def test_a_thousand_cold_requests_make_one_origin_request_and_no_error(
    visitor: Visitor, origin: ScriptedOrigin
) -> None:
    hold = asyncio.Event()
    origin.objects["/cold"] = Script(BODY, etag='"1"', headers=FRESH, hold=hold)
    asking = asyncio.create_task(visitor.ask_often(1000, "/cold"))
    await eventually(lambda: origin.count("/cold"), within_s=60)  # the thousand are opened in this loop
    hold.set()
    assert all_right(await asking)
    assert origin.count("/cold") == 1


async def test_followers_on_every_worker_get_the_first_bytes_while_the_origin_holds_the_rest(
    visitor: Visitor, origin: ScriptedOrigin
) -> None:
    gate, sent = Gate(), origin.sent_bytes
    gate.open(to=FIRST)
    origin.objects["/held"] = Script(BODY, etag='"1"', headers=FRESH, gate=gate)
    async with AsyncExitStack() as stack:
        readers = [await stack.enter_async_context(visitor.session.get(f"{visitor.url}/held")) for _ in range(20)]
        for reader in readers:
            assert await reader.content.readexactly(FIRST) == BODY[:FIRST]
        assert origin.sent_bytes - sent == FIRST
        gate.open()
        for reader in readers:
            assert await reader.read() == BODY[FIRST:]
    assert origin.count("/held") == 1


async def test_killing_the_leaders_client_in_the_body_changes_nothing_for_fifty_followers(
    visitor: Visitor, origin: ScriptedOrigin
) -> None:
    gate = Gate()
    gate.open(to=FIRST)
    origin.objects["/led"] = Script(BODY, etag='"1"', headers=FRESH, gate=gate)
    leader = await visitor.session.get(f"{visitor.url}/led")
    await leader.content.readexactly(1000)
    async with AsyncExitStack() as stack:
        followers = [await stack.enter_async_context(visitor.session.get(f"{visitor.url}/led")) for _ in range(50)]
        abort(leader)
        gate.open()
        for follower in followers:
            assert await follower.read() == BODY
    assert all_right([await visitor.ask("/led")])
    assert origin.count("/led") == 1


def abort(response: aiohttp.ClientResponse) -> None:
    """As when the client's machine is gone: no more words, whatever has been received or not."""
    assert response.connection is not None
    assert response.connection.transport is not None
    response.connection.transport.abort()


async def test_a_storm_on_a_missing_url_makes_one_origin_request_in_its_lifetime(
    visitor: Visitor, origin: ScriptedOrigin
) -> None:
    for _ in range(3):
        assert {answer.status for answer in await visitor.ask_often(200, "/none")} == {404}
    assert origin.count("/none") == 1


async def test_a_missing_url_is_asked_for_again_when_its_lifetime_is_over(
    visitor: Visitor, origin: ScriptedOrigin
) -> None:
    origin.objects["/soon"] = Script(b"not yet", status=404, headers={"Cache-Control": "max-age=1"})
    assert {answer.status for answer in await visitor.ask_often(20, "/soon")} == {404}
    asked = origin.count("/soon")
    origin.objects["/soon"] = Script(BODY, etag='"1"', headers=FRESH)

    async def is_there() -> bool:
        return all_right(await visitor.ask_often(20, "/soon"))

    await eventually(is_there)
    assert origin.count("/soon") == asked + 1


async def test_of_an_uncacheable_url_no_request_waits_for_another_ones_body(
    visitor: Visitor, origin: ScriptedOrigin
) -> None:
    gate = Gate()
    origin.objects["/mine"] = Script(BODY, headers=UNSHARED, gate=gate)
    asking = asyncio.create_task(visitor.ask_often(20, "/mine"))
    await eventually(lambda: has_asked(origin, "/mine", 20))
    gate.open()
    assert all_right(await asking)


async def test_of_a_url_known_to_be_uncacheable_no_request_waits_for_another_ones_head(
    visitor: Visitor, origin: ScriptedOrigin
) -> None:
    origin.objects["/own"] = Script(BODY, headers=UNSHARED)
    assert all_right(await visitor.ask_often(40, "/own"))

    async def all_ask_while_none_is_answered() -> bool:
        asked, hold = origin.count("/own"), asyncio.Event()
        origin.objects["/own"].hold = hold
        asking = asyncio.create_task(visitor.ask_often(20, "/own"))
        try:
            return await eventually(lambda: has_asked(origin, "/own", asked + 20), 3.0)
        finally:
            hold.set()
            assert all_right(await asking)

    # The workers accept from one socket, and one may have taken all so far: a turn teaches the other.
    await eventually(all_ask_while_none_is_answered, 30.0)


# -- an origin that fails --------------------------------------------------------------------------------------------


async def test_while_the_origin_is_down_everything_in_its_window_is_served_with_its_age_and_then_revalidated_once(
    visitor: Visitor, origin: ScriptedOrigin
) -> None:
    paths = [f"/stale/{number}" for number in range(20)]
    bodies = {path: path.encode() * 1000 for path in paths}
    control = f"max-age=10, stale-if-error={STALE_FOR_S}"
    before = time.monotonic()
    for number, path in enumerate(paths):
        headers = {"Cache-Control": control, "Age": str(100 + 100 * number)}
        origin.objects[path] = Script(bodies[path], etag='"1"', headers=headers)
        await visitor.ask(path)
    origin.objects["/beyond"] = Script(BODY, headers={"Cache-Control": control, "Age": str(STALE_FOR_S + 10)})
    await visitor.ask("/beyond")
    async with down(origin):
        for number, path in enumerate(paths):
            answers = await visitor.ask_often(4, path)
            assert all_right(answers, bodies[path])
            passed = time.monotonic() - before
            assert all(0 <= answer.age_s - (100 + 100 * number) <= passed + 1 for answer in answers)
        assert (await visitor.ask("/beyond")).status in (502, 503)
        origin.seen.clear()
        for path in paths:
            origin.objects[path].headers = FRESH
    await eventually(lambda: all_are_fresh(visitor, bodies))
    assert {path: origin.count(path) for path in paths} == dict.fromkeys(paths, 1)
    assert {seen.headers.get("if-none-match") for seen in origin.seen if seen.path in paths} == {'"1"'}


@asynccontextmanager
async def down(origin: ScriptedOrigin) -> AsyncIterator[None]:
    """Nobody listens at its address, until the block is left."""
    await origin.stop()
    try:
        yield
    finally:
        await origin.start()


async def all_are_fresh(visitor: Visitor, bodies: dict[str, bytes]) -> bool:
    """Whether every worker has them fresh; each is asked for by many at once."""
    fresh = True
    for path, body in bodies.items():
        answers = await visitor.ask_often(8, path)
        assert all_right(answers, body)
        fresh = fresh and all(answer.age_s < 100 for answer in answers)
    return fresh


async def test_an_origin_that_answers_only_5xx_is_asked_at_the_probe_rate_and_used_again_when_it_is_well(
    visitor: Visitor, origin: ScriptedOrigin
) -> None:
    for number in range(300):
        origin.objects[f"/ill/{number}"] = Script(b"ill", status=500, headers={})
    origin.seen.clear()
    began = time.monotonic()
    for start in range(0, 300, 20):
        answers = await asyncio.gather(*(visitor.ask(f"/ill/{number}") for number in range(start, start + 20)))
        assert {answer.status for answer in answers} <= {500, 503}
        assert all("Retry-After" in answer.headers for answer in answers if answer.status == 503)
    probes = (time.monotonic() - began) / PROBE_S + 1
    first = max(FAILURES, 20)  # those that were under way together before the first failure was known
    assert len(origin.seen) <= first + WORKERS * (FAILURES + probes)
    origin.objects["/ill/0"] = Script(BODY, headers=FRESH)

    async def is_well() -> bool:
        return all_right([await visitor.ask("/ill/0")])

    await eventually(is_well)

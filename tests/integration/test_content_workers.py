"""Several workers of one node: one origin request per key, without Redis, whatever worker dies meanwhile."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from edge.cache.fetch import Site
from edge.cache.limits import Limits
from edge.cache.model import CacheKey, Entry, Tier
from edge.cache.siblings import Siblings, clear_slot, socket_name
from edge.clock import SystemClock
from origin.http import HttpReader
from tests.support.loopguard import nothing_blocks_the_loop  # noqa: F401
from tests.support.origin import Gate, Script, ScriptedOrigin
from tests.support.ticking import ManualClock
from tests.support.waiting import eventually
from tests.support.workers import Worker, sibling_reader, worker

SEGMENT = hashlib.shake_256(b"segment").digest(700_000)
LIMITS = Limits(max_object_bytes=1_000_000, fill_bytes=8_000_000)
OWNED = "/media/owned"


@pytest.fixture
async def origin() -> AsyncIterator[ScriptedOrigin]:
    async with ScriptedOrigin() as running:
        yield running


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
async def workers(reader: HttpReader, run_dir: Path) -> AsyncIterator[list[Worker]]:
    async with AsyncExitStack() as stack:
        running = [
            await stack.enter_async_context(worker(reader, run_dir=run_dir, slot=slot, limits=LIMITS))
            for slot in range(3)
        ]
        await all_see(running, [0, 1, 2])
        yield running


async def all_see(workers: list[Worker], slots: list[int]) -> None:
    await eventually(lambda: all(one.siblings is not None and one.siblings.live == slots for one in workers))


def owned_by(workers: list[Worker], slot: int, number: int = 0) -> str:
    """A path whose owner is that slot, judged by another worker."""
    asker = workers[(slot + 1) % len(workers)].siblings
    assert asker is not None
    paths = (f"/media/lesson/{number:05d}.m4s" for number in range(number * 1000, number * 1000 + 1000))
    return next(path for path in paths if asker.owner(CacheKey(path)) == slot)


async def test_two_hundred_cold_requests_over_all_workers_make_one_origin_request(
    workers: list[Worker], origin: ScriptedOrigin
) -> None:
    path = owned_by(workers, 1)
    hold = asyncio.Event()
    origin.objects[path] = Script(SEGMENT, etag='"1"', hold=hold).with_digest()
    asking = [asyncio.create_task(workers[number % 3].body(path)) for number in range(200)]
    await origin.seen_at_least(1)
    hold.set()
    assert all(body == SEGMENT for body in await asyncio.gather(*asking))
    assert origin.count(path) == 1
    assert [await one.body(path) for one in workers] == [SEGMENT] * 3
    assert [one.outcomes[-1].tier for one in workers] == [Tier.MEMORY] * 3
    assert origin.count(path) == 1


async def test_headers_and_age_are_the_same_through_a_sibling(workers: list[Worker], origin: ScriptedOrigin) -> None:
    path = owned_by(workers, 0)
    headers = {
        "Cache-Control": "public, max-age=600, stale-while-revalidate=30",
        "Content-Type": "video/mp4",
        "Age": "100",
        "X-Title": "专题教育",
        "Surrogate-Key": "lesson-1 section-special",
        "Last-Modified": "Sun, 06 Nov 1994 08:49:37 GMT",
    }
    origin.objects[path] = Script(SEGMENT, etag='"1"', headers=headers).with_digest()
    shown = []
    for one in workers:
        async with one.get(path) as response:
            assert await response.read() == SEGMENT
            assert 100 <= int(response.headers["Age"]) <= 105
            ours = ("Age", "Cache-Status", "Server")
            shown.append({name: value for name, value in response.headers.items() if name not in ours})
    assert shown[0] == shown[1] == shown[2]
    stored = [one.memory.get(CacheKey(path)) for one in workers]
    heads = [entry.head for entry in stored if isinstance(entry, Entry)]
    assert {head.field("surrogate-key") for head in heads} == {"lesson-1 section-special"}
    assert len({head.freshness for head in heads}) == 1


async def test_a_sibling_streams_the_body_as_it_grows(workers: list[Worker], origin: ScriptedOrigin) -> None:
    path, gate = owned_by(workers, 1), Gate()
    origin.objects[path] = Script(SEGMENT, etag='"1"', gate=gate)
    gate.open(to=100_000)
    async with workers[0].get(path) as response, workers[1].get(path) as other:
        assert await response.content.readexactly(100_000) == SEGMENT[:100_000]
        assert await other.content.readexactly(100_000) == SEGMENT[:100_000]
        gate.open()
        assert await response.read() == await other.read() == SEGMENT[100_000:]
    assert origin.count(path) == 1


async def test_a_sibling_that_is_gone_is_left_out(workers: list[Worker], origin: ScriptedOrigin, run_dir: Path) -> None:
    path = owned_by(workers, 1)
    origin.objects[path] = Script(SEGMENT, etag='"1"')
    await workers[1].stop()
    socket = run_dir / "worker-1.sock"
    socket.touch()  # what kill -9 leaves behind: a file nobody listens on
    for one in (workers[0], workers[2]):
        assert one.siblings is not None
        await one.siblings.rescan()
        assert one.siblings.live == [0, 1, 2]
    assert await workers[0].body(path) == SEGMENT
    assert workers[0].siblings is not None
    assert workers[0].siblings.live == [0, 2]
    assert await workers[2].body(path) == SEGMENT


async def test_a_sibling_that_dies_in_the_body_is_replaced_by_the_origin(
    workers: list[Worker], origin: ScriptedOrigin
) -> None:
    path, gate = owned_by(workers, 1), Gate()
    origin.objects[path] = Script(SEGMENT, etag='"1"', gate=gate).with_digest()
    gate.open(to=100_000)
    async with workers[0].get(path) as response:
        await response.content.readexactly(100_000)
        origin.objects[path] = Script(SEGMENT, etag='"1"').with_digest()
        await workers[1].stop()
        assert await response.read() == SEGMENT[100_000:]
    assert origin.seen[-1].headers["range"].startswith("bytes=1000")


async def test_workers_that_take_each_other_for_the_owner_do_not_wait_in_a_ring(
    reader: HttpReader, origin: ScriptedOrigin, run_dir: Path
) -> None:
    path = "/media/lesson/a"
    origin.objects[path] = Script(SEGMENT, etag='"1"')
    async with AsyncExitStack() as stack:
        pair = [
            await stack.enter_async_context(worker(reader, run_dir=run_dir, slot=slot, limits=LIMITS))
            for slot in (0, 1)
        ]
        await all_see(pair, [0, 1])
        for asked, one in enumerate(pair):
            assert one.siblings is not None
            one.siblings.owner = lambda _key, other=1 - asked: other  # type: ignore[method-assign,misc]
        bodies = await asyncio.gather(*(one.body(path) for one in pair * 20))
        assert all(body == SEGMENT for body in bodies)
        assert origin.count(path) <= 2


async def test_errors_of_the_origin_come_through_a_sibling_once(workers: list[Worker], origin: ScriptedOrigin) -> None:
    path = owned_by(workers, 1)
    origin.objects[path] = Script(b"no", status=500)
    async with workers[0].get(path) as response:
        assert (response.status, response.content_type) == (502, "application/problem+json")
        assert "destination_unavailable" in response.headers["Proxy-Status"]
    assert origin.count(path) == 1
    missing = owned_by(workers, 1, number=1)
    for one in workers:
        async with one.get(missing) as response:
            assert response.status == 404
    assert origin.count(missing) == 1


async def test_large_objects_pass_each_worker_with_ranges(workers: list[Worker], origin: ScriptedOrigin) -> None:
    path = owned_by(workers, 1)
    origin.objects[path] = Script(SEGMENT * 2, etag='"1"')
    for one in workers:
        async with one.get(path, range="bytes=5-9") as response:
            assert (response.status, await response.read()) == (206, SEGMENT[5:10])


async def test_a_revalidation_is_shared_and_moves_no_bytes(workers: list[Worker], origin: ScriptedOrigin) -> None:
    path = owned_by(workers, 1)
    origin.objects[path] = Script(SEGMENT, etag='"1"', headers={"Cache-Control": "max-age=0"})
    assert [await one.body(path) for one in workers] == [SEGMENT] * 3
    sent = origin.sent_bytes
    origin.objects[path] = Script(SEGMENT, etag='"1"', headers={"Cache-Control": "max-age=60"})
    before = origin.count(path)
    assert [await one.body(path) for one in workers] == [SEGMENT] * 3
    assert origin.sent_bytes == sent
    assert origin.count(path) == before + 1


async def test_the_owner_of_a_key_is_the_same_for_all_and_keys_are_spread(run_dir: Path) -> None:
    for slot in range(4):
        (run_dir / f"worker-{slot}.sock").touch()
    (run_dir / "other.sock").touch()
    views = [Siblings(run_dir=run_dir, own_slot=slot, connect=sibling_reader, clock=SystemClock()) for slot in range(4)]
    for view in views:
        await view.rescan()
    shares = [0, 0, 0, 0]
    for number in range(400):
        key = CacheKey(f"/media/{number}")
        owners = {slot if view.owner(key) is None else view.owner(key) for slot, view in enumerate(views)}
        assert len(owners) == 1
        shares[owners.pop() or 0] += 1
    assert min(shares) > 60


async def test_a_successor_on_the_same_slot_is_used_again(run_dir: Path) -> None:
    socket = run_dir / "worker-1.sock"
    socket.touch()
    view = Siblings(run_dir=run_dir, own_slot=0, connect=sibling_reader, clock=SystemClock(), retry_s=3600)
    await view.rescan()
    view.failed(1)
    await view.rescan()
    assert view.live == [0]
    successor = run_dir / "new"
    successor.touch()
    successor.rename(socket)
    await view.rescan()
    assert view.live == [0, 1]


async def test_a_worker_of_other_settings_owns_no_key_but_hears_of_purges(run_dir: Path) -> None:
    for slot, fingerprint in ((1, "aa"), (2, "bb"), (3, "")):
        (run_dir / socket_name(slot, fingerprint)).touch()
    view = Siblings(run_dir=run_dir, own_slot=0, fingerprint="aa", connect=sibling_reader, clock=SystemClock())
    await view.rescan()
    assert view.live == [0, 1]
    assert {view.owner(CacheKey(f"/media/{number}")) for number in range(100)} == {None, 1}
    assert await view.present() == [1, 2, 3]
    assert view.slots == [0, 1, 2, 3]


def test_the_socket_of_one_who_was_killed_in_a_slot_goes_and_no_other(run_dir: Path) -> None:
    for slot, fingerprint in ((1, "aa"), (1, "bb"), (1, ""), (10, "aa"), (2, "aa")):
        (run_dir / socket_name(slot, fingerprint)).touch()
    clear_slot(run_dir, 1)
    assert {path.name for path in run_dir.iterdir()} == {socket_name(10, "aa"), socket_name(2, "aa")}


async def test_nonsense_from_a_sibling_is_answered_from_the_origin(
    reader: HttpReader, origin: ScriptedOrigin, run_dir: Path
) -> None:
    async def nonsense(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nx-edge-entry: {}\r\n\r\nabc")
        writer.close()

    server = await asyncio.start_unix_server(nonsense, run_dir / "worker-1.sock")
    async with server, worker(reader, run_dir=run_dir, slot=0, limits=LIMITS) as edge:
        for number in range(8):
            origin.objects[f"/media/{number}"] = Script(SEGMENT)
            assert await edge.body(f"/media/{number}") == SEGMENT


async def test_a_body_from_a_sibling_that_listens_no_more_comes_to_its_end(
    workers: list[Worker], origin: ScriptedOrigin, run_dir: Path
) -> None:
    path, gate, siblings = owned_by(workers, 1), Gate(), workers[0].siblings
    assert siblings is not None
    origin.objects[path] = Script(SEGMENT, chunked=True, gate=gate)  # with nothing by which to go on elsewhere
    gate.open(100_000)
    async with workers[0].get(path) as response:
        assert await response.content.readexactly(50_000) == SEGMENT[:50_000]
        (run_dir / "worker-1.sock").unlink()
        await eventually(lambda: siblings.live == [0, 2])
        gate.open()
        assert await response.read() == SEGMENT[50_000:]


async def test_two_bodies_with_one_weak_tag_are_not_taken_for_each_other(
    workers: list[Worker], origin: ScriptedOrigin
) -> None:
    path = owned_by(workers, 1)
    origin.objects[path] = Script(b"short", etag='W/"1"', headers={"Cache-Control": "max-age=0"})
    assert await workers[0].body(path) == b"short"
    workers[1].memory.clear()
    origin.objects[path] = Script(b"rather longer", etag='W/"1"', headers={"Cache-Control": "max-age=60"})
    assert await workers[1].body(path) == b"rather longer"
    assert await workers[0].body(path) == b"rather longer"


@asynccontextmanager
async def proxies(reader: HttpReader, run_dir: Path, clock: ManualClock) -> AsyncIterator[tuple[Worker, Worker]]:
    """Two workers in front of an HTTP origin; the second owns `/media/owned`."""
    async with AsyncExitStack() as stack:
        site = Site(forwards=True, via="edge-1")
        both = [
            await stack.enter_async_context(worker(reader, run_dir=run_dir, slot=slot, site=site, clock=clock))
            for slot in range(2)
        ]
        await all_see(both, [0, 1])
        assert both[0].siblings is not None
        yield (both[0], both[1]) if both[0].siblings.owner(CacheKey(OWNED)) is not None else (both[1], both[0])


async def status_of(one: Worker, path: str) -> list[str]:
    async with one.get(path) as response:
        await response.read()
        return response.headers["Cache-Status"].split("; ")[1:]


async def test_what_nobody_stores_is_not_called_stored_by_the_worker_that_passes_it_on(
    reader: HttpReader, origin: ScriptedOrigin, run_dir: Path, clock: ManualClock
) -> None:
    origin.objects[OWNED] = Script(b"broken", status=500, headers={}, ranges=False)
    async with proxies(reader, run_dir, clock) as (other, owner):
        assert await status_of(owner, OWNED) == ["fwd=uri-miss", "fwd-status=500"]
        assert await status_of(other, OWNED) == ["fwd=uri-miss", "fwd-status=500", "detail=sibling"]


async def test_a_stale_stand_in_says_what_the_origin_answered_through_a_sibling_too(
    reader: HttpReader, origin: ScriptedOrigin, run_dir: Path, clock: ManualClock
) -> None:
    origin.objects[OWNED] = Script(b"good", etag='"1"', headers={"Cache-Control": "max-age=1, stale-if-error=600"})
    async with proxies(reader, run_dir, clock) as (other, owner):
        assert await owner.body(OWNED) == b"good"
        origin.objects[OWNED] = Script(b"broken", status=503, headers={}, ranges=False)
        clock.advance(11)
        for one, detail in ((owner, "destination_unavailable"), (other, "sibling")):
            fwd, status, ttl, told = await status_of(one, OWNED)
            assert (fwd, status, told) == ("fwd=stale", "fwd-status=503", f"detail={detail}")
            assert ttl in ("ttl=-10", "ttl=-11", "ttl=-12")  # its Date has whole seconds

"""What happens to a response while somebody waits for it: purges, other variants, other users, clients that leave."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edge.cache.fetch import Site
from edge.cache.limits import Limits
from edge.cache.model import CacheKey, Entry, Stored
from edge.cache.purge import Kind, PurgeRecord, PurgeTable, Scope
from edge.handlers import content
from origin.http import HttpReader
from tests.support.loopguard import nothing_blocks_the_loop  # noqa: F401
from tests.support.origin import Gate, Script, ScriptedOrigin
from tests.support.ticking import ManualClock
from tests.support.waiting import eventually
from tests.support.workers import Worker, worker

PATH = "/media/lesson/page"
BLOCK = 64 * 1024
FILM = hashlib.shake_256(b"film").digest(20 * BLOCK + 1234)
LIMITS = Limits(max_object_bytes=4 * BLOCK, block_bytes=BLOCK, fill_bytes=64 * BLOCK, max_passes=2, pass_wait_s=0.5)
PATIENCE_S = 0.2
PROXY = Site(forwards=True, via="edge-1")


@dataclass(slots=True)
class SlowShelf:
    """A tier that answers when it is told to."""

    values: dict[CacheKey, Stored] = field(default_factory=dict)
    holds: dict[CacheKey, asyncio.Event] = field(default_factory=dict)
    removal: asyncio.Event | None = None
    asked: list[CacheKey] = field(default_factory=list)
    healthy: bool = True

    async def get(self, key: CacheKey) -> Stored | None:
        value = self.values.get(key)
        self.asked.append(key)
        if key in self.holds:
            await self.holds[key].wait()
        return value

    async def lacks_any(self, keys: Sequence[CacheKey]) -> bool:
        return not self.values.keys() >= set(keys)

    def put(self, key: CacheKey, value: Stored) -> bool:
        self.values[key] = value
        return True

    async def remove(self, key: CacheKey) -> None:
        self.values.pop(key, None)
        if self.removal is not None:
            await self.removal.wait()


@dataclass(slots=True)
class Node:
    """Workers that hear of the same purges."""

    workers: list[Worker]
    tables: list[PurgeTable]
    shelf: SlowShelf

    async def purge(self, value: str = PATH, kind: Kind = Kind.HARD, scope: Scope = Scope.URL) -> None:
        """As the purge's answer finds the node: everybody has applied it."""
        for one, table in zip(self.workers, self.tables, strict=True):
            seq = table.position + 1
            record = PurgeRecord(str(seq), scope, value, kind, 0.0, "edge-1")
            table.apply(record, seq)
            await one.engine.purge(record)

    def owner(self, path: str) -> tuple[Worker, Worker]:
        """The worker that owns the path, and another one."""
        owners = [(one, one.siblings.owner(CacheKey(path))) for one in self.workers if one.siblings is not None]
        return next((self.workers[slot], asker) for asker, slot in owners if slot is not None)


async def node(
    stack: AsyncExitStack, reader: HttpReader, clock: ManualClock, run_dir: Path | None, site: Site | None, count: int
) -> Node:
    shelf, tables = SlowShelf(), [PurgeTable() for _ in range(count)]
    running = [
        await stack.enter_async_context(
            worker(
                reader,
                clock=clock,
                limits=LIMITS,
                site=site,
                purges=table,
                run_dir=run_dir,
                slot=slot,
                shared=shelf if count == 1 else None,
                patience_s=PATIENCE_S,
            )
        )
        for slot, table in enumerate(tables)
    ]
    if count > 1:
        await eventually(lambda: all(one.siblings is not None and len(one.siblings.live) == count for one in running))
    return Node(running, tables, shelf)


@pytest.fixture
async def proxies(reader: HttpReader, clock: ManualClock, tmp_path: Path) -> AsyncIterator[Node]:
    """Two workers in front of an HTTP origin."""
    async with AsyncExitStack() as stack:
        yield await node(stack, reader, clock, tmp_path, PROXY, 2)


@pytest.fixture
async def proxy(reader: HttpReader, clock: ManualClock) -> AsyncIterator[Node]:
    """One worker in front of an HTTP origin."""
    async with AsyncExitStack() as stack:
        yield await node(stack, reader, clock, None, PROXY, 1)


@pytest.fixture
async def store(reader: HttpReader, clock: ManualClock) -> AsyncIterator[Node]:
    """One worker in front of a store of published objects."""
    async with AsyncExitStack() as stack:
        yield await node(stack, reader, clock, None, None, 1)


def by_language(held: dict[str, Gate] | None = None) -> Script:
    """A page in the reader's language, whose bodies wait for their gates."""

    def choose(asked: dict[str, str]) -> Script:
        language = asked.get("accept-language", "none")
        headers = {"Cache-Control": "public, max-age=60", "Vary": "Accept-Language"}
        return Script(language.encode() * 1000, headers=headers, gate=(held or {}).get(language))

    return Script(choose=choose)


async def all_of(tasks: Iterable[asyncio.Task[bytes]]) -> list[bytes]:
    return await asyncio.wait_for(asyncio.gather(*tasks), 10)


async def fetched(edge: Worker, path: str = PATH, **headers: str) -> tuple[int, bytes]:
    async with edge.get(path, **headers) as response:
        return response.status, await response.read()


# -- purges --------------------------------------------------------------------------------------------------------


async def test_what_a_sibling_waited_for_during_a_purge_is_not_kept_as_if_asked_for_after_it(
    proxies: Node, origin: ScriptedOrigin
) -> None:
    owner, asker = proxies.owner(PATH)
    hold = asyncio.Event()
    origin.objects[PATH] = Script(b"old", hold=hold)
    waiting = asyncio.create_task(asker.body(PATH))
    await origin.seen_at_least(1)
    old = origin.objects[PATH]
    origin.objects[PATH] = Script(b"new")
    await proxies.purge()
    hold.set()
    assert await waiting in (old.body, b"new")
    assert await asker.body(PATH) == b"new"
    assert await owner.body(PATH) == b"new"


async def test_a_body_that_was_purged_is_not_revived_by_a_sibling_that_has_the_same_entity_tag(
    proxies: Node, origin: ScriptedOrigin, clock: ManualClock
) -> None:
    _, asker = proxies.owner(PATH)
    origin.objects[PATH] = Script(b"bad", etag='"1"')
    assert await asker.body(PATH) == b"bad"
    clock.advance(61)
    hold = asyncio.Event()
    origin.objects[PATH] = Script(b"good", etag='"1"', hold=hold)
    waiting = asyncio.create_task(asker.body(PATH))
    await origin.seen_at_least(2)
    await proxies.purge()
    hold.set()
    await waiting
    assert await asker.body(PATH) == b"good"


async def test_a_variant_that_was_purged_while_another_was_looked_for_is_not_taken_into_memory(
    proxy: Node, origin: ScriptedOrigin
) -> None:
    edge, shelf = proxy.workers[0], proxy.shelf
    origin.objects[PATH] = Script(b"old", headers={"Cache-Control": "max-age=60", "Vary": "X-A"})
    await edge.body(PATH)
    origin.objects[PATH] = Script(b"old, too", headers={"Cache-Control": "max-age=60", "Vary": "X-B"})
    await edge.body(PATH, x_a="1")
    edge.memory.clear()
    last = next(key for key, value in shelf.values.items() if isinstance(value, Entry) and value.body == b"old")
    shelf.holds[last] = hold = asyncio.Event()
    shelf.asked.clear()
    waiting = asyncio.create_task(edge.body(PATH))
    await eventually(lambda: last in shelf.asked)
    origin.objects[PATH] = Script(b"new")
    await proxy.purge()
    hold.set()
    await waiting
    assert await edge.body(PATH) == b"new"


async def grown_stale(edge: Worker, origin: ScriptedOrigin, clock: ManualClock) -> None:
    """Let it hold a response that is too old, but would do if the origin failed."""
    origin.objects[PATH] = Script(b"old", headers={"Cache-Control": "max-age=1, stale-if-error=600"})
    await edge.body(PATH)
    clock.advance(2)


async def test_a_stale_response_that_is_purged_is_not_served_to_those_who_lose_patience(
    proxy: Node, origin: ScriptedOrigin, clock: ManualClock
) -> None:
    edge = proxy.workers[0]
    await grown_stale(edge, origin, clock)
    hold = asyncio.Event()
    origin.objects[PATH] = Script(b"new", hold=hold)
    waiting = asyncio.create_task(fetched(edge))
    await origin.seen_at_least(2)
    await proxy.purge()
    await asyncio.wait([waiting], timeout=2 * PATIENCE_S)
    hold.set()
    assert await waiting == (200, b"new")


async def test_a_failing_origin_does_not_bring_back_what_was_purged_meanwhile(
    proxy: Node, origin: ScriptedOrigin, clock: ManualClock
) -> None:
    edge = proxy.workers[0]
    await grown_stale(edge, origin, clock)
    hold = asyncio.Event()
    origin.objects[PATH] = Script(b"", status=503, headers={}, hold=hold)
    waiting = asyncio.create_task(fetched(edge))
    await origin.seen_at_least(2)
    await proxy.purge()
    hold.set()
    status, body = await waiting
    assert (status, body) != (200, b"old")


async def test_a_purge_takes_what_is_known_of_an_object_that_is_never_kept(store: Node, origin: ScriptedOrigin) -> None:
    edge = store.workers[0]
    origin.objects[PATH] = Script(FILM, etag='W/"old"')
    assert await edge.body(PATH) == FILM
    origin.objects[PATH] = Script(FILM, etag='W/"new"')
    await store.purge()
    async with edge.session.head(edge.url + PATH) as response:
        assert response.headers["ETag"] == 'W/"new"'


@pytest.mark.parametrize("scope", [Scope.TAG, Scope.URL])
async def test_a_purge_takes_the_blocks_whose_layout_is_gone_already(
    store: Node, origin: ScriptedOrigin, scope: Scope
) -> None:
    edge = store.workers[0]
    headers = {"Cache-Control": "max-age=60", "Surrogate-Key": "films"}
    origin.objects[PATH] = Script(FILM, etag='"1"', headers=headers)
    assert await edge.body(PATH) == FILM
    layout = edge.memory.peek(CacheKey(PATH))
    assert layout is not None
    edge.memory.remove(CacheKey(PATH))
    origin.objects[PATH] = Script(FILM[::-1], etag='"1"', headers=headers)
    await store.purge(PATH if scope is Scope.URL else "films", scope=scope)
    # As a sibling's or another node's layout would come, without its blocks.
    edge.memory.put(CacheKey(PATH), layout)
    assert await edge.body(PATH) == FILM[::-1]


# -- variants ------------------------------------------------------------------------------------------------------


async def test_a_sibling_never_hands_one_variant_to_who_asks_for_another(proxies: Node, origin: ScriptedOrigin) -> None:
    owner, asker = proxies.owner(PATH)
    gates = {"fr": Gate(), "en": Gate()}
    origin.objects[PATH] = by_language(gates)
    french = asyncio.create_task(owner.body(PATH, accept_language="fr"))
    await origin.seen_at_least(1)
    english = asyncio.create_task(asker.body(PATH, accept_language="en"))
    await origin.seen_at_least(2)
    for gate in gates.values():
        gate.open()
    assert await all_of([french, english]) == [b"fr" * 1000, b"en" * 1000]
    assert await asker.body(PATH, accept_language="en") == b"en" * 1000
    assert await asker.body(PATH, accept_language="fr") == b"fr" * 1000


async def test_the_first_variant_while_it_grows_keeps_no_other_from_being_served(
    proxy: Node, origin: ScriptedOrigin
) -> None:
    edge = proxy.workers[0]
    gates = {"fr": Gate()}
    origin.objects[PATH] = by_language(gates)
    french = asyncio.create_task(edge.body(PATH, accept_language="fr"))
    await origin.seen_at_least(1)
    others = [asyncio.create_task(edge.body(PATH, accept_language="en")) for _ in range(20)]
    assert await all_of(others) == [b"en" * 1000] * 20
    assert origin.count(PATH) == 2
    gates["fr"].open()
    assert await french == b"fr" * 1000


# -- what is not shared --------------------------------------------------------------------------------------------


async def test_a_long_private_response_keeps_nobody_waiting_when_its_mark_has_run_out(
    proxy: Node, origin: ScriptedOrigin, clock: ManualClock
) -> None:
    edge = proxy.workers[0]
    gate = Gate()
    origin.objects[PATH] = Script(b"mine", headers={"Cache-Control": "private"}, gate=gate)
    async with edge.get(PATH) as first:
        origin.objects[PATH] = Script(b"yours", headers={"Cache-Control": "private"})
        clock.advance(11)
        assert await fetched(edge) == (200, b"yours")
        gate.open()
        assert await first.read() == b"mine"


async def test_many_who_ask_for_a_range_that_is_refused_are_all_answered(proxy: Node, origin: ScriptedOrigin) -> None:
    edge = proxy.workers[0]
    hold = asyncio.Event()
    origin.objects[PATH] = Script(b"short", hold=hold)
    asking = [asyncio.create_task(fetched(edge, range=f"bytes={BLOCK}-")) for _ in range(20)]
    await origin.seen_at_least(1)
    hold.set()
    answers = await asyncio.wait_for(asyncio.gather(*asking), 10)
    assert {status for status, _ in answers} == {416}


async def test_who_comes_when_the_beginning_of_a_passing_body_is_gone_gets_one_of_his_own(
    proxy: Node, origin: ScriptedOrigin
) -> None:
    edge = proxy.workers[0]
    gate = Gate()
    origin.objects[PATH] = Script(FILM, chunked=True, gate=gate)
    async with edge.get(PATH) as first:
        gate.open(10 * BLOCK)
        received = await first.content.readexactly(9 * BLOCK)
        second = asyncio.create_task(edge.body(PATH))
        await origin.seen_at_least(2)
        gate.open()
        assert await second == FILM
        assert received + await first.read() == FILM


async def test_a_siblings_client_who_comes_when_the_beginning_is_gone_gets_the_body_too(
    proxies: Node, origin: ScriptedOrigin
) -> None:
    owner, asker = proxies.owner(PATH)
    gate = Gate()
    origin.objects[PATH] = Script(FILM, chunked=True, gate=gate)
    async with owner.get(PATH) as first:
        gate.open(10 * BLOCK)
        received = await first.content.readexactly(9 * BLOCK)
        second = asyncio.create_task(asker.body(PATH))
        await origin.seen_at_least(2)
        assert asker.siblings is not None
        assert len(asker.siblings.live) == 2
        gate.open()
        assert await second == FILM
        assert received + await first.read() == FILM


@pytest.mark.parametrize(
    "headers",
    [{"Cache-Control": said} for said in ("private", "no-store", "no-cache")] + [{"Set-Cookie": "session=alice"}],
)
@pytest.mark.parametrize("authorized", [False, True])
async def test_an_error_that_is_for_one_user_goes_to_nobody_else(
    proxy: Node, origin: ScriptedOrigin, headers: dict[str, str], authorized: bool
) -> None:
    edge = proxy.workers[0]
    hold = asyncio.Event()

    def for_one(asked: dict[str, str]) -> Script:
        return Script(f"trouble for {asked.get('x-user')}".encode(), status=503, headers=headers, hold=hold)

    origin.objects[PATH] = Script(choose=for_one)
    names = ("alice", "bob")
    said = {"authorization": "Basic eA=="} if authorized else {}
    asking = [asyncio.create_task(fetched(edge, x_user=name, **said)) for name in names]
    await origin.seen_at_least(1)
    hold.set()
    answers = await asyncio.wait_for(asyncio.gather(*asking), 10)
    assert answers == [(503, f"trouble for {name}".encode()) for name in names]


async def test_what_a_304_says_to_one_user_goes_to_nobody_else(
    proxy: Node, origin: ScriptedOrigin, clock: ManualClock
) -> None:
    edge = proxy.workers[0]
    origin.objects[PATH] = Script(b"page", etag='"1"', headers={"Cache-Control": "max-age=1"})
    await edge.body(PATH)
    clock.advance(2)
    hold = asyncio.Event()

    def for_one(asked: dict[str, str]) -> Script:
        cookie = f"session={asked.get('x-user')}"
        return Script(b"page", etag='"1"', headers={"Cache-Control": "private", "Set-Cookie": cookie}, hold=hold)

    origin.objects[PATH] = Script(choose=for_one)

    async def cookie_of(name: str) -> tuple[str | None, bytes]:
        async with edge.get(PATH, x_user=name) as response:
            return response.headers.get("Set-Cookie"), await response.read()

    asking = [asyncio.create_task(cookie_of(name)) for name in ("alice", "bob")]
    await origin.seen_at_least(2)
    hold.set()
    answers = await asyncio.wait_for(asyncio.gather(*asking), 10)
    assert answers == [("session=alice", b"page"), ("session=bob", b"page")]


NO_LIFETIMES = {"max-age 0": {"Cache-Control": "public, max-age=0"}, "expires 0": {"Expires": "0"}}


@pytest.mark.parametrize("said", NO_LIFETIMES)
@pytest.mark.parametrize("status", [200, 503])
async def test_a_cookie_without_a_real_lifetime_goes_to_nobody_else_at_the_same_time_or_later(
    proxy: Node, origin: ScriptedOrigin, status: int, said: str
) -> None:
    edge = proxy.workers[0]
    hold = asyncio.Event()

    def for_one(asked: dict[str, str]) -> Script:
        name = asked.get("x-user", "nobody")
        fields = NO_LIFETIMES[said] | ({"Set-Cookie": f"session={name}"} if name in ("alice", "bob") else {})
        return Script(b"page", status=status, etag='"1"', headers=fields, hold=hold, ranges=False)

    origin.objects[PATH] = Script(choose=for_one)

    async def cookie_of(name: str) -> tuple[int, str | None]:
        async with edge.get(PATH, x_user=name) as response:
            await response.read()
            return response.status, response.headers.get("Set-Cookie")

    asking = [asyncio.create_task(cookie_of(name)) for name in ("alice", "bob")]
    await origin.seen_at_least(1)
    hold.set()
    answers = await asyncio.wait_for(asyncio.gather(*asking), 10)
    assert answers == [(status, "session=alice"), (status, "session=bob")]
    assert await cookie_of("carol") == (status, None)


async def test_a_client_that_forbids_storing_does_not_make_others_queue_for_what_is_not_shared(
    proxy: Node, origin: ScriptedOrigin
) -> None:
    edge = proxy.workers[0]
    origin.objects[PATH] = Script(b"mine", headers={"Cache-Control": "private"})
    await edge.body(PATH)
    await edge.body(PATH, cache_control="no-store")
    origin.objects[PATH].hold = hold = asyncio.Event()
    asking = [asyncio.create_task(edge.body(PATH)) for _ in range(3)]
    await asyncio.wait_for(origin.seen_at_least(5), 5)
    hold.set()
    assert await all_of(asking) == [b"mine"] * 3


async def test_what_only_one_client_may_not_have_stored_stays_stored_for_the_others(
    proxy: Node, origin: ScriptedOrigin
) -> None:
    edge = proxy.workers[0]
    origin.objects[PATH] = Script(b"page", etag='"1"', headers={"Cache-Control": "max-age=60"})
    await edge.body(PATH)
    assert await edge.body(PATH, cache_control="no-store, no-cache") == b"page"
    assert isinstance(edge.memory.peek(CacheKey(PATH)), Entry)
    assert await edge.body(PATH, cache_control="no-cache", authorization="Basic eA==") == b"page"
    assert isinstance(edge.memory.peek(CacheKey(PATH)), Entry)


# -- HEAD ----------------------------------------------------------------------------------------------------------


async def test_what_a_head_tells_an_authorized_user_is_not_stored_for_others(
    proxy: Node, origin: ScriptedOrigin, clock: ManualClock
) -> None:
    edge = proxy.workers[0]
    origin.objects[PATH] = Script(b"page", etag='"1"', headers={"Cache-Control": "max-age=60"})
    await edge.body(PATH)
    clock.advance(61)
    origin.objects[PATH].headers |= {"X-Account": "alice"}
    async with edge.session.head(edge.url + PATH, headers={"Authorization": "Basic eA=="}) as response:
        assert response.headers["X-Account"] == "alice"
    del origin.objects[PATH].headers["X-Account"]
    async with edge.get(PATH) as response:
        assert "X-Account" not in response.headers


async def test_a_slow_head_does_not_put_back_what_has_been_replaced_meanwhile(
    proxy: Node, origin: ScriptedOrigin, clock: ManualClock
) -> None:
    edge = proxy.workers[0]
    origin.objects[PATH] = Script(b"old", etag='"1"')
    await edge.body(PATH)
    clock.advance(61)
    hold = asyncio.Event()
    origin.objects[PATH] = Script(b"old", etag='"1"', hold=hold)

    async def head() -> int:
        async with edge.session.head(edge.url + PATH) as response:
            return response.status

    heading = asyncio.create_task(head())
    await origin.seen_at_least(2)
    origin.objects[PATH] = Script(b"new", etag='"2"')
    assert await edge.body(PATH) == b"new"
    hold.set()
    assert await heading == 200
    assert await edge.body(PATH) == b"new"


async def test_clients_that_leave_during_a_head_give_their_places_back(
    proxy: Node, origin: ScriptedOrigin, clock: ManualClock
) -> None:
    edge = proxy.workers[0]
    for number in range(LIMITS.max_passes + 1):
        origin.objects[PATH] = Script(b"old", etag=f'"{number}"')
        proxy.shelf.removal = None
        await edge.body(PATH)
        clock.advance(61)
        proxy.shelf.removal = asyncio.Event()
        origin.objects[PATH] = Script(b"new", etag='"new"')
        seen = len(origin.seen)
        leaving = asyncio.create_task(edge.session.head(edge.url + PATH).__aenter__())
        await origin.seen_at_least(seen + 1)
        await eventually(lambda: CacheKey(PATH) not in proxy.shelf.values)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        edge.memory.clear()
        proxy.shelf.values.clear()
    proxy.shelf.removal = None
    async with edge.session.post(edge.url + "/media/other", data=b"x") as response:
        assert response.status == 404


# -- one client and the others -------------------------------------------------------------------------------------


async def test_a_request_that_goes_round_in_a_loop_is_refused_and_harms_no_other(
    proxy: Node, origin: ScriptedOrigin
) -> None:
    edge = proxy.workers[0]
    origin.objects[PATH] = Script(b"page")
    looping, innocent = await asyncio.gather(fetched(edge, via="1.1 edge-1"), fetched(edge))
    assert looping[0] == 508
    assert innocent == (200, b"page")


async def test_a_client_that_reads_slowly_holds_a_slice_of_a_body_that_has_come_in_full(
    reader: HttpReader, origin: ScriptedOrigin
) -> None:
    film = FILM * 6
    gate = Gate()
    origin.objects[PATH] = Script(film, gate=gate)
    async with worker(reader, limits=Limits(max_object_bytes=len(film), fill_bytes=2 * len(film)), site=PROXY) as edge:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 * 1024)
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(client, ("127.0.0.1", int(edge.url.rpartition(":")[2])))
            await loop.sock_sendall(client, f"GET {PATH} HTTP/1.1\r\nHost: edge\r\n\r\n".encode())
            gate.open()
            await eventually(lambda: isinstance(edge.memory.peek(CacheKey(PATH)), Entry))
            received = 0
            while received < len(film) // 2:
                received += len(await loop.sock_recv(client, 64 * 1024))
            server = edge.runners[0].server
            assert server is not None
            [connection] = server.connections
            assert connection.transport is not None
            assert connection.transport.get_write_buffer_size() <= 2 * content.SLICE_BYTES


async def test_bytes_that_are_no_text_pass_a_sibling(proxies: Node, origin: ScriptedOrigin) -> None:
    _, asker = proxies.owner(PATH)
    origin.objects[PATH] = Script(b"page")
    stream, writer = await asyncio.open_connection("127.0.0.1", int(asker.url.rpartition(":")[2]))
    writer.write(b"GET " + PATH.encode() + b" HTTP/1.1\r\nHost: edge\r\nX-Name: \xff\r\nConnection: close\r\n\r\n")
    assert (await stream.read()).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_an_age_that_a_client_does_not_bear_is_not_taken_from_a_sibling(
    proxies: Node, origin: ScriptedOrigin, clock: ManualClock
) -> None:
    owner, asker = proxies.owner(PATH)
    origin.objects[PATH] = Script(b"old")
    await owner.body(PATH)
    clock.advance(30)
    origin.objects[PATH] = Script(b"new")
    assert await asker.body(PATH, cache_control="max-age=10") == b"new"


async def test_blocks_of_another_length_under_the_same_entity_tag_are_other_blocks(
    store: Node, origin: ScriptedOrigin, clock: ManualClock
) -> None:
    edge = store.workers[0]
    origin.objects[PATH] = Script(FILM[: 6 * BLOCK + 7], etag='"1"')
    assert await edge.body(PATH) == FILM[: 6 * BLOCK + 7]
    edge.memory.clear()
    del store.shelf.values[CacheKey(PATH)]
    origin.objects[PATH] = Script(FILM, etag='"1"')
    assert await asyncio.wait_for(edge.body(PATH), 10) == FILM


async def test_an_http_1_0_client_sees_that_a_body_broke_off(proxy: Node, origin: ScriptedOrigin) -> None:
    edge = proxy.workers[0]
    origin.objects[PATH] = Script(FILM[:BLOCK], chunked=True, break_at=BLOCK // 2)
    port = int(edge.url.rpartition(":")[2])
    stream, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {PATH} HTTP/1.0\r\n\r\n".encode())
    with pytest.raises(ConnectionResetError):
        await stream.read()
    writer.close()


async def test_what_is_wrong_with_one_request_costs_nobody_what_is_stored(
    reader: HttpReader, origin: ScriptedOrigin, clock: ManualClock
) -> None:
    page, refused = Script(b"page"), Script(b"too long", status=431, headers={})
    origin.objects[PATH] = Script(choose=lambda fields: refused if "cookie" in fields else page)
    async with worker(reader, clock=clock, site=PROXY) as edge:
        assert await edge.body(PATH) == b"page"
        async with edge.get(PATH, cookie="a=b", cache_control="no-cache") as response:
            assert response.status == 431
        assert await edge.body(PATH) == b"page"
    assert origin.count(PATH) == 2

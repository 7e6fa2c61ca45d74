"""What the fast lane may answer, and for how long: over real sockets, beside an origin that changes its mind."""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import pytest

from edge.cache.model import CacheKey, Entry
from edge.cache.purge import Kind, PurgeRecord, Scope
from edge.connections import Limits
from edge.overload import Overload
from tests.support.lanes import Running, running
from tests.support.origin import Script
from tests.support.waiting import eventually_now
from tests.support.wire import Raw, Wire

KEPT = {"Cache-Control": "public, max-age=3600", "Surrogate-Key": "things"}
OLD, NEW = b"old" * 100, b"new" * 50
MODIFIED = "Wed, 01 Jan 2025 00:00:00 GMT"


def get(path: str, *fields: str, method: str = "GET", version: str = "HTTP/1.1", host: str = "edge") -> bytes:
    return "\r\n".join([f"{method} {path} {version}", f"Host: {host}", *fields, "", ""]).encode()


def script(body: bytes, etag: str, **headers: str) -> Script:
    return Script(body, headers=KEPT | {name.replace("_", "-"): value for name, value in headers.items()}, etag=etag)


def purge(here: Running, scope: Scope, value: str, kind: Kind) -> None:
    here.run(here.edge.engine.purge(PurgeRecord("id", scope, value, kind, time.time(), "edge-1")))


def assert_on_the_lane(here: Running, wire: Wire, request: bytes) -> Raw:
    """The next answer is the lane's own."""
    before = here.on_the_lane()
    answer = wire.ask(request)
    assert here.on_the_lane() == before + 1
    return answer


# -- what ends an answer -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Kind.HARD, Kind.SOFT])
@pytest.mark.parametrize(
    ("scope", "value"), [(Scope.URL, "/a"), (Scope.TAG, "things"), (Scope.ALL, ""), (Scope.PREFIX, "/")]
)
def test_a_purge_is_visible_to_the_very_next_request(kind: Kind, scope: Scope, value: str) -> None:
    with running({"/a": script(OLD, '"1"')}) as here, Wire(here.port) as wire:
        here.warm(get("/a"))
        assert assert_on_the_lane(here, wire, get("/a")).body == OLD
        here.origin.objects["/a"] = script(NEW, '"2"')
        assert assert_on_the_lane(here, wire, get("/a")).body == OLD
        purge(here, scope, value, kind)
        assert wire.ask(get("/a")).body == NEW
        assert here.origin.count("/a") == 2
        here.warm(get("/a"))
        assert assert_on_the_lane(here, wire, get("/a")).body == NEW


def test_a_purge_of_something_else_leaves_an_answer_alone() -> None:
    with running({"/a": script(OLD, '"1"')}) as here, Wire(here.port) as wire:
        here.warm(get("/a"))
        purge(here, Scope.URL, "/b", Kind.HARD)
        purge(here, Scope.TAG, "others", Kind.HARD)
        assert assert_on_the_lane(here, wire, get("/a")).body == OLD
        assert here.origin.count("/a") == 1


def test_nothing_is_answered_beyond_its_lifetime() -> None:
    with running({"/a": script(OLD, '"1"', Cache_Control="max-age=1")}) as here, Wire(here.port) as wire:
        began = time.monotonic()
        while here.origin.count("/a") < 3:
            answer = wire.ask(get("/a"))
            if b"; hit;" in (answer.field("cache-status") or b""):
                assert b"ttl=0" in (answer.field("cache-status") or b"")
                assert answer.field("age") == b"0"
            assert time.monotonic() - began < 20
        assert here.on_the_lane() > 10


def test_age_and_ttl_move_on_while_the_lane_answers() -> None:
    with running({"/a": script(OLD, '"1"')}) as here, Wire(here.port) as wire:
        here.warm(get("/a"))
        seen: dict[int, int] = {}
        while len(seen) < 3:
            answer = assert_on_the_lane(here, wire, get("/a"))
            ttl = (answer.field("cache-status") or b"").partition(b"ttl=")[2].partition(b";")[0]
            seen[int(answer.field("age") or b"")] = int(ttl)
        assert all(3598 <= age + left <= 3600 for age, left in seen.items())


def test_what_is_stale_but_may_be_served_is_never_served_by_the_lane() -> None:
    grace = "max-age=1, stale-while-revalidate=3600"
    with running({"/a": script(OLD, '"1"', Cache_Control=grace)}) as here, Wire(here.port) as wire:
        here.warm(get("/a"))
        hold = here.call(asyncio.Event)
        here.origin.objects["/a"].hold = hold  # the revalidation does not come to its end
        eventually_now(lambda: b"ttl=-" in (wire.ask(get("/a")).field("cache-status") or b""))
        before = here.on_the_lane()
        for _ in range(5):
            assert b"ttl=-" in (wire.ask(get("/a")).field("cache-status") or b"")
        assert here.on_the_lane() == before
        here.call(hold.set)


def test_what_replaces_a_response_replaces_its_answers() -> None:
    with running({"/a": script(OLD, '"1"')}) as here, Wire(here.port) as wire:
        here.warm(get("/a"))
        here.origin.objects["/a"] = script(NEW, '"2"')
        assert wire.ask(get("/a", "Cache-Control: no-cache")).body == NEW
        assert wire.ask(get("/a")).body == NEW


def test_an_unsafe_request_ends_the_answers_to_its_target() -> None:
    with running({"/a": script(OLD, '"1"')}) as here, Wire(here.port) as wire:
        here.warm(get("/a"))
        here.origin.objects["/a"] = script(NEW, '"2"')
        assert wire.ask(get("/a", "Content-Length: 0", method="POST"), "POST").status == 200
        assert wire.ask(get("/a")).body == NEW


def test_an_evicted_body_is_held_by_nobody() -> None:
    objects = {f"/{number}": script(bytes([number]) * 100_000, f'"{number}"') for number in range(40)}
    with running(objects, memory_bytes=1_000_000) as here:
        here.warm(get("/1"), get("/1", "Range: bytes=0-50000"), get("/1", "Range: bytes=0-9"))
        memory, key = here.edge.memory, CacheKey("/1")
        value = memory.peek(key)
        assert isinstance(value, Entry)
        body = value.body
        del value
        with Wire(here.port) as wire:
            for number in range(2, 40):
                for _ in range(6):
                    wire.ask(get(f"/{number}"))
        assert memory.peek(key) is None
        here.on_the_lane()
        gc.collect()
        assert sys.getrefcount(body) == 2  # ours, and that of the call
        with Wire(here.port) as wire:
            assert wire.ask(get("/1")).body == body
        assert here.origin.count("/1") == 2


# -- which request it is -----------------------------------------------------------------------------------------------


def test_requests_after_an_empty_line_are_told_apart() -> None:
    with running({"/a": script(OLD, '"1"'), "/b": script(NEW, '"2"')}) as here, Wire(here.port) as wire:
        for _ in range(4):
            assert wire.ask(b"\r\n" + get("/a")).body == OLD
            assert wire.ask(b"\r\n" + get("/b")).body == NEW


def test_a_line_that_names_a_host_is_for_that_host_only() -> None:
    with running({"/a": script(OLD, '"1"')}) as here:
        here.warm(get("/a"), get("/a", host="other"), get("http://edge/a"), times=5)
        with Wire(here.port) as wire:
            assert wire.ask(get("http://edge/a")).body == OLD
            assert wire.ask(get("http://edge/a", host="other")).status == 400


def test_each_variant_goes_to_those_who_select_it() -> None:
    def coded(fields: dict[str, str]) -> Script:
        coding = fields.get("accept-encoding", "none")
        return script(coding.encode(), f'"{coding}"', Vary="Accept-Encoding")

    with running({"/a": Script(choose=coded)}) as here, Wire(here.port) as wire:
        for _ in range(5):
            for coding in ("gzip", "br", "identity"):
                assert wire.ask(get("/a", f"Accept-Encoding: {coding}")).body == coding.encode()
            assert wire.ask(get("/a")).body == b"none"
        assert here.origin.count("/a") == 4


def test_a_response_that_begins_to_vary_is_answered_by_its_variants() -> None:
    def coded(fields: dict[str, str]) -> Script:
        return script(fields.get("accept-encoding", "none").encode(), '"2"', Vary="Accept-Encoding")

    with running({"/a": script(OLD, '"1"')}) as here, Wire(here.port) as wire:
        here.warm(get("/a"), get("/a", "Accept-Encoding: gzip"), get("/a", "Accept-Encoding: br"))
        here.origin.objects["/a"] = Script(choose=coded)
        assert wire.ask(get("/a", "Accept-Encoding: br", "Cache-Control: no-cache")).body == b"br"
        for _ in range(4):
            assert wire.ask(get("/a", "Accept-Encoding: gzip")).body == b"gzip"
            assert wire.ask(get("/a", "Accept-Encoding: br")).body == b"br"
            assert wire.ask(get("/a")).body == b"none"


def test_what_varies_with_the_clients_address_is_not_told_by_the_requests_bytes() -> None:
    def personal(fields: dict[str, str]) -> Script:
        return script(fields["x-forwarded-for"].encode(), '"1"', Vary="X-Forwarded-For")

    with running({"/a": Script(choose=personal)}) as here:
        for _ in range(3):
            for address in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
                with Wire(here.port, source=address) as wire:
                    assert [wire.ask(get("/a")).body for _ in range(3)] == [address.encode()] * 3


@pytest.mark.parametrize(
    "request_",
    [
        get("/a", version="HTTP/1.0"),
        get("/a", "Connection: keep-alive", version="HTTP/1.0"),
        get("/a", "Connection: close"),
        get("/a", "Expect: 100-continue"),
        get("/a", "Upgrade: h2c", "Connection: upgrade"),
        get("/a", "Content-Length: 3") + b"abc",
        get("/a", "Cache-Control: no-cache"),
    ],
    ids=["1.0", "1.0 keep-alive", "close", "expect", "upgrade", "body", "no-cache"],
)
def test_a_request_that_wants_more_than_an_answer_takes_the_full_road(request_: bytes) -> None:
    with running({"/a": script(OLD, '"1"')}) as here:
        here.warm(get("/a"))
        before = here.on_the_lane()
        for _ in range(4):
            with Wire(here.port) as wire:
                for _ in range(2):
                    answer = wire.ask(request_)
                    assert answer.body == OLD
                    if answer.field("connection") == b"close":
                        assert wire.ends()
                        break
        assert here.on_the_lane() == before


@pytest.mark.parametrize("published", [False, True])
def test_no_request_with_credentials_is_kept(published: bool) -> None:
    with running({"/media/a.bin": script(OLD, '"1"')}, published=published) as here:
        secrets = [get("/media/a.bin", f"{name}: Basic SECRET") for name in ("Authorization", "proxy-authorization")]
        here.warm(get("/media/a.bin"), *secrets, times=5)
        lane = here.edge.lane
        assert lane is not None
        assert here.on_the_lane() > 0
        kept = [*lane.hot, *lane._blocks, *lane._spots]
        assert kept
        assert not [raw for raw in kept if b"SECRET" in raw]


@dataclass
class JumpingClock:
    """An hour passes between two readings. It is behind all others, so that the lane asks it about each request."""

    passed_s: float = -10_000.0
    readings_left: int = 0

    def monotonic(self) -> float:
        """The time; with the last reading that is left, the hour passes."""
        now = time.monotonic() + self.passed_s
        if self.readings_left > 0:
            self.readings_left -= 1
            if self.readings_left == 0:
                self.passed_s += 4000
        return now

    def wall(self) -> float:
        """Of no matter here."""
        return time.time()


def test_a_batch_in_which_an_answer_grows_stale_is_answered_whole() -> None:
    clock = JumpingClock()
    with running({"/a": script(OLD, '"1"')}, clock=clock) as here, Wire(here.port) as wire:
        here.warm(get("/a"))
        clock.readings_left = 1
        wire.send(get("/a") * 2)
        first, second = wire.answer(), wire.answer()
        assert (first.body, second.body) == (OLD, OLD)
        assert here.origin.count("/a") == 2


# -- what it may take --------------------------------------------------------------------------------------------------


def test_what_is_kept_stays_within_its_bound_whatever_is_asked() -> None:
    most = 256 * 1024
    objects = {f"/{number}": script(b"x" * 5000, f'"{number}"') for number in range(30)}
    with running(objects, lane_bytes=most) as here, Wire(here.port) as wire:
        lane = here.edge.lane
        assert lane is not None
        for number in range(120):
            for variation in ("", "User-Agent: " + "u" * 4000, "Range: bytes=0-4000"):
                fields = (f"X-Number: {number}", "X-Filling: " + "f" * 7000)
                for path in (f"/{number % 30}", f"/{number % 7}?n={number}"):
                    request = get(path, *fields, *([variation] if variation else []))
                    expected = (200, 206) if variation.startswith("Range") else (200, 404)
                    assert [wire.ask(request).status in (*expected, 404) for _ in range(3)] == [True] * 3
            assert here.call(lambda: lane.used_bytes) <= most
            assert here.call(lambda: sum(map(len, lane.hot))) <= most
        assert here.on_the_lane() > 100


def test_spellings_of_one_target_push_out_no_other_answer() -> None:
    names = [f"/media/{number}.txt" for number in range(4)]
    objects = {name: script(OLD, '"1"') for name in names}
    with running(objects, published=True, lane_bytes=64 * 1024) as here, Wire(here.port) as wire:
        here.warm(*map(get, names))
        for number in range(400):
            wire.ask(get(f"{names[-1]}?r={number}"))
        lane = here.edge.lane
        assert lane is not None
        assert here.call(lambda: {answer.key.uri for answer in lane._answers}) == set(names)


ASKED = [
    ("If-None-Match", '"1"', 304),
    ("If-None-Match", '"0"', 200),
    ("If-Modified-Since", "Thu, 01 Jan 2099 00:00:00 GMT", 304),
    ("Range", "bytes=0-9", 206),
    ("Range", "bytes=5-", 206),
    ("X-None", "", 200),
]


def asked_by(path: str, client: int) -> Iterator[tuple[bytes, int]]:
    """All of that, by one of many kinds of clients, and the status to expect."""
    for name, value, status in ASKED:
        yield get(path, f"User-Agent: {client}", f"{name}: {value}"), status


def test_clients_of_all_kinds_share_one_answer_for_each_thing_that_can_be_asked() -> None:
    with running({"/a": script(OLD, '"1"', Last_Modified=MODIFIED)}) as here, Wire(here.port) as wire:
        lane = here.edge.lane
        assert lane is not None
        here.warm(*(request for request, _ in asked_by("/a", 0)))
        for client in range(1, 100):
            for request, status in asked_by("/a", client):
                assert assert_on_the_lane(here, wire, request).status == status
        assert here.call(lambda: len(lane)) == 4  # all, not modified, two ranges


def test_blocks_for_which_a_line_has_no_room_are_answered_and_leave_nothing_behind() -> None:
    with running({"/a": script(OLD, '"1"', Last_Modified=MODIFIED)}) as here, Wire(here.port) as wire:
        lane = here.edge.lane
        assert lane is not None
        for client in [*range(90)] * 3:
            for request, status in asked_by("/a", client):
                assert wire.ask(request).status == status
        assert here.call(lambda: max(len(spot.special) for spot in lane._spots.values())) == 64
        here.edge.memory.clear()
        assert here.call(lambda: (len(lane), lane._bytes, len(lane._spots), len(lane._ready))) == (0, 0, 0, 0)


def test_what_has_changed_is_told_to_each_who_asks_whether_it_has() -> None:
    with running({"/a": script(OLD, '"1"', Last_Modified=MODIFIED)}) as here, Wire(here.port) as wire:
        for _ in range(3):
            for client in range(5):
                assert wire.ask(get("/a", f"User-Agent: {client}", 'If-None-Match: "1"')).status == 304
        here.origin.objects["/a"] = script(NEW, '"2"')
        purge(here, Scope.URL, "/a", Kind.HARD)
        for client in range(10):
            assert wire.ask(get("/a", f"User-Agent: {client}", 'If-None-Match: "1"')).body == NEW


def spelt(path: str, number: int) -> str:
    """The same target in another way, by the bits of the number."""
    return "/" + "".join(f"%{ord(c):02x}" if number >> bit & 1 else c for bit, c in enumerate(path[1:]))


def test_a_lane_with_hardly_any_room_answers_whole_all_the_same() -> None:
    objects = {"/abcdefgh": script(OLD, '"1"'), "/ijklmnop": script(b"b" * 60_000, '"2"')}
    for room in (0, 1000, 6000, 12_000):
        with running(objects, lane_bytes=room) as here, Wire(here.port) as wire:
            for number in range(60):
                for path, stored in objects.items():
                    for _ in range(2):
                        assert wire.ask(get(path, f"X-Number: {number % 7}")).body == stored.body
                        assert wire.ask(get(spelt(path, number))).body == stored.body


# -- the connection ----------------------------------------------------------------------------------------------------


def test_hits_on_the_lane_keep_a_connection_alive() -> None:
    with running({"/a": script(OLD, '"1"')}, keepalive_s=1.5) as here, Wire(here.port) as wire, Wire(here.port) as idle:
        here.warm(get("/a"))
        idle.ask(get("/a"))
        began = time.monotonic()
        while time.monotonic() - began < 3.5:
            assert wire.ask(get("/a")).body == OLD
        assert idle.ends()
        assert assert_on_the_lane(here, wire, get("/a")).body == OLD
        assert wire.ends()  # in its time


def test_a_connection_served_on_the_lane_is_not_the_one_that_is_idle_longest() -> None:
    with running({"/a": script(OLD, '"1"')}, keepalive_s=8.0, limits=Limits(connections=3)) as here:
        here.warm(get("/a"))
        with Wire(here.port) as first, Wire(here.port) as second, Wire(here.port) as third:
            for wire in (first, second, third):
                wire.ask(get("/a"))
            guests = here.edge.server.guests

            def second_is_idle_longest() -> bool:
                for wire in (third, first):
                    wire.ask(get("/a"))
                oldest = next(iter(guests._idle))
                name = oldest.peername  # type: ignore[attr-defined]
                return bool(name == second._socket.getsockname())

            eventually_now(partial(here.call, lambda: len(guests) == 3))
            eventually_now(second_is_idle_longest)
            with Wire(here.port) as newcomer:
                assert newcomer.ask(get("/a")).body == OLD
                assert second.ends()
                for wire in (first, third):
                    assert wire.ask(get("/a")).body == OLD


def test_requests_of_the_full_road_count_as_in_flight_right_after_hits() -> None:
    objects = {"/a": script(OLD, '"1"'), "/slow": script(NEW, '"2"')}

    def limited() -> Overload:
        return Overload(max_in_flight=1, loop=asyncio.get_running_loop())

    with running(objects, make_overload=limited) as here:
        here.warm(get("/a"))
        hold = here.call(asyncio.Event)
        here.origin.objects["/slow"].hold = hold
        with Wire(here.port) as busy, Wire(here.port) as other:
            busy.ask(get("/a"))
            busy.send(get("/slow"))
            eventually_now(lambda: here.origin.count("/slow") == 1)
            assert assert_on_the_lane(here, other, get("/a")).body == OLD
            assert other.ask(get("/other")).status == 503
            here.call(hold.set)
            assert busy.answer().body == NEW
            assert busy.ask(get("/a")).body == OLD
        overload = here.edge.server.overload
        assert overload is not None
        eventually_now(lambda: overload.in_flight == 0)


def test_each_hit_is_logged_whatever_the_lane_has_forgotten() -> None:
    objects = {"/a": script(OLD, '"1"')}
    with running(objects, lane_bytes=32 * 1024, logs=True) as here, Wire(here.port) as wire:
        requests = [get("/a", f"User-Agent: agent-{number}", "X: " + "x" * 500) for number in range(30)]
        here.warm(get("/a"))
        before = here.on_the_lane()
        already = len(here.edge.told.lines)
        for _ in range(4):
            for number, request in enumerate(requests):
                assert wire.ask(request).body == OLD
                _, block, whole = here.edge.told.lines[-1]
                assert (block.user_agent, whole) == (f"agent-{number}", True)
        assert len(here.edge.told.lines) - already == here.on_the_lane() - before == 120


def test_a_busy_socket_gets_nothing_out_of_order() -> None:
    objects = {"/a": script(OLD, '"1"'), "/b": script(b"b" * 300_000, '"2"'), "/c": script(NEW, '"3"')}
    with running(objects) as here:
        here.warm(get("/a"), get("/b"))
        with Wire(here.port, receive_bytes=16_384) as wire:
            order = ["/a", "/b", "/c", "/a", "/b", "/b", "/a", "/c"] * 6
            wire.send(b"".join(map(get, order)))
            wire._socket.shutdown(socket.SHUT_WR)
            bodies = {path: script.body for path, script in objects.items()}
            for path in order:
                assert wire.answer().body == bodies[path]
            assert wire.ends()

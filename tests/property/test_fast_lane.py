"""The fast lane beside the full road: to generated requests both say the same, byte for byte.

Two workers behind the edge's own connections, one with a lane and one without, and one origin. Each connection sends
what was generated three times: the first may be a miss, the second a hit that the lane learns from, the third is its
own. What has been asked for often is moved into pages after each example, one large body before the first. Values that
tell the time (Date, Age, ttl) are left out of the comparison, nothing else. `SMARTEDU_LONG=1` tries many more.
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from email.utils import formatdate
from itertools import chain
from typing import Any, TypeVar

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.lanes import LaneEdge, lane_edge
from tests.support.origin import Script, ScriptedOrigin
from tests.support.waiting import eventually_now
from tests.support.wire import Raw, Wire

LONG = bool(os.environ.get("SMARTEDU_LONG"))
EXAMPLES = 6000 if LONG else 120
pytestmark = pytest.mark.timeout(3600 if LONG else 180)
T = TypeVar("T")

KEPT = {"Cache-Control": "public, max-age=86400"}
MODIFIED = "Wed, 01 Jan 2025 00:00:00 GMT"
CHANGING = ("/media/short.bin", "/media/grace.bin")
"""What becomes stale: each worker asks for it again in its own time, so only what does not depend on it is equal."""


def encoded(fields: dict[str, str]) -> Script:
    """The encoding that the request prefers."""
    coding = "gzip" if "gzip" in fields.get("accept-encoding", "") else "identity"
    kept = KEPT | {"Vary": "Accept-Encoding", "Content-Encoding": coding}
    return Script(f"coded as {coding}".encode() * 20, headers=kept, etag=f'"{coding}"', ranges=False)


def personal(fields: dict[str, str]) -> Script:
    """An answer to what the edge itself says of the client."""
    kept = KEPT | {"Vary": "X-Forwarded-For"}
    return Script(f"for {fields.get('x-forwarded-for')}".encode(), headers=kept, etag='"p"', ranges=False)


OBJECTS = {
    "/media/small.txt": Script(b"hello world", headers=KEPT, etag='"small"'),
    "/media/middle.ts": Script(bytes(range(256)) * 52, headers=KEPT | {"Last-Modified": MODIFIED}, etag='"middle"'),
    "/media/large.m4s": Script(os.urandom(480_000), headers=KEPT | {"Content-Type": "video/mp4"}, etag='"large"'),
    "/media/coded.js": Script(choose=encoded),
    "/media/person.txt": Script(choose=personal),
    "/media/untagged.bin": Script(b"u" * 2000, headers=KEPT),
    "/media/weak.bin": Script(b"w" * 3000, headers=KEPT | {"Last-Modified": MODIFIED}, etag='W/"weak"'),
    "/media/dated.bin": Script(b"d" * 700, headers=KEPT | {"Date": formatdate(usegmt=True)}, etag='"dated"'),
    "/media/long.bin": Script(b"l" * 900, headers={"Cache-Control": "max-age=31536000, immutable"}, etag='"long"'),
    "/media/short.bin": Script(b"s" * 900, headers={"Cache-Control": "max-age=1"}, etag='"short"'),
    "/media/grace.bin": Script(
        b"g" * 900, headers={"Cache-Control": "max-age=1, stale-while-revalidate=60"}, etag='"grace"'
    ),
    "/media/gone.bin": Script(b"not here", status=404, headers=KEPT),
    "/media/moved.bin": Script(b"there", status=301, headers=KEPT | {"Location": "/media/small.txt"}),
    "/media/empty.bin": Script(b"", headers=KEPT, etag='"empty"'),
    "/media/aged.bin": Script(b"a" * 100, headers=KEPT | {"Age": "30"}, etag='"aged"'),
    "/media/told.bin": Script(b"t" * 100, headers=KEPT | {"Cache-Status": "store; hit; ttl=5", "Age": "3"}, etag='"t"'),
    "/media/chunks.bin": Script(os.urandom(300_000), headers=KEPT, etag='"chunks"', chunked=True),
    "/media/secret.bin": Script(b"x" * 50, headers={"Cache-Control": "private"}),
    "/media/odd.bin": Script(b"o" * 50, headers=KEPT | {"X-Odd": "caf\xe9; ttl=9", "Ttl": "; ttl=4"}, etag='"odd"'),
}


@dataclass(slots=True)
class Pair:
    """Both workers, and the loop that runs them."""

    loop: asyncio.AbstractEventLoop
    lane: LaneEdge
    road: LaneEdge
    sent: int = 0
    met_pages: int = 0
    """Examples that came while a body lay in pages."""

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """There, and wait for it here."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def on_the_lane(self) -> int:
        """Requests that it has served."""

        async def count() -> int:
            return self.lane.on_the_lane

        return self.run(count())

    def in_pages(self) -> int:
        """Bodies that it sends out of pages."""
        return self.lane.memory._in_pages


@pytest.fixture(scope="module", params=[False, True], ids=["proxy", "published"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Both on a loop of the kind that serves clients, in a thread of its own, since examples are synchronous."""
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    stack = AsyncExitStack()

    async def start() -> tuple[LaneEdge, LaneEdge]:
        origin = await stack.enter_async_context(ScriptedOrigin())
        origin.objects.update(OBJECTS)
        lane = await stack.enter_async_context(lane_edge(origin.url, published=request.param))
        road = await stack.enter_async_context(lane_edge(origin.url, published=request.param, fast_lane=False))
        return lane, road

    lane, road = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
    both = Pair(loop, lane, road)
    yield both
    both.run(stack.aclose())
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


# -- requests ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sending:
    """A request as it goes out."""

    method: str
    path: str
    data: bytes


PATHS = st.sampled_from([*sorted(OBJECTS), "/media/nothing.bin"])
HOSTS = st.sampled_from(["edge"] * 12 + ["other", "EDGE:80", "edge:8080", "[::1]", ""])
SPACES = st.sampled_from([" "] * 8 + ["", "  ", "\t", " \t "])
ENDS = st.sampled_from([""] * 8 + [" ", "\t", "  "])
TAGS = [
    '"small"',
    '"middle"',
    '"large"',
    'W/"weak"',
    '"gzip"',
    '"dated"',
    '"other"',
    "*",
    '"a", "small" , W/"middle"',
    ",",
]
RANGES = [
    "bytes=0-0",
    "bytes=0-99",
    "bytes=5-",
    "bytes=-7",
    "bytes=-0",
    "bytes=100000-400000",
    "bytes=1-20000",
    "bytes=0-1,5-6",
    "bytes=9999999-",
    "bytes=a-b",
    "bytes = 0-5",
    "BYTES=0-5",
    "lines=1-2",
    "bytes=5-3",
    "",
]
DATES = [
    MODIFIED,
    "Wed, 01 Jan 2020 00:00:00 GMT",
    "Thu, 01 Jan 2099 00:00:00 GMT",
    "Wednesday, 01-Jan-25 00:00:00 GMT",
    "no date",
]
CODINGS = ["gzip", "gzip, br", "br,gzip;q=0.5", "identity", "GZIP", "gzip;q=0", "*", ""]
DIRECTIVES = [
    "no-cache",
    "max-age=0",
    "max-age=100000",
    "no-store",
    "only-if-cached",
    "min-fresh=5",
    "max-stale",
    "x-unknown",
]

FIELD = st.one_of(
    st.tuples(st.just("Accept-Encoding"), st.sampled_from(CODINGS)),
    st.tuples(st.just("Range"), st.sampled_from(RANGES)),
    st.tuples(st.sampled_from(["If-None-Match", "If-Match", "If-Range"]), st.sampled_from(TAGS)),
    st.tuples(st.sampled_from(["If-Modified-Since", "If-Unmodified-Since", "If-Range"]), st.sampled_from(DATES)),
    st.tuples(st.just("User-Agent"), st.sampled_from(["hls.js", "Mozilla/5.0 (X11)", "caf\xe9", ""])),
    st.tuples(st.just("Cookie"), st.sampled_from(["a=1", "b=2"])),
    st.tuples(st.just("Accept"), st.sampled_from(["*/*", "video/mp4;q=0.5"])),
    st.tuples(st.just("X-Forwarded-For"), st.sampled_from(["10.0.0.1", "10.0.0.2, 10.0.0.3"])),
    st.tuples(st.just("X-Request-Id"), st.sampled_from(["one", "two"])),
)
RARE = st.one_of(
    st.tuples(st.just("Cache-Control"), st.sampled_from(DIRECTIVES)),
    st.tuples(st.just("Pragma"), st.sampled_from(["no-cache", "x"])),
    st.tuples(st.just("Authorization"), st.just("Bearer secret")),
    st.tuples(st.just("Connection"), st.sampled_from(["keep-alive", "close", "Keep-Alive, x", "upgrade", "te"])),
    st.tuples(st.just("Expect"), st.sampled_from(["100-continue", "gold"])),
    st.tuples(st.just("Upgrade"), st.sampled_from(["h2c", "websocket"])),
    st.tuples(st.just("TE"), st.just("trailers")),
    st.tuples(st.just("Content-Length"), st.sampled_from(["0", "00", "x"])),
    st.tuples(st.just("Transfer-Encoding"), st.just("identity")),
    st.tuples(st.just("Host"), st.just("edge")),
    st.tuples(st.just("X y"), st.just("no field")),
    st.tuples(st.just("Via"), st.sampled_from(["1.1 before", "1.1 edge-1"])),
)
RECASED: st.SearchStrategy[Callable[[str], str]] = st.sampled_from([str, str.lower, str.upper, str.swapcase])


@st.composite
def requests(draw: st.DrawFn) -> Sending:
    """Mostly what a player asks, sometimes what nobody should."""
    method = draw(st.sampled_from(["GET"] * 10 + ["HEAD"] * 3 + ["POST", "get", "OPTIONS"]))
    path = draw(PATHS)
    host = draw(HOSTS)
    before = draw(st.sampled_from([""] * 12 + ["http://edge", "HTTP://other", f"http://{host}"]))
    after = draw(st.sampled_from([""] * 12 + ["?a=1", "?a=2", "#x", "/", "%20"]))
    version = draw(st.sampled_from(["HTTP/1.1"] * 14 + ["HTTP/1.0", "HTTP/1.2"]))
    between = draw(st.sampled_from([" "] * 20 + ["  "]))
    fields = [("Host", host), *draw(st.lists(FIELD, max_size=4, unique_by=lambda field: field[0]))]
    if draw(st.integers(0, 5)) == 0:
        fields.append(draw(RARE))
    body = b""
    if method == "POST":
        body = draw(st.sampled_from([b"", b"GET /media/small.txt HTTP/1.1\r\nHost: edge\r\n\r\n"]))
        fields.append(("Content-Length", str(len(body))))
    lines = [f"{method}{between}{before}{path}{after} {version}"]
    for name, value in draw(st.permutations(fields)):
        lines.append(f"{draw(RECASED)(name)}:{draw(SPACES)}{value}{draw(ENDS)}")
    empty = draw(st.sampled_from([""] * 14 + ["\r\n"]))
    return Sending(method, path, (empty + "\r\n".join([*lines, "", ""])).encode("latin-1") + body)


@st.composite
def cuts(draw: st.DrawFn, longest: int = 400) -> tuple[int, ...]:
    """Where packets begin: mostly nowhere, at a few places, rarely everywhere."""
    kind = draw(st.integers(0, 9))
    if kind == 9:
        return tuple(range(1, longest))
    return tuple(draw(st.lists(st.integers(1, longest), max_size=3))) if kind > 6 else ()


# -- answers -----------------------------------------------------------------------------------------------------------

_AGE = re.compile(rb"\r\nAge: \d+")
_TIMES = (
    (re.compile(rb"\r\n(date): [^\r]*", re.IGNORECASE), rb"\r\n\1: -"),
    (_AGE, rb"\r\nAge: -"),
    (re.compile(rb"(\r\nCache-Status: [^\r]*; ttl=)-?\d+"), rb"\1-"),
)


def is_farewell(one: Sending) -> bool:
    """Whether a request ends its connection."""
    return b"HTTP/1.0" in one.data or b"close" in one.data.lower()


def timeless(answer: Raw) -> tuple[bytes, bytes, bool]:
    """The answer without what tells the time."""
    head = answer.head
    if b"; fwd=" in head:  # an answer that was made just now has an Age only if a second has begun meanwhile
        head = _AGE.sub(b"", head)
    for pattern, instead in _TIMES:
        head = pattern.sub(instead, head)
    return head, answer.body, answer.whole


def steady(answer: Raw) -> tuple[int, list[bytes], bytes, bool]:
    """What of an answer does not depend on when a stale response was asked for again."""
    names = sorted(line.partition(b":")[0].lower() for line in answer.lines[1:])
    return answer.status, [name for name in names if name not in (b"age", b"via")], answer.body, answer.whole


def told(port: int, batches: list[tuple[list[Sending], tuple[int, ...]]]) -> list[list[Raw]]:
    """What a worker says to these batches, each sent three times, on one connection as long as that goes on."""
    answers = []
    for batch, where in batches:
        data = b"".join(one.data for one in batch)
        with Wire(port) as wire:
            for _ in range(3):
                wire.send(data, where)
                came = list(until_close(wire, batch))
                answers.append(came)
                if is_last(came[-1]):
                    break
    return answers


def until_close(wire: Wire, batch: list[Sending]) -> Iterator[Raw]:
    """The answers to a batch, as far as there are any."""
    for one in batch:
        answer = wire.answer(one.method)
        yield answer
        if is_last(answer):
            return


def is_last(answer: Raw) -> bool:
    """Whether the connection ends with it."""
    return not answer.whole or answer.field("connection") == b"close"


def assert_equal(pair: Pair, batches: list[tuple[list[Sending], tuple[int, ...]]]) -> None:
    pair.met_pages += pair.in_pages() > 0
    by_lane, by_road = told(pair.lane.port, batches), told(pair.road.port, batches)
    pair.sent += sum(map(len, by_lane))
    pair.on_the_lane()  # as it does itself a few times a second: what is hot goes into pages
    changing = any(one.path in CHANGING for batch, _ in batches for one in batch)
    assert [len(came) for came in by_lane] == [len(came) for came in by_road]
    for ours, theirs in zip(chain(*by_lane), chain(*by_road), strict=True):
        if changing:
            assert steady(ours) == steady(theirs)
        else:
            assert timeless(ours) == timeless(theirs)


def made_hot(pair: Pair, path: str) -> None:
    """Asked for until its body lies in pages, since few examples ask for the same large one often enough."""
    get = Sending("GET", path, f"GET {path} HTTP/1.1\r\nHost: edge\r\n\r\n".encode())

    def moved() -> bool:
        assert_equal(pair, [([get], ())] * 3)
        return pair.in_pages() > 0

    eventually_now(moved)


EAGER = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)


def test_one_request_after_the_other_is_answered_as_the_full_road_does(pair: Pair) -> None:
    made_hot(pair, "/media/large.m4s")
    before = pair.on_the_lane()
    pair.sent = pair.met_pages = 0

    @EAGER
    @given(st.lists(st.tuples(requests(), cuts()), min_size=1, max_size=4))
    def check(sendings: list[tuple[Sending, tuple[int, ...]]]) -> None:
        assert_equal(pair, [([one], where) for one, where in sendings])

    check()
    assert pair.on_the_lane() - before > pair.sent / 10
    assert pair.met_pages > EXAMPLES / 10


def test_requests_that_come_together_are_answered_in_order_as_the_full_road_does(pair: Pair) -> None:
    made_hot(pair, "/media/large.m4s")
    before = pair.on_the_lane()
    pair.sent = pair.met_pages = 0

    @EAGER
    @given(st.lists(requests(), min_size=2, max_size=6), cuts(1500))
    def check(sendings: list[Sending], where: tuple[int, ...]) -> None:
        assert_equal(pair, [([one], ()) for one in sendings])  # so that the lane knows some of them
        # What comes behind the last request of a connection may cost the client the end of its answer.
        batch = [*(one for one in sendings[:-1] if not is_farewell(one)), sendings[-1]]
        assert_equal(pair, [(batch, where)])

    check()
    assert pair.on_the_lane() - before > pair.sent / 10
    assert pair.met_pages > EXAMPLES / 10


@pytest.mark.parametrize("path", sorted(set(OBJECTS) - set(CHANGING)))
def test_a_request_cut_anywhere_is_answered_as_the_full_road_does(pair: Pair, path: str) -> None:
    get = Sending("GET", path, f"GET {path} HTTP/1.1\r\nHost: edge\r\n\r\n".encode())
    assert_equal(pair, [([get], ())])
    assert_equal(pair, [([get, get], (cut,)) for cut in range(1, 2 * len(get.data))])

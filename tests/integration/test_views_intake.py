"""`POST /v1/views` under bad input: each body gets its status and one counted reason, and nothing accepted is lost."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest
from prometheus_client import REGISTRY

from edge import metrics
from edge.client_address import networks
from edge.counters.allowance import BURST_S, Allowances
from edge.counters.event import MAX_BODY_BYTES, MAX_EVENTS, Agent, Place
from edge.counters.outliers import Outliers
from edge.handlers import views
from edge.sender import Senders, by_proxy
from tests.support.counting import event
from tests.support.loopguard import nothing_blocks_the_loop  # noqa: F401
from tests.support.posting import Desk, desk

HOME = Place("44", "CN")
BODIES, EVENTS = "smartedu_view_bodies_total", "smartedu_view_events_total"


@pytest.fixture(params=["short", "full"])
def short(request: pytest.FixtureRequest) -> bool:
    """Whether the short road of view events is open: nobody may see a difference."""
    return bool(request.param == "short")


@pytest.fixture
async def here(tmp_path: Path, short: bool) -> AsyncIterator[Desk]:
    async with desk(tmp_path, short=short) as made:
        yield made


@dataclass
class Now:
    """A clock that goes on when told."""

    at: float = 0.0

    def __call__(self) -> float:
        return self.at


class Counted:
    """How much counters have grown since."""

    def __init__(self) -> None:
        self._before = self._read()

    def grown(self) -> dict[tuple[str, str], float]:
        return {
            key: value - self._before.get(key, 0)
            for key, value in self._read().items()
            if value != self._before.get(key, 0)
        }

    @staticmethod
    def _read() -> dict[tuple[str, str], float]:
        metrics.flush()
        names = (BODIES, EVENTS, "smartedu_view_bot_events_total", "smartedu_view_places_total")
        return {
            (sample.name, next(iter(sample.labels.values()))): sample.value
            for name in names
            for family in REGISTRY.restricted_registry([name]).collect()
            for sample in family.samples
        }


def filled(size: int) -> bytes:
    """One valid event in a body of so many bytes."""
    text = orjson.dumps(event())
    return text[:-1] + b" " * (size - len(text)) + b"}"


def doubled(name: bytes, first: bytes, second: bytes) -> bytes:
    """A valid event with a key twice."""
    text = orjson.dumps({key: value for key, value in event().items() if key != name.decode()})
    return text[:-1] + b',"%b":%b,"%b":%b}' % (name, first, name, second)


WRONG = [
    (b"", 400, "not_json"),
    (b"{", 400, "not_json"),
    (b"\xef\xbb\xbf" + b"{}", 400, "not_json"),  # a byte order mark is no JSON (RFC 8259, 8.1)
    ('{"id": "课"}'.encode("utf-16"), 400, "not_json"),
    ('{"id": "课"}'.encode("gbk"), 400, "not_json"),
    (b'{"at": NaN}', 400, "not_json"),
    (b'{"at": Infinity}', 400, "not_json"),
    (b'{"id": "\xed\xa0\x80"}', 400, "not_json"),
    (b"[" * 100_000 + b"]" * 100_000, 400, "not_json"),
    (b'{"a":' * 40_000 + b"1" + b"}" * 40_000, 400, "not_json"),
    (b"{}{}", 400, "not_json"),
    (b"[]", 400, "not_events"),
    (b"7", 400, "not_events"),
    (b'{"events": null}', 400, "not_events"),
    (b'{"events": {"0": {}}}', 400, "not_events"),
    (b'{"events": [' + b"{}," * MAX_EVENTS + b"{}]}", 413, "too_many"),
    (filled(MAX_BODY_BYTES + 1), 413, "too_large"),
]


@pytest.mark.parametrize(("body", "status", "reason"), WRONG, ids=lambda value: repr(value)[:24])
async def test_a_body_that_is_no_events_is_refused_with_one_counted_reason(
    here: Desk, body: bytes, status: int, reason: str
) -> None:
    counted = Counted()
    async with here.post(body) as response:
        assert response.status == status
        assert response.content_type == "application/problem+json"
        assert (await response.json(content_type=None))["detail"]
    assert counted.grown() == {(BODIES, reason): 1}
    assert here.total() == 0


@pytest.mark.parametrize(
    ("fields", "status", "reason"),
    [
        ({"content_type": "application/xml"}, 415, "type"),
        ({"content_type": ""}, 415, "type"),
        ({"content_type": "application/json-seq"}, 415, "type"),
        ({"content_encoding": "gzip"}, 415, "encoding"),
        ({"content_encoding": "identity"}, 415, "encoding"),
    ],
)
async def test_a_body_of_another_type_or_coding_is_refused_unread(
    here: Desk, fields: dict[str, str], status: int, reason: str
) -> None:
    counted = Counted()
    async with here.post(gzip.compress(orjson.dumps(event())), **fields) as response:
        assert response.status == status
    assert counted.grown() == {(BODIES, reason): 1}


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (orjson.dumps(event(id="x" * 65)), "id"),
        (orjson.dumps(event(id="old", at_ms=1)), "at_too_old"),
        (orjson.dumps(event(id="new", at_ms=2**63)), "at_ahead"),
        (doubled(b"at", b"1764000000000", b"1e999"), "at"),
        (doubled(b"at", b"1764000000000", b"9" * 401), "at"),
        (doubled(b"at", b"1764000000000", b"9" * 5000), "at"),
        (doubled(b"watched_s", b"1", b"1e999"), "watched"),
        (doubled(b"watched_s", b"1", b"-1e999"), "watched"),
        (doubled(b"id", b'"a"', b'"\\ud800"'), "id"),
        (doubled(b"viewer", b'"a"', b'"\\ud800"'), "viewer"),
        (doubled(b"kind", b'"view"', b'"\\udfff"'), "kind"),
        (doubled(b"resource", b'"a"', b'"\\ud800"'), "resource"),
        (doubled(b"id", b'"a"', b"[" * 1500 + b"]" * 1500), "id"),
        (doubled(b"at", b"1", b"123456789012345678901234567890"), "at"),
        (doubled(b"at", b"1764000000000", b"1.764e12"), "at"),
        (doubled(b"watched_s", b"1", b"1e308"), "watched"),
        (doubled(b"watched_s", b"1", b"-0.001"), "watched"),
        (doubled(b"kind", b'"view"', b'"stare"'), "kind"),  # of a key that is there twice, the last counts
        (doubled(b"viewer", b'"a"', b'["a"]'), "viewer"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",  # bodies hold the time
)
async def test_an_event_that_cannot_be_counted_is_refused_with_its_counted_reason_and_the_others_are_taken(
    here: Desk, item: bytes, reason: str
) -> None:
    counted = Counted()
    async with here.post(b'{"events":[' + item + b"," + orjson.dumps(event()) + b"]}") as response:
        assert response.status == 202
        answer = await response.json()
        assert (answer["accepted"], [one["index"] for one in answer["rejected"]]) == (1, [0])
    grown = counted.grown()
    assert grown[EVENTS, reason] == grown[EVENTS, "accepted"] == grown[BODIES, "taken"] == 1
    assert here.written() == {(HOME, Agent.HUMAN): 1}


@pytest.mark.parametrize("number", [0, 1, MAX_EVENTS])
async def test_as_many_events_as_allowed_are_taken(here: Desk, number: int) -> None:
    async with here.post(orjson.dumps({"events": [event(viewer=str(n)) for n in range(number)]})) as response:
        assert (response.status, await response.json()) == (202, {"accepted": number, "rejected": []})
    assert here.total() == number


@pytest.mark.parametrize("size", [MAX_BODY_BYTES - 1, MAX_BODY_BYTES])
async def test_a_body_as_large_as_allowed_is_taken(here: Desk, size: int) -> None:
    async with here.post(filled(size)) as response:
        assert (response.status, await response.json()) == (202, {"accepted": 1, "rejected": []})


async def test_a_body_in_chunks_is_taken_and_cut_off_when_it_grows_too_large(here: Desk) -> None:
    async def in_pieces(text: bytes, size: int) -> AsyncIterator[bytes]:
        for start in range(0, len(text), size):
            yield text[start : start + size]

    async with here.post(in_pieces(orjson.dumps(event()), 100)) as response:
        assert response.status == 202
    counted = Counted()
    async with here.post(in_pieces(filled(MAX_BODY_BYTES + 1), 16 * 1024)) as response:
        assert response.status == 413
    assert counted.grown() == {(BODIES, "too_large"): 1}
    assert here.total() == 1


async def test_a_body_that_does_not_come_in_time_is_refused_and_counted(
    here: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "READ_TIMEOUT_S", 0.05)
    counted = Counted()
    reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
    writer.write(b"POST /v1/views HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{")
    assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
    writer.close()
    assert counted.grown() == {(BODIES, "slow"): 1}


async def test_ids_that_are_used_again_are_accepted_each_time_and_left_to_the_province(here: Desk) -> None:
    again = event()
    for _ in range(3):
        async with here.post(orjson.dumps({"events": [again, again]})) as response:
            assert (await response.json())["accepted"] == 2
    assert here.total() == 6


async def test_events_are_judged_by_the_nodes_clock_wherever_it_jumps(here: Desk) -> None:
    sent = event()
    for ahead_s, accepted in ((0, 1), (-90, 1), (3 * 86_400, 0), (-3 * 86_400, 0), (0, 1)):
        here.wall.ahead_s = ahead_s
        async with here.post(orjson.dumps(sent)) as response:
            assert response.status == 202
            assert (await response.json())["accepted"] == accepted
    assert here.total() == 3


# -- clients -------------------------------------------------------------------------------------------------------


async def test_a_client_beyond_its_allowance_is_told_when_to_come_again_and_nothing_taken_is_lost(
    tmp_path: Path, short: bool
) -> None:
    now = Now()
    async with desk(tmp_path, short=short, allowances=Allowances(1.0, now=now)) as here:
        body = orjson.dumps({"events": [event() for _ in range(62)]})
        async with here.post(body) as response:
            assert response.status == 202
        counted = Counted()
        async with here.post(body, origin="https://school.example") as response:
            assert response.status == 429
            assert response.headers["Retry-After"] == "3"
            assert response.headers["Access-Control-Expose-Headers"] == "Retry-After"
            assert response.content_type == "application/problem+json"
        assert counted.grown() == {(BODIES, "limited"): 1}
        now.at += 3
        async with here.post(body) as response:
            assert response.status == 202
        assert here.total() == 2 * 62


@pytest.mark.parametrize(("rate", "told_s"), [(1.0, 441), (0.1, 3600)])
async def test_a_client_is_told_as_long_as_it_has_to_wait_up_to_an_hour(
    tmp_path: Path, short: bool, rate: float, told_s: int
) -> None:
    now = Now()
    async with desk(tmp_path, short=short, allowances=Allowances(rate, now=now)) as here:
        body = orjson.dumps({"events": [event() for _ in range(MAX_EVENTS)]})
        async with here.post(body) as response:
            assert response.status == 202
        async with here.post(body) as response:
            assert (response.status, response.headers["Retry-After"]) == (429, str(told_s))
        now.at += MAX_EVENTS / rate - BURST_S + 1 / rate
        async with here.post(body) as response:
            assert response.status == 202


async def test_clients_behind_a_trusted_proxy_have_allowances_of_their_own(tmp_path: Path, short: bool) -> None:
    senders = Senders(networks(["127.0.0.0/8"]))
    async with desk(tmp_path, short=short, senders=senders, allowances=Allowances(1.0, now=Now())) as here:
        body = orjson.dumps({"events": [event() for _ in range(100)]})
        for client, status in (("198.51.100.1", 202), ("198.51.100.1", 429), ("198.51.100.2", 202)):
            async with here.post(body, x_forwarded_for=f"203.0.113.7, {client}") as response:
                assert response.status == status


async def test_bots_are_accepted_and_counted_apart(tmp_path: Path, short: bool) -> None:
    outliers = Outliers(per_viewer=2, per_client=0, now=time.monotonic)
    async with desk(tmp_path, short=short, outliers=outliers) as here:
        counted = Counted()
        at_ms = int(time.time() * 1000)
        async with here.post(orjson.dumps(event()), user_agent="Baiduspider/2.0") as response:
            assert (response.status, await response.json()) == (202, {"accepted": 1, "rejected": []})
        hasty = [event(viewer="hasty", at_ms=at_ms) for _ in range(3)]
        async with here.post(orjson.dumps({"events": [*hasty, event(viewer="calm")]})) as response:
            assert (response.status, await response.json()) == (202, {"accepted": 4, "rejected": []})
        assert here.written() == {(HOME, Agent.BOT): 4, (HOME, Agent.HUMAN): 1}
        grown = counted.grown()
        assert grown["smartedu_view_bot_events_total", "declared"] == 1
        assert grown["smartedu_view_bot_events_total", "viewer"] == 3
        assert grown[EVENTS, "accepted"] == 5


async def test_a_trusted_proxy_tells_where_a_viewer_is_and_nonsense_is_unknown_and_counted(
    tmp_path: Path, short: bool
) -> None:
    senders = Senders(networks(["127.0.0.0/8"]), by_proxy, province="x-province", country="x-country")
    async with desk(tmp_path, short=short, senders=senders) as here:
        counted = Counted()
        for fields in (
            {"x_province": "GD", "x_country": "CN"},
            {"x_country": "TW"},
            {"x_country": "SG"},
            {},
            {"x_province": "Middle-earth"},
        ):
            async with here.post(orjson.dumps(event()), **fields) as response:
                assert response.status == 202
        assert here.written() == {
            (Place("44", "CN"), Agent.HUMAN): 1,
            (Place("71", "CN"), Agent.HUMAN): 1,
            (Place("00", "SG"), Agent.HUMAN): 1,
            (Place("00", "ZZ"), Agent.HUMAN): 2,
        }
        grown = counted.grown()
        places = {how: grown["smartedu_view_places_total", how] for how in ("found", "unknown", "nonsense")}
        assert places == {"found": 3, "unknown": 1, "nonsense": 1}


async def test_what_anybody_says_of_his_place_is_not_believed(tmp_path: Path, short: bool) -> None:
    senders = Senders(networks(["192.0.2.0/24"]), by_proxy, province="x-province", country="x-country")
    async with desk(tmp_path, short=short, senders=senders) as here:
        async with here.post(orjson.dumps(event()), x_province="11") as response:
            assert response.status == 202
        assert here.written() == {(Place("00", "ZZ"), Agent.HUMAN): 1}


# -- browsers ------------------------------------------------------------------------------------------------------


async def test_a_beacon_with_credentials_may_come_from_any_origin(here: Desk) -> None:
    async with here.post(orjson.dumps(event()), origin="https://school.example", content_type="text/plain") as response:
        assert response.status == 202
        assert response.headers["Access-Control-Allow-Origin"] == "https://school.example"
        assert response.headers["Access-Control-Allow-Credentials"] == "true"
        assert response.headers["Vary"] == "Origin"
    asked = {"Origin": "null", "Access-Control-Request-Method": "POST"}
    async with here.session.options(f"http://127.0.0.1:{here.port}/v1/views", headers=asked) as response:
        assert response.status == 204
        assert response.headers["Access-Control-Allow-Origin"] == "null"
        assert response.headers["Access-Control-Allow-Headers"] == "Content-Type"
        assert response.headers["Vary"] == "Origin"
    async with here.post(orjson.dumps(event())) as response:
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in response.headers

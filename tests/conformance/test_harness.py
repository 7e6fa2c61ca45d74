"""The suite's own client, origin and judge do what the cases rely on: proved by letting them talk without an edge."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.conformance.claims import asked, body, fetched, interim, part, reused, status, trailers
from tests.conformance.dialogue import DisagreementError, perform
from tests.conformance.model import Ask, Claim, Framing, Reply, case
from tests.conformance.origin import RawOrigin
from tests.conformance.script import empty, get, head, held, lines, post, raw, reply, together


@pytest.fixture
async def origin() -> AsyncIterator[RawOrigin]:
    async with RawOrigin() as running:
        yield running


async def _play(origin: RawOrigin, replies: list[Reply], *asks: Ask) -> None:
    """A case before the bare origin."""
    await perform(case("self", "RFC 9110, 1", "a trial", origin=replies, client=asks), "127.0.0.1", origin.port, origin)


@pytest.mark.parametrize(
    "one",
    [
        reply(),
        reply(body=b""),
        reply(framing=Framing.CHUNKED),
        reply(framing=Framing.CHUNKED, body=b""),
        reply(framing=Framing.CLOSE),
        reply(body=bytes(range(256)) * 10_000),
        reply(framing=Framing.CHUNKED, body=bytes(range(256)) * 10_000),
        reply(status=404),
        empty(204),
        reply(version="HTTP/1.0", framing=Framing.CLOSE),
        reply(reason=""),
        raw(lines("HTTP/1.1 200 OK", "Content-Length: 16", "Connection: close", "Date: <now>") + "answer 1 of self"),
    ],
)
async def test_client_reads_whatever_framing_the_origin_uses(origin: RawOrigin, one: Reply) -> None:
    await _play(origin, [one, reply()], get(status(one.status)), get(fetched(2)))


async def test_client_reads_interim_responses_and_trailers(origin: RawOrigin) -> None:
    one = reply(framing=Framing.CHUNKED, trailers=("X-Sum: 1",), interim=(lines("HTTP/1.1 103 Early Hints"),))
    await _play(origin, [one], get(fetched(1), interim(103), trailers(("X-Sum", "1"))))


async def test_origin_takes_bodies_of_either_framing(origin: RawOrigin) -> None:
    await _play(origin, [reply(), reply()], post(fetched(1)), post(fetched(2), chunked=True, trailers=("X: 1",)))


async def test_origin_answers_a_head_without_a_body(origin: RawOrigin) -> None:
    await _play(origin, [reply(), reply()], head(status(200), body(b"")), get(fetched(2)))


async def test_origin_cuts_out_ranges(origin: RawOrigin) -> None:
    one = reply(body=b"0123456789", ranges=True)
    await _play(origin, [one], get("Range: bytes=2-4", part(1, 2, 4)), get("Range: bytes=50-", status(416)))


async def test_origin_judges_conditions(origin: RawOrigin) -> None:
    one = reply('ETag: "a"', "Last-Modified: <now-100>", conditional=True)
    await _play(
        origin,
        [one],
        get('If-None-Match: "a"', status(304)),
        get("If-Modified-Since: <now-50>", status(304)),
        get('If-Match: "b"', status(412)),
        get('If-None-Match: "b"', status(200)),
    )


async def test_held_answers_go_on_when_all_clients_have_their_head(origin: RawOrigin) -> None:
    trial = case(
        "self",
        "RFC 9110, 1",
        "a trial",
        origin=[held(body=b"x" * 1000)] * 2,
        client=[together(get(asked(2), status(200)), get(asked(2), status(200)))],
    )
    await perform(trial, "127.0.0.1", origin.port, origin)


@pytest.mark.parametrize(
    ("one", "complaint"),
    [
        (reply(body=b"x" * 100, cut=50), "cut off"),
        (reply(framing=Framing.CHUNKED, cut=3), "cut off"),
        (raw(""), "without a response"),
        (raw("HTTP/1.1 200 OK\r\nContent-Len"), "inside a head"),
        (raw(lines("HTTP/1.1 200 OK", "Bad name: 1")), "a bad field line"),
        (raw(lines("HTTP/1.1 200 OK", "X: a\rb")), "a bad field line"),
        (raw(lines("HTTP/1.1 20 OK")), "a bad status line"),
        (raw(lines("HTTP/1.1 200 OK", "Content-Length: x")), "a bad Content-Length"),
        (raw(lines("HTTP/1.1 200 OK", "Content-Length: 1", "Transfer-Encoding: chunked")), "both Transfer-Encoding"),
        (raw(lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + "zz\r\n"), "a bad chunk size"),
        (reply("Connection: x", "X: 1"), "Connection lists"),
        (reply("Keep-Alive: timeout=5"), "connection fields"),
        (reply(dated=False), "Date is ()"),
        (reply("Cache-Status: test; hit; fwd=stale"), "both hit and fwd"),
        (reply("Cache-Status: test; hit"), "a hit with Age ()"),
        (reply("Cache-Status: test; fwd=whim"), "fwd=whim"),
        (reply("Cache-Status: ((("), "Cache-Status"),
    ],
)
async def test_judge_complains_of_a_wrong_answer(origin: RawOrigin, one: Reply, complaint: str) -> None:
    with pytest.raises(DisagreementError) as caught:
        await _play(
            origin, [one], get(status(200), body(b"x" * 100) if one.cut == 50 else status(200)), get(fetched(1))
        )
    assert complaint in str(caught.value)


@pytest.mark.parametrize("claim", [reused(1), asked(0), status(304), part(1, 0, 1), body(b"other")])
async def test_judge_sees_that_there_is_no_cache(origin: RawOrigin, claim: Claim) -> None:
    with pytest.raises(
        DisagreementError, match=r"client -> edge(.|\n)*edge -> origin(.|\n)*origin -> edge(.|\n)*client <-"
    ):
        await _play(origin, [reply("Cache-Control: max-age=60")], get(fetched(1)), get(claim))

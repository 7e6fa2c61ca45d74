"""How an origin in trouble is left alone, and how often something is asked again."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.cache.breaker import LONGEST_REST_S, MOST_TARGETS, Breaker, GuardedReader
from origin.http import Deadlines, HttpReader
from origin.reader import OriginError, OriginFailure, ReadRequest
from origin.retries import RetryBudget
from tests.support.origin import Script, ScriptedOrigin
from tests.support.ticking import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def origin() -> AsyncIterator[ScriptedOrigin]:
    async with ScriptedOrigin() as started:
        yield started


@pytest.fixture
async def guarded(origin: ScriptedOrigin, clock: ManualClock) -> AsyncIterator[GuardedReader]:
    reader = HttpReader(origin.url, deadlines=Deadlines(first_byte_s=5, idle_s=5))
    guarded = GuardedReader(reader, now=clock.monotonic, limit=5, probe_after_s=1.0)
    yield guarded
    await guarded.close()


async def status(reader: GuardedReader, path: str = "/a") -> int | OriginError:
    try:
        async with reader.open(ReadRequest(path)) as response:
            return response.status
    except OriginError as error:
        return error


def test_a_breaker_opens_after_failures_in_a_row_and_lets_one_probe_through_at_a_time(clock: ManualClock) -> None:
    breaker = Breaker(now=clock.monotonic, limit=3, probe_after_s=1.0)
    for failed in (True, True, False, True, True):
        assert breaker.allow()
        breaker.failed() if failed else breaker.succeeded()
    assert breaker.closed
    breaker.failed()
    assert (breaker.closed, breaker.allow(), breaker.rest_s) == (False, False, 1.0)
    clock.advance(1.0)
    assert [breaker.allow() for _ in range(3)] == [True, False, False]
    breaker.succeeded()
    assert (breaker.closed, breaker.allow(), breaker.rest_s) == (True, True, 0.0)


def test_a_decisive_failure_opens_at_once(clock: ManualClock) -> None:
    breaker = Breaker(now=clock.monotonic, limit=3, probe_after_s=1.0)
    breaker.failed(decisive=True)
    assert not breaker.allow()


def test_a_rest_that_is_asked_for_is_kept_up_to_a_limit_and_ends_with_success(clock: ManualClock) -> None:
    breaker = Breaker(now=clock.monotonic, limit=2, probe_after_s=1.0)
    breaker.failed(rest_s=20)
    assert breaker.allow(), "one failure may be about one object"
    breaker.failed(rest_s=20)
    clock.advance(19)
    assert not breaker.allow()
    breaker.failed()
    assert breaker.rest_s == pytest.approx(1)
    breaker.failed(rest_s=1e9)
    assert breaker.rest_s == LONGEST_REST_S
    breaker.succeeded()
    breaker.failed(decisive=True)
    assert breaker.rest_s == pytest.approx(1), "the earlier rest is over"


@pytest.mark.parametrize("targets", [1, 2, 7, 1000])
@pytest.mark.parametrize("status_code", [500, 502, 503])
async def test_an_origin_that_answers_only_5xx_is_asked_at_the_probe_rate(
    guarded: GuardedReader, origin: ScriptedOrigin, clock: ManualClock, status_code: int, targets: int
) -> None:
    paths = [f"/{number}?{number}" for number in range(targets)]
    origin.objects.update(dict.fromkeys(paths, Script(b"", status=status_code)))
    for number in range(1000):
        await status(guarded, paths[number % targets])
        clock.advance(0.01)
    alone = targets if targets < 5 else 1  # from five on they count together
    # In 10 s: 5 until it opens, then one a second; every other second if all that comes has failed before.
    assert (5 + 5) * alone <= len(origin.seen) <= (5 + 11) * alone
    assert guarded.healthy is (targets < 5)


async def test_one_object_that_is_broken_takes_no_other_away(
    guarded: GuardedReader, origin: ScriptedOrigin, clock: ManualClock
) -> None:
    origin.objects["/a"] = Script(b"", status=503, headers={"Retry-After": "60"})
    origin.objects["/b"] = Script(b"well")
    for number in range(200):
        await status(guarded, f"/a?{number}")
        clock.advance(0.1)
    assert await status(guarded, "/b") == 200
    assert origin.count("/b") == 1


async def test_an_object_that_stays_broken_does_not_take_every_probe(
    guarded: GuardedReader, origin: ScriptedOrigin, clock: ManualClock
) -> None:
    paths = [f"/{number}" for number in range(6)]
    origin.objects.update(dict.fromkeys(paths, Script(b"", status=503)))
    for path in paths:
        await status(guarded, path)
    origin.objects["/other"] = Script(b"well")
    came = []
    for _ in range(300):
        await status(guarded, "/0")  # always a little earlier
        came.append(await status(guarded, "/other"))
        clock.advance(0.01)
    assert 200 in came
    assert guarded.healthy


def test_of_targets_that_fail_only_so_many_are_known(guarded: GuardedReader) -> None:
    for number in range(3 * MOST_TARGETS):
        guarded._failed(f"/{number}", 0.0)
    assert len(guarded._targets) == MOST_TARGETS
    assert len(guarded._failing) == 5


@pytest.mark.parametrize(("method", "status_code"), [("FROB", 500), ("FROB", 501), ("GET", 501), ("GET", 505)])
async def test_what_a_client_can_provoke_does_not_shut_others_out(
    guarded: GuardedReader, origin: ScriptedOrigin, method: str, status_code: int
) -> None:
    origin.objects["/a"] = Script(b"", status=status_code)
    for _ in range(20):
        async with guarded.open(ReadRequest("/a", method=method)) as response:
            assert response.status == status_code
    assert guarded.healthy


async def test_an_origin_that_recovers_is_found_out_by_the_next_probe(
    guarded: GuardedReader, origin: ScriptedOrigin, clock: ManualClock
) -> None:
    origin.objects["/a"] = Script(b"", status=500)
    for _ in range(6):
        await status(guarded)
    origin.objects["/a"] = Script(b"well")
    assert isinstance(await status(guarded), OriginError)
    clock.advance(1)
    assert await status(guarded) == 200
    assert await status(guarded) == 200


async def test_who_is_refused_is_told_when_to_come_again(guarded: GuardedReader, origin: ScriptedOrigin) -> None:
    origin.objects["/a"] = Script(b"", status=503, headers={"Retry-After": "30"})
    for _ in range(5):
        assert await status(guarded) == 503
    refused = await status(guarded)
    assert isinstance(refused, OriginError)
    assert (refused.failure, refused.status) == (OriginFailure.UNAVAILABLE, 503)
    assert refused.retry_after_s == pytest.approx(30)


async def test_a_date_to_come_again_counts_by_the_origins_own_clock(
    guarded: GuardedReader, origin: ScriptedOrigin
) -> None:
    dates = {"Date": "Mon, 01 Jan 2001 00:00:00 GMT", "Retry-After": "Mon, 01 Jan 2001 00:00:20 GMT"}
    origin.objects["/a"] = Script(b"", status=503, headers=dates)
    for _ in range(5):
        await status(guarded)
    refused = await status(guarded)
    assert isinstance(refused, OriginError)
    assert refused.retry_after_s == pytest.approx(20)


@pytest.mark.parametrize("said", ["", "-5", "soon", "9" * 400, "Mon, 01 Jan 1990 00:00:00 GMT", "１"])
async def test_nonsense_to_come_again_is_no_reason_to_stay_away(
    guarded: GuardedReader, origin: ScriptedOrigin, said: str
) -> None:
    origin.objects["/a"] = Script(b"", status=503, headers={"Retry-After": said})
    for _ in range(5):
        await status(guarded)
    refused = await status(guarded)
    assert isinstance(refused, OriginError)
    assert refused.retry_after_s is not None
    assert 0 < refused.retry_after_s <= LONGEST_REST_S


async def test_our_own_faults_and_the_clients_do_not_open_it(guarded: GuardedReader, origin: ScriptedOrigin) -> None:
    for _ in range(10):
        assert isinstance(await status(guarded, "/a b"), OriginError)
    assert guarded.healthy
    assert origin.seen == []


async def test_a_body_that_breaks_off_does_not_open_it(guarded: GuardedReader, origin: ScriptedOrigin) -> None:
    origin.objects["/a"] = Script(b"x" * 100, break_at=10)

    async def read() -> bytes:
        async with guarded.open(ReadRequest("/a")) as response:
            return b"".join([piece async for piece in response.chunks])

    for _ in range(10):
        with pytest.raises(OriginError):
            await read()
    assert guarded.healthy


def test_retries_are_a_share_of_the_requests_of_the_window(clock: ManualClock) -> None:
    budget = RetryBudget(now=clock.monotonic, share=0.1, least=3, window_s=10)
    for _ in range(1000):
        budget.asked()
    assert sum(budget.spend() for _ in range(1000)) == 100
    clock.advance(11)
    assert sum(budget.spend() for _ in range(1000)) == 3, "a quiet node may still get around a fault"


@given(st.lists(st.sampled_from(["ask", "retry", "wait"]), max_size=400))
def test_what_is_sent_is_never_more_than_asked_and_a_tenth_and_the_least(events: list[str]) -> None:
    clock = ManualClock()
    budget = RetryBudget(now=clock.monotonic, share=0.1, least=3, window_s=10)
    asked = retried = 0
    for event in events:
        if event == "wait":
            clock.advance(11)  # a new window
            asked = retried = 0
        elif event == "ask":
            budget.asked()
            asked += 1
        else:
            retried += budget.spend()
        assert retried <= max(3, asked / 10)

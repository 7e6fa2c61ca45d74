"""Several real origins as one: fail-over, health, bounded loads, bounded amplification."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from math import ceil

import pytest

from edge.cache.breaker import GuardedReader
from origin.http import Deadlines, HttpReader
from origin.parents import BOUND, FAILURES, MOST_PROBES, Parents
from origin.reader import OriginError, OriginFailure, ReadRequest, ReadResponse
from origin.retries import RetryBudget
from tests.support.loopguard import nothing_blocks_the_loop  # noqa: F401
from tests.support.origin import Script, ScriptedOrigin
from tests.support.raw_origin import End, Raw, RawOrigin, response
from tests.support.ticking import ManualClock
from tests.support.waiting import eventually

DEADLINES = Deadlines(queue_s=5, connect_s=5, first_byte_s=10, idle_s=10)
KEYS = [f"/media/{number}" for number in range(200)]


class Anything(dict[str, Script]):
    """The same object under every path, but for those that are named."""

    def __init__(self, script: Script, but: dict[str, Script] | None = None) -> None:
        super().__init__(but or {})
        self.script = script

    def get(self, key: str, _default: object = None) -> Script:
        return super().get(key, self.script)


class Group:
    """Parents over scripted origins; `say` sets what one of them answers to everything."""

    def __init__(self, origins: list[ScriptedOrigin], budget: RetryBudget) -> None:
        self.origins = {origin.url: origin for origin in origins}
        readers = {url: HttpReader(url, deadlines=DEADLINES, max_concurrent=512) for url in self.origins}
        self.probes = asyncio.Semaphore(0)
        self.parents = Parents(readers, budget=budget, sleep=self._until_probe)
        for url in self.origins:
            self.say(url, Script(b"well"))

    def say(self, url: str, script: Script) -> None:
        self.origins[url].objects = Anything(script)

    def own(self, target: str) -> ScriptedOrigin:
        """The origin that has the key."""
        return self.origins[self.parents.rank(target)[0]]

    def asked(self) -> int:
        """Requests that all of them have seen, probes left out."""
        return sum(seen.method != "HEAD" for origin in self.origins.values() for seen in origin.seen)

    async def _until_probe(self, _seconds: float) -> None:
        await self.probes.acquire()


@pytest.fixture
async def group() -> AsyncIterator[Group]:
    """Four of them."""
    async with grouped(4) as made:
        yield made


@asynccontextmanager
async def grouped(number: int) -> AsyncIterator[Group]:
    async with AsyncExitStack() as stack:
        origins = [await stack.enter_async_context(ScriptedOrigin()) for _ in range(number)]
        made = Group(origins, RetryBudget(now=ManualClock().monotonic))
        stack.push_async_callback(made.parents.close)
        yield made


async def read(parents: Parents | GuardedReader, request: ReadRequest) -> tuple[ReadResponse, bytes]:
    async with parents.open(request) as answer:
        return answer, b"".join([piece async for piece in answer.chunks])


async def test_each_key_is_asked_of_its_own_parent(group: Group) -> None:
    for key in KEYS[:40]:
        await read(group.parents, ReadRequest(key))
    for key in KEYS[:40]:
        assert group.own(key).count(key) == 1
    assert group.asked() == 40


async def test_a_parent_that_is_gone_costs_no_client_anything_and_is_left_out_at_once(group: Group) -> None:
    gone = group.own(KEYS[0])
    await gone.stop()
    for key in KEYS:
        _, body = await read(group.parents, ReadRequest(key))
        assert body == b"well"
    assert group.parents.healthy[gone.url] is False
    assert group.asked() == len(KEYS), "what was not sent is no amplification and needs no budget"


async def test_a_request_with_a_body_goes_on_too_while_nothing_of_it_was_sent(group: Group) -> None:
    await group.own("/a").stop()

    async def body() -> AsyncIterator[bytes]:
        yield b"abc"

    answer, _ = await read(group.parents, ReadRequest("/a", method="POST", body=body(), body_length=3))
    assert answer.status == 200


async def test_a_parent_that_comes_back_is_found_by_the_probe_and_by_no_client(group: Group) -> None:
    gone = group.own("/a")
    await gone.stop()
    await read(group.parents, ReadRequest("/a"))
    group.probes.release()
    await eventually(group.probes.locked)
    assert group.parents.healthy[gone.url] is False
    await gone.start()
    group.probes.release()
    await eventually(lambda: group.parents.healthy[gone.url])
    assert [(seen.method, seen.path) for seen in gone.seen] == [("HEAD", "/a")]
    await read(group.parents, ReadRequest("/a"))
    assert gone.count("/a") == 2


async def test_a_parent_that_answers_only_5xx_is_left_out_until_it_answers_otherwise(group: Group) -> None:
    ill = group.own(KEYS[0])
    group.say(ill.url, Script(b"", status=500))
    keys = [key for key in KEYS if group.own(key) is ill][: 2 * FAILURES]
    statuses = Counter([(await read(group.parents, ReadRequest(key)))[0].status for key in keys])
    assert statuses == {500: FAILURES, 200: FAILURES}, "a 500 may be the object's own and is passed on"
    assert group.parents.healthy[ill.url] is False
    group.say(ill.url, Script(b"", status=404))
    group.probes.release()
    await eventually(lambda: group.parents.healthy[ill.url])


async def test_a_parent_that_fails_at_one_target_is_left_out_for_that_alone(group: Group) -> None:
    ill = group.own("/a")
    ill.objects = Anything(Script(b"well"), but={"/a": Script(b"", status=500)})
    statuses = [(await read(group.parents, ReadRequest("/a")))[0].status for _ in range(20)]
    assert statuses == [500] * FAILURES + [200] * (20 - FAILURES)
    assert group.parents.healthy[ill.url]
    other = next(key for key in KEYS if group.own(key) is ill)
    await read(group.parents, ReadRequest(other))
    assert ill.count(other) == 1
    group.say(ill.url, Script(b"well"))
    before = ill.count("/a")
    group.probes.release()
    await eventually(lambda: ill.count("/a") == before + 1)
    await eventually(lambda: not group.parents._parents[[*group.origins].index(ill.url)].avoids("/a"))
    await read(group.parents, ReadRequest("/a"))
    assert ill.count("/a") == before + 2


@pytest.mark.parametrize("status", [500, 503])
async def test_a_parent_comes_back_though_an_object_that_it_failed_at_stays_broken(group: Group, status: int) -> None:
    ill = group.own(KEYS[0])
    group.say(ill.url, Script(b"", status=500))
    keys = [key for key in KEYS if group.own(key) is ill][:FAILURES]
    for key in keys:
        await read(group.parents, ReadRequest(key))
    assert group.parents.healthy[ill.url] is False
    ill.objects = Anything(Script(b"well"), but=dict.fromkeys(keys[:-1], Script(b"", status=status)))
    for _ in keys:
        group.probes.release()
    await eventually(lambda: group.parents.healthy[ill.url])


async def test_a_target_comes_back_though_others_stay_broken(group: Group) -> None:
    ill = group.own("/a")
    others = [key for key in KEYS if group.own(key) is ill][:3]
    broken = Script(b"", status=503)
    ill.objects = Anything(Script(b"well"), but=dict.fromkeys([*others, "/a"], broken))
    for key in [*others, "/a"] * FAILURES:
        await read(group.parents, ReadRequest("/well"))
        await read(group.parents, ReadRequest(key))
    ill.objects = Anything(Script(b"well"), but=dict.fromkeys(others, broken))
    for _ in range(2 * len(others) + 2):
        group.probes.release()
    (parent,) = (one for one in group.parents._parents if one.name == ill.url)
    await eventually(lambda: not parent.avoids("/a"))
    assert all(parent.avoids(key) for key in others)


async def test_a_target_that_stays_broken_is_not_probed_for_ever(group: Group) -> None:
    ill = group.own("/a")
    ill.objects = Anything(Script(b"well"), but={"/a": Script(b"", status=503)})
    for _ in range(FAILURES):
        await read(group.parents, ReadRequest("/a"))
    for _ in range(MOST_PROBES + 10):
        group.probes.release()
    await eventually(lambda: not [task for task in asyncio.all_tasks() if task.get_name().startswith("probe of")])
    assert sum(seen.method == "HEAD" for seen in ill.seen) <= MOST_PROBES + 1


async def test_a_parent_that_listens_again_comes_back_whatever_it_says_of_what_it_was_asked(group: Group) -> None:
    gone = group.own("/a")
    await gone.stop()
    await read(group.parents, ReadRequest("/a"))
    assert group.parents.healthy[gone.url] is False
    group.say(gone.url, Script(b"", status=503))
    await gone.start()
    group.probes.release()
    await eventually(lambda: group.parents.healthy[gone.url])


@pytest.mark.parametrize("request_", [ReadRequest("/a", method="FROB"), ReadRequest("/a")])
@pytest.mark.parametrize("status", [501, 505])
async def test_what_a_parent_never_does_is_no_reason_to_leave_it_out(
    group: Group, request_: ReadRequest, status: int
) -> None:
    group.say(group.own("/a").url, Script(b"", status=status))
    for _ in range(3 * FAILURES):
        assert (await read(group.parents, request_))[0].status == status
    assert all(group.parents.healthy.values())


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_a_parents_own_trouble_sends_an_idempotent_request_on(group: Group, status: int) -> None:
    group.say(group.own("/a").url, Script(b"", status=status))
    answer, body = await read(group.parents, ReadRequest("/a"))
    assert (answer.status, body) == (200, b"well")
    answer, _ = await read(group.parents, ReadRequest("/a", method="POST"))
    assert answer.status == status


async def test_the_last_answer_counts_when_all_are_in_trouble(group: Group) -> None:
    for url in group.origins:
        group.say(url, Script(b"", status=503))
    answer, _ = await read(group.parents, ReadRequest("/a"))
    assert answer.status == 503
    for origin in group.origins.values():
        await origin.stop()
    with pytest.raises(OriginError) as caught:
        await read(group.parents, ReadRequest("/a"))
    assert caught.value.failure is OriginFailure.CONNECT


async def test_when_none_is_well_all_are_tried(group: Group) -> None:
    for origin in group.origins.values():
        await origin.stop()
    for key in KEYS[:8]:
        with pytest.raises(OriginError):
            await read(group.parents, ReadRequest(key))
    assert not any(group.parents.healthy.values())
    for origin in group.origins.values():
        await origin.start()
    assert (await read(group.parents, ReadRequest("/a")))[1] == b"well"
    assert group.parents.healthy[group.own("/a").url]


async def test_one_title_with_half_of_the_load_keeps_the_busiest_parent_within_the_bound() -> None:
    async with grouped(10) as group:
        hold = asyncio.Event()
        for url in group.origins:
            group.say(url, Script(b"x", hold=hold))
        targets = [KEYS[0] if number % 2 else KEYS[number] for number in range(200)]
        reading = [asyncio.create_task(read(group.parents, ReadRequest(target))) for target in targets]
        await eventually(lambda: sum(group.parents.under_way.values()) == len(targets))
        loads = group.parents.under_way
        assert max(loads.values()) <= ceil(BOUND * len(targets) / len(loads))
        assert min(loads.values()) > 0
        hold.set()
        await asyncio.gather(*reading)
        assert set(group.parents.under_way.values()) == {0}


async def test_a_quiet_node_keeps_every_key_at_its_place(group: Group) -> None:
    hold = asyncio.Event()
    own = group.own("/a")
    group.say(own.url, Script(b"x", hold=hold))
    reading = [asyncio.create_task(read(group.parents, ReadRequest("/a"))) for _ in range(4)]
    await eventually(lambda: own.count("/a") == 4)
    hold.set()
    await asyncio.gather(*reading)


async def test_parents_that_only_fail_are_asked_at_most_a_tenth_more(group: Group) -> None:
    for url in group.origins:
        group.say(url, Script(b"", status=503))
    for number in range(1000):
        await read(group.parents, ReadRequest(KEYS[number % len(KEYS)]))
    assert 1000 < group.asked() <= 1100


async def test_behind_a_breaker_parents_that_only_fail_are_asked_at_the_probe_rate(group: Group) -> None:
    clock = ManualClock()
    guarded = GuardedReader(group.parents, now=clock.monotonic, limit=5, probe_after_s=1.0)
    for url in group.origins:
        group.say(url, Script(b"", status=503))
    for _ in range(1000):
        with OriginErrorsPass():
            await read(guarded, ReadRequest("/a"))
        clock.advance(0.01)
    assert group.asked() <= (5 + 11) + 3, "5 until it opens, 1 a second for 10 s, and the retries of a quiet node"


class OriginErrorsPass:
    """Lets an OriginError pass unseen."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> bool:
        return kind is OriginError


async def test_a_lone_origin_is_asked_once_more_only_if_it_closed_the_connection() -> None:
    async with RawOrigin(Raw([], End.CLOSE), Raw([response(b"well")], End.CLOSE)) as origin:
        parents = Parents(
            {"only": HttpReader(origin.url, deadlines=DEADLINES)}, budget=RetryBudget(now=ManualClock().monotonic)
        )
        assert (await read(parents, ReadRequest("/a")))[1] == b"well"
        origin.answers = [Raw([], End.CLOSE)]
        for _ in range(20):
            with pytest.raises(OriginError):
                await read(parents, ReadRequest("/a"))
        assert len(origin.asked) == 2 + 20 + 2, "a budget of 3 retries, one of them spent before"
        with pytest.raises(OriginError):
            await read(parents, ReadRequest("/a", method="POST"))
        assert len(origin.asked) == 25
        await parents.close()


async def test_closing_in_the_middle_of_a_probe_leaves_no_task_behind(group: Group) -> None:
    gone = group.own("/a")
    await gone.stop()
    await read(group.parents, ReadRequest("/a"))
    await group.parents.close()
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("probe of")]

"""Connections that wait for their next exchange, and deadlines that move."""

from __future__ import annotations

import asyncio

import pytest

from origin.pool import Address, Pool
from origin.reader import OriginError, OriginFailure
from origin.watch import Watch
from tests.support.raw_origin import Raw, RawOrigin, response
from tests.support.ticking import LoopTime
from tests.support.waiting import eventually


async def test_an_unused_connection_is_closed_after_its_time() -> None:
    async with RawOrigin(Raw([response()])) as origin:
        pool = Pool(Address.of(origin.url), tls=None, keep=4, keep_s=0.1)
        connection = await pool.connect(5)
        pool.give_back(connection)
        await eventually(lambda: not connection.alive)
        assert pool.take(younger_than_s=60) is None
        await pool.close()


async def test_no_more_connections_are_kept_than_may_be_and_the_youngest_goes_first() -> None:
    async with RawOrigin(Raw([response()])) as origin:
        pool = Pool(Address.of(origin.url), tls=None, keep=2)
        made = [await pool.connect(5) for _ in range(3)]
        for connection in made:
            pool.give_back(connection)
        await eventually(lambda: not made[2].alive)
        assert pool.take(younger_than_s=60) is made[1]
        assert pool.take(younger_than_s=0) is None, "it may be too old for what cannot be repeated"
        assert pool.take(younger_than_s=60) is made[0]
        await pool.close()
        assert not any(connection.alive for connection in made)


async def test_a_connection_that_the_origin_closes_is_gone_at_once() -> None:
    async with RawOrigin(Raw([response()])) as origin:
        pool = Pool(Address.of(origin.url), tls=None, keep=2)
        connection = await pool.connect(5)
        pool.give_back(connection)
        await origin.stop()
        await eventually(lambda: not connection.alive)
        assert pool.take(younger_than_s=60) is None
        await pool.close()


@pytest.mark.parametrize(
    ("base", "host", "port", "authority", "path"),
    [
        ("http://a.example", "a.example", 80, "a.example", ""),
        ("http://a.example:8080/", "a.example", 8080, "a.example:8080", ""),
        ("https://a.example:443/x/y/", "a.example", 443, "a.example", "/x/y"),
        ("https://[::1]:8443", "::1", 8443, "[::1]:8443", ""),
        ("http://[::1]", "::1", 80, "[::1]", ""),
    ],
)
def test_an_address_says_where_to_connect_and_what_to_call_it(
    base: str, host: str, port: int, authority: str, path: str
) -> None:
    address = Address.of(base)
    assert (address.host, address.port, address.authority, address.path) == (host, port, authority, path)
    assert address.encrypted is base.startswith("https")


async def test_a_deadline_that_is_moved_in_time_is_not_missed() -> None:
    missed: list[OriginError] = []
    watch = Watch(missed.append)
    time = LoopTime()
    for _ in range(5):
        watch.expect(200, OriginFailure.READ_TIMEOUT, "more")
        await time.leap(150)
    assert missed == []
    await time.leap(60)
    assert [error.failure for error in missed] == [OriginFailure.READ_TIMEOUT]
    watch.stop()


async def test_an_earlier_deadline_replaces_a_later_one_and_nothing_is_missed_when_all_is_over() -> None:
    missed: list[OriginError] = []
    watch = Watch(missed.append)
    watch.limit(asyncio.get_running_loop().time() + 60)
    watch.expect(30, OriginFailure.READ_TIMEOUT, "more")
    watch.expect(0.02, OriginFailure.WRITE_TIMEOUT, "room")
    await eventually(lambda: missed)
    assert missed[0].failure is OriginFailure.WRITE_TIMEOUT
    watch.expect(0.02, OriginFailure.READ_TIMEOUT, "more")
    watch.clear()
    watch.expect(0.2, OriginFailure.TERMINATED, "next")
    await eventually(lambda: len(missed) == 2)
    assert missed[1].failure is OriginFailure.TERMINATED
    watch.stop()

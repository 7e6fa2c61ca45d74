"""A message is made once for all who listen, who is slow misses some, and nobody is left waiting at the end."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from edge.broadcast import Broadcast
from tests.support.loopguard import nothing_blocks_the_loop  # noqa: F401
from tests.support.waiting import eventually


class Source:
    def __init__(self) -> None:
        self.made = 0
        self.over = False

    async def make(self) -> bytes:
        self.made += 1
        return b"%d" % self.made

    def broadcast(self, most: int = 10) -> Broadcast:
        return Broadcast(self.make, ending=lambda: self.over, every_s=0.01, most=most)


async def collect(broadcast: Broadcast, count: int) -> list[bytes]:
    found: list[bytes] = []
    async with aclosing(broadcast.messages()) as messages:
        async for message in messages:
            found.append(message)
            if len(found) == count:
                break
    return found


async def test_all_hear_the_same_messages_each_of_which_is_made_once() -> None:
    source = Source()
    broadcast = source.broadcast()
    heard = await asyncio.gather(*(collect(broadcast, 5) for _ in range(4)))
    assert heard == [[b"1", b"2", b"3", b"4", b"5"]] * 4
    await broadcast.stop()


async def test_nothing_is_made_for_nobody_and_it_begins_again_for_the_next() -> None:
    source = Source()
    broadcast = source.broadcast()
    await collect(broadcast, 1)
    await eventually(lambda: len(broadcast) == 0)
    await eventually(lambda: not [task for task in asyncio.all_tasks() if task.get_name() == "broadcast"])
    made = source.made
    assert await collect(broadcast, 1) == [b"%d" % (made + 1)]
    await broadcast.stop()


async def test_a_slow_listener_gets_the_newest_message_next() -> None:
    source = Source()
    broadcast = source.broadcast()
    async with aclosing(broadcast.messages()) as messages:
        assert await anext(messages) == b"1"
        await eventually(lambda: source.made >= 4)
        assert int(await anext(messages)) >= 4
    await broadcast.stop()


async def test_there_is_room_for_so_many() -> None:
    source = Source()
    broadcast = source.broadcast(most=1)
    async with aclosing(broadcast.messages()) as messages:
        await anext(messages)
        full = broadcast.full
    assert (full, broadcast.full) == (True, False)
    await broadcast.stop()


async def test_at_the_end_everybody_is_sent_away() -> None:
    source = Source()
    broadcast = source.broadcast()
    listening = [asyncio.create_task(collect(broadcast, 1_000_000)) for _ in range(3)]
    await eventually(lambda: source.made > 1)
    source.over = True
    assert all(len(heard) < 1_000_000 for heard in await asyncio.gather(*listening))
    await broadcast.stop()


async def test_a_message_that_cannot_be_made_leaves_nobody_waiting_for_ever() -> None:
    class Broken(Source):
        async def make(self) -> bytes:
            if self.made == 1:
                self.made += 1
                raise KeyError("a bug")
            return await super().make()

    broadcast = Broken().broadcast()
    assert await asyncio.wait_for(collect(broadcast, 3), 10) == [b"1", b"3", b"4"]
    await broadcast.stop()

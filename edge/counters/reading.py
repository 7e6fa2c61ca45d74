"""What the read model asks of the provinces' Redis, and nothing else of the counters that reads there.

Every call is of one province's keys, so that it works on a cluster, too, where provinces lie on different nodes. What
belongs together is read in one call (`reading.lua`). Nothing is decided here and nothing is remembered.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import chain
from operator import methodcaller
from typing import Any, Final

import numpy as np
from redis.asyncio import RedisCluster
from redis.exceptions import ResponseError

from edge.counters.counting_day import begin_of_day, day_named
from edge.counters.sheet import Ints
from edge.counters.sink import province_prefix
from edge.redis_clients import FAILURES, Client, load_functions

_SOURCE: Final = files("edge.counters").joinpath("reading.lua").read_text("utf-8")
VERSION: Final = hashlib.sha256(_SOURCE.encode()).hexdigest()[:12]
_CODE: Final = f"#!lua name=smartedu_reading_{VERSION}\n" + _SOURCE.replace("@VERSION@", VERSION)
_METRICS: Final = ("views", "plays", "watch_ms")
_AT_ONCE: Final = 2000  # commands of one pipeline, so that neither side is held up for long
_HASHES_AT_ONCE: Final = 50
_SKETCH_TTL_MS: Final = 5000
ANYTHING: Final = 1_000_000_000

Hash = Mapping[str, int]
Ranking = tuple[Sequence[bytes], Ints]
"""Resources, and the count of each."""


class BoardError(Exception):
    """The counts can't be read now."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Some resources and their counts. values: views, plays, watch_ms by resource."""

    resources: Sequence[bytes]
    values: Ints


@dataclass(frozen=True, slots=True)
class Glance:
    """A province at one moment. moved: what changed since the batch that was asked for, with counts since ever and
    `moved_today` those of the day. seq, tag: the last batch. complete_ms: None while no writer has reported.

    total, today: sums by metric, first_day among those of total. countries, bots: fields as in the keys.
    recent: views of the days that were asked for. days: how many days there are.
    """

    seq: int
    tag: bytes
    complete_ms: int | None
    moved: Counted
    moved_today: Ints
    total: Hash
    today: Hash
    countries: Hash
    countries_today: Hash
    bots: Hash
    bots_today: Hash
    recent: tuple[int | None, ...]
    days: int
    corrections: int
    history_through: str


@dataclass(frozen=True, slots=True)
class Unchanged:
    """A province of which nothing is new but the time up to which it is complete."""

    complete_ms: int | None
    history_through: str


@dataclass(frozen=True, slots=True)
class Day:
    """A day of a province. rankings: None when it is as the reader knows it, or only history has them.

    mark: what tells whether it has changed. sums: by metric. waiting: of a day that Redis has let go, the corrections,
    as they are kept, that history was not known to hold when this was read; all others are in what it says from then
    on. None of any other day.
    """

    complete_ms: int | None
    mark: bytes
    sums: Hash
    rankings: Sequence[Ranking] | None
    waiting: Sequence[bytes] | None


class Reading:
    """Reads one Redis, or one cluster. timeout_s: deadline of one round trip."""

    def __init__(self, client: Client, *, timeout_s: float) -> None:
        self._client = client
        self._timeout_s = timeout_s
        self._spread = isinstance(client, RedisCluster)

    async def close(self) -> None:
        await self._client.aclose()

    async def stand(self, province: str) -> tuple[int, bytes]:
        """The province's last batch, from which on `glances` tells what changed. Raises BoardError."""
        [(seq, tag)] = await self._functions("stand", [(province, ())])
        return int(seq), tag

    async def rankings(self, province: str, day: str | None) -> AsyncIterator[Ranking]:
        """Views, plays and watch_ms of every resource of the province, since ever or on a day. Raises BoardError."""
        scope = province_prefix(province) + (f":day:{day}" if day else "")
        steps = [methodcaller("execute_command", "ZRANGE", f"{scope}:{one}", 0, -1, "WITHSCORES") for one in _METRICS]
        for step in steps:
            [ranking] = await self._piped([step])
            yield _ranking(ranking)

    async def glances(
        self, asked: Sequence[tuple[str, int, bytes, bool]], day: str, recent: Sequence[str], *, most: int
    ) -> list[Glance | Unchanged | BoardError | None]:
        """By province, batch, its tag and whether that day is known: what is new; None where all is to be read anew.

        most: resources that may have changed before that is too many to be told one by one. A province that could not
        be read is a BoardError in its place.
        """
        calls = [(code, (seq, tag, int(same), day, most, *recent)) for code, seq, tag, same in asked]
        if not self._spread:
            return [_glance(one) for one in await self._functions("glance", calls)]

        async def alone(call: tuple[str, tuple[Any, ...]]) -> Glance | Unchanged | BoardError | None:
            try:
                return _glance((await self._functions("glance", [call]))[0])
            except BoardError as error:
                return error

        return list(await asyncio.gather(*map(alone, calls)))

    async def day(self, asked: Sequence[tuple[str, bytes]], day: str, *, bots: bool = False) -> list[Day]:
        """By province and mark: the day, if it is not as marked. Raises BoardError.

        bots: a day of which nobody else is known is gone, too, when it is closed: history alone may know of bots.
        """
        first_minute = int(begin_of_day(day_named(day)).timestamp()) // 60
        calls = [(code, (day, mark, first_minute, int(bots))) for code, mark in asked]
        return [_day(one) for one in await self._functions("day", calls)]

    async def days(self, province: str) -> dict[str, int]:
        """Views of every day. Raises BoardError."""
        key = f"{province_prefix(province)}:days:views"
        [found] = await self._piped([methodcaller("zrange", key, 0, -1, withscores=True)])
        return {day.decode(): int(views) for day, views in found}

    async def scores(self, asked: Sequence[tuple[str, str, Sequence[str]]]) -> list[list[int | None]]:
        """Of rankings (province, rest of the key, members): each member's score. Raises BoardError."""
        found = await self._piped([methodcaller("zmscore", _key(code, rest), names) for code, rest, names in asked])
        return [[None if score is None else int(score) for score in one] for one in found]

    async def fields(self, asked: Sequence[tuple[str, str, Sequence[str]]]) -> list[list[int]]:
        """Of hashes (province, rest of the key, fields): each field's number, 0 where there is none."""
        found = await self._piped([methodcaller("hmget", _key(code, rest), names) for code, rest, names in asked])
        return [[int(value or 0) for value in one] for one in found]

    async def sizes(self, asked: Sequence[tuple[str, str]]) -> list[int]:
        """How many fields hashes have. Raises BoardError."""
        return await self._piped([methodcaller("hlen", _key(code, rest)) for code, rest in asked])

    async def hashes(self, asked: Sequence[tuple[str, str]]) -> list[dict[bytes, bytes]]:
        """Whole hashes. Raises BoardError."""
        return await self._piped([methodcaller("hgetall", _key(code, rest)) for code, rest in asked], _HASHES_AT_ONCE)

    async def exist(self, asked: Sequence[tuple[str, str]]) -> list[bool]:
        """Whether keys exist. Raises BoardError."""
        return [bool(n) for n in await self._piped([methodcaller("exists", _key(code, rest)) for code, rest in asked])]

    async def corrections(self, province: str, newest: int) -> tuple[int, list[tuple[bytes, bytes, int]]]:
        """How many there are; of the newest ones id, JSON and when they were accepted, ms. Raises BoardError."""
        at = _key(province, ":corrections:at")
        number, ranked = await self._piped(
            [methodcaller("zcard", at), methodcaller("zrange", at, 0, newest - 1, desc=True, withscores=True)]
        )
        if not ranked:
            return number, []
        names = [one for one, _ in ranked]
        [texts] = await self._piped([methodcaller("hmget", _key(province, ":corrections"), names)])
        return number, [(one, text, int(at)) for (one, at), text in zip(ranked, texts, strict=True) if text is not None]

    async def uniques(self, provinces: Sequence[str], names: Sequence[str]) -> list[int]:
        """By name of a sketch, the estimated number of viewers in all the provinces. Raises BoardError.

        Sketches of several provinces can be counted together only where they lie together. On a cluster they are
        carried there: under one hash tag of their own, and for a few seconds.
        """
        keys = [[_key(code, f":{name}") for code in provinces] for name in names]
        if not self._spread or len(provinces) == 1:
            return await self._piped([methodcaller("execute_command", "PFCOUNT", *some) for some in keys])
        flat = [key for some in keys for key in some]
        sketches = await self._piped([methodcaller("get", key) for key in flat])
        place = "{uniques-" + secrets.token_hex(8) + "}:"
        there = [(key, sketch) for key, sketch in zip(flat, sketches, strict=True) if sketch is not None]
        await self._piped([methodcaller("set", place + key, sketch, px=_SKETCH_TTL_MS) for key, sketch in there])
        return await self._piped(
            [methodcaller("execute_command", "PFCOUNT", *(place + key for key in some)) for some in keys]
        )

    async def _functions(self, name: str, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        """One call of a function for each province; installs the library where it is missing."""
        function = f"smartedu_{name}_{VERSION}"
        steps = [
            methodcaller("execute_command", "FCALL_RO", function, 1, _key(code, ":seq"), province_prefix(code), *rest)
            for code, rest in calls
        ]
        try:
            return await self._piped(steps)
        except BoardError as error:
            if "function not found" not in str(error.__cause__).lower():
                raise
        codes = [code for code, _ in calls] if self._spread else [code for code, _ in calls][:1]
        for code in codes:
            await self._timely(load_functions(self._client, _CODE, _key(code, ":seq")))
        return await self._piped(steps)

    async def _piped(self, steps: Sequence[Callable[[Any], object]], at_once: int = _AT_ONCE) -> list[Any]:
        """Commands in few round trips, no transaction. Raises BoardError."""
        answers: list[Any] = []
        for first in range(0, len(steps), at_once):
            pipe = self._client.pipeline(transaction=False)
            for step in steps[first : first + at_once]:
                step(pipe)
            answers += await self._timely(pipe.execute())
        return answers

    async def _timely(self, waiting: Awaitable[Any]) -> Any:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await waiting
        except ResponseError as error:
            raise BoardError(f"the counters' Redis refuses: {error}") from error
        except FAILURES as error:  # TimeoutError is an OSError
            raise BoardError(f"{type(error).__name__}: {error}") from error


def _key(province: str, rest: str) -> str:
    return province_prefix(province) + rest


def _ranking(ranking: Sequence[Any]) -> Ranking:
    """Of a ranking as it was read: in turns, or in RESP 3 in pairs, where numbers are numbers."""
    flat = ranking if not ranking or isinstance(ranking[0], bytes) else list(chain.from_iterable(ranking))
    return flat[0::2], np.fromiter(map(float, flat[1::2]), np.float64, len(flat) // 2).astype(np.int64)


def _glance(answer: Sequence[Any]) -> Glance | Unchanged | None:
    if answer[0] == 0:
        return None
    if answer[0] == 2:
        return Unchanged(_ms(answer[1]), answer[2].decode())
    resources = answer[4]
    scores = np.array([[int(float(score)) for score in plane] for plane in answer[5:11]], np.int64).reshape(6, -1)
    hashes = [_numbers(one) for one in answer[11:17]]
    return Glance(
        seq=int(answer[1]),
        tag=answer[2],
        complete_ms=_ms(answer[3]),
        moved=Counted(resources, scores[:3]),
        moved_today=scores[3:],
        total=hashes[0],
        today=hashes[1],
        countries=hashes[2],
        countries_today=hashes[3],
        bots=hashes[4],
        bots_today=hashes[5],
        recent=tuple(None if score is None else int(float(score)) for score in answer[17]),
        days=int(answer[18]),
        corrections=int(answer[19]),
        history_through=answer[20].decode(),
    )


def _day(answer: Sequence[Any]) -> Day:
    complete, mark, *more = answer
    waiting = more[1:] if more[:1] == [0] else None
    sums = dict(zip((*_METRICS, "visits"), map(int, mark.split()[1:]), strict=True))
    return Day(_ms(complete), mark, sums, [*map(_ranking, more)] if more and waiting is None else None, waiting)


def _numbers(flat: Sequence[bytes]) -> dict[str, int]:
    return {name.decode(): int(value) for name, value in zip(flat[0::2], flat[1::2], strict=True)}


def _ms(text: bytes) -> int | None:
    return int(float(text)) if text else None

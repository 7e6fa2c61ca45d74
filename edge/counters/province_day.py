"""A day as the province's Redis holds it, read out into files; and what Redis is told once history has it.

Nothing big is asked for at once: hashes are scanned a thousand fields at a time, while counting goes on. A closed day
does not change but for corrections; so it is read between two looks at its sums and at the number of corrections, and
when these differ, it was not one state that was read. `close` looks a third time, in the call that closes.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import orjson
from redis.exceptions import ResponseError

from edge.counters.counting_day import day_from, day_name, day_of_minute, end_of_day_ms, minute_of_day
from edge.counters.event import MAX_AGE_MS, Kind, is_resource, place_in
from edge.counters.history import METRICS, Figures, HistoryError
from edge.counters.sink import province_prefix
from edge.redis_clients import FAILURES, Client, load_functions, together

_SOURCE: Final = files("edge.counters").joinpath("history.lua").read_text("utf-8")
_VERSION: Final = hashlib.sha256(_SOURCE.encode()).hexdigest()[:12]
_CODE: Final = f"#!lua name=smartedu_history_{_VERSION}\n" + _SOURCE.replace("@VERSION@", _VERSION)
SLACK_MS: Final = 15 * 60 * 1000
"""More than the ten minutes by which a journal's stamps may run ahead of a clock that was set back."""
_SCAN: Final = 1000
_SKETCHES_AT_ONCE: Final = 200
_SKETCH_HEAD: Final = 16
_NOT_CACHED: Final = bytes(7) + b"\x80"
_OF_RESOURCES: Final = ("views", "plays", "watch_ms")
_PROOF_WAIT_MS: Final = 1500  # within the deadline of an answer
_PROOFS: Final = 3
_KIND_OF: Final = {Kind.VIEW: 0, Kind.PLAY: 1, Kind.WATCH: 2}


class DayChangedError(Exception):
    """The day was not one state while it was read, or is another one now: to be read again."""


class Standing(NamedTuple):
    """How far a province is. through: the last day that history has; first: the first that anything was counted on.

    complete_ms: every event accepted before is counted (ms since the epoch); None when nobody has counted yet.
    """

    through: date | None
    first: date | None
    complete_ms: int | None


@dataclass(frozen=True, slots=True)
class Correction:
    """A signed compensating entry, as it is kept: added to the figures of its minute. amount: events, or ms watched.

    minute: since the epoch. entry: all that is known of it.
    """

    id: str
    kind: Kind
    minute: int
    resource: str
    amount: int
    country: str
    entry: Mapping[str, object]

    @property
    def day(self) -> date:
        return day_of_minute(self.minute)

    @property
    def minute_of_day(self) -> int:
        return minute_of_day(self.minute)

    @property
    def figures(self) -> Figures:
        return Figures.of({METRICS[self.kind]: self.amount})


@dataclass(frozen=True, slots=True)
class Look:
    """A day at one moment. sums, countries: human events; bots: the others; corrections: all of the province, by id."""

    sums: Figures
    bots: Figures
    countries: Mapping[str, Figures]
    corrections: Mapping[str, Correction]

    def of_day(self, day: date) -> dict[str, Correction]:
        """The corrections of that day."""
        return {key: one for key, one in self.corrections.items() if one.day == day}


NOTHING: Final = Look(Figures(), Figures(), {}, {})


@dataclass(frozen=True, slots=True)
class Spooled:
    """A day, read out into CSV files as `edge.counters.parquet` takes them."""

    look: Look
    hours: Path
    wholes: Path
    minutes: Path
    sketches: Path


def final_ms(day: date) -> int:
    """From when on no event of a day can come any more, ms since the epoch."""
    return end_of_day_ms(day) + MAX_AGE_MS + SLACK_MS


def correction_of(content: bytes, province: str) -> Correction:
    """An entry of the corrections hash. Raises HistoryError when it is none."""
    try:
        said = orjson.loads(content)
        kind = said["kind"]
        return Correction(
            id=said["id"],
            kind=Kind[kind.upper()] if isinstance(kind, str) else Kind(kind),
            minute=int(said["minute"]),
            resource=said.get("resource") or "",
            amount=int(said["amount"]),
            country=said.get("country") or place_in(province).country,
            entry=said,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise HistoryError(f"{content!r} is no correction: {error!r}") from error


class ProvinceKeys:
    """The keys of one province, for those who bring it into history and back. Every method raises HistoryError when
    its Redis can't be asked."""

    def __init__(self, client: Client, province: str) -> None:
        self.province = province
        self.client = client
        self._prefix = province_prefix(province)

    async def scan_hash(self, key: str) -> AsyncIterator[tuple[str, int]]:
        """Fields and numbers; a field may come twice."""
        cursor = 0
        while True:
            cursor, found = await self.asked(self.client.hscan(key, cursor, count=_SCAN))
            for name, amount in found.items():
                yield name.decode(), int(amount)
            if not cursor:
                return

    async def scan_zset(self, key: str) -> AsyncIterator[tuple[str, int]]:
        """Members and scores; a member may come twice."""
        cursor = 0
        while True:
            cursor, found = await self.asked(self.client.zscan(key, cursor, count=_SCAN))
            for name, score in found:
                yield name.decode(), int(score)
            if not cursor:
                return

    def key(self, *parts: str) -> str:
        """The name of a key of the province, from its parts."""
        return ":".join((self._prefix, *parts))

    async def asked(self, waiting: Any) -> Any:
        """The answer to a command. Raises HistoryError."""
        try:
            return await waiting
        except FAILURES as error:
            raise HistoryError(f"the Redis of province {self.province}: {type(error).__name__}: {error}") from error

    async def call(self, function: str, *arguments: bytes | str | int) -> int:
        """Call a function of history.lua, which is installed where it is missing."""
        try:
            try:
                return await self._fcall(function, arguments)
            except ResponseError as error:
                if "function not found" not in str(error).lower():
                    raise
                await load_functions(self.client, _CODE, self.key("watermarks"))
                return await self._fcall(function, arguments)
        except FAILURES as error:
            raise HistoryError(f"the Redis of province {self.province}: {type(error).__name__}: {error}") from error

    async def _fcall(self, function: str, arguments: tuple[bytes | str | int, ...]) -> int:
        key = self.key("watermarks")
        waiting = self.client.execute_command("FCALL", f"{function}_{_VERSION}", 1, key, self._prefix, *arguments)
        return int(await cast("Awaitable[int]", waiting))


class ProvinceDays(ProvinceKeys):
    """The days of one province."""

    async def standing(self) -> Standing:
        """How far the province is."""
        pipe = self.client.pipeline(transaction=True)
        pipe.get(self.key("history_through"))
        pipe.hget(self.key("total"), "first_day")
        pipe.zrange(self.key("days", "bots"), 0, -1)
        pipe.zrange(self.key("complete"), 0, 0, withscores=True)
        pipe.get(self.key("closed"))
        through, human, bots, slowest, closed = await self.asked(pipe.execute())
        complete = int(slowest[0][1]) if slowest else int(closed) if closed is not None else None
        first = min((day for name in (human, *bots) if (day := day_from(name)) is not None), default=None)
        return Standing(day_from(through), first, complete)

    async def clock_ms(self) -> int:
        """What time it is by the clock of the province's Redis, ms since the epoch."""
        return await self.call("smartedu_clock")

    async def is_on_disk(self) -> bool:
        """Whether Redis has everything that was written before on its disk; False when not within some seconds. True,
        too, where it can't tell: without an append-only file, or older than WAITAOF."""
        marked = self.key("history", "marked")
        for _ in range(_PROOFS):
            written, synced = await self.asked(
                together(self.client, marked, ("SET", marked, "1"), ("WAITAOF", 1, 0, _PROOF_WAIT_MS))
            )
            if isinstance(written, Exception):
                raise HistoryError(f"the Redis of province {self.province}: {written}") from written
            if isinstance(synced, ResponseError):
                return True
            if isinstance(synced, Exception):
                raise HistoryError(f"the Redis of province {self.province}: {synced}") from synced
            if synced[0] >= 1:
                return True
        return False

    async def was_counted(self, day: date) -> bool:
        """Whether anything of people was counted on a day, as its sums say, which stay for ever."""
        pipe = self.client.pipeline(transaction=True)
        for metric in METRICS:
            pipe.zscore(self.key("days", metric), day_name(day))
        return any(await self.asked(pipe.execute()))

    async def born_ms(self, now_ms: int) -> int:
        """When this Redis was first asked this: one that has lost everything is a new one. ms since the epoch."""
        key = self.key("history", "born")
        found = await self.asked(self.client.set(key, now_ms, nx=True, get=True))
        return now_ms if found is None else int(found)

    async def look(self, day: date) -> Look:
        """Sums, bots, countries and corrections at one moment."""
        of_day = self.key("day", day_name(day))
        pipe = self.client.pipeline(transaction=True)
        pipe.hgetall(of_day)
        pipe.hgetall(f"{of_day}:bots")
        pipe.hgetall(f"{of_day}:countries")
        pipe.hgetall(self.key("corrections"))
        sums, bots, countries, corrections = await self.asked(pipe.execute())
        known = {key.decode(): correction_of(entry, self.province) for key, entry in corrections.items()}
        return Look(figures_of(sums), figures_of(bots), sums_by_country(countries), known)

    async def corrections(self) -> dict[str, Correction]:
        """All corrections, by id."""
        found = await self.asked(self.client.hgetall(self.key("corrections")))
        return {key.decode(): correction_of(entry, self.province) for key, entry in found.items()}

    async def pending_corrections(self) -> list[Correction]:
        """Those that history is not known to hold."""
        pipe = self.client.pipeline(transaction=True)
        pipe.hkeys(self.key("corrections"))
        pipe.smembers(self.key("corrections", "exported"))
        known, exported = await self.asked(pipe.execute())
        if not set(known) - exported:
            return []
        return [one for key, one in (await self.corrections()).items() if key.encode() not in exported]

    async def spool(self, day: date, directory: Path) -> Spooled:
        """Read a day out. Raises DayChangedError when it changed meanwhile."""
        look = await self.look(day)
        spooled = await empty_spool(directory, look)
        await self._spool_hours(day, spooled.hours)
        resources = await self._spool_wholes(day, spooled.wholes)
        await self._spool_minutes(day, spooled.minutes, look)
        await self._spool_sketches(day, spooled.sketches, resources)
        if await self.look(day) != look:
            raise DayChangedError(f"{self.province} {day}: changed while it was read")
        return spooled

    async def close(self, day: date, look: Look, keep_s: int) -> None:
        """History has the day, as it was at that look, with its corrections: count nothing more of it, and let its
        details go in `keep_s`. Raises DayChangedError; HistoryError while the day is not over by Redis's clock."""
        sums = [getattr(figures, name) for figures in (look.sums, look.bots) for name in METRICS]
        known, ids = len(look.corrections), look.of_day(day)
        if not await self.call("smartedu_close_day", day_name(day), *sums, known, keep_s, final_ms(day), *ids):
            raise DayChangedError(f"{self.province} {day}: changed while it was exported")

    async def note_exported(self, day: date, corrections: Iterable[str], keep_s: int) -> None:
        """History has these corrections of a day that it had before; its details go in `keep_s`, or when they would."""
        await self.call("smartedu_close_day", day_name(day), "*", *[0] * 7, 0, keep_s, 0, *corrections)

    async def take_lease(self, holder: str, seconds: int) -> bool:
        """Whether `holder` may work on the province's history for so long; nobody else does meanwhile.

        What it has already it may take again: the answer to its first try may have been lost on the way.
        """
        key = self.key("history", "lease")
        if await self.asked(self.client.set(key, holder, nx=True, ex=seconds)):
            return True
        if await self.asked(self.client.get(key)) != holder.encode():
            return False
        return bool(await self.asked(self.client.expire(key, seconds)))

    async def give_lease_back(self, holder: str) -> None:
        """End the lease, if `holder` has it."""
        key = self.key("history", "lease")
        if await self.asked(self.client.get(key)) == holder.encode():
            await self.asked(self.client.delete(key))

    async def _spool_hours(self, day: date, target: Path) -> None:
        for hour in range(24):
            rows: dict[str, list[int]] = {}
            async for place, amount in self.scan_hash(self.key("h", f"{day_name(day)}{hour:02d}")):
                kind, _, resource = place.partition(" ")
                if int(kind) != Kind.VISIT:
                    rows.setdefault(_checked(resource), [0, 0, 0])[_KIND_OF[Kind(int(kind))]] = amount
            await _append(target, (f"{one},{hour},{a},{b},{c}\n" for one, (a, b, c) in rows.items()))

    async def _spool_wholes(self, day: date, target: Path) -> list[str]:
        """Each resource's day; returns the resources."""
        rows: dict[str, list[int]] = {}
        for i, metric in enumerate(_OF_RESOURCES):
            async for resource, score in self.scan_zset(self.key("day", day_name(day), metric)):
                rows.setdefault(_checked(resource), [0, 0, 0])[i] = score
        await _append(target, (f"{one},{a},{b},{c}\n" for one, (a, b, c) in rows.items()))
        return sorted(rows)

    async def _spool_minutes(self, day: date, target: Path, look: Look) -> None:
        """By minute and country; what the minutes lack of a country, and the countries of the day, has no minute."""
        rows: dict[tuple[str, str], dict[str, int]] = {}
        placed: dict[str, Figures] = {}
        async for place, amount in self.scan_hash(self.key("min", day_name(day))):
            minute, kind, country = place.split(" ")
            rows.setdefault((minute, country), {})[METRICS[int(kind)]] = amount
        for (_, country), row in rows.items():
            placed[country] = placed.get(country, Figures()).plus(Figures.of(row))
        for country, rest in lacking(look.sums, look.countries, placed, place_in(self.province).country).items():
            rows["", country] = rest.document()
        await _append(
            target,
            (
                f"{minute},{country},{','.join(str(row.get(name, 0)) for name in METRICS)}\n"
                for (minute, country), row in rows.items()
            ),
        )

    async def _spool_sketches(self, day: date, target: Path, resources: list[str]) -> None:
        """The province's sketch of the day, then those of the resources."""
        named = [("", self.key("ud", day_name(day)))]
        named += [(one, self.key("udr", day_name(day), one)) for one in resources]
        for first in range(0, len(named), _SKETCHES_AT_ONCE):
            part = named[first : first + _SKETCHES_AT_ONCE]
            found = await self.asked(self.client.mget([key for _, key in part]))
            pairs = zip(part, found, strict=True)
            await _append(target, (f"{name},{settled(blob).hex()}\n" for (name, _), blob in pairs if blob))


def lacking(
    sums: Figures, countries: Mapping[str, Figures], placed: Mapping[str, Figures], default: str
) -> dict[str, Figures]:
    """What minutes lack, by country: of each country's sums, and (under `default`) of the sums of the whole.

    sums: of the day; countries: by country; placed: what the minutes of each country add up to.
    """
    told = dict(countries)
    rest = sums
    for figures in countries.values():
        rest = rest.minus(figures)
    told[default] = told.get(default, Figures()).plus(rest)
    missing = {
        country: told.get(country, Figures()).minus(placed.get(country, Figures())) for country in {*told, *placed}
    }
    return {country: figures for country, figures in sorted(missing.items()) if figures != Figures()}


async def empty_spool(directory: Path, look: Look) -> Spooled:
    """The files of a day that nothing has been read of."""
    paths = [directory / f"{name}.csv" for name in ("hours", "wholes", "minutes", "sketches")]
    await asyncio.gather(*(asyncio.to_thread(path.write_bytes, b"") for path in paths))
    return Spooled(look, *paths)


def settled(sketch: bytes) -> bytes:
    """A sketch without the estimate that Redis remembers in it, which changes with each look."""
    if len(sketch) < _SKETCH_HEAD:
        return sketch
    return sketch[:8] + _NOT_CACHED + sketch[_SKETCH_HEAD:]


async def _append(path: Path, rows: Iterable[str]) -> None:
    def write() -> None:
        with path.open("a", encoding="ascii") as file:
            file.writelines(rows)

    await asyncio.to_thread(write)


def _checked(resource: str) -> str:
    if not is_resource(resource):
        raise HistoryError(f"{resource!r} is counted but is no resource id")
    return resource


def figures_of(found: Mapping[bytes, bytes]) -> Figures:
    return Figures.of({name: int(found.get(name.encode(), 0)) for name in METRICS})


def sums_by_country(found: Mapping[bytes, bytes]) -> dict[str, Figures]:
    """From `CC metric` -> number."""
    sums: dict[str, dict[str, int]] = {}
    for place, amount in found.items():
        country, _, metric = place.decode().partition(" ")
        sums.setdefault(country, {})[metric] = int(amount)
    return {country: Figures.of(said) for country, said in sums.items()}

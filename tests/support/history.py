"""Days of counts that are over, made by a real writer whose clock the test sets, and the store they go to."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from random import Random
from uuid import uuid4

from edge.assembly.bucket import BucketStore
from edge.counters.closing import Closing
from edge.counters.counting_day import UTC8
from edge.counters.event import Agent, Kind, Place, ViewEvent
from edge.counters.history import METRICS, TABLES, Figures, History, Manifest
from edge.counters.province_day import ProvinceDays
from edge.counters.record import Correction, encode, encode_correction
from edge.counters.sink import Client, open_client
from origin.store import Location, Store
from tests.support.broker import S3Address
from tests.support.counting import PROVINCE, Wall, Writer, writer
from tests.support.waiting import eventually

FIRST: date = (datetime.now(UTC8) - timedelta(days=12)).date()
"""The first day of a test's history: so long ago that no test reaches the present."""
RESOURCES = tuple(f"lesson-{i}" for i in range(7))
DAY = timedelta(days=1)
RANDOM = Random(5)
VIEWERS = tuple(f"viewer-{i}" for i in range(40))


def moment(day: date, hour: int, minute: int = 0, second: int = 0) -> float:
    """Seconds since the epoch, of a time in UTC+8."""
    return datetime(day.year, day.month, day.day, hour, minute, second, tzinfo=UTC8).timestamp()


def set_clock(wall: Wall, to_s: float) -> None:
    """Make it `to_s` now."""
    wall.ahead_s = to_s - time.time()


@dataclass(slots=True)
class Ledger:
    """What was counted. rows: by day, resource and hour; minutes: by day, minute and country; bots: by day."""

    rows: dict[tuple[date, str, int], Figures] = field(default_factory=dict)
    minutes: dict[tuple[date, int, str], Figures] = field(default_factory=dict)
    bots: dict[date, Figures] = field(default_factory=dict)

    def enter(self, event: ViewEvent, place: Place, agent: Agent) -> None:
        amount = event.watched_ms if event.kind == Kind.WATCH else 1
        self.add(event.kind, event.at_ms // 60_000, event.resource, amount, place.country, agent)

    def add(self, kind: Kind, minute: int, resource: str, amount: int, country: str, agent: Agent) -> None:
        at = datetime.fromtimestamp(minute * 60, UTC8)
        figures = Figures.of({METRICS[kind]: amount})
        if agent == Agent.BOT:
            self.bots[at.date()] = self.bots.get(at.date(), Figures()).plus(figures)
            return
        if kind != Kind.VISIT:
            row = (at.date(), resource, at.hour)
            self.rows[row] = self.rows.get(row, Figures()).plus(figures)
        spot = (at.date(), at.hour * 60 + at.minute, country)
        self.minutes[spot] = self.minutes.get(spot, Figures()).plus(figures)

    def day(self, day: date) -> Figures:
        """The sums of a day."""
        return total(figures for (of, _, _), figures in self.minutes.items() if of == day)

    def hours(self, day: date) -> dict[tuple[str, int | None], tuple[int, int, int]]:
        """The rows of a day as the table of resources holds them."""
        found: dict[tuple[str, int | None], tuple[int, int, int]] = {}
        for (of, resource, hour), one in self.rows.items():
            if of == day:
                found[resource, hour] = (one.views, one.plays, one.watch_ms)
        return {row: amounts for row, amounts in found.items() if any(amounts)}

    def resources(self) -> dict[str, Figures]:
        """Everything of each resource."""
        found: dict[str, Figures] = {}
        for (_, resource, _), figures in self.rows.items():
            found[resource] = found.get(resource, Figures()).plus(figures)
        return found


def total(figures: Iterable[Figures]) -> Figures:
    """All of them together."""
    found = Figures()
    for one in figures:
        found = found.plus(one)
    return found


def events_of(day: date, count: int, random: Random) -> list[ViewEvent]:
    """Events of all kinds, spread over the day."""
    midnight = moment(day, 0)
    made = []
    for _ in range(count):
        kind = random.choice(list(Kind))
        resource = "" if kind == Kind.VISIT else random.choice(RESOURCES)
        watched = random.randrange(1, 120_000) if kind == Kind.WATCH else 0
        at_ms = int((midnight + random.randrange(86_400)) * 1000)
        made.append(ViewEvent(str(uuid4()), kind, resource, random.choice(VIEWERS), at_ms, watched))
    return made


async def count(
    writer: Writer,
    ledger: Ledger,
    events: list[ViewEvent],
    country: str = "CN",
    agent: Agent = Agent.HUMAN,
    province: str = PROVINCE,
) -> None:
    """Put the events into the writer's journal and wait until they are applied."""
    place = Place(province, country)
    stamp = writer.journal.stamp_ms()
    for first in range(0, len(events), 100):
        part = events[first : first + 100]
        await writer.journal.append(encode(stamp, part, place, agent), stamp)
    for one in events:
        ledger.enter(one, place, agent)
    await applied(writer)


async def correct(writer: Writer, ledger: Ledger, kind: Kind, at_s: float, resource: str, amount: int) -> str:
    """A correction of one minute; returns its id."""
    made = Correction(uuid4().hex, PROVINCE, "CN", kind, int(at_s // 60), resource, amount, "a test")
    stamp = writer.journal.stamp_ms()
    await writer.journal.append(encode_correction(stamp, made), stamp)
    ledger.add(kind, made.minute, resource, amount, "CN", Agent.HUMAN)
    await applied(writer)
    return made.id


async def applied(writer: Writer) -> None:
    """Wait until all that the journal holds is counted."""
    await eventually(lambda: writer.flusher.state().connected and writer.flusher.state().pending_bytes == 0)


async def complete_past(client: Client, at_s: float, province: str = PROVINCE) -> None:
    """Wait until the province is complete up to a time."""

    async def reached() -> bool:
        found = await client.zrange("{" + province + "}:complete", 0, 0, withscores=True)
        return bool(found) and float(found[0][1]) >= at_s * 1000

    await eventually(reached)


def bucket_store(s3: S3Address, prefix: str) -> BucketStore:
    """History in the run's storage, under a prefix of the test's own."""
    location = Location(s3.bucket, prefix, s3.endpoint, s3.access_key, s3.secret_key)
    return BucketStore(lambda: Store(location))


@dataclass(slots=True)
class Scene:
    """A province that counts, and what is needed to close its days."""

    url: str
    wall: Wall
    client: Client
    store: BucketStore
    ledger: Ledger
    writer: Writer
    tmp_path: Path

    def closing(self, name: str = "closing") -> Closing:
        return Closing(ProvinceDays(self.client, PROVINCE), self.store, self.tmp_path / name, wall=self.wall)

    async def at(self, to_s: float) -> None:
        """Make it that time, and wait until the province is complete up to it."""
        set_clock(self.wall, to_s)
        await complete_past(self.client, to_s)

    async def tables(self, manifest: Manifest) -> dict[str, Path]:
        target = self.tmp_path / f"read-{manifest.version}"
        target.mkdir(exist_ok=True)
        return await History(self.store).fetch(manifest, TABLES, target)


@asynccontextmanager
async def running(url: str, s3: S3Address, prefix: str, tmp_path: Path) -> AsyncIterator[Scene]:
    """A scene that begins at noon of the first day; the Redis has been known since then."""
    async with AsyncExitStack() as stack:
        wall, client, store = Wall(), open_client(url), bucket_store(s3, prefix)
        stack.push_async_callback(client.aclose)
        stack.push_async_callback(store.close)
        set_clock(wall, moment(FIRST, 12))
        one = await stack.enter_async_context(writer(tmp_path, url, wall=wall))
        made = Scene(url, wall, client, store, Ledger(), one, tmp_path)
        await made.closing().look()
        yield made


async def count_a_day(scene: Scene, day_number: int = 0, events: int = 300) -> None:
    day = FIRST + day_number * DAY
    await scene.at(moment(day, 23, 59))
    await count(scene.writer, scene.ledger, events_of(day, events, RANDOM))
    await count(scene.writer, scene.ledger, events_of(day, 20, RANDOM), country="FR")
    await count(scene.writer, scene.ledger, events_of(day, 10, RANDOM), agent=Agent.BOT)

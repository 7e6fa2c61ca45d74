"""Days of one province that are over -> history: written, read back, and only then closed in Redis.

A day is over when the province is complete beyond its end by more than events may be late: then every event of it that
was accepted anywhere is counted. How far it is complete is what the writers' clocks say. One that runs ahead must not
close days of which events are still accepted, since those would be left out for ever: so it is not believed beyond what
the exporter's own clock and that of the province's Redis say, and Redis refuses to close a day that is not over there.

Each step can be done again by anybody, at the same time or after a crash anywhere:

    spool      the day out of Redis, as one state
    write      tables, named by their content; then the manifest, unless somebody else was faster
    verify     every object is fetched and compared with what the manifest says
    close      in Redis, in one call that does nothing if the day is no longer what was read

What history has is never written over with something else: when Redis says something else of such a day, Redis has lost
or was tampered with, and `edge.counters.rebuild` is the way out. Only corrections make a further version of a day.

A Redis that has lost everything begins anew, and journals that are away just then may still bring events of days that
look over. So nothing is closed in a Redis's first day (`ISOLATION`): that long a node may be cut off from it.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Final

from edge.counters.counting_day import moment_of
from edge.counters.event import MAX_AGE_MS, Kind
from edge.counters.history import (
    METRICS,
    TABLES,
    Figures,
    Found,
    History,
    HistoryError,
    Manifest,
    ObjectStore,
    StoredTable,
    digest_of,
    folder_of,
    manifest_name,
)
from edge.counters.parquet import Contents, Parquet
from edge.counters.province_day import (
    NOTHING,
    SLACK_MS,
    Correction,
    DayChangedError,
    Look,
    ProvinceDays,
    Spooled,
    Standing,
    empty_spool,
)

_log = logging.getLogger(__name__)

ISOLATION_MS: Final = MAX_AGE_MS + 3600 * 1000
KEEP_S: Final = 8 * 24 * 3600
"""How long the details of a closed day stay in Redis, for readers of the last week."""
SUPERSEDED_S: Final = 24 * 3600.0
_TRIES: Final = 3


def last_closed(complete_ms: int | None) -> date | None:
    """The last day of which no event can come any more, when all that was accepted before `complete_ms` is counted."""
    if complete_ms is None:
        return None
    reached = (complete_ms - MAX_AGE_MS - SLACK_MS) / 1000
    return moment_of(reached).date() - timedelta(days=1) if reached > 0 else None


def days_to_close(standing: Standing, now_ms: int) -> list[date]:
    """The days that history lacks, in order. The first one is the first on which anything was counted.

    now_ms: the time, ms since the epoch, by whichever trusted clock is behind the others.
    """
    last = last_closed(min(standing.complete_ms, now_ms) if standing.complete_ms is not None else None)
    if last is None:
        return []
    begin = min(standing.first or last, last) if standing.through is None else standing.through + timedelta(days=1)
    return [begin + timedelta(days=i) for i in range((last - begin).days + 1)]


class Closing:
    """Closes the days of one province. workplace: a directory for what is under way; it is made."""

    def __init__(
        self,
        days: ProvinceDays,
        store: ObjectStore,
        workplace: Path,
        *,
        wall: Callable[[], float],
        keep_s: int = KEEP_S,
    ) -> None:
        self.province = days.province
        self.through: date | None = None
        self._days, self._store, self._workplace = days, store, workplace
        self._history = History(store)
        self._wall, self._keep_s = wall, keep_s

    async def look(self) -> list[date]:
        """Learn how far the province is; returns the days to close. Raises HistoryError."""
        now_ms = min(int(self._wall() * 1000), await self._days.clock_ms())
        born_ms = await self._days.born_ms(now_ms)
        standing = await self._days.standing()
        self.through = standing.through
        return days_to_close(standing, now_ms) if now_ms - born_ms >= ISOLATION_MS else []

    async def catch_up(self) -> list[Manifest]:
        """Close every day that is over, then export closed days again that were corrected; what was written or found.

        Raises HistoryError, DayChangedError: what was done until then stays done.
        """
        done = []
        for day in await self.look():
            done += await self._close(day)
            self.through = day
        for day, corrections in (await self._corrected()).items():
            done.append(await self.export_again(day, corrections))
        return done

    async def export_again(self, day: date, corrections: Mapping[str, Correction]) -> Manifest:
        """A further version of a closed day, with those of the corrections that it lacks. Raises HistoryError."""
        async with passing_directory(self._workplace) as directory:
            found = await self._history.find(day, self.province)
            if found is None:
                found = await self._make(day, corrections, directory)
            manifest = await self._include(found, corrections, directory)
            await self._verify(manifest, directory)
            await self._days.note_exported(day, corrections, self._keep_s)
            await self._sweep(manifest)
            return manifest

    async def _corrected(self) -> dict[date, dict[str, Correction]]:
        """Corrections of closed days that history lacks, as far as Redis has them on its disk.

        A Redis that goes back by some seconds is sent their events again, in other parts: what came late is then booked
        under other ids, and history would have it twice. It is looked for once more afterwards, since the disk that was
        asked may be that of a Redis that has just gone back.
        """
        before = await self._waiting()
        if not before:
            return {}
        if not await self._days.is_on_disk():
            _log.info("province %s: corrections wait until Redis has them on its disk", self.province)
            return {}
        found: dict[date, dict[str, Correction]] = {}
        for one in (await self._waiting()).values():
            if before.get(one.id) == one:
                found.setdefault(one.day, {})[one.id] = one
        return found

    async def _waiting(self) -> dict[str, Correction]:
        """Corrections of closed days that history is not known to hold, by id."""
        through = self.through
        if through is None:
            return {}
        return {one.id: one for one in await self._days.pending_corrections() if one.day <= through}

    async def _close(self, day: date) -> list[Manifest]:
        look = await self._days.look(day)
        found = await self._history.find(day, self.province)
        if found is None and look.sums == look.bots == Figures() and not look.of_day(day):
            await self._days.close(day, look, self._keep_s)
            return []
        async with passing_directory(self._workplace) as directory:
            if found is None:
                spooled = await self._days.spool(day, directory)
                look = spooled.look
                found = await self._write(day, spooled, directory)
            manifest = await self._agree(found, look, directory)
            await self._verify(manifest, directory)
            await self._days.close(day, look, self._keep_s)
            _log.info("province %s: %s is closed: %s", self.province, day, manifest.sums.document())
            return [manifest]

    async def _agree(self, found: Found, look: Look, directory: Path) -> Manifest:
        """The manifest of a day that Redis still has: both must say the same, but for corrections that came since."""
        manifest = found.manifest
        since = {key: one for key, one in look.of_day(manifest.day).items() if key not in manifest.corrections}
        lost_bots = min(look.bots.minus(manifest.bots).document().values()) < 0
        if (
            look.sums.minus(sum_of(since)) != manifest.sums
            or lost_bots
            or manifest.corrections.keys() - look.corrections
        ):
            raise HistoryError(
                f"province {self.province}, {manifest.day}: history says {manifest.sums.document()} and bots "
                f"{manifest.bots.document()}, Redis {look.sums.document()} and {look.bots.document()}; if Redis has "
                "lost what it had, `smartedu counts rebuild --apply` restores it"
            )
        if look.bots != manifest.bots:  # some came between the export and the closing
            bots = replace(manifest, version=manifest.version + 1, bots=look.bots)
            found = await self._publish(bots, found.etag)
        return await self._include(found, since, directory)

    async def _write(self, day: date, spooled: Spooled, directory: Path) -> Found:
        """Put the tables and the manifest of a day that is not there. Somebody else's, when they were faster."""
        paths = await asyncio.to_thread(_make_tables, directory, spooled)
        return await self._put_first(day, spooled.look, paths, directory)

    async def _make(self, day: date, corrections: Mapping[str, Correction], directory: Path) -> Found:
        """Put a day on which nothing had been counted, its corrections in its first version: without them it would be
        zeros for whoever reads in between."""
        async with passing_directory(directory) as apart:
            tables = await asyncio.to_thread(_make_tables, apart, await empty_spool(apart, NOTHING))
            base = {table: tables[table] for table in ("resources", "minutes")}
            tables |= await asyncio.to_thread(_correct_tables, directory, base, list(corrections.values()))
            look = Look(sum_of(corrections), Figures(), {}, corrections)
            return await self._put_first(day, look, tables, directory)

    async def _put_first(self, day: date, look: Look, paths: Mapping[str, Path], directory: Path) -> Found:
        contents, countries = await asyncio.to_thread(_measure, directory, paths)
        _check(self.province, day, look.sums, contents)
        manifest = Manifest(
            self.province,
            day,
            1,
            await self._put_all(day, paths, contents),
            look.sums,
            countries,
            look.bots,
            {key: dict(one.entry) for key, one in look.of_day(day).items()},
            contents["minutes"].unplaced,
        )
        return await self._publish(manifest, None)

    async def _include(self, found: Found, corrections: Mapping[str, Correction], directory: Path) -> Manifest:
        """The day with those of the corrections that it lacks, as another version if need be."""
        for _ in range(_TRIES):
            manifest = found.manifest
            missing = {key: one for key, one in corrections.items() if key not in manifest.corrections}
            if not missing:
                return manifest
            base = await self._history.fetch(manifest, ("resources", "minutes"), directory)
            paths = await asyncio.to_thread(_correct_tables, directory, base, list(missing.values()))
            contents, countries = await asyncio.to_thread(_measure, directory, paths)
            sums = manifest.sums.plus(sum_of(missing))
            _check(self.province, manifest.day, sums, contents)
            tables = await self._put_all(manifest.day, paths, contents)
            corrected = replace(
                manifest,
                version=manifest.version + 1,
                tables={**manifest.tables, **tables},
                sums=sums,
                countries=countries,
                corrections={**manifest.corrections, **{key: dict(one.entry) for key, one in missing.items()}},
            )
            found = await self._publish(corrected, found.etag)
        raise DayChangedError(f"{self.province} {found.manifest.day}: others export it at the same time")

    async def _put_all(
        self, day: date, paths: Mapping[str, Path], contents: Mapping[str, Contents]
    ) -> dict[str, StoredTable]:
        tables = {}
        for table, path in paths.items():
            digest, size = await asyncio.to_thread(_digest_and_size, path)
            tables[table] = StoredTable(f"{table}-{digest[:16]}.parquet", size, digest, contents[table].rows)
            await self._store.put(folder_of(day, self.province) + tables[table].name, path, digest)
        return tables

    async def _publish(self, manifest: Manifest, etag: str | None) -> Found:
        """Put the manifest; or, when somebody else was faster, theirs."""
        await self._store.put_if(manifest_name(manifest.day, self.province), manifest.encode(), etag)
        found = await self._history.find(manifest.day, self.province)
        if found is None:
            raise HistoryError(f"storage lost {manifest_name(manifest.day, self.province)}: put, but not there")
        return found

    async def _verify(self, manifest: Manifest, directory: Path) -> None:
        """Read everything back."""
        async with passing_directory(directory) as apart:
            found = await self._history.fetch(manifest, TABLES, apart)
            contents, countries = await asyncio.to_thread(_measure, apart, found)
            _check(self.province, manifest.day, manifest.sums, contents)
            rows = {table: one.rows for table, one in manifest.tables.items()}
            if countries != manifest.countries or rows != {table: one.rows for table, one in contents.items()}:
                raise HistoryError(f"{manifest.folder}: the tables are not what the manifest says")

    async def _sweep(self, manifest: Manifest) -> None:
        """Let go of what earlier versions, or killed exporters, have left."""
        named = {manifest.path(table) for table in TABLES} | {manifest_name(manifest.day, self.province)}
        for name, age_s in (await self._store.ages(manifest.folder)).items():
            if name not in named and age_s > SUPERSEDED_S:
                await self._store.remove(name)


@asynccontextmanager
async def passing_directory(parent: Path) -> AsyncIterator[Path]:
    """A directory in `parent` (made where it is missing) that is gone with all that is in it at the end."""
    await asyncio.to_thread(parent.mkdir, parents=True, exist_ok=True)
    directory = Path(await asyncio.to_thread(tempfile.mkdtemp, dir=parent))
    try:
        yield directory
    finally:
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)


def sum_of(corrections: Mapping[str, Correction]) -> Figures:
    """What they add up to."""
    total = Figures()
    for one in corrections.values():
        total = total.plus(one.figures)
    return total


def _check(province: str, day: date, sums: Figures, contents: Mapping[str, Contents]) -> None:
    """Whether the tables add up to the day's sums. Raises HistoryError."""
    for table in ("resources", "minutes"):
        expected = replace(sums, visits=0) if table == "resources" else sums
        if contents[table].sums != expected:
            raise HistoryError(
                f"province {province}, {day}: {table} add up to {contents[table].sums.document()}, "
                f"the day's sums are {expected.document()}: see `smartedu counts rebuild --check`"
            )


def _make_tables(directory: Path, spooled: Spooled) -> dict[str, Path]:
    paths = _paths(directory, TABLES)
    with Parquet(directory) as parquet:
        parquet.write_resources(spooled.hours, spooled.wholes, paths["resources"])
        parquet.write_minutes(spooled.minutes, paths["minutes"])
        parquet.write_sketches(spooled.sketches, paths["sketches"])
    return paths


def _correct_tables(directory: Path, base: Mapping[str, Path], corrections: Sequence[Correction]) -> dict[str, Path]:
    """Tables with the corrections in them; the sketches are not concerned."""
    changes = {table: directory / f"{table}-changes.csv" for table in base}
    changes["resources"].write_text("".join(_row_of_resource(one) for one in corrections if one.kind != Kind.VISIT))
    changes["minutes"].write_text("".join(_row_of_minute(one) for one in corrections))
    paths = _paths(directory, tuple(base))
    with Parquet(directory) as parquet:
        for table, path in base.items():
            parquet.write_corrected(table, path, changes[table], paths[table])
    return paths


def _row_of_resource(one: Correction) -> str:
    figures = one.figures
    return f"{one.resource},{one.minute_of_day // 60},{figures.views},{figures.plays},{figures.watch_ms}\n"


def _row_of_minute(one: Correction) -> str:
    amounts = ",".join(str(getattr(one.figures, name)) for name in METRICS)
    return f"{one.minute_of_day},{one.country},{amounts}\n"


def _paths(directory: Path, tables: Sequence[str]) -> dict[str, Path]:
    return {table: directory / f"new-{table}.parquet" for table in tables}


def _measure(directory: Path, paths: Mapping[str, Path]) -> tuple[dict[str, Contents], dict[str, Figures]]:
    """What the tables hold, and the sums by country."""
    with Parquet(directory) as parquet:
        contents = {table: parquet.contents(table, path) for table, path in paths.items()}
        return contents, parquet.countries(paths["minutes"])


def _digest_and_size(path: Path) -> tuple[str, int]:
    return digest_of(path), path.stat().st_size

"""All closed days of a province, added up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

import orjson

from edge.counters.closing import passing_directory
from edge.counters.history import Figures, History, Manifest
from edge.counters.parquet import Parquet
from edge.counters.province_day import correction_of

Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is."""

_ASKED_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class Past:
    """What history says. manifests: by day, in order. resources: sums of each over all of them."""

    manifests: Mapping[date, Manifest]
    resources: Mapping[str, Figures]

    @property
    def through(self) -> date | None:
        """The last day of it."""
        return max(self.manifests, default=None)

    def first_day(self) -> date | None:
        """The first day of events of people. Corrections alone make none."""
        return next((day for day in sorted(self.manifests) if _events_of(self.manifests[day]) != Figures()), None)

    def sums(self) -> Figures:
        total = Figures()
        for manifest in self.manifests.values():
            total = total.plus(manifest.sums)
        return total

    def bots(self) -> Figures:
        total = Figures()
        for manifest in self.manifests.values():
            total = total.plus(manifest.bots)
        return total

    def countries(self) -> dict[str, Figures]:
        found: dict[str, Figures] = {}
        for manifest in self.manifests.values():
            for country, figures in manifest.countries.items():
                found[country] = found.get(country, Figures()).plus(figures)
        return found

    def corrections(self) -> dict[str, Mapping[str, object]]:
        """The entries that history holds, by id."""
        return {key: entry for manifest in self.manifests.values() for key, entry in manifest.corrections.items()}


def _events_of(manifest: Manifest) -> Figures:
    """The sums without the corrections."""
    events = manifest.sums
    for entry in manifest.corrections.values():
        events = events.minus(correction_of(orjson.dumps(entry), manifest.province).figures)
    return events


async def read_past(history: History, province: str, workplace: Path, progress: Progress) -> Past:
    """Read all days of a province. Raises HistoryError."""
    manifests = await _manifests(history, province, progress)
    sums: dict[str, list[int]] = {}
    for done, manifest in enumerate(manifests.values()):
        progress("reading closed days", done, len(manifests))
        async with passing_directory(workplace) as directory:
            paths = await history.fetch(manifest, ("resources",), directory)
            await asyncio.to_thread(_add, sums, directory, paths["resources"])
    progress("reading closed days", len(manifests), len(manifests))
    return Past(manifests, {resource: Figures(0, *amounts) for resource, amounts in sums.items()})


async def _manifests(history: History, province: str, progress: Progress) -> dict[date, Manifest]:
    days = await history.days()
    asking = asyncio.Semaphore(_ASKED_AT_ONCE)
    done = 0

    async def find(day: date) -> Manifest | None:
        nonlocal done
        async with asking:
            found = await history.find(day, province)
        done += 1
        progress("looking for closed days", done, len(days))
        return found.manifest if found is not None else None

    found = await asyncio.gather(*map(find, days))
    return {manifest.day: manifest for manifest in found if manifest is not None}


def _add(sums: dict[str, list[int]], directory: Path, table: Path) -> None:
    with Parquet(directory) as parquet:
        for resource, *amounts in parquet.resources(table):
            known = sums.setdefault(resource, [0, 0, 0])
            for i, amount in enumerate(amounts):
                known[i] += amount

"""Every roll-up of a province, as it lies in Redis, compared with its parts."""

from __future__ import annotations

from collections import Counter
from typing import Any

from redis.asyncio import RedisCluster

from edge.counters.sink import Client, province_prefix

METRICS = ("visits", "views", "plays", "watch_ms")
RANKED = METRICS[1:]

Sums = Counter[str]


class Rollups:
    """All counts of one province, read key by key: nothing may be counting meanwhile."""

    def __init__(self, client: Client, province: str) -> None:
        self._client = client
        self._prefix = province_prefix(province)

    async def total(self) -> Sums:
        """By metric, as the province's total says."""
        return await self._hash("total")

    async def bots(self) -> Sums:
        """The same of bots."""
        return await self._hash("bots")

    async def by_resource(self, metric: str) -> Sums:
        return await self._ranks(metric)

    async def disagreements(self) -> list[str]:
        """What does not agree with what it is made of; empty when all is well. For counts of the last 48 hours."""
        found: list[str] = []

        def same(name: str, whole: Sums, parts: Sums) -> None:
            if +whole != +parts or -whole != -parts:
                found.append(f"{name}: {dict(whole)} of {dict(parts)}")

        total, days = await self.total(), await self._days()
        same("total of days", total, _plus([await self._hash(f"day:{day}") for day in days]))
        same("total of countries", total, _folded(await self._hash("countries")))
        same("total of minutes", total, _by_kind(await self._all("m:*"), 0))
        same("bots of days", await self.bots(), _plus([await self._hash(f"day:{day}:bots") for day in days]))
        same("ranks", _ranked(total), _summed({metric: await self._ranks(metric) for metric in RANKED}))
        for metric in RANKED:
            parts = [await self._ranks(f"day:{day}:{metric}") for day in days]
            same(f"{metric} of days", await self._ranks(metric), _plus(parts))
        for metric in METRICS:
            ranked = await self._ranks(f"days:{metric}")
            same(f"days:{metric}", ranked, Sums({day: (await self._hash(f"day:{day}"))[metric] for day in days}))
        for day in days:
            whole = await self._hash(f"day:{day}")
            same(f"{day} of countries", whole, _folded(await self._hash(f"day:{day}:countries")))
            same(f"{day} of minutes", whole, _by_kind(await self._hash(f"min:{day}"), 1))
            same(f"{day} of hours", whole, _by_kind(await self._all(f"h:{day}*"), 0))
            same(
                f"{day} of resources",
                _ranked(whole),
                _summed({metric: await self._ranks(f"day:{day}:{metric}") for metric in RANKED}),
            )
        same("hours of minutes", await self._all("h:*"), await self._all("m:*"))
        return found

    async def _days(self) -> list[str]:
        return sorted({name.split(":")[1] for name in await self.names("day:????????*")})

    async def _hash(self, name: str) -> Sums:
        read: Any = await self._client.hgetall(f"{self._prefix}:{name}")
        return Sums({field.decode(): int(value) for field, value in read.items() if field != b"first_day"})

    async def _ranks(self, name: str) -> Sums:
        read: Any = await self._client.zrange(f"{self._prefix}:{name}", 0, -1, withscores=True)
        return Sums({member.decode(): int(score) for member, score in read})

    async def _all(self, pattern: str) -> Sums:
        """The hashes of a pattern, added up."""
        return _plus([await self._hash(name) for name in await self.names(pattern)])

    async def names(self, pattern: str) -> list[str]:
        """The province's keys of that pattern, without their prefix."""
        where = {"target_nodes": RedisCluster.PRIMARIES} if isinstance(self._client, RedisCluster) else {}
        found: Any = await self._client.keys(f"{self._prefix}:{pattern}", **where)
        return [key.decode().removeprefix(f"{self._prefix}:") for key in found]


def _plus(parts: list[Sums]) -> Sums:
    """Their sum; unlike `+` of counters, it keeps what is below zero."""
    whole = Sums()
    for part in parts:
        whole.update(part)
    return whole


def _folded(by_country: Sums) -> Sums:
    whole = Sums()
    for field, number in by_country.items():
        whole[field.split(" ")[1]] += number
    return whole


def _by_kind(fields: Sums, place: int) -> Sums:
    """place: of the kind among the words of the field."""
    whole = Sums()
    for field, number in fields.items():
        whole[METRICS[int(field.split(" ")[place])]] += number
    return whole


def _ranked(total: Sums) -> Sums:
    return Sums({metric: total[metric] for metric in RANKED})


def _summed(by_metric: dict[str, Sums]) -> Sums:
    return Sums({metric: sum(ranks.values()) for metric, ranks in by_metric.items()})

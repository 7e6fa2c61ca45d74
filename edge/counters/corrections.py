"""Corrections: signed entries that are added to what was counted, each once for ever, with the reason.

What was counted is never changed: a wrong count is put right by an entry beside it, which everybody can read. It takes
the road of the events: journal, outlet, one call that books it in every roll-up.

An id is booked once, whatever comes under it later. So that nobody takes a correction for booked that is passed over,
the province's Redis is asked what it has under the id: before, and until it has something, for a second at most. While
it can't be asked, the promise is still kept: once per id, the first that reaches it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Final, NamedTuple, NoReturn, cast

import orjson

from edge.counters.body import NotJSONError, is_encodable, read
from edge.counters.event import MAX_AHEAD_MS, Kind, is_resource, place_in
from edge.counters.journal import Journal
from edge.counters.record import Correction, encode_correction
from edge.counters.sink import Client, SinkError, province_prefix
from edge.redis_clients import FAILURES

MAX_REASON_CHARS: Final = 500
MAX_AMOUNT: Final = 10**12  # far above any count, far below what a sum of scores is exact for
BOOKED_WITHIN_S: Final = 1.0
_ASK_AGAIN_S: Final = 0.05
_MS: Final = 1000
# What is older is seconds that were taken for milliseconds.
_EARLIEST_MS: Final = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp()) * _MS
_KINDS: Final = {kind.name.lower(): kind for kind in Kind}
_A_TIME: Final = "in milliseconds since the epoch, or as in 2026-11-29T08:00:00+08:00"
_AMOUNTS: Final = f"a whole number from {-MAX_AMOUNT:,} to {MAX_AMOUNT:,} that is not 0"
_SECONDS: Final = f"seconds from {-MAX_AMOUNT // _MS:,} to {MAX_AMOUNT // _MS:,}, at least a thousandth of one"
_MEMBERS: Final = frozenset({"id", "province", "country", "kind", "resource", "at", "amount", "reason"})


class CorrectionError(ValueError):
    """A body that is no correction; the message says which member, and what is allowed."""


class MemberError(CorrectionError):
    """One member of it can't be; allowed: what it may be."""

    def __init__(self, member: str, allowed: str) -> None:
        super().__init__(f"{member}: {allowed}")
        self.member = member
        self.allowed = allowed


def parse_correction(body: bytes, now_ms: int, home: str) -> Correction:
    """Read one correction.

    `{"id", "kind", "resource", "at", "amount", "reason"}`, and where it is not that of the node, "province" and
    "country". at: ms since the epoch, or ISO 8601 with an offset. amount: a whole number, for watch of seconds, which
    may have three decimals. Raises CorrectionError.
    """
    try:
        given = read(body).value
    except NotJSONError as error:
        raise CorrectionError(f"the body is not JSON: {error}") from None
    if not isinstance(given, dict):
        raise CorrectionError("a correction is a JSON object")
    if unknown := given.keys() - _MEMBERS:
        name = min(unknown)
        _refuse(name if is_encodable(name) else ascii(name), f"allowed members: {', '.join(sorted(_MEMBERS))}")
    kind = _kind(given.get("kind"))
    province, country = _place(given, home)
    return Correction(
        id=_id(given.get("id")),
        province=province,
        country=country,
        kind=kind,
        minute=_at_ms(given.get("at"), now_ms) // 60_000,
        resource=_resource(given.get("resource"), kind),
        amount=_amount(given.get("amount"), kind),
        reason=_reason(given.get("reason")),
    )


class BookedError(Exception):
    """The id is taken: `booked` is what it stands for, and it is something else."""

    def __init__(self, booked: Correction) -> None:
        super().__init__(booked.id)
        self.booked = booked


class Booked:
    """What the provinces have booked, by id."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def find(self, province: str, name: str) -> Correction | None:
        """What is booked under an id; None for nothing. Raises SinkError when that can't be known now."""
        key = f"{province_prefix(province)}:corrections"
        try:
            found = await cast("Awaitable[bytes | None]", self._client.hget(key, name))
        except FAILURES as error:
            raise SinkError(f"{type(error).__name__}: {error}") from error
        return _booked(found, province) if found is not None else None

    async def close(self) -> None:
        await self._client.aclose()


class Taken(NamedTuple):
    """A correction that is on disk. known: the very same is booked already."""

    correction: Correction
    known: bool


class Corrections:
    """Takes corrections into a journal. booked: None where nobody can be asked what is booked."""

    def __init__(self, journal: Journal, booked: Booked | None = None) -> None:
        self._journal = journal
        self._booked = booked

    async def accept(self, body: bytes) -> Taken:
        """Take a correction in; returns when it is on disk, and booked if that is soon.

        Raises CorrectionError when it is none, BookedError when its id is known to stand for another, JournalError when
        the promise can't be given.
        """
        correction = parse_correction(body, self._journal.stamp_ms(), self._journal.label.home.province)
        known = await self._is_booked(correction)
        # No await between the stamp and the append: records enter the journal in the order of their stamps.
        stamp_ms = self._journal.stamp_ms()
        await self._journal.append(encode_correction(stamp_ms, correction), stamp_ms)
        if not known:
            await self._see_it_booked(correction)
        return Taken(correction, known)

    async def _is_booked(self, correction: Correction) -> bool:
        """False also when that can't be known now. Raises BookedError."""
        if self._booked is None or correction.province not in self._journal.label.provinces:
            return False
        try:
            found = await self._booked.find(correction.province, correction.id)
        except SinkError:
            return False
        if found is not None and found != correction:
            raise BookedError(found)
        return found is not None

    async def _see_it_booked(self, correction: Correction) -> None:
        """Two under one id can be on their way at the same time: the one that comes second hears of it. Raises
        BookedError."""
        if self._booked is None:
            return
        try:
            async with asyncio.timeout(BOOKED_WITHIN_S):
                while not await self._is_booked(correction):  # noqa: ASYNC110  another process books it
                    await asyncio.sleep(_ASK_AGAIN_S)
        except TimeoutError:
            return  # it is on disk, and will be booked


def _booked(content: bytes, province: str) -> Correction:
    """An entry as the province keeps it. Raises SinkError for one of another layout."""
    try:
        entry = orjson.loads(content)
        kept = {name: entry[name] for name in Correction._fields if name not in ("province", "kind")}
        return Correction(province=province, kind=_KINDS[entry["kind"]], **kept)
    except (ValueError, KeyError, TypeError) as error:
        raise SinkError(f"{content!r} is no correction: {error!r}") from error


def _refuse(member: str, allowed: str) -> NoReturn:
    raise MemberError(member, allowed)


def _id(value: object) -> str:
    if not isinstance(value, str) or not is_resource(value):
        _refuse("id", "1 to 64 of the characters A-Z a-z 0-9 . _ -, another one for each correction")
    return value


def _kind(value: object) -> Kind:
    kind = _KINDS.get(value) if isinstance(value, str) else None
    if kind is None:
        _refuse("kind", f"one of {', '.join(_KINDS)}")
    return kind


def _place(given: dict[str, object], home: str) -> tuple[str, str]:
    province = given.get("province", home)
    if not isinstance(province, str) or len(province) != 2 or not province.isascii() or not province.isdigit():
        _refuse("province", "a two-digit code")
    country = given.get("country", place_in(province).country)
    if not isinstance(country, str) or len(country) != 2 or not country.isascii() or not country.isalpha():
        _refuse("country", "two letters, as in CN")
    return province, country.upper()


def _at_ms(value: object, now_ms: int) -> int:
    """The moment whose counts are changed."""
    at_ms = value if type(value) is int else _parsed_ms(value)
    if at_ms is None:
        _refuse("at", _A_TIME)
    if not _EARLIEST_MS <= at_ms <= now_ms + MAX_AHEAD_MS:
        _refuse("at", f"a time since 2000 that is not to come, {_A_TIME}")
    return at_ms


def _parsed_ms(value: object) -> int | None:
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return int(moment.timestamp() * 1000) if moment.tzinfo is not None else None


def _resource(value: object, kind: Kind) -> str:
    if kind is Kind.VISIT:
        if value is not None:
            _refuse("resource", "left out for visits")
        return ""
    if not isinstance(value, str) or not is_resource(value):
        _refuse("resource", "1 to 64 of the characters A-Z a-z 0-9 . _ -")
    return value


def _amount(value: object, kind: Kind) -> int:
    """Events, or milliseconds of watch."""
    amount = value
    if kind is Kind.WATCH and type(value) in (int, float):
        scaled = value * _MS  # type: ignore[operator]
        amount = round(scaled) if abs(scaled) <= MAX_AMOUNT else None
    if type(amount) is not int or amount == 0 or abs(amount) > MAX_AMOUNT:
        _refuse("amount", _SECONDS if kind is Kind.WATCH else _AMOUNTS)
    return amount


def _reason(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value.strip()) <= MAX_REASON_CHARS or not is_encodable(value):
        _refuse("reason", f"1 to {MAX_REASON_CHARS} characters that say why")
    return value.strip()

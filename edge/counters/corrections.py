"""Corrections: signed entries that are added to what was counted, each once for ever, with the reason.

What was counted is never changed: a wrong count is put right by an entry beside it, which everybody can read. It takes
the road of the events: journal, lane, one call that books it in every roll-up.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, NoReturn

import orjson

from edge.counters.event import MAX_AHEAD_MS, Kind, is_resource, place_in
from edge.counters.journal import Journal
from edge.counters.record import Correction, encode_correction

MAX_REASON_CHARS: Final = 500
MAX_AMOUNT: Final = 10**12  # far above any count, far below what a sum of scores is exact for
_MS: Final = 1000
# What is older is seconds that were taken for milliseconds; and a first day of counts, once booked, stays the first.
_EARLIEST_MS: Final = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp()) * _MS
_KINDS: Final = {kind.name.lower(): kind for kind in Kind}
_MEMBERS: Final = frozenset({"id", "province", "country", "kind", "resource", "at", "amount", "reason"})


class CorrectionError(ValueError):
    """A body that is no correction; the message says which member, and what is allowed."""


def parse_correction(body: bytes, now_ms: int, home: str) -> Correction:
    """Read one correction.

    `{"id", "kind", "resource", "at", "amount", "reason"}`, and where it is not that of the node, "province" and
    "country". at: ms since the epoch, or ISO 8601 with an offset. amount: a whole number, for watch of seconds, which
    may have three decimals. Raises CorrectionError.
    """
    try:
        given: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise CorrectionError("the body is not JSON") from None
    if not isinstance(given, dict):
        raise CorrectionError("a correction is a JSON object")
    if unknown := given.keys() - _MEMBERS:
        _refuse(min(unknown), f"allowed members: {', '.join(sorted(_MEMBERS))}")
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


class Corrections:
    """Takes corrections into a journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def accept(self, body: bytes) -> Correction:
        """Take a correction in; returns when it is on disk.

        One whose id the province knows is not booked again, whatever else it says.
        Raises CorrectionError when it is none, JournalError when the promise can't be given.
        """
        stamp_ms = self._journal.stamp_ms()
        correction = parse_correction(body, stamp_ms, self._journal.label.home.province)
        # No await between the stamp and the append: records enter the journal in the order of their stamps.
        await self._journal.append(encode_correction(stamp_ms, correction), stamp_ms)
        return correction


def _refuse(member: str, allowed: str) -> NoReturn:
    raise CorrectionError(f"{member}: {allowed}")


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
        _refuse("at", "milliseconds since the epoch, or a time as in 2026-11-29T08:00:00+08:00")
    if not _EARLIEST_MS <= at_ms <= now_ms + MAX_AHEAD_MS:
        _refuse("at", "a time since 2000 that is not to come, as a number in milliseconds")
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
        _refuse("amount", "a whole number that is not 0; of watch, seconds")
    return amount


def _reason(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value.strip()) <= MAX_REASON_CHARS:
        _refuse("reason", f"1 to {MAX_REASON_CHARS} characters that say why")
    return value.strip()

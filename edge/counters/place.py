"""Where a viewer is: from what a proxy tells, or from a record about the viewer's address, to a province and a country.

Provinces are the two-digit codes of GB/T 2260, countries those of ISO 3166-1. ISO counts Hong Kong, Macao and Taiwan as
countries, too; here they are provinces of CN, however they are written. What nobody knows is shown as unknown and never
guessed: province 00, country ZZ; a viewer abroad, or somewhere in China, has province 00 and the country.
"""

from __future__ import annotations

import re
from typing import Final

from edge.counters.event import HOME_COUNTRY, HUB, UNKNOWN_COUNTRY, Place

UNKNOWN: Final = Place(HUB, UNKNOWN_COUNTRY)

# ISO 3166-2:CN without its prefix.
BY_LETTERS: Final = {
    "AH": "34",
    "BJ": "11",
    "CQ": "50",
    "FJ": "35",
    "GD": "44",
    "GS": "62",
    "GX": "45",
    "GZ": "52",
    "HA": "41",
    "HB": "42",
    "HE": "13",
    "HI": "46",
    "HK": "81",
    "HL": "23",
    "HN": "43",
    "JL": "22",
    "JS": "32",
    "JX": "36",
    "LN": "21",
    "MO": "82",
    "NM": "15",
    "NX": "64",
    "QH": "63",
    "SC": "51",
    "SD": "37",
    "SH": "31",
    "SN": "61",
    "SX": "14",
    "TJ": "12",
    "TW": "71",
    "XJ": "65",
    "XZ": "54",
    "YN": "53",
    "ZJ": "33",
}
_CODES: Final = frozenset(BY_LETTERS.values())
_REGIONS: Final = frozenset({"HK", "MO", "TW"})
# What those who look addresses up say for "we don't know" (user-assigned in ISO 3166-1).
_NOWHERE: Final = frozenset({"XX", "ZZ"})
_is_country = re.compile(r"[A-Z]{2}").fullmatch


def told(province: str, country: str) -> Place | None:
    """What a trusted proxy says of its client; None where it says what can't be.

    province: `44`, `GD` or `CN-GD`. country: `CN`. Either may be empty; both may be written in lower case.
    """
    province, country = province.strip().upper().removeprefix(f"{HOME_COUNTRY}-"), country.strip().upper()
    if province in ("", HUB):
        return _of_country(country)
    code = BY_LETTERS.get(province, province)
    named = _of_country(country or HOME_COUNTRY)
    if code not in _CODES or named is None:
        return None
    if named.country != HOME_COUNTRY or named.province not in (HUB, code):
        return None  # two places at once
    return Place(code, HOME_COUNTRY)


def recorded(record: object) -> Place:
    """What a record of an MMDB file as GeoLite2-City says: `country.iso_code`, `subdivisions[0].iso_code`."""
    country = _code(_member(record, "country")).upper()
    place = _of_country(country)
    if place is None:
        return UNKNOWN
    if country != HOME_COUNTRY:
        return place
    subdivisions = _member(record, "subdivisions")
    first = subdivisions[0] if isinstance(subdivisions, list) and subdivisions else None
    letters = _code(first).upper().removeprefix(f"{HOME_COUNTRY}-")
    code = BY_LETTERS.get(letters, letters)
    return Place(code, HOME_COUNTRY) if code in _CODES else place


def _of_country(country: str) -> Place | None:
    if country == "" or country in _NOWHERE:
        return UNKNOWN
    if country in _REGIONS:
        return Place(BY_LETTERS[country], HOME_COUNTRY)
    return Place(HUB, country) if _is_country(country) else None


def _member(record: object, name: str) -> object:
    return record.get(name) if isinstance(record, dict) else None


def _code(record: object) -> str:
    code = _member(record, "iso_code")
    return code if isinstance(code, str) else ""

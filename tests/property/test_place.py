"""Wherever a viewer is said to be: a province of China or none, a country or none, and never a guess."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.provinces import PROVINCES
from edge.counters.event import Place, place_in
from edge.counters.place import BY_LETTERS, UNKNOWN, recorded, told

codes = st.sampled_from(sorted(set(PROVINCES) - {"00"}))
letters = st.sampled_from(sorted(BY_LETTERS))
anything = st.recursive(
    st.none() | st.integers() | st.text(max_size=5) | st.sampled_from(["CN", "GD", "CN-GD", "44", "HK"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["country", "subdivisions", "iso_code"]), inner, max_size=3)
    ),
    max_leaves=8,
)


def record(country: str, *subdivisions: str) -> dict[str, object]:
    """As GeoLite2-City has it."""
    return {
        "country": {"iso_code": country, "names": {"en": "?"}},
        "subdivisions": [{"iso_code": code} for code in subdivisions],
    }


def sound(place: Place) -> bool:
    """A province of China is in China, and a country has two letters."""
    inland = place.province in PROVINCES and place.country == "CN"
    return inland or (place.province == "00" and len(place.country) == 2 and place.country.isalpha())


def test_the_letters_name_every_province_once() -> None:
    assert sorted(BY_LETTERS.values()) == sorted(set(PROVINCES) - {"00"})


@given(letters)
def test_a_province_is_the_same_one_however_it_is_written(name: str) -> None:
    place = Place(BY_LETTERS[name], "CN")
    for written in (name, f"CN-{name}", place.province, f"cn-{name.lower()}", f" {place.province} "):
        assert told(written, "") == told(written, "CN") == told(written, "cn ") == place
    assert recorded(record("CN", name)) == recorded(record("CN", f"CN-{name}", "XX")) == place
    assert place_in(place.province) == place


@pytest.mark.parametrize(("region", "province"), [("HK", "81"), ("MO", "82"), ("TW", "71")])
def test_what_iso_counts_as_a_country_of_its_own_is_a_province_of_china(region: str, province: str) -> None:
    assert told("", region) == told(province, region) == told(region, "CN") == Place(province, "CN")
    assert recorded(record(region)) == recorded(record(region, "KLN")) == Place(province, "CN")


@pytest.mark.parametrize(
    ("province", "country", "place"),
    [
        ("", "", UNKNOWN),
        ("00", "", UNKNOWN),
        ("", "XX", UNKNOWN),
        ("", "ZZ", UNKNOWN),
        ("", "CN", Place("00", "CN")),
        ("", "SG", Place("00", "SG")),
        ("00", "SG", Place("00", "SG")),
    ],
)
def test_what_is_not_known_is_unknown_and_who_is_abroad_is_abroad(province: str, country: str, place: Place) -> None:
    assert told(province, country) == place


@pytest.mark.parametrize(
    ("province", "country"),
    [
        ("99", ""),
        ("Guangdong", "CN"),
        ("44", "SG"),
        ("44", "HK"),
        ("", "CHN"),
        ("", "中国"),
        ("44", "?"),
        ("4４", "CN"),
    ],
)
def test_what_cannot_be_is_nonsense(province: str, country: str) -> None:
    assert told(province, country) is None


@given(st.text(max_size=6) | codes | letters, st.text(max_size=4) | st.sampled_from(["CN", "HK", "US"]))
def test_whatever_a_proxy_says_is_a_place_or_nonsense(province: str, country: str) -> None:
    place = told(province, country)
    assert place is None or sound(place)


@given(anything)
def test_whatever_a_record_holds_is_a_place(found: object) -> None:
    assert sound(recorded(found))


def test_a_record_without_a_province_is_of_the_country() -> None:
    assert recorded(record("CN")) == recorded(record("CN", "??")) == Place("00", "CN")
    assert recorded(record("US", "CA")) == Place("00", "US")
    assert recorded(record("C")) == recorded(None) == UNKNOWN


def test_viewers_of_the_hub_may_be_anywhere() -> None:
    assert place_in("00") == UNKNOWN

"""What is taken as a correction, and what is refused with which word."""

from __future__ import annotations

import orjson
import pytest

from edge.counters.corrections import CorrectionError, parse_correction
from edge.counters.event import Kind

NOW = 1_764_000_000_000
GOOD: dict[str, object] = {
    "id": "c-1",
    "kind": "view",
    "resource": "lesson-1",
    "at": NOW,
    "amount": -3,
    "reason": "counted by a test",
}


def body(**members: object) -> bytes:
    return orjson.dumps({name: value for name, value in (GOOD | members).items() if value is not ...})


def test_a_correction_is_of_the_nodes_own_province_unless_it_says_another() -> None:
    own = parse_correction(body(), NOW, "44")
    assert (own.id, own.province, own.country, own.kind, own.resource) == ("c-1", "44", "CN", Kind.VIEW, "lesson-1")
    assert (own.minute, own.amount, own.reason) == (NOW // 60_000, -3, "counted by a test")
    other = parse_correction(body(province="00", country="sg"), NOW, "44")
    assert (other.province, other.country) == ("00", "SG")
    assert parse_correction(body(province="00"), NOW, "44").country == "ZZ"


def test_watch_is_corrected_in_seconds_and_visits_have_no_resource() -> None:
    assert parse_correction(body(kind="watch", amount=-7.25), NOW, "44").amount == -7_250
    assert parse_correction(body(kind="visit", resource=...), NOW, "44").resource == ""


@pytest.mark.parametrize("at", ["2025-11-25T00:00:00+08:00", "2025-11-24T16:00:00Z", 1_764_000_000_000])
def test_a_moment_is_milliseconds_or_iso_8601(at: object) -> None:
    assert parse_correction(body(at=at), NOW, "44").minute == NOW // 60_000


@pytest.mark.parametrize(
    ("members", "word"),
    [
        ({"id": ...}, "id"),
        ({"id": "a b"}, "id"),
        ({"id": "x" * 65}, "id"),
        ({"kind": "like"}, "kind"),
        ({"kind": ["view"]}, "kind"),
        ({"resource": ...}, "resource"),
        ({"kind": "visit"}, "resource"),
        ({"at": ...}, "at"),
        ({"at": True}, "at"),
        ({"at": "2025-11-25T00:00:00"}, "at"),
        ({"at": "soon"}, "at"),
        ({"at": NOW + 120_000}, "at"),
        ({"at": -1}, "at"),
        ({"at": NOW // 1000}, "at"),  # seconds: a day of 1970 would be the first for ever
        ({"amount": 0}, "amount"),
        ({"amount": 1.5}, "amount"),
        ({"amount": True}, "amount"),
        ({"amount": 10**13}, "amount"),
        ({"kind": "watch", "amount": 1e300}, "amount"),
        ({"kind": "watch", "amount": 0.0001}, "amount"),
        ({"amount": 2**62}, "amount"),
        ({"amount": 1e300}, "amount"),
        ({"reason": ...}, "reason"),
        ({"reason": "  "}, "reason"),
        ({"reason": "x" * 501}, "reason"),
        ({"province": "4"}, "province"),
        ({"province": 44}, "province"),
        ({"country": "CHN"}, "country"),
        ({"amonut": 3}, "amonut"),
    ],
)
def test_a_wrong_member_is_named(members: dict[str, object], word: str) -> None:
    with pytest.raises(CorrectionError, match=f"^{word}: "):
        parse_correction(body(**members), NOW, "44")


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"amount": 2**62}, "amount: a whole number from -1,000,000,000,000 to 1,000,000,000,000 that is not 0"),
        ({"kind": "watch", "amount": 1e10}, "amount: seconds from -1,000,000,000 to 1,000,000,000, at least"),
        ({"at": "2099-01-01T00:00:00+08:00"}, "at: a time since 2000 that is not to come, in milliseconds since"),
        ({"at": NOW + 120_000}, "as in 2026-11-29T08:00:00+08:00"),
    ],
)
def test_a_refusal_names_all_that_is_allowed(members: dict[str, object], said: str) -> None:
    with pytest.raises(CorrectionError) as refused:
        parse_correction(body(**members), NOW, "44")
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("name", "text", "word"),
    [("amount", b"1e999", "amount"), ("amount", b"9" * 5000, "amount"), ("reason", b'"\\ud800"', "reason")],
)
def test_an_odd_member_is_named(name: str, text: bytes, word: str) -> None:
    with pytest.raises(CorrectionError, match=f"^{word}: "):
        parse_correction(body(**{name: ...})[:-1] + b',"%b":%b}' % (name.encode(), text), NOW, "44")


def test_a_member_that_cannot_even_be_written_is_refused_by_a_name_that_can() -> None:
    with pytest.raises(CorrectionError, match=r"^'\\ud800': allowed members: amount") as refused:
        parse_correction(rb'{"\ud800": 1}', NOW, "44")
    assert str(refused.value).encode()


@pytest.mark.parametrize("wrong", [b"", b"{", b"[]", b"3", b'"x"'])
def test_a_body_that_is_no_object_is_refused(wrong: bytes) -> None:
    with pytest.raises(CorrectionError):
        parse_correction(wrong, NOW, "44")

"""What a record of the journal keeps of a request, and which records are read."""

from __future__ import annotations

import struct

import pytest

from edge.counters.event import Agent, Kind, Place, ViewEvent, place_in
from edge.counters.record import (
    Correction,
    Head,
    RecordError,
    accepted_ms,
    decode,
    decode_correction,
    encode,
    encode_correction,
    head,
    province_of,
)

NOW = 1_764_000_000_000
GUANGDONG = place_in("44")


def test_a_record_gives_back_what_counting_needs_and_neither_id_nor_viewer_in_clear() -> None:
    events = [
        ViewEvent("id-in-clear", Kind.WATCH, "lesson-1", "viewer-in-clear", NOW + 59_999, 120_000),
        ViewEvent("i" * 64, Kind.VISIT, "", "", NOW, 0),
    ]
    payload = encode(NOW + 7, events, GUANGDONG)
    assert (accepted_ms(payload), head(payload, "44").events) == (NOW + 7, 2)
    watch, visit = decode(payload)
    assert watch == (watch[0], Kind.WATCH, (NOW + 59_999) // 60_000, b"lesson-1", watch[4], 120_000)
    assert visit == (visit[0], Kind.VISIT, NOW // 60_000, b"", bytes(8), 0)
    assert [len(digest) for digest in (watch[0], watch[4], visit[0])] == [12, 8, 12]
    assert b"in-clear" not in payload


@pytest.mark.parametrize("place", [Place("44", "CN"), Place("00", "SG"), Place("00", "ZZ")])
@pytest.mark.parametrize("agent", Agent)
def test_a_record_says_where_its_events_come_from_and_who_sent_them(place: Place, agent: Agent) -> None:
    payload = encode(NOW, [ViewEvent("a", Kind.VIEW, "b", "", NOW, 0)], place, agent)
    assert head(payload, home="11") == Head(NOW, 1, place, agent, is_correction=False)
    assert province_of(payload) == place.province


@pytest.mark.parametrize(("home", "country"), [("44", "CN"), ("71", "CN"), ("00", "ZZ")])
def test_a_record_of_the_first_version_is_of_humans_at_the_journals_home(home: str, country: str) -> None:
    event = struct.pack("<BII12s8sB", 1, NOW // 60_000, 0, b"i" * 12, bytes(8), 8) + b"lesson-1"
    payload = struct.pack("<BQH", 1, NOW, 1) + event
    assert head(payload, home) == Head(NOW, 1, Place(home, country), Agent.HUMAN, is_correction=False)
    assert decode(payload) == [(b"i" * 12, Kind.VIEW, NOW // 60_000, b"lesson-1", bytes(8), 0)]


def test_a_correction_is_a_record_of_its_own() -> None:
    entry = Correction("c-1", "44", "CN", Kind.WATCH, NOW // 60_000, "lesson-1", -7_500, "说明 of an error")
    payload = encode_correction(NOW, entry)
    assert decode_correction(payload) == entry
    assert head(payload, home="11") == Head(NOW, 1, GUANGDONG, Agent.HUMAN, is_correction=True)
    assert decode(payload) == []
    assert province_of(payload) == "44"


@pytest.mark.parametrize("version", [0, 4, 255])
def test_a_record_of_a_newer_version_is_not_guessed_at(version: int) -> None:
    payload = bytes([version]) + encode(NOW, [], GUANGDONG)[1:]
    for read in (accepted_ms, lambda one: head(one, "44"), decode):
        with pytest.raises(RecordError, match=f"version {version}"):
            read(payload)


def test_a_correction_that_is_none_is_not_guessed_at() -> None:
    with pytest.raises(RecordError, match="can't be read"):
        decode_correction(encode_correction(NOW, Correction("c", "44", "CN", Kind.VIEW, 1, "a", 1, ""))[:-3])

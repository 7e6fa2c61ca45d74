"""Markers: remembered for as long as they hold, and never in more memory than they may take."""

from __future__ import annotations

import pytest

from edge.cache.ask import Ask
from edge.cache.freshness import described
from edge.cache.markers import Markers
from edge.cache.model import Freshness, Pass
from tests.support.ticking import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def test_a_marker_holds_until_its_time_and_for_its_own_kind_of_request(clock: ManualClock) -> None:
    markers = Markers(clock.monotonic)
    markers.put(Ask("/a"), Pass("private", clock.monotonic() + 10))
    assert markers.get(Ask("/a")) is not None
    assert markers.get(Ask("/a", authorized=True)) is None
    assert markers.get(Ask("/b")) is None
    clock.advance(10)
    assert markers.get(Ask("/a")) is None
    assert len(markers) == 0


def test_a_forgotten_marker_is_gone(clock: ManualClock) -> None:
    markers = Markers(clock.monotonic)
    markers.put(Ask("/a"), Pass("private", clock.monotonic() + 10))
    markers.forget(Ask("/a"))
    markers.forget(Ask("/a"))
    assert markers.get(Ask("/a")) is None


def test_markers_stay_within_their_bound_however_long_uris_and_heads_are(clock: ManualClock) -> None:
    markers = Markers(clock.monotonic, max_bytes=100_000)
    until = clock.monotonic() + 10
    for number in range(1000):
        fields = tuple((f"x-{line}", "v" * number) for line in range(10))
        head = described(200, fields, born=0.0, freshness=Freshness(storable=True, lifetime_s=1))
        markers.put(Ask(f"/{number}" + "u" * 8000), Pass("too large to be stored", until, head))
        assert markers.used_bytes <= 100_000
    assert len(markers) > 1
    huge = described(200, (("x", "v" * 200_000),), born=0.0, freshness=Freshness(storable=True, lifetime_s=1))
    markers.put(Ask("/huge"), Pass("too large to be stored", until, huge))
    assert markers.get(Ask("/huge")) is None

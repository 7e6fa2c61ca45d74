"""Which renditions a source gets."""

from __future__ import annotations

from fractions import Fraction

import pytest

from origin.ladder import frame_rate, profile_for, renditions_for


def sizes(width: int, height: int) -> dict[str, tuple[int, int]]:
    return {one.name: (one.width, one.height) for one in renditions_for(width, height)}


def test_full_hd_gets_the_whole_ladder_of_the_platform() -> None:
    assert sizes(1920, 1080) == {"360p": (640, 360), "480p": (852, 480), "720p": (1280, 720), "1080p": (1920, 1080)}
    assert [one.kbps for one in renditions_for(1920, 1080)] == [202, 255, 377, 706]


@pytest.mark.parametrize(
    ("size", "names"),
    [
        ((1280, 720), ["360p", "480p", "720p"]),
        ((1279, 719), ["360p", "480p", "720p"]),
        ((1000, 562), ["360p", "480p"]),
        ((3840, 2160), ["360p", "480p", "720p", "1080p"]),
        ((1916, 1076), ["360p", "480p", "720p", "1080p"]),
    ],
)
def test_nothing_is_scaled_up_but_a_hair_is_forgiven(size: tuple[int, int], names: list[str]) -> None:
    renditions = renditions_for(*size)
    assert [one.name for one in renditions] == names
    assert all(one.width <= size[0] + 1 and one.height <= size[1] + 1 for one in renditions)


def test_upright_and_wide_pictures_keep_their_shape() -> None:
    assert sizes(1080, 1920)["360p"] == (360, 640)
    assert sizes(1920, 800)["1080p"] == (1920, 800)
    assert sizes(1440, 1080)["720p"] == (960, 720)


@pytest.mark.parametrize("size", [(321, 181), (17, 9), (638, 250)])
def test_a_source_below_the_ladder_gets_one_rendition_of_its_own_even_size(size: tuple[int, int]) -> None:
    (only,) = renditions_for(*size)
    assert only.width % 2 == only.height % 2 == 0
    assert only.width <= max(16, size[0] + 1)
    assert only.kbps <= 202


@pytest.mark.parametrize(
    ("source", "rate"),
    [
        (Fraction(25), Fraction(25)),
        (Fraction(30000, 1001), Fraction(30000, 1001)),
        (Fraction(50), Fraction(25)),
        (Fraction(60), Fraction(30)),
        (Fraction(60000, 1001), Fraction(30000, 1001)),
        (Fraction(240), Fraction(30)),
        (Fraction(1713, 100), Fraction(17)),
        (Fraction(1, 5), Fraction(1)),
        (None, Fraction(25)),
        (Fraction(90000), Fraction(25)),
    ],
)
def test_the_frame_rate_is_the_sources_and_at_most_thirty(source: Fraction | None, rate: Fraction) -> None:
    assert frame_rate(source) == rate


def test_small_renditions_use_the_profile_old_tablets_decode() -> None:
    assert [profile_for(one) for one in renditions_for(1920, 1080)] == ["main", "main", "high", "high"]

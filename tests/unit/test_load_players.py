"""What players of the load test ask for, and when."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from loadtest.players import (
    AHEAD_SEGMENTS,
    PlaylistError,
    Segment,
    Step,
    choose_rendition,
    event,
    segments,
    timetable,
    variant_paths,
)

BASE = "/media/lesson-1/abc/master-720p.m3u8"
MASTER = """#EXTM3U
#EXT-X-MEDIA:TYPE=AUDIO,URI="audio/playlist.m3u8",GROUP-ID="audio",NAME="audio",DEFAULT=YES
#EXT-X-MEDIA:TYPE=SUBTITLES,URI="captions/zh.m3u8",GROUP-ID="text",NAME="zh"
#EXT-X-STREAM-INF:BANDWIDTH=535372,RESOLUTION=1280x720,AUDIO="audio"
720p/playlist.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=635372,RESOLUTION=1280x720,AUDIO="audio"

720p/playlist.m3u8
"""
MEDIA = """#EXTM3U
#EXT-X-TARGETDURATION:6
#EXT-X-MAP:URI="init.mp4"
#EXTINF:6.000,
00001.m4s
#EXTINF:2.500,last
/elsewhere/00002.m4s
#EXT-X-ENDLIST
"""


def track(count: int, duration_s: float = 6.0, name: str = "v") -> list[Segment]:
    return [Segment(f"/{name}/{number}", duration_s) for number in range(count)]


def fetched(steps: list[Step]) -> list[tuple[float, str]]:
    return [(step.at_s, step.path) for step in steps if step.path]


def test_a_master_playlist_names_its_sound_and_each_picture_once() -> None:
    assert variant_paths(MASTER, BASE) == [
        "/media/lesson-1/abc/audio/playlist.m3u8",
        "/media/lesson-1/abc/720p/playlist.m3u8",
    ]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_media_playlist_names_its_segments_with_their_durations(newline: str) -> None:
    initial, found = segments(MEDIA.replace("\n", newline), "/a/b/playlist.m3u8")
    assert initial == ["/a/b/init.mp4"]
    assert found == [Segment("/a/b/00001.m4s", 6.0), Segment("/elsewhere/00002.m4s", 2.5)]


@pytest.mark.parametrize("text", ["", "#EXTM3U\n", "#EXTM3U\n00001.m4s\n"])
def test_a_media_playlist_without_playable_segments_is_refused(text: str) -> None:
    with pytest.raises(PlaylistError, match=r"/a/playlist\.m3u8"):
        segments(text, "/a/playlist.m3u8")


def test_a_master_playlist_that_names_nothing_is_refused() -> None:
    with pytest.raises(PlaylistError):
        variant_paths("", BASE)


def test_renditions_are_chosen_by_the_shares_of_the_platform() -> None:
    dice = random.Random(1)
    chosen = Counter(choose_rendition(["360p", "480p", "720p", "1080p"], dice) for _ in range(10_000))
    assert [name for name, _ in chosen.most_common()] == ["720p", "480p", "1080p", "360p"]
    assert 3_800 < chosen["720p"] < 4_200


def test_an_unknown_rendition_can_be_chosen() -> None:
    assert choose_rendition(["2160p"], random.Random(1)) == "2160p"


def test_three_segments_are_fetched_at_once_and_then_one_for_each_played() -> None:
    assert fetched(timetable([track(6)], 600)) == [
        (0.0, "/v/0"), (0.0, "/v/1"), (0.0, "/v/2"), (6.0, "/v/3"), (12.0, "/v/4"), (18.0, "/v/5"),
    ]  # fmt: skip


def test_a_segment_is_needed_when_those_before_it_have_been_played() -> None:
    needed = [step.needed_s for step in timetable([track(5)], 600) if step.path]
    assert needed == [0.0, 6.0, 12.0, 18.0, 24.0]


def test_sound_and_picture_each_keep_their_own_pace() -> None:
    steps = timetable([track(4, 6.0, "v"), track(6, 4.0, "a")], 600)
    assert [path for at, path in fetched(steps) if at == 0.0] == ["/v/0", "/a/0", "/v/1", "/a/1", "/v/2", "/a/2"]
    assert [(at, path) for at, path in fetched(steps) if at] == [
        (4.0, "/a/3"), (6.0, "/v/3"), (8.0, "/a/4"), (12.0, "/a/5"),
    ]  # fmt: skip


def test_play_is_told_after_the_first_segment_of_each_track_and_once() -> None:
    steps = timetable([track(9, name="v"), track(9, name="a")], 600)
    assert [step.path or step.kind for step in steps[:4]] == ["/v/0", "/a/0", "play", "/v/1"]
    assert sum(step.kind == "play" for step in steps) == 1


@pytest.mark.parametrize(
    ("stay_s", "reports"),
    [
        (600.0, [(30.0, 30), (60.0, 30)]),
        (45.0, [(30.0, 30), (45.0, 15)]),
        (60.4, [(30.0, 30), (60.0, 30)]),
        (12.0, [(12.0, 12)]),
    ],
)
def test_every_second_watched_is_told_once(stay_s: float, reports: list[tuple[float, int]]) -> None:
    steps = timetable([track(10)], stay_s)
    assert [(step.at_s, step.watched_s) for step in steps if step.kind == "watch"] == reports


def test_who_leaves_early_fetches_no_more_than_the_player_keeps_ahead() -> None:
    steps = timetable([track(100)], 30.0)
    assert len(fetched(steps)) == 30 / 6 + AHEAD_SEGMENTS - 1
    assert steps[-1] == Step(30.0, kind="watch", watched_s=30)


def test_a_lesson_shorter_than_what_is_kept_ahead_is_fetched_at_once() -> None:
    steps = timetable([track(2)], 600)
    assert fetched(steps) == [(0.0, "/v/0"), (0.0, "/v/1")]
    assert steps[-1] == Step(12.0, kind="watch", watched_s=12)


def test_events_are_as_the_contract_has_them() -> None:
    assert event("visit", "e1", 7, "v") == {"id": "e1", "kind": "visit", "viewer": "v", "at": 7}
    assert event("watch", "e2", 7, "v", "lesson-1", 30) == {
        "id": "e2", "kind": "watch", "viewer": "v", "at": 7, "resource": "lesson-1", "watched_s": 30,
    }  # fmt: skip
    assert "watched_s" not in event("play", "e3", 7, "v", "lesson-1")

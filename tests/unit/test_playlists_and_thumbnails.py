"""Master playlists as values, the thumbnail track, durations, and the lines that tell of progress."""

from __future__ import annotations

import io

from origin import hls, thumbnails
from origin.progress import LineReporter
from origin.schema import iso_duration

MASTER = """#EXTM3U
## made by a packager
#EXT-X-MEDIA:TYPE=AUDIO,URI="r1/audio/playlist.m3u8",GROUP-ID="audio",NAME="audio",DEFAULT=NO,AUTOSELECT=YES
#EXT-X-STREAM-INF:BANDWIDTH=900,AVERAGE-BANDWIDTH=700,CODECS="avc1,mp4a",AUDIO="audio"
r1/720p/playlist.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=300,CODECS="avc1,mp4a",AUDIO="audio"
r1/360p/playlist.m3u8
"""


def test_a_master_lists_variants_from_the_lowest_bandwidth_up() -> None:
    variants = hls.parse_master(MASTER).variants
    assert [(one.bandwidth, one.average_bandwidth) for one in variants] == [(300, 300), (900, 700)]


def test_the_only_sound_is_the_default() -> None:
    assert "DEFAULT=YES" in hls.parse_master(MASTER).render()


def test_a_master_of_one_rendition_names_it_relative_to_its_own_folder() -> None:
    text = hls.parse_master(MASTER).only("r1/720p/").relative_to("r1/").render()
    assert 'URI="audio/playlist.m3u8"' in text
    assert text.endswith("\n720p/playlist.m3u8\n")
    assert "360p" not in text


def test_reading_and_writing_a_master_keeps_it() -> None:
    once = hls.parse_master(MASTER)
    assert hls.parse_master(once.render()) == once


def test_each_small_picture_has_its_place_and_its_time() -> None:
    track = thumbnails.track(thumbnails.Grid(160, 90), 265.5, 27)
    cues = track.removeprefix("WEBVTT\n\n").strip().split("\n\n")
    assert len(cues) == 27
    assert cues[6] == "00:01:00.000 --> 00:01:10.000\nsprite001.jpg#xywh=160,90,160,90"
    assert cues[25] == "00:04:10.000 --> 00:04:20.000\nsprite002.jpg#xywh=0,0,160,90"
    assert cues[26].startswith("00:04:20.000 --> 00:04:25.500")


def test_durations_are_iso_8601() -> None:
    assert [iso_duration(s) for s in (0, 59.6, 150, 3600, 3661)] == ["PT0S", "PT1M", "PT2M30S", "PT1H", "PT1H1M1S"]


def test_a_log_gets_a_line_at_each_tenth_and_not_more_often_than_agreed() -> None:
    now = [100.0]
    stream = io.StringIO()
    reporter = LineReporter(stream, interval_s=2, monotonic=lambda: now[0])
    reporter.stage("work", 100)
    for amount in range(101):
        now[0] += 0.5
        reporter.reach(amount)
    lines = stream.getvalue().splitlines()
    assert lines[:3] == ["work", "work: 10%", "work: 20%"]
    assert len(lines) == 11
    reporter.stage("rush", 100)
    for amount in range(101):
        reporter.reach(amount)
    assert stream.getvalue().splitlines()[11:] == ["rush"]

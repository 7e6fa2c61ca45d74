"""Lesson descriptions: what is read, and how a wrong one is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from origin.captions import read_captions
from origin.errors import PublishError, WrongInputError
from origin.lesson import Wish, check_id, describe
from origin.terms import Label

GOOD = """
id = "lesson-1"
title = "分数"
title_en = "Fractions"
section = "curriculum"
tags = { stage = "primary", edition = "some-edition" }
documents = { courseware = "slides.pdf" }
captions = { zh = "zh.srt" }
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("video.mp4", "slides.pdf", "zh.srt"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "lesson.toml").write_text(GOOD, encoding="utf-8")
    return tmp_path


def test_a_folder_describes_a_lesson(folder: Path) -> None:
    lesson = describe(folder, Wish())
    assert (lesson.id, lesson.title, lesson.section.id) == ("lesson-1", Label("分数", "Fractions"), "curriculum")
    assert lesson.video == folder / "video.mp4"
    assert lesson.documents == {"courseware": folder / "slides.pdf"}
    assert lesson.tags["stage"].zh == "小学"
    assert lesson.tags["edition"].zh == "some-edition"


def test_a_description_may_begin_with_a_byte_order_mark(folder: Path) -> None:
    (folder / "lesson.toml").write_text(GOOD, encoding="utf-8-sig")
    assert describe(folder, Wish()).id == "lesson-1"


def test_options_win_over_the_description(folder: Path) -> None:
    lesson = describe(folder, Wish(texts={"id": "other"}, tags={"stage": "junior"}))
    assert (lesson.id, lesson.tags["stage"].id, lesson.title.zh) == ("other", "junior", "分数")


def test_a_bare_video_is_named_after_its_file(folder: Path) -> None:
    lesson = describe(folder / "video.mp4", Wish())
    assert (lesson.id, lesson.title.zh, lesson.section.id) == ("video", "video", "curriculum")


@pytest.mark.parametrize("id_", ["", ".", "..", "a/b", "a b", "x" * 65, "课", "a\n", "%2e"])
def test_ids_that_could_leave_their_folder_or_upset_a_url_are_refused(id_: str) -> None:
    with pytest.raises(PublishError, match=r"A-Z a-z 0-9"):
        check_id(id_)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("curriculum", "maths"), "section 'maths' is not known; allowed: special, curriculum"),
        (("title_en", "titel"), "key 'titel' is not known; allowed: captions, description"),
        (('id = "lesson-1"', "id = 5"), "key 'id' is 5; allowed is a text"),
        (('id = "lesson-1"', ""), "key 'id' is missing"),
        (("primary", "kindergarten"), "stage 'kindergarten' is not known; allowed: primary"),
        (("slides.pdf", "gone.pdf"), "document courseware: there is no file"),
        (("courseware", "homework"), "document role 'homework' is not known; allowed: courseware"),
        (("zh =", '"z/h" ='), "language 'z/h' is not possible"),
        (("stage", "age"), "tag 'age' is not known; allowed: stage, grade"),
        (("title =", "title"), "is not TOML"),
        (("分数", r"a\u0000b"), r"title 'a\x00b' is not possible; allowed is UTF-8 text without NUL"),
        (("slides.pdf", r"a\u0000.pdf"), "is not possible; allowed is UTF-8 text without NUL"),
        (("slides.pdf", "x" * 300), "can't be read: File name too long"),
    ],
)
def test_what_is_wrong_is_told_in_one_line_with_what_is_allowed(
    folder: Path, change: tuple[str, str], told: str
) -> None:
    (folder / "lesson.toml").write_text(GOOD.replace(*change), encoding="utf-8")
    with pytest.raises(PublishError) as caught:
        describe(folder, Wish())
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_that_no_path_can_have_is_told(tmp_path: Path) -> None:
    with pytest.raises(WrongInputError, match="can't be read: File name too long"):
        describe(tmp_path / ("x" * 300), Wish())


def test_names_and_titles_that_are_no_utf_8_are_refused_and_shown(folder: Path) -> None:
    no_utf_8 = os.fsdecode(b"caf\xe9")
    with pytest.raises(WrongInputError, match=r"caf\\udce9' is not possible; allowed is UTF-8 text"):
        describe(folder, Wish(texts={"title": no_utf_8}))
    with pytest.raises(WrongInputError, match=r"caf\\udce9' is not possible"):
        describe(folder / f"{no_utf_8}.mp4", Wish(texts={"id": "a"}))


def test_files_may_lie_where_names_are_no_utf_8(folder: Path) -> None:
    odd = folder.rename(folder.with_name(os.fsdecode(b"\xbf\xce")))
    (odd / os.fsdecode(b"plan\xff.pdf")).write_bytes(b"x")
    wish = Wish(documents={"courseware": odd / os.fsdecode(b"plan\xff.pdf")})
    assert describe(odd, wish).video.parent == odd


def test_a_folder_with_two_videos_must_say_which(folder: Path) -> None:
    (folder / "second.mkv").write_bytes(b"x")
    with pytest.raises(PublishError, match="holds 2 videos"):
        describe(folder, Wish())


def test_subrip_captions_become_webvtt(tmp_path: Path) -> None:
    path = tmp_path / "zh.srt"
    path.write_bytes("\ufeff1\r\n00:00:01,000 --> 00:00:02,500\r\n你好\r\n".encode())
    assert read_captions(path).decode() == "WEBVTT\n\n1\n00:00:01.000 --> 00:00:02.500\n你好\n"


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"hello", b""])
def test_captions_that_are_none_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "zh.vtt"
    path.write_bytes(data)
    with pytest.raises(PublishError, match="captions"):
        read_captions(path)

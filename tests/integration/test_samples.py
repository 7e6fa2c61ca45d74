"""The sample lessons: made here, published the ordinary way, once."""

from __future__ import annotations

from pathlib import Path

import pytest

from origin.binaries import find_binaries
from origin.catalog import Catalog
from origin.check import Checker
from origin.fonts import Typeface, find_typeface
from origin.lesson import Wish, describe
from origin.probe import probe
from origin.sample_texts import SAMPLES
from origin.samples import make_sample, order, publish_samples
from origin.store import Location, Store
from origin.terms import SECTIONS
from tests.support.broker import S3Address
from tests.support.silence import SilentReporter


def test_there_is_one_sample_per_section_and_the_liveliest_comes_first() -> None:
    assert [sample.section for sample in SAMPLES] == list(SECTIONS)
    assert [sample.id for sample in SAMPLES] == [f"lesson-00000{number}" for number in range(1, 7)]
    assert [SAMPLES[index].id for index in order()][:3] == ["lesson-000002", "lesson-000001", "lesson-000003"]


def test_a_sample_is_a_folder_as_authors_make_them(tmp_path: Path) -> None:
    folder = make_sample(1, tmp_path, binaries=find_binaries(), reporter=SilentReporter(), chapter_s=1)
    lesson = describe(folder, Wish())
    assert (lesson.id, lesson.title.zh, lesson.section.id) == ("lesson-000002", "认识分数", "curriculum")
    assert list(lesson.documents) == ["courseware", "task-sheet", "exercises"]
    assert all(path.read_bytes().startswith(b"%PDF-") for path in lesson.documents.values())
    assert sorted(lesson.captions) == ["en", "zh"]
    source = probe(lesson.video, find_binaries())
    assert (source.width, source.height) == (1920, 1080)
    assert source.audio_s == pytest.approx(4, abs=0.1)


def test_without_a_chinese_font_titles_are_english_and_never_empty_boxes(tmp_path: Path) -> None:
    typeface = find_typeface((tmp_path,))
    assert typeface == Typeface(None, chinese=False)
    assert typeface.at(40).getlength("Fractions") > 40


def test_samples_are_published_once(s3: S3Address, s3_prefix: str, tmp_path: Path) -> None:
    store = Store(Location(s3.bucket, s3_prefix, s3.endpoint, s3.access_key, s3.secret_key))

    def publish() -> list[str]:
        return list(publish_samples(store, tmp_path / "work", SilentReporter(), only=1, chapter_s=1))

    assert publish() == ["lesson-000002: published, 认识分数 / Meeting fractions"]
    assert publish() == ["all sample lessons are published"]
    assert [entry.id for entry in Catalog(store).entries()] == ["lesson-000002"]
    assert Checker(store, Catalog(store), SilentReporter(), read=True).check().findings == ()
    assert not any((tmp_path / "work").iterdir())

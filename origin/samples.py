"""Six sample lessons, one per section, made on this machine: film, voice, captions, documents.

Each is a folder with a `lesson.toml`, as any author's, and goes the same way: `publish` knows nothing of samples.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from origin.binaries import Binaries, find_binaries
from origin.catalog import Catalog
from origin.encode import EncodeSettings
from origin.errors import PublishError
from origin.fonts import Typeface, find_typeface
from origin.lesson import DESCRIPTION, Wish, describe
from origin.process import ProcessError, run
from origin.progress import Reporter
from origin.publish import Publisher
from origin.sample_pictures import draw_slides, landscape, page, slide, write_clock
from origin.sample_scene import Scene, film_arguments
from origin.sample_texts import SAMPLES, Sample
from origin.speech import Phrase, write_speech
from origin.store import Store
from origin.terms import Label
from origin.thumbnails import timestamp
from origin.workplace import workplace

CHAPTER_S = 30.0
SILENCE_S = 120.0
# The liveliest comes first: a new user watches it while the others are being made.
FIRST = "lesson-000002"
NICENESS = 10
# The fastest preset: what counts is that there is something to watch soon.
SETTINGS = EncodeSettings(preset="ultrafast")
SENTENCES = 3


def publish_samples(
    store: Store,
    work_root: Path,
    reporter: Reporter,
    *,
    ffmpeg: str | None = None,
    only: int | None = None,
    chapter_s: float = CHAPTER_S,
) -> Iterator[str]:
    """Publishes the samples that the catalog lacks and tells of each in one line; nothing to do costs one shard each.

    only: at most so many of them, the first first. chapter_s: seconds per slide. Raises PublishError.
    """
    store.check()
    catalog = Catalog(store)
    current = catalog.current()
    missing = [index for index in order()[:only] if catalog.find(SAMPLES[index].id, current) is None]
    if not missing:
        yield "all sample lessons are published"
        return
    binaries = find_binaries(ffmpeg)
    publisher = Publisher(store, catalog, binaries, reporter, work_root)
    for index in missing:
        if SAMPLES[index].id != FIRST:
            os.nice(max(0, NICENESS - os.nice(0)))  # the machine belongs to its user again
        with workplace(work_root, f"sample-{SAMPLES[index].id}") as work:
            folder = make_sample(index, work, binaries=binaries, reporter=reporter, chapter_s=chapter_s)
            outcome = publisher.publish(describe(folder, Wish()), SETTINGS)
        yield f"{outcome.id}: published, {SAMPLES[index].title.zh} / {SAMPLES[index].title.en}"


def order() -> list[int]:
    """Indexes of the samples as they are published."""
    return sorted(range(len(SAMPLES)), key=lambda index: (SAMPLES[index].id != FIRST, index))


def make_sample(
    index: int, directory: Path, *, binaries: Binaries, reporter: Reporter, chapter_s: float = CHAPTER_S
) -> Path:
    """Makes the sample with this index (0 to 5) in a directory and gives the lesson's folder.

    What is there already, whole, is kept. chapter_s: seconds per slide, of which there are four.
    """
    sample = SAMPLES[index]
    folder = directory / sample.id
    if (folder / DESCRIPTION).is_file():
        return folder
    parts = directory / f"{sample.id}.parts"
    for path in (folder, parts):
        path.mkdir(parents=True, exist_ok=True)
    typeface = find_typeface()
    scene = Scene(parts, chapter_s, len(sample.chapters), index)
    _make_parts(sample, scene, typeface)
    _make_film(sample, scene, folder / "lesson.mp4", binaries, reporter)
    _write_captions(sample, scene, folder)
    _write_documents(sample, typeface, folder)
    _write_description(sample, folder)  # last: it says that the folder is whole
    return folder


def _make_parts(sample: Sample, scene: Scene, typeface: Typeface) -> None:
    draw_slides(sample, typeface, scene.directory)
    write_clock(scene.directory / "clock.gray", round(scene.duration_s), typeface)
    landscape(sample, scene.seed).save(scene.directory / "landscape.bmp")
    phrases = [Phrase(start, end, len(sentence.zh)) for start, end, sentence in _spoken(sample, scene)]
    write_speech(scene.directory / "speech.wav", phrases, scene.duration_s, sample.pitch_hz, scene.seed)


def _make_film(sample: Sample, scene: Scene, output: Path, binaries: Binaries, reporter: Reporter) -> None:
    def note(line: str) -> None:
        key, _, value = line.strip().partition("=")
        if key == "out_time_us" and value.isdigit():
            reporter.reach(int(value) / 1e6)

    reporter.stage(f"{sample.id}: making the sample film", scene.duration_s)
    try:
        run([binaries.ffmpeg, *film_arguments(scene, output)], silence_s=SILENCE_S, on_line=note)
    except ProcessError as error:
        if error.no_space:
            raise PublishError(f"no space left in the work directory {output.parent}") from error
        raise PublishError(f"{sample.id}: the sample film can't be made: {error.last_words or error}") from error


def _spoken(sample: Sample, scene: Scene) -> Iterator[tuple[float, float, Label]]:
    """When which sentence is spoken: each has a third of its slide's time."""
    share = scene.chapter_s / SENTENCES
    for at, chapter in enumerate(sample.chapters):
        for number, sentence in enumerate(chapter.sentences):
            start = at * scene.chapter_s + number * share
            yield start + 0.2, start + share, sentence


def _write_captions(sample: Sample, scene: Scene, folder: Path) -> None:
    for language in ("zh", "en"):
        cues = [
            f"{timestamp(start)} --> {timestamp(end - 0.2)}\n{sentence.zh if language == 'zh' else sentence.en}\n"
            for start, end, sentence in _spoken(sample, scene)
        ]
        (folder / f"{language}.vtt").write_text("WEBVTT\n\n" + "\n".join(cues), encoding="utf-8")


def _write_documents(sample: Sample, typeface: Typeface, folder: Path) -> None:
    slides = [slide(sample, chapter, number, typeface) for number, chapter in enumerate(sample.chapters, 1)]
    _write_pdf(folder / "courseware.pdf", slides, sample.title.en, 144)
    sheets = {"task-sheet": ("学习任务单", "Task sheet", 0), "exercises": ("课后练习", "Exercises", 2)}
    for role, (zh, en, first) in sheets.items():
        heading = f"{sample.title.zh}  {zh}" if typeface.chinese else f"{sample.title.en}: {en}"
        lines = list(_sheet(sample, typeface, first))
        halves = (lines[: len(lines) // 2], lines[len(lines) // 2 :])
        pages = [
            page(heading, half, typeface, sample.colour, f"{sample.id}  {number} / {len(halves)}")
            for number, half in enumerate(halves, 1)
        ]
        _write_pdf(folder / f"{role}.pdf", pages, f"{sample.title.en}: {en}", 150)


def _sheet(sample: Sample, typeface: Typeface, first: int) -> Iterator[str]:
    """Questions made of the lesson's sentences: what to do with each, and a line to write on."""
    for number, chapter in enumerate(sample.chapters, 1):
        yield f"{number}. {chapter.heading.zh}  {chapter.heading.en}" if typeface.chinese else chapter.heading.en
        for at in range(first, first + SENTENCES):
            sentence = chapter.sentences[at % SENTENCES]
            yield f"    {sentence.zh}" if typeface.chinese else f"    {sentence.en}"
            yield f"    {sentence.en}" if typeface.chinese else "    Say it in your own words:"
        yield "    " + "_" * 48


def _write_pdf(path: Path, pages: list[Image.Image], title: str, resolution: float) -> None:
    head, *rest = pages
    head.save(path, save_all=True, append_images=rest, title=title, resolution=resolution, quality=60)


def _write_description(sample: Sample, folder: Path) -> None:
    tags = ", ".join(f'{name} = "{value}"' for name, value in sample.tags.items())
    roles = ("courseware", "task-sheet", "exercises")
    documents = ", ".join(f'{role} = "{role}.pdf"' for role in roles)
    lines = (
        f'id = "{sample.id}"',
        f'title = "{sample.title.zh}"',
        f'title_en = "{sample.title.en}"',
        f'section = "{sample.section}"',
        'video = "lesson.mp4"',
        f'description = "{sample.description.zh}"',
        f'description_en = "{sample.description.en}"',
        'school = "示范学校"',
        'teacher = "示范教师"',
        f"tags = {{ {tags} }}",
        f"documents = {{ {documents} }}",
        'captions = { zh = "zh.vtt", en = "en.vtt" }',
    )
    unfinished = folder / f"{DESCRIPTION}.unfinished"
    unfinished.write_text("\n".join(lines) + "\n", encoding="utf-8")
    unfinished.rename(folder / DESCRIPTION)

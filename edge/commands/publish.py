"""`smartedu publish`: packages videos into lessons, uploads them, puts them into the catalog."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge.commands.storage import location_of, one_line_errors, state_directory, storage_options
from origin.encode import PRESETS, EncodeSettings, check_settings
from origin.lesson import Lesson, Wish, describe
from origin.terms import DIMENSIONS, ROLES, SECTIONS

if TYPE_CHECKING:
    from origin.progress import Reporter
    from origin.store import Location

EXAMPLE = """\b
Examples:
  smartedu publish fractions.mp4 --id lesson-000123 --title 认识分数 --title-en Fractions \\
      --section curriculum --stage primary --grade grade-3 --subject mathematics \\
      --document courseware=slides.pdf --document task-sheet=task.pdf --captions zh=fractions.srt
  smartedu publish lessons/*/            # folders with a lesson.toml each
  smartedu publish fractions.mp4 --origin s3://school --s3-endpoint https://s3.example.org

\b
Credentials come from the usual AWS environment and files, or from the local stack when one runs.
Interrupted, it goes on where it stopped when it is run again."""


@dataclass(frozen=True, slots=True)
class Job:
    """What all lessons of one call share."""

    location: Location
    work: Path
    ffmpeg: str | None
    settings: EncodeSettings


def _pairs(_: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[str, Path]:
    pairs: dict[str, Path] = {}
    for value in values:
        name, equals, path = value.partition("=")
        if not equals or not name or not path:
            raise click.BadParameter(f"{value!r} is not NAME=PATH", param=option)
        if name in pairs:
            raise click.BadParameter(f"{name!r} is given twice, {pairs[name]} and {path}; allowed: once", param=option)
        pairs[name] = Path(path)
    return pairs


@click.command(epilog=EXAMPLE)
@click.argument("paths", nargs=-1, metavar="VIDEO|DIR...", type=click.Path(path_type=Path))
@click.option("--id", "id_", help="The lesson's id: 1 to 64 of A-Z a-z 0-9 . _ -  [default: the file's name]")
@click.option("--title", help="Title in Chinese.")
@click.option("--title-en", help="Title in English.")
@click.option("--section", metavar="ID", help=f"One of {', '.join(SECTIONS)}.  [default: curriculum]")
@click.option("--stage", metavar="ID", help=f"One of {', '.join(DIMENSIONS['stage'])}.")
@click.option("--grade", metavar="ID", help="grade-1 to grade-12.")
@click.option("--subject", metavar="ID", help=f"One of {', '.join(DIMENSIONS['subject'])}.")
@click.option("--edition", metavar="ID", help=f"One of {', '.join(DIMENSIONS['edition'])}, or another.")
@click.option("--volume", metavar="ID", help=f"One of {', '.join(DIMENSIONS['volume'])}.")
@click.option("--description", help="A few sentences in Chinese.")
@click.option("--description-en", help="The same in English.")
@click.option("--school", help="The teacher's school.")
@click.option("--teacher", help="The teacher's name.")
@click.option(
    "--document",
    "documents",
    multiple=True,
    metavar="ROLE=PATH",
    callback=_pairs,
    help=f"A file beside the video; roles: {', '.join(ROLES)}.",
)
@click.option("--captions", multiple=True, metavar="LANG=PATH", callback=_pairs, help="Captions, .vtt or .srt.")
@click.option("--segment-seconds", type=float, default=6.0, show_default=True, help="Length of a segment.")
@click.option("--preset", type=click.Choice(PRESETS), default="veryfast", show_default=True, help="Of x264.")
@click.option("--ffmpeg", metavar="PATH", help="Use this ffmpeg and the ffprobe beside it, not the shipped ones.")
@click.option("--work-dir", type=click.Path(path_type=Path), help="Unfinished work.  [default: STATE/work]")
@click.option("--samples", is_flag=True, help="Make and publish the six sample lessons that are missing.")
@click.option("--sample-chapter-s", type=float, hidden=True, help="Seconds per slide: tests have no two minutes.")
@click.option("--sample-count", type=int, hidden=True, help="Publish at most so many.")
@storage_options
def publish(
    paths: tuple[Path, ...],
    id_: str | None,
    documents: Mapping[str, Path],
    captions: Mapping[str, Path],
    segment_seconds: float,
    preset: str,
    ffmpeg: str | None,
    work_dir: Path | None,
    samples: bool,
    sample_chapter_s: float | None,
    sample_count: int | None,
    origin: str | None,
    bucket: str | None,
    s3_endpoint: str | None,
    **texts: str | None,
) -> None:
    """Package videos into lessons and publish them.

    A VIDEO is described by the options, a DIR by the lesson.toml in it (options win over it).
    """
    _check_usage(paths, id_, samples=samples)
    with _explained(), _reporter() as reporter:
        settings = EncodeSettings(segment_seconds, preset)
        check_settings(settings)
        location = location_of(origin, bucket, s3_endpoint)
        job = Job(location, work_dir or state_directory() / "work", ffmpeg, settings)
        if samples:
            _publish_samples(job, reporter, sample_chapter_s, sample_count)
        else:
            _publish_paths(job, paths, _wish(id_, texts, documents, captions), reporter)


def _check_usage(paths: tuple[Path, ...], id_: str | None, *, samples: bool) -> None:
    if samples == bool(paths):
        raise click.UsageError("name at least one VIDEO or DIR" if not samples else "--samples takes no VIDEO or DIR")
    if id_ is not None and len(paths) > 1:
        raise click.UsageError("--id names one lesson: give one VIDEO or DIR with it")


def _wish(
    id_: str | None, texts: Mapping[str, str | None], documents: Mapping[str, Path], captions: Mapping[str, Path]
) -> Wish:
    given = {key: text for key, text in {"id": id_, **texts}.items() if text is not None}
    tags = {key: given.pop(key) for key in DIMENSIONS if key in given}
    return Wish(given, tags, documents, captions)


def _publish_paths(job: Job, paths: tuple[Path, ...], wish: Wish, reporter: Reporter) -> None:
    from origin.binaries import find_binaries
    from origin.catalog import Catalog
    from origin.publish import Publisher
    from origin.store import Store

    lessons = _described(paths, wish)
    store = Store(job.location)
    publisher = Publisher(store, Catalog(store), find_binaries(job.ffmpeg), reporter, job.work)
    for lesson in lessons:
        outcome = publisher.publish(lesson, job.settings)
        state = "published" if outcome.changed else "unchanged"
        click.echo(
            f"{outcome.id}: {state}, revision {outcome.revision}, catalog {outcome.version}, "
            f"{outcome.uploaded} objects uploaded, {outcome.reused} were there"
        )


def _described(paths: tuple[Path, ...], wish: Wish) -> list[Lesson]:
    """All of them are judged before the first is begun. Of two of one id the second would replace the first."""
    lessons = [describe(path, wish) for path in paths]
    by_id: dict[str, Path] = {}
    for lesson, path in zip(lessons, paths, strict=True):
        if (other := by_id.setdefault(lesson.id, path)) is not path:
            raise click.UsageError(f"{other} and {path} are both lesson {lesson.id!r}; allowed: another id for each")
    return lessons


def _publish_samples(job: Job, reporter: Reporter, chapter_s: float | None, count: int | None) -> None:
    from origin.samples import CHAPTER_S, publish_samples
    from origin.store import Store

    store, length_s = Store(job.location), chapter_s or CHAPTER_S
    for line in publish_samples(store, job.work, reporter, ffmpeg=job.ffmpeg, only=count, chapter_s=length_s):
        click.echo(line)


@contextmanager
def _reporter() -> Iterator[Reporter]:
    from origin.progress import BarReporter, LineReporter, is_terminal

    if not is_terminal():
        yield LineReporter(sys.stderr)
        return
    with BarReporter(sys.stderr) as bars:
        yield bars


@contextmanager
def _explained() -> Iterator[None]:
    try:
        with one_line_errors():
            yield
    except KeyboardInterrupt:
        raise click.ClickException("interrupted; run the same command again and it goes on from here") from None

"""A lesson as its author describes it: a video, what it is called, where it belongs, what lies beside it.

The description is given by options of `smartedu publish`, or by `lesson.toml` in a folder:

    id = "lesson-000002"
    title = "认识分数"
    title_en = "Fractions"
    section = "curriculum"
    video = "lesson.mp4"                 # without it: the only video file of the folder
    description = "…"                    # also description_en, school, teacher
    tags = { stage = "primary", grade = "grade-3", subject = "mathematics", edition = "pep", volume = "first" }
    documents = { courseware = "courseware.pdf", task-sheet = "task.pdf" }
    captions = { zh = "captions.vtt" }
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from origin import terms
from origin.errors import WrongInputError
from origin.terms import Label, Term

DESCRIPTION = "lesson.toml"
ID_PATTERN = r"[A-Za-z0-9._-]{1,64}"
LANGUAGE_PATTERN = r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*"
TEXT_KEYS = frozenset(
    {"id", "title", "title_en", "section", "video", "description", "description_en", "school", "teacher"}
)
TABLE_KEYS = frozenset({"tags", "documents", "captions"})
VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mts", ".m2ts", ".flv", ".wmv", ".mpg", ".mpeg", ".3gp"}
)
MAX_TEXT = 4000
NOTHING = Label("", "")


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is to be published. documents: role id -> file; captions: language -> file; tags: dimension -> term."""

    id: str
    video: Path
    title: Label
    section: Term
    description: Label = NOTHING
    school: str = ""
    teacher: str = ""
    tags: Mapping[str, Term] = field(default_factory=dict)
    documents: Mapping[str, Path] = field(default_factory=dict)
    captions: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wish:
    """What was given so far, unchecked: texts by key of `lesson.toml`, and the three tables."""

    texts: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    documents: Mapping[str, Path] = field(default_factory=dict)
    captions: Mapping[str, Path] = field(default_factory=dict)

    def over(self, other: Wish) -> Wish:
        """Both together; where both say something, this one counts."""
        return Wish(
            texts={**other.texts, **self.texts},
            tags={**other.tags, **self.tags},
            documents={**other.documents, **self.documents},
            captions={**other.captions, **self.captions},
        )


def check_id(id_: str) -> str:
    """The id itself when it may name a lesson; raises WrongInputError otherwise."""
    if not re.fullmatch(ID_PATTERN, id_) or id_ in {".", ".."}:
        raise WrongInputError(
            f"lesson id {id_!r} is not possible; allowed are 1 to 64 of A-Z a-z 0-9 . _ - (not . or ..)"
        )
    return id_


def describe(path: Path, wish: Wish) -> Lesson:
    """The lesson at a path: a folder with `lesson.toml`, or a video described by `wish`. Raises WrongInputError."""
    if _is(Path.is_dir, path):
        return _lesson(wish.over(read_description(path)), f"{path / DESCRIPTION}: ")
    texts = {"id": path.stem, "title": path.stem, "section": "curriculum", **wish.texts, "video": str(path)}
    return _lesson(replace(wish, texts=texts), "")


def read_description(folder: Path) -> Wish:
    """What `lesson.toml` of a folder says, with paths made whole. Raises WrongInputError naming the wrong key."""
    path = folder / DESCRIPTION
    table = _parsed(path)
    unknown = sorted(set(table) - TEXT_KEYS - TABLE_KEYS)
    if unknown:
        allowed = ", ".join(sorted(TEXT_KEYS | TABLE_KEYS))
        raise WrongInputError(f"{path}: key {unknown[0]!r} is not known; allowed: {allowed}")
    texts = {key: _text(path, key, table[key]) for key in sorted(TEXT_KEYS & set(table))}
    texts["video"] = str(folder / texts["video"]) if "video" in texts else str(_only_video(folder))
    files = {name: _text_table(path, name, table) for name in sorted(TABLE_KEYS)}
    return Wish(
        texts=texts,
        tags=files["tags"],
        documents={key: folder / name for key, name in files["documents"].items()},
        captions={key: folder / name for key, name in files["captions"].items()},
    )


def _lesson(wish: Wish, where: str) -> Lesson:
    texts = wish.texts
    for key in ("id", "title", "section"):
        if not texts.get(key, "").strip():
            raise WrongInputError(f"{where}key {key!r} is missing")
    for key, text in texts.items():
        if len(text) > MAX_TEXT:
            raise WrongInputError(f"{where}{key} is {len(text)} characters long; allowed are {MAX_TEXT}")
    _check_characters(wish, where)
    try:
        return _checked(wish)
    except WrongInputError as error:
        raise WrongInputError(f"{where}{error}") from error


def _check_characters(wish: Wish, where: str) -> None:
    """A name of bytes that are no UTF-8 comes as lone surrogates: no document of the catalog can hold it, paths can."""
    files = {"video": wish.texts.get("video", "")}
    files |= {f"document {role}": str(path) for role, path in wish.documents.items()}
    files |= {f"captions {code}": str(path) for code, path in wish.captions.items()}
    texts = {**wish.texts, **wish.tags}
    for key, text in {**texts, **files}.items():
        if "\0" in text or (key not in files and any("\ud800" <= char <= "\udfff" for char in text)):
            raise WrongInputError(f"{where}{key} {text!r} is not possible; allowed is UTF-8 text without NUL")


def _checked(wish: Wish) -> Lesson:
    texts = wish.texts
    unknown = sorted(set(wish.tags) - set(terms.DIMENSIONS))
    if unknown:
        raise WrongInputError(f"tag {unknown[0]!r} is not known; allowed: {', '.join(terms.DIMENSIONS)}")
    return Lesson(
        id=check_id(texts["id"]),
        video=Path(texts["video"]),
        title=Label(texts["title"], texts.get("title_en") or texts["title"]),
        section=terms.section(texts["section"]),
        description=Label(texts.get("description", ""), texts.get("description_en") or texts.get("description", "")),
        school=texts.get("school", ""),
        teacher=texts.get("teacher", ""),
        tags={name: terms.tag(name, wish.tags[name]) for name in terms.DIMENSIONS if name in wish.tags},
        documents={terms.role(id_).id: _existing(f"document {id_}", path) for id_, path in wish.documents.items()},
        captions={_language(code): _existing(f"captions {code}", path) for code, path in wish.captions.items()},
    )


def _parsed(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise WrongInputError(f"{path}: there is no such file; a lesson's folder holds one") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WrongInputError(f"{path}: is not TOML: {' '.join(str(error).split())}") from error
    except OSError as error:
        raise WrongInputError(f"{path}: can't be read: {error.strerror}") from error


def _text(path: Path, key: str, value: object) -> str:
    if not isinstance(value, str):
        raise WrongInputError(f"{path}: key {key!r} is {value!r}; allowed is a text in quotes")
    return value


def _text_table(path: Path, name: str, table: Mapping[str, object]) -> dict[str, str]:
    value = table.get(name, {})
    if not isinstance(value, dict):
        raise WrongInputError(f"{path}: key {name!r} is {value!r}; allowed is a table")
    return {str(key): _text(path, f"{name}.{key}", text) for key, text in value.items()}


def _only_video(folder: Path) -> Path:
    try:
        videos = sorted(path for path in folder.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES)
    except OSError as error:
        raise WrongInputError(f"{folder}: can't be read: {error.strerror}") from error
    if len(videos) != 1:
        raise WrongInputError(f'{folder}: holds {len(videos)} videos; say in {DESCRIPTION} which: video = "…"')
    return videos[0]


def _existing(what: str, path: Path) -> Path:
    if not _is(Path.is_file, path):
        raise WrongInputError(f"{what}: there is no file {path}")
    return path


def _is(kind: Callable[[Path], bool], path: Path) -> bool:
    """What pathlib says of a path; it raises where that can't be known, or where no path can be so long."""
    try:
        return kind(path)
    except OSError as error:
        raise WrongInputError(f"{path}: can't be read: {error.strerror}") from error


def _language(code: str) -> str:
    if not re.fullmatch(LANGUAGE_PATTERN, code):
        raise WrongInputError(f"language {code!r} is not possible; allowed are tags such as zh, en, zh-Hant")
    return code

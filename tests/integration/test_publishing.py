"""Publishing to real storage: what is there afterwards, what a second run does, and what a broken one leaves."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from botocore.exceptions import EndpointConnectionError

from origin.binaries import find_binaries
from origin.catalog import Catalog
from origin.check import Checker
from origin.encode import EncodeSettings
from origin.errors import PublishError
from origin.lesson import Lesson, Wish, describe
from origin.package import POINTERS
from origin.publish import Outcome, Publisher
from origin.schema import SectionRef, Version, to_json
from origin.store import Location, Store, upload_of
from tests.support import videos
from tests.support.broker import S3Address
from tests.support.silence import SilentReporter

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

SETTINGS = EncodeSettings(segment_s=1, preset="ultrafast")


class DyingClient:
    """A real S3 client whose connection is gone after so many puts."""

    def __init__(self, client: S3Client, puts: int) -> None:
        self._client = client
        self._left = puts
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def put_object(self, **arguments: Any) -> Any:
        with self._lock:
            self._left -= 1
            if self._left < 0:
                raise EndpointConnectionError(endpoint_url="http://storage")
        return self._client.put_object(**arguments)


class MeddledClient:
    """A real S3 client with something that happens once, just before the first put of a certain key."""

    def __init__(self, client: S3Client, key: str, meddle: Callable[[], object]) -> None:
        self._client = client
        self._key = key
        self._meddle: Callable[[], object] | None = meddle

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def put_object(self, **arguments: Any) -> Any:
        if arguments["Key"] == self._key and self._meddle is not None:
            meddle, self._meddle = self._meddle, None
            meddle()
        return self._client.put_object(**arguments)


@dataclass(frozen=True, slots=True)
class Seen:
    """A lesson as a reader who starts at version.json meets it. folders: where its playlists' and pictures' names lead;
    played_s: what each of its playlists lasts, in whole seconds."""

    duration: str
    media_revision: str
    captions: tuple[str, ...]
    folders: frozenset[str]
    played_s: frozenset[int]


class Place:
    """One published root with a publisher; `puts` bounds the next publisher's life."""

    def __init__(self, location: Location, client: S3Client, work: Path) -> None:
        self.location = location
        self.client = client
        self.work = work
        self.store = Store(location, client)
        self.catalog = Catalog(self.store)

    def publish(self, lesson: Lesson, *, puts: int = 10**9, settings: EncodeSettings = SETTINGS) -> Outcome:
        return self.publish_through(DyingClient(self.client, puts), self.work, lesson, settings)

    def publish_through(self, client: Any, work: Path, lesson: Lesson, settings: EncodeSettings = SETTINGS) -> Outcome:
        """Publishes with a client and a work directory of one's own, as from another machine."""
        store = Store(self.location, client)
        publisher = Publisher(store, Catalog(store), find_binaries(), SilentReporter(), work)
        return publisher.publish(lesson, settings)

    def check(self) -> list[str]:
        report = Checker(self.store, self.catalog, SilentReporter(), read=True).check()
        return [f"{finding.path} {finding.what}" for finding in report.findings]

    def etags(self) -> dict[str, str]:
        """Key -> time of writing and ETag of everything that is stored."""
        return {key: f"{modified} {etag}" for key, modified, etag in self._objects()}

    def _objects(self) -> Iterator[tuple[str, str, str]]:
        pages = self.client.get_paginator("list_objects_v2")
        for found in pages.paginate(Bucket=self.location.bucket, Prefix=self.location.prefix + "/"):
            for item in found.get("Contents", []):
                key = item["Key"].removeprefix(self.location.prefix)
                yield key, item["LastModified"].isoformat(), item["ETag"]

    def dangling(self) -> list[str]:
        """What a reader who starts at version.json would be sent to and not find."""
        there = set(self.etags())
        if self.catalog.current().version is None:
            return []
        named: set[str] = set()
        for entry in self.catalog.entries():
            document = self.catalog.lesson(entry)
            named |= {entry.lesson, entry.poster, document.master, document.manifest, document.thumbnails}
            named |= {ref.url for ref in document.documents} | {ref.url for ref in document.captions}
            well_known = [f"/media/{entry.id}/{name}" for name in POINTERS]
            named |= set(well_known)
            for master in [document.master, well_known[0], *(one.master for one in document.renditions)]:
                named |= self._reachable(master)
        return sorted(named - there)

    def seen(self, id_: str) -> Seen:
        """The lesson by names found in the catalog alone."""
        entry = self.catalog.find(id_)
        assert entry is not None
        document = self.catalog.lesson(entry)
        masters = [document.master, *(one.master for one in document.renditions)]
        reached = {path for master in masters for path in self._reachable(master)}
        named = {document.poster, document.thumbnails, document.manifest, document.package.path, entry.poster, *reached}
        return Seen(
            duration=entry.duration,
            media_revision=document.media_revision,
            captions=tuple(one.url for one in document.captions),
            folders=frozenset("/".join(path.split("/")[:4]) for path in named),
            played_s=frozenset(self._lasting(path) for path in reached if path.endswith("/playlist.m3u8")),
        )

    def pointers(self, id_: str) -> dict[str, bytes | None]:
        """What the short-lived names of a lesson give."""
        found = {name: self.store.read(f"/media/{id_}/{name}") for name in POINTERS}
        return {name: answer[0] if answer else None for name, answer in found.items()}

    def _lasting(self, playlist: str) -> int:
        found = self.store.read(playlist)
        assert found is not None
        return round(sum(float(one) for one in re.findall(r"#EXTINF:([0-9.]+)", found[0].decode())))

    def _reachable(self, playlist: str) -> set[str]:
        """A playlist and everything it leads to."""
        found = self.store.read(playlist)
        if found is None:
            return {playlist}
        folder = playlist.rsplit("/", 1)[0]
        reached = {playlist}
        for uri in re.findall(r'^([^#\n]+)$|URI="([^"]+)"', found[0].decode(), re.MULTILINE):
            path = f"{folder}/{''.join(uri)}"
            reached |= self._reachable(path) if path.endswith(".m3u8") else {path}
        return reached


@pytest.fixture
def place(s3: S3Address, s3_client: S3Client, s3_prefix: str, tmp_path: Path) -> Place:
    location = Location(s3.bucket, s3_prefix, s3.endpoint, s3.access_key, s3.secret_key)
    return Place(location, s3_client, tmp_path / "work")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lesson's folder: a video of 2 s, two documents, captions."""
    folder = tmp_path_factory.mktemp("lesson")
    videos.plain(folder / "lesson.mp4", seconds=2)
    (folder / "slides.pdf").write_bytes(b"%PDF-1.4 slides")
    (folder / "task.docx").write_bytes(b"PK task")
    (folder / "zh.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\n你好\n", encoding="utf-8")
    (folder / "lesson.toml").write_text(
        'id = "lesson-a"\ntitle = "分数"\ntitle_en = "Fractions"\nsection = "curriculum"\n'
        'tags = { stage = "primary" }\ncaptions = { zh = "zh.srt" }\n'
        'documents = { courseware = "slides.pdf", task-sheet = "task.docx" }\n',
        encoding="utf-8",
    )
    return folder


@pytest.fixture
def lesson_a(folder: Path) -> Lesson:
    return describe(folder, Wish())


def test_everything_the_catalog_names_is_there_with_its_checksum(place: Place, lesson_a: Lesson) -> None:
    outcome = place.publish(lesson_a)
    assert outcome.changed
    assert place.check() == []
    assert place.dangling() == []
    assert not any(place.work.iterdir())


def test_objects_carry_type_lifetime_tags_and_checksum(place: Place, lesson_a: Lesson) -> None:
    place.publish(lesson_a)
    document = place.catalog.lesson(next(place.catalog.entries()))
    folder = document.poster.rsplit("/", 1)[0]
    immutable = "public, max-age=31536000, immutable"
    wanted = {
        f"{folder}/360p/00001.m4s": ("video/iso.segment", immutable, "lesson-a"),
        f"{folder}/360p/init.mp4": ("video/mp4", immutable, "lesson-a"),
        f"{folder}/audio/init.mp4": ("audio/mp4", immutable, "lesson-a"),
        f"{folder}/360p/playlist.m3u8": ("application/vnd.apple.mpegurl", immutable, "lesson-a"),
        document.documents[0].url: ("application/pdf", immutable, "lesson-a"),
        document.captions[0].url: ("text/vtt; charset=utf-8", immutable, "lesson-a"),
        document.manifest: ("application/dash+xml", immutable, "lesson-a"),
        document.master: ("application/vnd.apple.mpegurl", immutable, "lesson-a"),
        "/media/lesson-a/manifest.mpd": ("application/dash+xml", None, "lesson-a"),
        "/media/lesson-a/master.m3u8": ("application/vnd.apple.mpegurl", None, "lesson-a"),
        "/media/lesson-a/poster.jpg": ("image/jpeg", None, "lesson-a"),
        document.lesson: ("application/json", immutable, "catalog section-curriculum lesson-a"),
        "/catalog/version.json": ("application/json", None, "catalog catalog-version"),
    }
    for path, (kind, lifetime, tags) in wanted.items():
        key = place.location.prefix + path
        found = place.client.get_object(Bucket=place.location.bucket, Key=key)
        assert found["ContentType"] == kind
        assert found["Metadata"]["surrogate-key"] == tags
        assert found["Metadata"]["sha256"] == hashlib.sha256(found["Body"].read()).hexdigest()
        tagged = place.client.get_object_tagging(Bucket=place.location.bucket, Key=key)
        assert tagged["TagSet"] == [{"Key": "surrogate-key", "Value": tags}]
        age = int(re.findall(r"max-age=(\d+)", found["CacheControl"])[0])
        assert found["CacheControl"] == lifetime if lifetime else age <= 60


def test_the_catalog_has_six_sections_and_says_of_the_lesson_what_its_author_said(
    place: Place, lesson_a: Lesson
) -> None:
    outcome = place.publish(lesson_a)
    found = place.store.read("/catalog/version.json")
    assert found is not None
    version = orjson.loads(found[0])
    assert version["version"] == outcome.version
    assert version["resources"] == 1
    sections = ["special", "curriculum", "after-school", "teacher-training", "family", "reform"]
    assert [section["id"] for section in version["sections"]] == sections
    (shard,) = version["sections"][1]["shards"]
    assert (shard["first"], shard["last"], shard["entries"]) == ("lesson-a", "lesson-a", 1)
    document = place.catalog.lesson(next(place.catalog.entries()))
    assert (document.title.zh, document.tags["stage"].en) == ("分数", "Primary school")
    assert [(one.role, one.format) for one in document.documents] == [("courseware", "pdf"), ("task-sheet", "docx")]
    assert [(one.lang, one.label) for one in document.captions] == [("zh", "中文")]
    assert document.duration == "PT2S"


def test_the_same_again_writes_nothing_at_all(place: Place, lesson_a: Lesson) -> None:
    first = place.publish(lesson_a)
    before = place.etags()
    second = place.publish(lesson_a, puts=0)
    assert place.etags() == before
    assert (second.changed, second.uploaded, second.version) == (False, 0, first.version)


def test_another_title_changes_the_catalog_only(place: Place, lesson_a: Lesson) -> None:
    first = place.publish(lesson_a)
    second = place.publish(replace(lesson_a, title=replace(lesson_a.title, zh="新")))
    assert (second.uploaded, second.revision, second.changed) == (0, first.revision, True)
    assert second.version != first.version


def test_a_new_document_gives_a_new_revision_and_no_new_video(place: Place, lesson_a: Lesson, tmp_path: Path) -> None:
    first = place.publish(lesson_a)
    (tmp_path / "new.pdf").write_bytes(b"%PDF-1.4 better slides")
    second = place.publish(replace(lesson_a, documents={"courseware": tmp_path / "new.pdf"}))
    assert second.revision != first.revision
    assert second.uploaded == 1
    assert place.check() == []


@pytest.mark.parametrize("name", ["plan.a?b#c", "x.a%2Fb", "课件.课", "slides.PDF"])
def test_a_document_of_any_name_lies_where_its_link_leads(
    place: Place, lesson_a: Lesson, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_bytes(b"%PDF-1.4")
    place.publish(replace(lesson_a, documents={"courseware": tmp_path / name}))
    (document,) = place.catalog.lesson(next(place.catalog.entries())).documents
    assert re.fullmatch(r"/media/lesson-a/[0-9a-f]+/documents/courseware(\.pdf)?", document.url)
    assert document.format == ("pdf" if name == "slides.PDF" else "bin")
    assert place.check() == []


def test_a_new_video_gives_a_new_revision_and_the_old_one_stays_playable(
    place: Place, lesson_a: Lesson, tmp_path: Path
) -> None:
    place.publish(lesson_a)
    old = place.catalog.lesson(next(place.catalog.entries()))
    place.publish(replace(lesson_a, video=videos.silent(tmp_path / "new.mkv")))
    new = place.catalog.lesson(next(place.catalog.entries()))
    assert new.media_revision != old.media_revision
    assert place.store.read(old.renditions[0].master) is not None
    assert place.check() == []


def test_a_lesson_that_moves_is_in_its_new_section_only(place: Place, lesson_a: Lesson) -> None:
    place.publish(lesson_a)
    other = replace(lesson_a, id="lesson-b")
    place.publish(other)
    place.publish(describe_in(other, "family"))
    assert [(entry.section, entry.id) for entry in place.catalog.entries()] == [
        ("curriculum", "lesson-a"),
        ("family", "lesson-b"),
    ]
    assert place.check() == []


def describe_in(lesson: Lesson, section: str) -> Lesson:
    from origin import terms

    return replace(lesson, section=terms.section(section))


def test_storage_lost_at_any_put_shows_no_reader_half_a_lesson_and_the_next_run_sends_the_rest(
    place: Place, lesson_a: Lesson
) -> None:
    sent = lose_storage_at_each_put(place, lesson_a)
    assert len(sent) > 15
    outcome = place.publish(lesson_a)
    assert outcome.uploaded == 0  # all of the lesson's own objects were there: only the catalog was missing
    assert None not in place.pointers("lesson-a").values()
    assert {path: place.etags()[path] for path in sent} == sent
    assert place.check() == []


def test_storage_lost_while_a_lesson_is_replaced_shows_the_old_lesson_or_the_new_and_never_a_mixture(
    place: Place, lesson_a: Lesson, changed: Lesson
) -> None:
    place.publish(lesson_a)
    old, old_pointers = place.seen("lesson-a"), place.pointers("lesson-a")
    assert (old.duration, list(old.played_s), len(old.folders)) == ("PT2S", [2], 1)

    def still_the_old() -> None:
        assert place.seen("lesson-a") == old
        assert place.pointers("lesson-a") == old_pointers

    lose_storage_at_each_put(place, changed, still_the_old)
    with pytest.raises(PublishError, match="can't be used"):
        place.publish(changed, puts=3)  # the catalog's three documents, and then nothing more
    new = place.seen("lesson-a")
    assert (new.duration, list(new.played_s), len(new.folders)) == ("PT7S", [7], 1)
    assert new.captions == ()
    assert place.pointers("lesson-a") == old_pointers
    assert place.dangling() == []
    for _ in POINTERS[1:]:
        with pytest.raises(PublishError, match="can't be used"):
            place.publish(changed, puts=1)
        assert place.seen("lesson-a") == new
        assert place.dangling() == []
    outcome = place.publish(changed, puts=1)
    assert (outcome.changed, outcome.uploaded) == (False, 1)  # the last of the short-lived names
    assert place.seen("lesson-a") == new
    assert all(place.pointers("lesson-a")[name] != old_pointers[name] for name in POINTERS)
    assert place.check() == []


@pytest.mark.parametrize("key", ["media/lesson-a/master.m3u8", "catalog/version.json"])
@pytest.mark.parametrize("known", [True, False], ids=["replaced", "new"])
def test_two_who_publish_the_same_lesson_end_with_names_that_agree_with_the_catalog(
    place: Place, lesson_a: Lesson, changed: Lesson, tmp_path: Path, key: str, known: bool
) -> None:
    if known:
        place.publish(replace(lesson_a, video=videos.plain(tmp_path / "first.mp4", seconds=1)))
    faster: list[Outcome] = []

    def meddle() -> None:
        faster.append(place.publish_through(place.client, tmp_path / "elsewhere", changed))

    client = MeddledClient(place.client, f"{place.location.prefix}/{key}", meddle)
    slower = place.publish_through(client, tmp_path / "here", lesson_a)
    assert faster[0].changed
    assert slower.changed
    assert len(place.seen("lesson-a").folders) == 1
    assert place.check() == []  # compares the short-lived names with the revision that the catalog has


@pytest.fixture
def changed(lesson_a: Lesson, tmp_path: Path) -> Lesson:
    """The lesson with another video, longer and silent, and without captions."""
    return replace(lesson_a, video=videos.silent(tmp_path / "new.mkv"), captions={})


def lose_storage_at_each_put(place: Place, lesson: Lesson, holds: Callable[[], None] = lambda: None) -> dict[str, str]:
    """Runs that may put one object more each time, until the catalog is next; then runs that end between its documents.

    holds: asserted after each. Gives the lesson's objects that are there, and when they were written.
    """
    sent: dict[str, str] = {}
    for puts in [1] * 100:
        before = len(sent)
        with pytest.raises(PublishError, match="can't be used"):
            place.publish(lesson, puts=puts)
        there = {path: etag for path, etag in place.etags().items() if path.startswith("/media/")}
        assert place.dangling() == []
        holds()
        if there == sent:
            break
        assert len(there) <= before + 1 or not before
        sent = there
    with pytest.raises(PublishError, match="can't be used"):
        place.publish(lesson, puts=2)
    assert place.dangling() == []
    holds()
    return sent


def test_damaged_and_missing_objects_are_found_and_put_right(place: Place, lesson_a: Lesson) -> None:
    place.publish(lesson_a)
    document = place.catalog.lesson(next(place.catalog.entries()))
    folder = document.poster.rsplit("/", 1)[0]
    bucket, prefix = place.location.bucket, place.location.prefix
    place.client.delete_object(Bucket=bucket, Key=f"{prefix}{folder}/360p/00001.m4s")
    place.client.put_object(Bucket=bucket, Key=f"{prefix}{folder}/360p/00002.m4s", Body=b"wrong")
    wrong = place.check()
    assert len(wrong) == 2
    assert f"{folder}/360p/00001.m4s is missing" in wrong
    outcome = place.publish(lesson_a)
    assert outcome.uploaded == 3  # the two, and the list of all of them: encoding again gives the same bytes
    assert place.check() == []


def test_publishers_at_the_same_time_do_not_undo_each_other(place: Place, lesson_a: Lesson) -> None:
    place.publish(lesson_a)
    document = place.catalog.lesson(next(place.catalog.entries()))
    ids = [f"lesson-{number}" for number in range(6)]
    threads = [
        threading.Thread(target=lambda id_=id_: Catalog(place.store).publish(replace(document, id=id_))) for id_ in ids
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert {entry.id for entry in place.catalog.entries()} == {"lesson-a", *ids}


def test_a_put_on_condition_fails_when_somebody_was_faster(place: Place) -> None:
    def put(text: bytes, etag: str | None) -> bool:
        return place.store.put_if(upload_of("pointer", text, "text/plain", "no-store", ("x",)), etag)

    assert put(b"first", None)
    assert not put(b"second", None)
    found = place.store.read("pointer")
    assert found is not None
    assert put(b"third", found[1])
    assert not put(b"fourth", found[1])
    assert place.store.read("pointer") == (b"third", f'"{hashlib.md5(b"third", usedforsecurity=False).hexdigest()}"')


def test_the_server_refuses_bytes_that_do_not_match_their_checksum(place: Place) -> None:
    upload = upload_of("x", b"right", "text/plain", "no-store", ("x",))
    with pytest.raises(PublishError, match="changed meanwhile"):
        place.store.put(replace(upload, content=b"wrong"))
    assert place.store.head("x") is None


def test_a_shard_never_holds_more_than_a_thousand_lessons(place: Place, lesson_a: Lesson) -> None:
    from origin.schema import Shard, ShardRef, Version, to_json

    place.publish(lesson_a)
    current = place.catalog.current()
    assert current.version is not None
    document = place.catalog.lesson(next(place.catalog.entries()))
    many = tuple(replace(document.entry(), id=f"lesson-{number:05d}") for number in range(1000))
    place.store.put(
        upload_of("catalog/v/big.json", to_json(Shard("curriculum", many)), "application/json", "x", ("x",))
    )
    ref = ShardRef("/catalog/v/big.json", many[0].id, many[-1].id, len(many))
    sections = [
        replace(section, shards=(ref,), resources=1000) if section.id == "curriculum" else section
        for section in current.sections()
    ]
    version = Version("v", "", 1000, tuple(sections))
    place.store.put(upload_of("catalog/version.json", to_json(version), "application/json", "x", ("x",)))
    place.catalog.publish(replace(document, id="lesson-00500x"))
    section = place.catalog.current().sections()[1]
    assert section.resources == 1001
    assert [ref.entries for ref in section.shards] == [500, 501]
    assert [entry.id for entry in place.catalog.entries()] == sorted([*(one.id for one in many), "lesson-00500x"])
    place.catalog.publish(replace(document, id="lesson-00001x"))
    after = place.catalog.current().sections()[1]
    assert after.shards[1] == section.shards[1]  # what did not change keeps the path of the version that wrote it


def test_a_missing_bucket_is_named(place: Place, lesson_a: Lesson) -> None:
    elsewhere = Place(replace(place.location, bucket="no-such-bucket"), place.client, place.work)
    with pytest.raises(PublishError, match="bucket 'no-such-bucket' does not exist"):
        elsewhere.publish(lesson_a)


def test_publishing_keeps_sections_it_has_no_name_for_and_the_order_of_the_document(
    place: Place, lesson_a: Lesson
) -> None:
    place.publish(lesson_a)
    rename_section(place, "reform", "civil-defence")
    place.publish(replace(lesson_a, id="lesson-b"))
    sections = place.catalog.current().sections()
    six = ["special", "curriculum", "after-school", "teacher-training", "family"]
    assert [section.id for section in sections] == [*six, "civil-defence", "reform"]
    assert [section.resources for section in sections] == [0, 2, 0, 0, 0, 0, 0]


def test_a_section_named_twice_is_damage_and_nothing_is_published_over_it(place: Place, lesson_a: Lesson) -> None:
    place.publish(lesson_a)
    rename_section(place, "reform", "curriculum")
    before = place.store.read("/catalog/version.json")
    with pytest.raises(PublishError, match=r"/catalog/version.json is damaged: section 'curriculum' is named twice"):
        place.publish(replace(lesson_a, id="lesson-b"))
    assert place.store.read("/catalog/version.json") == before


def rename_section(place: Place, id_: str, other: str) -> None:
    """As a publisher of another release could have left it."""
    sections = place.catalog.current().sections()
    put_version(place, [replace(one, id=other) if one.id == id_ else one for one in sections])


def put_version(place: Place, sections: Iterable[SectionRef], resources: int | None = None) -> None:
    """A version document of one's own making; resources: what it says there are, else what its sections say."""
    kept = tuple(sections)
    total = sum(section.resources for section in kept) if resources is None else resources
    version = Version("v-own", "2026-01-01T00:00:00+00:00", total, kept)
    place.store.put(upload_of("catalog/version.json", to_json(version), "application/json", "x", ("x",)))


def test_a_version_document_that_contradicts_itself_is_found_wrong(place: Place, lesson_a: Lesson) -> None:
    place.publish(lesson_a)
    (empty, full, *others) = place.catalog.current().sections()
    (shard,) = full.shards
    put_version(place, [empty, replace(full, resources=5), *others], resources=7)
    assert place.check() == [
        "/catalog/version.json section 'curriculum' says 5 resources, its shards 1",
        "/catalog/version.json says 7 resources, its sections 5",
    ]
    put_version(place, [replace(empty, id="family"), full, *others])
    assert place.check() == ["/catalog/version.json section 'family' is named 2 times"]
    put_version(place, [replace(empty, id="civil-defence"), full, *others])
    (unknown,) = place.check()
    assert unknown.startswith("/catalog/version.json section 'civil-defence' is not known; allowed: special, ")
    put_version(place, [empty, replace(full, shards=(replace(shard, first="z"),)), *others])
    assert f"/catalog/version.json {shard.path} goes from 'z' back to 'lesson-a'" in place.check()


def test_a_lesson_in_two_shards_and_shards_that_overlap_are_found_wrong(place: Place, lesson_a: Lesson) -> None:
    place.publish(lesson_a)
    (empty, full, *others) = place.catalog.current().sections()
    (shard,) = full.shards
    copy = place.store.read(shard.path)
    assert copy is not None
    place.store.put(upload_of("catalog/v/copy.json", copy[0], "application/json", "x", ("x",)))
    both = (shard, replace(shard, path="/catalog/v/copy.json"))
    put_version(place, [empty, replace(full, shards=both, resources=2), *others])
    assert place.check() == [
        f"/catalog/version.json /catalog/v/copy.json begins at 'lesson-a', but {shard.path} goes on to 'lesson-a'",
        f"/catalog/v/copy.json lists lesson-a, which {shard.path} lists, too",
    ]

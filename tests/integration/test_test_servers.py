"""The servers of a test run: shared by its processes, gone with it however it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import redis
from redis.exceptions import AuthenticationError

from deploy.local.probe import http_status
from tests.conftest import StartEdge
from tests.support.broker import S3Address
from tests.support.lessons import Published
from tests.support.processes import alive, descendants
from tests.support.waiting import eventually

HERE = Path(__file__).parents[2]
SESSION = """
import json, time
from pathlib import Path

async def test_holds_servers(redis_url, own_redis):
    note = Path(__file__).with_name("urls")
    note.write_text(json.dumps([redis_url, own_redis.url]))
    note.rename(note.with_suffix(".json"))
    time.sleep(600)
"""


@pytest.mark.parametrize("workers", ["0", "1"])
async def test_a_test_run_that_is_killed_leaves_no_process(tmp_path: Path, workers: str) -> None:
    (tmp_path / "test_session.py").write_text(SESSION)
    options = ["-p", "tests.conftest", "-c", str(HERE / "pyproject.toml"), "--rootdir", str(tmp_path), "-n", workers]
    command = [sys.executable, "-m", "pytest", *options, str(tmp_path / "test_session.py")]
    with (tmp_path / "out").open("wb") as out:
        run = subprocess.Popen(command, cwd=HERE, stdout=out, stderr=out)  # noqa: ASYNC220
    note = tmp_path / "urls.json"
    try:
        await eventually(note.exists, 60)
        urls = json.loads(note.read_text())
        family = descendants(run.pid)
        for url in urls:
            with redis.Redis.from_url(url) as client:
                assert client.ping()
    finally:
        run.kill()
        run.wait()
    await eventually(lambda: not [pid for pid in family if alive(pid)])


def test_each_test_has_an_empty_database_of_its_own(redis_url: str, counters_url: str, redis_server: str) -> None:
    assert redis_url.rpartition("/")[2] != counters_url.rpartition("/")[2] != "0"
    for url in (redis_url, counters_url):
        with redis.Redis.from_url(url) as client:
            assert client.dbsize() == 0
    with (
        redis.Redis.from_url(redis_server.replace("://:", "://:wrong")) as stranger,
        pytest.raises(AuthenticationError),
    ):
        stranger.ping()


async def test_the_shared_storage_is_there_and_closed_to_strangers(s3: S3Address, s3_client: object) -> None:
    s3_client.put_object(Bucket=s3.bucket, Key="here", Body=b"x")  # type: ignore[attr-defined]
    assert await http_status(f"{s3.endpoint}/{s3.bucket}/here") == 403


async def test_a_real_edge_runs_with_the_flags_given_and_stops_with_the_test(
    edge: StartEdge, redis_url: str, counters_url: str
) -> None:
    node = await edge(workers=2, redis=redis_url, counters_redis=counters_url, site=True)
    assert len(node.worker_pids()) == 2
    assert await http_status(f"{node.url}/healthz") == 200
    assert await http_status(f"{node.admin_url}/readyz") == 200
    first = node.pid
    await node.kill()
    assert not alive(first)
    await node.start()
    assert await http_status(f"{node.url}/healthz") == 200
    assert node.pid != first
    assert "worker serves in slot 1" in node.logs()
    pid = node.pid
    await node.stop()
    assert not alive(pid)


async def test_the_lesson_of_the_test_run_is_published_and_served(edge: StartEdge, lesson: Published) -> None:
    node = await edge()
    for path in (lesson.master, lesson.manifest, f"{lesson.folder}/360p/playlist.m3u8", "/catalog/version.json"):
        assert await http_status(node.url + path) == 200, path

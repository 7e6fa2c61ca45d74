"""`smartedu publish` and `smartedu catalog` as typed: what they say, their exit status, and being killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import videos
from tests.support.broker import S3Address
from tests.support.processes import alive

DEADLINE_S = 90

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environment(s3: S3Address, s3_prefix: str, tmp_path: Path) -> dict[str, str]:
    """What a shell has that uses the run's storage by the AWS variables."""
    return {**os.environ, **s3.environment, "SMARTEDU_STATE": str(tmp_path / "state")}


@pytest.fixture
def storage(s3: S3Address, s3_prefix: str) -> list[str]:
    return ["--origin", f"s3://{s3.bucket}/{s3_prefix}", "--s3-endpoint", s3.endpoint]


@pytest.fixture
def smartedu(environment: dict[str, str]) -> Run:
    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [shutil.which("smartedu", path=str(Path(sys.executable).parent)) or "smartedu", *map(str, arguments)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=DEADLINE_S, check=False)

    return run


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return videos.plain(tmp_path_factory.mktemp("video") / "fractions.mp4", seconds=2)


def test_a_video_is_published_listed_shown_and_checked(
    smartedu: Run, storage: list[str], video: Path, tmp_path: Path
) -> None:
    sheet = tmp_path / "task.pdf"
    sheet.write_bytes(b"%PDF-1.4 task")
    described = ["--title", "分数", "--section", "family", "--grade", "grade-3", "--document", f"task-sheet={sheet}"]
    done = smartedu("publish", video, *described, "--preset", "ultrafast", *storage)
    assert (done.returncode, done.stdout.split(",")[0]) == (0, "fractions: published")
    assert "fractions: encoding" in done.stderr.splitlines()
    listed = smartedu("catalog", "list", *storage)
    assert listed.stdout.split("\t")[:4] == ["fractions", "family", "PT2S", "360p"]
    shown = json.loads(smartedu("catalog", "show", "fractions", *storage).stdout)
    assert (shown["title"]["zh"], shown["tags"]["grade"]["en"]) == ("分数", "Grade 3")
    assert shown["documents"][0]["role"] == "task-sheet"
    checked = smartedu("catalog", "check", *storage)
    assert (checked.returncode, checked.stdout.split(", ")[0]) == (0, "1 lessons")


def test_check_names_what_is_missing_and_fails(
    smartedu: Run, storage: list[str], video: Path, s3: S3Address, s3_prefix: str, s3_client: object
) -> None:
    smartedu("publish", video, "--preset", "ultrafast", *storage)
    master = json.loads(smartedu("catalog", "show", "fractions", *storage).stdout)["master"]
    s3_client.delete_object(Bucket=s3.bucket, Key=s3_prefix + master)  # type: ignore[attr-defined]
    checked = smartedu("catalog", "check", *storage)
    assert checked.returncode == 1
    assert checked.stdout.splitlines()[0] == f"{master}: is missing"


def test_a_running_local_stack_is_the_default(
    environment: dict[str, str], smartedu: Run, s3: S3Address, tmp_path: Path
) -> None:
    for name in s3.environment:
        del environment[name]
    state = tmp_path / "state"
    state.mkdir()
    keys = tmp_path / "credentials"
    keys.write_text(f"[default]\naws_access_key_id = {s3.access_key}\naws_secret_access_key = {s3.secret_key}\n")
    stack = {"s3_endpoint": s3.endpoint, "bucket": s3.bucket, "aws_credentials_file": str(keys)}
    (state / "stack.json").write_text(json.dumps(stack))
    done = smartedu("catalog", "show", "never-published")
    assert done.returncode == 1
    assert "is not published" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["{video}", "--id", "a/b"], "lesson id 'a/b' is not possible; allowed are 1 to 64"),
        (["{video}", "--id", ".."], "lesson id '..' is not possible"),
        (["{video}", "--section", "maths"], "section 'maths' is not known; allowed: special, curriculum"),
        (["{video}", "--document", "courseware=/none.pdf"], "document courseware: there is no file /none.pdf"),
        (["{video}", "--document", "homework={video}"], "document role 'homework' is not known"),
        (["{video}", "--segment-seconds", "0"], "segment length 0 s is not possible; allowed: 1 to 20"),
        (["/none.mp4"], "/none.mp4: there is no such file"),
        (["x" * 300], "can't be read: File name too long"),
        (["{folder}/caf\udce9.mp4", "--id", "cafe"], "title 'caf\\udce9' is not possible; allowed is UTF-8 text"),
        (["{video}", "--teacher", "caf\udce9"], "teacher 'caf\\udce9' is not possible; allowed is UTF-8 text"),
        (["{folder}"], "lesson.toml: there is no such file"),
        (["{video}", "--ffmpeg", "/none/ffmpeg"], "no ffmpeg program at '/none/ffmpeg'"),
        (["{video}", "--work-dir", "{text}"], "the work directory {text} can't be used"),
        (["{video}", "--document", "courseware={empty}"], "document courseware: {empty} is empty"),
        (["{video}", "--captions", "zh={text}"], "captions {text}: hold no timed line; allowed are WebVTT"),
        (["{video}", "--origin", "school"], "origin 'school' is not possible; allowed is s3://bucket[/prefix]"),
        (["{video}", "--origin", "s3://not a bucket"], 'Invalid bucket name "not a bucket"'),
    ],
)
def test_wrong_input_is_one_clear_line_exit_status_two_and_nothing_published(
    smartedu: Run, storage: list[str], video: Path, tmp_path: Path, arguments: list[str], told: str
) -> None:
    text = tmp_path / "film.mp4"
    text.write_text("no film")
    folder = tmp_path / "folder"
    folder.mkdir()
    empty = tmp_path / "empty.pdf"
    empty.touch()
    names = {"video": video, "text": text, "folder": folder, "empty": empty}
    done = smartedu("publish", *storage, *(argument.format(**names) for argument in arguments))
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("smartedu publish: ")]
    assert len(errors) == 1
    assert told.format(**names) in errors[0]
    assert "Traceback" not in done.stderr
    for command in ("list", "check"):
        nothing = smartedu("catalog", command, *storage)
        assert (nothing.returncode, nothing.stdout) == (1, "")
        assert "nothing is published" in nothing.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["{text}"], "is not a video"),
        (["{video}", "--origin", "s3://no-such-bucket"], "bucket 'no-such-bucket' does not exist"),
    ],
)
def test_what_is_no_fault_of_the_command_line_is_one_clear_line_and_exit_status_one(
    smartedu: Run, storage: list[str], video: Path, tmp_path: Path, arguments: list[str], told: str
) -> None:
    text = tmp_path / "film.mp4"
    text.write_text("no film")
    names = {"video": video, "text": text}
    done = smartedu("publish", *storage, *(argument.format(**names) for argument in arguments))
    assert done.returncode == 1
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert told.format(**names) in error


def test_settings_are_judged_before_anything_is_read(smartedu: Run) -> None:
    done = smartedu("publish", "/none.mp4", "--segment-seconds", "0")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "segment length 0 s is not possible; allowed: 1 to 20" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["a.mp4", "b.mp4", "--id", "x"],
        ["a.mp4", "--document", "x"],
        ["a.mp4", "--preset", "best"],
        ["--samples", "a"],
    ],
)
def test_wrong_usage_is_exit_status_two(smartedu: Run, arguments: list[str]) -> None:
    assert smartedu("publish", *arguments).returncode == 2


def test_what_is_named_twice_is_refused_with_both_before_anything_is_read(smartedu: Run, storage: list[str]) -> None:
    lessons = smartedu("publish", "a/fractions.mp4", "b/fractions.mkv", *storage)
    assert (lessons.returncode, lessons.stdout) == (2, "")
    assert "a/fractions.mp4 and b/fractions.mkv are both lesson 'fractions'; allowed: another id" in lessons.stderr
    documents = smartedu("publish", "a.mp4", "--document", "courseware=a", "--document", "courseware=b", *storage)
    assert (documents.returncode, documents.stdout) == (2, "")
    assert "--document" in documents.stderr
    assert "'courseware' is given twice, a and b" in documents.stderr


def test_without_storage_or_with_storage_that_is_down_it_says_so(smartedu: Run, video: Path) -> None:
    nowhere = smartedu("publish", video)
    assert nowhere.returncode == 2
    assert "no storage given and no local stack runs" in nowhere.stderr
    down = smartedu("publish", video, "--bucket", "smartedu", "--s3-endpoint", "http://127.0.0.1:9")
    assert down.returncode == 1
    assert "storage http://127.0.0.1:9 can't be used" in down.stderr


@pytest.mark.parametrize("endpoint", ["localhost:8333", "http://[::1", "http://h:abc", "http://", "ftp://h"])
def test_an_endpoint_that_is_none_is_named_with_what_is_allowed(smartedu: Run, endpoint: str) -> None:
    done = smartedu("catalog", "list", "--bucket", "school", "--s3-endpoint", endpoint)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"s3-endpoint {endpoint!r} is not possible; allowed is http://HOST[:PORT]" in done.stderr


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ({"AWS_PROFILE": "nope"}, "nope"),
        ({"AWS_SHARED_CREDENTIALS_FILE": "{garbage}"}, "{garbage}"),
        ({"AWS_ACCESS_KEY_ID": "key"}, "AWS_SECRET_ACCESS_KEY"),
        ({"AWS_SHARED_CREDENTIALS_FILE": "/none"}, "give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    ],
)
def test_credentials_that_cannot_be_used_are_one_line_and_exit_status_two(
    environment: dict[str, str], smartedu: Run, tmp_path: Path, setting: dict[str, str], told: str
) -> None:
    garbage = tmp_path / "garbage"
    garbage.write_text("no section\n")
    for name in [name for name in environment if name.startswith("AWS_")]:
        del environment[name]
    environment |= {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}
    environment |= {name: value.format(garbage=garbage) for name, value in setting.items()}
    done = smartedu("catalog", "list", "--bucket", "school", "--s3-endpoint", "http://127.0.0.1:9")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert told.format(garbage=garbage) in done.stderr


def test_wrong_credentials_are_told(
    environment: dict[str, str], smartedu: Run, storage: list[str], video: Path
) -> None:
    environment["AWS_SECRET_ACCESS_KEY"] = "wrong"
    done = smartedu("publish", video, *storage)
    assert done.returncode == 1
    assert "(status 403)" in done.stderr


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGINT])
def test_killed_while_encoding_it_leaves_no_process_and_ends_right_when_run_again(
    by: signal.Signals, environment: dict[str, str], smartedu: Run, storage: list[str], tmp_path: Path
) -> None:
    video = videos.plain(tmp_path / "longer.mp4", size="1280x720", seconds=3)
    arguments = ["publish", str(video), "--preset", "slow", "--work-dir", str(tmp_path / "work"), *storage]
    program = str(Path(sys.executable).with_name("smartedu"))
    with subprocess.Popen([program, *arguments], env=environment, stderr=subprocess.PIPE, text=True) as first:
        assert first.stderr is not None
        wait_until(lambda: (tmp_path / "work").is_dir() and any(tmp_path.glob("work/*/encoded.unfinished/*.mp4")))
        (encoder,) = children_of(first.pid)
        first.send_signal(by)
        told = first.stderr.read()
        first.wait(DEADLINE_S)
    wait_until(lambda: not alive(encoder))
    if by is signal.SIGINT:
        assert first.returncode == 1
        assert told.splitlines()[-1].startswith("Error: interrupted; run the same command again")
    assert "nothing is published" in smartedu("catalog", "check", *storage).stderr
    done = smartedu(*arguments)
    assert (done.returncode, done.stdout.split(",")[0]) == (0, "longer: published")
    assert smartedu("catalog", "check", *storage).returncode == 0
    assert list((tmp_path / "work").iterdir()) == []


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_full_disk_is_one_clear_line(environment: dict[str, str], storage: list[str], tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=600k none {disk}"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine lets nobody mount a small disk of their own")
    video = videos.plain(tmp_path / "video.mp4", size="1280x720", seconds=6)
    smartedu = Path(sys.executable).with_name("smartedu")
    publish = [smartedu, "publish", video, "--preset", "ultrafast", "--work-dir", disk, *storage]
    script = f"{mount} && exec {' '.join(map(str, publish))}"
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"Error: no space left in the work directory {disk}")

"""What is said of a disk before there are workers: a mistake is refused, trouble stops no node."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from config.settings import ConfigurationError, load
from edge import checks


def trial(number: int) -> Callable[[Path], None]:
    def fails(_path: Path) -> None:
        raise OSError(number, os.strerror(number))

    return fails


@pytest.mark.parametrize("number", [errno.ENOTDIR, errno.EACCES, errno.EROFS, errno.ELOOP])
def test_a_place_where_no_directory_can_be_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(checks, "_try_directory", trial(number))
    with pytest.raises(ConfigurationError, match=r"^disk: .* cannot be used \(.*\); allowed: a directory"):
        checks.check(load({"disk": str(tmp_path)}))


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EMFILE])
def test_a_disk_in_trouble_stops_no_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(checks, "_try_directory", trial(number))
    checks.check(load({"disk": str(tmp_path)}))


def test_a_disk_that_does_not_answer_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = threading.Event()
    monkeypatch.setattr(checks, "_try_directory", lambda _path: answers.wait())
    monkeypatch.setattr(checks, "_DISK_WITHIN_S", 0.01)
    checks.check(load({"disk": str(tmp_path)}))
    answers.set()

"""Request targets: what names an object, and what is refused."""

from __future__ import annotations

import pytest

from edge.cache.target import BadTarget, parse


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ("/media/lesson-000001/master.m3u8", "/media/lesson-000001/master.m3u8"),
        ("/media/a/b.m4s?token=1&x=/../", "/media/a/b.m4s"),
        ("/media/a/b.m4s#x", "/media/a/b.m4s"),
        ("http://edge.example/catalog/version.json", "/catalog/version.json"),
        ("/media/%E8%AF%BE/a.pdf", "/media/课/a.pdf"),
        ("/media/课/a.pdf", "/media/课/a.pdf"),
        ("/media/a%20b/100%25.pdf", "/media/a b/100%.pdf"),
        ("/media/.hidden/..a", "/media/.hidden/..a"),
        ("/%6dedia/a", "/media/a"),
    ],
)
def test_a_target_is_decoded_once(raw: str, path: str) -> None:
    assert parse(raw).path == path


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "*",
        "/",
        "/media",
        "/media/",
        "/other/a",
        "/media/../secret",
        "/media/a/../../secret",
        "/media/./a",
        "/media/a/..",
        "/media//a",
        "/media/a/",
        "//media/a",
        "/media/%2e%2e/secret",
        "/media/.%2E/secret",
        "/media/..%2fsecret",
        "/media/a%2Fb",
        "/media/a%5cb",
        "/media/a\\b",
        "/media/%00",
        "/media/a%0d%0aX: y",
        "/media/a%7f",
        "/media/%c2%85",
        "/media/%252e%252e/secret",
        "/media/a%252fb",
        "/media/a%255cb",
        "/media/a%2500",
        "/media/%",
        "/media/%4",
        "/media/%zz",
        "/media/%ff%fe",
        "/media/%c0%ae%c0%ae/secret",
        "/media/%ed%a0%80",
        "/media/\udcff",
        "/media/" + "a" * 1024,
        "/media/" + "%E8%AF%BE" * 340,
        "/media/a?" + "q" * 5000,
        "ftp://x/media/a",
    ],
)
def test_what_could_mean_two_things_is_refused(raw: str) -> None:
    with pytest.raises(BadTarget):
        parse(raw)

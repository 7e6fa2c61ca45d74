"""What of an origin's response fields is stored, and how names go on the wire."""

from __future__ import annotations

import pytest

from origin.http import encoded_path, end_to_end
from origin.reader import OriginFailure, ReadRequest
from origin.s3 import AccessKey, S3Reader, plain_fields, repr_digest


def test_fields_of_the_connection_do_not_pass_and_neither_do_those_it_names() -> None:
    raw = (
        (b"Content-Type", b"video/mp4"),
        (b"Connection", b"keep-alive, X-Private"),
        (b"X-Private", b"1"),
        (b"Transfer-Encoding", b"chunked"),
        (b"X-Twice", b"1"),
        (b"x-twice", b"2"),
        (b"X-Broken", b"\xff"),
        (b"X-Title", "课".encode()),
    )
    assert end_to_end(raw) == (("content-type", "video/mp4"), ("x-twice", "1"), ("x-twice", "2"), ("x-title", "课"))


@pytest.mark.parametrize(
    ("path", "encoded"),
    [
        ("/media/a-b_c.d~e", "/media/a-b_c.d~e"),
        ("/media/a b+c", "/media/a%20b%2Bc"),
        ("/media/课", "/media/%E8%AF%BE"),
        ("/media/%2e", "/media/%252e"),
        ("/media/a?b#c", "/media/a%3Fb%23c"),
    ],
)
def test_names_are_encoded_once(path: str, encoded: str) -> None:
    assert encoded_path(path) == encoded


def test_a_read_says_its_conditions_in_http() -> None:
    read = ReadRequest("/a", if_none_match='"e"', if_modified_since="x", if_match='"m"', byte_range=(0, 9))
    assert read.fields() == {
        "If-None-Match": '"e"',
        "If-Modified-Since": "x",
        "If-Match": '"m"',
        "Range": "bytes=0-9",
    }
    assert ReadRequest("/a").fields() == {}


def test_storage_internals_become_standard_fields_or_go() -> None:
    digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    given = (
        ("etag", '"e"'),
        ("x-amz-request-id", "1"),
        ("server", "storage"),
        ("seaweed-x-amz-owner", "someone"),
        ("any-store-of-tomorrow", "1"),
        ("x-amz-meta-sha256", digest),
        ("x-amz-meta-surrogate-key", "a b"),
    )
    assert plain_fields(given) == (
        ("etag", '"e"'),
        ("repr-digest", "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:"),
        ("surrogate-key", "a b"),
    )


@pytest.mark.parametrize("text", ["", "abc", "zz" * 32, "ab" * 31, "é" * 64])
def test_what_is_no_digest_is_left_out(text: str) -> None:
    assert repr_digest(text) is None


async def test_a_read_is_signed_for_its_own_path_and_unsigned_without_credentials() -> None:
    access: AccessKey | None = AccessKey("id", "secret", "token")
    reader = S3Reader(endpoint="http://127.0.0.1:1", bucket="b", credentials=lambda: access)
    fields = reader.signature("http://127.0.0.1:1/b/media/a")
    assert fields["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=id/")
    assert "host;x-amz-content-sha256;x-amz-date;x-amz-security-token" in fields["Authorization"]
    assert fields["X-Amz-Security-Token"] == "token"
    access = None
    assert reader.signature("http://127.0.0.1:1/b/media/a") == {}


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (OriginFailure.CONNECT, 502),
        (OriginFailure.TIMEOUT, 504),
        (OriginFailure.READ_TIMEOUT, 504),
        (OriginFailure.OVERLOADED, 503),
        (OriginFailure.CONFIGURATION, 502),
    ],
)
def test_each_failure_has_its_status(failure: OriginFailure, status: int) -> None:
    assert failure.status == status

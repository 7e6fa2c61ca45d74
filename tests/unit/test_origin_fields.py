"""What of an origin's response fields is stored, and how names go on the wire."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from origin.http import end_to_end
from origin.reader import OriginError, OriginFailure, ReadRequest
from origin.s3 import AccessKey, S3Reader, object_name, plain_fields, repr_digest


def test_fields_of_the_connection_do_not_pass_and_neither_do_those_it_names() -> None:
    raw = (
        (b"Content-Type", b"video/mp4"),
        (b"Connection", b"keep-alive, X-Private"),
        (b"X-Private", b"1"),
        (b"connection", b"x-other"),
        (b"X-Other", b"1"),
        (b"Keep-Alive", b"timeout=5"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Trailer", b"X-Sum"),
        (b"Upgrade", b"h2c"),
        (b"TE", b"trailers"),
        (b"X-Twice", b"1"),
        (b"x-twice", b"2"),
        (b"X-Title", "课".encode()),
    )
    assert end_to_end(raw) == (("content-type", "video/mp4"), ("x-twice", "1"), ("x-twice", "2"), ("x-title", "课"))


def test_bytes_that_are_no_utf8_are_read_as_what_they_once_meant_or_kept_exactly() -> None:
    raw = ((b"Cache-Control", b'private, x="caf\xe9"'),)
    assert end_to_end(raw) == (("cache-control", 'private, x="café"'),)
    exact = end_to_end(raw, exact=True)[0][1]
    assert exact.encode("utf-8", "surrogateescape") == raw[0][1]


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("/media/a-b_c.d~e", "/media/a-b_c.d~e"),
        ("/media/a%20b+c", "/media/a%20b%2Bc"),
        ("/media/%E8%AF%BE", "/media/%E8%AF%BE"),
        ("/media/%252e", "/media/%252e"),
        ("/media/a%2Fb", "/media/a%2Fb"),
        ("/media/a!$&'()*,;=:@b", "/media/a%21%24%26%27%28%29%2A%2C%3B%3D%3A%40b"),
        ("/media/a?acl&list-type=2", "/media/a"),
    ],
)
def test_an_object_is_named_as_the_store_spells_it_and_never_by_a_query(target: str, name: str) -> None:
    assert object_name(target) == name


def test_a_read_says_its_conditions_in_http() -> None:
    read = ReadRequest("/a", if_none_match='"e"', if_modified_since="x", if_match='"m"', byte_range=(0, 9))
    assert read.fields() == {
        "If-None-Match": '"e"',
        "If-Modified-Since": "x",
        "If-Match": '"m"',
        "Range": "bytes=0-9",
    }
    assert ReadRequest("/a").fields() == {}


async def no_body() -> AsyncIterator[bytes]:
    for piece in (b"",):
        yield piece


@pytest.mark.parametrize(
    ("method", "repeatable"),
    [("GET", True), ("HEAD", True), ("PUT", True), ("DELETE", True), ("POST", False), ("PATCH", False), ("X", False)],
)
def test_a_request_may_be_repeated_when_its_method_allows_and_its_body_is_not_gone(
    method: str, repeatable: bool
) -> None:
    assert ReadRequest("/a", method=method).repeatable is repeatable
    assert not ReadRequest("/a", method=method, body=no_body()).repeatable


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
    fields = reader.signature("/b/media/a")
    assert fields["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=id/")
    assert "host;x-amz-content-sha256;x-amz-date;x-amz-security-token" in fields["Authorization"]
    assert fields["X-Amz-Security-Token"] == "token"
    assert reader.signature("/b/media/a", "HEAD")["Authorization"] != fields["Authorization"]
    access = None
    assert reader.signature("/b/media/a") == {}


async def test_a_bucket_is_never_listed_and_never_written() -> None:
    reader = S3Reader(endpoint="http://127.0.0.1:1", bucket="b", credentials=lambda: None)
    async with reader.open(ReadRequest("/?list-type=2")) as response:
        assert response.status == 404
    with pytest.raises(OriginError) as caught:
        await reader.open(ReadRequest("/a", method="PUT")).__aenter__()
    assert caught.value.status == 405


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (OriginFailure.CONNECT, 502),
        (OriginFailure.TIMEOUT, 504),
        (OriginFailure.READ_TIMEOUT, 504),
        (OriginFailure.OVERLOADED, 503),
        (OriginFailure.CONFIGURATION, 502),
        (OriginFailure.EXCHANGE_TIMEOUT, 504),
        (OriginFailure.WRITE_TIMEOUT, 504),
        (OriginFailure.HEADERS, 502),
        (OriginFailure.REQUEST, 400),
    ],
)
def test_each_failure_has_its_status(failure: OriginFailure, status: int) -> None:
    assert failure.status == status
    assert OriginError(failure, "").status == status


def test_an_error_may_know_better_what_the_client_is_told() -> None:
    error = OriginError(OriginFailure.REQUEST, "", status=411, retry_after_s=2.0)
    assert (error.status, error.retry_after_s) == (411, 2.0)


@pytest.mark.parametrize("failure", OriginFailure)
def test_only_a_failure_before_the_connection_stood_says_that_nothing_was_sent(failure: OriginFailure) -> None:
    names = ("DNS", "CONNECT", "TIMEOUT", "TLS", "CERTIFICATE", "OVERLOADED")
    assert failure.unsent is (failure.name in names)

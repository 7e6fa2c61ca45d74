"""What a successful unsafe request makes stale (RFC 9111, 4.4; RFC 9875, 3)."""

from __future__ import annotations

import pytest

from edge.cache import invalidation
from origin.reader import Headers

BASE = "https://edge.example"
LOCATION = (("location", "/b"),)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "MKCOL", "get", "FROBNICATE"])
@pytest.mark.parametrize("status", [200, 201, 204, 301, 303, 399])
def test_an_unsafe_or_unknown_method_drops_its_target_unless_it_failed(method: str, status: int) -> None:
    assert invalidation.uris(method, "/a?x=1", status, (), BASE) == ("/a?x=1",)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "QUERY"])
def test_a_safe_method_drops_nothing(method: str) -> None:
    assert invalidation.uris(method, "/a", 200, LOCATION, BASE) == ()


@pytest.mark.parametrize("status", [100, 199, 400, 404, 412, 500, 503, 599])
def test_an_error_drops_nothing(status: int) -> None:
    assert invalidation.uris("POST", "/a", status, LOCATION, BASE) == ()


@pytest.mark.parametrize("field", ["location", "content-location"])
@pytest.mark.parametrize(
    ("reference", "dropped"),
    [
        ("/b", "/b"),
        ("b", "/dir/b"),
        ("../b?q=1", "/b?q=1"),
        ("?q=2", "/dir/a?q=2"),
        ("/b#part", "/b"),
        ("https://edge.example/b", "/b"),
        ("HTTPS://EDGE.example:443/b", "/b"),
        ("https://edge.example", "/"),
        ("//edge.example/b", "/b"),
        (" /b ", "/b"),
        ("/b%2Fc", "/b%2Fc"),
    ],
)
def test_what_location_and_content_location_name_is_dropped_too(field: str, reference: str, dropped: str) -> None:
    assert invalidation.uris("POST", "/dir/a", 201, ((field, reference),), BASE) == ("/dir/a", dropped)


@pytest.mark.parametrize(
    "reference",
    [
        "http://edge.example/b",
        "https://edge.example:8443/b",
        "https://other.example/b",
        "https://edge.example.evil/b",
        "https://edge.example@evil/b",
        "//other.example/b",
        "mailto:a@edge.example",
        "https://[bad/b",
        "https://edge.example:port/b",
    ],
)
def test_what_another_origin_holds_stays(reference: str) -> None:
    assert invalidation.uris("POST", "/a", 201, (("location", reference),), BASE) == ("/a",)


def test_each_uri_is_named_once() -> None:
    fields: Headers = (("location", "/a"), ("content-location", "/b"), ("location", "/b"))
    assert invalidation.uris("PUT", "/a", 200, fields, "http://edge.example:8080") == ("/a", "/b")


def test_groups_to_drop_are_a_list_of_strings() -> None:
    assert invalidation.groups((("cache-group-invalidation", '"a", "b"'), ("cache-groups", '"c"'))) == ("a", "b")
    assert invalidation.groups((("cache-group-invalidation", "a, b"),)) == ()
    assert invalidation.groups(()) == ()

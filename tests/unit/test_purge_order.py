"""What may be asked to be purged, and what is said about the rest."""

from __future__ import annotations

import pytest

from edge.cache.purge import Scope
from edge.cache.purge_order import MAX_VALUES, BadOrder, of_url, parse
from edge.cache.purger import Order
from edge.cache.target import canonical
from edge.cache.target import parse as published


@pytest.mark.parametrize(
    ("document", "order"),
    [
        ({"url": "/a"}, Order(Scope.URL, ("/a",))),
        ({"url": "https://edu.example/a/../b%7e?y=1&x=2"}, Order(Scope.URL, ("/b~?x=2&y=1",))),
        ({"url": "http://edu.example"}, Order(Scope.URL, ("/",))),
        ({"prefix": "/media/lesson-1/", "soft": True}, Order(Scope.PREFIX, ("/media/lesson-1/",), soft=True)),
        ({"prefix": "http://edu.example/"}, Order(Scope.PREFIX, ("/",))),
        ({"prefix": "/a%7e/../b?x=1&y="}, Order(Scope.PREFIX, ("/b?x=1&y=",))),
        ({"tag": "语文 grade 3", "soft": False}, Order(Scope.TAG, ("语文 grade 3",))),
        ({"all": True}, Order(Scope.ALL, ("",))),
        ({"urls": ["/a", "http://x/a", "/b"]}, Order(Scope.URL, ("/a", "/b"))),
        ({"tags": ["a", "b"]}, Order(Scope.TAG, ("a", "b"))),
    ],
)
def test_an_order_names_one_thing_or_several_of_a_kind(document: object, order: Order) -> None:
    assert parse(document, canonical) == order


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([], "JSON object"),
        (None, "JSON object"),
        ({}, "nothing is named"),
        ({"soft": True}, "nothing is named"),
        ({"url": "/a", "tag": "b"}, "tag and url is named"),
        ({"URL": "/a"}, "'URL' is no member"),
        ({"url": "/a", "x" * 1000: 1}, "is no member"),
        ({"url": "/a", "soft": 1}, "soft: allowed: true or false"),
        ({"url": 1}, "url: allowed: a string"),
        ({"url": ""}, "url: allowed: a string"),
        ({"url": None}, "url: allowed: a string"),
        ({"url": "a"}, "url: allowed: a path"),
        ({"url": "ftp://x/a"}, "url: allowed: a path"),
        ({"url": "/a\r\nb"}, "url: allowed: a path"),
        ({"url": "/" + "a" * 5000}, "url: allowed: a string of 1 to"),
        ({"prefix": "*"}, "prefix: allowed: a path"),
        ({"prefix": "http://edu.example"}, "prefix: allowed: the beginning"),
        ({"prefix": "/a?y=1&x"}, "prefix: allowed: the beginning"),
        ({"prefix": "/a%4"}, "prefix: allowed: a path"),
        ({"tag": "a\nb"}, "tag: allowed: printable"),
        ({"tag": "\ud800"}, "tag: allowed: a string"),
        ({"all": False}, "all: allowed: true"),
        ({"all": "yes"}, "all: allowed: true"),
        ({"urls": "/a"}, "urls: allowed: a list"),
        ({"urls": []}, "urls: allowed: a list"),
        ({"tags": ["a"] * (MAX_VALUES + 1)}, "tags: allowed: a list"),
        ({"tags": ["a", 1]}, "tags: allowed: a string"),
    ],
)
def test_a_refusal_names_the_member_and_what_is_allowed(document: object, said: str) -> None:
    with pytest.raises(BadOrder) as refused:
        parse(document, canonical)
    assert said in str(refused.value)
    assert "allowed" in str(refused.value)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    ("prefix", "uri"), [("/media/", "/media/"), ("/media/a+b/", "/media/a%2Bb/"), ("/media/l-1", "/media/l-1")]
)
def test_a_prefix_of_published_names_is_spelled_as_they_are(prefix: str, uri: str) -> None:
    assert parse({"prefix": prefix}, lambda raw: published(raw).uri) == Order(Scope.PREFIX, (uri,))


def test_the_target_of_a_purge_request_is_judged_like_any_url() -> None:
    assert of_url("http://edu.example/a?b", {}, canonical, soft=True) == Order(Scope.URL, ("/a?b",), soft=True)
    with pytest.raises(BadOrder):
        of_url("*", {}, canonical, soft=False)

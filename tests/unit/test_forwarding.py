"""What of a client's fields an origin gets to see: nothing that would make its answer the client's own."""

from __future__ import annotations

import pytest

from edge.forwarding import Hop, forwarded


def sent(*lines: tuple[str, str], method: str = "GET") -> dict[str, list[str]]:
    """What goes on, by name."""
    found: dict[str, list[str]] = {}
    raw = [(name.encode(), value.encode()) for name, value in lines]
    for name, value in forwarded(raw, Hop(method, "192.0.2.7", "https", "1.1", "edge-1")):
        found.setdefault(name, []).append(value)
    return found


OURS = "for=192.0.2.7;proto=https"


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("for=10.0.0.1", ["for=10.0.0.1"]),
        ("For=10.0.0.1;Proto=http", ["for=10.0.0.1"]),
        ("host=evil.example;proto=http", []),
        ("host=evil.example;for=10.0.0.1;by=_x, for=10.0.0.2", ["for=10.0.0.1", "for=10.0.0.2"]),
        ('for="[2001:db8::1]:4711"', ['for="[2001:db8::1]:4711"']),
        ("for=unknown, for=_hidden", ["for=unknown", "for=_hidden"]),
        ('for="10.0.0.1;host=evil.example"', []),
        ("for=10.0.0.1 host=evil.example", []),
        ("nonsense", []),
    ],
)
def test_of_forwarded_only_who_it_came_from_goes_on(said: str, kept: list[str]) -> None:
    assert sent(("Forwarded", said))["forwarded"] == [", ".join([*kept, OURS])]


CHANGING = (
    *("X-Forwarded-Host", "x_forwarded_host", "X-Forwarded-Scheme", "X-Forwarded-Prefix", "X-Host", "X-Original-URL"),
    *("X-HTTP-Method-Override", "X_HTTP_Method_Override", "x_forwarded_for", "content_length"),
)


@pytest.mark.parametrize("name", CHANGING)
def test_what_would_change_an_answer_for_all_does_not_go_on_under_any_spelling(name: str) -> None:
    assert sent((name, "DELETE"), ("X-Mine", "1")).keys() == {"x-mine", "via", "x-forwarded-for", "forwarded"}


def test_a_post_may_stand_for_another_method_since_its_answer_is_not_stored() -> None:
    assert sent(("X-HTTP-Method-Override", "PUT"), method="POST")["x-http-method-override"] == ["PUT"]


def test_the_chain_of_addresses_goes_on() -> None:
    assert sent(("X-Forwarded-For", "10.0.0.1"), ("X-Forwarded-For", "10.0.0.2"))["x-forwarded-for"] == [
        "10.0.0.1, 10.0.0.2, 192.0.2.7"
    ]

"""Cache-Status, Proxy-Status and Server-Timing: read back by a real structured-field parser, over every outcome."""

from __future__ import annotations

from itertools import product
from typing import Any

import http_sf
import pytest
from http_sf import Token
from hypothesis import given
from hypothesis import strategies as st

from edge.cache.model import Forward, Outcome, Tier
from edge.cache.status import MAX_EXISTING, append, cache_status, proxy_status, server_timing, word
from origin.reader import OriginError, OriginFailure

REFUSED = OriginError(OriginFailure.CONNECT, 'no "one"\nthere é')
FORWARD_REASONS = {"bypass", "method", "uri-miss", "vary-miss", "miss", "request", "stale", "partial"}  # RFC 9211, 2.2
# RFC 9209, 2.3
PROXY_ERRORS = {
    "dns_timeout",
    "dns_error",
    "destination_not_found",
    "destination_unavailable",
    "destination_ip_prohibited",
    "destination_ip_unroutable",
    "connection_refused",
    "connection_terminated",
    "connection_timeout",
    "connection_read_timeout",
    "connection_write_timeout",
    "connection_limit_reached",
    "tls_protocol_error",
    "tls_certificate_error",
    "tls_alert_received",
    "http_request_error",
    "http_request_denied",
    "http_response_incomplete",
    "http_response_header_section_size",
    "http_response_header_size",
    "http_response_body_size",
    "http_response_trailer_section_size",
    "http_response_trailer_size",
    "http_response_transfer_coding",
    "http_response_content_coding",
    "http_response_timeout",
    "http_upgrade_failed",
    "http_protocol_error",
    "proxy_internal_response",
    "proxy_internal_error",
    "proxy_configuration_error",
    "proxy_loop_detected",
}
OUTCOMES = [
    Outcome(tier, forward, status, stored, collapsed, stale, ttl, error)
    for tier, forward, status, stored, collapsed, stale, ttl, error in product(
        Tier, (None, *Forward), (None, 200), (False, True), (False, True), (False, True), (None, -3), (None, REFUSED)
    )
]


def parsed(value: str) -> list[tuple[str, dict[str, Any]]]:
    found: Any = http_sf.parse(value.encode(), tltype="list")
    return [(str(name), {key: plain(value) for key, value in parameters.items()}) for name, parameters in found]


def plain(value: object) -> object:
    return str(value) if isinstance(value, Token) else value


def expected(outcome: Outcome) -> dict[str, Any]:
    """RFC 9211, 2: the parameters of the member, said once more and otherwise."""
    refused = outcome.forward is None and outcome.error is not None and not outcome.stale
    told: dict[str, Any] = {}
    if outcome.forward is not None:
        told["fwd"] = Token(outcome.forward.value)
        told |= {"fwd-status": outcome.forward_status} if outcome.forward_status is not None else {}
        told |= {name: True for name in ("stored", "collapsed") if getattr(outcome, name)}
    elif not refused:
        told["hit"] = True
    told |= {"ttl": outcome.ttl_s} if outcome.ttl_s is not None else {}
    if outcome.error is not None:
        told["detail"] = Token(outcome.error.failure.value)
    elif outcome.tier is not Tier.ORIGIN:
        told["detail"] = Token(outcome.tier.value)
    return told


@pytest.mark.parametrize(
    ("outcome", "value"),
    [
        (Outcome(Tier.MEMORY, ttl_s=57), "edge-1; hit; ttl=57; detail=memory"),
        (Outcome(Tier.REDIS, ttl_s=57), "edge-1; hit; ttl=57; detail=redis"),
        (Outcome(Tier.MEMORY, ttl_s=-3, stale=True), "edge-1; hit; ttl=-3; detail=memory"),
        (
            Outcome(Tier.ORIGIN, Forward.MISS, 200, stored=True, ttl_s=60),
            "edge-1; fwd=uri-miss; fwd-status=200; stored; ttl=60",
        ),
        (
            Outcome(Tier.ORIGIN, Forward.STALE, 304, stored=True, collapsed=True, ttl_s=60),
            "edge-1; fwd=stale; fwd-status=304; stored; collapsed; ttl=60",
        ),
        (Outcome(Tier.ORIGIN, Forward.BYPASS, 200), "edge-1; fwd=bypass; fwd-status=200"),
        (
            Outcome(Tier.MEMORY, Forward.STALE, ttl_s=-9, stale=True, error=REFUSED),
            "edge-1; fwd=stale; ttl=-9; detail=connection_refused",
        ),
        (Outcome(Tier.MEMORY, error=REFUSED), "edge-1; detail=connection_refused"),
    ],
)
def test_each_outcome_has_its_member(outcome: Outcome, value: str) -> None:
    assert cache_status("edge-1", outcome) == value


def test_every_outcome_parses_and_never_says_both_hit_and_fwd() -> None:
    for outcome in OUTCOMES:
        ((name, found),) = parsed(cache_status("edge-1", outcome))
        assert name == "edge-1"
        assert not ("hit" in found and "fwd" in found), outcome
        assert ("hit" in found or "fwd" in found) == (outcome.forward is not None or outcome.stale or not outcome.error)
        assert found.get("fwd") == (outcome.forward.value if outcome.forward is not None else None)
        assert found.get("fwd") in {None, *FORWARD_REASONS}
        if "fwd" not in found:
            assert not {"stored", "collapsed", "fwd-status"} & set(found), outcome


def test_our_own_formatting_says_what_the_library_says() -> None:
    for outcome in OUTCOMES:
        for key in (None, '/a?b="c"'):
            told = expected(outcome)
            if key is not None:
                detail = {"detail": told.pop("detail")} if "detail" in told else {}
                told |= {"key": key} | detail
            library = http_sf.ser([(Token("edge-1"), told)])
            assert cache_status("edge-1", outcome, key).replace("; ", ";") == library


def test_names_that_are_no_token_are_strings() -> None:
    assert cache_status("44 广", Outcome(Tier.MEMORY)) == '"44 ?"; hit; detail=memory'
    assert proxy_status("e", REFUSED) == 'e; error=connection_refused; details="no \\"one\\"?there ?"'


@given(st.text(min_size=1, max_size=30), st.text(max_size=30))
def test_any_name_and_key_can_be_read_back(node: str, key: str) -> None:
    for outcome in (Outcome(Tier.MEMORY, ttl_s=1), Outcome(Tier.ORIGIN, Forward.MISS)):
        ((name, found),) = parsed(cache_status(node, outcome, key))
        shown = "".join(letter if " " <= letter <= "~" else "?" for letter in key)
        assert found["key"] == shown
        assert len(name) == len(node)


@pytest.mark.parametrize("failure", OriginFailure)
def test_every_failure_is_a_registered_proxy_error(failure: OriginFailure) -> None:
    error = OriginError(failure, "why", received=503)
    ((name, found),) = parsed(proxy_status("edge-1", error, next_hop="10.0.0.1:80"))
    assert name == "edge-1"
    assert found == {
        "error": failure.value,
        "details": "why",
        "next-hop": "10.0.0.1:80",
        "received-status": 503,
    }
    assert failure.value in PROXY_ERRORS


def test_ours_comes_after_those_nearer_to_the_origin() -> None:
    value = append('origin-cache; hit, "parent 2"; fwd=stale; x=1.5', "edge-1; hit")
    assert [name for name, _ in parsed(value)] == ["origin-cache", "parent 2", "edge-1"]
    assert append(None, "edge-1; hit") == append("", "edge-1; hit") == "edge-1; hit"


@pytest.mark.parametrize(
    "existing",
    ["a;;b", "a b", '"open', "a, ", "1; hit", "(a b); hit", "?1", ":YQ==:", "HIT from é", "a" * (MAX_EXISTING + 1)],
    ids=lambda value: value[:12],
)
def test_what_is_no_list_of_names_is_dropped(existing: str) -> None:
    assert append(existing, "edge-1; hit") == "edge-1; hit"


@given(st.text(st.characters(max_codepoint=255), max_size=60) | st.text('ab*1-.;=", ()?:@%\\\t', max_size=20))
def test_whatever_came_before_the_field_we_send_is_sound(existing: str) -> None:
    assert parsed(append(existing, "edge-1; hit"))[-1] == ("edge-1", {"hit": True})


def test_server_timing_names_each_wait_once_and_the_total() -> None:
    outcome = Outcome(Tier.ORIGIN, Forward.MISS, timings=(("redis", 0.0008), ("origin", 0.02), ("origin", 0.0212)))
    assert server_timing(outcome, 0.0425) == "redis;dur=0.800, origin;dur=41.200, total;dur=42.500"
    assert server_timing(Outcome(Tier.MEMORY), 0.0000123) == "total;dur=0.012"


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (Outcome(Tier.MEMORY), "hit"),
        (Outcome(Tier.DISK, stale=True), "stale-hit"),
        (Outcome(Tier.ORIGIN, Forward.MISS), "uri-miss"),
        (Outcome(Tier.MEMORY, Forward.STALE, stale=True, error=REFUSED), "stale-stale"),
        (Outcome(Tier.ORIGIN, Forward.MISS, error=REFUSED), "error"),
    ],
)
def test_each_outcome_has_one_word(outcome: Outcome, said: str) -> None:
    assert word(outcome) == said

"""Cache-Status and Proxy-Status values."""

from __future__ import annotations

import pytest

from edge.cache.model import Forward, Outcome, Tier
from edge.cache.status import cache_status, proxy_status
from origin.reader import OriginError, OriginFailure

REFUSED = OriginError(OriginFailure.CONNECT, 'no "one"\nthere é')


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
    ],
)
def test_each_outcome_has_its_member(outcome: Outcome, value: str) -> None:
    assert cache_status("edge-1", outcome) == value


def test_names_that_are_no_token_are_strings() -> None:
    assert cache_status("44 广", Outcome(Tier.MEMORY)) == '"44 ?"; hit; detail=memory'
    assert proxy_status("e", REFUSED) == 'e; error=connection_refused; details="no \\"one\\"?there ?"'

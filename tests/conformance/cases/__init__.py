"""All cases: one module per specification and subject, each with a list CASES."""

from __future__ import annotations

from tests.conformance.cases import (
    rfc9110_ranges,
    rfc9110_semantics,
    rfc9111_directives,
    rfc9111_freshness,
    rfc9111_invalidation,
    rfc9111_storing,
    rfc9111_validation,
    rfc9111_vary,
    rfc9112_framing,
    rfc9211_status,
)
from tests.conformance.model import Case

CASES: tuple[Case, ...] = tuple(
    case
    for module in (
        rfc9111_storing,
        rfc9111_vary,
        rfc9111_freshness,
        rfc9111_validation,
        rfc9111_invalidation,
        rfc9111_directives,
        rfc9110_semantics,
        rfc9110_ranges,
        rfc9112_framing,
        rfc9211_status,
    )
    for case in module.CASES
)

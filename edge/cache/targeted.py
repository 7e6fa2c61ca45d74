"""Targeted cache control (RFC 9213): which field rules a response, and what it says there."""

from __future__ import annotations

from collections.abc import Sequence

from edge.cache.directives import Directives, parse, said_by
from edge.cache.fields import Lines
from edge.cache.structured import Value, dictionary

_DELTAS = frozenset({"max-age", "s-maxage", "stale-while-revalidate", "stale-if-error"})
_WITH_NAMES = frozenset({"no-cache", "private"})


def directives(lines: Lines, targets: Sequence[str]) -> tuple[Directives, bool]:
    """What rules the response, and whether that is a targeted field: then Expires does not count, either (2.2).

    targets: lower-case names, the most specific first. The first that is a valid and non-empty Dictionary rules.
    """
    for name in targets:
        if name in lines:
            members = dictionary(lines[name])
            if members:
                return _said(members), True
    return parse(lines.get("cache-control", ())), False


def _said(members: dict[str, Value]) -> Directives:
    """Values of another type than the directive's are not to be used (2.1): a flag is then absent, a number is none."""
    arguments: dict[str, str | None] = {}
    for name, value in members.items():
        if name in _DELTAS:
            arguments[name] = str(value) if isinstance(value, int) and not isinstance(value, bool) else None
        elif value is True or (name in _WITH_NAMES and isinstance(value, str)):
            arguments[name] = None
    return said_by(arguments)

"""Structured fields (RFC 9651), read by the `http-sf` library. One that does not parse is as good as absent (4.2)."""

from __future__ import annotations

from collections.abc import Sequence

import http_sf

Value = object
"""A member's: int, Decimal, str, bool, bytes, datetime, http_sf's Token or DisplayString; of an inner list, a list."""


def strings(lines: Sequence[str]) -> tuple[str, ...]:
    """The members of a List of Strings, parameters ignored; () when it does not parse or holds anything else."""
    if not lines:
        return ()
    parsed = _parsed(lines, "list")
    if not isinstance(parsed, list):
        return ()
    found = tuple(_value(member) for member in parsed)
    texts = tuple(value for value in found if isinstance(value, str))
    return texts if len(texts) == len(found) else ()


def dictionary(lines: Sequence[str]) -> dict[str, Value]:
    """The members of a Dictionary, parameters ignored; {} when it does not parse."""
    parsed = _parsed(lines, "dictionary")
    return {name: _value(member) for name, member in parsed.items()} if isinstance(parsed, dict) else {}


def _parsed(lines: Sequence[str], kind: str) -> http_sf.StructuredType | None:
    try:
        return http_sf.parse(",".join(lines).encode("ascii"), tltype=kind)
    except ValueError:  # which both a StructuredFieldError and text beyond ASCII are
        return None


def _value(member: object) -> Value:
    """A member is (value, parameters)."""
    return member[0] if isinstance(member, tuple) else member

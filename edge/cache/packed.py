"""A stored response's head as bytes, for the tiers that are other processes. What was said comes back as it was said.

Instants do not travel: the monotonic clock is each machine's own. What travels is the age, or the wall clock's time of
birth where the reader comes later.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson

from edge.cache.freshness import described
from edge.cache.model import Freshness, Head


def pack(head: Head, *, age_s: float) -> dict[str, Any]:
    """Members for a JSON object."""
    kept = head.freshness
    return {
        "status": head.status,
        "headers": [(_text(name), _text(value)) for name, value in head.headers],
        "length": head.length,
        "age": age_s,
        "fresh": [
            kept.storable,
            kept.lifetime_s,
            kept.stale_while_revalidate_s,
            kept.stale_if_error_s,
            kept.must_revalidate,
            kept.validate_always,
            kept.reason,
        ],
    }


def unpack(members: dict[str, Any], *, now: float, older_s: float = 0.0) -> Head:
    """The head, its age counted on from `now` (monotonic); `older_s`: time since it was packed. Raises ValueError."""
    try:
        length = members["length"]
        head = described(
            int(members["status"]),
            tuple((_untext(name), _untext(value)) for name, value in members["headers"]),
            born=now - max(0.0, float(members["age"]) + older_s),
            freshness=_freshness(*members["fresh"]),
        )
        return replace(head, length=None if length is None else int(length))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("not a packed head") from error


def loads(text: bytes | str) -> dict[str, Any]:
    """A JSON object; ValueError when it is not one."""
    members = orjson.loads(text)
    if not isinstance(members, dict):
        raise ValueError("not a JSON object")
    return members


def _text(field: str) -> str:
    """As JSON can hold it: bytes that are no text came as lone surrogates, which have no place in UTF-8."""
    return field if field.isascii() else field.encode("utf-8", "surrogatepass").decode("latin-1")


def _untext(text: str) -> str:
    return text if text.isascii() else text.encode("latin-1").decode("utf-8", "surrogatepass")


def _freshness(
    storable: Any,
    lifetime_s: Any,
    revalidate_s: Any,
    error_s: Any,
    must_revalidate: Any,
    validate_always: Any,
    reason: Any,
) -> Freshness:
    return Freshness(
        bool(storable),
        float(lifetime_s),
        float(revalidate_s),
        float(error_s),
        bool(must_revalidate),
        bool(validate_always),
        str(reason),
    )

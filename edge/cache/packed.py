"""A stored response's head as bytes, for the tiers that are other processes. What was said comes back as it was said.

Instants do not travel: the monotonic clock is each machine's own. What travels is the age, or the wall clock's time of
birth where the reader comes later.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import orjson

from edge.cache.freshness import described
from edge.cache.model import Freshness, Head
from origin.reader import Headers


def pack(head: Head, *, age_s: float) -> dict[str, Any]:
    """Members for a JSON object."""
    kept = head.freshness
    return {
        "status": head.status,
        "headers": written(head.headers),
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
            read(members["headers"]),
            born=now - max(0.0, float(members["age"]) + older_s),
            freshness=_freshness(*members["fresh"]),
        )
        return replace(head, length=None if length is None else int(length))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("not a packed head") from error


def written(headers: Headers) -> list[tuple[str, str]]:
    """Field lines as JSON can hold them."""
    return [(text(name), text(value)) for name, value in headers]


def read(lines: Iterable[tuple[str, str]]) -> Headers:
    """The field lines that were `written`. Raises ValueError, TypeError or AttributeError for what are none."""
    return tuple((untext(name), untext(value)) for name, value in lines)


def loads(document: bytes | str) -> dict[str, Any]:
    """A JSON object; ValueError when it is not one."""
    members = orjson.loads(document)
    if not isinstance(members, dict):
        raise ValueError("not a JSON object")
    return members


def text(field: str) -> str:
    """As JSON can hold it: bytes that are no text came as lone surrogates, which have no place in UTF-8."""
    return field if field.isascii() else field.encode("utf-8", "surrogatepass").decode("latin-1")


def untext(written: str) -> str:
    """What `text` was made of."""
    return written if written.isascii() else written.encode("latin-1").decode("utf-8", "surrogatepass")


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

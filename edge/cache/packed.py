"""What is stored, without its body, as bytes for the tiers that are other processes. What was said comes back as said.

Instants do not travel: the monotonic clock is each machine's own. What travels is the age, or the wall clock's time of
birth where the reader comes later. Nor do marks: a purge position is each node's own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson

from edge.cache.freshness import described
from edge.cache.model import Freshness, Head, Layout, Varying


def pack(head: Head, *, age_s: float) -> dict[str, Any]:
    """Members for a JSON object."""
    kept = head.freshness
    return {
        "status": head.status,
        "headers": head.headers,
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
            tuple((str(name), str(value)) for name, value in members["headers"]),
            born=now - max(0.0, float(members["age"]) + older_s),
            freshness=_freshness(*members["fresh"]),
        )
        return replace(head, length=None if length is None else int(length))
    except (KeyError, TypeError) as error:
        raise ValueError("not a packed head") from error


def pack_varying(varying: Varying) -> dict[str, Any]:
    """Members for a JSON object."""
    return {"specs": varying.specs}


def unpack_varying(members: dict[str, Any], *, mark: int = 0) -> Varying:
    """The index of variants, under the reader's own mark. Raises ValueError."""
    try:
        return Varying(tuple(tuple(str(name) for name in spec) for spec in members["specs"]), mark)
    except (KeyError, TypeError) as error:
        raise ValueError("not a packed index of variants") from error


def pack_layout(layout: Layout, *, age_s: float) -> dict[str, Any]:
    """Members for a JSON object."""
    return pack(layout.head, age_s=age_s) | {"block": layout.block_bytes}


def unpack_layout(members: dict[str, Any], *, now: float, older_s: float = 0.0, mark: int = 0) -> Layout:
    """The layout, under the reader's own mark. Raises ValueError."""
    head = unpack(members, now=now, older_s=older_s)
    try:
        block_bytes = int(members["block"])
    except (KeyError, TypeError) as error:
        raise ValueError("not a packed layout") from error
    if block_bytes <= 0 or head.length is None:
        raise ValueError("not a packed layout")
    return Layout(head, block_bytes, mark)


def loads(text: bytes | str) -> dict[str, Any]:
    """A JSON object; ValueError when it is not one."""
    members = orjson.loads(text)
    if not isinstance(members, dict):
        raise ValueError("not a JSON object")
    return members


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

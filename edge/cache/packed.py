"""A stored response's head as bytes, for the tiers that are other processes. What was said comes back as it was said.

Instants do not travel: the monotonic clock is each machine's own. What travels is the age, or the wall clock's time of
birth where the reader comes later.
"""

from __future__ import annotations

from typing import Any

import orjson

from edge.cache.freshness import described
from edge.cache.model import Freshness, Head


def pack(head: Head, *, age_s: float) -> dict[str, Any]:
    """Members for a JSON object."""
    kept = head.freshness
    return {
        "status": head.status,
        "headers": head.headers,
        "length": head.length,
        "age": age_s,
        "fresh": [kept.storable, kept.lifetime_s, kept.stale_while_revalidate_s, kept.stale_if_error_s],
    }


def unpack(members: dict[str, Any], *, now: float, older_s: float = 0.0) -> Head:
    """The head, its age counted on from `now` (monotonic); `older_s`: time since it was packed. Raises ValueError."""
    try:
        headers = tuple((str(name), str(value)) for name, value in members["headers"])
        length = members["length"]
        if length is not None:
            headers = (*headers, ("content-length", str(int(length))))
        storable, lifetime, revalidate, error = members["fresh"]
        return described(
            int(members["status"]),
            headers,
            born=now - max(0.0, float(members["age"]) + older_s),
            freshness=Freshness(bool(storable), float(lifetime), float(revalidate), float(error)),
        )
    except (KeyError, TypeError) as error_:
        raise ValueError("not a packed head") from error_


def loads(text: bytes | str) -> dict[str, Any]:
    """A JSON object; ValueError when it is not one."""
    members = orjson.loads(text)
    if not isinstance(members, dict):
        raise ValueError("not a JSON object")
    return members

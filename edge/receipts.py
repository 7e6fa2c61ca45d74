"""What a client hears about its view events, and what is counted of them: the same on either road.

A beacon carries credentials, whether its page wants it or not, and then a wildcard is not enough for the browser: the
origin has to be named. Nothing here depends on credentials, so every origin may have them.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import Final

import orjson
from aiohttp import hdrs

from edge import metrics
from edge.counters.intake import Receipt
from edge.sender import Sender

# sendBeacon can say text/plain without asking the server first (CORS), so it counts as JSON.
CONTENT_TYPES: Final = frozenset({"application/json", "text/plain"})


@lru_cache(maxsize=256)
def is_json(content_type: str) -> bool:
    """Whether a Content-Type is one that is read as JSON."""
    return content_type.partition(";")[0].strip().lower() in CONTENT_TYPES


def sharing(origin: str | None) -> dict[str, str]:
    """The fields that a browser wants to read before a page of this origin may know the answer; None: no such page."""
    named = origin if origin and origin.isascii() else None  # others no browser sends, and some can't be written
    allowed: dict[str, str] = {
        hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: named or "*",
        hdrs.CACHE_CONTROL: "no-store",
        hdrs.VARY: hdrs.ORIGIN,
    }
    if named:
        allowed[hdrs.ACCESS_CONTROL_ALLOW_CREDENTIALS] = "true"
    return allowed


def document(receipt: Receipt) -> bytes:
    """The body of 202."""
    rejected = [{"index": place, "reason": reason.value} for place, reason in receipt.rejected]
    return orjson.dumps({"accepted": receipt.accepted, "rejected": rejected})


def count(receipt: Receipt, sender: Sender) -> None:
    """Enter what became of one body."""
    metrics.VIEW_BODIES.inc("taken")
    if receipt.accepted:
        metrics.EVENTS.inc("accepted", by=receipt.accepted)
        metrics.VIEW_PLACES.inc(sender.found.value, by=receipt.accepted)
    if receipt.given_away is not None:
        metrics.BOT_EVENTS.inc(receipt.given_away.value, by=receipt.bots)
    if receipt.rejected:
        for reason, number in Counter(reason for _, reason in receipt.rejected).items():
            metrics.EVENTS.inc(reason.name.lower(), by=number)

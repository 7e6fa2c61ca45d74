"""Outcome -> Cache-Status (RFC 9211) and Proxy-Status (RFC 9209) field values."""

from __future__ import annotations

import re
from functools import lru_cache

from edge.cache.model import Outcome, Tier
from origin.reader import OriginError

_TOKEN = re.compile(r"[A-Za-z*][A-Za-z0-9!#$%&'*+\-.^_`|~:/]*")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


def cache_status(node: str, outcome: Outcome) -> str:
    """This node's member, e.g. `edge-1; hit; ttl=57; detail=memory` or `edge-1; fwd=uri-miss; stored`."""
    parts = [item(node)]
    if outcome.forward is None:
        parts.append("hit")
    else:
        parts.append(f"fwd={outcome.forward.value}")
        if outcome.forward_status is not None:
            parts.append(f"fwd-status={outcome.forward_status}")
        if outcome.stored:
            parts.append("stored")
        if outcome.collapsed:
            parts.append("collapsed")
    if outcome.ttl_s is not None:
        parts.append(f"ttl={outcome.ttl_s}")
    if outcome.error is not None:
        parts.append(f"detail={outcome.error.failure.value}")
    elif outcome.tier is not Tier.ORIGIN:
        parts.append(f"detail={outcome.tier.value}")
    return "; ".join(parts)


def proxy_status(node: str, error: OriginError) -> str:
    """This node's member for a response that it had to make itself."""
    return f"{item(node)}; error={error.failure.value}; details={_string(error.detail)}"


@lru_cache(maxsize=16)
def item(name: str) -> str:
    """A name as a structured field's token where it is one, as a string otherwise (RFC 9651)."""
    return name if _TOKEN.fullmatch(name) else _string(name)


def _string(text: str) -> str:
    plain = _UNPRINTABLE.sub("?", text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{plain}"'

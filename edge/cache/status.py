"""Outcome -> what is told of it: Cache-Status (RFC 9211), Proxy-Status (RFC 9209), Server-Timing, a word for metrics.

Both status fields are lists of structured items (RFC 9651), one per intermediary, the one nearest to the origin first:
what the origin's side sent is kept, and ours is appended. Values that others made go through a real parser (http-sf).
Ours are formatted here, because that library takes ten times as long as the half microsecond it may cost per hit; the
tests hold the two equal over the whole table of outcomes.
"""

from __future__ import annotations

import re
from functools import lru_cache

import http_sf

from edge.cache.model import Outcome, Tier
from origin.reader import OriginError

MAX_EXISTING = 4096
"""Characters of a field that other caches wrote; a longer one is dropped, so that a loop cannot make it grow."""

_TOKEN = re.compile(r"[A-Za-z*][A-Za-z0-9!#$%&'*+\-.^_`|~:/]*")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


def cache_status(node: str, outcome: Outcome, key: str | None = None) -> str:
    """This node's member, e.g. `edge-1; hit; ttl=57; detail=memory` or `edge-1; fwd=uri-miss; stored`.

    It says `hit`, or `fwd` with the reason, or neither: then nothing was served from the cache and nothing forwarded,
    the node refused by itself. `stored` and `collapsed` only mean something beside `fwd`. key: shown when given.
    """
    if outcome.forward is None and outcome.error is None and outcome.ttl_s is not None and key is None:
        before, after = _plain_hit(node, outcome.tier)
        return f"{before}{outcome.ttl_s}{after}"
    parts = [item(node), *_handling(outcome)]
    if outcome.ttl_s is not None:
        parts.append(f"ttl={outcome.ttl_s}")
    if key is not None:
        parts.append(f"key={_string(key)}")
    if outcome.error is not None:
        parts.append(f"detail={outcome.error.failure.value}")
    elif outcome.tier is not Tier.ORIGIN:
        parts.append(f"detail={outcome.tier.value}")
    return "; ".join(parts)


def _handling(outcome: Outcome) -> list[str]:
    if outcome.forward is None:
        refused = outcome.error is not None and not outcome.stale
        return [] if refused else ["hit"]
    told = [f"fwd={outcome.forward.value}"]
    if outcome.forward_status is not None:
        told.append(f"fwd-status={outcome.forward_status}")
    if outcome.stored:
        told.append("stored")
    if outcome.collapsed:
        told.append("collapsed")
    return told


@lru_cache(maxsize=64)
def _plain_hit(node: str, tier: Tier) -> tuple[str, str]:
    """A hit's member before and after its ttl."""
    return f"{item(node)}; hit; ttl=", "" if tier is Tier.ORIGIN else f"; detail={tier.value}"


def proxy_status(node: str, error: OriginError, *, next_hop: str | None = None) -> str:
    """This node's member for a response that it had to make itself, or serve stale, because of that error.

    next_hop: name or address of the server that was asked.
    """
    parts = [item(node), f"error={error.failure.value}", f"details={_string(error.detail)}"]
    if next_hop is not None:
        parts.append(f"next-hop={item(next_hop)}")
    if error.received is not None:
        parts.append(f"received-status={error.received}")
    return "; ".join(parts)


def append(existing: str | None, member: str) -> str:
    """Ours after what the origin's side wrote; that is dropped where it is no list of names with parameters.

    existing: its field lines, joined with commas. The same goes for Cache-Status and Proxy-Status.
    """
    if not existing:
        return member
    kept = _sound(existing) if len(existing) <= MAX_EXISTING else ""
    return f"{kept}, {member}" if kept else member


@lru_cache(maxsize=256)
def _sound(existing: str) -> str:
    """The list as it stands, '' when it is malformed; remembered, since each hit on a response brings the same one."""
    try:
        members = http_sf.parse(existing.encode("latin-1"), tltype="list")
    except (http_sf.StructuredFieldError, UnicodeEncodeError):
        return ""
    named = isinstance(members, list) and all(_is_named(member) for member in members)
    return existing.strip(" \t") if named else ""


def _is_named(member: object) -> bool:
    """Whether it is a string or token with parameters: no other item, no inner list."""
    return isinstance(member, tuple) and isinstance(member[0], str | http_sf.Token)


def server_timing(outcome: Outcome, total_s: float) -> str:
    """Milliseconds for each part of the way and for all of it, e.g. `redis;dur=0.8, origin;dur=41.2, total;dur=42.3`.

    What was waited for twice is added up. https://www.w3.org/TR/server-timing/
    """
    waits: dict[str, float] = {}
    for name, seconds in outcome.timings:
        waits[name] = waits.get(name, 0.0) + seconds
    waits["total"] = total_s
    return ", ".join(f"{name};dur={seconds * 1000:.3f}" for name, seconds in waits.items())


def word(outcome: Outcome) -> str:
    """The outcome in one word, as metrics and the access log have it.

    hit, or why it was forwarded; `error` when nothing could be served; `stale-` before it for what was too old.
    """
    if outcome.error is not None and not outcome.stale:
        return "error"
    plain = "hit" if outcome.forward is None else outcome.forward.value
    return f"stale-{plain}" if outcome.stale else plain


@lru_cache(maxsize=64)
def item(name: str) -> str:
    """A name as a structured field's token where it is one, as a string otherwise (RFC 9651)."""
    return name if _TOKEN.fullmatch(name) else _string(name)


def _string(text: str) -> str:
    plain = _UNPRINTABLE.sub("?", text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{plain}"'

"""Validators: entity tags and modification dates (RFC 9110, 8.8), and which stored response an answer is about."""

from __future__ import annotations

import re

from edge.cache.dates import http_date
from edge.cache.fields import OWS
from edge.cache.model import Head

_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\U0010ffff]*"'
_ENTITY_TAG = re.compile(_TAG)
# Every quantifier keeps what it took, so that no field takes more than linear time.
_ENTITY_TAGS = re.compile(rf"[ \t,]*+(?:{_TAG}[ \t]*+(?:,[ \t,]*+|\Z))++")

_THIS_ERA = 1_767_225_600.0  # 2026: what the two-digit year of a stored Date is near to


def entity_tag(text: str | None) -> str | None:
    """The entity tag that a field holds; None when it holds none, or what is none."""
    stripped = (text or "").strip(OWS)
    return stripped if _ENTITY_TAG.fullmatch(stripped) else None


def is_weak(etag: str) -> bool:
    """Whether it may stay the same while bytes change (8.8.1)."""
    return etag.startswith("W/")


def same_entity(one: str | None, other: str | None, *, strong: bool) -> bool:
    """The comparison functions of 8.8.3.2."""
    if one is None or other is None:
        return False
    if strong:
        return one == other and not is_weak(one)
    return one.removeprefix("W/") == other.removeprefix("W/")


def matches(field: str, etag: str | None, *, strong: bool) -> bool:
    """Whether If-Match (strong) or If-None-Match names the entity tag, or `*`. A list with bad syntax names nothing."""
    stripped = field.strip(OWS)
    if stripped == "*":
        return True
    if etag is None or _ENTITY_TAGS.fullmatch(stripped) is None:
        return False
    return any(same_entity(tag, etag, strong=strong) for tag in _ENTITY_TAG.findall(stripped))


def sent(head: Head) -> float | None:
    """When the stored response was sent, in seconds since the epoch."""
    return http_date(head.field("date"), wall=_THIS_ERA)


def is_strong_date(head: Head) -> bool:
    """Whether its Last-Modified tells its bytes apart: it is at least a second older than the response (8.8.2.2)."""
    date = sent(head)
    modified = http_date(head.last_modified, wall=date) if date is not None else None
    return date is not None and modified is not None and modified <= date - 1


def confirms(received: Head, stored: Head) -> bool:
    """Whether a 304 is about the stored response (RFC 9111, 4.3.4).

    A strong entity tag must be the stored one; a weak one, or a date, must correspond. A 304 that names no validator is
    the answer to the one we asked with: where that is a date, a conforming origin sends none back (RFC 9110, 15.4.5).
    """
    if received.etag is not None:
        return same_entity(received.etag, stored.etag, strong=not is_weak(received.etag))
    return received.last_modified is None or same_date(received.last_modified, stored.last_modified)


def describes(received: Head, stored: Head) -> bool:
    """Whether the answer to a HEAD is about the stored response: validators and length that it has match (4.3.5)."""
    return (
        (received.etag is None or received.etag == stored.etag)
        and (received.last_modified is None or same_date(received.last_modified, stored.last_modified))
        and (received.length is None or received.length == stored.length)
    )


def same_date(one: str | None, other: str | None) -> bool:
    """Whether both are dates, of the same second."""
    instant = http_date(one, wall=_THIS_ERA)
    return instant is not None and instant == http_date(other, wall=_THIS_ERA)

"""Conditional requests against one selected response (RFC 9110, section 13) and the part of it to send."""

from __future__ import annotations

from dataclasses import dataclass

from edge.cache.dates import http_date
from edge.cache.fields import OWS
from edge.cache.model import Conditions, Head
from edge.cache.ranges import Part, Unsatisfiable, select
from edge.cache.validators import is_strong_date, matches, sent


@dataclass(frozen=True, slots=True)
class Shape:
    """What is sent of a stored response. status: 200 (or the stored one), 206, 304, 412 or 416; part: only with 206."""

    status: int
    part: Part | None = None


def shape(head: Head, conditions: Conditions, method: str = "GET") -> Shape:
    """The answer to a GET or HEAD with these conditions, in the order of 13.2.2.

    Conditions apply to what would be a 2xx otherwise (13.2.1), a range to what would be a 200 to a GET (14.2); a body
    of unknown length is always sent whole. If-Match and If-Unmodified-Since are the origin's to judge (RFC 9111,
    4.3.2): whoever is no origin to its clients leaves them out of `conditions`.
    """
    if not 200 <= head.status < 300:
        return Shape(head.status)
    wall = sent(head) or 0.0
    if not _preconditions_hold(head, conditions, wall):
        return Shape(412)
    if _not_modified(head, conditions, wall):
        return Shape(304)
    if conditions.byte_range is None or method != "GET" or not _range_applies(head, conditions, wall):
        return Shape(head.status)
    return _cut(head, conditions.byte_range)


def _cut(head: Head, byte_range: str) -> Shape:
    if head.status != 200 or head.length is None:
        return Shape(head.status)
    try:
        part = select(byte_range, head.length)
    except Unsatisfiable:
        return Shape(416)
    return Shape(200) if part is None else Shape(206, part)


def _preconditions_hold(head: Head, conditions: Conditions, wall: float) -> bool:
    if conditions.if_match is not None:
        return matches(conditions.if_match, head.etag, strong=True)
    limit, modified = http_date(conditions.if_unmodified_since, wall=wall), http_date(head.last_modified, wall=wall)
    return limit is None or modified is None or modified <= limit


def _not_modified(head: Head, conditions: Conditions, wall: float) -> bool:
    """If-None-Match, else If-Modified-Since; a cache takes the Date of what has no Last-Modified (RFC 9111, 4.3.2)."""
    if conditions.if_none_match is not None:
        return matches(conditions.if_none_match, head.etag, strong=False)
    since = http_date(conditions.if_modified_since, wall=wall)
    if since is None:
        return False
    changed = sent(head) if head.last_modified is None else http_date(head.last_modified, wall=wall)
    return changed is not None and changed <= since


def _range_applies(head: Head, conditions: Conditions, wall: float) -> bool:
    """If-Range (13.1.5): the same bytes by strong comparison, or by the exact Last-Modified where that is strong."""
    if conditions.if_range is None:
        return True
    validator = conditions.if_range.strip(OWS)
    if validator.startswith(('"', "W/")):
        return validator == head.strong_etag
    date = http_date(validator, wall=wall)
    return date is not None and date == http_date(head.last_modified, wall=wall) and is_strong_date(head)

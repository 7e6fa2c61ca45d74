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
    if not _preconditions_hold(head, conditions):
        return Shape(412)
    if _not_modified(head, conditions):
        return Shape(304)
    if conditions.byte_range is None or method != "GET" or not _range_applies(head, conditions):
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


def _preconditions_hold(head: Head, conditions: Conditions) -> bool:
    if conditions.if_match is not None:
        return matches(conditions.if_match, head.etag, strong=True)
    if conditions.if_unmodified_since is None:
        return True
    limit, modified = _date(conditions.if_unmodified_since, head), _date(head.last_modified, head)
    return limit is None or modified is None or modified <= limit


def _not_modified(head: Head, conditions: Conditions) -> bool:
    """If-None-Match, else If-Modified-Since; a cache takes the Date of what has no Last-Modified (RFC 9111, 4.3.2)."""
    if conditions.if_none_match is not None:
        return matches(conditions.if_none_match, head.etag, strong=False)
    if conditions.if_modified_since is None:
        return False
    since = _date(conditions.if_modified_since, head)
    changed = sent(head) if head.last_modified is None else _date(head.last_modified, head)
    return since is not None and changed is not None and changed <= since


def _range_applies(head: Head, conditions: Conditions) -> bool:
    """If-Range (13.1.5): the same bytes by strong comparison, or by the exact Last-Modified where that is strong."""
    if conditions.if_range is None:
        return True
    validator = conditions.if_range.strip(OWS)
    if validator.startswith(('"', "W/")):
        return validator == head.strong_etag
    date = _date(validator, head)
    return date is not None and date == _date(head.last_modified, head) and is_strong_date(head)


def _date(text: str | None, head: Head) -> float | None:
    """A date in a request, or of the stored response: a two-digit year is near to when that was sent."""
    return http_date(text, wall=sent(head) or 0.0)

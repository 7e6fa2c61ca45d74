"""Conditional requests against one selected response (RFC 9110, section 13) and the part of it to send."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edge.cache.freshness import http_date
from edge.cache.model import Conditions, Head
from edge.cache.ranges import Part, Unsatisfiable, select

_ENTITY_TAG = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\U0010ffff]*")')


@dataclass(frozen=True, slots=True)
class Shape:
    """What is sent of a stored response. status: 200 (or the stored one), 206, 304, 412 or 416; part: only with 206."""

    status: int
    part: Part | None = None


def shape(head: Head, conditions: Conditions) -> Shape:
    """The answer to a GET or HEAD with these conditions, in the order of 13.2.2.

    Conditions apply to what would be a 200 otherwise (13.2.1); a body of unknown length is always sent whole.
    """
    if head.status != 200:
        return Shape(head.status)
    if not _preconditions_hold(head, conditions):
        return Shape(412)
    if _not_modified(head, conditions):
        return Shape(304)
    if conditions.byte_range is None or head.length is None or not _range_applies(head, conditions):
        return Shape(200)
    try:
        part = select(conditions.byte_range, head.length)
    except Unsatisfiable:
        return Shape(416)
    return Shape(200) if part is None else Shape(206, part)


def _preconditions_hold(head: Head, conditions: Conditions) -> bool:
    if conditions.if_match is not None:
        return _any_match(conditions.if_match, head.etag, strong=True)
    limit, modified = http_date(conditions.if_unmodified_since), http_date(head.last_modified)
    return limit is None or modified is None or modified <= limit


def _not_modified(head: Head, conditions: Conditions) -> bool:
    if conditions.if_none_match is not None:
        return _any_match(conditions.if_none_match, head.etag, strong=False)
    since, modified = http_date(conditions.if_modified_since), http_date(head.last_modified)
    return since is not None and modified is not None and modified <= since


def _range_applies(head: Head, conditions: Conditions) -> bool:
    """If-Range (13.1.5): the same bytes by strong comparison, or by the exact Last-Modified."""
    if conditions.if_range is None:
        return True
    validator = conditions.if_range.strip()
    if validator.startswith(('"', "W/")):
        return validator == head.strong_etag
    date = http_date(validator)
    return date is not None and date == http_date(head.last_modified) and _is_strong_date(head)


def _is_strong_date(head: Head) -> bool:
    """A Last-Modified identifies the bytes only when it is at least a second older than the response (8.8.2.2)."""
    date, modified = http_date(head.field("date")), http_date(head.last_modified)
    return date is not None and modified is not None and modified <= date - 1


def _any_match(field: str, etag: str | None, *, strong: bool) -> bool:
    if field.strip() == "*":
        return True
    if etag is None or (strong and etag.startswith("W/")):
        return False
    opaque = etag.removeprefix("W/")
    return any(tag == opaque and not (strong and weak) for weak, tag in _ENTITY_TAG.findall(field))

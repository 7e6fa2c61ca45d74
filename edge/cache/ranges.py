"""Single byte ranges (RFC 9110, section 14): the Range field and a length -> the part to send."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SPEC = re.compile(r"bytes=[ \t,]*([0-9]*)-([0-9]*)[ \t,]*", re.IGNORECASE)
_CONTENT_RANGE = re.compile(r"bytes[ \t]+([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})", re.IGNORECASE)
_BEYOND = 10**18  # what any longer number counts as: no body has that many bytes


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a body: offsets, both inclusive."""

    first: int
    last: int

    @property
    def length(self) -> int:
        """Bytes in it."""
        return self.last - self.first + 1

    def content_range(self, total: int | None) -> str:
        """The Content-Range field value for a body of `total` bytes; None where that is unknown."""
        return f"bytes {self.first}-{self.last}/{'*' if total is None else total}"


class Unsatisfiable(Exception):  # noqa: N818 - a verdict on a request, not a fault
    """The range is well formed and lies outside the body: 416."""


def select(field: str, total: int) -> Part | None:
    """The part of a body of `total` bytes that a Range field asks for.

    None: the field is to be ignored (another unit, several ranges, bad syntax, first > last), the whole body sent, as
    14.2 allows. Raises Unsatisfiable when it lies outside the body (14.1.2).
    """
    match = _SPEC.fullmatch(field.strip(" \t"))
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        return _suffix(_number(match[2]), total)
    first, last = _number(match[1]), _number(match[2]) if match[2] else _BEYOND
    if last < first:
        return None
    if first >= total:
        raise Unsatisfiable
    return Part(first, min(last, total - 1))


def _suffix(length: int, total: int) -> Part | None:
    if length == 0:
        raise Unsatisfiable
    # The end of an empty body can be had (14.1.2) but not be written down as a range.
    return Part(max(0, total - length), total - 1) if total else None


def _number(digits: str) -> int:
    significant = digits.lstrip("0")
    return int(significant or "0") if len(significant) <= 18 else _BEYOND


def parse_content_range(field: str | None) -> tuple[Part, int] | None:
    """(part, total) of a 206's Content-Range; None when it is absent, of unknown total, or nonsense (14.4)."""
    match = _CONTENT_RANGE.fullmatch((field or "").strip(" \t"))
    if match is None:
        return None
    first, last, total = (int(number) for number in match.groups())
    return (Part(first, last), total) if first <= last < total else None

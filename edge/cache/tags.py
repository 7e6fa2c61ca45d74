"""What a response can be purged by besides its URI: surrogate keys, and cache groups (RFC 9875)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from edge.cache.structured import strings
from origin.reader import Headers

MAX_TAGS: Final = 256
MAX_TAG_CHARS: Final = 1024
"""A response with more tags, or longer ones, is not stored: if some were left out, a purge by one of those would miss
it. RFC 9875 asks for at least 32 groups of 32 characters."""


def of(headers: Headers) -> tuple[str, ...]:
    """The tags in Surrogate-Key (words) and Cache-Groups (a list of strings), each once, in order.

    Raises ValueError when they are more, or longer, than are kept.
    """
    found = _found(headers)
    if not _fit(found):
        raise ValueError("more tags than are kept, or longer ones")
    return found


def fit(headers: Headers) -> bool:
    """Whether all tags can be kept, so that `of` gives them."""
    return _fit(_found(headers))


def _found(headers: Headers) -> tuple[str, ...]:
    keys = (key for name, value in headers if name == "surrogate-key" for key in value.split())
    groups = strings([value for name, value in headers if name == "cache-groups"])
    return tuple(dict.fromkeys((*keys, *groups)))


def _fit(found: Sequence[str]) -> bool:
    return len(found) <= MAX_TAGS and all(len(tag) <= MAX_TAG_CHARS for tag in found)

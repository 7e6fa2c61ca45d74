"""The raw request target -> the key of a published object. Whatever could mean two things to two readers is refused.

The target is decoded exactly once. A name that would change its meaning if somebody behind us decoded it again
(`%252e`, `%252f`) is refused, too, although it could name an object: no published name holds such a thing.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from edge.cache.model import CacheKey

MAX_PATH_BYTES = 1024
"""The longest object name of S3."""
MAX_TARGET_BYTES = 4096
PREFIXES = ("/media/", "/catalog/")

# What published names look like: nothing to decode, nothing to refuse. Everything else takes the careful way.
_PLAIN = re.compile(r"/(?:media|catalog)(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ORIGIN_FORM = re.compile(r"(?:https?://[^/?#]*)?(/[^?#]*)(?:[?#].*)?", re.DOTALL | re.IGNORECASE)
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\\]|%(?:2e|2f|5c|[01][0-9a-f]|7f)", re.IGNORECASE)


class BadTarget(ValueError):  # noqa: N818 - a verdict on a request, not a fault
    """The request target names no object; the message says why, for the client to read."""


def parse(raw: str) -> CacheKey:
    """The key for a request target in origin or absolute form; the query does not count. Raises BadTarget."""
    if len(raw) <= MAX_PATH_BYTES and _PLAIN.fullmatch(raw) is not None:
        return CacheKey(raw)
    if len(raw) > MAX_TARGET_BYTES:
        raise BadTarget(f"the request target is longer than {MAX_TARGET_BYTES} bytes")
    match = _ORIGIN_FORM.fullmatch(raw)
    if match is None:
        raise BadTarget("the request target is not a path")
    path = _decoded(match[1])
    if not path.startswith(PREFIXES):
        raise BadTarget(f"nothing is published outside {' and '.join(PREFIXES)}")
    if any(segment in ("", ".", "..") for segment in path.split("/")[1:]):
        raise BadTarget("the path holds an empty segment, `.` or `..`")
    return CacheKey(path)


def _decoded(encoded: str) -> str:
    if _BAD_ESCAPE.search(encoded):
        raise BadTarget("the path holds a `%` without two hexadecimal digits")
    if "%2f" in encoded.lower():
        raise BadTarget("the path holds an encoded slash")
    raw = unquote_to_bytes(encoded.encode("utf-8", "surrogateescape"))
    if len(raw) > MAX_PATH_BYTES:
        raise BadTarget(f"the path is longer than {MAX_PATH_BYTES} bytes")
    try:
        path = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise BadTarget("the path is not UTF-8") from None
    if _FORBIDDEN.search(path):
        raise BadTarget("the path holds a control character, a backslash, or something encoded twice")
    return path

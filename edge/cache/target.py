"""The raw request target -> what a response is stored under. Whatever could mean two things to two readers is refused.

There are two ways. `parse` is for published objects: they have plain names, so everything odd is refused and the query
does not count. `canonical` is for any HTTP origin: it may only change what RFC 3986 (6.2.2) calls equivalent, because
the origin is asked for exactly what the response is stored under, so that a key never names two resources.

What `canonical` does with characters that no URI may hold:
    control characters, spaces     refused: on the wire they would end the request line
    `\\` in the path                refused: to some readers it is a `/`, to others a letter
    `%` without two digits, path   refused: decoders differ
    the same two in the query      encoded: browsers send them, and every reader takes them literally
    bytes beyond ASCII, `"<>^`{|}` encoded: they have no other meaning
    `#`                            refused: a fragment is the client's own business and never sent by a sound one
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote_plus, unquote_to_bytes

from edge.cache.model import CacheKey

MAX_PATH_BYTES = 1024
"""The longest object name of S3."""
MAX_TARGET_BYTES = 8192
PREFIXES = ("/media/", "/catalog/")

# What published names look like: nothing to decode, nothing to refuse. Everything else takes the careful way.
_PLAIN = re.compile(r"/(?:media|catalog)(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HTTP_FORM = re.compile(r"(?:https?://[A-Za-z0-9._~!$&'()*+,;=:\[\]%-]+(?=[/?]|\Z))?([^?]*)(?:\?(.*))?", re.IGNORECASE)
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\\]|%(?:2e|2f|5c|[01][0-9a-f]|7f)", re.IGNORECASE)

# What is canonical as it stands: no escape, no segment that is empty or begins with a dot, at most one parameter.
_PCHARS = r"[A-Za-z0-9._~!$&'()*+,;=:@\[\]-]*+"
_SEGMENT = r"/[A-Za-z0-9_~!$&'()*+,;=:@\[\]-]" + _PCHARS
_CANONICAL = re.compile(rf"(?:(?:{_SEGMENT})++/?+|/)(\?[A-Za-z0-9._~!$'()*+,;=:@/?\[\]-]*+)?")
_NEVER = re.compile(r"[\x00-\x20\x7f#]")
_NOT_IN_PATHS = re.compile(r"\\|%(?![0-9A-Fa-f]{2})")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_RESERVED = ":/?#[]@!$&'()*+,;="


class BadTarget(ValueError):  # noqa: N818 - a verdict on a request, not a fault
    """The request target names nothing; the message says why, for the client to read."""


def parse(raw: str) -> CacheKey:
    """The key of a published object, for a target in origin or absolute form; the query does not count.

    The target is decoded exactly once and encoded again in one way. A name that would change its meaning if somebody
    behind us decoded it again (`%252e`, `%252f`) is refused, although it could name an object: no published one does.
    Raises BadTarget.
    """
    if len(raw) <= MAX_PATH_BYTES and _PLAIN.fullmatch(raw) is not None:
        return CacheKey(raw)
    path, _ = _path_and_query(raw)
    decoded = _decoded(path)
    if not decoded.startswith(PREFIXES):
        raise BadTarget(f"nothing is published outside {' and '.join(PREFIXES)}")
    if any(segment in ("", ".", "..") for segment in decoded.split("/")[1:]):
        raise BadTarget("the path holds an empty segment, `.` or `..`")
    return CacheKey(quote(decoded))


def canonical(raw: str, *, query_keys: frozenset[str] | None = None) -> str:
    """The one spelling of a target in origin or absolute form: path, and query where there is one.

    The path is normalised by RFC 3986, 6.2.2 (escapes in upper case, unreserved characters decoded, dot segments
    removed), reserved characters and empty segments stay as they came. The query's parameters (split at `&` only) are
    normalised likewise and sorted by name; those of one name keep their order. query_keys: names of the parameters to
    keep; None keeps all. Canonical targets stay as they are. Raises BadTarget.
    """
    if len(raw) <= MAX_TARGET_BYTES:
        plain = _CANONICAL.fullmatch(raw)
        if plain is not None and (query_keys is None or plain[1] is None):
            return raw
    path, query = _path_and_query(raw)
    return _bounded(_without_dots(_normal_path(path)) + ("" if query is None else _normal_query(query, query_keys)))


def as_asked(raw: str) -> str:
    """The same with all of the query and in its order: what an origin is asked for where nothing is looked up.

    Raises BadTarget.
    """
    path, query = _path_and_query(raw)
    return _bounded(_without_dots(_normal_path(path)) + ("" if query is None else f"?{_normal_escapes(query)}"))


def _bounded(found: str) -> str:
    if len(found) > MAX_TARGET_BYTES:
        raise BadTarget(f"the request target is longer than {MAX_TARGET_BYTES} bytes when all of it is encoded")
    return found


def _path_and_query(raw: str) -> tuple[str, str | None]:
    if len(raw) > MAX_TARGET_BYTES:
        raise BadTarget(f"the request target is longer than {MAX_TARGET_BYTES} bytes")
    if _NEVER.search(raw) is not None:
        raise BadTarget("the request target holds a control character, a space or a fragment")
    match = _HTTP_FORM.fullmatch(raw)
    if match is None or not (match[1].startswith("/") or (match[1] == "" and match.start(1) > 0)):
        raise BadTarget("the request target is neither a path nor an http(s) URL")
    return match[1] or "/", match[2]


def _decoded(encoded: str) -> str:
    """The name that a published path spells, as S3 knows it."""
    if _BAD_ESCAPE.search(encoded):
        raise BadTarget("the path holds a `%` without two hexadecimal digits")
    if "%2f" in encoded.lower():
        raise BadTarget("the path holds an encoded slash")
    raw = unquote_to_bytes(_wire_bytes(encoded))
    if len(raw) > MAX_PATH_BYTES:
        raise BadTarget(f"the path is longer than {MAX_PATH_BYTES} bytes")
    try:
        path = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise BadTarget("the path is not UTF-8") from None
    if _FORBIDDEN.search(path):
        raise BadTarget("the path holds a control character, a backslash, or something encoded twice")
    return path


def _normal_path(path: str) -> str:
    if _NOT_IN_PATHS.search(path) is not None:
        raise BadTarget("the path holds a backslash or a `%` without two hexadecimal digits")
    return _normal(path)


def _normal_query(query: str, keys: frozenset[str] | None) -> str:
    """`?…` with the parameters kept, or nothing when there were some and none is kept."""
    pairs = _normal_escapes(query).split("&")  # no escape turns into `&`
    if keys is not None:
        # A form decoder takes `%5B` for `[`, so the names are compared decoded.
        pairs = [pair for pair in pairs if unquote_plus(_name(pair), errors="surrogateescape") in keys]
        if not pairs:
            return ""
    return "?" + "&".join(sorted(pairs, key=_name))


def _normal_escapes(query: str) -> str:
    return _normal(_BAD_ESCAPE.sub("%25", query))


def _name(pair: str) -> str:
    return pair.partition("=")[0]


def _normal(part: str) -> str:
    """RFC 3986, 6.2.2.1 and 6.2.2.2; what no URI may hold is encoded."""
    return quote(_ESCAPE.sub(_escape, part), safe=_RESERVED + "%~", encoding="utf-8", errors="surrogateescape")


def _escape(match: re.Match[str]) -> str:
    octet = int(match[0][1:], 16)
    return chr(octet) if octet in _UNRESERVED else match[0].upper()


def _without_dots(path: str) -> str:
    """RFC 3986, 5.2.4, for a path that begins with a slash."""
    if "/." not in path:
        return path
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)


def _wire_bytes(text: str) -> bytes:
    """The bytes as the client sent them: what is not UTF-8 stands in `text` as surrogate escapes."""
    return text.encode("utf-8", "surrogateescape")

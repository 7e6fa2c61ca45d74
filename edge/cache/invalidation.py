"""What a successful unsafe request makes stale (RFC 9111, 4.4; RFC 9875, 3)."""

from __future__ import annotations

from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit

from edge.cache.structured import strings
from origin.reader import Headers

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PRI", "PROPFIND", "QUERY", "REPORT", "SEARCH"})
"""The registered methods that change nothing (RFC 9110, 9.2.1). One that we do not know may change something."""

_DEFAULT_PORTS = {"http": 80, "https": 443}


def applies(method: str, status: int) -> bool:
    """Whether the response to this request makes stored ones invalid: an unsafe method, and no error."""
    return method not in SAFE_METHODS and 200 <= status < 400


def uris(method: str, uri: str, status: int, headers: Headers, base: str) -> tuple[str, ...]:
    """The URIs (path and query) to be dropped: the target, and what Location and Content-Location name beside it.

    uri: the target, in the cache's form. base: the target's origin as the client knows it, `https://edge.example:8080`.
    What another origin holds is none of this response's business. References come out as they were written, resolved
    and without fragment; whoever looks them up puts them into the cache's form.
    """
    if not applies(method, status):
        return ()
    named = (value for name, value in headers if name in ("location", "content-location"))
    resolved = (_within(base, uri, reference.strip()) for reference in named)
    return tuple(dict.fromkeys((uri, *filter(None, resolved))))


def groups(headers: Headers) -> tuple[str, ...]:
    """The groups to be dropped, once `applies` has said so: on a safe method's response the field means nothing."""
    return strings([value for name, value in headers if name == "cache-group-invalidation"])


def _within(base: str, uri: str, reference: str) -> str | None:
    """The path and query that a reference leads to; None when it leads to another origin, or nowhere."""
    try:
        home, target = urlsplit(base), urlsplit(urljoin(base + uri, reference))
        if _origin(home) != _origin(target):
            return None
    except ValueError:
        return None
    return f"{target.path or '/'}?{target.query}" if target.query else target.path or "/"


def _origin(url: SplitResult) -> tuple[str, str, int | None]:
    """Scheme, host and port (RFC 9110, 4.3.1). Raises ValueError for a port that is none."""
    return url.scheme.lower(), (url.hostname or "").lower(), url.port or _DEFAULT_PORTS.get(url.scheme.lower())

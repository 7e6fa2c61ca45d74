"""Whether a shared cache may store a response (RFC 9111, section 3), as a table of what forbids it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from edge.cache.directives import Directives
from edge.cache.vary import ANYTHING

NO_LIFETIME: Final = "it has no lifetime"
HEURISTIC_STATUSES: Final = frozenset({200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 451, 501})
"""Those that may be stored without a lifetime of their own (RFC 9110, 15.1; RFC 7725, 3)."""
ABOUT_THE_REQUEST: Final = frozenset(
    {400, 401, 403, 406, 407, 408, 411, 413, 414, 415, 417, 421, 425, 426, 428, 429, 431}
)
"""They say what is wrong with a request, or with whoever asks, and nothing of what others were given."""

# Each answers a field of its own request (a range, a condition, an expectation), not everybody's.
_OF_ONE_REQUEST = frozenset({206, 304, 412, 416, 417})
# "MUST NOT be stored by a cache" (RFC 6585).
_NEVER_STORED = frozenset({428, 429, 431, 511})
# What `must-understand` asks for: the final statuses of RFC 9110, whose caching needs nothing that is not done here.
_UNDERSTOOD = frozenset(
    {200, 201, 202, 203, 204, 205, 206, 300, 301, 302, 303, 305, 307, 308}
    | {400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 413, 414, 415, 421, 422, 426, 451}
    | {500, 501, 502, 503, 504, 505}
)


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """What of a request decides whether the response to it may be stored.

    authorized: it held an Authorization field. no_store: it asked that nothing of it be stored. partial: it asked for
    a block of a large object, which the caller puts together (3.3), so that a 206 is what it wants.
    """

    method: str = "GET"
    authorized: bool = False
    no_store: bool = False
    partial: bool = False


@dataclass(frozen=True, slots=True)
class Received:
    """What of a response decides it. lifetime_s: that it brings itself, None for none; cookies: it sets some; tags_fit:
    all of its tags can be kept."""

    status: int
    said: Directives
    lifetime_s: float | None
    cookies: bool
    vary: tuple[str, ...]
    tags_fit: bool


def refusal(got: Received, request: RequestFacts) -> str:
    """Why the response may not be stored, in a few words; '' when it may."""
    return next((reason for reason, forbids in _FORBIDDING if forbids(got, request)), "")


def _understood(got: Received) -> bool:
    """Whether must-understand lifts no-store: it is there, and we do (5.2.2.3)."""
    return got.said.must_understand and got.status in _UNDERSTOOD


def _allows_shared(said: Directives) -> bool:
    """Whether a response to a request with credentials may serve others (3.5)."""
    return said.public or said.must_revalidate or said.s_maxage_s is not None


_FORBIDDING: Final[tuple[tuple[str, Callable[[Received, RequestFacts], bool]], ...]] = (
    ("only responses to GET are stored", lambda _, request: request.method != "GET"),
    ("the client forbids storing it", lambda _, request: request.no_store),
    ("not a final status", lambda got, _: not 200 <= got.status < 600),
    (
        "its status answers this request alone",
        lambda got, request: got.status in _OF_ONE_REQUEST and not (got.status == 206 and request.partial),
    ),
    ("its status is never stored", lambda got, _: got.status in _NEVER_STORED),
    ("must-understand", lambda got, _: got.said.must_understand and not _understood(got)),
    ("no-store", lambda got, _: got.said.no_store and not _understood(got)),
    ("private", lambda got, _: got.said.private),
    ("the request was authorized", lambda got, request: request.authorized and not _allows_shared(got.said)),
    ("Vary: *", lambda got, _: got.vary == ANYTHING),
    ("more tags than are kept", lambda got, _: not got.tags_fit),
    # Not the RFC's rule but every operator's: a cookie handed to all is an accident unless somebody gave a lifetime.
    # One of 0, or no-cache, gives none: the 304 by which the next client gets it says nothing of cookies.
    ("it sets a cookie and has no lifetime", lambda got, _: got.cookies and (not got.lifetime_s or got.said.no_cache)),
    (
        NO_LIFETIME,
        lambda got, _: not (got.lifetime_s is not None or got.said.public or got.status in HEURISTIC_STATUSES),
    ),
)

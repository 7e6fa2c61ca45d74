"""Cache-Control field lines -> directives (RFC 9111, section 5.2), lenient where the RFC says so.

Names are case-insensitive, arguments may be tokens or quoted strings, unknown directives are ignored. Of a directive
that is repeated the first counts (4.2.1 leaves the choice between that and "stale"). An argument that should be a
number and is none counts as the most restrictive one: the response is stale (4.2.1), the request allows nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from edge.cache.fields import members, unquoted

MAX_DELTA_S = 2**31
"""Any larger delta-seconds counts as this many (RFC 9111, 1.2.2)."""

Arguments = Mapping[str, str | None]
"""Directives by lower-case name, with their arguments, unquoted; None where there is none."""

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_REMEMBERED_CHARS = 256  # a longer field is read anew each time, so that what is remembered stays small
_DIGITS = re.compile(r"[0-9]+")


@dataclass(frozen=True, slots=True)
class Directives:
    """What a response's Cache-Control says; deltas in seconds, None when absent.

    private, no_cache: with or without field names. With names they restrict only these fields; a cache may treat that
    as the bare directive (5.2.2.4, 5.2.2.7), which is what is done here: whoever is first and whoever follows get the
    same fields, from one stored response.
    """

    max_age_s: int | None = None
    s_maxage_s: int | None = None
    stale_while_revalidate_s: int | None = None
    stale_if_error_s: int | None = None
    no_store: bool = False
    no_cache: bool = False
    private: bool = False
    public: bool = False
    must_revalidate: bool = False
    proxy_revalidate: bool = False
    must_understand: bool = False
    immutable: bool = False


@dataclass(frozen=True, slots=True)
class RequestDirectives:
    """What a request asks of caches (5.2.1); seconds, None when absent.

    max_stale_s: infinite for `max-stale` alone. stale_if_error_s: RFC 5861, section 4, lets the client ask for it, too.
    """

    max_age_s: float | None = None
    min_fresh_s: float | None = None
    max_stale_s: float | None = None
    stale_if_error_s: float | None = None
    no_cache: bool = False
    no_store: bool = False
    only_if_cached: bool = False


NO_DIRECTIVES = RequestDirectives()
"""Of a request that asks for nothing; `parse_request` gives this very object, to be known by identity."""
_VALIDATE = RequestDirectives(no_cache=True)


def parse(lines: Iterable[str]) -> Directives:
    """All Cache-Control field lines of one response, in order, as one value."""
    text = ",".join(lines)
    return _response(text) if len(text) <= _REMEMBERED_CHARS else said_by(arguments_in(text))


def parse_request(lines: Iterable[str], pragma: Iterable[str] = ()) -> RequestDirectives:
    """All Cache-Control field lines of one request; its Pragma lines count when there are none (5.4)."""
    text = ",".join(lines)
    if not text:
        return _VALIDATE if "no-cache" in arguments_in(",".join(pragma)) else NO_DIRECTIVES
    return _request(text) if len(text) <= _REMEMBERED_CHARS else _asked_by(arguments_in(text))


def said_by(arguments: Arguments) -> Directives:
    """What these directives say to a response, wherever they were written."""
    return Directives(
        max_age_s=_delta(arguments, "max-age"),
        s_maxage_s=_delta(arguments, "s-maxage"),
        stale_while_revalidate_s=_delta(arguments, "stale-while-revalidate"),
        stale_if_error_s=_delta(arguments, "stale-if-error"),
        no_store="no-store" in arguments,
        no_cache="no-cache" in arguments,
        private="private" in arguments,
        public="public" in arguments,
        must_revalidate="must-revalidate" in arguments,
        proxy_revalidate="proxy-revalidate" in arguments,
        must_understand="must-understand" in arguments,
        immutable="immutable" in arguments,
    )


def delta_seconds(text: str) -> int | None:
    """A non-negative decimal number of seconds, capped; None when it is none."""
    if _DIGITS.fullmatch(text) is None:
        return None
    # Fifteen digits are more than the cap and less than what int() refuses.
    return min(int(text.lstrip("0")[:15] or "0"), MAX_DELTA_S)


@lru_cache(maxsize=512)
def _response(text: str) -> Directives:
    return said_by(arguments_in(text))


@lru_cache(maxsize=512)
def _request(text: str) -> RequestDirectives:
    return _asked_by(arguments_in(text))


def _asked_by(arguments: Arguments) -> RequestDirectives:
    asked = RequestDirectives(
        max_age_s=_delta(arguments, "max-age"),
        min_fresh_s=_delta(arguments, "min-fresh", otherwise=MAX_DELTA_S),
        max_stale_s=_max_stale(arguments),
        stale_if_error_s=_delta(arguments, "stale-if-error"),
        no_cache="no-cache" in arguments,
        no_store="no-store" in arguments,
        only_if_cached="only-if-cached" in arguments,
    )
    return NO_DIRECTIVES if asked == NO_DIRECTIVES else asked


def arguments_in(text: str) -> dict[str, str | None]:
    """The directives of a field value, the first of each name. What is no directive is left out."""
    found: dict[str, str | None] = {}
    for member in members(text):
        match = _NAME.match(member)
        if match is not None:
            found.setdefault(match[0].lower(), _argument(member[match.end() :]))
    return found


def _argument(rest: str) -> str | None:
    """What follows a directive's name: nothing, `=` and an argument, or rubbish, which is no legal argument either."""
    if not rest:
        return None
    return unquoted(rest[1:]) if rest[0] == "=" else rest


def _delta(arguments: Arguments, name: str, otherwise: int = 0) -> int | None:
    """Seconds; `otherwise` when the argument is none or no number; None when the directive is absent."""
    if name not in arguments:
        return None
    seconds = delta_seconds(arguments[name] or "")
    return seconds if seconds is not None else otherwise


def _max_stale(arguments: Arguments) -> float | None:
    alone = "max-stale" in arguments and arguments["max-stale"] is None
    return float("inf") if alone else _delta(arguments, "max-stale")

"""Cache-Control field lines -> directives (RFC 9111, section 5.2), lenient where the RFC says so.

Names are case-insensitive, arguments may be tokens or quoted strings, unknown directives are ignored, a repeated
delta-seconds counts as the smallest, and an argument that is not a number makes the response stale (4.2.1).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

MAX_DELTA_S = 2**31
"""Any larger delta-seconds counts as this many (RFC 9111, 1.2.2)."""

# One directive: a token, then perhaps `=` and a token or a quoted string. Whatever stands between is skipped.
_DIRECTIVE = re.compile(
    r"""([!#$%&'*+\-.^_`|~0-9A-Za-z]+)            # name
        (?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^,;\s"]*)))?  # argument: quoted, or bare
        [^,]*                                       # rubbish up to the next comma""",
    re.VERBOSE,
)
_DIGITS = re.compile(r"[0-9]+")


@dataclass(frozen=True, slots=True)
class Directives:
    """What a response's Cache-Control says; deltas in seconds, None when absent.

    private, no_cache: present without field names. With field names they restrict only these fields; a shared cache may
    treat that as the bare directive (5.2.2.4, 5.2.2.7), which is what is done here.
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
    immutable: bool = False


def parse(lines: Iterable[str]) -> Directives:
    """All Cache-Control field lines of one response, in order, as one value."""
    seen: dict[str, list[str]] = {}
    for match in _DIRECTIVE.finditer(",".join(lines)):
        seen.setdefault(match[1].lower(), []).append(match[2] or match[3] or "")
    return Directives(
        max_age_s=_delta(seen, "max-age"),
        s_maxage_s=_delta(seen, "s-maxage"),
        stale_while_revalidate_s=_delta(seen, "stale-while-revalidate"),
        stale_if_error_s=_delta(seen, "stale-if-error"),
        no_store="no-store" in seen,
        no_cache="no-cache" in seen,
        private="private" in seen,
        public="public" in seen,
        must_revalidate="must-revalidate" in seen,
        proxy_revalidate="proxy-revalidate" in seen,
        immutable="immutable" in seen,
    )


def delta_seconds(text: str) -> int | None:
    """A non-negative decimal number of seconds, capped; None when it is none."""
    if _DIGITS.fullmatch(text) is None:
        return None
    # Fifteen digits are more than the cap and less than what int() refuses.
    return min(int(text.lstrip("0")[:15] or "0"), MAX_DELTA_S)


def _delta(seen: dict[str, list[str]], name: str) -> int | None:
    return min((delta_seconds(argument) or 0 for argument in seen[name]), default=0) if name in seen else None

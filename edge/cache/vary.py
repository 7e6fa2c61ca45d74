"""Which stored response a request selects (RFC 9111, 4.1): the field names of Vary, and their values' common form.

Two requests select the same response when every named field has the same form in both. The form joins a field's lines
and, of fields whose syntax we know, undoes what that syntax says means nothing: space, case, and order. A field that is
absent and a field that is empty differ.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b
from typing import Final

from edge.cache.fields import OWS, members
from origin.reader import Headers

ANYTHING: Final = ("*",)
"""The names of a response that no other request selects."""

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-z]+")
_WEIGHT = re.compile(r"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")
_FULL_WEIGHT = 1000  # thousandths: a weight has at most three decimals (RFC 9110, 12.4.2)
_SAME_CODING = {"x-gzip": "gzip", "x-compress": "compress"}  # RFC 9110, 8.4.1
_DIGEST_BYTES = 16


def names(headers: Headers) -> tuple[str, ...]:
    """The request fields that a response's Vary names, in lower case, sorted; ANYTHING for `*`, or what is no name."""
    said = [value for name, value in headers if name == "vary"]
    if not said:
        return ()
    found = {name.strip(OWS).lower() for value in said for name in value.split(",")} - {""}
    if "*" in found or not all(map(_TOKEN.fullmatch, found)):
        return ANYTHING
    return tuple(sorted(found))


def part(selecting: Iterable[str], request_headers: Headers) -> str:
    """The key's part for a request (field names in lower case) under these selecting names: `v:` and a digest."""
    digest = blake2b(digest_size=_DIGEST_BYTES)
    for name in selecting:
        value = form(name, request_headers)
        # The length stands before the text, so that no two lists of fields are written alike.
        written = f"{name} -;" if value is None else f"{name} {len(value)} {value};"
        digest.update(written.encode("utf-8", "surrogatepass"))
    return f"v:{digest.hexdigest()}"


def form(name: str, request_headers: Headers) -> str | None:
    """A request field in the form in which it is compared; None when the request has no such field."""
    lines = [value.strip(OWS) for known, value in request_headers if known == name]
    if not lines:
        return None
    normalise = _FORMS.get(name)
    return ", ".join(lines) if normalise is None else normalise(",".join(lines))


def _codings(text: str) -> str:
    """Accept-Encoding: case, space and order mean nothing, and a coding refused (q=0) is like one not named."""
    weights = dict(_weighted(member) for member in reversed(members(text.lower())))
    any_other = weights.get("*", 0) > 0
    kept = {
        _SAME_CODING.get(coding, coding): weight
        for coding, weight in weights.items()
        if weight or any_other or coding in ("identity", "*")
    }
    return ",".join(sorted(map(_written, kept.items())))


def _preferences(text: str) -> str:
    """Accept-Language, Accept-Charset: case and space mean nothing; order does only between equal weights."""
    ranked = [_weighted(member) for member in members(text.lower())]
    return ",".join(map(_written, sorted(ranked, key=_by_weight)))


def _media_ranges(text: str) -> str:
    """Accept: as above, but a parameter's value has case, and a quoted one is better left alone."""
    if '"' in text:
        return ",".join(members(text))
    ranked = [_weighted(_media_range(member)) for member in members(text)]
    return ",".join(map(_written, sorted(ranked, key=_by_weight)))


def _media_range(member: str) -> str:
    kind, *parameters = member.split(";")
    pairs = (parameter.strip(OWS).partition("=") for parameter in parameters)
    return ";".join((kind.strip(OWS).lower(), *(f"{name.lower()}{equals}{value}" for name, equals, value in pairs)))


def _weighted(member: str) -> tuple[str, int]:
    """A member without its weight, and the weight in thousandths; one without a (legal) weight has the full one."""
    what, semicolon, last = member.rpartition(";")
    match = _WEIGHT.fullmatch(last.strip(OWS)) if semicolon else None
    if match is None:
        return member, _FULL_WEIGHT
    return what.rstrip(OWS), round(float(match[1]) * _FULL_WEIGHT)


def _written(weighted: tuple[str, int]) -> str:
    """Set apart by two commas, which no member holds, so that a bad weight, left in its member, looks like no other."""
    what, weight = weighted
    return what if weight == _FULL_WEIGHT else f"{what},,{weight}"


def _by_weight(weighted: tuple[str, int]) -> int:
    return -weighted[1]


_FORMS: Final[Mapping[str, Callable[[str], str]]] = {
    "accept": _media_ranges,
    "accept-charset": _preferences,
    "accept-encoding": _codings,
    "accept-language": _preferences,
}

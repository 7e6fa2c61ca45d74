"""What a client asks to purge: JSON in, an `Order` out, or a sentence that says what is wrong and what is allowed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NoReturn

from edge.cache.purge import MAX_VALUE_CHARS, Scope
from edge.cache.purger import Order

MAX_VALUES: Final = 1000
"""Of one request."""

_MORE: Final = "x"
_ALLOWED: Final = "one of url, prefix, tag, all, urls, tags; and soft"
_ONE: Final = {"url": Scope.URL, "prefix": Scope.PREFIX, "tag": Scope.TAG}
_MANY: Final = {"urls": Scope.URL, "tags": Scope.TAG}

Canonical = Callable[[str], str]
"""A URL or a path -> the URI that responses are stored under. Raises ValueError with a sentence for the client."""


class BadOrder(ValueError):  # noqa: N818 - a verdict on a request, not a fault
    """The request names nothing that can be purged; the message says why, for the client to read."""


def parse(document: object, canonical: Canonical) -> Order:
    """The order in a JSON document. Raises BadOrder."""
    if not isinstance(document, dict):
        raise BadOrder(f"the body is to be a JSON object; allowed: {_ALLOWED}")
    unknown = sorted(document.keys() - {*_ONE, *_MANY, "all", "soft"})
    if unknown:
        raise BadOrder(f"{unknown[0][:64]!r} is no member of a purge; allowed: {_ALLOWED}")
    soft = _soft(document)
    scopes = sorted(document.keys() - {"soft"})
    if len(scopes) != 1:
        raise BadOrder(f"{' and '.join(scopes) or 'nothing'} is named; allowed: {_ALLOWED}")
    scope, values = _named(scopes[0], document, canonical)
    return Order(scope, values, soft)


def of_url(raw: str, document: object, canonical: Canonical, *, soft: bool) -> Order:
    """The order to purge one URL. document: what else is said, `{"soft": true}` at most. Raises BadOrder."""
    if not isinstance(document, dict) or document.keys() - {"soft"}:
        raise BadOrder('the URL is named already; allowed: no body, or {"soft": true}')
    return Order(Scope.URL, (_value("url", Scope.URL, raw, canonical),), soft or _soft(document))


def _soft(document: Mapping[str, object]) -> bool:
    soft = document.get("soft", False)
    if not isinstance(soft, bool):
        raise BadOrder("soft: allowed: true or false")
    return soft


def _named(name: str, document: Mapping[str, object], canonical: Canonical) -> tuple[Scope, tuple[str, ...]]:
    given = document[name]
    if name == "all":
        if given is not True:
            raise BadOrder("all: allowed: true")
        return Scope.ALL, ("",)
    if name in _ONE:
        return _ONE[name], (_value(name, _ONE[name], given, canonical),)
    if not isinstance(given, list) or not 1 <= len(given) <= MAX_VALUES:
        raise BadOrder(f"{name}: allowed: a list of 1 to {MAX_VALUES} strings")
    scope = _MANY[name]
    return scope, tuple(dict.fromkeys(_value(name, scope, value, canonical) for value in given))


def _value(name: str, scope: Scope, value: object, canonical: Canonical) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_VALUE_CHARS or not _can_travel(value):
        _refuse(name, f"a string of 1 to {MAX_VALUE_CHARS} characters")
    if scope is Scope.TAG:
        if not value.isprintable():
            _refuse(name, "printable characters")
        return value
    try:
        return _prefix(name, value, canonical) if scope is Scope.PREFIX else canonical(value)
    except BadOrder:
        raise
    except ValueError as error:
        _refuse(name, f"a path, or an http(s) URL ({error})")


def _prefix(name: str, value: str, canonical: Canonical) -> str:
    """The one spelling of what URIs begin with: of a URI that goes on after it, that part."""
    whole = canonical(value + _MORE)
    if not whole.endswith(_MORE):  # a query that is sorted otherwise, or parts of it that do not count
        _refuse(name, "the beginning of a path, or of a path and its canonical query")
    return whole.removesuffix(_MORE)


def _refuse(name: str, allowed: str) -> NoReturn:
    raise BadOrder(f"{name}: allowed: {allowed}")


def _can_travel(value: str) -> bool:
    """Whether it is text; lone surrogates are none."""
    return not any("\ud800" <= char <= "\udfff" for char in value)

"""One request, as the cache sees it."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable
from dataclasses import dataclass, field

from edge.cache.directives import NO_DIRECTIVES, RequestDirectives
from edge.cache.model import UNCONDITIONAL, Conditions
from origin.reader import Headers, Interim


def _no_fields() -> Headers:
    return ()


@dataclass(slots=True)
class Ask:
    """uri: the canonical target, what the cache knows the resource under.

    fields: makes the client's end-to-end fields, as the origin shall see them; only called when they matter, since a
    plain hit never looks at them. authorized: they hold credentials. target: what the origin is asked for, the URI by
    default. body, body_length: of the request. on_interim: takes interim responses for the client.
    """

    uri: str
    method: str = "GET"
    conditions: Conditions = UNCONDITIONAL
    directives: RequestDirectives = NO_DIRECTIVES
    fields: Callable[[], Headers] = _no_fields
    authorized: bool = False
    target: str | None = None
    base: str = ""
    body: AsyncIterable[bytes] | None = None
    body_length: int | None = None
    on_interim: Interim | None = None
    _headers: Headers | None = field(default=None, repr=False)

    @property
    def head_only(self) -> bool:
        """Whether no body is wanted."""
        return self.method == "HEAD"

    def take_fields(self) -> None:
        """Make the client's fields now: what is wrong with them is to be raised to it, and not in a flight of many."""
        _ = self.headers

    @property
    def headers(self) -> Headers:
        """The client's end-to-end fields, names in lower case."""
        if self._headers is None:
            self._headers = self.fields()
        return self._headers

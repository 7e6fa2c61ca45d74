"""What of a request's fields goes on to the origin, and what is added on the way (RFC 9110, 7.6; RFC 7239).

The client's Host is not passed on: it is no part of what a response is stored under, so an origin must not answer by
it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from origin.http import end_to_end
from origin.reader import Headers

# Said anew for the next connection, or meant for this one only.
_NOT_PASSED_ON = frozenset(
    {"host", "content-length", "expect", "via", "x-forwarded-for", "forwarded", "http2-settings"}
)
# An origin that believed them would give answers that are not meant for everybody who gets them from the cache.
_NOT_BELIEVED = frozenset(
    {f"x-forwarded-{what}" for what in ("host", "proto", "protocol", "scheme", "port", "prefix", "server", "ssl")}
    | {"x-host", "x-original-host", "x-original-url", "x-rewrite-url", "x-url-scheme", "front-end-https"}
)
# They would make something else of a GET, whose answer is stored.
_OVERRIDES = frozenset({"x-http-method-override", "x-http-method", "x-method-override"})
# Of what a client says in Forwarded, who it came from: what else may be in it (host, proto) is believed by some.
_FOR = re.compile(r"""(?:^|[,;])[ \t]*for=("?)([A-Za-z0-9._:\[\]-]+)\1(?=[ \t]*(?:[,;]|$))""", re.IGNORECASE)
_MAX_HOPS = 16


@dataclass(frozen=True, slots=True)
class Hop:
    """This connection: who is on the other side of it (an address, '' for unknown), how, and our own name."""

    method: str
    peer: str
    scheme: str
    version: str
    node: str


class LoopError(Exception):
    """The request has been here before, or has come through too many proxies."""


def forwarded(raw: Iterable[tuple[bytes, bytes]], hop: Hop) -> Headers:
    """The end-to-end fields for the origin, Via, X-Forwarded-For and Forwarded among them. Raises LoopError."""
    lines = end_to_end(tuple(raw), exact=True)
    via = [member for name, value in lines if name == "via" for member in _members(value)]
    if len(via) >= _MAX_HOPS or any(_received_by(member) == hop.node for member in via):
        raise LoopError
    passed = tuple(line for line in lines if _goes_on(line[0], hop.method))
    return (
        *(map(_one_hop_less, passed) if hop.method == "OPTIONS" else passed),
        ("via", ", ".join((*via, f"{hop.version} {hop.node}"))),
        *_client(lines, hop),
    )


def _goes_on(name: str, method: str) -> bool:
    name = name.replace("_", "-")  # as gateways to applications read it
    if name in _NOT_PASSED_ON or name in _NOT_BELIEVED:
        return False
    return name not in _OVERRIDES or method not in ("GET", "HEAD")


def _client(lines: Headers, hop: Hop) -> Headers:
    if not hop.peer:
        return ()
    before = [value for name, value in lines if name == "x-forwarded-for"]
    said = [
        f"for={quote}{who}{quote}" for name, value in lines if name == "forwarded" for quote, who in _FOR.findall(value)
    ]
    node = f'"[{hop.peer}]"' if ":" in hop.peer else hop.peer
    return (
        ("x-forwarded-for", ", ".join((*before, hop.peer))),
        ("forwarded", ", ".join((*said, f"for={node};proto={hop.scheme}"))),
    )


def _one_hop_less(line: tuple[str, str]) -> tuple[str, str]:
    """Max-Forwards as the next one shall see it (RFC 9110, 7.6.2)."""
    name, value = line
    if name != "max-forwards" or not (value.isascii() and value.isdigit()):
        return line
    return name, str(max(0, int(value[:9]) - 1))


def _members(value: str) -> list[str]:
    return [member.strip() for member in value.split(",") if member.strip()]


def _received_by(member: str) -> str:
    """The name in `[protocol/]version received-by [comment]`."""
    words = re.split(r"[ \t]+", member)
    return words[1] if len(words) > 1 else ""

"""Cases in which the edge knowingly does something else: case id -> why. Each is tested to deviate really."""

from __future__ import annotations

_METHODS = "llhttp, the parser in front, knows the registered methods and refuses others with 400: no second parser"
_OCTETS = "aiohttp writes field values as UTF-8, so octets that are not UTF-8 reach the client re-encoded"

DEVIATIONS: dict[str, str] = {
    "client-1.0-version": "aiohttp answers a request in HTTP/1.0 as HTTP/1.0 (a SHOULD of RFC 9112, 2.3)",
    "groups-unknown-method": _METHODS,
    "invalidate-unheardof": _METHODS,
    "method-unheardof": _METHODS,
    "method-x-lower": _METHODS,
    "reuse-not-for-unheardof": _METHODS,
    "store-not-unheardof": _METHODS,
    "hop-odd-values": _OCTETS,
    "store-keeps-x-latin": _OCTETS,
    "validate-latin-tag": _OCTETS,
}

"""Cases in which the edge knowingly does something else: case id -> why. Each is tested to deviate really."""

from __future__ import annotations

_OCTETS = "aiohttp writes field values as UTF-8, so octets that are not UTF-8 reach the client re-encoded"

DEVIATIONS: dict[str, str] = {
    "hop-odd-values": _OCTETS,
    "store-keeps-x-latin": _OCTETS,
    "validate-latin-tag": _OCTETS,
}

"""Whose request it is, when proxies stand before us: addresses and what they say of each other in, one address out.

A proxy that is trusted tells whom it has its request from, as the last entry of X-Forwarded-For (or of Forwarded, RFC
7239). So entries are read from the last to the first for as long as the one who made them is trusted; the first that is
no trusted proxy is the client. What comes before it anybody can have written, and nobody reads it. An entry that is no
address ends the walk, too: then the client is known only as the proxy that has hidden it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# One network of this size is what one customer gets (RFC 6177), and its hosts change the rest of their addresses daily.
IPV6_PREFIX: Final = 64

_WITH_PORT = re.compile(r"\[([^\]]*)\](?::[0-9]{1,5})?|([0-9.]+)(?::[0-9]{1,5})?")
_PAIR = re.compile(r'[ \t]*(?:([A-Za-z]+)=(?:"((?:[^"\\]|\\.)*)"[ \t]*|([^",;]*)))?([;,]|$)')


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Networks in CIDR notation; a lone address is a network of one. Raises ValueError."""
    return tuple(ip_network(text) for text in texts)


def client_of(peer: str, trusted: Sequence[Network], forwarded_for: str, forwarded: str) -> Address | None:
    """The client's address; None where nobody knows it.

    peer: whoever is at the other end of the connection. forwarded_for, forwarded: the values of X-Forwarded-For and of
    Forwarded, several fields joined by commas; where both are there, the first counts.
    """
    client = address_of(peer)
    if client is None or not is_within(client, trusted):
        return client
    for entry in _entries(forwarded_for, forwarded):
        told = address_of(entry)
        if told is None:
            break
        client = told
        if not is_within(told, trusted):
            break
    return client


def address_of(text: str) -> Address | None:
    """The address in `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`; None for anything else."""
    match = _WITH_PORT.fullmatch(text)
    try:
        address = ip_address((match[1] or match[2]) if match is not None else text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or (ip_address(int(address)) if address.scope_id else address)
    return address


def is_within(address: Address, networks: Sequence[Network]) -> bool:
    """Whether it belongs to one of the networks."""
    return any(address in network for network in networks)


def name_of(address: Address | None) -> str:
    """What all requests of one client have in common: an IPv4 address, an IPv6 network; empty for unknown."""
    if isinstance(address, IPv6Address):
        return str(IPv6Network((int(address), IPV6_PREFIX), strict=False))
    return "" if address is None else str(address)


def _entries(forwarded_for: str, forwarded: str) -> Iterator[str]:
    """Addresses as they were told, the last one first."""
    if forwarded_for:
        return (entry.strip(" \t") for entry in reversed(forwarded_for.split(",")) if entry.strip(" \t"))
    return reversed(list(_fors(forwarded)))


def _fors(forwarded: str) -> Iterator[str]:
    """The `for` of each element of Forwarded; empty where it has none. Ends in an empty one where it is malformed."""
    told: str | None = None
    position = 0
    while position < len(forwarded):
        pair = _PAIR.match(forwarded, position)
        if pair is None:
            yield ""  # nothing of it can be relied on, least of all the end
            return
        if pair[1]:
            told = _value(pair) if pair[1].lower() == "for" else told or ""
        position = pair.end()
        if pair[4] != ";" and told is not None:
            yield told
            told = None
    if told is not None:
        yield told


def _value(pair: re.Match[str]) -> str:
    return re.sub(r"\\(.)", r"\1", pair[2]) if pair[2] is not None else pair[3].strip(" \t")

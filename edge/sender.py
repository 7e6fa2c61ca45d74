"""Who has sent a body of view events: its client, where that is, and whether it says that it is a bot.

All of it follows from the connection and a few fields, so it is worked out once for all requests that have the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from functools import lru_cache
from typing import Final, NamedTuple

from multidict import CIMultiDictProxy

from edge.client_address import Address, Network, address_of, client_of, is_within, name_of
from edge.counters.bots import is_declared
from edge.counters.event import Agent, Place
from edge.counters.place import UNKNOWN, recorded, told

_KNOWN_SENDERS: Final = 16_384
_KNOWN_CHARS: Final = 1024
"""Of what a sender says of itself. Longer is odd; a client that sends only such could fill the memory with them."""


class Found(Enum):
    """How the place of a viewer was found. The values are metric labels."""

    OWN = "own"
    FOUND = "found"
    UNKNOWN = "unknown"
    NONSENSE = "nonsense"


class Sender(NamedTuple):
    """client: what all requests of one client have in common, empty where nobody knows it. place: None for the node's
    own province."""

    client: str
    place: Place | None
    agent: Agent
    found: Found


Locate = Callable[[Address | None, str, str], Place | None]
"""The client's address, and what a trusted proxy says of its province and country -> its place; None for nonsense."""


def by_proxy(_client: Address | None, province: str, country: str) -> Place | None:
    """As the proxy says."""
    return told(province, country)


def by_record(records: Callable[[Address], object]) -> Locate:
    """As the record says that is found for the client's address."""

    def locate(client: Address | None, _province: str, _country: str) -> Place:
        return UNKNOWN if client is None else recorded(records(client))

    return locate


class Senders:
    """Tells one worker's senders apart.

    trusted: proxies that are believed. locate: None where all viewers are in the node's own province. province,
    country: the names of the fields in which trusted proxies tell them, empty for none.
    """

    def __init__(
        self, trusted: Sequence[Network] = (), locate: Locate | None = None, *, province: str = "", country: str = ""
    ) -> None:
        self._trusted = tuple(trusted)
        self._locate = locate
        self._fields = (province, country)
        self._judged = lru_cache(maxsize=_KNOWN_SENDERS)(self._judge)

    def of(self, headers: CIMultiDictProxy[str], peer: str) -> Sender:
        """The sender of a request with these fields, from the address at the other end of its connection."""
        told: tuple[str, ...] = (peer, headers.get("User-Agent", ""))
        if self._trusted:
            province, country = self._fields
            told += (
                _all(headers, "X-Forwarded-For"),
                _all(headers, "Forwarded"),
                headers.get(province, "") if province else "",
                headers.get(country, "") if country else "",
            )
        judge = self._judged if sum(map(len, told)) <= _KNOWN_CHARS else self._judge
        return judge(*told)

    def _judge(
        self,
        peer: str,
        user_agent: str,
        forwarded_for: str = "",
        forwarded: str = "",
        province: str = "",
        country: str = "",
    ) -> Sender:
        client = client_of(peer, self._trusted, forwarded_for, forwarded)
        agent = Agent.BOT if is_declared(user_agent) else Agent.HUMAN
        if self._locate is None:
            return Sender(name_of(client), None, agent, Found.OWN)
        proxy = address_of(peer)
        believed = proxy is not None and is_within(proxy, self._trusted)
        place = self._locate(client, province if believed else "", country if believed else "")
        found = Found.NONSENSE if place is None else Found.UNKNOWN if place == UNKNOWN else Found.FOUND
        return Sender(name_of(client), place or UNKNOWN, agent, found)


def _all(headers: CIMultiDictProxy[str], name: str) -> str:
    """All fields of that name, as one list."""
    return ",".join(headers.getall(name, ()))

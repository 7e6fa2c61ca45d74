"""Who has sent a body: remembered where that is short, worked out anew where it would fill the memory."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from edge.client_address import Network, networks
from edge.sender import Senders

PROXY = networks(["127.0.0.1"])


def sent(**fields: str) -> CIMultiDictProxy[str]:
    return CIMultiDictProxy(CIMultiDict({name.replace("_", "-"): value for name, value in fields.items()}))


@pytest.mark.parametrize("trusted", [(), PROXY], ids=["no proxy", "a proxy"])
def test_what_is_long_is_judged_like_what_is_short_and_not_remembered(trusted: tuple[Network, ...]) -> None:
    senders = Senders(trusted)
    short, long = sent(user_agent="Googlebot/2.1"), sent(user_agent="Googlebot/2.1 " + "x" * 8000)
    assert senders.of(short, "127.0.0.1") is senders.of(short, "127.0.0.1")
    assert senders.of(long, "127.0.0.1") is not senders.of(long, "127.0.0.1")
    assert senders.of(long, "127.0.0.1") == senders.of(short, "127.0.0.1")


def test_a_long_way_through_proxies_is_not_remembered() -> None:
    senders = Senders(PROXY)
    through = sent(x_forwarded_for=", ".join(["198.51.100.7", *["127.0.0.1"] * 700]))
    assert senders.of(through, "127.0.0.1").client == "198.51.100.7"
    assert senders.of(through, "127.0.0.1") is not senders.of(through, "127.0.0.1")

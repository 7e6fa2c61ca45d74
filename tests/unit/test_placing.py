"""Places by address: what the MMDB file says, unknown where it says nothing, and never a broken node."""

from __future__ import annotations

from contextlib import AsyncExitStack
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from config.settings import load
from edge.assembly.placing import Atlas, WrongFileError, check_atlas, senders
from edge.counters.event import Agent, Place
from edge.sender import Found, Sender
from tests.support.atlas import write_atlas

PROXY = "127.0.0.1"


async def seen(client: str, *, fields: dict[str, str] | None = None, **settings: object) -> Sender:
    """The sender of a request that a trusted proxy passes on."""
    async with AsyncExitStack() as stack:
        known = senders(load({"trusted_proxies": "127.0.0.0/8", **settings}), stack)
        headers = CIMultiDict({"X-Forwarded-For": client, **(fields or {})})
        return known.of(CIMultiDictProxy(headers), PROXY)


@pytest.mark.parametrize(
    ("client", "place", "found"),
    [
        ("198.51.100.1", Place("44", "CN"), Found.FOUND),
        ("::ffff:198.51.100.1", Place("44", "CN"), Found.FOUND),
        ("2001:db8:44::1", Place("44", "CN"), Found.FOUND),
        ("198.51.100.200", Place("00", "CN"), Found.FOUND),
        ("203.0.113.9", Place("81", "CN"), Found.FOUND),
        ("192.0.2.1", Place("00", "SG"), Found.FOUND),
        ("8.8.8.8", Place("00", "ZZ"), Found.UNKNOWN),
        ("2001:db8:45::1", Place("00", "ZZ"), Found.UNKNOWN),
        ("unknown", Place("00", "ZZ"), Found.UNKNOWN),  # then it is the proxy's address that is looked up
    ],
)
async def test_a_viewer_is_where_the_file_says(tmp_path: Path, client: str, place: Place, found: Found) -> None:
    sender = await seen(client, viewer_place="mmdb", viewer_mmdb=write_atlas(tmp_path / "atlas.mmdb"))
    assert (sender.place, sender.found, sender.agent) == (place, found, Agent.HUMAN)


async def test_viewers_of_one_ipv6_network_are_one_client() -> None:
    assert (await seen("2001:db8:44:7::1")).client == (await seen("2001:db8:44:7:ffff::2")).client
    assert (await seen("2001:db8:44:7::1")).client != (await seen("2001:db8:44:8::1")).client
    assert (await seen("198.51.100.1")).client == "198.51.100.1"


async def test_a_node_of_one_province_looks_nowhere() -> None:
    assert await seen("198.51.100.1") == Sender("198.51.100.1", None, Agent.HUMAN, Found.OWN)


async def test_a_bot_is_one_wherever_it_is() -> None:
    assert (await seen("198.51.100.1", fields={"User-Agent": "Baiduspider/2.0"})).agent is Agent.BOT


async def test_fields_are_read_by_their_configured_names() -> None:
    settings: dict[str, Any] = {
        "viewer_place": "header",
        "viewer_province_header": "X-Region",
        "viewer_country_header": "CF-IPCountry",
    }
    sender = await seen("192.0.2.1", fields={"x-region": "CN-GD", "cf-ipcountry": "CN"}, **settings)
    assert (sender.place, sender.found) == (Place("44", "CN"), Found.FOUND)
    assert (await seen("192.0.2.1", fields={"x-region": "Mars"}, **settings)).found is Found.NONSENSE
    assert (await seen("192.0.2.1", **settings)).found is Found.UNKNOWN


@pytest.mark.parametrize("content", [b"", b"x" * 1000])
async def test_a_file_that_is_none_is_refused_at_the_start_and_later_leaves_viewers_unknown(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "atlas.mmdb"
    path.write_bytes(content)
    with pytest.raises(WrongFileError, match=r"atlas\.mmdb"):
        check_atlas(load({"viewer_place": "mmdb", "viewer_mmdb": path}))
    sender = await seen("198.51.100.1", viewer_place="mmdb", viewer_mmdb=path)
    assert (sender.place, sender.found) == (Place("00", "ZZ"), Found.UNKNOWN)


def test_a_file_that_is_replaced_stays_readable_for_whoever_has_it_open(tmp_path: Path) -> None:
    path = write_atlas(tmp_path / "atlas.mmdb")
    held = Atlas(path)
    write_atlas(path, {"198.51.100.0/25": ("CN", "BJ")})
    fresh = Atlas(path)
    address = ip_address("198.51.100.1")
    assert str(held.record(address)).count("GD") == 1
    assert str(fresh.record(address)).count("BJ") == 1
    held.close()
    fresh.close()

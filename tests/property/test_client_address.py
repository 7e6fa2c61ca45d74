"""Whoever stands between: the client is the last address that no trusted proxy has, and nobody can pose as another."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.client_address import address_of, client_of, is_within, name_of, networks

TRUSTED = networks(["10.0.0.0/8", "fd00::/8", "192.0.2.7"])
proxies = st.ip_addresses(v=4, network="10.0.0.0/8") | st.ip_addresses(v=6, network="fd00::/8")
outsiders = st.ip_addresses().filter(lambda address: not is_within(address, TRUSTED) and not mapped(str(address)))
ports = st.sampled_from(["", ":1", ":65535"])
chains = st.lists(proxies, max_size=4)


def mapped(text: str) -> bool:
    address = ip_address(text)
    return address.version == 6 and address.ipv4_mapped is not None


def node(address: object, port: str) -> str:
    """As a proxy may write it, with or without a port."""
    return f"[{address}]{port}" if ":" in str(address) else f"{address}{port}"


def elements(addresses: list[str]) -> str:
    return ", ".join(f'proto=https;for="{address}"' if ":" in address else f"for={address}" for address in addresses)


def found(peer: object, x_forwarded_for: str = "", forwarded: str = "") -> object:
    return client_of(str(peer), TRUSTED, x_forwarded_for, forwarded)


@given(outsiders, st.text(max_size=40), st.text(max_size=40))
def test_a_peer_that_is_no_proxy_is_the_client_whatever_it_says(peer: object, said: str, told: str) -> None:
    assert found(peer, said, told) == peer


@given(outsiders, chains, proxies, ports, st.text(max_size=30))
def test_the_last_address_that_is_no_proxy_is_the_client_whatever_it_had_written_before(
    client: object, chain: list[object], peer: object, port: str, forged: str
) -> None:
    said = [node(client, port), *map(str, chain)]
    assert found(peer, ", ".join([forged, *said])) == client
    assert found(peer, forwarded=elements(["203.0.113.9", *said])) == client


@given(chains, proxies)
def test_where_all_are_proxies_the_first_of_them_is_the_client(chain: list[object], peer: object) -> None:
    assert found(peer, ",".join(map(str, chain))) == [*chain, peer][0]


@given(outsiders, proxies, st.sampled_from(["unknown", "_hidden", "", "1.2.3", "10.0.0.1 10.0.0.2", '"x', "::::"]))
def test_a_client_that_a_proxy_hides_is_known_as_that_proxy(client: object, peer: object, hidden: str) -> None:
    assert found(peer, f"{client}, {hidden or '-'}") == peer
    assert found(peer, forwarded=f'for="{node(client, "")}", for={hidden}') == peer


@given(st.text() | st.text(alphabet='for="[]:;,\\ .1a'), st.text() | st.text(alphabet="[]:,.1af "))
def test_no_field_does_more_than_name_an_address(forwarded: str, x_forwarded_for: str) -> None:
    assert found("10.0.0.1", x_forwarded_for, forwarded) is not None


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ("for=198.51.100.1", "198.51.100.1"),
        ('For="[2001:db8::1]:4711"', "2001:db8::1"),
        ("for=192.0.2.43, for=198.51.100.17;by=203.0.113.60;proto=http", "198.51.100.17"),
        ("by=203.0.113.60", "10.0.0.1"),  # an element that does not say for whom
        ('for="198.51.100.1', "10.0.0.1"),
        (r'for="198.51\.100.1"', "198.51.100.1"),
        ('for="a, for=198.51.100.1"', "10.0.0.1"),  # a comma in quotes begins no element
        ("for=198.51.100.1,, ,", "198.51.100.1"),  # empty elements are none (RFC 9110, 5.6.1)
        ("for=198.51.100.1;", "198.51.100.1"),
        ("for = 198.51.100.1", "10.0.0.1"),
    ],
)
def test_the_standard_field_is_read_as_it_is_written(forwarded: str, client: str) -> None:
    assert found("10.0.0.1", forwarded=forwarded) == ip_address(client)


def test_x_forwarded_for_counts_where_both_are_there() -> None:
    assert found("10.0.0.1", "198.51.100.1", "for=198.51.100.2") == ip_address("198.51.100.1")


@given(st.ip_addresses(v=6), st.ip_addresses(v=6))
def test_clients_of_ipv6_are_told_apart_by_their_network_of_64_bits(one: object, other: object) -> None:
    a, b = int(ip_address(str(one))), int(ip_address(str(other)))
    assert (name_of(one) == name_of(other)) is (a >> 64 == b >> 64)  # type: ignore[arg-type]
    assert ip_address(str(one)) in ip_network(name_of(one))  # type: ignore[arg-type]


def test_an_ipv4_client_is_the_same_one_on_a_socket_for_both_versions() -> None:
    assert name_of(address_of("::ffff:198.51.100.1")) == name_of(address_of("198.51.100.1")) == "198.51.100.1"
    assert found("::ffff:10.0.0.1", "198.51.100.1") == ip_address("198.51.100.1")


def test_the_zone_of_a_link_is_no_part_of_an_address_and_a_client_nobody_knows_has_no_name() -> None:
    assert str(address_of("fe80::1%eth0")) == "fe80::1"
    assert client_of("", TRUSTED, "198.51.100.1", "") is None
    assert name_of(None) == ""

"""Whose address a connection counts against."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from taskferry.broker.access.proxies import PROXIES_COUNT_MAX, check_network, client_address, networks

from tests.each_case import each_case

TRUSTED = networks(["10.0.0.0/8", "fd00::/8", "192.0.2.1"])


@each_case(
    ("peer_host", "forwarded_for", "expected"),
    [
        ("203.0.113.9", None, "203.0.113.9"),
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),  # whoever says so is no proxy of ours
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("192.0.2.1", "198.51.100.1", "198.51.100.1"),
        ("192.0.2.2", "198.51.100.1", "192.0.2.2"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.1", "198.51.100.1"),  # the first was made up by the client
        ("10.0.0.1", "1.1.1.1,198.51.100.1,10.0.0.2 , fd00::3", "198.51.100.1"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "198.51.100.1:4711", "198.51.100.1"),
        ("10.0.0.1", "[2001:db8::7]:4711", "2001:db8::7"),
        ("10.0.0.1", "[2001:db8::7]", "2001:db8::7"),
        ("10.0.0.1", "2001:DB8:0::7", "2001:db8::7"),
        ("10.0.0.1", "198.51.100.1, unknown", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, unknown, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "198.51.100.1, ", "10.0.0.1"),
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "::ffff:198.51.100.1", "198.51.100.1"),
        ("fd00::1", "2001:db8::7", "2001:db8::7"),
        ("fe80::1%eth0", "198.51.100.1", "fe80::1%eth0"),
        ("", "198.51.100.1", ""),
    ],
)
def test_the_client_behind_proxies(peer_host: str, forwarded_for: str | None, expected: str) -> None:
    assert client_address(peer_host, forwarded_for, TRUSTED) == expected


def test_a_long_header_changes_nothing_about_its_end() -> None:
    forwarded_for = ", ".join(["1.1.1.1"] * 100 + ["198.51.100.1", "10.0.0.2"])
    assert client_address("10.0.0.1", forwarded_for, TRUSTED) == "198.51.100.1"


def test_a_proxy_may_be_listed_by_its_ipv4_address_written_as_ipv6() -> None:
    assert client_address("10.0.0.1", "198.51.100.1", networks(["::ffff:10.0.0.1"])) == "198.51.100.1"


def test_nothing_is_believed_without_trusted_proxies() -> None:
    assert client_address("10.0.0.1", "198.51.100.1", ()) == "10.0.0.1"


@pytest.mark.parametrize("extra_count", [0, 1])
def test_a_bounded_number_of_proxies_is_looked_through(extra_count: int) -> None:
    count = PROXIES_COUNT_MAX - 1 + extra_count
    forwarded_for = ", ".join(["198.51.100.1", *["10.0.0.2"] * count])
    assert client_address("10.0.0.1", forwarded_for, TRUSTED) == (
        "10.0.0.2" if extra_count else "198.51.100.1"
    )


ADDRESSES = st.ip_addresses().map(str)


@given(ADDRESSES, st.lists(ADDRESSES | st.text(max_size=12), max_size=5), ADDRESSES)
def test_what_a_client_makes_up_changes_nothing(client: str, made_up: list[str], peer_host: str) -> None:
    trusted = networks([peer_host])
    expected = client_address(client, None, ())
    if ip_address(expected) in trusted[0]:
        return
    assert client_address(peer_host, ",".join([*made_up, client]), trusted) == expected


@given(ADDRESSES, st.text(max_size=40))
def test_any_header_gives_an_address(peer_host: str, forwarded_for: str) -> None:
    ip_address(client_address(peer_host, forwarded_for, networks(["0.0.0.0/0", "::/0"])))


@pytest.mark.parametrize("text", ["10.0.0.7", "10.0.0.0/8", "fd00::/8", "::1"])
def test_a_network_that_can_be_listed(text: str) -> None:
    check_network(text)


@each_case("text", ["", "proxy", "10.0.0.7/8", "10.0.0.0/33", "10.0.0.7:80", "*"])
def test_a_network_that_cannot_be_listed(text: str) -> None:
    with pytest.raises(ValueError, match=r"^expected an address or a network, such as"):
        check_network(text)

"""The sockets of a port: all addresses of a name, and both kinds of address for `::`."""

import errno
import socket
from typing import Any

import pytest
from taskferry.transport.sockets import bound_sockets


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as tried:
            tried.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


def closed(listeners: list[socket.socket]) -> list[tuple[Any, ...]]:
    addresses = [listener.getsockname() for listener in listeners]
    for listener in listeners:
        listener.close()
    return addresses


@needs_ipv6
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_all_addresses_are_those_of_ipv4_too(address: str) -> None:
    (listener,) = bound_sockets("::", 0)
    with listener:
        listener.listen()
        with socket.create_connection((address, listener.getsockname()[1]), timeout=5):
            pass


@needs_ipv6
def test_one_address_of_ipv6_is_that_one_alone() -> None:
    (listener,) = bound_sockets("::1", 0)
    with listener:
        listener.listen()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", listener.getsockname()[1]), timeout=5)


def named(*addresses: tuple[int, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Give any name these addresses."""

    def found(_: str, port: int, **__: object) -> list[Any]:
        return [
            (family, socket.SOCK_STREAM, 0, "", (address, port) + (0, 0) * (family == socket.AF_INET6))
            for family, address in addresses
        ]

    monkeypatch.setattr(socket, "getaddrinfo", found)


def test_each_address_of_a_name_has_the_same_port_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "127.0.0.2")
    named(first, second, first, monkeypatch=monkeypatch)
    try:
        addresses = closed(bound_sockets("both", 0))
    except OSError:
        pytest.skip("this machine has one loopback address")
    assert [address[0] for address in addresses] == ["127.0.0.1", "127.0.0.2"]
    assert addresses[0][1] == addresses[1][1] != 0


def test_an_address_that_this_machine_has_not_got_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = (socket.AF_INET, "192.0.2.1")
    named(elsewhere, (socket.AF_INET, "127.0.0.1"), monkeypatch=monkeypatch)
    assert [address[0] for address in closed(bound_sockets("here", 0))] == ["127.0.0.1"]
    named(elsewhere, monkeypatch=monkeypatch)
    with pytest.raises(OSError, match=f"Errno {errno.EADDRNOTAVAIL}"):
        bound_sockets("elsewhere", 0)


def test_a_port_in_use_is_an_error_and_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    (taken,) = bound_sockets("127.0.0.1", 0)
    with taken:
        taken.listen()
        number = taken.getsockname()[1]
        named((socket.AF_INET, "127.0.0.2"), (socket.AF_INET, "127.0.0.1"), monkeypatch=monkeypatch)
        with pytest.raises(OSError, match="in use"):
            bound_sockets("both", number)

"""Who is behind a proxy: the client's address, as the proxies that are trusted report it.

Each proxy appends to `X-Forwarded-For` the address that connected to it. What stands left of the first address that is
not a trusted proxy's was written by that client, and may be made up.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

PROXIES_COUNT_MAX: Final = 16
"""Proxies in a row that are looked through. More are a loop, or made up."""

Networks = tuple[IPv4Network | IPv6Network, ...]


def networks(texts: Iterable[str]) -> Networks:
    """Addresses and networks (`10.0.0.7`, `10.0.0.0/8`, `fd00::/8`). Raises ValueError."""
    return tuple(ip_network(_address(text) or text) for text in texts)


def check_network(text: str) -> None:
    """Raise ValueError unless `text` is an address or a network."""
    try:
        ip_network(text)
    except ValueError:
        raise ValueError("expected an address or a network, such as 10.0.0.7 or 10.0.0.0/8") from None


def client_address(peer_host: str, forwarded_for: str | None, trusted: Networks) -> str:
    """The address of the client: that of the connection, unless it is a trusted proxy's. Then the last address in
    `forwarded_for` (the header X-Forwarded-For; repeated ones joined with ", ") that is not a trusted proxy's.

    An IPv4 address that is written as IPv6 (`::ffff:10.0.0.7`) becomes the IPv4 address. `peer_host` is returned as it
    is if it is no address. What is not an address in the header ends the search at the proxy that wrote it.
    """
    address = _address(peer_host)
    if address is None:
        return peer_host
    if forwarded_for is None:
        return str(address)
    hops = forwarded_for.rsplit(",", PROXIES_COUNT_MAX)[-PROXIES_COUNT_MAX:]
    while hops and _is_in(address, trusted):
        before = _address(_without_port(hops.pop().strip()))
        if before is None:
            break
        address = before
    return str(address)


def _is_in(address: IPv4Address | IPv6Address, trusted: Networks) -> bool:
    return any(address in network for network in trusted)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


def _without_port(text: str) -> str:
    """Some proxies write `10.0.0.7:1234` or `[fd00::7]:1234`."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text

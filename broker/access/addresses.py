"""What each address uses, before its client is known: connections, handshakes, failed logins."""

import ipaddress
from typing import Final

from .bucket import Bucket
from .counts import AccessCounts, Limit
from .recent import Recent

HANDSHAKES_BURST_S: Final = 10.0
"""Seconds' worth of handshakes that an address may make at once: with 500 a second, 5,000 clients behind one address
may reconnect at once after a broker's restart."""

FAILED_LOGINS_COUNT_MAX: Final = 20
"""Failed logins in a row before an address has to wait: a person who mistypes, or a dozen clients with an old token,
are served at once."""

FAILED_LOGINS_PER_S: Final = 1.0
"""One more each second. Guessing 256 random bits is hopeless at any rate; this keeps it from costing anything."""

IDLE_COUNT_MAX: Final = 10_000
"""Addresses without connections that are remembered, about 5 MB. One that is forgotten starts with full buckets."""

IPV6_PREFIX_LENGTH: Final = 64
"""Bits of an IPv6 address that count: a host usually has all 2**64 of its network (RFC 4291, 2.5.1)."""


class Address:
    """One address. `name` is what it is known by, see `group_of`."""

    __slots__ = (
        "_counts",
        "_failed_logins",
        "_handshakes",
        "_recent",
        "connections_count",
        "connections_count_max",
        "name",
    )

    def __init__(
        self,
        name: str,
        connections_count_max: int,
        handshakes_per_s: float,
        counts: AccessCounts,
        recent: "Recent[Address]",
    ) -> None:
        self.name = name
        self.connections_count = 0
        self.connections_count_max = connections_count_max
        self._handshakes = Bucket(handshakes_per_s, HANDSHAKES_BURST_S)
        self._failed_logins = Bucket(FAILED_LOGINS_PER_S, FAILED_LOGINS_COUNT_MAX / FAILED_LOGINS_PER_S)
        self._counts = counts
        self._recent = recent

    def handshake(self, now: float) -> float:
        """Count a handshake: 0.0. Seconds to wait, and counted as limited, if there were too many."""
        wait_s = self._handshakes.spend(1.0, now)
        if wait_s:
            self._counts.limited[Limit.ADDRESS_HANDSHAKES] += 1
        return wait_s

    def take_connection(self) -> bool:
        """One more connection. False, and counted, if the address has as many as it may."""
        if self.connections_count >= self.connections_count_max:
            self._counts.limited[Limit.ADDRESS_CONNECTIONS] += 1
            return False
        self.connections_count += 1
        if self.connections_count == 1:
            self._recent.use(self.name, self)
        return True

    def release_connection(self) -> None:
        """A connection that was taken has closed."""
        self.connections_count -= 1
        if not self.connections_count:
            self._recent.release(self.name, self)

    def login_wait_s(self, now: float) -> float:
        """0.0 if a login that may fail can be tried; else the seconds until then, and counted as limited."""
        wait_s = self._failed_logins.wait_s(1.0, now)
        if wait_s:
            self._counts.limited[Limit.FAILED_LOGINS] += 1
        return wait_s

    def login_failed(self, now: float) -> None:
        """A login from this address has failed. However many do, none is counted beyond the next second: what cannot be
        a token is refused without asking `login_wait_s`, and must not lock out others for hours."""
        self._failed_logins.spend(1.0, now)

    def reconfigure(self, connections_count_max: int, handshakes_per_s: float, now: float) -> None:
        """Change the limits. Connections beyond a lowered one stay open; handshakes that were counted stay counted."""
        self.connections_count_max = connections_count_max
        self._handshakes.reconfigure(handshakes_per_s, now)


class Addresses:
    """All addresses. `connections_count_max`, `handshakes_per_s` (0 means no limit): the limits of each."""

    __slots__ = ("_connections_count_max", "_counts", "_handshakes_per_s", "_recent")

    def __init__(self, connections_count_max: int, handshakes_per_s: float, counts: AccessCounts) -> None:
        self._connections_count_max = connections_count_max
        self._handshakes_per_s = handshakes_per_s
        self._counts = counts
        self._recent: Recent[Address] = Recent(IDLE_COUNT_MAX)

    def __len__(self) -> int:
        return len(self._recent)

    def of(self, host: str) -> Address:
        """The address that `host`, the text of an IP address, counts as."""
        name = group_of(host)
        address = self._recent.find(name)
        if address is None:
            address = Address(
                name, self._connections_count_max, self._handshakes_per_s, self._counts, self._recent
            )
            self._recent.add(name, address)
        return address

    def reconfigure(self, connections_count_max: int, handshakes_per_s: float, now: float) -> None:
        """Change the limits of all addresses."""
        self._connections_count_max = connections_count_max
        self._handshakes_per_s = handshakes_per_s
        for address in self._recent:
            address.reconfigure(connections_count_max, handshakes_per_s, now)


def group_of(host: str) -> str:
    """What counts as one address: an IPv4 address, also if it is written as an IPv6 one, or a network of
    IPV6_PREFIX_LENGTH, as `2001:db8::/64`. A host that is no IP address (a Unix socket's) is returned unchanged."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    network = int(address) >> (128 - IPV6_PREFIX_LENGTH) << (128 - IPV6_PREFIX_LENGTH)
    return f"{ipaddress.IPv6Address(network)}/{IPV6_PREFIX_LENGTH}"

"""What an address may use, at each limit and one past it."""

import pytest
from taskferry.broker.access.addresses import (
    FAILED_LOGINS_COUNT_MAX,
    HANDSHAKES_BURST_S,
    IDLE_COUNT_MAX,
    Addresses,
    group_of,
)
from taskferry.broker.access.counts import AccessCounts, Limit

from tests.each_case import each_case

NOW = 1000.0


class World:
    """Addresses and what they count."""

    def __init__(self, connections_count_max: int = 100, handshakes_per_s: float = 0.0) -> None:
        self.counts = AccessCounts()
        self.addresses = Addresses(connections_count_max, handshakes_per_s, self.counts)

    @property
    def limited(self) -> dict[Limit, int]:
        return {limit: count for limit, count in self.counts.limited.items() if count}


@each_case(
    ("host", "group"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:0db8:0:0:ffff::1", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:10.0.0.7%eth0", "10.0.0.7"),
        ("::1", "::/64"),
        ("", ""),
        ("unix", "unix"),
        ("10.0.0.7, 10.0.0.8", "10.0.0.7, 10.0.0.8"),
    ],
)
def test_a_network_of_ipv6_counts_as_one_address(host: str, group: str) -> None:
    assert group_of(host) == group
    assert World().addresses.of(host).name == group


def test_connections_are_counted_up_to_the_limit_and_not_one_more() -> None:
    world = World(connections_count_max=2)
    address = world.addresses.of("10.0.0.7")
    assert [address.take_connection() for _ in range(4)] == [True, True, False, False]
    assert world.limited == {Limit.ADDRESS_CONNECTIONS: 2}
    assert world.addresses.of("10.0.0.8").take_connection(), "another address has its own"
    address.release_connection()
    assert world.addresses.of("10.0.0.7").take_connection()
    assert not world.addresses.of("10.0.0.7").take_connection()


def test_handshakes_pass_up_to_the_burst_and_not_one_more() -> None:
    world = World(handshakes_per_s=2.0)
    address = world.addresses.of("2001:db8::1")
    assert [address.handshake(NOW) for _ in range(int(2 * HANDSHAKES_BURST_S))] == [0.0] * 20
    assert world.addresses.of("2001:db8::2").handshake(NOW) == pytest.approx(0.5), "it is the same network"
    assert world.addresses.of("10.0.0.8").handshake(NOW) == 0.0
    assert address.handshake(NOW) == pytest.approx(0.5), "one that was refused costs nothing"
    assert world.limited == {Limit.ADDRESS_HANDSHAKES: 2}
    assert address.handshake(NOW + 0.51) == 0.0


def test_handshakes_need_no_limit() -> None:
    world = World(handshakes_per_s=0.0)
    assert not any(world.addresses.of("10.0.0.7").handshake(NOW) for _ in range(10_000))


def test_failed_logins_slow_an_address_down() -> None:
    world = World()
    address = world.addresses.of("10.0.0.7")
    for _ in range(FAILED_LOGINS_COUNT_MAX):
        assert address.login_wait_s(NOW) == 0.0
        address.login_failed(NOW)
    assert address.login_wait_s(NOW) == pytest.approx(1.0)
    assert address.login_wait_s(NOW + 0.5) == pytest.approx(0.5)
    assert world.limited == {Limit.FAILED_LOGINS: 2}
    assert world.addresses.of("10.0.0.8").login_wait_s(NOW) == 0.0
    assert address.login_wait_s(NOW + 1.01) == 0.0, "one more each second"
    address.login_failed(NOW + 1.01)
    assert address.login_wait_s(NOW + 1.01) > 0.9


def test_logins_that_succeed_cost_nothing() -> None:
    address = World().addresses.of("10.0.0.7")
    assert not any(address.login_wait_s(NOW) for _ in range(1000))


def test_a_flood_of_failed_logins_locks_nobody_out_for_longer_than_a_second() -> None:
    address = World().addresses.of("10.0.0.7")
    for _ in range(FAILED_LOGINS_COUNT_MAX + 10_000):
        address.login_failed(NOW)
    assert address.login_wait_s(NOW) == pytest.approx(1.0)
    assert address.login_wait_s(NOW + 1.0) == 0.0


def test_new_limits_apply_to_all_addresses_and_no_count_is_lost() -> None:
    world = World(connections_count_max=2, handshakes_per_s=1.0)
    address = world.addresses.of("10.0.0.7")
    for _ in range(2):
        address.take_connection()
    for _ in range(10):
        address.handshake(NOW)
    world.addresses.reconfigure(1, 2.0, NOW)
    assert not address.take_connection()
    address.release_connection()
    assert not address.take_connection()
    assert address.handshake(NOW) > 0.0, "its burst is used up"
    other = world.addresses.of("10.0.0.8")
    assert [other.take_connection() for _ in range(2)] == [True, False]
    assert sum(not other.handshake(NOW) for _ in range(100)) == 20


def test_addresses_out_of_use_are_bounded_and_those_in_use_stay() -> None:
    world = World()
    address = world.addresses.of("10.0.0.7")
    address.take_connection()
    for number in range(IDLE_COUNT_MAX + 1):
        world.addresses.of(f"host {number}")
    assert len(world.addresses) == IDLE_COUNT_MAX + 1
    assert world.addresses.of("10.0.0.7") is address
    address.release_connection()
    assert len(world.addresses) == IDLE_COUNT_MAX
    assert world.addresses.of("10.0.0.7") is address

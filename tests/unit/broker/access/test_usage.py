"""What an account may use, at each limit and one past it, over all of its connections."""

import pytest
from taskferry.broker.access.counts import AccessCounts, Limit
from taskferry.broker.access.limits import NO_LIMITS, Limits
from taskferry.broker.access.usage import (
    BURST_S,
    DECLARED_COMMANDS_BURST_COUNT,
    DECLARED_COMMANDS_PER_S,
    IDLE_COUNT_MAX,
    NEW_COMMANDS_BURST_COUNT,
    NEW_COMMANDS_PER_S,
    Usage,
    Usages,
    retry_after_s,
)
from taskferry.protocol.errors import NOT_DELIVERED

NOW = 1000.0


def usages_and(name: str = "alice", **limits: float) -> tuple[Usages, Usage]:
    usages = Usages(AccessCounts())
    return usages, usages.of(name, Limits(**limits), NOW)  # type: ignore[arg-type]  # each test gives fitting numbers


def limited(usages: Usages) -> dict[Limit, int]:
    return {limit: count for limit, count in usages.counts.limited.items() if count}


def test_the_defaults_are_half_of_what_all_accounts_have_and_no_rates() -> None:
    assert Limits() == Limits(
        connections_count_max=10_000,
        messages_per_s=0.0,
        bytes_per_s=0.0,
        in_flight_count_max=50_000,
        waiting_size_bytes_max=128 * 1024 * 1024,
    )


def test_connections_are_counted_up_to_the_limit_and_not_one_more() -> None:
    usages, usage = usages_and(connections_count_max=2)
    assert [usage.take_connection() for _ in range(4)] == [True, True, False, False]
    assert limited(usages) == {Limit.ACCOUNT_CONNECTIONS: 2}
    usage.release_connection()
    assert [usage.take_connection() for _ in range(2)] == [True, False]
    assert usage.connections_count == 2


def test_an_account_without_limits_is_not_metered() -> None:
    usages, usage = usages_and()
    unlimited = usages.of("bob", NO_LIMITS, NOW)
    for account in (usage, unlimited):
        assert not account.is_metered
        assert all(account.spend(10**9, NOW) is None for _ in range(1000))
    assert all(unlimited.take_connection() for _ in range(20_000))


def test_messages_pass_up_to_the_burst_and_not_one_more() -> None:
    usages, usage = usages_and(messages_per_s=5)
    assert usage.is_metered
    assert [usage.spend(100, NOW) for _ in range(int(5 * BURST_S))] == [None] * 10
    text = "alice sends over 5 messages a second (account_messages_per_s)"
    assert usage.spend(100, NOW) == ("rate_limited", text, 0.2, NOT_DELIVERED, None, None)
    assert limited(usages) == {Limit.ACCOUNT_MESSAGES: 1}
    assert usage.spend(100, NOW + 0.2) is None
    assert usage.spend(100, NOW + 0.2) is not None
    assert limited(usages) == {Limit.ACCOUNT_MESSAGES: 2}


def test_bytes_pass_up_to_the_burst_and_not_one_more() -> None:
    usages, usage = usages_and(bytes_per_s=1000)
    assert usage.is_metered
    assert usage.spend(int(1000 * BURST_S), NOW) is None
    text = "alice sends over 1000 bytes a second (account_bytes_per_s)"
    assert usage.spend(1, NOW) == ("rate_limited", text, 0.001, NOT_DELIVERED, None, None)
    assert limited(usages) == {Limit.ACCOUNT_BYTES: 1}


def test_a_message_that_one_rate_refuses_is_not_charged_to_the_other() -> None:
    _, usage = usages_and(messages_per_s=1, bytes_per_s=1000)
    assert usage.spend(2000, NOW) is None
    for _ in range(5):
        assert usage.spend(1000, NOW) is not None, "no bytes are left"
    assert usage.spend(1000, NOW + 1.0) is None, "the refused ones took no messages"


def test_a_message_larger_than_the_burst_passes_in_the_end() -> None:
    _, usage = usages_and(bytes_per_s=100)
    assert usage.spend(1_000_000, NOW) is None
    failure = usage.spend(1, NOW + 1.0)
    assert failure is not None
    assert failure.retry_after_s == pytest.approx(9997.01)


def test_connecting_again_does_not_refill_a_rate() -> None:
    usages, usage = usages_and(messages_per_s=1)
    usage.take_connection()
    assert [usage.spend(1, NOW) is None for _ in range(3)] == [True, True, False]
    usage.release_connection()
    again = usages.of("alice", usage.limits, NOW + 0.1)
    assert again.take_connection()
    assert again.spend(1, NOW + 0.1) is not None


def test_connections_of_one_account_share_it_and_others_have_their_own() -> None:
    usages, usage = usages_and(connections_count_max=1)
    assert usages.of("alice", usage.limits, NOW) is usage
    other = usages.of("bob", usage.limits, NOW)
    assert usage.take_connection()
    assert other.take_connection()
    assert other.account is not usage.account
    assert (other.account.name, usage.account.name) == ("bob", "alice")


def test_new_limits_apply_at_once_and_no_count_is_lost() -> None:
    usages, usage = usages_and(connections_count_max=3, in_flight_count_max=7, waiting_size_bytes_max=70)
    assert (usage.account.in_flight_count_max, usage.account.waiting_size_bytes_max) == (7, 70)
    for _ in range(3):
        usage.take_connection()
    usage.account.in_flight_count = 5
    usages.reconfigure(
        {
            "alice": Limits(connections_count_max=2, in_flight_count_max=4, waiting_size_bytes_max=40)
        }.__getitem__,
        NOW,
    )
    assert (usage.connections_count, usage.account.in_flight_count) == (3, 5)
    assert (usage.account.in_flight_count_max, usage.account.waiting_size_bytes_max) == (4, 40)
    assert not usage.take_connection()
    usage.release_connection()
    assert not usage.take_connection()
    usage.release_connection()
    assert usage.take_connection()


def test_a_rate_can_be_set_while_the_account_is_in_use() -> None:
    usages, usage = usages_and()
    usage.take_connection()
    assert usages.of("alice", Limits(messages_per_s=1), NOW) is usage
    assert usage.is_metered
    assert [usage.spend(1, NOW) is None for _ in range(3)] == [True, True, False]
    usages.of("alice", Limits(messages_per_s=1), NOW)
    assert usage.spend(1, NOW) is not None, "the same limits again change nothing"
    usages.of("alice", Limits(), NOW)
    assert not usage.is_metered


def test_a_rate_can_change_while_the_account_is_in_use_and_what_was_used_stays_used() -> None:
    usages, usage = usages_and(bytes_per_s=10)
    assert usage.spend(20, NOW) is None
    usages.reconfigure({"alice": Limits(bytes_per_s=100)}.__getitem__, NOW + 1.0)
    assert usage.spend(100, NOW + 1.0) is None, "half of its burst is there again"
    failure = usage.spend(1, NOW + 1.0)
    assert failure is not None
    assert failure.retry_after_s == pytest.approx(0.01)


def test_new_commands_pass_up_to_the_burst_and_not_one_more() -> None:
    usages, usage = usages_and()
    assert usage.declare(NEW_COMMANDS_BURST_COUNT, NEW_COMMANDS_BURST_COUNT, NOW) is None
    text = "workers of alice bring over 10000 new commands a second (new_commands)"
    assert usage.declare(1, 1, NOW) == ("rate_limited", text, 0.001, NOT_DELIVERED, None, None)
    refused = usage.declare(1000, 1000, NOW)
    assert refused is not None
    assert refused.retry_after_s == 0.1
    assert limited(usages) == {Limit.NEW_COMMANDS: 2}
    assert usage.declare(1000, 1000, NOW + 0.099) is not None
    assert usage.declare(1000, 1000, NOW + 0.1) is None
    assert (
        usages.of("bob", usage.limits, NOW).declare(NEW_COMMANDS_BURST_COUNT, NEW_COMMANDS_BURST_COUNT, NOW)
        is None
    )


def test_whoever_brings_nothing_new_needs_none_of_that_room() -> None:
    usages, usage = usages_and()
    assert usage.declare(NEW_COMMANDS_BURST_COUNT, NEW_COMMANDS_BURST_COUNT, NOW) is None
    assert [usage.declare(100, 0, NOW) for _ in range(1000)] == [None] * 1000
    assert limited(usages) == {}


def test_known_commands_pass_up_to_their_burst_and_not_one_more() -> None:
    assert (DECLARED_COMMANDS_BURST_COUNT, DECLARED_COMMANDS_PER_S) == (200_000, 25_000)
    usages, usage = usages_and()
    assert usage.declare(DECLARED_COMMANDS_BURST_COUNT, 0, NOW) is None
    text = "workers of alice join with over 25000 commands a second (declared_commands)"
    assert usage.declare(1000, 0, NOW) == ("rate_limited", text, 0.04, NOT_DELIVERED, None, None)
    assert usage.declare(2500, 0, NOW + 0.09) is not None
    assert usage.declare(2500, 0, NOW + 0.11) is None
    assert limited(usages) == {Limit.DECLARED_COMMANDS: 2}
    assert usages.of("bob", usage.limits, NOW).declare(DECLARED_COMMANDS_BURST_COUNT, 0, NOW) is None


def test_a_worker_that_is_refused_for_one_reason_has_used_nothing_of_the_other() -> None:
    _, usage = usages_and()
    assert usage.declare(DECLARED_COMMANDS_BURST_COUNT - 1000, NEW_COMMANDS_BURST_COUNT, NOW) is None
    assert usage.declare(1000, 1, NOW) is not None
    assert usage.declare(1000, 0, NOW) is None
    assert usage.declare(50_000, 20_000, NOW + 2.0 - 0.001) is not None, "too many are new"
    assert usage.declare(60_000, 20_000, NOW + 2.0) is not None, "too many"
    assert usage.declare(50_000, 20_000, NOW + 2.0) is None


def test_a_fleet_is_back_at_once_and_one_of_three_hundred_large_workers_within_seconds() -> None:
    for workers_count, commands_count, back_at_once_count, all_after_s in (
        (200, 100, 200, 0.0),
        (200, 1000, 200, 0.0),
        (300, 1000, 200, 4.0),
    ):
        _, usage = usages_and()
        waits = [usage.declare(commands_count, 0, NOW) for _ in range(workers_count)]
        assert waits.count(None) == back_at_once_count
        late_count = workers_count - back_at_once_count
        assert usage.declare(late_count * commands_count, 0, NOW + all_after_s) is None


def test_a_hundred_workers_of_a_thousand_new_commands_are_in_after_five_seconds() -> None:
    _, usage = usages_and()
    due: list[tuple[float, int]] = [(NOW, worker) for worker in range(100)]
    joined_at = []
    while due:
        now, worker = due.pop(0)
        failure = usage.declare(1000, 1000, now)
        if failure is None:
            joined_at.append(now)
        else:
            assert failure.retry_after_s is not None
            due.append((now + failure.retry_after_s, worker))
            due.sort()
    assert joined_at.count(NOW) == 50
    assert joined_at[-1] == pytest.approx(NOW + 5.0, abs=0.1)


def test_however_often_it_tries_an_account_brings_no_more_than_its_rate() -> None:
    _, usage = usages_and()
    taken = sum(1000 for step in range(100 * 60) if usage.declare(1000, 1000, NOW + step / 100) is None)
    assert taken == pytest.approx(NEW_COMMANDS_BURST_COUNT + 60 * NEW_COMMANDS_PER_S, abs=1000)


def test_accounts_out_of_use_are_bounded_and_those_in_use_stay() -> None:
    usages, usage = usages_and()
    usage.take_connection()
    for number in range(IDLE_COUNT_MAX):
        usages.of(f"anonymous at 10.0.{number}", usage.limits, NOW)
    assert len(usages) == IDLE_COUNT_MAX + 1
    usages.of("one more", usage.limits, NOW)
    assert len(usages) == IDLE_COUNT_MAX + 1
    assert usages.of("alice", usage.limits, NOW) is usage
    usage.release_connection()
    assert len(usages) == IDLE_COUNT_MAX


@pytest.mark.parametrize(("wait_s", "after_s"), [(0.0001, 0.001), (0.5, 0.5), (1.0004, 1.001)])
def test_a_wait_is_rounded_up(wait_s: float, after_s: float) -> None:
    assert retry_after_s(wait_s) == after_s


def test_however_often_it_tries_an_account_declares_no_more_than_its_rate() -> None:
    _, usage = usages_and()
    taken = sum(1000 for step in range(250 * 60) if usage.declare(1000, 0, NOW + step / 250) is None)
    assert taken == pytest.approx(DECLARED_COMMANDS_BURST_COUNT + 60 * DECLARED_COMMANDS_PER_S, abs=1000)

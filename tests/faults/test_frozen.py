"""A program that is stopped (SIGSTOP) with work in flight and goes on later, as after a suspend or on a machine that is
out of memory: its sockets stay open, and it answers nothing."""

import asyncio
import time
from collections import Counter
from functools import partial

import pytest

from tests.faults.caller import Pulse, calling, ended
from tests.faults.ledger import assert_broker_balances
from tests.faults.requesting import assert_calls_balance, read_calls
from tests.faults.starting import start_requester, start_worker, wait_for_workers
from tests.processes import Broker, Program, Programs, wait_until

SLOTS_COUNT = 50
OTHERS_P99_S_MAX = 0.1
"""A hundred times what an echo takes: others must not wait for what is stopped, and the machine may be busy."""
RETURN_S_MAX = 5.0


async def start_two_workers(programs: Programs, broker: Broker) -> tuple[Program, Program]:
    slots = ("--concurrency", str(SLOTS_COUNT))
    workers = tuple(start_worker(programs, broker.worker_url, name, *slots) for name in ("first", "second"))
    await asyncio.to_thread(wait_for_workers, broker, "first", "second")
    return workers[0], workers[1]


def has_run(worker: Program, count: int) -> bool:
    return worker.stdout.count("ran ") == count


async def test_requests_of_a_frozen_worker_end_and_none_goes_to_it_until_it_is_back(
    programs: Programs,
) -> None:
    broker = programs.start_broker("--retries-share-max", "1")
    first, second = await start_two_workers(programs, broker)
    async with calling(broker.requester_url) as caller:
        futures = [
            await caller.send("nap", {"seconds": 2}, idempotent=number % 4 < 2)
            for number in range(2 * SLOTS_COUNT)
        ]
        await asyncio.to_thread(
            wait_until, lambda: broker.workers()["first"]["in_flight"] == SLOTS_COUNT, "both are busy"
        )
        await asyncio.to_thread(wait_until, partial(has_run, first, SLOTS_COUNT), "all run")
        first.freeze()
        frozen_at = time.monotonic()
        await asyncio.to_thread(
            wait_until, lambda: broker.workers()["first"]["state"] == "suspect", "its silence is noticed"
        )
        pulse = Pulse(caller, "echo", {"message": "x"})
        await pulse.beat(1.0)
        assert pulse.quantile_s(0.99) < OTHERS_P99_S_MAX
        responses = await ended(futures)
        assert time.monotonic() - frozen_at < 13  # silence of 8 s, a look each half second, a nap of 2 s
        await asyncio.to_thread(wait_for_workers, broker, "second")
        first.thaw()
        await asyncio.to_thread(wait_for_workers, broker, "first", "second")
        response = await caller.call("echo", {"message": "x"}, target="first")
        assert response["success"]
    lost_count = 0
    for number, response in enumerate(responses):
        if number % 4 < 2:
            assert (response["success"], response["processed_by"]) == (True, "second")
        elif not response["success"]:
            lost_count += 1
            assert (response["code"], response["delivery"]) == ("worker_lost", "may_have_run")
            assert response["processed_by"] == "first"
    assert lost_count > 0
    caller.ledger.assert_balances([first, second])
    assert_broker_balances(broker)


async def test_a_worker_that_is_frozen_for_a_moment_loses_nothing(programs: Programs, broker: Broker) -> None:
    first, second = await start_two_workers(programs, broker)
    async with calling(broker.requester_url) as caller:
        futures = [await caller.send("nap", {"seconds": 0.5}) for _ in range(2 * SLOTS_COUNT)]
        await asyncio.to_thread(wait_until, partial(has_run, first, SLOTS_COUNT), "all run")
        first.freeze()
        await asyncio.to_thread(
            wait_until, lambda: broker.workers()["first"]["state"] == "suspect", "its silence is noticed"
        )
        first.thaw()
        assert all(response["success"] for response in await ended(futures))
        await asyncio.to_thread(wait_for_workers, broker, "first", "second")
    caller.ledger.assert_balances([first, second])
    assert_broker_balances(broker)
    assert first.stderr.count("connected to") == 1


@pytest.mark.parametrize("timeout_s", [10.0, 1.0], ids=["within its timeouts", "beyond its timeouts"])
async def test_a_frozen_requester_costs_others_nothing_and_each_of_its_calls_ends(
    programs: Programs, broker: Broker, timeout_s: float
) -> None:
    workers = await start_two_workers(programs, broker)
    requester = start_requester(
        programs, broker.requester_url, "nap", {"seconds": 0.1}, in_flight_count=50, timeout_s=timeout_s
    )
    await asyncio.to_thread(wait_until, lambda: len(read_calls(requester)) > 100, "it is under way")
    rss_bytes = broker.rss_bytes()
    requester.freeze()
    async with calling(broker.requester_url) as caller:
        pulse = Pulse(caller, "echo", {"message": "x"})
        await pulse.beat(3.0)
        assert pulse.quantile_s(0.99) < OTHERS_P99_S_MAX
    assert broker.rss_bytes() - rss_bytes < 8 * 1024 * 1024
    calls_count = len(read_calls(requester))
    requester.thaw()
    await asyncio.to_thread(wait_until, lambda: len(read_calls(requester)) > calls_count + 100, "it goes on")
    requester.terminate()
    await asyncio.to_thread(requester.wait)
    # What came while it was stopped lay in its socket: it is read before any deadline is.
    assert {call.code for call in assert_calls_balance(requester, workers).values()} == {"success"}
    assert_broker_balances(broker)


async def test_a_broker_that_is_frozen_for_a_moment_loses_nothing(programs: Programs, broker: Broker) -> None:
    workers = await start_two_workers(programs, broker)
    requester = start_requester(
        programs, broker.requester_url, "nap", {"seconds": 0.1}, in_flight_count=50, timeout_s=20
    )
    await asyncio.to_thread(wait_until, lambda: len(read_calls(requester)) > 100, "it is under way")
    broker.freeze()
    await asyncio.sleep(3)
    broker.thaw()
    calls_count = len(read_calls(requester))
    await asyncio.to_thread(wait_until, lambda: len(read_calls(requester)) > calls_count + 500, "all goes on")
    requester.terminate()
    await asyncio.to_thread(requester.wait)
    assert {call.code for call in assert_calls_balance(requester, workers).values()} == {"success"}
    assert_broker_balances(broker)
    assert [worker.stderr.count("connected to") for worker in workers] == [1, 1]


async def test_after_a_long_freeze_of_the_broker_each_call_has_ended_and_it_routes_again_within_5_s(
    programs: Programs, broker: Broker
) -> None:
    workers = await start_two_workers(programs, broker)
    requester = start_requester(
        programs, broker.requester_url, "nap", {"seconds": 0.1}, in_flight_count=50, timeout_s=4
    )
    await asyncio.to_thread(wait_until, lambda: len(read_calls(requester)) > 100, "it is under way")
    broker.freeze()
    # Longer than workers and requesters put up with silence: they drop their links and try to connect again.
    for worker in workers:
        await asyncio.to_thread(worker.wait_for_stderr, "retrying|lost")
    broker.thaw()
    thawed_at = time.monotonic()
    calls_count = sum(call.code == "success" for call in read_calls(requester).values())
    await asyncio.to_thread(
        wait_until,
        lambda: sum(call.code == "success" for call in read_calls(requester).values()) > calls_count + 50,
        "it routes again",
    )
    assert time.monotonic() - thawed_at < RETURN_S_MAX
    await asyncio.to_thread(
        wait_for_workers, broker, "first", "second"
    )  # nobody is blamed for the broker's pause
    requester.terminate()
    await asyncio.to_thread(requester.wait)
    calls = assert_calls_balance(requester, workers)
    assert {call.code for call in calls.values()} <= {
        *("success", "timeout", "worker_lost", "connection_lost", "cannot_connect", "no_available_workers")
    }
    assert max(call.duration_s for call in calls.values()) < 4 + 1
    assert_broker_balances(broker)


async def test_a_broker_that_was_frozen_blames_nobody_for_its_own_pause(
    programs: Programs, broker: Broker
) -> None:
    workers = await start_two_workers(programs, broker)
    async with calling(broker.requester_url) as caller:
        futures = [await caller.send("nap", {"seconds": 0.5}, timeout=1.5) for _ in range(2 * SLOTS_COUNT)]
        for worker in workers:
            await asyncio.to_thread(wait_until, partial(has_run, worker, SLOTS_COUNT), "all of them run")
        broker.freeze()
        await asyncio.sleep(2.5)  # all answers are in the broker's sockets, and all deadlines have passed
        broker.thaw()
        outcomes = Counter(response.get("code", "success") for response in await ended(futures))
    assert outcomes == {"success": 2 * SLOTS_COUNT}
    assert broker.status()["counts"]["ejected"] == 0
    assert "the broker itself stood still for" in broker.stderr
    caller.ledger.assert_balances(workers)
    assert_broker_balances(broker)

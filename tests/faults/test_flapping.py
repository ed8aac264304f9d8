"""A link that breaks twenty times under load, of a worker and of a requester."""

import asyncio
from collections import Counter

from tests.faults.caller import Pulse, calling
from tests.faults.ledger import assert_broker_balances
from tests.faults.proxies import Proxy, proxied
from tests.faults.requesting import assert_calls_balance, is_idempotent, read_calls
from tests.faults.starting import start_requester, start_worker, wait_for_workers
from tests.processes import Broker, Program, Programs, wait_until

FLAPS_COUNT = 20
OTHERS_P99_S_MAX = 0.1
RETURN_S_MAX = 5.0
FILES_SPARE_COUNT = 2
"""Connections of the test itself, for the HTTP port."""


def new_peer(broker: Broker, peers: set[str]) -> str:
    """The address from which the flapping worker is connected once that is none of `peers`."""

    def is_new() -> bool:
        row = broker.workers().get("flapping")
        return row is not None and row["peer"] not in peers

    wait_until(is_new, f"it is back after {len(peers)} flaps", RETURN_S_MAX)
    return str(broker.workers()["flapping"]["peer"])


def successes_count(requester: Program) -> int:
    return sum(call.code == "success" for call in read_calls(requester).values())


def wait_for_link(proxy: Proxy, requester: Program, number: int) -> None:
    """Wait until the requester has its link number `number`, and has had a result over it."""
    wait_until(lambda: proxy.connections_count >= number, f"it has link {number}", RETURN_S_MAX)
    count = successes_count(requester)
    wait_until(lambda: successes_count(requester) > count, f"it calls over link {number}", RETURN_S_MAX)


async def test_a_workers_link_that_flaps_runs_nothing_twice_that_must_not_and_stops_nobody_else(
    programs: Programs,
) -> None:
    broker = programs.start_broker("--retries-share-max", "1")
    async with proxied(broker.worker_url) as proxy:
        slots = ("--concurrency", "50")
        flapping = start_worker(programs, proxy.url, "flapping", *slots)
        steady = start_worker(programs, broker.worker_url, "steady", *slots)
        await asyncio.to_thread(wait_for_workers, broker, "flapping", "steady")
        files_count = broker.open_files_count()
        requester = start_requester(
            programs, broker.requester_url, "nap", {"seconds": 0.05}, in_flight_count=40
        )
        async with calling(broker.requester_url) as caller:
            pulse = Pulse(caller, "echo", {"message": "x"}, interval_s=0.02)
            beating = asyncio.create_task(pulse.beat(60, idempotent=True))
            peers = set[str]()
            for _ in range(FLAPS_COUNT):
                peers.add(await asyncio.to_thread(new_peer, broker, peers))
                proxy.cut()
            await asyncio.to_thread(new_peer, broker, peers)
            beating.cancel()
            await asyncio.wait({beating})
            assert beating.cancelled(), beating.exception()
            assert pulse.quantile_s(0.99) < OTHERS_P99_S_MAX
        requester.terminate()
        await asyncio.to_thread(requester.wait)
        calls = assert_calls_balance(requester, [flapping, steady])
        outcomes = Counter((call.code, is_idempotent(request_id)) for request_id, call in calls.items())
        assert set(outcomes) <= {("success", True), ("success", False), ("worker_lost", False)}, outcomes
        assert outcomes["worker_lost", False] > 0
        assert_broker_balances(broker)
        await asyncio.to_thread(
            wait_until,
            lambda: broker.open_files_count() <= files_count + FILES_SPARE_COUNT,
            "the descriptors of all old links are closed",
        )


async def test_a_requesters_link_that_flaps_ends_each_call_and_costs_no_idempotent_one(
    programs: Programs, broker: Broker
) -> None:
    worker = start_worker(programs, broker.worker_url, "w", "--concurrency", "100")
    await asyncio.to_thread(wait_for_workers, broker, "w")
    files_count = broker.open_files_count()
    async with proxied(broker.requester_url) as proxy:
        requester = start_requester(
            programs, proxy.url, "nap", {"seconds": 0.1}, in_flight_count=40, timeout_s=10
        )
        for number in range(FLAPS_COUNT):
            await asyncio.to_thread(wait_for_link, proxy, requester, number + 1)
            proxy.cut()
        requester.terminate()
        await asyncio.to_thread(requester.wait)
        assert proxy.connections_count >= FLAPS_COUNT
    calls = assert_calls_balance(requester, [worker])
    outcomes = Counter((call.code, is_idempotent(request_id)) for request_id, call in calls.items())
    assert set(outcomes) <= {("success", True), ("success", False), ("connection_lost", False)}, outcomes
    assert outcomes["connection_lost", False] > 0
    await asyncio.to_thread(
        wait_until, lambda: broker.status()["in_flight_count"] == 0, "the broker has ended what was abandoned"
    )
    assert_broker_balances(broker)
    await asyncio.to_thread(
        wait_until,
        lambda: broker.open_files_count() <= files_count + FILES_SPARE_COUNT,
        "the descriptors of all old links are closed",
    )

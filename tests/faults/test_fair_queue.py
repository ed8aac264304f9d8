"""What one client makes wait hurts no other: neither by how much it is, nor by its priority, nor by its targets."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any, Final

import pytest

from tests.faults import flooding
from tests.faults.caller import Caller, calling, ended
from tests.faults.starting import ROOT, start_worker, wait_for_workers
from tests.integration.peers import eventually
from tests.processes import Broker, Programs

BOUND: Final = 400
"""A few thousandths of the usual bounds, to fill which takes a minute."""
MESSAGE_SIZE_BYTES: Final = 1000
HELD_S: Final = 1.0
"""How long the only slot is held: longer than it takes to fill what may wait."""
CONNECTIONS_COUNT: Final = 11
FLOOD_PER_S: Final = 1000
TARGETS_COUNT: Final = 100


async def start_workers(programs: Programs, broker: Broker, **slots_by_name: int) -> None:
    for name, slots_count in slots_by_name.items():
        start_worker(
            programs, broker.worker_url, name, "--concurrency", str(slots_count), "--label", f"name={name}"
        )
    await asyncio.to_thread(wait_for_workers, broker, *slots_by_name)


async def send_many(callers: list[Caller], count: int, command: str, data: Any, **fields: Any) -> list[Any]:
    """Send so many requests on each of these connections, and return the futures of the responses when the broker has
    read all."""
    futures = [await caller.send(command, data, **fields) for caller in callers for _ in range(count)]
    for caller in callers:
        refused = await caller.call("nobody-serves-this")
        assert refused["code"] in {"no_available_workers", "overloaded"}
    return futures


def codes(responses: list[Any]) -> Counter[str]:
    return Counter("success" if response["success"] else response["code"] for response in responses)


@pytest.mark.parametrize("bound", ["queue_count_max", "account_in_flight_count_max", "queue_size_bytes_max"])
async def test_connections_that_fill_what_may_wait_keep_out_no_other(programs: Programs, bound: str) -> None:
    options = {
        "queue_count_max": ("--queue-count-max", str(BOUND)),
        "account_in_flight_count_max": ("--account-in-flight-count-max", str(BOUND)),
        "queue_size_bytes_max": ("--queue-size-bytes-max", str(BOUND * MESSAGE_SIZE_BYTES)),
    }[bound]
    broker = programs.start_broker(*options)
    await start_workers(programs, broker, one=1)
    async with AsyncExitStack() as stack:
        flood = [
            await stack.enter_async_context(calling(broker.requester_url)) for _ in range(CONNECTIONS_COUNT)
        ]
        holding = await flood[0].send("nap", {"seconds": HELD_S})
        data = {"message": "x" * MESSAGE_SIZE_BYTES}
        flooded = await send_many(flood, 2 * BOUND // CONNECTIONS_COUNT, "echo", data, timeout=60)
        assert not holding.done()
        victim = await stack.enter_async_context(calling(broker.requester_url))
        mine = [await victim.send("echo", {"message": number}, timeout=60) for number in range(10)]
        responses = await ended(mine)
        assert codes(responses) == {"success": 10}, responses
        yielded = [future.result() for future in flooded if future.done()]
        assert any(
            "most" in response["error"] for response in yielded if response and not response["success"]
        )
        assert bound in {word for response in yielded for word in _words(response)}


def _words(response: Any) -> list[str]:
    return (
        []
        if response is None or response["success"]
        else response["error"].replace("(", " ").replace(")", " ").split()
    )


@pytest.mark.parametrize("priority", [6, 9])
async def test_a_flood_of_a_higher_priority_starves_no_other(
    programs: Programs, broker: Broker, priority: int
) -> None:
    await start_workers(programs, broker, ten=10)
    flood = programs.start(
        *(flooding.PATH, broker.requester_url, f"naps of priority {priority}", "1", str(FLOOD_PER_S)),
        environment={"PYTHONPATH": str(ROOT)},
    )
    await asyncio.to_thread(flood.wait_for_stdout, "flooding")
    await eventually(lambda: broker.status()["queued_count"] > FLOOD_PER_S, "it floods")

    async def call(caller: Caller) -> list[Any]:
        return [await caller.call("nap", {"seconds": 0.1}, timeout=6.0) for _ in range(7)]

    async with AsyncExitStack() as stack:
        callers = [await stack.enter_async_context(calling(broker.requester_url)) for _ in range(3)]
        responses = await asyncio.gather(*(call(caller) for caller in callers))
    assert codes([response for some in responses for response in some]) == {"success": 21}


async def test_a_polite_client_does_not_hide_the_overload_of_another(
    programs: Programs, broker: Broker
) -> None:
    await start_workers(programs, broker, ten=10)
    flood = programs.start(
        *(flooding.PATH, broker.requester_url, "naps of priority 5", "1", str(FLOOD_PER_S)),
        environment={"PYTHONPATH": str(ROOT)},
    )
    await asyncio.to_thread(flood.wait_for_stdout, "flooding")
    async with calling(broker.requester_url) as caller:
        slowest_s = 0.0
        while not (outcomes := broker.status()["outcomes"]).get("overloaded"):
            began_at = asyncio.get_running_loop().time()
            response = await caller.call("nap", {"seconds": 0.1}, timeout=6.0)
            slowest_s = max(slowest_s, asyncio.get_running_loop().time() - began_at)
            assert response["success"], response
            assert not outcomes.get("timeout"), "it is rejected before it has waited in vain"
    assert slowest_s < 1.0


@pytest.mark.parametrize("target", ["idle", {"name": "idle"}])
async def test_targets_for_which_one_client_waits_shut_out_no_other(
    programs: Programs, broker: Broker, target: Any
) -> None:
    await start_workers(programs, broker, busy=1, idle=1)
    async with calling(broker.requester_url) as crowd, calling(broker.requester_url) as other:
        await crowd.send("nap", {"seconds": 60}, target="busy")
        waiting = [
            await crowd.send("echo", target={"name": ["busy", f"nobody {number}"]})
            for number in range(TARGETS_COUNT)
        ]
        await eventually(lambda: broker.status()["queued_count"] == TARGETS_COUNT, "all of them wait")
        response = await other.call("echo", {"message": "here"}, target=target)
        assert response["success"], response
        await other.send("nap", {"seconds": 0.3}, target="idle")
        response = await other.call("echo", {"message": "waits"}, target={"name": ["idle", "nobody"]})
        assert response["success"], response
        assert sum(future.done() for future in waiting) == 1
        refused = next(future for future in waiting if future.done()).result()
        assert "and of anonymous at 127.0.0.1 this connection waits for most of them" in refused["error"]


async def test_large_targets_are_refused(programs: Programs, broker: Broker) -> None:
    await start_workers(programs, broker, w=1)
    large = {f"k{number}": [str(value) for value in range(32)] for number in range(32)}
    async with calling(broker.requester_url) as caller:
        for fields in ({"target": large}, {"target": large, "type": "submit"}):
            response = await caller.call("echo", **fields)
            assert response["code"] == "bad_request", response
            assert response["error"] == (
                "target: its labels have over 64 values in all (TARGET_VALUES_COUNT_MAX)"
            )

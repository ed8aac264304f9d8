"""Workers whose lists of commands cross each other: others' requests cost hardly more meanwhile, and no more after."""

import asyncio
import sys
from contextlib import AsyncExitStack

import pytest

from tests.faults.caller import Caller, calling, ended
from tests.integration.peers import connected, serving
from tests.processes import Broker, Programs, wait_until

NAMES = [f"c{number}" for number in range(1000)]
CROSSED_COUNT = 10
"""The bits of a command's number say which of them serve it: that divides a thousand commands into as many pools."""

ROUNDS_COUNT = 60
FLEET_COUNT = 150
"""Workers that serve a thousand commands each, before those whose lists cross theirs join: as many as may come at once,
with some room for those."""
JOINS_CPU_S_MAX = 0.15
"""CPU seconds for all of these joins. They took half a second, most of it in the last one."""
FACTOR_MAX = 3.5
"""By how much more CPU a request may take meanwhile: about twice as much, for sixteen pools that are updated with it.
It was forty times as much."""


async def join_crossed(broker: Broker, peers: AsyncExitStack) -> None:
    for bit in range(CROSSED_COUNT):
        worker = await peers.enter_async_context(connected(broker.worker_url))
        await worker.join(f"x{bit}", *(name for number, name in enumerate(NAMES) if number >> bit & 1))


async def cost_s(broker: Broker, caller: Caller) -> float:
    """CPU seconds of the broker for six thousand requests for a command that none of the crossed workers serves."""
    before_s = broker.cpu_s()
    for _ in range(ROUNDS_COUNT):
        responses = await ended([await caller.send(NAMES[0]) for _ in range(100)])
        assert {response["success"] for response in responses} == {True}
    return broker.cpu_s() - before_s


@pytest.mark.alone
async def test_crossed_lists_of_commands_cost_others_little_and_nothing_after_they_left(
    programs: Programs,
) -> None:
    broker = programs.start_broker()
    handlers = {name: lambda data: data for name in NAMES}
    async with (
        serving(broker.worker_url, handlers, name="honest"),
        calling(broker.requester_url) as caller,
        AsyncExitStack() as crossed,
    ):
        await cost_s(broker, caller)
        alone_s = await cost_s(broker, caller)
        await join_crossed(broker, crossed)
        assert await cost_s(broker, caller) < FACTOR_MAX * alone_s
        await crossed.aclose()
        await asyncio.to_thread(
            wait_until, lambda: set(broker.workers()) == {"honest"}, "the others have left"
        )
        assert await cost_s(broker, caller) < FACTOR_MAX * alone_s
    caller.ledger.assert_balances([])


@pytest.mark.alone
async def test_a_join_that_divides_the_pools_of_a_large_fleet_costs_little(programs: Programs) -> None:
    broker = programs.start_broker()
    handlers = {NAMES[0]: lambda data: data}
    async with (
        serving(broker.worker_url, handlers, name="honest"),
        calling(broker.requester_url) as caller,
        AsyncExitStack() as fleet,
        AsyncExitStack() as crossed,
    ):
        for number in range(FLEET_COUNT):
            worker = await fleet.enter_async_context(connected(broker.worker_url))
            await worker.join(f"w{number}", *NAMES[1:])
        await cost_s(broker, caller)
        alone_s = await cost_s(broker, caller)
        before_s = broker.cpu_s()
        await join_crossed(broker, crossed)
        joins_s = broker.cpu_s() - before_s
        sys.stdout.write(f"\n{CROSSED_COUNT} joins took {joins_s:.2f} s of the broker\n")
        assert joins_s < JOINS_CPU_S_MAX
        assert await cost_s(broker, caller) < FACTOR_MAX * alone_s
    caller.ledger.assert_balances([])

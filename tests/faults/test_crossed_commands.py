"""Workers whose lists of commands cross each other: others' requests cost hardly more meanwhile, and no more after."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from tests.faults.caller import Caller, calling, ended
from tests.integration.peers import connected, serving
from tests.processes import Broker, Programs, wait_until

NAMES = [f"c{number}" for number in range(1000)]
CROSSED_COUNT = 10
"""The bits of a command's number say which of them serve it: that divides a thousand commands into as many pools."""

ROUNDS_COUNT = 20
FACTOR_MAX = 2.5
"""By how much more CPU a request may take meanwhile. It was forty times as much."""


async def cost_s(broker: Broker, caller: Caller) -> float:
    """CPU seconds of the broker for two thousand requests for a command that none of the crossed workers serves."""
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
        for bit in range(CROSSED_COUNT):
            worker = await crossed.enter_async_context(connected(broker.worker_url))
            await worker.join(f"x{bit}", *(name for number, name in enumerate(NAMES) if number >> bit & 1))
        assert await cost_s(broker, caller) < FACTOR_MAX * alone_s
        await crossed.aclose()
        await asyncio.to_thread(
            wait_until, lambda: set(broker.workers()) == {"honest"}, "the others have left"
        )
        assert await cost_s(broker, caller) < FACTOR_MAX * alone_s
    caller.ledger.assert_balances([])
